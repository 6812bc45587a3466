"""Memory: how much of it is free, how it is given back, and how work goes on in smaller parts."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from remem import runs

T = TypeVar("T")

# How a plain RuntimeError says it: torch on a CPU, and two libraries on a GPU.
SHORT = (
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


class OutOfMemory(RuntimeError):
    """What cannot be cut any smaller does not fit into memory; the message says what takes less."""


def free(device: Any) -> int:
    """Bytes of a device that can still be taken. On a GPU, those that its driver has free, and
    those that tensors gave back and torch's allocator keeps for the next."""
    if torch.device(device).type != "cuda":
        import psutil

        return psutil.virtual_memory().available
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def release() -> None:
    """Free what nothing refers to any more but itself, and give the driver back what the allocator
    keeps: in other sizes it may be of no use."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_short(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(error, RuntimeError) and any(s in str(error) for s in SHORT))


def tried(attempt: Callable[[], T]) -> T | None:
    """What `attempt` gives, or None where there is not enough memory for it; what it had taken is
    then free again."""
    try:
        return attempt()
    except (RuntimeError, MemoryError) as error:
        if not is_short(error):
            raise
    # Not before here: the error's traceback holds the frames, and they the tensors.
    release()
    return None


def half(size: int, what: str, less: str, note: Callable[[str], None] = runs.say) -> int:
    """Half of `size`, of which as many at once were too much, and `note` is told. `what` is being
    done. Raises OutOfMemory, which says what takes `less`, where it was one."""
    if size == 1:
        raise OutOfMemory(f"{what}: one at a time does not fit into memory; {less}")
    note(f"{what}: {size} at a time do not fit into memory; {size // 2} from here on")
    return size // 2


def in_parts(
    items: Sequence[T], size: int, work: Callable[[Sequence[T]], object], what: str, less: str
) -> None:
    """Hand `items` to `work` in their order, `size` at a time; from where so many are too much for
    the memory, half as many. `work` is then called again, and has to begin anew. `what` and `less`
    as in `half`."""
    first = 0
    while first < len(items):
        part = items[first : first + size]
        if tried(lambda part=part: (work(part),)) is None:
            size = half(len(part), what, less)
        else:
            first += len(part)
