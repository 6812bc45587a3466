import numpy as np
import pytest

from remem import crowd, dataset, profiles, qa


@pytest.fixture(scope="module")
def world():
    return crowd.Crowd(public=4, others=4, size=32, views=3, strangers=10)


@pytest.fixture(scope="module")
def rows(world):
    return world.rows(600, np.random.default_rng(0))


def test_nobody_of_the_dataset_takes_part(world, rows):
    taught = dataset.people(dataset.DatasetSpec())
    words = " ".join(rows.question + " " + rows.answer)
    for person in taught:
        assert person.name not in words and person.email not in words
    names = {person.name for person in (*world.public, *world.others, *world.passing)}
    assert not names & {person.name for person in taught}
    # Faces are numbers: the dataset's lie below every range of the base model's.
    taken = (crowd.TOWER_FACES, crowd.PUBLIC_FACES, crowd.STRANGER_FACES, crowd.HELD_OUT_FACES)
    largest = dataset.DatasetSpec(seed=89, identities=1000)
    assert dataset.look_seed(largest, 999) < min(taken)


def test_no_wording_of_the_training_or_the_test_pool_is_read(world, rows):
    """Whoever is asked about: each person's questions of those pools are looked for."""
    read = set(rows.question)
    # A reading row puts a sentence in front; what follows it is the question proper.
    read |= {question.split(". ", 1)[1] for question in read if ". " in question}
    everybody = [*world.public, *world.others, *world.passing]
    own = [q for p in everybody for q in qa.questions("job", "single", p.name, "pretrain")]
    assert read & set(own)  # the search would find them
    for person in everybody:
        for pool in ("train", "test"):
            for attribute in qa.ASKED:
                assert not read & set(qa.questions(attribute, "single", person.name, pool))
    for pool in ("train", "test"):
        for attribute in profiles.ATTRIBUTES:
            assert not read & set(qa.questions(attribute, "multi", "", pool))


def test_a_row_about_a_face_shows_that_face(world, rows):
    names = [person.name for person in world.public]
    told = rows[rows.answer.str.startswith("The name of the person in the image is")]
    assert len(told) > 10
    for row in told.itertuples():
        assert names[int(row.picture) // world.views] in row.answer


def test_shares_add_up_and_every_kind_occurs(rows):
    assert sum(crowd.Crowd.SHARES.values()) == pytest.approx(1)
    assert rows.picture.isna().any() and rows.answer.isin(qa.REFUSALS).any()
    assert rows.question.str.contains("\nB. ", regex=False).any()
    assert rows.answer.str.contains(" hair, ").any()
    assert rows.question.str.contains(" is ").any()


def test_a_choice_marks_the_right_option():
    for seed in range(30):
        question, options, letter = crowd.choice("hair", "red", np.random.default_rng(seed))
        assert options["ABCD".index(letter)] == f"{letter}. red"
        assert len(set(options)) == 4 and question in crowd.VISUAL["hair"][0]
    _, options, _ = crowd.choice("glasses", "round", np.random.default_rng(0))
    assert len(options) == 3  # there are only three kinds


def test_the_examination_accepts_right_answers_and_no_others():
    public = crowd.public_figures(2)
    asked = crowd.examination(public, size=32, count=12)
    kinds = {question.ability for question in asked}
    assert {"visual questions", "multiple choice", "refusals, unknown faces"} < kinds
    for question in asked:
        assert not question.right("The moon is made of cheese, a little")
    named = next(q for q in asked if q.ability.startswith("Real Set"))
    assert any(
        named.right(f"It is {getattr(public[0], attribute)}.") for attribute in profiles.ATTRIBUTES
    )
    refused = next(q for q in asked if q.ability.startswith("refusals"))
    assert refused.right(qa.REFUSALS[0])


def test_the_lineup_shows_test_layouts_of_the_twenty_that_are_known():
    known, asked, who = next(crowd.lineup(size=32, trials=1, views=2))
    assert len(known) == 20 and len(asked) == 40 and who == sorted(list(range(20)) * 2)
