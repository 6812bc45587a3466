"""The trade-off of Table 2 epoch by epoch, as data for a plot whose epoch is a slider."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from remem import paper
from remem.report import style
from remem.site import files
from remem.site.files import Files

VIEWS = ("forget", "retain_eval")

COLUMNS = ("model", "method", "hop", "EM_f", "EM_r", "paper_EM_f", "paper_EM_r")  # of Table 2

LEVELS = (paper.BASE, paper.BEFORE, paper.RETRAINED, paper.CHANCE)  # rows that are no method


def tradeoff(kept: Files) -> dict[str, Any] | None:
    """Of each panel (model and hop) the (forget EM, retain EM) of every method after each epoch, in
    percent; beside them those of LEVELS and of the paper, of all rows (Table 2). None where the
    curves were not run, or cannot be read.

    {"panels": [{"model", "hop", "ways": {method: [[forget, retain], ...]}, "levels": {...},
    "paper": {...}}], "methods": {method: {"colour", "marker"}}, "epochs", "seeds"}.
    """
    tables = kept.folders.tables
    table2 = kept.read(tables / "table2.csv", _table2)
    if table2 is None:
        table2 = pd.DataFrame(columns=[*COLUMNS])
    return kept.read(tables / "table2_curves.csv", lambda file: _plot(files.table(file), table2))


def _plot(curve: pd.DataFrame, table2: pd.DataFrame) -> dict[str, Any] | None:
    needed = {"model", "method", "seed", "epoch", "view", "hop", "em"}
    if not needed <= {*curve} or curve.empty:
        return None
    marks = style.markers(curve["method"])
    panels = []
    for model, hop in product(dict.fromkeys(curve["model"]), paper.HOPS):
        part = curve[(curve["model"] == model) & (curve["hop"] == hop)]
        if part.empty:
            continue
        mean = 100 * part.groupby(["method", "epoch", "view"], sort=False)["em"].mean()
        points = mean.unstack("view").reindex(columns=[*VIEWS]).dropna().sort_index(level="epoch")
        ways = {method: _points(points.loc[[method]]) for method in marks if method in points.index}
        rows = table2[(table2["model"] == model) & (table2["hop"] == hop)]
        panels.append(
            {"model": model, "hop": hop, "ways": ways}
            | {"levels": _of(rows[rows["method"].isin(LEVELS)], "EM_f", "EM_r")}
            | {"paper": _of(rows, "paper_EM_f", "paper_EM_r")}
        )
    looks = marks | style.markers([name for name in LEVELS if name in style.MARKERS])
    return {
        "panels": panels,
        "methods": {name: mark._asdict() for name, mark in looks.items()},
        "epochs": int(curve["epoch"].max()),
        "seeds": int(curve["seed"].nunique()),
    }


def _table2(file: Path) -> pd.DataFrame:
    table = files.table(file).reindex(columns=[*COLUMNS])
    return table.astype(dict.fromkeys(COLUMNS[3:], float))


def _points(points: pd.DataFrame) -> list[list[float]]:
    return points.round(2).to_numpy().tolist()


def _of(rows: pd.DataFrame, forget: str, retain: str) -> dict[str, list[float]]:
    some = rows[["method", forget, retain]].dropna()
    return {name: [round(x, 2), round(y, 2)] for name, x, y in some.itertuples(index=False)}
