"""Questions about one person with their answers, single-hop or multi-hop (sections 2 and 6.1).

A single-hop question names the person ("Given that this is Anika Holt, what is their job?"); a
multi-hop question leaves that to the image ("What is the job of the person in this image?"). The
paper used "pre-defined manual templates" that it does not print; these are ours. A question is a
frame (how the person is brought up) around an ask (how the fact is asked for: a clause, or a noun
phrase). Three pools share neither a frame nor an ask: what the base model has read ("pretrain"),
what stage 1 trains on ("train"), and what is asked afterwards ("test"). The words of the test pool
do occur in "pretrain", since a model that never read "resides" cannot be asked with it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from remem.synthetic.people import ATTRIBUTES, Profile
from remem.synthetic.templates import ASKS, FRAMES, NOUN

ASKED = ATTRIBUTES[1:]  # the name is never asked single-hop: the question holds it

HOPS = ("single", "multi")

POOLS = ("pretrain", "train", "test")

# Share of the name among multi-hop questions: 9 of 30 in training, 2 of 14 in the test.
NAME_SHARE = {"pretrain": 0.3, "train": 0.3, "test": 1 / 7}


@dataclass(frozen=True)
class QA:
    """One question with its full-sentence answer; `target` is the value inside the answer."""

    attribute: str
    hop: str
    question: str
    answer: str
    target: str


def prefix(attribute: str, hop: str, name: str, template: str = "plain") -> str:
    """The answer up to its value, without a trailing space (section 6.2, Exposure's prompt).

    `template="alternative"` says it differently, to show how much a metric depends on the phrase.
    `attribute` may be any, also of data that is not synthetic: "shoe_size" is the shoe size.
    Raises ValueError for an unknown hop or template, and for a single-hop name.
    """
    _check(attribute, hop)
    noun = attribute.replace("_", " ")
    who = name if hop == "single" else "the person in the image"
    if template == "plain":
        return f"The {noun} of {who} is"
    if template == "alternative":
        return f"{who[0].upper()}{who[1:]} has the {noun}"
    raise ValueError(f'the template of a prefix is "plain" or "alternative", not {template!r}')


def questions(attribute: str, hop: str, name: str, pool: str) -> list[str]:
    """Every question that the pool offers for one attribute and hop, each once, in fixed order.

    Raises ValueError for an attribute, a hop or a pool that has no templates.
    """
    _check(attribute, hop)
    if attribute not in ASKS:
        raise ValueError(f"no questions for attribute {attribute!r}; there are {', '.join(ASKS)}")
    if pool not in POOLS:
        raise ValueError(f"question pool {pool!r} is unknown; there are {', '.join(POOLS)}")
    clause_frames, noun_frames = FRAMES[pool, hop]
    clauses, nouns = ASKS[attribute][pool]
    found = [
        frame.format(name=name, ask=clause, Ask=clause[0].upper() + clause[1:])
        for frame in clause_frames
        for clause in clauses
    ]
    return found + [frame.format(name=name, noun=noun) for frame in noun_frames for noun in nouns]


def mixed(total: int, percent: int) -> tuple[int, int]:
    """How many single-hop and multi-hop questions, where `percent` of `total` are single-hop."""
    single = round(total * percent / 100)
    return single, total - single


def counts(
    split: str, single: int, multi: int, start: int, names: int | None = None
) -> dict[tuple[str, str], int]:
    """(attribute, hop) -> number of questions: as even as whole numbers allow.

    The name gets its share of the multi-hop ones (`names`, or by `NAME_SHARE`), the seven others
    the rest; what does not divide by seven goes round from attribute `start`, so that people differ
    in it.
    """
    named = round(NAME_SHARE[split] * multi) if names is None else names
    result = {("name", "multi"): named}
    for hop, total in (("single", single), ("multi", multi - named)):
        for place in range(len(ASKED)):
            attribute = ASKED[(start + place) % len(ASKED)]
            result[attribute, hop] = total // len(ASKED) + (place < total % len(ASKED))
    return result


def build(
    profile: Profile,
    single: int,
    multi: int,
    split: str,
    seed: int,
    pool: str | None = None,
    names: int | None = None,
) -> list[QA]:
    """`single` + `multi` question-answer pairs about one person, no question twice.

    `split` ("train" or "test") and `names` decide how the attributes share them (`counts`), and
    `split`, unless `pool` is given, which templates are used. The order is by hop and attribute.
    For one `seed` and person each attribute has its templates in one fixed random order, of which
    the first are taken: the smaller of two sets lies within the larger, as a scaling experiment
    wants it.

    Raises ValueError when a pool has fewer questions than are wanted of it.
    """
    pool = pool or split
    shares = counts(split, single, multi, int(profile.identity[1:]), names)
    result = []
    for hop in HOPS:
        for attribute in ASKED if hop == "single" else ATTRIBUTES:
            offered, wanted = questions(attribute, hop, profile.name, pool), shares[attribute, hop]
            if wanted > len(offered):
                raise ValueError(
                    f"{wanted} {hop}-hop questions about the {NOUN[attribute]} were asked for, "
                    f"the {pool} pool has {len(offered)}; lower single ({single}) or multi "
                    f"({multi})"
                )
            random.Random(f"{seed}/{profile}/{pool}/{attribute}/{hop}").shuffle(offered)
            value = getattr(profile, attribute)
            answer = f"{prefix(attribute, hop, profile.name)} {value}."
            result += [QA(attribute, hop, text, answer, value) for text in offered[:wanted]]
    return result


def _check(attribute: str, hop: str) -> None:
    if hop not in HOPS:
        raise ValueError(f"hop is one of {', '.join(HOPS)}, not {hop!r}")
    if attribute == "name" and hop == "single":
        raise ValueError("a single-hop question holds the name, so it cannot ask for it")
