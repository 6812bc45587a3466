"""A table as a reader sees it: ours, its interval and the paper's number in one cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from remem import metrics
from remem.paper import RULE

ABILITY = ("MMBench", "MMBench_generated", "MMBench_circular")  # the measures of Table 4

RULE_JUDGE = "rule judge (ours, not Gemini)"


def judged_by(table: pd.DataFrame) -> str:
    """Whose score a table's column `judge` is: a Gemini's, with its name, or our rule's."""
    names = table["judged_by"].dropna().unique() if "judged_by" in table else []
    # "": what was read back from a CSV has no NaN where a row, such as chance, was not judged.
    who = " and ".join(f"Gemini ({name})" for name in names if name not in (RULE, ""))
    return who or RULE_JUDGE


def judge_name(table: pd.DataFrame) -> str:
    """The same in short: "rule judge" or "Gemini"."""
    return judged_by(table).partition(" (")[0]


def head(table: pd.DataFrame, name: str) -> str:
    """What stands above a column: its name, but whose score it is for the judge's, and for Table
    4's which questions were asked (the column `questions`): MMBench's name is for its own."""
    if name == "judge":
        return judged_by(table)
    if name in ABILITY and "questions" in table and len(table):
        return name.replace("_", ", ").replace("MMBench", str(table["questions"].iloc[0]))
    return name


def show(table: pd.DataFrame, digits: int = 1, versions: bool = True) -> Styler:
    """The table for reading (a pandas Styler): ours, its interval, the paper's number small below.

    Every text is escaped. A column has its `head`. A column that stays below 10 gets
    one digit more, one of whole numbers without interval none, and what a claim compares with a
    small margin as many as the margin needs. The caption states the versions (metrics.VERSIONS) of
    the metrics that the table shows.
    """
    columns = [name for name in table if not _belongs(name, table)]
    rows = table.to_dict("records")  # unlike iterrows, each column keeps its type
    cells = {}
    for name in columns:
        places = _places(table, name, digits)
        cells[escape(head(table, str(name)))] = [
            _cell(row, name, _finer(row, name, places)) for row in rows
        ]
    shown = (
        pd.DataFrame(cells, index=range(len(table)))
        .style.hide(axis="index")
        .set_table_styles(
            [
                {"selector": "th, td", "props": "text-align: left; vertical-align: top"},
                {"selector": "caption", "props": "caption-side: bottom; text-align: left"},
            ]
        )
    )
    met = metric_versions(table) if versions else {}
    if met:
        stated = ", ".join(f"{metric} {version}" for metric, version in met.items())
        shown.set_caption(f"Versions of the metrics: {stated}.")
    return shown


def main(table: pd.DataFrame) -> pd.DataFrame:
    """Table 2 without what stands beside it (metrics.BESIDE_TABLE2) and the units, for reading."""
    beside = [f"{name}{end}" for name in metrics.BESIDE_TABLE2 for end in ("", "_lo", "_hi")]
    return table.drop(columns=[*beside, "units", "units_retain"], errors="ignore")


# A table's column -> the metric that it is a mean of.
_METRIC = {
    **{name: measure for name, (_, measure) in (metrics.TABLE3 | metrics.TABLE2).items()},
    **{name: name for name in metrics.VERSIONS},
}


def metric_versions(table: pd.DataFrame) -> dict[str, int]:
    """The metrics that a table has columns of, and their versions; a Gemini's score has none."""
    met = {_METRIC[name]: None for name in map(str, table) if name in _METRIC}
    if met.pop("judge", 0) is None and judged_by(table) == RULE_JUDGE:
        met["judge_rule"] = None
    return {metric: version for metric, version in metrics.VERSIONS.items() if metric in met}


def _places(table: pd.DataFrame, name: str, digits: int) -> int:
    numbers = pd.to_numeric(table[name], errors="coerce").abs()
    alone = f"{name}_lo" not in table and f"paper_{name}" not in table
    if alone and (numbers.dropna() % 1 == 0).all():
        return 0
    return digits + bool(numbers.max() < 10)


def _finer(row: Mapping[str, Any], name: str, places: int) -> int:
    """The digits of one cell: a claim about a perplexity, whose margin is 0.05, stands in the same
    column as those about points, and would be 0.0 with theirs."""
    margin = row.get("margin")
    if name not in ("paper", "ours", "lo", "hi") or not isinstance(margin, float) or not margin > 0:
        return places
    return max(places, 1 - math.floor(math.log10(margin)))


def _belongs(name: str, table: pd.DataFrame) -> bool:
    """Whether a column is shown with another one: its interval's end, the paper's, the judge."""
    if name.startswith("paper_"):
        return name.removeprefix("paper_") in table
    if name in ("judged_by", "questions"):
        return ("judge" if name == "judged_by" else ABILITY[0]) in table
    return name.endswith(("_lo", "_hi")) and name[:-3] in table


def _cell(row: Mapping[str, Any], name: str, digits: int) -> str:
    value = row[name]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return "" if pd.isna(value) else escape(str(value))
    text = "" if pd.isna(value) else f"{value:z.{digits}f}"  # z: no minus before a zero
    lo, hi, printed = (row.get(other) for other in (f"{name}_lo", f"{name}_hi", f"paper_{name}"))
    if pd.notna(lo):
        text += f" <small>[{lo:z.{digits}f}, {hi:z.{digits}f}]</small>"
    if pd.notna(printed):
        text += f"<br><small>paper {printed:z.2f}</small>"
    return text


def listed(parts: Sequence[str]) -> str:
    """As people say them: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)
