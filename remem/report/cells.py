"""From scored rows to the cells that contrasts are made of: units x rows of a table.

The unit is one person under one run. A *run* is what was trained apart: the stage 1 that a seed
starts from, where there are several; else the seed; where one person at a time is trained on, each
(seed, person).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from remem import metrics
from remem.paper import MODELS, RETRAINED, RULE, SETTINGS, counterpart
from remem.report.contrasts import UNIT, Cells

FLOOR = 0.05  # total effect (a probability) below which a causal trace tells nothing

# Item -> (column that names the view, columns of the row key, column -> (view, measure)).
_SIGNATURES = {name: (None, name) for name in ("min_k", "inverse_perplexity")}
_TRACE = (None, ["set", "asked", "corruption"], {"peak": (None, "effect")})

ITEMS = {
    "fig1": ("split", ["benchmark"], metrics.TABLE3),
    "fig2a": (None, ["set"], _SIGNATURES),
    "fig3a": (None, ["control", "samples"], {"ROUGE": (None, "rouge"), "EM": (None, "em")}),
    "fig3b": (None, ["control", "samples"], {"perplexity": (None, "perplexity")}),
    "fig3c": (None, ["setting", "share", "hop"], {"EM": (None, "em")}),
    "table2": ("view", ["model", "method", "hop"], metrics.TABLE2),
    "table2_curves": (
        "view",
        ["model", "method", "epoch"],
        {"EM_f": ("forget", "em"), "EM_r": ("retain_eval", "em")},
    ),
    "table3": ("split", ["model", "stage"], metrics.TABLE3),
    "table4": (None, ["model", "method"], {"MMBench": (None, "plain")}),
    "table5": (None, ["set"], _SIGNATURES),
    "fig6": ("view", ["model", "method", "ratio", "control"], metrics.TABLE2),  # and 7: 13B
    "fig2b": _TRACE,
    "fig5": _TRACE,
}


def cells_of(item: str, rows: pd.DataFrame, floor: float) -> Cells:
    """Per column of the table: percent where it is a share, units x row keys."""
    where, names, columns = ITEMS[item]
    needed = [*names, *(measure for _, measure in columns.values()), "model", "seed", "identity"]
    needed += [where] * (where is not None) + ["judged_by"] * ("judge" in columns)
    needed += ["state", "layer", "position", "total"] * ("peak" in columns)
    if missing := [name for name in dict.fromkeys(needed) if name not in rows]:
        raise ValueError(f"the claims about {item} need the column(s) {', '.join(missing)}")
    models = rows.model.map(counterpart)
    if "model" not in names:  # shown for one model: 7B, where there are both
        one = next(name for name in (*MODELS, *models) if name in set(models))
        rows = rows[models == one]
    keys = [models if name == "model" else rows[name].astype(str) for name in names]
    row = keys[0].astype(str).str.cat([key.astype(str) for key in keys[1:]], sep="/")
    rows = rows.assign(row=row, run=_runs(item, rows))
    if "peak" in columns:
        return _effects(rows, floor)
    cells = {}
    for column, (view, measure) in columns.items():
        part = rows if view is None else rows[rows[where] == view]
        if column == "judge":  # the rule decides no claim about the GPT score
            part = part[part.judged_by != RULE]
        cells[column] = _pivot(part, measure) * (1 if measure in metrics.AS_STATED else 100)
    if item == "table2":
        forgotten = rows[rows["view"] == "forget"]
        cells["Exposure_silent"] = _silent(forgotten)
        if "taught" in rows:
            taught = forgotten[forgotten.taught.fillna(False).astype(bool)]
            cells["EM_f_taught"] = 100 * _pivot(taught, "em")
    return cells


def _runs(item: str, rows: pd.DataFrame) -> pd.Series:
    """What was trained apart (see the top)."""
    several = "stage1_seed" in rows and rows.stage1_seed.nunique() > 1
    runs = rows["stage1_seed" if several else "seed"].astype(str)
    alone = rows.setting == SETTINGS[0] if "setting" in rows else item in ("fig3a", "fig3b")
    return runs.where(~np.broadcast_to(alone, len(rows)), runs + "/" + rows.identity.astype(str))


def _pivot(rows: pd.DataFrame, measure: str, columns: str | list[str] = "row") -> pd.DataFrame:
    names = [columns] if isinstance(columns, str) else columns
    return rows.groupby([*UNIT, *names], observed=True)[measure].mean().unstack(names)


def _silent(rows: pd.DataFrame) -> pd.DataFrame:
    """Exposure less that of the retrained model, over the questions that neither answers with the
    value: forget EM is 0 on both sides, and what is left is whether the value is still ranked."""
    if "id" not in rows:
        return pd.DataFrame()
    of = ["model", "seed", "id"]
    floor = rows[rows["method"] == RETRAINED].set_index(of)[["em", "exposure"]]
    floor = floor.add_suffix("_floor")
    if floor.empty or floor.index.has_duplicates:
        return pd.DataFrame()
    both = rows.join(floor, on=of)
    both = both[(both.em == 0) & (both.em_floor == 0)]
    return _pivot(both.assign(above=both.exposure - both.exposure_floor), "above")


def _effects(rows: pd.DataFrame, floor: float) -> Cells:
    """ "share": the mean effect over the early half of the layers, or the late half, all positions
    ("set/asked/corruption/state/early"); "peak": the effect at one place (MLP or attention, layer
    and position). Percent of the set's mean total effect, not of a person's own, which may be near
    zero. A set whose total is below `floor` has no cells.

    The largest of many cells is large by chance. So one half of the people says where the peak is,
    and it is measured in the other half, both ways: scattered effects have none.
    """
    rows = rows[rows.state.isin(["mlp", "attention"])]  # the residual stream is a control
    total = rows.groupby("row").total.transform("mean")
    rows = rows.assign(share=100 * rows.effect / total)[total >= floor]
    middle = rows.groupby("row").layer.transform("max") / 2
    half = np.select([rows.layer < middle, rows.layer > middle], ["/early", "/late"], "/middle")
    peaks = {}
    for row, part in rows.groupby("row"):
        effects = _pivot(part, "share", ["state", "layer", "position"]).fillna(0.0)
        if effects.index.get_level_values("identity").nunique() > 1:
            peaks[row] = metrics.split_half_peaks(effects)["value"]
    halves = rows.row + "/" + rows.state.astype(str) + half
    return {"share": _pivot(rows.assign(row=halves), "share"), "peak": pd.DataFrame(peaks)}
