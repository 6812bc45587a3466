"""Which formula of Exposure was the paper's? Eq. 1 is lost; two sources print forget EM beside
Exposure, and each formula predicts the one from the other."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remem import metrics, paper

FORMULAS = {"log": "Exposure", "linear": "Exposure_linear"}  # and the columns of our tables
SOURCES = {"table2": "paper", "pava": "PAVA"}  # items of paper.csv
CLOSE = 5.0  # points of RMSE within which a formula may be called the paper's
OPEN = "open"


def levels(rows: pd.DataFrame) -> pd.DataFrame:
    """Where right and wrong answers stand in our runs, by hop and answered ("right", "wrong"): n,
    first (percent of them whose value has rank 1), Exposure, Exposure_linear.

    rows: scored forget rows (`em`, `candidate_rank`, ...) of the models that are to be pooled.
    """
    answered = rows.assign(answered=rows["em"].map({1: "right", 0: "wrong"}))
    answered["first"] = 100.0 * (answered["candidate_rank"] == 1)
    return answered.groupby(["hop", "answered"], sort=False).agg(
        n=("em", "size"),
        first=("first", "mean"),
        Exposure=("exposure", "mean"),
        Exposure_linear=("exposure_linear", "mean"),
    )


def predictions(ours: pd.DataFrame) -> pd.DataFrame:
    """The printed rows: row, source, EM_f, Exposure; then of each formula what it predicts and by
    how much the printed Exposure lies above it (`residual_`), with ranks as assumed (`log`,
    `linear`) and as measured (`log_measured`, `linear_measured`).

    Assumed: a right answer has rank 1, the rest is even over the ranks below, of as many candidates
    as the paper has people. Measured: right and wrong answers stand where they do in `ours`
    (levels), by the row's hop; missing where none was right, or none wrong.
    """
    printed = [
        paper.paper_table(item)[["EM_f", "Exposure"]].assign(source=source)
        for item, source in SOURCES.items()
    ]
    table = pd.concat(printed).reset_index(names="row")
    table["source"] += ", " + table["row"].str.extract(r"-(\d+b)/")[0].str.upper()
    table = table[["row", "source", "EM_f", "Exposure"]]
    share, hops = table["EM_f"] / 100, table["row"].str.rpartition("/")[2]
    people = int(paper.paper_table("setup").identities["dataset"])
    below = np.arange(2, people + 1)
    for formula, column in FORMULAS.items():
        even = np.mean(metrics.exposure(below, np.full(len(below), people), formula))
        table[formula] = 100 * share + even * (1 - share)
        level = ours[column].unstack("answered").reindex(hops, columns=["right", "wrong"])
        right, wrong = level.to_numpy().T
        table[f"{formula}_measured"] = right * share + wrong * (1 - share)
    for name in _predicted():
        table[f"residual_{name}"] = table["Exposure"] - table[name]
    return table


def fit(table: pd.DataFrame) -> pd.DataFrame:
    """source (both sizes of the paper together, then each), ranks (assumed or measured), formula,
    n (rows), RMSE, bias (points of Exposure); table: `predictions`."""
    both = table["source"].str.startswith("paper")
    parts = [("paper, both", table[both]), *table.groupby("source", sort=False)]
    lines = []
    for source, part in parts:
        for name in _predicted():
            miss = part[f"residual_{name}"]
            formula, _, ranks = name.partition("_")
            line = {"source": source, "ranks": ranks or "assumed", "formula": formula}
            rmse = float(np.sqrt((miss**2).mean()))
            lines.append(line | {"n": miss.count(), "RMSE": rmse, "bias": miss.mean()})
    return pd.DataFrame(lines)


def verdict(fitted: pd.DataFrame) -> str:
    """The formula that is the nearer, and within CLOSE, for both sources and whichever ranks are
    taken; OPEN where there is none, or where ranks could not be measured."""
    told = fitted[~fitted["source"].isin(["paper, 7B", "paper, 13B"])]
    if told["RMSE"].isna().any():
        return OPEN
    nearest = told.loc[told.groupby(["source", "ranks"])["RMSE"].idxmin()]
    settled = nearest["formula"].nunique() == 1 and nearest["RMSE"].le(CLOSE).all()
    return nearest["formula"].iloc[0] if settled else OPEN


def _predicted() -> list[str]:
    return [f"{formula}{ranks}" for ranks in ("", "_measured") for formula in FORMULAS]
