"""What the paper claims in Tables 2 and 3, as contrasts with a margin, and the verdict on each.

A claim is a conjunction of contrasts: "GD retains most" is GD above each other method, at each
size and hop. It *holds* when the 95 % interval of every contrast lies beyond its margin; as all of
them have to, their number m needs no correction. It *does not hold* when one of them falls short,
and the more there are the likelier one does so by chance: there the upper end is that of the
1 - 0.05/m interval (Bonferroni). Anything else *cannot be told*.

The unit is one (seed, identity), and differences are paired within it. Each seed forgets other
people; but in Table 3, and among the retained of Table 2, the same twenty come back seed after
seed. Intervals over those rows speak about these people under new runs, not about new people.

The contrasts and margins were written before any run; nothing is tuned until a claim holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from remem import metrics, paths

MODELS = ("llava-1.5-7b", "llava-1.5-13b")
METHODS = ("GA", "GD", "KL", "DPO", "NPO")
HOPS = ("single", "multi")
BEFORE, RETRAINED = "before unlearning", "retrained"  # the ceiling and the floor of Table 2
HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot be told"


@cache
def _paper() -> pd.DataFrame:
    return pd.read_csv(paths.PAPER, dtype={"value": float})


def paper(item: str) -> pd.DataFrame:
    """The paper's numbers of one item ("table2", "table5", "setup", ...), as printed.

    Columns item, row (such as "llava-1.5-7b/GD/single"), column, value, where. Unknown: ValueError.
    """
    found = _paper()[_paper().item == item]
    if found.empty:
        raise ValueError(f"paper.csv has no item {item!r}; it has {sorted(set(_paper().item))}")
    return found.reset_index(drop=True)


@cache
def paper_table(item: str) -> pd.DataFrame:
    """The same as a table: one line per row, one column per column."""
    table = paper(item)
    return table.pivot(index="row", columns="column", values="value").reindex(table.row.unique())


def counterpart(model: str) -> str:
    """The paper's model that a model stands for, by the end of its name: tiny-7b, llava-1.5-7b."""
    return next((name for name in MODELS if model.endswith(name[name.rindex("-") :])), model)


class Contrast(NamedTuple):
    """`column` at row `left` less its mean over rows `right`, in each unit, against `margin`."""

    column: str
    left: str
    right: tuple[str, ...]
    margin: float = 0.0
    unit = "points"

    def __str__(self) -> str:
        return f"{self.column}: {self.left} - {' & '.join(self.right)}"

    def paper(self, table: pd.DataFrame) -> float:
        values = table[self.column].reindex([self.left, *self.right])
        return round(values.iloc[0] - values.iloc[1:].mean(skipna=False), 6)  # 0.1 + 0.2 > 0.3

    def units(self, cells: dict[str, pd.DataFrame]) -> pd.Series:
        """Differences by (seed, identity); empty when a row was not run."""
        table = cells[self.column].reindex(columns=[self.left, *self.right])
        return (table.iloc[:, 0] - table.iloc[:, 1:].mean(axis=1, skipna=False)).dropna()


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
        return f"r({self.first}, {self.second}): {self.rows[0]} ... {self.rows[-1]}"

    def paper(self, table: pd.DataFrame) -> float:
        return _pearson(*table.reindex(self.rows)[[self.first, self.second]].to_numpy().T)

    def units(self, cells: dict[str, pd.DataFrame]) -> pd.Series:
        first = cells[self.first].reindex(columns=self.rows).groupby(level=0).mean()
        second = cells[self.second].reindex(columns=self.rows)
        first = first.reindex(second.index.get_level_values(0))
        pairs = zip(first.to_numpy(), second.to_numpy(), strict=True)
        return pd.Series([_pearson(*pair) for pair in pairs], second.index, dtype=float).dropna()


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) > 0 and np.ptp(second) > 0:
        return float(np.corrcoef(first, second)[0, 1])
    return np.nan  # a constant, or a method that was not run, has no correlation


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, and the contrasts that say what it comes to."""

    id: str
    item: str
    section: str
    text: str
    contrasts: tuple[Contrast | Correlation, ...] = field(repr=False)

    def paper_bears_out(self) -> tuple[str, float]:
        """("yes" | "no" | "not in the paper", its weakest difference), from the paper's numbers."""
        table = paper_table(self.item)
        gaps = {part: part.paper(table) for part in self.contrasts}
        gaps = {part: gap for part, gap in gaps.items() if not np.isnan(gap)}
        if not gaps:
            return "not in the paper", np.nan
        weakest = min(gaps, key=lambda part: gaps[part] - part.margin)
        borne_out = all(gap > part.margin for part, gap in gaps.items())
        return ("yes" if borne_out else "no"), gaps[weakest]


def _each(column: str, left: str, right: Sequence[str], margin=0.0, models=MODELS, hops=HOPS):
    """`left` above each of `right`, for each size and hop."""
    return tuple(
        Contrast(column, f"{model}/{left}/{hop}", (f"{model}/{other}/{hop}",), margin)
        for model, hop, other in product(models, hops, right)
        if other != left
    )


def _lowest(column: str, method: str) -> tuple[Contrast, ...]:
    return sum((_each(column, other, [method]) for other in METHODS), ())


def _mean_of_others(column: str, method: str) -> tuple[Contrast, ...]:
    others = [other for other in METHODS if other != method]
    return tuple(
        Contrast(column, f"{m}/{method}/{h}", tuple(f"{m}/{other}/{h}" for other in others))
        for m, h in product(MODELS, HOPS)
    )


def _hops(column: str, left: str, right: str, margin: float = 0.0) -> tuple[Contrast, ...]:
    return tuple(
        Contrast(column, f"{model}/{method}/{left}", (f"{model}/{method}/{right}",), margin)
        for model, method in product(MODELS, METHODS)
    )


def _larger(column: str, rows: Sequence[str]) -> tuple[Contrast, ...]:
    """13B above 7B."""
    return tuple(Contrast(column, f"{MODELS[1]}/{row}", (f"{MODELS[0]}/{row}",)) for row in rows)


def _stage1(column: str, margin: float) -> tuple[Contrast, ...]:
    return tuple(Contrast(column, f"{m}/stage 1", (f"{m}/base",), margin) for m in MODELS)


_CELLS = [f"{method}/{hop}" for method, hop in product(METHODS, HOPS)]
# Margins, in points: 0 where the paper orders two rows; 50 for "effectively", half of the scale;
# 5 for "comparable", and for an EM as low as the retrained model's; 10 for "sharp"; a correlation
# only has to have its sign.
CLAIMS = (
    Claim("stage1-learns", "table3", "§7.2", "Stage 1 effectively memorises the identities",
          _stage1("EM", 50)),
    Claim("stage1-generalises", "table3", "§7.2", "Stage 1 generalises to the held-out test set",
          _stage1("EM_t", 50)),
    Claim("stage1-scale", "table3", "§7.2", "13B memorises more than 7B",
          _larger("EM", ["stage 1"])),
    Claim("trade-off", "table2", "§7.3",
          "Over the methods, retaining and forgetting are inversely related",
          tuple(Correlation("EM_r", "EM_f", tuple(f"{m}/{method}/{h}" for method in METHODS))
                for m, h in product(MODELS, HOPS))),
    Claim("gd-utility", "table2", "§7.3", "GD has the highest ROUGE and retain EM at both sizes",
          _each("ROUGE", "GD", METHODS) + _each("EM_r", "GD", METHODS)),
    Claim("dpo-utility", "table2", "§7.3", "DPO prioritises utility (above GA, KL and NPO)",
          _each("ROUGE", "DPO", ["GA", "KL", "NPO"]) + _each("EM_r", "DPO", ["GA", "KL", "NPO"])),
    Claim("dpo-forgets-least", "table2", "§7.3", "DPO has the highest forget EM",
          _each("EM_f", "DPO", METHODS)),
    Claim("middle-ground", "table2", "§7.3",
          "GA and KL lie between NPO and GD in retain EM, between NPO and DPO in forget EM",
          sum((_each("EM_r", "GD", [m]) + _each("EM_r", m, ["NPO"])
               + _each("EM_f", "DPO", [m]) + _each("EM_f", m, ["NPO"]) for m in ("GA", "KL")), ())),
    Claim("npo-forgets-most", "table2", "§7.3", "NPO has the lowest forget EM and judge score",
          _lowest("EM_f", "NPO") + _lowest("judge", "NPO")),
    Claim("npo-exposure", "table2", "§7.3",
          "NPO's Exposure is high (above the mean of the other four)",
          _mean_of_others("Exposure", "NPO")),
    Claim("npo-surface", "table2", "§7.3",
          "NPO masks rather than erases: its forget EM is at most 5 points above that of a model "
          "that never saw the set, yet its Exposure is higher",
          _each("EM_f", RETRAINED, ["NPO"], margin=-5) + _each("Exposure", "NPO", [RETRAINED])),
    Claim("npo-utility", "table2", "§7.3", "NPO has the lowest retain EM", _lowest("EM_r", "NPO")),
    Claim("npo-drop", "table2", "§7.3", "NPO's retain EM drops sharply from before unlearning",
          _each("EM_r", BEFORE, ["NPO"], margin=10)),
    Claim("hop-utility", "table2", "§7.3", "Every method retains less on multi-hop than single-hop",
          _hops("EM_r", "single", "multi") + _hops("ROUGE", "single", "multi")),
    Claim("hop-forgetting", "table2", "§7.3",
          "Forget EM is comparable between the hops (within 5 points, each method)",
          _hops("EM_f", "single", "multi", -5) + _hops("EM_f", "multi", "single", -5)),
    Claim("scale-retains", "table2", "§7.3", "13B retains more than 7B, each method",
          _larger("EM_r", _CELLS)),
    Claim("scale-resists", "table2", "§7.3", "13B forgets less than 7B, each method",
          _larger("EM_f", _CELLS)),
)


class Verdict(NamedTuple):
    word: str
    mean: float
    lo: float
    hi: float
    units: int


def verdict(
    differences: Sequence[float],
    margin: float,
    contrasts: int = 1,
    resamples: int = 10_000,
    seed: int = 0,
) -> Verdict:
    """On one of a claim's `contrasts`: holds when `lo` is above `margin`, fails when `hi` is not.

    differences: one per unit; below eight there is no interval, and nothing can be told. lo is the
    lower end of the mean's 95 % interval, hi the upper end at 1 - 0.05 / contrasts (see above).
    """
    values = np.asarray(differences, dtype=float)
    lo, _ = metrics.interval(values, resamples, seed)
    _, hi = metrics.interval(values, resamples, seed, level=1 - 0.05 / contrasts)
    word = HOLDS if lo > margin else FAILS if hi <= margin else UNTOLD
    return Verdict(word, values.mean() if len(values) else np.nan, lo, hi, len(values))


def of(item: str) -> list[Claim]:
    """The claims about one item ("table2", "table3")."""
    return [claim for claim in CLAIMS if claim.item == item]


def _cells(item: str, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Per column of the table: percent, (seed, identity) x the paper's row keys."""
    where, names, columns = {
        "table2": ("view", ["model", "method", "hop"], metrics.TABLE2),
        "table3": ("split", ["model", "stage"], metrics.TABLE3),
    }[item]
    key = rows.model.map(counterpart).str.cat([rows[name] for name in names[1:]], sep="/")
    rows = rows.assign(row=key)
    return {
        column: rows[rows[where] == view].pivot_table(
            index=["seed", "identity"], columns="row", values=measure, observed=True
        ) * (1 if measure == "exposure" else 100)
        for column, (view, measure) in columns.items()
    }


def check(
    claims: Sequence[Claim],
    rows: pd.DataFrame,
    scale: str,
    resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """One line per claim: what the paper's own numbers say, what ours say, and the verdict.

    rows: as for tables.table2 or tables.table3, whichever the claims are about; a contrast is taken
    over the (seed, identity) that both of its rows have. From `paper` to `units` the numbers are
    those of the weakest contrast (named in `weakest`), in `unit`; lo and hi are those of `verdict`;
    `measured` counts the contrasts that could be run. Only the paper's own models can have
    "reproduced".
    """
    names = {counterpart(model): model for model in rows.model.unique()}
    if len(names) < rows.model.nunique():
        raise ValueError(f"two of the models {sorted(rows.model.unique())} stand for one: drop one")
    cells = {item: _cells(item, rows) for item in {claim.item for claim in claims}}
    lines = []
    for claim in claims:
        found = {}
        for part in claim.contrasts:
            differences = part.units(cells[claim.item])
            if len(differences):
                found[part] = verdict(
                    differences, part.margin, len(claim.contrasts), resamples, seed
                )
        words = [each.word for each in found.values()]
        if FAILS in words:
            word = FAILS
        else:
            word = HOLDS if words == [HOLDS] * len(claim.contrasts) else UNTOLD
        bears_out, _ = claim.paper_bears_out()
        line = {"claim": claim.id, "section": claim.section, "text": claim.text}
        line |= {"paper": np.nan, "paper bears out": bears_out, "ours": np.nan}
        line |= {"lo": np.nan, "hi": np.nan, "margin": np.nan}
        line |= {"unit": claim.contrasts[0].unit, "units": 0, "weakest": ""}
        if found:
            weakest = min(found, key=lambda part: _strength(found[part], part.margin))
            told = found[weakest]
            line |= {"paper": weakest.paper(paper_table(claim.item)), "ours": told.mean}
            line |= {"lo": told.lo, "hi": told.hi, "margin": weakest.margin, "units": told.units}
            line["weakest"] = str(weakest)
            for papers, ours in names.items():
                line["weakest"] = line["weakest"].replace(papers, ours)
        line["measured"] = f"{len(found)} of {len(claim.contrasts)}"
        line["verdict"] = _say(word, scale, rows.model.isin(MODELS).all())
        lines.append(line)
    return pd.DataFrame(lines)


def _strength(told: Verdict, margin: float) -> tuple[bool, float]:
    """A contrast that fails is weaker than any that does not; then the mean above the margin."""
    return told.word != FAILS, told.mean - margin


def _say(word: str, scale: str, papers_models: bool) -> str:
    if not papers_models:
        return f"{'with other models' if scale == 'paper' else f'in the {scale} world'}: {word}"
    return {HOLDS: "reproduced", FAILS: "not reproduced"}.get(word, word)
