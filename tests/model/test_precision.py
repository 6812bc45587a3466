import importlib.util

import pytest
import torch

from remem.model import adapters, loading, precision
from remem.model.folder import CannotLoad
from remem.training.loop import Examples, fit


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_precision_is_that_of_all_weights(small, dtype):
    network = loading.load(small.base, dtype=dtype)
    assert {str(weight.dtype) for weight in network.model.parameters()} == {f"torch.{dtype}"}
    assert precision.BYTES[dtype] == getattr(torch, dtype).itemsize


def test_the_package_for_4_bits_is_asked_for(small, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CannotLoad, match=r"nf4 takes the package bitsandbytes: .*quant"):
        loading.load(small.base, dtype="nf4")
    [fault] = loading.faults(small.base, "nf4")
    assert "bitsandbytes" in str(fault)


def test_in_4_bits_are_the_projections_of_the_language_model(small, features):
    pytest.importorskip("bitsandbytes", reason="remem[quant]")
    network = loading.load(small.base, dtype="nf4")
    held = {
        name: weight.dtype for name, weight in network.model.named_parameters() if weight.ndim > 1
    }
    inside = {name for name, dtype in held.items() if dtype == torch.uint8}
    assert len(inside) == 2 * 7 and all("language_model.layers" in name for name in inside)
    assert {held[name] for name in held.keys() - inside} == {torch.bfloat16}

    adapted = adapters.add_adapter(network, rank=4, alpha=8, seed=1)
    examples = {"train": Examples(adapted, small.rows[:16], features)}
    optimiser = small.optimiser.model_copy(update={"lr": 1e-2})
    plan = [[{"train": torch.arange(16).numpy()}] * 6]
    history = fit(adapted, examples, plan, lambda scores: scores("train").ce(), optimiser)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
