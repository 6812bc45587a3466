"""Answers that a reader graded by hand, by the judge's scale: how they are drawn, and how read.

Those of this project are remem/graded_answers.csv; docs/metric.md says who graded them. Which are
graded is settled by `draw`, before anybody or anything has judged them: no judge's score has a say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from functools import cache
from math import nan
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from remem import paths

OURS = paths.PAPER.with_name("graded_answers.csv")

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)  # the five that the judge's prompt describes

TEXTS = ["question", "answer", "target", "answer_given"]  # what a reader sees, and a judge

WHERE = ["model", "method", "seed", "view", "hop", "attribute"]  # what he does not


class BadGrades(ValueError):
    """A file of graded answers cannot be used; the message names the file, the row and the way
    out."""

    exit_status: ClassVar[int] = 1


@cache
def piece(target: str, given: str) -> float:
    """The longest piece of a value that stands in an answer, as a share of the value's characters;
    case folded."""
    value = target.casefold()
    found = SequenceMatcher(None, value, given.casefold(), autojunk=False).find_longest_match()
    return found.size / len(value)


def _near(rows: pd.DataFrame) -> np.ndarray:
    pieces = np.array(list(map(piece, rows["target"], rows["answer_given"])))
    return (pieces >= 1 / 3) & (pieces < 1)


# Of a hundred answers so many are drawn ... evenly over these ... among those that have this.
PARTS: dict[str, tuple[int, list[str], Callable[[pd.DataFrame], np.ndarray]]] = {
    "even": (60, ["method", "hop", "attribute"], lambda rows: np.full(len(rows), True)),
    "near": (24, ["method", "hop"], _near),
    "wording": (16, ["method", "hop"], lambda rows: (rows["rouge"] < 0.6).to_numpy()),
}


def draw(rows: pd.DataFrame, n: int = 200, seed: int = 0) -> pd.DataFrame:
    """`n` answers to be graded, no text twice: answer_id (1 to n, in the order in which they are
    read), part, WHERE, TEXTS, and `grade`, `reason` and `again`, which are empty.

    rows: answers of Table 2's models (jobs.collect of experiments.unlearning), with TEXTS, WHERE
    and `rouge`. Most answers are wholly right or wholly wrong, on which judges agree, so that
    three parts are drawn, each as evenly as its cells allow:

    - even, 60 %: over method, hop and attribute, whatever was said;
    - near, 24 %: over method and hop, where a third of the value's characters stand in one piece,
      but not all of them: another's street, another's e-mail address, a date of the same year;
    - wording, 16 %: over method and hop, where ROUGE-L is below 0.6: the sentence is not the
      reference's. A refusal, a repetition, nonsense, or the same in other words.

    The last two hold more of the hard cases than a table does: their agreement is given apart.
    """
    shuffled = rows.sample(frac=1, random_state=seed)
    drawn = shuffled[:0].assign(part="")
    left = n
    for part, (share, cell, among) in PARTS.items():
        count = left if part == [*PARTS][-1] else round(n * share / 100)
        known = pd.MultiIndex.from_frame(drawn[TEXTS])
        pool = shuffled[among(shuffled) & ~pd.MultiIndex.from_frame(shuffled[TEXTS]).isin(known)]
        turns = pool.groupby(cell, sort=False).cumcount().sort_values(kind="stable")
        new = pool.loc[turns.index].drop_duplicates(TEXTS).head(count).assign(part=part)
        drawn, left = pd.concat([drawn, new]), left - len(new)
    drawn = drawn.sample(frac=1, random_state=seed)
    drawn = drawn.assign(answer_id=range(1, len(drawn) + 1), grade=nan, reason="", again=nan)
    columns = ["answer_id", "part", *WHERE, *TEXTS, "grade", "reason", "again"]
    return drawn[columns].reset_index(drop=True)
