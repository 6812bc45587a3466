"""The paper's claims, each as contrasts with a margin.

The sentences stand in remem/claims.csv, in the paper's order; what each comes to stands here. All
of it was written before any run; nothing is tuned until a claim holds.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product

import numpy as np
import pandas as pd

from remem import paper, paths
from remem.paper import BEFORE, EPOCHS, HOPS, METHODS, MODELS, RETRAINED, UPDATES
from remem.report.contrasts import Between, Cells, Contrast, Correlation, Excess, Trend, gap

Part = Contrast | Between | Excess | Trend | Correlation


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, and the contrasts that say what it comes to.

    `item` is the table or figure whose rows decide it ("table2"). A `section` that begins with
    "ours" marks a sentence that the paper does not say: the paper's own claim under a control, or
    one of its numbers put into words.
    """

    id: str
    item: str
    section: str
    text: str
    contrasts: tuple[Part, ...] = field(repr=False)

    def printed(self, part: Part) -> float:
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


def of(item: str) -> list[Claim]:
    """The claims about one item, such as "table2"; ValueError for an item that has none."""
    found = [claim for claim in CLAIMS if claim.item == item]
    if not found:
        items = dict.fromkeys(claim.item for claim in CLAIMS)
        raise ValueError(f"no claim is about {item!r}; there are {', '.join(items)}")
    return found


@cache
def _printed(item: str) -> Cells:
    """The paper's numbers as cells of a single unit; none of an item that is only drawn."""
    try:
        table = paper.paper_table(item)
    except ValueError:
        return {}
    unit = pd.MultiIndex.from_tuples([("paper", "all")], names=["seed", "identity"])
    return {column: table[[column]].T.set_axis(unit) for column in table}


# ---------------------------------------------------------------- contrasts that claims share

OLDER = ("FIUBench", "MLLMU-Bench")  # the benchmarks that the paper finds wanting
SAMPLES, SHARES, RATIOS = range(20, 201, 20), range(0, 101, 10), (5, 10, 15, 20)
SIGNATURES = {"inverse_perplexity": 10, "min_k": 5}  # column -> margin
_CELLS = [f"{method}/{hop}" for method, hop in product(METHODS, HOPS)]


def _above(
    column: str,
    left: str,
    right: Sequence[str],
    margin: float = 0.0,
    ends: Sequence[str] = HOPS,
    models: Sequence[str] = MODELS,
) -> tuple[Part, ...]:
    """`left` above each of `right`, for each size and each end of a row's key (its hop)."""
    return tuple(
        Contrast(column, f"{model}/{left}/{end}", (f"{model}/{other}/{end}",), margin)
        for model, end, other in product(models, ends, right)
        if other != left
    )


def _lowest(
    column: str, method: str, ends: Sequence[str] = HOPS, models: Sequence[str] = MODELS
) -> tuple[Part, ...]:
    return sum((_above(column, other, [method], 0.0, ends, models) for other in METHODS), ())


def _above_mean_of_others(column: str, method: str) -> tuple[Part, ...]:
    others = [other for other in METHODS if other != method]
    return tuple(
        Contrast(column, f"{m}/{method}/{h}", tuple(f"{m}/{other}/{h}" for other in others))
        for m, h in product(MODELS, HOPS)
    )


def _hops(column: str, left: str, right: str, margin: float = 0.0) -> tuple[Part, ...]:
    return tuple(
        Contrast(column, f"{model}/{method}/{left}", (f"{model}/{method}/{right}",), margin)
        for model, method in product(MODELS, METHODS)
    )


def _larger_model(column: str, rows: Sequence[str]) -> tuple[Part, ...]:
    """13B above 7B."""
    return tuple(Contrast(column, f"{MODELS[1]}/{row}", (f"{MODELS[0]}/{row}",)) for row in rows)


def _stage1(column: str, margin: float) -> tuple[Part, ...]:
    return tuple(Contrast(column, f"{m}/stage 1", (f"{m}/base",), margin) for m in MODELS)


def _grows(control: str) -> tuple[Part, ...]:
    rows = tuple(f"{control}/{samples}" for samples in SAMPLES)
    return sum(
        (
            (Trend(column, rows, 0.5), Contrast(column, rows[-1], rows[:1], 10))
            for column in ("EM", "ROUGE")
        ),
        (),
    )


def _best_mix(setting: str, others: Sequence[int]) -> tuple[Part, ...]:
    """Training with 70 % single-hop above training with each other share, for both questions."""
    return tuple(
        Contrast("EM", f"{setting}/70/{hop}", (f"{setting}/{share}/{hop}",))
        for hop, share in product(HOPS, others)
        if share != 70
    )


def _apart(left: str, right: Sequence[str], margins: Mapping[str, float]) -> tuple[Part, ...]:
    return tuple(
        Between(column, left, other, margin)
        for other, (column, margin) in product(right, margins.items())
    )


def _peak(name: str, high: bool, corruption: str = "subject") -> tuple[Part, ...]:
    rows = [f"{name}/{corruption}/{state}" for state in ("mlp", "attention")]
    return tuple(
        Contrast("peak", row, (20,)) if high else Contrast("peak", 20, (row,)) for row in rows
    )


def _early(name: str, corruption: str = "subject") -> tuple[Part, ...]:
    rows = [f"{name}/{corruption}/{state}" for state in ("mlp", "attention")]
    return tuple(Contrast("share", f"{row}/early", (f"{row}/late",)) for row in rows)


def _near(start: str) -> tuple[Part, ...]:
    """MMBench of each method below that of `start`, but by no more than 5 points."""
    pairs = [(f"{m}/{start}", f"{m}/{method}") for m, method in product(MODELS, METHODS)]
    return tuple(
        part
        for high, low in pairs
        for part in (Contrast("MMBench", high, (low,)), Contrast("MMBench", low, (high,), -5))
    )


def _ratios(control: str, tail: str, models: Sequence[str]) -> dict[str, tuple[Part, ...]]:
    """The claims of A.3 for one control and its models; `tail` ends their names."""
    ends = [f"{ratio}/{control}" for ratio in RATIOS]

    def along(columns: Sequence[str], rising: bool = False) -> tuple[Part, ...]:
        return tuple(
            Trend(column, tuple(f"{model}/{method}/{end}" for end in ends[:: 1 if rising else -1]))
            for column, model, method in product(columns, models, METHODS)
        )

    def drop(column: str, model: str, method: str) -> Contrast:
        return Contrast(column, f"{model}/{method}/{ends[0]}", (f"{model}/{method}/{ends[-1]}",))

    kept = ("ROUGE", "EM_r")
    found: dict[str, tuple[Part, ...]] = {
        "ratio-forgets": along(["EM_f", "EM_t", "judge"]),
        "ratio-costs": along(kept),
        "ratio-exposure": along(["Exposure"], rising=True) + along(["EM_f"]),
        "ratio-gd": _above("ROUGE", "GD", METHODS, 0.0, ends, models)
        + _above("EM_r", "GD", METHODS, 0.0, ends, models),
        "ratio-npo-forgets": _lowest("EM_f", "NPO", ends, models)
        + _lowest("EM_t", "NPO", ends, models),
        "ratio-npo-drop": tuple(
            Excess(drop(column, model, "NPO"), drop(column, model, other))
            for column, model, other in product(kept, models, METHODS)
            if other != "NPO"
        ),
    }
    if len(models) > 1:
        found["ratio-scale"] = tuple(
            Excess(drop(column, models[0], method), drop(column, models[1], method))
            for column, method in product(kept, METHODS)
        )
    return {f"{name}{tail}": parts for name, parts in found.items()}


# ---------------------------------------------------------------- what each claim comes to

# Margins, in points: 0 where the paper orders two rows; 50 for "effectively", half of the scale,
# and so failing is to know less than half; 5 for "comparable" and "slight", and for an EM as low as
# the retrained model's; 10 for "sharp", "significantly" and "distinct", of Min-k%, which is the
# smaller scale, 5; a level of 10 for "extremely low"; 2 for "cannot be told apart". A correlation
# only has to have its sign, but 0.5 for a "strong" one (Cohen). A peak that gives back a fifth of
# the total effect is high, a lower one "negligible or scattered".
CONTRASTS: dict[str, tuple[Part, ...]] = {
    "fig1-fails": tuple(Contrast("EM", 50, (name,)) for name in OLDER),
    "fig1-fails-heldout": tuple(Contrast("EM_t", 50, (name,)) for name in OLDER),
    "fig1-metrics": _apart("ReMem", OLDER, {"ROUGE": 0, "judge": 0, "EM": 0}),
    "fig1-remem": tuple(Contrast(column, "ReMem", (50,)) for column in ("EM", "EM_t")),
    "signatures-apart": _apart("Real Set", OLDER, SIGNATURES),
    # The text says "hidden states"; MLP and attention outputs are traced apart, and the whole map
    # counts, from the picture to the last token: where late layers write the answer down, too.
    "trace-real": _peak("Real Set", high=True),
    "trace-real-early": _early("Real Set"),
    "trace-fiubench": _peak("FIUBench", high=False),
    "samples-grow": _grows(EPOCHS),
    "samples-grow-equal": _grows(UPDATES),
    # Any rise counts as the spike: of its height the text says nothing.
    "perplexity": (
        Trend("perplexity", tuple(f"{EPOCHS}/{n}" for n in SAMPLES[7::-1])),
        Contrast("perplexity", f"{EPOCHS}/180", (f"{EPOCHS}/160",)),
    ),
    "mix-peak": _best_mix("one person", SHARES),
    "mix-extremes": _best_mix("one person", (0, 100)),
    "mix-peak-20": _best_mix("20 people", SHARES),
    "mix-extremes-20": _best_mix("20 people", (0, 100)),
    "stage1-learns": _stage1("EM", 50),
    "stage1-generalises": _stage1("EM_t", 50),
    "stage1-scale": _larger_model("EM", ["stage 1"]),
    "trade-off": tuple(
        Correlation("EM_r", "EM_f", tuple(f"{m}/{method}/{h}" for method in METHODS))
        for m, h in product(MODELS, HOPS)
    ),
    "gd-utility": _above("ROUGE", "GD", METHODS) + _above("EM_r", "GD", METHODS),
    "dpo-utility": _above("ROUGE", "DPO", ["GA", "KL", "NPO"])
    + _above("EM_r", "DPO", ["GA", "KL", "NPO"]),
    "dpo-forgets-least": _above("EM_f", "DPO", METHODS),
    "middle-ground": sum(
        (
            _above("EM_r", "GD", [m])
            + _above("EM_r", m, ["NPO"])
            + _above("EM_f", "DPO", [m])
            + _above("EM_f", m, ["NPO"])
            for m in ("GA", "KL")
        ),
        (),
    ),
    "npo-forgets-most": _lowest("EM_f", "NPO") + _lowest("judge", "NPO"),
    "npo-exposure": _above_mean_of_others("Exposure", "NPO"),
    "npo-surface": _above("EM_f", RETRAINED, ["NPO"], -5) + _above("Exposure", "NPO", [RETRAINED]),
    "npo-utility": _lowest("EM_r", "NPO"),
    "npo-drop": _above("EM_r", BEFORE, ["NPO"], 10),
    "hop-utility": _hops("EM_r", "single", "multi") + _hops("ROUGE", "single", "multi"),
    "hop-forgetting": _hops("EM_f", "single", "multi", -5) + _hops("EM_f", "multi", "single", -5),
    "scale-retains": _larger_model("EM_r", _CELLS),
    "scale-resists": _larger_model("EM_f", _CELLS),
    "kl-is-ga": sum(
        (
            _above(column, left, [right], -2)
            for column in ("EM_r", "EM_f")
            for left, right in (("GA", "KL"), ("KL", "GA"))
        ),
        (),
    ),
    "mmbench-drop": _near("base"),
    "mmbench-drop-before": _near(BEFORE),
    "mmbench-gd": tuple(
        Contrast("MMBench", f"{MODELS[0]}/GD", (f"{MODELS[0]}/{other}",))
        for other in METHODS
        if other != "GD"
    ),
    "mmbench-npo": tuple(
        Contrast("MMBench", f"{MODELS[0]}/{other}", (f"{MODELS[0]}/NPO",))
        for other in METHODS
        if other != "NPO"
    ),
    "mmbench-scale": tuple(
        Excess(
            Contrast("MMBench", f"{MODELS[0]}/base", (f"{MODELS[0]}/{method}",)),
            Contrast("MMBench", f"{MODELS[1]}/base", (f"{MODELS[1]}/{method}",)),
        )
        for method in METHODS
    ),
    "table5-low": tuple(
        Contrast(column, 10, (name,)) for column, name in product(SIGNATURES, OLDER)
    ),
    "table5-remem": _apart("ReMem", OLDER, SIGNATURES),
    "table5-order": _apart("ReMem", OLDER[1:], dict.fromkeys(SIGNATURES, 0))
    + _apart(OLDER[1], OLDER[:1], dict.fromkeys(SIGNATURES, 0)),
    "trace-mllmu": _peak("MLLMU-Bench", high=False),
    "trace-mllmu-image": _peak("MLLMU-Bench", high=False, corruption="image"),
    "trace-remem": _peak("ReMem", high=True) + _early("ReMem"),
    "trace-remem-image": _peak("ReMem", high=True, corruption="image") + _early("ReMem", "image"),
    **_ratios(EPOCHS, "", MODELS),
    **_ratios(UPDATES, "-equal", MODELS[:1]),  # the control is of the first model
}


def _sentences() -> list[dict[str, str]]:
    with paths.PAPER.with_name("claims.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


CLAIMS = tuple(Claim(**line, contrasts=CONTRASTS[line["id"]]) for line in _sentences())
