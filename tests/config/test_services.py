"""config.services: the counts of a construction, and who judges."""

import pytest
from pydantic import ValidationError

from remem.config import SCALES, load_config
from remem.config.services import Construction, FaceSimilarity, Judge


def test_the_counts_are_the_papers():
    asked = Construction()
    assert asked.people == 20
    assert asked.questions == {"train": (70, 30), "test": (14, 14)}
    assert asked.pictures == {"train": 100, "test": 28}


def test_nobody_is_asked_for_money_unless_told_to():
    assert load_config("smoke").judge.model is load_config("tiny").judge.model is None
    for scale in SCALES:
        assert load_config(scale).construction.budget is not None, "no limit"
    assert (Judge().section, Construction().section) == ("judge", "construction")


@pytest.mark.parametrize("side", [0, 33, 100])
def test_the_detector_looks_at_multiples_of_32(side):
    with pytest.raises(ValidationError):
        FaceSimilarity(det_sizes=(side,))
    assert FaceSimilarity(det_sizes=(64,)).det_sizes == (64,)
