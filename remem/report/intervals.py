"""The interval of a contrast, and the word that it earns.

The interval is that of a new run with new people: the variance of a mean is that of the runs' means
plus that of the people's means, which counts what both share twice and so errs to the wide side;
Student's t, with Satterthwaite's degrees of freedom. docs/verdicts.md says why, and how often the
rule errs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from remem import metrics
from remem.report.contrasts import Groups, Test

HOLDS, REVERSED, SMALLER, UNTOLD = "holds", "reversed", "smaller than the margin", "cannot be told"


class Estimate(NamedTuple):
    """A mean, the standard error and degrees of freedom of its t interval, and what it is over."""

    mean: float
    error: float
    df: float
    units: int
    people: int
    runs: int

    def bounds(self, tail: float) -> tuple[float, float]:
        """The interval that leaves out `tail` at each end; NaN below eight units."""
        from scipy.special import stdtrit

        if self.units < metrics.FEWEST:
            return np.nan, np.nan
        half = stdtrit(self.df, 1 - tail) * self.error if self.error > 0 else 0.0
        return float(self.mean - half), float(self.mean + half)

    def tails(self, value: float) -> tuple[float, float]:
        """One-sided p of "not above `value`", and of "not below" it."""
        from scipy.special import stdtr

        if self.units < metrics.FEWEST:
            return np.nan, np.nan
        if self.error <= 0:
            return float(self.mean <= value), float(self.mean >= value)
        at = (self.mean - value) / self.error
        return float(stdtr(self.df, -at)), float(stdtr(self.df, at))


def estimate(groups: Groups) -> Estimate:
    """The sum of the groups' means; units, people and runs are those of the smallest group."""
    if not groups:
        return Estimate(np.nan, np.nan, np.nan, 0, 0, 0)
    mean = variance = spread = 0.0
    sizes = []
    for numbers in map(_once, groups.values()):
        run, _, person = (np.unique(code, return_inverse=True)[1] for code in numbers.index.codes)
        codes = [person, run]
        sizes.append((len(numbers), *(code.max(initial=-1) + 1 for code in codes)))
        parts = variances(numbers.to_numpy()[None], codes)
        mean += numbers.mean()
        variance += sum(float(part[0]) for part, _ in parts)
        spread += sum(float(part[0]) ** 2 / df for part, df in parts)
    df = variance**2 / spread if spread > 0 else np.inf
    units, people, runs = (int(min(column)) for column in zip(*sizes, strict=True))
    return Estimate(float(mean), float(np.sqrt(variance)), df, units, people, runs)


def variances(values: np.ndarray, codes: Sequence[np.ndarray]) -> list[tuple[np.ndarray, int]]:
    """Of the means of `values` (draws, units), as each clustering of the units has it, and its
    degrees of freedom: codes, (units,) each, number the clusters from 0. One cluster says nothing.

    m / (m - 1) times the sum of squares of the m clusters' sums, about the mean, over units squared
    (Liang and Zeger 1986); the sum over clusterings is Cameron, Gelbach and Miller's (2011) without
    the part taken off for what they share.
    """
    units = values.shape[1]
    off = values - values.mean(axis=1, keepdims=True)
    found = []
    for code in codes:
        many = int(code.max(initial=-1)) + 1
        if many > 1:
            sums = off @ np.eye(many)[code]
            found.append((many / (many - 1) * (sums**2).sum(axis=1) / units**2, many - 1))
    return found


def _once(numbers: pd.Series) -> pd.Series:
    """Runs whose people (eight or more) all have the same numbers are one run seen twice, such as
    the base model's answers with every seed: they count once."""
    _, people = np.unique(numbers.index.codes[1], return_counts=True)
    if len(people) == 1 or len(numbers) < metrics.FEWEST * len(people):
        return numbers
    table = numbers.round(9).unstack("identity")
    table = table[(table.notna().sum(axis=1) < metrics.FEWEST) | ~table.duplicated()]
    return numbers[numbers.index.droplevel("identity").isin(table.index)]


class Verdict(NamedTuple):
    """The word, the least side's mean, its interval, p, what it is over and which side it is."""

    word: str
    mean: float
    lo: float
    hi: float
    p: float
    units: int
    people: int
    runs: int
    side: int


def verdict(found: Sequence[Estimate], test: Test) -> Verdict:
    """On the least of a claim's sides. Its 95 % interval: from the least of the lower ends, each
    at 97.5 %, which need no correction as all sides have to hold; to the least of the upper ends,
    which are corrected for the number of sides (Bonferroni), as the least of many falls short by
    chance.

    above    holds: lo above 0. reversed: hi below 0. smaller: both within the margin.
    beyond   holds: lo above the margin. reversed: hi below 0. smaller: hi below the margin.
    alike    holds: both within the margin. reversed: the interval lies wholly outside.
    """
    side = int(np.argmin([each.mean for each in found]))
    lo = min(each.bounds(0.025)[0] for each in found)
    hi = min(each.bounds(0.025 / len(found))[1] for each in found)
    units, people, runs = (min(getattr(e, n) for e in found) for n in ("units", "people", "runs"))
    if units < metrics.FEWEST:
        lo = hi = np.nan
    margin = test.margin
    within = -margin < lo and hi < margin
    if test.rule == "alike":
        outside = lo > margin or hi < -margin
        word = HOLDS if within else REVERSED if outside else UNTOLD
    else:
        small = within if test.rule == "above" else hi < margin
        word = HOLDS if lo > test.bound else REVERSED if hi < 0 else SMALLER if small else UNTOLD
    p = _p(found, test) if units >= metrics.FEWEST else np.nan
    return Verdict(word, found[side].mean, lo, hi, p, units, people, runs, side)


def _p(found: Sequence[Estimate], test: Test) -> float:
    """Two-sided, of the effect being `test.bound`; for "alike" of its being the margin, either."""
    low, high = zip(*(each.tails(test.bound) for each in found), strict=True)
    if test.rule != "alike":
        return min(1.0, 2 * min(max(low), len(found) * min(high)))
    low_too, high_too = zip(*(each.tails(test.margin) for each in found), strict=True)
    inside = max(*low, *high_too)
    outside = len(found) * min(*high, *low_too)
    return min(1.0, 2 * min(inside, outside))
