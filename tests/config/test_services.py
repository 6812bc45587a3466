"""config.services: the counts of a construction, and who judges."""

import pytest
from pydantic import ValidationError

from remem.config import SCALES, BadParameter, load_config
from remem.config.services import Construction, FaceSimilarity, Judge

OUT = {"outputs": "mine"}


def test_the_counts_are_the_papers():
    asked = Construction()
    assert asked.people == 20
    assert asked.questions == {"train": (70, 30), "test": (14, 14)}
    assert asked.pictures == {"train": 100, "test": 28}


def test_nobody_is_asked_for_money_unless_told_to():
    assert load_config("smoke").judge.model is load_config("tiny").judge.model is None
    for scale in SCALES:
        assert load_config(scale).services.budget is not None, "no limit"
    assert Judge().repeats == 0
    assert (Judge().section, Construction().section) == ("judge", "construction")


@pytest.mark.parametrize("side", [0, 33, 100])
def test_the_detector_looks_at_multiples_of_32(side):
    with pytest.raises(ValidationError):
        FaceSimilarity(det_sizes=(side,))
    assert FaceSimilarity(det_sizes=(64,)).det_sizes == (64,)


@pytest.mark.parametrize("section", ["judge", "construction"])
def test_there_is_one_budget_and_one_place_for_all_outputs_of_a_scale(
    section, tmp_path, monkeypatch
):
    with pytest.raises(
        BadParameter, match=rf"{section}\.budget: unknown key; it is services\.budget now"
    ):
        load_config("smoke", {f"{section}.budget": 1.0})
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path))
    own, other = (load_config("smoke", {"services.budget": 7.0, **more}) for more in ({}, OUT))
    assert own.account.folder == other.account.folder == tmp_path / "smoke" / "services"
    assert own.account.budget == 7
    assert own.account.older == (
        tmp_path / "smoke" / "judge",
        tmp_path / "smoke" / "construction" / "answers",
    )
    assert other.account.older[0] == tmp_path / "mine" / "judge"
