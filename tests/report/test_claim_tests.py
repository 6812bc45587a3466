import numpy as np
import pytest

from remem.report.claim_list import CLAIMS

CLAIM = {claim.id: claim for claim in CLAIMS}


@pytest.mark.parametrize(
    "claim, need",
    [
        ("hop-utility", "P1 P2 P3"),
        ("gd-utility", "P5 P8"),
        ("mmbench-gd", "P6"),
        ("mix-peak", "P3"),
        ("trace-remem", "P7"),
        ("dpo-utility", "P9"),
        ("stage1-learns", "P4"),
    ],
)
def test_what_a_claim_hangs_on(claim, need):
    assert set(need.split()) <= set(CLAIM[claim].needs.split())
    for each in CLAIMS:  # whoever compares with DPO needs its refusals to be new
        compared = "/DPO" in repr(each.test) and any("DPO" in side.name for side in each.test.sides)
        assert not compared or "P9" in each.needs, each.id


@pytest.mark.parametrize(
    "claim, borne_out, effect, cells",
    [
        ("stage1-learns", "yes", (91.50 - 13.33 + 96.37 - 11.25) / 2, "2 of 2"),
        ("stage1-scale", "yes", 96.37 - 91.50, "1 of 1"),
        ("trade-off", "yes", 0.321222, "3 of 4"),
        ("gd-utility", "yes", 9.9375, "32 of 32"),
        ("dpo-utility", "yes", 6.3225, "8 of 12"),
        ("dpo-forgets-least", "yes", 10.625, "16 of 16"),
        ("middle-ground-retain", "yes", 6.0825, "16 of 16"),
        ("npo-forgets-most", "yes", 4.405, "16 of 16"),
        ("npo-judge", "yes", 6.495, "16 of 16"),
        ("npo-exposure", "no", -4.07625, "3 of 16"),
        ("npo-utility", "yes", 6.025, "16 of 16"),
        ("hop-utility", "yes", 4.2315, "19 of 20"),  # KL at 13B: 67.86 twice
        ("hop-forgetting", "yes", -0.429, "9 of 10"),
        ("scale-retains", "yes", 8.482, "8 of 10"),
        ("scale-resists", "yes", 11.215, "10 of 10"),
        ("npo-surface", "not in the paper", np.nan, "0 of 0"),
        ("kl-is-ga-retain", "yes", 0.115, "4 of 4"),
        ("mmbench-drop", "yes", 0.984, "10 of 10"),
        ("mmbench-slight", "yes", 5 - 0.984, "10 of 10"),
        ("mmbench-gd", "yes", 70.71 - 70.18, "4 of 4"),
        ("mmbench-npo", "yes", 69.60 - 68.72, "4 of 4"),
        ("mmbench-scale", "yes", 1.088, "5 of 5"),
        ("table5-low", "yes", 10 - (0.05 + 4.25 + 0.41 + 9.76) / 4, "4 of 4"),
        ("table5-order", "yes", (0.41 - 0.05 + 9.76 - 4.25) / 2, "4 of 4"),
        ("samples-grow", "not in the paper", np.nan, "0 of 0"),
        ("ratio-gd", "not in the paper", np.nan, "0 of 0"),
    ],
)
def test_whether_the_papers_own_numbers_bear_it_out(claim, borne_out, effect, cells):
    assert CLAIM[claim].paper_bears_out() == borne_out
    found, each = CLAIM[claim].printed()
    assert found == pytest.approx(effect, nan_ok=True)
    assert f"{sum(map(CLAIM[claim].test.bears_out, each))} of {len(each)}" == cells
