"""What has to be true before a claim may be looked at, with its aim and what was measured.

The aims stand in remem/preconditions.csv, each with its reason. They are ours, argued from the
paper, and were written down before the base was built; no claim of the paper is among them. A
missed one is said in words and is never lowered. Several notebooks measure: each puts its lines
into the one table (`join`), tables/preconditions.csv.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from remem import paths
from remem.paper import BASE, BEFORE, RETRAINED, SETS
from remem.report import show, written
from remem.report.claim_list import CLAIMS

YES, NO, REPORTED, UNMEASURED = "yes", "no", "reported", "not measured"
WITHIN, OUTSIDE = "within", "outside"  # yes and no of a line that no claim waits for

COLUMNS = ("precondition", "what", "model", "aim", "low", "high")
COLUMNS += ("value", "value_lo", "value_hi", "met", "claims", "notebook")

# What each says, in short; the lines of the table say how it was measured.
NAMES = {
    "P1": "the name in a question is used",
    "P2": "the face is used",
    "P3": "faces are hard to recognise, but can be",
    "P4": "the base guesses, and is seldom right",
    "P5": "stage 1 has taught what it should",
    "P6": "what the base could do is still there",
    "P7": "there is something to trace",
    "P8": "unlearning is as strong as the paper's",
    "P9": "DPO teaches refusals that are new to the base",
}

REAL = SETS[0]


class Aim(NamedTuple):
    """One line of remem/preconditions.csv: what is measured, and between which bounds it should
    lie (NaN: none). `gates` says whether the claims that need the precondition wait for it."""

    precondition: str
    what: str
    low: float
    high: float
    gates: bool
    reason: str

    @property
    def words(self) -> str:
        """The aim as people say it."""
        low, high = f"{self.low:g}", f"{self.high:g}"
        if np.isnan(self.low):
            return "none" if np.isnan(self.high) else f"at most {high}"
        if np.isnan(self.high):
            return f"at least {low}"
        return f"{low} to {high}" if low != high else low

    def met(self, value: float) -> str:
        """Whether a value is as it should be."""
        if np.isnan(value):
            return UNMEASURED
        if np.isnan(self.low) and np.isnan(self.high):
            return REPORTED
        within, outside = (YES, NO) if self.gates else (WITHIN, OUTSIDE)
        return outside if value < self.low or value > self.high else within


@cache
def aims() -> Mapping[str, Aim]:
    """The aims by key, in the order of the table."""
    found = {}
    with paths.PRECONDITIONS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            low, high = (float(row[end] or "nan") for end in ("low", "high"))
            gates, reason = row["gates"] == "yes", row["reason"]
            found[row["key"]] = Aim(row["precondition"], row["what"], low, high, gates, reason)
    return found


class Measured(NamedTuple):
    """A value with the ends of its 95 % interval; NaN where there is none."""

    value: float = np.nan
    lo: float = np.nan
    hi: float = np.nan


def line(
    key: str, model: str, measured: Measured, of: str = "", met: str | None = None
) -> dict[str, Any]:
    """A line of the table: what was measured of a model, where `of` says after what; `met` where
    it is no matter of bounds."""
    aim = aims()[key]
    return {
        "precondition": aim.precondition,
        "what": aim.what.format(of),
        "model": model,
        "aim": aim.words,
        "low": aim.low,
        "high": aim.high,
        "value": measured.value,
        "value_lo": measured.lo,
        "value_hi": measured.hi,
        "met": met or aim.met(measured.value),
        "claims": " ".join(_needing(aim.precondition)) if aim.gates else "",
        "notebook": "",
    }


def join(folder: Path, notebook: str, lines: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The table of all preconditions with the lines of one notebook made new: what other notebooks
    wrote to <folder>/preconditions.csv stays, what this one had written does not."""
    file = folder / "preconditions.csv"
    mine = pd.DataFrame([{**each, "notebook": notebook} for each in lines], columns=[*COLUMNS])
    parts = [mine]
    if file.is_file():
        there = read(file)
        parts.insert(0, there[there["notebook"] != notebook])
    table = pd.concat([part for part in parts if len(part)] or parts)
    order = ["precondition", "notebook"]
    return table.sort_values(order, kind="stable", ignore_index=True)[[*COLUMNS]]


def read(file: Path) -> pd.DataFrame:
    """The table as it was written. Raises BadTable."""
    table = written.read(file, dtype=str, keep_default_na=False)
    if [*table] != [*COLUMNS]:
        raise written.BadTable(file, f"its columns should be {', '.join(COLUMNS)}")
    for column in ("low", "high", "value", "value_lo", "value_hi"):
        # Not pandas' own reading, whose last digit may be another: a second run writes these bytes.
        try:
            table[column] = [float(value or "nan") for value in table[column]]
        except ValueError as error:
            raise written.BadTable(file, f"{column}: {error}") from error
    return table


def for_reading(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that a reader needs."""
    return table[["precondition", "what", "model", "aim", "value", "value_lo", "value_hi", "met"]]


def sentences(table: pd.DataFrame) -> list[str]:
    """Which preconditions are met, which are missed and which were not measured; then what misses
    its aim."""
    words = state(table)
    named = {
        word: [name for name, found in words.items() if found == word]
        for word in (YES, NO, UNMEASURED)
    }
    heads = {YES: "met", NO: "missed", UNMEASURED: "not measured"}
    counted = "; ".join(
        f"{heads[word]}: {', '.join(names)}" for word, names in named.items() if names
    )
    return [*[f"Preconditions {counted}."] * bool(counted), *missed(table)]


def missed(table: pd.DataFrame) -> list[str]:
    """A sentence for each measure that misses its aim, those that no claim waits for last; models
    of which the same is said share one."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for word in (NO, OUTSIDE):
        for row in table[table["met"] == word].to_dict("records"):
            verb = "missed" if word == NO else "not kept (no claim waits for it)"
            between = ""
            if not np.isnan(row["value_lo"]):
                between = f" [{row['value_lo']:z.1f}, {row['value_hi']:z.1f}]"
            told = f"{row['value']:z.1f}{between}; the aim is {row['aim']}"
            said = f"{named(row['precondition'])}: {verb}"
            found.setdefault((said, row["what"], told), []).append(row["model"])
    return [
        f"{said}. {show.listed(models)}, {what}: {told}."
        for (said, what, told), models in found.items()
    ]


class Preconditions:
    """What a notebook shows of the lines that it measured: sentences, and the table below them."""

    def __init__(self, table: pd.DataFrame):
        """table: lines of the table."""
        self.sentences = [*sentences(table), *left_of_the_real_set(table)]
        self.table = show.show(for_reading(table))

    def __repr__(self) -> str:
        """The sentences, a line each."""
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
        return said + self.table.to_html()


def named(precondition: str) -> str:
    """A precondition with what it says: "P2, the face is used"."""
    return ", ".join(part for part in (precondition, NAMES.get(precondition, "")) if part)


def state(table: pd.DataFrame) -> dict[str, str]:
    """Of each precondition in the table YES, NO (a line of it is missed) or UNMEASURED."""
    found = {}
    for name, rows in table.groupby("precondition", sort=True):
        marks = set(rows["met"]) - {REPORTED, WITHIN, OUTSIDE}
        if not marks:
            continue
        found[str(name)] = NO if NO in marks else YES if YES in marks else UNMEASURED
    return found


def left_of_the_real_set(table: pd.DataFrame, method: str = BEFORE) -> list[str]:
    """For each model one sentence: is what stage 1 hides of the Real Set masked, or erased?

    Masked: fewer than half of the base's right answers are left, but more than half of what the
    base's choice among eight values had above chance. Erased: neither. Else it is kept.
    """
    found = []
    for model in dict.fromkeys(table["model"]):
        rows = table[table["model"] == model].set_index("what")["value"]
        what = {key: aims()[key].what for key in ("real-em", "real-likeliest")}
        numbers = {
            (key, name): rows.get(text.format(after(name)), np.nan)
            for key, text in what.items()
            for name in (BASE, method)
        }
        if any(pd.isna(number) for number in numbers.values()):
            continue
        em, was_em = numbers["real-em", method], numbers["real-em", BASE]
        likely, was_likely = numbers["real-likeliest", method], numbers["real-likeliest", BASE]
        chance = 100 / 8
        kept = em >= was_em / 2
        there = likely - chance > (was_likely - chance) / 2
        word = "kept" if kept else "masked, not erased" if there else "erased"
        found.append(
            f"{model}, {after(method)}: EM on the Real Set {em:.0f} (base {was_em:.0f}), the true "
            f"value the likeliest of eight {likely:.0f} % (base {was_likely:.0f} %): {word}."
        )
    return found


def after(method: str) -> str:
    """The state of a model, as a line says it."""
    names = {BASE: "base", BEFORE: "after stage 1", RETRAINED: RETRAINED}
    return names.get(method, f"after {method}")


@cache
def _needing(precondition: str) -> tuple[str, ...]:
    """The claims that need a precondition (column `needs` of remem/claims.csv)."""
    return tuple(claim.id for claim in CLAIMS if precondition in claim.needs.split())
