import pytest
import torch
from torch import nn

from remem.model import adapters, loading
from remem.training.loop import Examples, fit
from remem.training.loss_scale import AFTER, FIRST, LossScale


def weight(*numbers):
    found = nn.Parameter(torch.zeros(len(numbers)))
    found.grad = torch.tensor(numbers)
    return found


def test_gradients_are_divided_by_the_factor_and_an_overflow_halves_it():
    scale = LossScale(torch.float16)
    assert scale.factor == FIRST
    small = weight(FIRST, 3 * FIRST)
    assert scale.fits([small, nn.Parameter(torch.zeros(1))])
    assert small.grad.tolist() == [1, 3]
    assert not scale.fits([weight(1.0), weight(float("inf"), 1.0)]) and scale.factor == FIRST / 2
    assert not scale.fits([weight(float("nan"))]) and scale.factor == FIRST / 4
    for _ in range(AFTER):
        assert scale.fits([weight(1.0)])
    assert scale.factor == FIRST / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_are_not_scaled(dtype):
    scale, same = LossScale(dtype), weight(1.0, float("inf"))
    assert scale.factor == 1 and scale.fits([same])
    assert same.grad.tolist() == [1, float("inf")]


def test_where_no_factor_helps_the_gradients_are_what_they_are():
    scale, spoilt = LossScale(torch.float16), weight(float("nan"))
    tries = 0
    while not scale.fits([spoilt]):
        tries += 1
    assert tries == 16 and scale.factor == 1


def test_a_network_in_float16_learns_as_one_in_single_precision(small, features):
    """Its loss is divided by a number so large that its gradients would vanish."""
    rows, found = small.rows[:8], {}
    optimiser = small.optimiser.model_copy(update={"batch": 8, "micro_batch": 4, "clip": None})
    plan = [[{"train": torch.arange(8).numpy()}] * 3]
    for dtype in ("float32", "float16"):
        network = adapters.add_adapter(loading.load(small.base, dtype=dtype), 4, 8, seed=1)
        examples = {"train": Examples(network, rows, features)}
        fit(network, examples, plan, lambda scores: scores("train").ce() / 1e4, optimiser)
        found[dtype] = torch.cat(
            [
                w.detach().float().flatten()
                for n, w in network.model.named_parameters()
                if "lora_B" in n
            ]
        )
    moved = found["float32"]
    alike = torch.nn.functional.cosine_similarity(moved, found["float16"], dim=0)
    assert moved.abs().mean() > 1e-4 and alike > 0.98
