"""What a piece of work takes on the device that it runs on: seconds, and bytes."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

RESET = Path("/proc/self/clear_refs")  # Linux: 5 forgets how much memory there has been


class Memory(NamedTuple):
    """Bytes: the most at any time of a piece of work, and how much of that came with it."""

    peak: int
    added: int


class Clock:
    """On a GPU the seconds that pass, and the memory of tensors; on a CPU the seconds in which the
    process works, so that others beside it do not count, and the memory of the process."""

    def __init__(self, device: torch.device | str):
        self.device = torch.device(device)
        self.cuda = self.device.type == "cuda"

    def now(self) -> float:
        """A time, in seconds, when all that was asked for before is done."""
        if not self.cuda:
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def seconds(self, work: Callable[[], object]) -> float:
        """How long `work` takes."""
        started = self.now()
        work()
        return self.now() - started

    def memory(self, work: Callable[[], object]) -> Memory:
        """What `work` holds."""
        gc.collect()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            work()
            peak = torch.cuda.max_memory_allocated(self.device)
        else:
            before = psutil.Process().memory_info().rss
            with suppress(OSError):
                RESET.write_text("5", "ascii")
            work()
            peak = max(before, _most())
        return Memory(peak, peak - before)

    def tidy(self) -> None:
        """Give back what is held for nobody."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()


def _most() -> int:
    """The most bytes that the process has held, since RESET where there is that."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
