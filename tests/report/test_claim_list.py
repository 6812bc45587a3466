import csv

import numpy as np
import pytest

from remem import paths
from remem.paper import METHODS
from remem.report import claim_list
from remem.report.claim_list import CLAIMS
from remem.report.contrasts import Correlation

CLAIM = {claim.id: claim for claim in CLAIMS}


def test_every_sentence_has_its_contrasts_and_the_other_way_round():
    with paths.PAPER.with_name("claims.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["id", "item", "section", "text"] and len(lines) == len(CLAIMS) == 58
    assert {line["id"] for line in lines} == claim_list.CONTRASTS.keys()
    assert all(all(line.values()) for line in lines) and all(claim_list.CONTRASTS.values())


@pytest.mark.parametrize(
    "claim, borne_out, weakest",
    [
        ("stage1-learns", "yes", 91.50 - 13.33),
        ("stage1-scale", "yes", 96.37 - 91.50),
        ("gd-utility", "yes", 95.98 - 93.10),
        ("dpo-utility", "no", 70.71 - 83.80),  # DPO's ROUGE is the worst at 7B multi-hop
        ("dpo-forgets-least", "yes", 44.64 - 40.71),
        ("npo-forgets-most", "yes", 37.50 - 35.83),
        ("npo-exposure", "no", 51.52 - (55.12 + 55.78 + 56.16 + 66.05) / 4),
        ("npo-utility", "yes", 61.61 - 61.16),
        ("hop-utility", "no", 0),  # KL at 13B: 67.86 twice
        ("hop-forgetting", "no", 44.64 - 54.17),
        ("scale-retains", "no", 64.73 - 71.43),  # DPO
        ("scale-resists", "yes", 44.64 - 42.14),
        ("npo-surface", "not in the paper", np.nan),
        ("npo-drop", "not in the paper", np.nan),
        ("kl-is-ga", "yes", 26.67 - 28.33),
        ("mmbench-drop", "yes", 73.99 - 73.74),
        ("mmbench-gd", "yes", 70.71 - 70.18),
        ("mmbench-npo", "yes", 69.60 - 68.72),
        ("mmbench-scale", "yes", (71.30 - 70.71) - (73.99 - 73.43)),
        ("table5-low", "yes", 10 - 9.76),
        ("table5-remem", "yes", 7.33 - 0.41),
        ("table5-order", "yes", 0.41 - 0.05),
        ("samples-grow", "not in the paper", np.nan),
        ("ratio-gd", "not in the paper", np.nan),
    ],
)
def test_whether_the_papers_own_numbers_bear_it_out(claim, borne_out, weakest):
    word, gap = CLAIM[claim].paper_bears_out()
    assert word == borne_out
    assert gap == pytest.approx(weakest, nan_ok=True)


def test_correlation_of_the_paper():
    rows = tuple(f"llava-1.5-7b/{method}/single" for method in METHODS)
    by_hand = np.corrcoef([56.70, 74.55, 56.70, 71.43, 50.45], [27.14, 28.57, 27.14, 42.14, 21.79])
    part = Correlation("EM_r", "EM_f", rows)
    assert CLAIM["trade-off"].printed(part) == pytest.approx(by_hand[0, 1], abs=1e-6)
