import csv
from collections import Counter

import numpy as np
import pytest

from remem import paths
from remem.paper import METHODS
from remem.report.claim_list import CLAIMS
from remem.report.claim_tests import TESTS
from remem.report.contrasts import Correlation

CLAIM = {claim.id: claim for claim in CLAIMS}


def test_every_sentence_has_its_test_and_the_other_way_round():
    with paths.PAPER.with_name("claims.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["id", "item", "section", "text", "needs", "was", "remark"]
    assert {line["id"] for line in lines} == TESTS.keys() and len(lines) == len(CLAIMS)
    for line in lines:
        assert line["id"] and line["item"] and line["section"] and line["text"]
        assert line["needs"].split() == sorted(set(line["needs"].split()))
        assert set(line["needs"].split()) <= {f"P{n}" for n in range(1, 10)} and line["needs"]
        assert CLAIM[line["id"]].parts and CLAIM[line["id"]].test.margin > 0


def test_the_papers_claims_are_counted_apart():
    assert Counter(claim.papers for claim in CLAIMS) == {True: 47, False: 29}
    was = {claim.was for claim in CLAIMS if claim.papers}
    assert len(was) == 40  # of 0.2; what says two things is two claims now
    printed = Counter(claim.paper_bears_out() for claim in CLAIMS if claim.papers)
    assert printed == {"yes": 23, "no": 1, "not in the paper": 23}


def test_correlation_of_the_paper():
    rows = tuple(f"llava-1.5-7b/{method}/single" for method in METHODS)
    by_hand = np.corrcoef([56.70, 74.55, 56.70, 71.43, 50.45], [27.14, 28.57, 27.14, 42.14, 21.79])
    part = Correlation("EM_r", "EM_f", rows)
    place = CLAIM["trade-off"].parts.index(part)
    assert CLAIM["trade-off"].printed()[1][place] == pytest.approx(by_hand[0, 1], abs=1e-6)
