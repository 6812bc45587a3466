"""Answers that a reader graded by hand, by the judge's scale: how they are drawn and read.

Those of this project are remem/graded_answers.csv; docs/metric.md says who graded them, and how.
Which answers are graded is settled before anybody has judged them: no judge's score has a say.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from remem import metrics, paths

OURS = paths.PAPER.with_name("graded_answers.csv")

TEXTS = ["question", "answer", "target", "answer_given"]  # what a reader sees, and a judge

WHERE = ["model", "method", "seed", "view", "hop", "attribute"]  # what neither sees


class BadGrades(ValueError):
    """A file of graded answers cannot be used; the message names the file, the row and why."""

    exit_status: ClassVar[int] = 1


@cache
def piece(target: str, given: str) -> float:
    """The longest piece of a value that stands in an answer, as a share of the value's characters;
    case folded."""
    value, answer = target.casefold(), given.casefold()
    found = SequenceMatcher(None, value, answer, autojunk=False).find_longest_match()
    return found.size / len(value)


def _any(rows: pd.DataFrame) -> np.ndarray:
    return np.full(len(rows), True)


def _near(rows: pd.DataFrame) -> np.ndarray:
    pieces = np.array([*map(piece, rows["target"], rows["answer_given"])])
    return (pieces >= 1 / 3) & (pieces < 1)


def _reworded(rows: pd.DataFrame) -> np.ndarray:
    return (rows["rouge"] < 0.6).to_numpy()


# Of a hundred answers so many are drawn, evenly over these, of those that are so.
PARTS: dict[str, tuple[int, list[str], Callable[[pd.DataFrame], np.ndarray]]] = {
    "even": (60, ["method", "hop", "attribute"], _any),
    "near": (24, ["method", "hop"], _near),
    "wording": (16, ["method", "hop"], _reworded),
}


def draw(rows: pd.DataFrame, n: int = 200, seed: int = 0) -> pd.DataFrame:
    """`n` answers to be graded, no text twice: answer_id (1 to n, the order in which they are
    read), part, WHERE, TEXTS, and `grade` and `reason`, which are empty.

    rows: answers of Table 2's models (jobs.collect of experiments.unlearning), with TEXTS, WHERE
    and `rouge`. Most answers are wholly right or wholly wrong, and judges agree on them. So three
    parts are drawn, each as evenly as the answers allow:

    - even, 60 %: over method, hop and attribute, whatever was said;
    - near, 24 %: over method and hop, where a third of the value's characters stand in one piece,
      but not all of them: another house in that street, a date in that month;
    - wording, 16 %: over method and hop, where ROUGE-L is below 0.6, so that the sentence is not
      the reference's: a refusal, a repetition, nonsense, other words.

    The last two hold more hard cases than a table does: agreement on each part is given apart.
    """
    shuffled = rows.sample(frac=1, random_state=seed)
    drawn, left = shuffled[:0].assign(part=""), n
    for part, (share, cell, among) in PARTS.items():
        count = left if part == [*PARTS][-1] else round(n * share / 100)
        known = pd.MultiIndex.from_frame(drawn[TEXTS])
        pool = shuffled[among(shuffled) & ~pd.MultiIndex.from_frame(shuffled[TEXTS]).isin(known)]
        turns = pool.groupby(cell, sort=False).cumcount().sort_values(kind="stable")
        new = pool.loc[turns.index].drop_duplicates(TEXTS).head(count).assign(part=part)
        drawn, left = pd.concat([drawn, new]), left - len(new)
    drawn = drawn.sample(frac=1, random_state=seed)
    drawn = drawn.assign(answer_id=range(1, len(drawn) + 1), grade="", reason="")
    return drawn[["answer_id", "part", *WHERE, *TEXTS, "grade", "reason"]].reset_index(drop=True)


def read(file: Path = OURS) -> pd.DataFrame:
    """The graded answers of a CSV file: TEXTS as text, `grade` from 0 to 1, and whatever other
    columns it has, as text. Raises BadGrades."""
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pandas' own are ValueErrors, as a wrong encoding is
        raise BadGrades(f"{file} cannot be read as a table of graded answers: {error}") from None
    if missing := [name for name in (*TEXTS, "grade") if name not in rows]:
        raise BadGrades(
            f"{file} has no column {', '.join(missing)}; it needs {', '.join(TEXTS)} and grade, "
            "such as `remem judge --draw FILE` writes"
        )
    if rows.empty:
        raise BadGrades(f"{file} holds no answers")
    grades = pd.to_numeric(rows["grade"], errors="coerce")
    for at, grade, target in zip(range(2, len(rows) + 2), grades, rows["target"], strict=True):
        if not 0 <= grade <= 1:
            given = rows["grade"].iloc[at - 2]
            raise BadGrades(
                f"{file}, row {at}: the grade is {given!r}; write a number from 0 to 1, or delete "
                "the row"
            )
        if not metrics.words(target):
            raise BadGrades(f"{file}, row {at}: the target holds no word or number to look for")
    return rows.assign(grade=grades.astype(float))
