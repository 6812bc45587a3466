"""The factor on the loss of a network in float16, without which small gradients vanish."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

FIRST = 2.0**16  # as torch.amp.GradScaler
AFTER = 200  # steps without an overflow, after which the factor is doubled


class LossScale:
    """What a loss is multiplied by, and its gradients divided by.

    The smallest number of float16 is 6e-8, and gradients of activations are smaller: they vanish.
    So the loss is taken that much larger, and a step whose gradients then overflow is taken again
    with half the factor (Micikevicius et al. 2018). It is 1 for other precisions. Factors are
    powers of two, so that dividing rounds nothing.
    """

    def __init__(self, dtype: torch.dtype):
        """`dtype` is that of the network's activations."""
        self.factor = FIRST if dtype == torch.float16 else 1.0
        self.since = 0  # steps with this factor

    def fits(self, weights: Sequence[nn.Parameter]) -> bool:
        """Whether the gradients of `weights`, which are divided by the factor, are usable. If they
        are not, the step has to be taken again, with a factor that is smaller now; with a factor of
        1 they are what they are."""
        if self.factor == 1.0:
            return True
        grads = [weight.grad for weight in weights if weight.grad is not None]
        if not all(bool(torch.isfinite(grad).all()) for grad in grads):
            self.factor, self.since = self.factor / 2, 0
            return False
        for grad in grads:
            grad.div_(self.factor)
        self.since += 1
        if self.since % AFTER == 0:
            self.factor *= 2
        return True
