"""The table of controls: what answers come from, before and after every method."""

from __future__ import annotations

import pandas as pd

from remem.paper import SETS
from remem.report import tables

WHOSE = ("retained", "forgotten", SETS[0])  # whose people are asked about

# Column of the table of controls -> (hop and picture shown, column of the scored rows).
CONTROLLED = {
    "single": ("single, own", "em"),
    "name_swap": ("single, another's", "em"),
    "misled": ("single, another's", "em_pictured"),
    "no_picture": ("single, none", "em"),
    "multi": ("multi, own", "em"),
    "picture_swap": ("multi, another's", "em_pictured"),
    "unmoved": ("multi, another's", "em"),
}


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """What answers come from: model, method, whose, then EM of single-hop questions with the named
    person's `own` picture (single), with another's (name_swap; misled: the other's value instead)
    and with none (no_picture); of multi-hop questions with their own picture (multi), and with
    another's that person's value (picture_swap) or the former one's (unmoved).

    rows: scored answers of controls (evaluation.controls), with model, method, seed, and `whose`
    people are asked about. `likeliest`, of public figures: how often the value asked for is the
    likeliest of eight; `stage1_value`: of their wrong answers, those that stage 1 taught.
    """
    rows = rows.assign(asked=rows["hop"] + ", " + rows["picture"])
    by = ["model", "method", "whose"]
    found = tables.measured(rows, by, CONTROLLED, where="asked")
    own = rows[rows["picture"] == "own"]
    ranked = {name: (None, name) for name in ("likeliest", "stage1_value")}
    found = found.merge(tables.measured(own, by, ranked), on=by, how="left")
    return tables.in_order(
        found, model=tables.models_in_order(found), whose=WHOSE, method=tables.METHODS
    )
