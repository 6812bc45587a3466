"""What a claim compares: its contrast, in parts.

A *cell* compares rows of one table in each unit: one person under one run, say GD less KL at 7B,
single-hop, in retain EM. A *side* is the mean of such cells over what the claim speaks of (sizes,
hops, methods). A claim has one side; one that says "highest" or "between" has a side for each rival
and is worth no more than the least of them, so that nothing is called highest with another above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

UNIT = ["run", "seed", "identity"]  # the index of cells

Cells = Mapping[str, pd.DataFrame]  # column -> numbers, UNIT x row key

Groups = dict[str, pd.Series]  # people of one kind -> one number per unit; the effect sums them


def _take(cells: Cells, column: str, rows: Sequence[str | float]) -> pd.DataFrame:
    """Units x `rows`: NaN where a row was not run; a number is a row that holds it in each unit."""
    levels = {row: float(row) for row in rows if not isinstance(row, str)}
    table = cells.get(column, pd.DataFrame()).reindex(columns=[*rows])
    return table.astype(float).fillna(levels)


def _same(numbers: pd.Series) -> Groups:
    """The groups of what is paired within units; none where there is no unit."""
    return {"": numbers.dropna()} if numbers.notna().any() else {}


def mean_of(found: Sequence[Groups]) -> Groups:
    """The mean of cells that were all run, over those that a unit has; by kinds of people."""
    kinds = dict.fromkeys(kind for groups in found for kind in groups)
    means = {}
    for kind in kinds:
        each = [groups[kind] for groups in found if kind in groups]
        means[kind] = pd.concat(each, axis=1).mean(axis=1) * len(each) / len(found)
    return means


class Contrast(NamedTuple):
    """`column` at row `left` less its mean over rows `right`, in each unit.

    A number in place of a row is a level: 50 less "FIUBench" asks whether that is below 50.
    """

    column: str
    left: str | float
    right: tuple[str | float, ...]

    def groups(self, cells: Cells) -> Groups:
        """Differences by unit; none when a row was not run."""
        table = _take(cells, self.column, [self.left, *self.right])
        return _same(table.iloc[:, 0] - table.iloc[:, 1:].mean(axis=1, skipna=False))


class Between(NamedTuple):
    """`column` at row `left` less at row `right`, whose people are others, though called alike.
    Either may be a level."""

    column: str
    left: str | float
    right: str | float

    def groups(self, cells: Cells) -> Groups:
        """The numbers of the two rows, each by its own units, the right one's negative; none when
        one was not run."""
        level, found = 0.0, {}
        for row, sign in ((self.left, 1), (self.right, -1)):
            if isinstance(row, str):
                found[row] = sign * _take(cells, self.column, [row])[row].dropna()
            else:
                level += sign * row
        first = next(iter(found))
        found[first] = found[first] + level
        return found if all(map(len, found.values())) else {}


class Excess(NamedTuple):
    """Contrast `first` less contrast `second`, in each unit: by how much more it falls, say."""

    first: Contrast
    second: Contrast

    @property
    def column(self) -> str:
        """The table's column that it is about."""
        return self.second.column

    def groups(self, cells: Cells) -> Groups:
        """Differences of the differences, by unit; none when a row was not run."""
        first, second = self.first.groups(cells), self.second.groups(cells)
        return _same(first[""] - second[""]) if first and second else {}


class Change(NamedTuple):
    """By how much `column` rises from the first of `rows` to the last, along the line of least
    squares through them at places `at`, in each unit that has both ends."""

    column: str
    rows: tuple[str, ...]
    at: tuple[float, ...]

    def groups(self, cells: Cells) -> Groups:
        """Changes by unit; none when an end was not run."""
        table = _take(cells, self.column, self.rows)
        table = table.dropna(subset=[self.rows[0], self.rows[-1]])
        places = table.notna() * np.asarray(self.at, dtype=float)
        places = places.where(table.notna())
        off = places.sub(places.mean(axis=1), axis=0)
        slope = (off * table).sum(axis=1) / (off**2).sum(axis=1)
        return _same(slope * (self.at[-1] - self.at[0]))


class Trend(NamedTuple):
    """Spearman's rank correlation of `column` with the order of `rows`, those that were run, both
    ends among them, in each unit that has all of these.

    Above 0 it rises along the rows; a constant has 0.
    """

    column: str
    rows: tuple[str, ...]

    def groups(self, cells: Cells) -> Groups:
        """Rank correlations by unit; none when an end was not run."""
        table = _take(cells, self.column, self.rows).dropna(axis=1, how="all")
        if not {self.rows[0], self.rows[-1]} <= {*table}:
            return {}
        ranks = table.dropna().rank(axis=1)
        places = pd.Series(np.arange(table.shape[1]), index=ranks.columns)
        return _same(
            ranks.corrwith(places, axis=1).fillna(0.0) if len(ranks) else ranks.sum(axis=1)
        )


class Correlation(NamedTuple):
    """Pearson's r between columns `first` and `second` over `rows` (methods of one size and hop).

    The two columns are about different people, so a unit of `second` meets the mean of `first` over
    its seed's people.
    """

    first: str
    second: str
    rows: tuple[str, ...]

    @property
    def column(self) -> str:
        """Both columns."""
        return f"{self.first}, {self.second}"

    def groups(self, cells: Cells) -> Groups:
        """Correlations by unit of `second`; none when a row was not run."""
        first, second = (_take(cells, name, self.rows) for name in self[:2])
        if first.empty or second.empty:
            return {}
        mean = first.groupby(level="seed").mean().reindex(second.index.get_level_values("seed"))
        x, y = (t.to_numpy() - t.to_numpy().mean(axis=1, keepdims=True) for t in (mean, second))
        spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
        with np.errstate(invalid="ignore"):  # a constant has no correlation
            r = np.where(spread > 1e-9, (x * y).sum(axis=1) / spread, np.nan)
        return _same(pd.Series(r, second.index))


class Matched(NamedTuple):
    """`column` (of retained people) with method and size `left` less with `right`, at equal forget
    EM: where each way over the epochs first falls to the least forget EM that both reach.

    cells: from the curves over epochs, rows such as "tiny-7b/GD/3" (the epoch) of `column`, and of
    "EM_f" for the forgotten. Each run is read at its own place, by linear interpolation.
    """

    column: str
    left: str
    right: str

    def groups(self, cells: Cells) -> Groups:
        """Differences by unit of `column`; none when a way was not run."""
        ways = {}
        for row in (self.left, self.right):
            epochs = sorted(
                int(key.rpartition("/")[2])
                for key in cells.get("EM_f", ())
                if key.rpartition("/")[0] == row
            )
            keys = [f"{row}/{epoch}" for epoch in epochs]
            if not keys:
                return {}
            forgotten = _take(cells, "EM_f", keys).groupby(level="seed").mean().dropna()
            ways[row] = forgotten, _take(cells, self.column, keys).dropna()
        seeds = sorted(set.intersection(*(set(way.index) for way, _ in ways.values())))
        parts = []
        for seed in seeds:
            down = {row: way.loc[seed].to_numpy() for row, (way, _) in ways.items()}
            level = max(way.min() for way in down.values())
            read = [
                _at(kept.xs(seed, level="seed", drop_level=False), down[row], level)
                for row, (_, kept) in ways.items()
            ]
            parts.append(read[0] - read[1])
        return _same(pd.concat(parts)) if parts else {}


def _at(kept: pd.DataFrame, way: np.ndarray, level: float) -> pd.Series:
    """Each unit's number where the `way` (epochs,) first falls to `level`."""
    after = int(np.argmax(way <= level + 1e-9))
    if after == 0:
        return kept.iloc[:, 0]
    share = (way[after - 1] - level) / (way[after - 1] - way[after])
    return kept.iloc[:, after - 1] * (1 - share) + kept.iloc[:, after] * share


class Pooled(NamedTuple):
    """The mean over the points of a grid (shares, forget ratios) that were run: not all are, at
    every scale. One at least."""

    points: tuple[Contrast, ...]

    @property
    def column(self) -> str:
        """The table's column that it is about."""
        return self.points[0].column

    def groups(self, cells: Cells) -> Groups:
        """Means by unit, over the points that it has; none when no point was run."""
        return mean_of([groups for each in self.points if (groups := each.groups(cells))])


Part = Contrast | Between | Excess | Pooled | Change | Trend | Correlation | Matched


class Side(NamedTuple):
    """The mean over `parts`; `name` says in words what is compared: "GD - KL"."""

    name: str
    parts: tuple[Part, ...]


class Test(NamedTuple):
    """What a claim comes to: its sides, and when the least of them bears it out.

    "above": above 0, where less than `margin` either way is too little to matter. "beyond": above
    `margin`. "alike": within `margin` of 0, either way.
    """

    __test__ = False  # pytest's collection
    sides: tuple[Side, ...]
    rule: Literal["above", "beyond", "alike"]
    margin: float
    unit: str = "points"

    @property
    def bound(self) -> float:
        """What the effect has to lie above (of "alike" the margin, from below)."""
        return {"above": 0.0, "beyond": self.margin, "alike": -self.margin}[self.rule]

    def bears_out(self, effect: float) -> bool:
        """Whether a number without noise bears the claim out."""
        return abs(effect) < self.margin if self.rule == "alike" else effect > self.bound


def above(*sides: Side, margin: float = 5.0, unit: str = "points") -> Test:
    """The claim orders two things."""
    return Test(sides, "above", margin, unit)


def beyond(*sides: Side, margin: float, unit: str = "points") -> Test:
    """The claim says by how much, or that it is much."""
    return Test(sides, "beyond", margin, unit)


def alike(*sides: Side, margin: float, unit: str = "points") -> Test:
    """The claim says that there is no difference."""
    return Test(sides, "alike", margin, unit)
