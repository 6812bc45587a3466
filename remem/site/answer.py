"""The answer to the question that the first page asks, in words made of Table 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from remem.paper import HOPS, METHODS, RETRAINED
from remem.report import show

SINGLE = HOPS[0]

NEEDED = ("model", "method", "hop", "EM_f", "EM_r")


def answer(table2: pd.DataFrame) -> tuple[str, ...]:
    """Two sentences: whether one of the paper's methods leaves a model where the retrained one
    lies, and between what the methods choose; none where Table 2 cannot tell.

    A method comes there where, of one model and hop, its 95 % intervals of forget and of retain EM
    both reach the retrained model's. The numbers are of the first model, asked by name.
    """
    if not {*NEEDED} <= {*table2}:
        return ()
    known = table2.dropna(subset=["EM_f", "EM_r"])
    compared = [
        (row, retrained)
        for _, rows in known.groupby(["model", "hop"], sort=False)
        for retrained in rows[rows["method"] == RETRAINED].to_dict("records")[:1]
        for row in rows[rows["method"].isin(METHODS)].to_dict("records")
    ]
    if not compared:
        return ()
    there = list(dict.fromkeys(row["method"] for row, aim in compared if _reaches(row, aim)))
    asked = [pair for pair in compared if pair[0]["hop"] == SINGLE] or compared
    model = asked[0][0]["model"]
    return _verdict(there), _choice([pair for pair in asked if pair[0]["model"] == model])


def _reaches(row: dict[str, Any], aim: dict[str, Any]) -> bool:
    """Whether the intervals of a method and of the retrained model meet, in both scores."""
    return all(
        row.get(f"{name}_lo", row[name]) <= aim.get(f"{name}_hi", aim[name])
        and row.get(f"{name}_hi", row[name]) >= aim.get(f"{name}_lo", aim[name])
        for name in ("EM_f", "EM_r")
    )


def _verdict(there: Sequence[str]) -> str:
    where = "where a model lies that was trained again without those people"
    if not there:
        return f"By these methods, not yet: none comes {where}."
    come = "come" if len(there) > 1 else "comes"
    return f"In places: {show.listed(there)} {come} {where}, for some model and hop."


def _choice(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Which method forgets most, and which keeps most, of one model."""
    rows, aim = [row for row, _ in pairs], pairs[0][1]
    most, kept = min(rows, key=lambda row: row["EM_f"]), max(rows, key=lambda row: row["EM_r"])
    by_name = "Where questions name the person" if aim["hop"] == SINGLE else "Asked by the face"
    said = (
        f"{by_name}, {most['method']} forgets most: {most['EM_f']:.0f} % of the questions about "
        f"them are still answered right, and {most['EM_r']:.0f} % of those about everybody else"
    )
    if kept["method"] != most["method"]:
        said += f"; {kept['method']} keeps most: {kept['EM_f']:.0f} and {kept['EM_r']:.0f} %"
    return f"{said}. The model trained again: {aim['EM_f']:.0f} and {aim['EM_r']:.0f} %."
