"""Comparisons with a margin, and the verdict on one: the statistics beneath the claims.

A contrast gives one number per unit (seed, identity), or two groups of them, from *cells*: for each
column of a table, units x row keys. A row or column that was not run gives none.

It *holds* when its mean's 95 % interval lies above the margin, *does not hold* when that lies
below, and otherwise *cannot be told*: as with fewer than eight units, for which there is no
interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from remem import metrics

HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot be told"

Cells = Mapping[str, pd.DataFrame]  # column -> numbers, (seed, identity) x row key

Group = pd.Series  # one number per unit; a contrast gives one, or two of which people differ


def _take(cells: Cells, column: str, rows: Sequence[str | float]) -> pd.DataFrame:
    """Units x `rows`: NaN where a row was not run; a number is a row that holds it in each unit."""
    levels = {row: float(row) for row in rows if not isinstance(row, str)}
    table = cells.get(column, pd.DataFrame()).reindex(columns=[*rows])
    return table.astype(float).fillna(levels)


class Contrast(NamedTuple):
    """`column` at row `left` less its mean over rows `right`, in each unit, against `margin`.

    A number in place of a row is a level: 50 less "FIUBench" asks whether that is below 50.
    """

    column: str
    left: str | float
    right: tuple[str | float, ...]
    margin: float = 0.0

    def __str__(self) -> str:
        """As a verdict's column `weakest` names it."""
        return f"{self.column}: {self.left} - {' & '.join(map(str, self.right))}"

    @property
    def unit(self) -> str:
        """Of the difference: percentage points, or what perplexity is counted in."""
        return "perplexity" if self.column == "perplexity" else "points"

    def groups(self, cells: Cells) -> tuple[Group, ...]:
        """Differences by (seed, identity); empty when a row was not run."""
        table = _take(cells, self.column, [self.left, *self.right])
        return ((table.iloc[:, 0] - table.iloc[:, 1:].mean(axis=1, skipna=False)).dropna(),)


class Between(NamedTuple):
    """`column` at row `left` less at row `right`, whose people are others, though called alike."""

    column: str
    left: str
    right: str
    margin: float = 0.0
    unit = "points"

    def __str__(self) -> str:
        """As a verdict's column `weakest` names it."""
        return f"{self.column}: people of {self.left} - people of {self.right}"

    def groups(self, cells: Cells) -> tuple[Group, ...]:
        """The numbers of the two rows, each by its own (seed, identity)."""
        return tuple(_take(cells, self.column, [row])[row].dropna() for row in self[1:3])


class Excess(NamedTuple):
    """Contrast `first` less contrast `second`, in each unit: by how much more it falls, say."""

    first: Contrast
    second: Contrast
    margin: float = 0.0
    unit = "points"

    def __str__(self) -> str:
        """As a verdict's column `weakest` names it."""
        return f"({self.first}) - ({self.second})"

    @property
    def column(self) -> str:
        """The table's column that both contrasts are about."""
        return self.first.column

    def groups(self, cells: Cells) -> tuple[Group, ...]:
        """Differences of the differences, by (seed, identity); empty when a row was not run."""
        [first], [second] = self.first.groups(cells), self.second.groups(cells)
        return ((first - second).dropna(),)


class Trend(NamedTuple):
    """Spearman's rank correlation of `column` with the order of `rows`, in each unit.

    Above 0 it rises along the rows; a constant has 0. A unit counts with the rows that it has, if
    two: who is forgotten at 15 % is not yet at 5 %.
    """

    column: str
    rows: tuple[str, ...]
    margin: float = 0.0
    unit = "rank correlation"

    def __str__(self) -> str:
        """As a verdict's column `weakest` names it."""
        return f"{self.column} along {self.rows[0]} ... {self.rows[-1]}"

    def groups(self, cells: Cells) -> tuple[Group, ...]:
        """Rank correlations by (seed, identity)."""
        ranks = _take(cells, self.column, self.rows).rank(axis=1)
        ranks = ranks[ranks.notna().sum(axis=1) > 1]
        places = ranks.notna().cumsum(axis=1).where(ranks.notna())
        return (ranks.corrwith(places, axis=1).fillna(0.0),)


class Correlation(NamedTuple):
    """Pearson's r between columns `first` and `second` over `rows` (methods of one size and hop).

    The two columns are about different people, so a unit (seed, identity) of `second` meets the
    mean of `first` over that seed's people.
    """

    first: str
    second: str
    rows: tuple[str, ...]
    margin: float = 0.0
    unit = "correlation r"

    def __str__(self) -> str:
        """As a verdict's column `weakest` names it."""
        return f"r({self.first}, {self.second}): {self.rows[0]} ... {self.rows[-1]}"

    def groups(self, cells: Cells) -> tuple[Group, ...]:
        """Correlations by (seed, identity) of `second`; empty when a row was not run."""
        first = _take(cells, self.first, self.rows).groupby(level=0).mean()
        second = _take(cells, self.second, self.rows)
        first = first.reindex(second.index.get_level_values(0))
        pairs = zip(first.to_numpy(), second.to_numpy(), strict=True)
        return (pd.Series([_pearson(*pair) for pair in pairs], second.index, dtype=float).dropna(),)


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) > 0 and np.ptp(second) > 0:
        return float(np.corrcoef(first, second)[0, 1])
    return np.nan  # a constant, or a method that was not run, has no correlation


def gap(first: ArrayLike, second: ArrayLike = (0.0,), *, axis: int = -1):
    """The mean, or the difference of two means."""
    return np.asarray(first).mean(axis) - np.asarray(second).mean(axis)


class Verdict(NamedTuple):
    """HOLDS, FAILS or UNTOLD, and the mean difference, its interval and its units behind it."""

    word: str
    mean: float
    lo: float
    hi: float
    units: int


def verdict(groups: Sequence[Sequence[float]], margin: float, contrasts: int = 1) -> Verdict:
    """On one of a claim's `contrasts`: holds when `lo` is above `margin`, fails when `hi` is not.

    groups: one difference per unit, or the values of two independent groups, whose means are
    compared; below eight units (in the smaller) there is no interval, and nothing can be told. By
    percentile bootstrap of each group, lo is the lower end of the 95 % interval, hi the upper end
    at 1 - 0.05 / contrasts (Bonferroni; report/claims.py says why).
    """
    values = [np.asarray(group, dtype=float) for group in groups]
    units = min(map(len, values))
    lo = hi = np.nan
    if units >= metrics.FEWEST:
        from scipy.stats import bootstrap

        drawn = bootstrap(
            values, gap, n_resamples=10_000, method="percentile", rng=0, vectorized=True
        ).bootstrap_distribution
        lo, hi = np.quantile(drawn, [0.025, 1 - 0.025 / contrasts])
    word = HOLDS if lo > margin else FAILS if hi <= margin else UNTOLD
    return Verdict(word, gap(*values) if units else np.nan, lo, hi, units)
