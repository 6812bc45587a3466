import pytest
import torch
from torch import nn

from remem.bench import products
from remem.bench.clock import Clock
from remem.bench.products import Factor, Products


def test_every_product_of_a_step_is_counted_forward_and_back():
    layer, rows = nn.Linear(8, 4), torch.randn(5, 3, 8, requires_grad=True)
    with Products() as found:
        layer(rows).sum().backward()
    # forward, the gradient of the input, and that of the weight: each 15 x 8 x 4
    assert found.operations == 3 * 2 * 15 * 8 * 4 and found.found.total() == 3
    frozen = layer.requires_grad_(False)
    with Products() as found:
        frozen(rows).sum().backward()
    assert found.operations == 2 * 2 * 15 * 8 * 4


def test_batches_of_matrices_count_each():
    with Products() as found:
        torch.randn(6, 2, 3) @ torch.randn(6, 3, 5)
        torch.zeros(2, 5).addmm_(torch.randn(2, 3), torch.randn(3, 5))
    assert found.operations == 6 * 2 * 2 * 3 * 5 + 2 * 2 * 3 * 5


@pytest.mark.parametrize("turned", [False, True])
def test_a_factor_is_drawn_as_it_is_stored(turned):
    like = torch.randn(7, 3).T if turned else torch.randn(3, 7)
    drawn = Factor.of(like.bfloat16()).drawn(torch.device("cpu"))
    assert drawn.shape == like.shape and drawn.dtype == torch.bfloat16
    assert drawn.stride() == like.stride()


def test_products_alone_take_some_time_and_less_than_the_peak_allows(monkeypatch):
    monkeypatch.setattr(products, "LEAST", 0.002)
    clock = Clock("cpu")
    with Products() as found:
        for _ in range(3):
            torch.randn(200, 300) @ torch.randn(300, 100)
    alone, peak = found.seconds(clock), products.peak(clock, torch.float32)
    assert found.operations == 3 * 2 * 200 * 300 * 100
    assert 0 < found.operations / alone < 20 * peak  # a clock, not a proof
