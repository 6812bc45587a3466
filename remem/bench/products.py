"""The matrix products of a piece of work: which there are, how many operations, how long alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from remem.bench.clock import Clock

# Where their two factors stand among the arguments.
PLACES = {
    torch.ops.aten.mm.default: 0,
    torch.ops.aten.bmm.default: 0,
    torch.ops.aten.addmm.default: 1,
    torch.ops.aten.addmm_.default: 1,
    torch.ops.aten.baddbmm.default: 1,
}
LEAST = 0.01  # seconds for which each is repeated


class Factor(NamedTuple):
    """One factor of a product: its shape, whether it is stored by columns, its number format."""

    shape: tuple[int, ...]
    turned: bool
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Factor:
        """That of a tensor."""
        turned = tensor.stride(-1) != 1 and tensor.stride(-2) == 1
        return cls(tuple(tensor.shape), turned, tensor.dtype)

    def drawn(self, device: torch.device) -> Tensor:
        """A tensor like it, of random numbers."""
        *many, rows, columns = self.shape
        stored = (*many, columns, rows) if self.turned else self.shape
        numbers = torch.randn(stored, device=device, dtype=torch.float32).to(self.dtype)
        return numbers.mT if self.turned else numbers


class Products(TorchDispatchMode):
    """Inside, every matrix product is counted; those inside a kernel for attention are not seen."""

    def __init__(self):
        super().__init__()
        self.found: Counter[tuple[Factor, Factor]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the factors, and go on."""
        if (at := PLACES.get(func)) is not None:
            self.found[Factor.of(args[at]), Factor.of(args[at + 1])] += 1
        return func(*args, **(kwargs or {}))

    @property
    def operations(self) -> int:
        """Multiplications and additions of all of them."""
        return sum(
            2 * torch.Size(one.shape).numel() * other.shape[-1] * times
            for (one, other), times in self.found.items()
        )

    def seconds(self, clock: Clock) -> float:
        """How long they take alone, one after the other."""
        total = 0.0
        with torch.no_grad():
            for (one, other), times in self.found.items():
                a, b = one.drawn(clock.device), other.drawn(clock.device)
                total += times * _alone(clock, lambda a=a, b=b: torch.matmul(a, b))
        return total


def peak(clock: Clock, dtype: torch.dtype) -> float:
    """Operations a second in one large product of square matrices: larger ones are tried as long as
    they take less than LEAST seconds, up to a side of 8,192."""
    side = 512
    while True:
        a, b = (torch.randn(side, side, device=clock.device).to(dtype) for _ in range(2))
        seconds = _alone(clock, lambda a=a, b=b: torch.matmul(a, b))
        if seconds > LEAST or side == 8192:
            return 2 * side**3 / seconds
        side *= 2


def _alone(clock: Clock, work: Callable[[], object]) -> float:
    """Seconds of `work`, repeated until the clock can tell."""
    work()
    times = 1
    while True:
        seconds = clock.seconds(lambda n=times: [work() for _ in range(n)])
        if seconds >= LEAST or times >= 1000:
            return seconds / times
        times = min(1000, max(2 * times, int(1.2 * times * LEAST / max(seconds, 1e-6))))
