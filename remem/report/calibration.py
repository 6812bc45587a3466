"""How far a judge agrees with a reader: the same answers, graded by hand and by each judge."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from remem import metrics, paper
from remem.config.services import Account, Judge
from remem.evaluation import judge
from remem.evaluation.graded import TEXTS

EXACT = "exact match"  # what a judge has to be better than: 1 where it is one, else 0

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)  # those that the judge's prompt describes

ALL = "all"

MEASURES = ("agreement", "difference", "kappa", "bias")

SHOWN = ["judged_by", "grade", "score", "reason", "target", "answer_given"]  # of `disagreements`


def judged(graded: pd.DataFrame, settings: Judge, account: Account) -> pd.DataFrame:
    """The graded answers once for each judge, with `judged_by` and `score` (0 to 1, NaN where it
    gave none): the rule; Gemini, where `settings` names one and its key or its scores are there
    (judge.score, which says why where it was not asked, and what it raises); and exact match.
    """
    scored = {paper.RULE: pd.Series(metrics.leaks(graded), graded.index)}
    if settings.model:
        asked = judge.score(graded, settings, account)
        scored |= {str(name): part["judge"] for name, part in asked.groupby("judged_by")}
    scored[EXACT] = pd.Series(metrics.em(graded), graded.index)
    parts = [graded.assign(judged_by=name, score=score) for name, score in scored.items()]
    return pd.concat(parts, ignore_index=True)


def step(scores):
    """The nearest of STEPS; of what is half-way between two, as an eighth is, the upper one."""
    return np.floor(4 * np.asarray(scores, dtype=float) + 0.5) / 4


def table(scored: pd.DataFrame, resamples: int = 2000) -> pd.DataFrame:
    """judged_by, answers, n (how many), then MEASURES, each with _lo and _hi: the 95 % percentile
    bootstrap over values, since what is said of one value is alike; NaN below metrics.FEWEST.

    answers: ALL, or a value of the columns part, hop and attribute, as far as there are these.
    agreement: percent whose `step` is the reader's. difference and bias: mean absolute and mean
    signed difference of score and grade, in points of 100; above 0 the judge sees more told than
    the reader. kappa: Cohen's, of the steps, with quadratic weights; NaN where both gave all
    answers one and the same step. Answers without a score count in none of these.
    """
    lines = []
    for name, rows in scored.dropna(subset="score").groupby("judged_by", sort=False):
        for answers, part in _parts(rows):
            line = {"judged_by": name, "answers": answers, "n": len(part)}
            found, spread = _measures(part, np.ones(len(part))), _resampled(part, resamples)
            for measure in MEASURES:
                line[measure] = float(found[measure])
                line[f"{measure}_lo"], line[f"{measure}_hi"] = _ends(spread, measure)
            lines.append(line)
    return pd.DataFrame(lines)


def _parts(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield ALL, rows
    for column in ("part", "hop", "attribute"):
        if column in rows:
            yield from ((str(name), part) for name, part in rows.groupby(column))


def _measures(rows: pd.DataFrame, weights: np.ndarray) -> dict[str, np.ndarray]:
    """MEASURES of the (n,) rows, where each counts as often as its weights (..., n) say."""

    def mean(values: np.ndarray) -> np.ndarray:
        return weights @ values / weights.sum(-1)

    def variance(values: np.ndarray) -> np.ndarray:
        return mean(values**2) - mean(values) ** 2

    given, said = rows["grade"].to_numpy(), rows["score"].to_numpy()
    reader, machine = step(given), step(said)
    # With quadratic weights kappa needs no table of counts: how far apart two who know nothing of
    # each other are on average follows from their means and variances.
    apart = mean((reader - machine) ** 2)
    by_chance = variance(reader) + variance(machine) + (mean(reader) - mean(machine)) ** 2
    alike = np.isclose(by_chance, 0)
    return {
        "agreement": 100 * mean(reader == machine),
        "difference": 100 * mean(np.abs(said - given)),
        "kappa": np.where(alike, np.nan, 1 - apart / np.where(alike, 1, by_chance)),
        "bias": 100 * mean(said - given),
    }


def _resampled(rows: pd.DataFrame, resamples: int) -> dict[str, np.ndarray]:
    """MEASURES of each resample of the values; none where there are too few."""
    value, names = pd.factorize(rows["target"])
    units = len(names)
    if units < metrics.FEWEST:
        return {}
    drawn = np.random.default_rng(0).multinomial(units, np.full(units, 1 / units), resamples)
    return _measures(rows, drawn[:, value].astype(float))


def _ends(spread: dict[str, np.ndarray], measure: str) -> tuple[float, float]:
    """The middle 95 % of a measure, without the resamples in which it is not defined."""
    known = spread.get(measure, np.empty(0))
    known = known[~np.isnan(known)]
    if not len(known):
        return np.nan, np.nan
    lo, hi = np.quantile(known, [0.025, 0.975])
    return float(lo), float(hi)


def confusion(scored: pd.DataFrame) -> pd.DataFrame:
    """judged_by, grade (the reader's, by `step`), and for each of STEPS to how many answers of that
    grade the judge gave it; a line for each judge and step."""
    steps = scored.dropna(subset="score").assign(
        grade=lambda rows: step(rows["grade"]), given=lambda rows: step(rows["score"])
    )
    names = list(dict.fromkeys(steps["judged_by"]))
    counts = steps.groupby(["judged_by", "grade", "given"]).size().unstack("given", fill_value=0)
    every = pd.MultiIndex.from_product([names, STEPS], names=["judged_by", "grade"])
    counts = counts.reindex(index=every, columns=[*STEPS], fill_value=0)
    return counts.rename(columns="{:g}".format).rename_axis(columns=None).reset_index()


def disagreements(scored: pd.DataFrame) -> pd.DataFrame:
    """The answers to which a judge gave another `step` than the reader: judged_by, grade, score,
    reason (the reader's), TEXTS, then what else the file says. Judge by judge, the farthest apart
    first."""
    known = scored.dropna(subset="score")
    apart = known[step(known["score"]) != step(known["grade"])]
    order = pd.DataFrame(
        {
            "judge": pd.factorize(apart["judged_by"])[0],
            # rounded: what is as far apart stays in the order in which it was read
            "near": -(apart["score"] - apart["grade"]).abs().round(6),
        },
        apart.index,
    ).sort_values(["judge", "near"], kind="stable")
    first = ["judged_by", "grade", "score", *(["reason"] * ("reason" in apart)), *TEXTS]
    others = [name for name in apart if name not in first]
    return apart.loc[order.index, [*first, *others]].reset_index(drop=True)


def in_words(calibration: pd.DataFrame) -> str:
    """A sentence for each judge, from the lines of `table` about all answers."""
    return " ".join(
        f"**{line['judged_by']}**: the reader's grade for {_said(line, 'agreement', 0)} % of "
        f"{line['n']} answers; kappa {_said(line, 'kappa', 2)}, difference "
        f"{_said(line, 'difference', 1)} and bias {_said(line, 'bias', 1)} points."
        for line in calibration[calibration["answers"] == ALL].to_dict("records")
    )


def _said(line: dict, measure: str, digits: int) -> str:
    value, lo, hi = (line[f"{measure}{end}"] for end in ("", "_lo", "_hi"))
    interval = "" if np.isnan(lo) else f" ({lo:.{digits}f} to {hi:.{digits}f})"
    return f"{value:.{digits}f}{interval}"
