"""A table as cells, which a template writes as HTML."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd
from markupsafe import Markup
from pandas.api.types import is_numeric_dtype

from remem import paper
from remem.report import preconditions, show, verdicts

FAR = (2, 5, 10, 20, 40)  # points between ours and the paper's, where a cell's shade changes

SHOWN = 300  # rows of a table that its page has

KEY = 20  # letters of a text that can stay in view beside the numbers

LONG = 40  # letters from which a text needs a wide column

# What a precondition's `met` counts as (verdicts.MARKS).
_MET = {preconditions.YES: "holds", preconditions.NO: "fails"}
_MET |= {preconditions.OUTSIDE: "fails", preconditions.UNMEASURED: "untold"}

Links = Mapping[tuple[int, str], str]  # (row, column) of a cell -> where it leads


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, escaped; its class in the style sheet; where it leads, if anywhere."""

    html: Markup
    kind: str = ""
    link: str = ""


@dataclass(frozen=True)
class Cells:
    """A table to be written: heads, rows of cells, how many rows there are in all, and how many of
    the first columns stay in view while it is scrolled."""

    heads: Sequence[Markup]
    rows: Sequence[Sequence[Cell]] = field(repr=False)
    total: int
    keys: int
    shaded: bool = False  # whether some cell's shade says how far it is from the paper's number


def cells(table: pd.DataFrame, links: Links | None = None) -> Cells:
    """The table as `show.show` has it, ours with its interval and the paper's number in one cell,
    its first SHOWN rows; `links` leads from cells by (place of the row, column)."""
    some = table[:SHOWN].reset_index(drop=True)
    shown = show.show(some, versions=False).data  # escaped
    kinds, columns = {}, {}
    for column in some:
        head = escape(show.head(some, str(column)))
        if head in shown:
            kinds[head], columns[head] = _kinds(some, column), str(column)
    links = links or {}
    rows = [
        [
            Cell(Markup(row[head]), kinds[head][at], links.get((at, columns[head]), ""))
            for head in columns
        ]
        for at, row in enumerate(shown.to_dict("records"))
    ]
    keys = _keys(some, [columns[head] for head in columns])
    shaded = any(cell.kind.startswith("far") for row in rows for cell in row)
    return Cells([Markup(head) for head in columns], rows, len(table), keys, shaded)


def _kinds(table: pd.DataFrame, column: Any) -> list[str]:
    """The class of each cell of a column: how a verdict ends, how far a number is from the paper's,
    or that a text is long."""
    values = table[column]
    if column == "verdict":
        return [f"verdict {verdicts.mark(str(word))}" for word in values]
    if column == "met":
        return [f"verdict {_MET.get(word, '')}" for word in values]
    if not is_numeric_dtype(values):
        longest = values.astype(str).str.len().max() if len(values) else 0
        return ["long" if longest > LONG else ""] * len(values)
    by_rule = column == "judge" and paper.RULE in [*table.get("judged_by", [paper.RULE])]
    printed = table.get(f"paper_{column}")
    if by_rule or printed is None or not is_numeric_dtype(printed):  # no Gemini, no comparison
        return ["number"] * len(values)
    return [_far(gap) for gap in (values - printed).abs()]


def _far(gap: float) -> str:
    return "number" if pd.isna(gap) else f"far{bisect.bisect_left(FAR, round(gap, 6))} number"


def _keys(table: pd.DataFrame, columns: Sequence[str]) -> int:
    """How many of the first columns say what a row is about, and are short enough to stay."""
    found = 0
    for column in columns[:3]:
        values = table[column]
        if is_numeric_dtype(values) or column in ("verdict", "met"):
            break
        if len(values) and values.astype(str).str.len().max() > KEY:
            break
        found += 1
    return min(found, 1) if "verdict" in table else found
