import pytest
import torch
from torch import nn

from remem.training.master_weights import MasterWeights


def test_weights_in_single_precision_are_moved_themselves():
    weights = [nn.Parameter(torch.ones(3))]
    masters = MasterWeights(weights)
    assert masters.weights[0] is weights[0]
    (weights[0] * 2).sum().backward()
    assert weights[0].grad.tolist() == [2.0] * 3
    masters.round()
    masters.close()


def test_steps_that_half_precision_would_round_away_add_up():
    weight = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    masters = MasterWeights([weight])
    optimiser = torch.optim.SGD(masters.weights, lr=1e-3)
    for step in range(1, 11):
        weight.sum().backward()
        optimiser.step()
        masters.round()
        optimiser.zero_grad()
        assert masters.weights[0].tolist() == pytest.approx([1 - step * 1e-3] * 4, abs=1e-6)
    assert weight.dtype == torch.bfloat16 and weight.tolist() == [0.98828125] * 4  # 0.99, rounded
    alone = torch.ones(4, dtype=torch.bfloat16)
    for _ in range(10):
        alone -= 1e-3  # less than half of what lies between 1 and the next number
    assert alone.tolist() == [1.0] * 4


def test_gradients_of_parts_are_added_in_single_precision():
    weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    masters = MasterWeights([weight])
    parts = [256.0, *[1.0] * 16]  # in bfloat16, 256 + 1 is 256
    for part in parts:
        (weight * part).sum().backward()
        assert weight.grad is None
    [master] = masters.weights
    assert master.grad.dtype == torch.float32 and master.grad.item() == 272
    masters.close()
    (weight * 3).sum().backward()
    assert weight.grad.item() == 3 and master.grad.item() == 272
