"""The trade-off of Table 2 epoch by epoch, as data for a plot whose epoch is a slider."""

from __future__ import annotations

from itertools import product
from typing import Any

import pandas as pd

from remem import paper, paths
from remem.report import style
from remem.site import cells

VIEWS = ("forget", "retain_eval")

LEVELS = (paper.BASE, paper.BEFORE, paper.RETRAINED, paper.CHANCE)  # rows that are no method


def tradeoff(folders: paths.Folders) -> dict[str, Any] | None:
    """Of each panel (model and hop) the (forget EM, retain EM) of every method after each epoch, in
    percent; beside them those of LEVELS and of the paper, of all rows (Table 2). None where the
    curves were not run.

    {"panels": [{"model", "hop", "ways": {method: [[forget, retain], ...]}, "levels": {...},
    "paper": {...}}], "methods": {method: {"colour", "marker"}}, "epochs", "seeds"}.
    """
    file = folders.tables / "table2_curves.csv"
    if not file.is_file():
        return None
    curve = cells.read(file)
    needed = {"model", "method", "seed", "epoch", "view", "hop", "em"}
    if not needed <= {*curve} or curve.empty:
        return None
    marks = style.markers(curve["method"])
    table2 = _table2(folders)
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


def _table2(folders: paths.Folders) -> pd.DataFrame:
    file = folders.tables / "table2.csv"
    columns = ["model", "method", "hop", "EM_f", "EM_r", "paper_EM_f", "paper_EM_r"]
    table = cells.read(file) if file.is_file() else pd.DataFrame()
    return table.reindex(columns=columns)


def _points(points: pd.DataFrame) -> list[list[float]]:
    return points.round(2).to_numpy().tolist()


def _of(rows: pd.DataFrame, forget: str, retain: str) -> dict[str, list[float]]:
    some = rows[["method", forget, retain]].dropna()
    return {name: [round(x, 2), round(y, 2)] for name, x, y in some.itertuples(index=False)}
