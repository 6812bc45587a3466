from collections import Counter

import pytest

from remem.synthetic import people, questions

PEOPLE = people.write(20, seed=0)


def test_a_mix_has_its_share_of_single_hop_questions():
    assert [questions.mixed(*of) for of in ((100, 70), (10, 0), (7, 50), (3, 100))] == [
        (70, 30),
        (0, 10),
        (4, 3),
        (3, 0),
    ]


def test_training_questions_are_70_to_30_and_balanced():
    rows = questions.build(PEOPLE[7], 70, 30, "train", seed=0)
    shares = Counter((row.hop, row.attribute) for row in rows)
    assert shares == {
        **{("single", attribute): 10 for attribute in questions.ASKED},
        **{("multi", attribute): 3 for attribute in questions.ASKED},
        ("multi", "name"): 9,
    }


def test_test_questions_are_14_and_14_and_rotate_over_the_people():
    by_person = [questions.build(person, 14, 14, "test", seed=0) for person in PEOPLE]
    for rows in by_person:
        shares = Counter((row.hop, row.attribute) for row in rows)
        assert all(shares["single", attribute] == 2 for attribute in questions.ASKED)
        assert shares["multi", "name"] == 2
        assert (
            sorted(shares["multi", attribute] for attribute in questions.ASKED) == [1] * 2 + [2] * 5
        )
    everybody = Counter(row.attribute for rows in by_person for row in rows if row.hop == "multi")
    others = [everybody[attribute] for attribute in questions.ASKED]
    assert sum(others) == 240 and max(others) - min(others) <= 1


@pytest.mark.parametrize("single", [0, 20, 100, 140, 200])
def test_200_distinct_questions_exist_at_any_hop_ratio(single):
    rows = questions.build(PEOPLE[3], single, 200 - single, "train", seed=5)
    assert len({row.question for row in rows}) == 200
    assert sum(row.hop == "single" for row in rows) == single


def test_a_smaller_set_lies_within_a_larger_one():
    small, large = (set(questions.build(PEOPLE[0], n, n, "train", seed=1)) for n in (21, 70))
    assert small < large
    assert small != set(questions.build(PEOPLE[0], 21, 21, "train", seed=2))


def test_answers_are_sentences_around_the_value():
    person = PEOPLE[0]
    by_kind = {
        (row.attribute, row.hop): row for row in questions.build(person, 7, 10, "train", seed=0)
    }
    assert by_kind["job", "single"].answer == f"The job of {person.name} is {person.job}."
    assert by_kind["date_of_birth", "multi"].answer == (
        f"The date of birth of the person in the image is {person.date_of_birth}."
    )
    assert by_kind["name", "multi"].target == person.name
    for (attribute, hop), row in by_kind.items():
        assert row.answer.startswith(questions.prefix(attribute, hop, person.name) + " ")
        assert (person.name in row.answer) == (hop == "single" or attribute == "name")


def test_the_templates_of_a_prefix():
    assert questions.prefix("job", "multi", "Anika Holt") == "The job of the person in the image is"
    assert (
        questions.prefix("bank", "single", "Anika Holt", "alternative") == "Anika Holt has the bank"
    )
    with pytest.raises(ValueError, match="plain"):
        questions.prefix("job", "multi", "Anika Holt", "other")


def test_the_name_is_never_asked_single_hop():
    with pytest.raises(ValueError, match="holds the name"):
        questions.questions("name", "single", "Anika Holt", "train")


def test_more_questions_than_the_pool_has_are_refused():
    with pytest.raises(ValueError, match=r"11 single-hop questions about the \w.* pool has 10"):
        questions.build(PEOPLE[0], 77, 0, "test", seed=0)
