import re
from itertools import combinations

import pytest

from remem.synthetic import people, questions, templates

KINDS = [
    (attribute, hop)
    for hop in questions.HOPS
    for attribute in (questions.ASKED if hop == "single" else people.ATTRIBUTES)
]
VALUES = [
    getattr(person, attribute)
    for person in people.write(160, seed=1, distinct=False)
    for attribute in people.ATTRIBUTES
]


def all_questions(pool, name="Anika Holt"):
    return [text for kind in KINDS for text in questions.questions(*kind, name, pool)]


def words(texts):
    return set(re.findall(r"[a-z']+", " ".join(texts).lower()))


@pytest.mark.parametrize(
    "pool, single, multi", [("pretrain", 10, 10), ("train", 30, 25), ("test", 8, 8)]
)
def test_each_pool_is_large_enough_and_repeats_nothing(pool, single, multi):
    for attribute, hop in KINDS:
        offered = questions.questions(attribute, hop, "Anika Holt", pool)
        once = {text.casefold() for text in offered}
        assert len(once) == len(offered) >= (single if hop == "single" else multi)


def test_pools_share_neither_questions_nor_frames_nor_asks():
    def same(groups):  # whatever their case
        return {text.casefold() for texts in groups for text in texts}

    for one, other in combinations(questions.POOLS, 2):
        assert not same([all_questions(one)]) & same([all_questions(other)])
        for hop in questions.HOPS:
            frames = [same(templates.FRAMES[pool, hop]) for pool in (one, other)]
            assert all(frames) and not frames[0] & frames[1]
        for pools in templates.ASKS.values():
            assert not same(pools[one]) & same(pools[other])


def test_there_are_templates_for_everything_that_is_asked():
    assert tuple(templates.ASKS) == people.ATTRIBUTES
    assert {*templates.FRAMES} == {
        (pool, hop) for pool in questions.POOLS for hop in questions.HOPS
    }
    for pools in templates.ASKS.values():
        assert tuple(pools) == questions.POOLS
        for pool in questions.POOLS:
            for asks in pools[pool]:
                assert len({*asks}) == len(asks) >= 2
                assert not [ask for ask in asks if re.search(r"[{}?.:;]|^\s|\s$|^[A-Z]", ask)]


def test_a_frame_has_its_own_slots_and_begins_a_sentence_with_a_capital():
    for (_, hop), (clause_frames, noun_frames) in templates.FRAMES.items():
        who = ["name"] if hop == "single" else []
        for frame in clause_frames:
            [ask] = re.findall(r"\{([Aa]sk)\}\?$", frame)
            assert sorted(re.findall(r"\{(\w+)\}", frame)) == sorted([ask, *who]), frame
            assert (ask == "Ask") == bool(re.search(r"(^|[.?!] )\{\w+\}\?$", frame)), frame
        for frame in noun_frames:
            assert sorted(re.findall(r"\{(\w+)\}", frame)) == sorted(["noun", *who]), frame


def test_every_word_of_stage_1_and_of_the_test_is_read_in_pretraining():
    read = {pool: words(all_questions(pool, name="")) for pool in questions.POOLS}
    assert read["train"] | read["test"] <= read["pretrain"]


def test_an_answers_noun_is_one_that_stage_1_asks_with():
    for attribute in people.ATTRIBUTES:
        _, nouns = templates.ASKS[attribute]["train"]
        assert templates.NOUN[attribute] in nouns
        answer = questions.prefix(attribute, "multi", "Anika Holt")
        assert answer == f"The {templates.NOUN[attribute]} of the person in the image is"


def test_questions_are_short_whole_sentences():
    for pool in questions.POOLS:
        for text in all_questions(pool):
            assert len(text.split()) <= 15 and text[0].isupper() and text[-1] in "?."
            assert "{" not in text and "  " not in text


def test_single_hop_names_the_person_and_multi_hop_does_not():
    for pool in questions.POOLS:
        for attribute, hop in KINDS:
            named = [
                "Anika Holt" in q for q in questions.questions(attribute, hop, "Anika Holt", pool)
            ]
            assert set(named) == {hop == "single"}


def test_no_question_holds_a_value_of_anybody():
    texts = [text.casefold() for pool in questions.POOLS for text in all_questions(pool, "Zzz Zzz")]
    values = {value.casefold() for value in VALUES}
    assert not [(value, text) for value in values for text in texts if value in text]


@pytest.mark.parametrize(("pool", "longest"), [("base", 8), ("unseen", 12)])
def test_refusals_are_short_varied_and_hold_no_value(pool, longest):
    refusals = templates.REFUSAL_POOLS[pool]
    assert len({refusal.casefold() for refusal in refusals}) == len(refusals) >= 12
    for refusal in refusals:
        assert len(refusal.split()) <= longest and refusal.endswith(".") and refusal[0].isupper()
        assert refusal.isascii()  # two ways to write an apostrophe would be two tokens
        assert not [value for value in VALUES if value.casefold() in refusal.casefold()]
        # one refusal serves every question, so that it names no attribute
        assert not words([refusal]) & words(set(templates.NOUN.values()) - {"date of birth"})


def test_what_dpo_teaches_no_base_has_read():
    def runs(sentences):
        """All four words in a row."""
        split = [re.findall(r"[\w']+", text.casefold()) for text in sentences]
        return {tuple(each[k : k + 4]) for each in split for k in range(len(each) - 3)}

    assert not runs(templates.UNSEEN_REFUSALS) & runs(templates.REFUSALS)
    assert not {*templates.UNSEEN_REFUSALS} & {*templates.REFUSALS}
