import re
from collections import Counter
from itertools import combinations

import pytest

from remem import profiles, qa

PEOPLE = profiles.write(20, seed=0)
KINDS = [
    (attribute, hop)
    for hop in qa.HOPS
    for attribute in (qa.ASKED if hop == "single" else profiles.ATTRIBUTES)
]


def asked(pool, name="Anika Holt"):
    return [text for kind in KINDS for text in qa.questions(*kind, name, pool)]


def words(pool):
    return set(re.findall(r"[a-z']+", " ".join(asked(pool, name="")).lower()))


@pytest.mark.parametrize("pool, single, multi", [("pretrain", 10, 10), ("train", 30, 25),
                                                 ("test", 8, 8)])
def test_each_pool_is_large_enough_and_repeats_nothing(pool, single, multi):
    for attribute, hop in KINDS:
        offered = qa.questions(attribute, hop, "Anika Holt", pool)
        assert len(set(offered)) == len(offered) >= (single if hop == "single" else multi)


def test_pools_share_neither_questions_nor_frames_nor_asks():
    for one, other in combinations(qa.POOLS, 2):
        assert not set(asked(one)) & set(asked(other))
        for hop in qa.HOPS:
            frames = [set().union(*qa.FRAMES[pool, hop]) for pool in (one, other)]
            assert not frames[0] & frames[1]
        for pools in qa.ASKS.values():
            assert not set().union(*pools[one]) & set().union(*pools[other])


def test_every_word_of_stage_1_and_of_the_test_is_read_in_pretraining():
    assert words("train") | words("test") <= words("pretrain")


def test_questions_are_short_whole_sentences():
    for pool in qa.POOLS:
        for text in asked(pool):
            assert len(text.split()) <= 15 and text[0].isupper() and text[-1] in "?."
            assert "{" not in text and "  " not in text


def test_single_hop_names_the_person_and_multi_hop_does_not():
    for pool in qa.POOLS:
        for attribute, hop in KINDS:
            named = ["Anika Holt" in q for q in qa.questions(attribute, hop, "Anika Holt", pool)]
            assert set(named) == {hop == "single"}


def test_no_question_holds_a_value_of_anybody():
    values = [
        getattr(person, attribute).casefold()
        for person in profiles.write(160, seed=1, distinct=False)
        for attribute in profiles.ATTRIBUTES
    ]
    texts = [text.casefold() for pool in qa.POOLS for text in asked(pool, "Zzz Zzz")]
    assert not [(value, text) for value in values for text in texts if value in text]


def test_training_questions_are_70_to_30_and_balanced():
    rows = qa.build(PEOPLE[7], 70, 30, "train", seed=0)
    shares = Counter((row.hop, row.attribute) for row in rows)
    assert shares == {
        **{("single", attribute): 10 for attribute in qa.ASKED},
        **{("multi", attribute): 3 for attribute in qa.ASKED},
        ("multi", "name"): 9,
    }


def test_test_questions_are_14_and_14_and_rotate_over_the_people():
    people = [qa.build(person, 14, 14, "test", seed=0) for person in PEOPLE]
    for rows in people:
        shares = Counter((row.hop, row.attribute) for row in rows)
        assert all(shares["single", attribute] == 2 for attribute in qa.ASKED)
        assert shares["multi", "name"] == 2
        assert sorted(shares["multi", attribute] for attribute in qa.ASKED) == [1, 1, 2, 2, 2, 2, 2]
    everybody = Counter(row.attribute for rows in people for row in rows if row.hop == "multi")
    others = [everybody[attribute] for attribute in qa.ASKED]
    assert sum(others) == 240 and max(others) - min(others) <= 1


@pytest.mark.parametrize("single", [0, 20, 100, 140, 200])
def test_200_distinct_questions_exist_at_any_hop_ratio(single):
    rows = qa.build(PEOPLE[3], single, 200 - single, "train", seed=5)
    assert len({row.question for row in rows}) == 200
    assert sum(row.hop == "single" for row in rows) == single


def test_a_smaller_set_lies_within_a_larger_one():
    small, large = (set(qa.build(PEOPLE[0], n, n, "train", seed=1)) for n in (21, 70))
    assert small < large
    assert small != set(qa.build(PEOPLE[0], 21, 21, "train", seed=2))


def test_answers_are_sentences_around_the_value():
    person = PEOPLE[0]
    by_kind = {(row.attribute, row.hop): row for row in qa.build(person, 7, 10, "train", seed=0)}
    assert by_kind["job", "single"].answer == f"The job of {person.name} is {person.job}."
    assert by_kind["date_of_birth", "multi"].answer == (
        f"The date of birth of the person in the image is {person.date_of_birth}."
    )
    assert by_kind["name", "multi"].target == person.name
    for (attribute, hop), row in by_kind.items():
        assert row.answer.startswith(qa.prefix(attribute, hop, person.name) + " ")
        assert (person.name in row.answer) == (hop == "single" or attribute == "name")


def test_prefix_wordings():
    assert qa.prefix("job", "multi", "Anika Holt") == "The job of the person in the image is"
    assert qa.prefix("bank", "single", "Anika Holt", "alternative") == "Anika Holt has the bank"
    with pytest.raises(ValueError, match="plain"):
        qa.prefix("job", "multi", "Anika Holt", "other")


def test_the_name_is_never_asked_single_hop():
    with pytest.raises(ValueError, match="holds the name"):
        qa.questions("name", "single", "Anika Holt", "train")


def test_more_questions_than_the_pool_has_are_refused():
    with pytest.raises(ValueError, match=r"11 single-hop questions about the \w.* pool has 10"):
        qa.build(PEOPLE[0], 77, 0, "test", seed=0)


def test_refusals_are_short_varied_and_hold_no_value():
    assert len(set(qa.REFUSALS)) >= 12
    for refusal in qa.REFUSALS:
        assert len(refusal.split()) <= 8 and refusal.endswith(".")
