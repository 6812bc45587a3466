"""What each claim comes to: one contrast with a margin.

All of it was written before the run that it judges; nothing is tuned until a claim holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from remem.paper import BEFORE, EPOCHS, HOPS, METHODS, MODELS, REMEM, SETS, UPDATES
from remem.report.contrasts import (
    Between,
    Change,
    Contrast,
    Correlation,
    Excess,
    Matched,
    Part,
    Pooled,
    Side,
    Test,
    Trend,
    above,
    alike,
    beyond,
)

# ---------------------------------------------------------------- sides that claims share

OLDER = ("FIUBench", "MLLMU-Bench")  # the benchmarks that the paper finds wanting
KEPT, GONE = ("ROUGE", "EM_r"), ("EM_f", "EM_t")  # utility; what should fall
SAMPLES, RATIOS = range(20, 201, 20), (5, 10, 15, 20)
SIGNATURES = ("inverse_perplexity", "min_k")
FEW_SINGLE, AROUND, MANY_SINGLE = range(0, 51, 10), (60, 70, 80), (90, 100)  # percent single-hop


def _pairs(
    left: Sequence[str],
    right: Sequence[str],
    columns: Sequence[str],
    ends: Sequence[str] = HOPS,
    models: Sequence[str] = MODELS,
    pooled: bool = False,
) -> tuple[Part, ...]:
    """Each of `left` less each of `right`: for each column, size and end of a row's key; `pooled`
    over the ends that were run."""
    tails = [f"/{end}" for end in ends] or [""]
    found = []
    for column, model, one, other in product(columns, models, left, right):
        points = tuple(
            Contrast(column, f"{model}/{one}{tail}", (f"{model}/{other}{tail}",)) for tail in tails
        )
        found += [Pooled(points)] if pooled else points
    return tuple(found)


def _highest(method: str, columns: Sequence[str], **keys: Any) -> tuple[Side, ...]:
    """A side for each rival: `method` less it."""
    rivals = [other for other in METHODS if other != method]
    return tuple(Side(f"{method} - {o}", _pairs([method], [o], columns, **keys)) for o in rivals)


def _lowest(method: str, columns: Sequence[str], **keys: Any) -> tuple[Side, ...]:
    rivals = [other for other in METHODS if other != method]
    return tuple(Side(f"{o} - {method}", _pairs([o], [method], columns, **keys)) for o in rivals)


def _matched_highest(method: str, low: bool = False) -> tuple[Side, ...]:
    return tuple(
        Side(
            f"{' - '.join(pair)}, at equal EM_f",
            tuple(Matched("EM_r", *(f"{model}/{name}" for name in pair)) for model in MODELS),
        )
        for other in METHODS
        if other != method
        for pair in [(other, method) if low else (method, other)]
    )


def _larger(columns: Sequence[str], rows: Sequence[str]) -> Side:
    """13B less 7B."""
    return Side(
        "13B - 7B",
        tuple(
            Contrast(column, f"{MODELS[1]}/{row}", (f"{MODELS[0]}/{row}",))
            for column, row in product(columns, rows)
        ),
    )


def _stage1(column: str) -> Side:
    return Side(
        "stage 1 - base",
        tuple(Contrast(column, f"{m}/stage 1", (f"{m}/base",)) for m in MODELS),
    )


def _single_less_multi(columns: Sequence[str]) -> Side:
    return Side(
        "single - multi",
        tuple(
            Contrast(column, f"{model}/{method}/single", (f"{model}/{method}/multi",))
            for column, model, method in product(columns, MODELS, METHODS)
        ),
    )


def _lost(column: str, model: str, method: str, hop: str) -> Contrast:
    """How much a method took away."""
    return Contrast(column, f"{model}/{BEFORE}/{hop}", (f"{model}/{method}/{hop}",))


def _grows(control: str) -> Side:
    rows = tuple(f"{control}/{samples}" for samples in SAMPLES)
    name = f"{SAMPLES[-1]} - {SAMPLES[0]} samples"
    return Side(name, tuple(Change(column, rows, tuple(SAMPLES)) for column in ("EM", "ROUGE")))


def _correlates(control: str) -> Side:
    rows = tuple(f"{control}/{samples}" for samples in SAMPLES)
    return Side("along the samples", tuple(Trend(column, rows) for column in ("EM", "ROUGE")))


def _shares(setting: str, best: Sequence[int], others: Sequence[int]) -> tuple[Part, ...]:
    """EM at the shares `best` of single-hop questions less at the other ones, for both hops."""
    return tuple(
        Pooled(
            tuple(
                Contrast("EM", f"{setting}/{share}/{hop}", (f"{setting}/{other}/{hop}",))
                for share, other in product(best, others)
            )
        )
        for hop in HOPS
    )


def _peaks(setting: str) -> Test:
    return above(
        Side("60 to 80 % - 0 to 50 %", _shares(setting, AROUND, FEW_SINGLE)),
        Side("60 to 80 % - 90 and 100 %", _shares(setting, AROUND, MANY_SINGLE)),
    )


def _essential(setting: str) -> Test:
    return above(*(Side(f"70 % - {end} %", _shares(setting, [70], [end])) for end in (0, 100)))


def _apart(left: str | int, right: Sequence[str | int], columns: Sequence[str]) -> Side:
    """People of `left` less those of each set of `right`; either may be a level."""
    name = f"{left} - {' & '.join(map(str, right))}"
    return Side(name, tuple(Between(column, left, o) for column, o in product(columns, right)))


def _peak(name: str, asked: str = "name", corruption: str = "entity") -> Side:
    return Side(f"{name}'s peak", (Contrast("peak", f"{name}/{asked}/{corruption}", (0,)),))


def _no_peak(name: str, corruption: str = "entity") -> Test:
    peak = Contrast("peak", 20, (f"{name}/name/{corruption}",))
    return above(Side(f"20 - {name}'s peak", (peak,)))


def _early(name: str, asked: str = "name", corruption: str = "entity") -> Test:
    row = f"{name}/{asked}/{corruption}"
    return above(
        Side(
            "early layers - late ones",
            tuple(
                Contrast("share", f"{row}/{state}/early", (f"{row}/{state}/late",))
                for state in ("mlp", "attention")
            ),
        )
    )


def _dropped(start: str) -> tuple[Part, ...]:
    """MMBench of `start` less that of each method."""
    return _pairs([start], METHODS, ["MMBench"], ends=[])


def _ratios(control: str, tail: str, models: Sequence[str]) -> dict[str, Test]:
    """The claims of A.3 for one control and its models; `tail` ends their names."""
    ends = [f"{ratio}/{control}" for ratio in RATIOS]
    name = f"{RATIOS[-1]} - {RATIOS[0]} %"

    def change(columns: Sequence[str], fall: bool = True) -> Side:
        """From the largest to the smallest ratio where it is to fall, else the other way."""
        along = ends[::-1] if fall else ends
        return Side(
            f"{RATIOS[0]} - {RATIOS[-1]} %" if fall else name,
            tuple(
                Change(column, tuple(f"{model}/{method}/{end}" for end in along), places)
                for places in [RATIOS[::-1] if fall else RATIOS]
                for column, model, method in product(columns, models, METHODS)
            ),
        )

    def drop(column: str, model: str, method: str) -> Contrast:
        return Contrast(column, f"{model}/{method}/{ends[0]}", (f"{model}/{method}/{ends[-1]}",))

    keys = {"ends": ends, "models": models, "pooled": True}
    found = {
        "ratio-forgets": above(change(GONE)),
        "ratio-judge": above(change(["judge"])),
        "ratio-costs": above(change(KEPT)),
        "ratio-exposure": above(change(["Exposure"], fall=False)),
        "ratio-gd": above(*_highest("GD", KEPT, **keys)),
        "ratio-npo-forgets": above(*_lowest("NPO", GONE, **keys)),
        "ratio-npo-drop": above(
            *(
                Side(
                    f"NPO's drop - {other}'s",
                    tuple(
                        Excess(drop(column, model, "NPO"), drop(column, model, other))
                        for column, model in product(KEPT, models)
                    ),
                )
                for other in METHODS
                if other != "NPO"
            )
        ),
    }
    if len(models) > 1:
        drops = tuple(
            Excess(drop(column, models[0], method), drop(column, models[1], method))
            for column, method in product(KEPT, METHODS)
        )
        found["ratio-scale"] = above(Side("7B's drop - 13B's", drops))
    return {f"{claim}{tail}": test for claim, test in found.items()}


# ---------------------------------------------------------------- what each claim comes to

# Margins. What orders two rows has to lie above 0, and less than 5 points either way is too little
# to matter (1 of MMBench, whose whole range in Table 4 is 5; 0.1 of a correlation; 0.05 of a
# perplexity). "Effectively" is half of the scale; "sharp", "significantly" and "extremely low" are
# 10 points, "slight" and "comparable" 5, "cannot be told from" 2, a "strong" correlation 0.5
# (Cohen); of Min-k% and inverse perplexity together 7.5, for the former has the smaller scale. A
# peak that gives back a fifth of the total effect is high, a lower one "negligible or scattered".
TESTS: dict[str, Test] = {
    "fig1-fails": above(_apart(50, OLDER, ["EM"])),
    "fig1-fails-heldout": above(_apart(50, OLDER, ["EM_t"])),
    "fig1-metrics": above(_apart(REMEM, OLDER, ["ROUGE", "EM"])),
    "fig1-judge": above(_apart(REMEM, OLDER, ["judge"])),
    "fig1-remem": above(_apart(REMEM, [50], ["EM", "EM_t"])),
    "signatures-apart": beyond(_apart(SETS[0], OLDER, SIGNATURES), margin=7.5),
    # The text says "hidden states"; MLP and attention outputs are traced, one of which is enough.
    "trace-real": beyond(_peak(SETS[0]), margin=20, unit="% of the total effect"),
    "trace-real-early": _early(SETS[0]),
    "trace-real-facts": beyond(_peak(SETS[0], "fact"), margin=20, unit="% of the total effect"),
    "trace-fiubench": _no_peak("FIUBench"),
    "samples-grow": beyond(_grows(EPOCHS), margin=10),
    "samples-correlate": beyond(_correlates(EPOCHS), margin=0.5, unit="rank correlation"),
    "samples-grow-equal": beyond(_grows(UPDATES), margin=10),
    "perplexity-falls": above(
        Side(
            "along 160 ... 20 samples",
            (Trend("perplexity", tuple(f"{EPOCHS}/{n}" for n in SAMPLES[7::-1])),),
        ),
        margin=0.1,
        unit="rank correlation",
    ),
    # Any rise counts as the spike: of its height the text says nothing.
    "perplexity-spikes": above(
        Side(
            "180 - 160 samples",
            (Contrast("perplexity", f"{EPOCHS}/180", (f"{EPOCHS}/160",)),),
        ),
        margin=0.05,
        unit="perplexity",
    ),
    "mix-peak": _peaks("one person"),
    "mix-extremes": _essential("one person"),
    "mix-peak-20": _peaks("20 people"),
    "mix-extremes-20": _essential("20 people"),
    "stage1-learns": beyond(_stage1("EM"), margin=50),
    "stage1-generalises": beyond(_stage1("EM_t"), margin=50),
    "stage1-scale": above(_larger(["EM"], ["stage 1"])),
    "trade-off": above(
        Side(
            "r(EM_r, EM_f) over the methods",
            tuple(
                Correlation("EM_r", "EM_f", tuple(f"{m}/{method}/{h}" for method in METHODS))
                for m, h in product(MODELS, HOPS)
            ),
        ),
        margin=0.1,
        unit="correlation r",
    ),
    "gd-utility": above(*_highest("GD", KEPT)),
    "gd-utility-matched": above(*_matched_highest("GD")),
    "dpo-utility": above(
        Side("DPO - GA & KL & NPO", _pairs(["DPO"], ["GA", "KL", "NPO"], ["EM_r"]))
    ),
    "dpo-forgets-least": above(*_highest("DPO", ["EM_f"])),
    "dpo-forgets-least-taught": above(*_highest("DPO", ["EM_f_taught"])),
    "middle-ground-retain": above(
        Side("GD - GA & KL", _pairs(["GD"], ["GA", "KL"], ["EM_r"])),
        Side("GA & KL - NPO", _pairs(["GA", "KL"], ["NPO"], ["EM_r"])),
    ),
    "middle-ground-forget": above(
        Side("DPO - GA & KL", _pairs(["DPO"], ["GA", "KL"], ["EM_f"])),
        Side("GA & KL - NPO", _pairs(["GA", "KL"], ["NPO"], ["EM_f"])),
    ),
    "npo-forgets-most": above(*_lowest("NPO", ["EM_f"])),
    "npo-forgets-most-taught": above(*_lowest("NPO", ["EM_f_taught"])),
    "npo-judge": above(*_lowest("NPO", ["judge"])),
    "npo-exposure": above(
        Side("NPO - the others", _pairs(["NPO"], [o for o in METHODS if o != "NPO"], ["Exposure"]))
    ),
    # Where neither says the value: forget EM is 0 on both sides, whatever the rate has left.
    "npo-surface": above(
        Side(
            "NPO - retrained, where both are silent",
            tuple(
                Contrast("Exposure_silent", f"{model}/NPO/{hop}", (0,))
                for model, hop in product(MODELS, HOPS)
            ),
        )
    ),
    "npo-utility": above(*_lowest("NPO", ["EM_r"])),
    "npo-utility-matched": above(*_matched_highest("NPO", low=True)),
    "npo-drop": beyond(Side("before - NPO", _pairs([BEFORE], ["NPO"], ["EM_r"])), margin=10),
    "hop-utility": above(_single_less_multi(KEPT)),
    "hop-utility-lost": above(
        Side(
            "lost of multi - of single",
            tuple(
                Excess(_lost(c, m, method, "multi"), _lost(c, m, method, "single"))
                for c, m, method in product(KEPT, MODELS, METHODS)
            ),
        )
    ),
    "hop-forgetting": alike(_single_less_multi(["EM_f"]), margin=5),
    "scale-retains": above(_larger(["EM_r"], [f"{a}/{h}" for a, h in product(METHODS, HOPS)])),
    "scale-retains-matched": above(
        Side(
            "13B - 7B, at equal EM_f",
            tuple(Matched("EM_r", f"{MODELS[1]}/{a}", f"{MODELS[0]}/{a}") for a in METHODS),
        )
    ),
    "scale-resists": above(_larger(["EM_f"], [f"{a}/{h}" for a, h in product(METHODS, HOPS)])),
    "scale-resists-taught": above(
        _larger(["EM_f_taught"], [f"{a}/{h}" for a, h in product(METHODS, HOPS)])
    ),
    "kl-is-ga-retain": alike(Side("KL - GA", _pairs(["KL"], ["GA"], ["EM_r"])), margin=2),
    "kl-is-ga-forget": alike(Side("KL - GA", _pairs(["KL"], ["GA"], ["EM_f"])), margin=2),
    "mmbench-drop": above(Side("base - methods", _dropped("base")), margin=1),
    "mmbench-slight": above(
        Side(
            "5 - (base - methods)",
            tuple(
                Excess(Contrast("MMBench", 5, (0,)), part)
                for part in _dropped("base")
                if isinstance(part, Contrast)
            ),
        ),
        margin=1,
    ),
    "mmbench-drop-before": above(Side("before - methods", _dropped(BEFORE)), margin=1),
    "mmbench-gd": above(*_highest("GD", ["MMBench"], ends=[], models=MODELS[:1]), margin=1),
    "mmbench-npo": above(*_lowest("NPO", ["MMBench"], ends=[], models=MODELS[:1]), margin=1),
    "mmbench-scale": above(
        Side(
            "7B's drop - 13B's",
            tuple(
                Excess(
                    Contrast("MMBench", f"{MODELS[0]}/base", (f"{MODELS[0]}/{method}",)),
                    Contrast("MMBench", f"{MODELS[1]}/base", (f"{MODELS[1]}/{method}",)),
                )
                for method in METHODS
            ),
        ),
        margin=1,
    ),
    "table5-low": above(_apart(10, OLDER, SIGNATURES)),
    "table5-remem": beyond(_apart(REMEM, OLDER, SIGNATURES), margin=7.5),
    "table5-order": above(
        _apart(REMEM, OLDER[1:], SIGNATURES), _apart(OLDER[1], OLDER[:1], SIGNATURES)
    ),
    "trace-mllmu": _no_peak("MLLMU-Bench"),
    "trace-mllmu-image": _no_peak("MLLMU-Bench", "image"),
    "trace-remem": beyond(_peak(REMEM), margin=20, unit="% of the total effect"),
    "trace-remem-early": _early(REMEM),
    "trace-remem-image": beyond(
        _peak(REMEM, corruption="image"), margin=20, unit="% of the total effect"
    ),
    **_ratios(EPOCHS, "", MODELS),
    **_ratios(UPDATES, "-equal", MODELS[:1]),  # the control is of the first model
}
