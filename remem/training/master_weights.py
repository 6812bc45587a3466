"""Weights in single precision that the optimiser moves, for weights held in half precision."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import nn


class MasterWeights:
    """What an optimiser moves in place of `weights`.

    A number in bfloat16 has eight bits: most steps are too small to change one, and the gradients
    of a step's parts would be rounded as they are added. So of weights in half precision there is
    a copy in single precision, where both are done; the network computes with what it is rounded
    to (Micikevicius et al. 2018). Weights in single precision are moved themselves.
    """

    def __init__(self, weights: Sequence[nn.Parameter]):
        self.weights = [
            each if each.dtype == torch.float32 else nn.Parameter(each.detach().float())
            for each in weights
        ]
        pairs = zip(self.weights, weights, strict=True)
        self._rounded = [(master, each) for master, each in pairs if master is not each]
        self._hooks = [
            each.register_post_accumulate_grad_hook(functools.partial(_hand_over, master))
            for master, each in self._rounded
        ]

    @torch.no_grad()
    def round(self) -> None:
        """After a step: the network's weights follow."""
        for master, each in self._rounded:
            each.copy_(master)

    def close(self) -> None:
        """The network's weights keep their gradients again."""
        for hook in self._hooks:
            hook.remove()


def _hand_over(master: nn.Parameter, weight: torch.Tensor) -> None:
    """The gradient of one part of a step, as soon as it is there."""
    if weight.grad is None:
        return
    if master.grad is None:
        master.grad = weight.grad.float()
    else:
        master.grad.add_(weight.grad)
    weight.grad = None
