import math

import pytest
import torch

from remem.bench import measures
from remem.training import loop
from remem.training.methods import NPO


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A few rows, and products that are not repeated."""
    monkeypatch.setattr(measures, "ASKED", 6)
    monkeypatch.setattr(measures, "FEW", 2)
    monkeypatch.setattr(measures.products, "LEAST", 1e-6)


def state(network) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in network.model.state_dict().items()}


def test_the_most_wanted_come_first(subject):
    names = list(measures.measures(subject.config))
    assert names[:2] == ["matrix products", "stage 1"] and names[-1] == "between runs, base"
    assert next(name for name in names if "NPO" in name) == "stage 2, NPO"
    methods = {"stage 2, GA", "stage 2, GD", "stage 2, KL", "stage 2, DPO"}
    assert {*names} > methods | {"stage 2, KL, all positions", "stage 1, micro-batch 16"}


def test_each_measure_gives_numbers_and_leaves_the_network_as_it_was(subject):
    before = state(subject.network)
    for name, measure in measures.measures(subject.config).items():
        found = {quantity: value for quantity, value, _ in measure(subject)}
        assert found and all(math.isfinite(value) and value >= 0 for value in found.values()), name
        assert any(value > 0 for value in found.values()), name
        after = state(subject.network)
        assert after.keys() == before.keys(), name
        for key, tensor in after.items():  # merged, and taken apart again: but for rounding
            torch.testing.assert_close(tensor, before[key], atol=1e-5, rtol=1e-4)
        assert not any(weight.requires_grad for weight in subject.network.model.parameters())


def test_a_step_is_measured_in_tokens_and_against_its_own_products(subject):
    found = {quantity: value for quantity, value, _ in measures.stage1(subject, micro_batch=4)}
    tokens = found["tokens a second"] * found["seconds a row"]
    assert tokens == pytest.approx(found["tokens a row"]) and 10 < tokens < 100
    alone = found["seconds a row of its products alone"]
    assert found["step over its products"] == pytest.approx(found["seconds a row"] / alone)
    few = dict(each[:2] for each in measures.stage1(subject, micro_batch=4, rows=8))
    assert "share of the peak" not in few and few["peak"] > 0


def test_a_micro_batch_that_was_made_smaller_does_not_count_as_measured(subject, monkeypatch):
    def halved(network, examples, plan, loss, optimiser, **others):
        less = optimiser.model_copy(update={"micro_batch": 2})
        return loop.fit(network, examples, plan, loss, less, **others)

    monkeypatch.setattr(measures, "fit", halved)
    with pytest.raises(torch.OutOfMemoryError):
        list(measures.stage1(subject, micro_batch=4, rows=8))


def test_stage_2_is_measured_over_all_epochs_with_its_reference(subject, monkeypatch):
    plans, asked = [], []

    def watched(network, examples, plan, loss, optimiser, **others):
        plans.append(plan)
        asked.append(
            bool((examples["forget"].cached_logps == examples["forget"].cached_logps).any())
        )
        return loop.fit(network, examples, plan, loss, optimiser, **others)

    monkeypatch.setattr(measures, "fit", watched)
    list(measures.stage2(subject, NPO()))
    assert [len(plan) for plan in plans] == [1, 2] and asked == [False, False]
    assert len(plans[1][0][0]["forget"]) == 2 * subject.stage2.micro_batch
