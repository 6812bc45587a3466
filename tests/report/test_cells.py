import numpy as np
from claim_rows import SETS, frame, traced

from remem.report.cells import cells_of


def test_a_missing_score_is_missing_and_not_zero():
    rows = frame(people=9, benchmark=SETS[1:], split=["train"]).assign(judge=0.5)
    rows.loc[(rows.identity == "p00") & (rows.benchmark == "ReMem"), "judge"] = np.nan
    cells = cells_of("fig1", rows, 0)["judge"]
    assert cells["ReMem"].dropna().tolist() == [50.0] * 8


def test_scattered_effects_have_no_peak():
    rows = traced({"FIUBench": {}})
    # each person's whole effect sits in a cell of its own
    own = rows.layer == rows.identity.str[1:].astype(int)
    rows["effect"] = np.where(own & (rows.position == "last"), 0.5, 0.0)
    peaks = cells_of("fig2b", rows, 0)["peak"]["FIUBench/name/entity"]
    assert peaks.tolist() == [0.0] * 8


def test_one_half_says_where_the_peak_is_and_the_other_how_high():
    rows = traced({"ReMem": {}})
    odd = rows.identity.str[1:].astype(int) % 2 == 1
    at = (rows.state == "mlp") & (rows.position == "last") & (rows.layer == np.where(odd, 3, 5))
    rows["effect"] = np.where(at, 0.5, 0.0)
    rows.loc[rows.state == "residual", "effect"] = 1.0  # the control is no place
    peaks = cells_of("fig2b", rows, 0)["peak"]["ReMem/name/entity"]
    assert peaks.tolist() == [0.0] * 8  # the halves do not agree
