"""The usual way gives what the package's own way does: else their times could not be compared."""

import numpy as np
import pytest
import torch

from remem.bench import states, usual
from remem.data import splits
from remem.model import inference
from remem.training.loop import Examples, fit
from remem.training.methods import NPO
from remem.training.stage1 import cross_entropy


def trained(network) -> list[torch.Tensor]:
    return [weight for weight in network.model.parameters() if weight.requires_grad]


def test_a_step_of_stage_1(subject):
    rows, optimiser = subject.rows[:8], subject.stage1
    with states.fresh(subject) as network:
        value = usual.stage1_step(subject, network, rows, optimiser)
        theirs = [weight.detach().clone() for weight in trained(network)]
    with states.fresh(subject) as network:
        examples = {"train": Examples(network, rows, subject.features)}
        history = fit(network, examples, [[{"train": np.arange(8)}]], cross_entropy, optimiser)
        ours = [weight.detach().clone() for weight in trained(network)]
    assert history.loss[0] == pytest.approx(value, rel=1e-5)
    assert any(weight.abs().sum() > 0 for weight in ours[1::2])  # B, which began at zero
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-3)


def test_a_step_of_npo(subject):
    rows, optimiser = subject.rows[:8], subject.stage2
    with states.continued(subject) as network:
        before = [weight.detach().clone() for weight in trained(network)]
        value = usual.npo_step(subject, network, rows, optimiser, beta=0.1)
        theirs = [weight.detach().clone() for weight in trained(network)]
    with states.continued(subject) as network:
        examples = {"forget": Examples(network, rows, subject.features)}
        plan = [[{"forget": np.arange(8)}]]
        history = fit(network, examples, plan, NPO(beta=0.1).loss, optimiser)
        ours = [weight.detach().clone() for weight in trained(network)]
    assert history.loss[0] == pytest.approx(value, rel=1e-5)
    assert not all(torch.equal(one, other) for one, other in zip(before, ours, strict=True))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-3)


def test_answers_and_ranks(subject):
    rows = subject.rows[::40]
    candidates = splits.candidates(subject.rows)
    with states.asked(subject, merge=False) as network:
        theirs = usual.answers(subject, network, rows, 6)
        ours = inference.answers(network, rows, subject.features, batch=4, max_new_tokens=6)
        assert ours == theirs and len(set(ours)) > 1
        ranked = rows[rows["attribute"].isin(candidates)][:2]
        one_by_one = usual.candidate_logps(subject, network, ranked, candidates, "plain")
        together = inference.candidate_logps(
            network, ranked, subject.features, candidates, "plain", batch=4
        )
    for one, other in zip(one_by_one, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
