"""What the paper claims, as contrasts with a margin; the verdict on each; and the scorecard of all.

A claim is a conjunction of contrasts: "GD retains most" is GD above each other method, at each
size and hop. It *holds* when the 95 % interval of every contrast lies beyond its margin; as all of
them have to, their number m needs no correction. It *does not hold* when one of them falls short,
and the more there are the likelier one does so by chance: there the upper end is that of the
1 - 0.05/m interval (Bonferroni). Anything else *cannot be told*: too few units (below eight), a
contrast that was not run, a total effect too small to be shared out, and every GPT score that only
the rule has judged.

The unit is one (seed, identity), and differences are paired within it, except between sets of
different people. Each seed forgets other people; but in Table 3, and among the retained of Table 2,
the same twenty come back seed after seed. Intervals over those rows speak about these people under
new runs, not about new people; and with one seed they hold no noise of training, but only how the
people of one trained network differ. `seeds` says how many there are.

The contrasts and margins were written before any run; nothing is tuned until a claim holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product

import numpy as np
import pandas as pd

from remem import metrics, paths
from remem.contrasts import (
    FAILS,
    HOLDS,
    UNTOLD,
    Between,
    Cells,
    Contrast,
    Correlation,
    Excess,
    Trend,
    Verdict,
    gap,
    verdict,
)

MODELS = ("llava-1.5-7b", "llava-1.5-13b")
METHODS = ("GA", "GD", "KL", "DPO", "NPO")
HOPS = ("single", "multi")
BEFORE, RETRAINED = "before unlearning", "retrained"  # the ceiling and the floor of Table 2
EPOCHS, UPDATES = "five epochs", "equal updates"  # the paper's protocol, and the control beside it
NOT_RUN = "not run"
FLOOR = 0.05  # total effect (a probability) below which a causal trace tells nothing

# Item -> (column that names the view, columns of the row key, column -> (view, measure)).
_SIGNATURES = {name: (None, name) for name in ("min_k", "inverse_perplexity")}
ITEMS = {
    "fig1": ("split", ["benchmark"], metrics.TABLE3),
    "fig2a": (None, ["set"], _SIGNATURES),
    "fig3a": (None, ["control", "samples"], {"ROUGE": (None, "rouge"), "EM": (None, "em")}),
    "fig3b": (None, ["control", "samples"], {"perplexity": (None, "perplexity")}),
    "fig3c": (None, ["setting", "share", "hop"], {"EM": (None, "em")}),
    "table2": ("view", ["model", "method", "hop"], metrics.TABLE2),
    "table3": ("split", ["model", "stage"], metrics.TABLE3),
    "table4": (None, ["model", "method"], {"MMBench": (None, "plain")}),
    "table5": (None, ["set"], _SIGNATURES),
    "fig6": ("view", ["model", "method", "ratio", "control"], metrics.TABLE2),  # and 7: 13B
    "fig2b": (None, ["set", "corruption", "state"], {"peak": (None, "effect")}),
    "fig5": (None, ["set", "corruption", "state"], {"peak": (None, "effect")}),
}
# Why a contrast on this column may be unmeasured though its row was run.
NOTES = {
    "judge": "no GPT score: only the rule has judged",
    "share": "total effect below the floor",
    "peak": "total effect below the floor",
}


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


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, and the contrasts that say what it comes to.

    A section that begins with "ours" marks a sentence that the paper does not say: the paper's own
    claim under a control, or one of its numbers put into words.
    """

    id: str
    item: str
    section: str
    text: str
    contrasts: tuple[Contrast | Between | Excess | Trend | Correlation, ...] = field(repr=False)

    def printed(self, part) -> float:
        """What the paper's own numbers give for one of the contrasts; NaN where it prints none."""
        groups = part.groups(_printed(self.item))
        return round(gap(*groups), 6) if all(map(len, groups)) else np.nan  # 0.1 + 0.2 > 0.3

    def paper_bears_out(self) -> tuple[str, float]:
        """("yes" | "no" | "not in the paper", its weakest difference), from the paper's numbers."""
        gaps = {part: self.printed(part) for part in self.contrasts}
        gaps = {part: gap for part, gap in gaps.items() if not np.isnan(gap)}
        if not gaps:
            return "not in the paper", np.nan
        weakest = min(gaps, key=lambda part: gaps[part] - part.margin)
        borne_out = all(gap > part.margin for part, gap in gaps.items())
        return ("yes" if borne_out else "no"), gaps[weakest]


@cache
def _printed(item: str) -> Cells:
    """The paper's numbers as cells of a single unit; none of an item that is only drawn."""
    if item not in set(_paper().item):
        return {}
    table = paper_table(item)
    unit = pd.MultiIndex.from_tuples([("paper", "all")], names=["seed", "identity"])
    return {column: table[[column]].T.set_axis(unit) for column in table}


def _each(
    column: str,
    left: str,
    right: Sequence[str],
    margin: float = 0.0,
    ends: Sequence[str] = HOPS,
    models: Sequence[str] = MODELS,
) -> tuple[Contrast, ...]:
    """`left` above each of `right`, for each size and each end of a row's key (its hop)."""
    return tuple(
        Contrast(column, f"{model}/{left}/{end}", (f"{model}/{other}/{end}",), margin)
        for model, end, other in product(models, ends, right)
        if other != left
    )


def _lowest(
    column: str, method: str, ends: Sequence[str] = HOPS, models: Sequence[str] = MODELS
) -> tuple[Contrast, ...]:
    return sum((_each(column, other, [method], ends=ends, models=models) for other in METHODS), ())


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


def _scaling(control: str) -> tuple[Contrast | Trend, ...]:
    rows = tuple(f"{control}/{samples}" for samples in SAMPLES)
    return sum(((Trend(column, rows, 0.5), Contrast(column, rows[-1], rows[:1], 10))
                for column in ("EM", "ROUGE")), ())


def _mix(setting: str, others: Sequence[int]) -> tuple[Contrast, ...]:
    """Training with 70 % single-hop above training with each other share, for both questions."""
    return tuple(Contrast("EM", f"{setting}/70/{hop}", (f"{setting}/{share}/{hop}",))
                 for hop, share in product(HOPS, others) if share != 70)


def _apart(left: str, right: Sequence[str], margins: Mapping[str, float]) -> tuple[Between, ...]:
    return tuple(Between(column, left, other, margin)
                 for other, (column, margin) in product(right, margins.items()))


def _peak(name: str, high: bool, corruption: str = "subject") -> tuple[Contrast, ...]:
    rows = [f"{name}/{corruption}/{state}" for state in ("mlp", "attention")]
    return tuple(Contrast("peak", row, (20,)) if high else Contrast("peak", 20, (row,))
                 for row in rows)


def _early(name: str, corruption: str = "subject") -> tuple[Contrast, ...]:
    rows = [f"{name}/{corruption}/{state}" for state in ("mlp", "attention")]
    return tuple(Contrast("share", f"{row}/early", (f"{row}/late",)) for row in rows)


def _ratios(
    control: str, section: str, tail: str = "", models: Sequence[str] = MODELS
) -> tuple[Claim, ...]:
    """The claims of A.3 for one control and its models; `tail` ends their names."""
    ends = [f"{ratio}/{control}" for ratio in RATIOS]
    said = "" if control == EPOCHS else f", at {control}"

    def along(columns, rising=False):
        return tuple(
            Trend(column, tuple(f"{model}/{method}/{end}" for end in ends[:: 1 if rising else -1]))
            for column, model, method in product(columns, models, METHODS)
        )

    def drop(column, model, method):
        return Contrast(column, f"{model}/{method}/{ends[0]}", (f"{model}/{method}/{ends[-1]}",))

    kept = ("ROUGE", "EM_r")
    scale = Claim(
        f"ratio-scale{tail}", "fig6", section,
        f"13B's ROUGE and EM_r drop less from 5 to 20 % than 7B's, each method{said}",
        tuple(Excess(drop(column, MODELS[0], method), drop(column, MODELS[1], method))
              for column, method in product(kept, METHODS)))  # fmt: skip
    return (
        Claim(f"ratio-forgets{tail}", "fig6", section,
              f"A higher forget ratio forgets more: EM_f, EM_t, judge fall, each method{said}",
              along(["EM_f", "EM_t", "judge"])),
        Claim(f"ratio-costs{tail}", "fig6", section,
              f"... and costs utility: ROUGE and EM_r fall, each method{said}", along(kept)),
        Claim(f"ratio-exposure{tail}", "fig6", section,
              f"Exposure rises with the forget ratio while forget EM falls, each method{said}",
              along(["Exposure"], rising=True) + along(["EM_f"])),
        Claim(f"ratio-gd{tail}", "fig6", section,
              f"GD has the highest ROUGE and EM_r at every forget ratio{said}",
              _each("ROUGE", "GD", METHODS, ends=ends, models=models)
              + _each("EM_r", "GD", METHODS, ends=ends, models=models)),
        Claim(f"ratio-npo-forgets{tail}", "fig6", section,
              f"NPO has the lowest EM_f and EM_t at every forget ratio{said}",
              _lowest("EM_f", "NPO", ends, models) + _lowest("EM_t", "NPO", ends, models)),
        Claim(f"ratio-npo-drop{tail}", "fig6", section,
              f"NPO's ROUGE and EM_r drop most from 5 to 20 %{said}",
              tuple(Excess(drop(column, model, "NPO"), drop(column, model, other))
                    for column, model, other in product(kept, models, METHODS) if other != "NPO")),
        *((scale,) if len(models) > 1 else ()),
    )


OTHERS = ("FIUBench", "MLLMU-Bench")  # the benchmarks that the paper finds wanting
SAMPLES, SHARES, RATIOS = range(20, 201, 20), range(0, 101, 10), (5, 10, 15, 20)
_CELLS = [f"{method}/{hop}" for method, hop in product(METHODS, HOPS)]
_APART = {"inverse_perplexity": 10, "min_k": 5}
# Margins, in points: 0 where the paper orders two rows; 50 for "effectively", half of the scale,
# and so failing is to know less than half; 5 for "comparable" and "slight", and for an EM as low as
# the retrained model's; 10 for "sharp", "significantly" and "distinct", of Min-k%, which is the
# smaller scale, 5; a level of 10 for "extremely low"; 2 for "cannot be told apart". A correlation
# only has to have its sign, but 0.5 for a "strong" one (Cohen). A peak that gives back a fifth of
# the total effect is high, a lower one "negligible or scattered".
CLAIMS = (
    Claim("fig1-fails", "fig1", "§1", "Stage 1 fails on data shaped like FIUBench and MLLMU-Bench: "
          "EM on the training data is below 50 %",
          tuple(Contrast("EM", 50, (name,)) for name in OTHERS)),
    Claim("fig1-fails-heldout", "fig1", "ours, §1", "... and so is EM on held-out questions",
          tuple(Contrast("EM_t", 50, (name,)) for name in OTHERS)),
    Claim("fig1-metrics", "fig1", "ours, §1",
          "Both are under-memorised in all metrics: below ReMem's shape in ROUGE, judge and EM",
          _apart("ReMem", OTHERS, {"ROUGE": 0, "judge": 0, "EM": 0})),
    Claim("fig1-remem", "fig1", "ours, §1",
          "Stage 1 does not fail on ReMem's shape: EM is above 50 %, in training and held out",
          tuple(Contrast(column, "ReMem", (50,)) for column in ("EM", "EM_t"))),
    Claim("signatures-apart", "fig2a", "§4", "The Real Set lies upper right, FIUBench and "
          "MLLMU-Bench lower left, in Min-k% and inverse perplexity",
          _apart("Real Set", OTHERS, _APART)),
    # The text says "hidden states"; MLP and attention outputs are traced apart, and the whole map
    # counts, from the picture to the last token: where late layers write the answer down, too.
    Claim("trace-real", "fig2b", "§4",
          "The base model has distinct layers of high effect for the Real Set",
          _peak("Real Set", high=True)),
    Claim("trace-real-early", "fig2b", "ours, §4", "... and they are early ones",
          _early("Real Set")),
    Claim("trace-fiubench", "fig2b", "§4", "FIUBench's effects are negligible or scattered",
          _peak("FIUBench", high=False)),
    Claim("samples-grow", "fig3a", "§5", "ROUGE and EM increase significantly with the samples",
          _scaling(EPOCHS)),
    Claim("samples-grow-equal", "fig3a", "ours, §5", "... and so they do at equal updates",
          _scaling(UPDATES)),
    # Any rise counts as the spike: of its height the text says nothing.
    Claim("perplexity", "fig3b", "§5", "Perplexity falls up to 160 samples, then spikes at 180",
          (Trend("perplexity", tuple(f"{EPOCHS}/{n}" for n in SAMPLES[7::-1])),
           Contrast("perplexity", f"{EPOCHS}/180", (f"{EPOCHS}/160",)))),
    Claim("mix-peak", "fig3c", "§5", "EM on both kinds of questions peaks at 70 % single-hop",
          _mix("one person", SHARES)),
    Claim("mix-extremes", "fig3c", "§5", "A mix is essential: 70 % is above 0 % and above 100 %",
          _mix("one person", (0, 100))),
    Claim("mix-peak-20", "fig3c", "ours, §5", "The peak is at 70 % with 20 people as well",
          _mix("20 people", SHARES)),
    Claim("mix-extremes-20", "fig3c", "ours, §5",
          "With 20 people as well 70 % is above 0 % and above 100 %",
          _mix("20 people", (0, 100))),
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
    Claim("kl-is-ga", "table2", "ours, §7.3",
          "KL cannot be told from GA (within 2 points in retain EM and forget EM)",
          sum((_each(column, left, [right], margin=-2) for column in ("EM_r", "EM_f")
               for left, right in (("GA", "KL"), ("KL", "GA"))), ())),
    Claim("mmbench-drop", "table4", "§7.3",
          "Every method degrades slightly from the base model (by 0 to 5 points)",
          sum(((Contrast("MMBench", f"{m}/base", (f"{m}/{method}",)),
                Contrast("MMBench", f"{m}/{method}", (f"{m}/base",), -5))
               for m, method in product(MODELS, METHODS)), ())),
    Claim("mmbench-drop-before", "table4", "ours, §7.3",
          "... and from the model before unlearning, which stage 1 has changed already",
          sum(((Contrast("MMBench", f"{m}/{BEFORE}", (f"{m}/{method}",)),
                Contrast("MMBench", f"{m}/{method}", (f"{m}/{BEFORE}",), -5))
               for m, method in product(MODELS, METHODS)), ())),
    Claim("mmbench-gd", "table4", "§7.3", "GD has the highest score at 7B",
          tuple(Contrast("MMBench", f"{MODELS[0]}/GD", (f"{MODELS[0]}/{other}",))
                for other in METHODS if other != "GD")),
    Claim("mmbench-npo", "table4", "§7.3", "NPO has the lowest score at 7B",
          tuple(Contrast("MMBench", f"{MODELS[0]}/{other}", (f"{MODELS[0]}/NPO",))
                for other in METHODS if other != "NPO")),
    Claim("mmbench-scale", "table4", "§7.3", "13B degrades less than 7B, each method",
          tuple(Excess(*(Contrast("MMBench", f"{m}/base", (f"{m}/{method}",)) for m in MODELS))
                for method in METHODS)),
    Claim("table5-low", "table5", "A.1",
          "FIUBench and MLLMU-Bench have extremely low scores (below 10)",
          tuple(Contrast(column, 10, (name,)) for column, name in product(_APART, OTHERS))),
    Claim("table5-remem", "table5", "A.1", "ReMem has significantly higher ones",
          _apart("ReMem", OTHERS, _APART)),
    Claim("table5-order", "table5", "ours, A.1",
          "The order is that of Table 5: ReMem, MLLMU-Bench, FIUBench",
          _apart("ReMem", OTHERS[1:], dict.fromkeys(_APART, 0))
          + _apart(OTHERS[1], OTHERS[:1], dict.fromkeys(_APART, 0))),
    Claim("trace-mllmu", "fig5", "A.2", "MLLMU-Bench's effects are negligible or scattered",
          _peak("MLLMU-Bench", high=False)),
    Claim("trace-mllmu-image", "fig5", "ours, A.2", "... also where the picture is what is swapped",
          _peak("MLLMU-Bench", high=False, corruption="image")),
    Claim("trace-remem", "fig5", "A.2", "ReMem has distinct and high effects at early layers",
          _peak("ReMem", high=True) + _early("ReMem")),
    Claim("trace-remem-image", "fig5", "ours, A.2", "... also where the picture is what is swapped",
          _peak("ReMem", high=True, corruption="image") + _early("ReMem", "image")),
    *_ratios(EPOCHS, "A.3"),
    *_ratios(UPDATES, "ours, A.3", "-equal", MODELS[:1]),  # the control is of the first model
)


def of(item: str) -> list[Claim]:
    """The claims about one item (a key of ITEMS); ValueError for another."""
    found = [claim for claim in CLAIMS if claim.item == item]
    if not found:
        raise ValueError(f"no claim is about {item!r}; there are {', '.join(ITEMS)}")
    return found


def _cells(item: str, rows: pd.DataFrame, floor: float) -> Cells:
    """Per column of the table: percent where it is a share, (seed, identity) x row keys."""
    where, names, columns = ITEMS[item]
    needed = [*names, *(measure for _, measure in columns.values()), "model", "seed", "identity"]
    needed += [where] * (where is not None) + ["judged_by"] * ("judge" in columns)
    needed += ["layer", "position", "total"] * ("peak" in columns)
    if missing := [name for name in dict.fromkeys(needed) if name not in rows]:
        raise ValueError(f"the claims about {item} need the column(s) {', '.join(missing)}")
    models = rows.model.map(counterpart)
    if "model" not in names:  # shown for one model: 7B, where there are both
        one = next(name for name in (*MODELS, *models) if name in set(models))
        rows = rows[models == one]
    keys = [models if name == "model" else rows[name].astype(str) for name in names]
    rows = rows.assign(row=["/".join(key) for key in zip(*keys, strict=True)])
    if "peak" in columns:
        return _effects(rows, floor)
    cells = {}
    for column, (view, measure) in columns.items():
        part = rows if view is None else rows[rows[where] == view]
        if column == "judge":  # the rule decides no claim about the GPT score
            part = part[part.judged_by != "rule"]
        cells[column] = _pivot(part, measure) * (1 if measure in metrics.AS_STATED else 100)
    return cells


def _pivot(rows: pd.DataFrame, measure: str, columns: str | list[str] = "row") -> pd.DataFrame:
    return rows.pivot_table(
        index=["seed", "identity"], columns=columns, values=measure, observed=True
    )


def _effects(rows: pd.DataFrame, floor: float) -> Cells:
    """"share": the mean effect over the early half of the layers, or the late half, all positions;
    "peak": the effect in one window at one position. Percent of the set's mean total effect, not of
    a person's own, which may be near zero. A set whose total is below `floor` has no cells.

    The largest of many cells is large by chance. So a person's peak is taken where the *others*
    have theirs: scattered effects have none.
    """
    total = rows.groupby("row").total.transform("mean")
    rows = rows.assign(share=100 * rows.effect / total)[total >= floor]
    middle = rows.groupby("row").layer.transform("max") / 2
    half = np.select([rows.layer < middle, rows.layer > middle], ["/early", "/late"], "/middle")
    peaks = {}
    for row, part in rows.groupby("row"):
        effects = _pivot(part, "share", ["layer", "position"]).fillna(0.0)
        place = (effects.sum() - effects).to_numpy().argmax(axis=1)
        peaks[row] = pd.Series(effects.to_numpy()[range(len(place)), place], effects.index)
    return {"share": _pivot(rows.assign(row=rows.row + half), "share"), "peak": pd.DataFrame(peaks)}


def check(
    claims: Sequence[Claim],
    rows: pd.DataFrame,
    scale: str,
    resamples: int = 10_000,
    seed: int = 0,
    floor: float = FLOOR,
) -> pd.DataFrame:
    """One line per claim: what the paper's own numbers say, what ours say, and the verdict.

    rows: as for the table of the item that the claims are about (remem.tables); a paired contrast
    is taken over the (seed, identity) that all of its rows have. From `paper` to `units` the
    numbers are those of the weakest contrast (named in `weakest`), in `unit`; lo and hi are those
    of `verdict`; `measured` counts the contrasts that could be measured, and `note` says why one
    could not though its rows were there. `floor` is that of the traces' total effect. Only the
    paper's own models, taught people who are not drawn by code (params.Params.world), can have
    "reproduced". ValueError names the columns that are missing.
    """
    cells = {item: _cells(item, rows, floor) for item in {claim.item for claim in claims}}
    names = {counterpart(model): model for model in rows.model.unique()}
    if len(names) < rows.model.nunique():
        raise ValueError(f"two of the models {sorted(rows.model.unique())} stand for one: drop one")
    lines = []
    for claim in claims:
        found, seeds = {}, {}
        for part in claim.contrasts:
            groups = part.groups(cells[claim.item])
            if all(map(len, groups)):
                found[part] = verdict(groups, part.margin, len(claim.contrasts), resamples, seed)
                seeds[part] = min(group.index.unique(level=0).size for group in groups)
        words = [each.word for each in found.values()]
        if FAILS in words:
            word = FAILS
        else:
            word = HOLDS if words == [HOLDS] * len(claim.contrasts) else UNTOLD
        line = _line(claim)
        if found:
            weakest = min(found, key=lambda part: _strength(found[part], part.margin))
            told = found[weakest]
            line |= {"paper": claim.printed(weakest), "ours": told.mean, "lo": told.lo}
            line |= {"hi": told.hi, "margin": weakest.margin, "unit": weakest.unit}
            line |= {"units": told.units, "seeds": seeds[weakest], "weakest": str(weakest)}
            for papers, ours in names.items():
                line["weakest"] = line["weakest"].replace(papers, ours)
        without = {getattr(part, "column", None) for part in claim.contrasts if part not in found}
        line |= {"verdict": _say(word, scale, rows.model.isin(MODELS).all())}
        line |= {"measured": f"{len(found)} of {len(claim.contrasts)}"}
        line |= {"note": "; ".join(dict.fromkeys(NOTES[name] for name in NOTES if name in without))}
        lines.append(line)
    return pd.DataFrame(lines)


@cache
def _borne_out(claim: Claim) -> str:
    return claim.paper_bears_out()[0]


def _line(claim: Claim) -> dict:
    """A line of the scorecard, nothing run yet."""
    line = {"claim": claim.id, "section": claim.section, "text": claim.text}
    line |= {"verdict": NOT_RUN, "paper": np.nan, "paper bears out": _borne_out(claim)}
    line |= {"ours": np.nan, "lo": np.nan, "hi": np.nan, "margin": np.nan}
    line |= {"unit": claim.contrasts[0].unit, "units": 0, "seeds": 0, "weakest": ""}
    line |= {"measured": f"0 of {len(claim.contrasts)}", "note": ""}
    return line


def scorecard(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every claim in the paper's order, as `check` tells it, and the `notebook` that tested it.

    tables: notebook -> its verdicts, those on other matters among them. What none of them has is
    "not run"; what two have raises ValueError.
    """
    lines = {claim.id: _line(claim) | {"notebook": ""} for claim in CLAIMS}
    for notebook, table in tables.items():
        for told in table.to_dict("records") if "section" in table else ():
            line = lines.get(told["claim"], {"notebook": ""})  # of a claim that is none any more
            if line["notebook"]:
                raise ValueError(
                    f"the claim {told['claim']} has a verdict from {line['notebook']} and from "
                    f"{notebook}; remove the file that is out of date"
                )
            line |= {key: told[key] for key in line if pd.notna(told.get(key))}
            line["notebook"] = notebook
    return pd.DataFrame(list(lines.values()))


def _strength(told: Verdict, margin: float) -> tuple[int, float]:
    """What fails is weakest, then what cannot be told; among equals, the mean above the margin."""
    return (FAILS, UNTOLD, HOLDS).index(told.word), told.mean - margin


def _say(word: str, scale: str, papers_models: bool) -> str:
    if scale != "paper":
        return f"in the {scale} world: {word}"
    if not papers_models:
        return f"with other models: {word}"
    return {HOLDS: "reproduced", FAILS: "not reproduced"}.get(word, word)
