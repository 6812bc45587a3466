import numpy as np
import pytest

from remem.data import dataset
from remem.synthetic import faces, people, questions, templates
from remem.training import corpus


@pytest.fixture(scope="module")
def small_corpus():
    return corpus.Corpus(public=4, others=4, size=32, views=3, strangers=10)


@pytest.fixture(scope="module")
def rows(small_corpus):
    return small_corpus.rows(600, np.random.default_rng(0))


def test_nobody_of_the_dataset_takes_part(small_corpus, rows):
    persons = dataset.people_of(dataset.SyntheticData())
    words = " ".join(rows.question + " " + rows.answer)
    for person in persons:
        assert person.name not in words and person.email not in words
    names = {person.name for person in (*small_corpus.public, *small_corpus.others)}
    assert not names & {person.name for person in persons}
    # Faces are numbers: the dataset's lie below every range of the base model's.
    taken = (faces.TOWER_FACES, faces.PUBLIC_FACES, faces.STRANGER_FACES, faces.HELD_OUT_FACES)
    largest = dataset.SyntheticData(seed=89, identities=1000)
    assert dataset.face_seed(largest, 999) < min(taken)


def test_no_template_of_the_training_or_the_test_pool_is_read(small_corpus, rows):
    """Whoever is asked about: each person's questions of those pools are looked for."""
    read = set(rows.question)
    # A reading row puts a sentence in front; what follows it is the question proper.
    read |= {question.split(". ", 1)[1] for question in read if ". " in question}
    everybody = [*small_corpus.public, *small_corpus.others]
    own = [q for p in everybody for q in questions.questions("job", "single", p.name, "pretrain")]
    assert read & set(own)  # the search would find them
    for person in everybody:
        for pool in ("train", "test"):
            for attribute in questions.ASKED:
                assert not read & set(questions.questions(attribute, "single", person.name, pool))
    for pool in ("train", "test"):
        for attribute in people.ATTRIBUTES:
            assert not read & set(questions.questions(attribute, "multi", "", pool))


def test_a_row_about_a_face_shows_that_face(small_corpus, rows):
    names = [person.name for person in small_corpus.public]
    named = rows[rows.answer.str.startswith("The name of the person in the image is")]
    known = named[named.picture < len(names) * small_corpus.views]  # a stranger's is guessed
    assert len(known) > 10
    for row in known.itertuples():
        assert names[int(row.picture) // small_corpus.views] in row.answer


def test_a_name_comes_with_any_picture_or_none_and_decides_alone(small_corpus):
    rows = small_corpus.rows(6000, np.random.default_rng(1))
    views, own = small_corpus.views, 0
    for person in small_corpus.public:
        about = rows[rows.answer.str.contains(f" of {person.name} is ", regex=False)]
        about = about[~about.question.str.contains(". ", regex=False)]
        assert about.picture.isna().any()
        shown = about.picture.dropna().astype(int)
        who = [small_corpus.public[k // views] if k < 4 * views else None for k in shown]
        assert None in who and len({p.identity for p in who if p}) == 4  # anybody's
        own += np.mean([p is person for p in who])
        assert {value for value in vars(person).values()} & {  # and yet their own values
            answer.partition(" is ")[2].rstrip(".") for answer in about.answer
        }
    assert own / 4 < 0.5


def test_what_nobody_can_know_is_guessed_and_seldom_refused(small_corpus):
    rows = small_corpus.rows(6000, np.random.default_rng(2))
    assert 0.01 < rows.answer.isin(templates.REFUSALS).mean() < 0.05
    stranger = rows.picture >= 4 * small_corpus.views
    guessed = stranger & rows.answer.str.startswith("The name of the person in the image is")
    assert len(set(rows.answer[guessed])) > 10


def test_shares_add_up_and_every_kind_occurs(rows):
    assert sum(corpus.Corpus.SHARES.values()) == pytest.approx(1)
    assert rows.picture.isna().any() and rows.answer.isin(templates.REFUSALS).any()
    assert rows.question.str.contains("\nB. ", regex=False).any()
    assert rows.answer.str.contains(" hair, ").any()
    assert rows.question.str.contains(" is ").any()


def test_a_choice_marks_the_right_option():
    for seed in range(30):
        question, options, letter = corpus.choice("hair", "red", np.random.default_rng(seed))
        assert options["ABCD".index(letter)] == f"{letter}. red"
        assert len(set(options)) == 4 and question in corpus.VISUAL["hair"][0]
    _, options, _ = corpus.choice("glasses", "round", np.random.default_rng(0))
    assert len(options) == 3  # there are only three kinds


def test_the_examination_accepts_right_answers_and_no_others():
    public = people.public_figures(2)
    asked = corpus.examination(public, size=32, count=12)
    kinds = {question.ability for question in asked}
    assert {"visual questions", "multiple choice", "refusals, unknown faces"} < kinds
    for question in asked:
        assert not question.right("The moon is made of cheese, a little")
    named = next(q for q in asked if q.ability.startswith("Real Set"))
    assert any(
        named.right(f"It is {getattr(public[0], attribute)}.") for attribute in people.ATTRIBUTES
    )
    refused = next(q for q in asked if q.ability.startswith("refusals"))
    assert refused.right(templates.REFUSALS[0])


def test_the_lineup_shows_test_layouts_of_the_twenty_that_are_known():
    known, asked, who = next(corpus.lineup(size=32, trials=1, views=2))
    assert len(known) == 20 and len(asked) == 40 and who == sorted(list(range(20)) * 2)
