import weakref

import pytest
import torch

from remem.model import memory
from remem.model.memory import OutOfMemory


class Held:
    """Stands for a tensor."""


def test_what_the_allocator_keeps_is_free_as_well(monkeypatch):
    numbers = {"mem_get_info": (5, 80), "memory_reserved": 70, "memory_allocated": 30}
    for name, value in numbers.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert memory.free("cuda") == memory.free("cuda:0") == 5 + 70 - 30
    assert memory.free("cpu") > 2**20


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling ..."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_which_errors_say_that_memory_is_short(error, short):
    assert memory.is_short(error) == short

    def attempt():
        raise error

    if short:
        assert memory.tried(attempt) is None
    else:
        with pytest.raises(type(error)):
            memory.tried(attempt)


def test_what_an_attempt_had_taken_is_free_again():
    taken = []

    def deep():
        own = Held()
        own.me = own  # as long as nothing collects it
        taken.append(weakref.ref(own))
        raise torch.OutOfMemoryError("CUDA out of memory")

    def attempt():
        held = Held()
        taken.append(weakref.ref(held))
        deep()

    assert memory.tried(attempt) is None
    assert [each() for each in taken] == [None, None]
    assert memory.tried(lambda: 0) == 0


def test_half_is_said_and_one_cannot_be_halved():
    said = []
    assert memory.half(9, "rows", "buy more", said.append) == 4
    assert said == ["rows: 9 at a time do not fit into memory; 4 from here on"]
    with pytest.raises(OutOfMemory, match=r"rows: one at a time does not fit.*; buy more"):
        memory.half(1, "rows", "buy more", said.append)


def test_parts_are_halved_from_where_they_do_not_fit_and_nothing_is_left_out(capsys):
    done, tried = [], []

    def work(part):
        tried.append(len(part))
        if len(part) > (8 if part[0] < 10 else 3):  # the long ones come last
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.extend(part)

    memory.in_parts(range(20), 6, work, "rows", "buy more")
    assert done == list(range(20))
    assert tried == [6, 6, 6, 3, 3, 2]
    assert "remem: rows: 6 at a time do not fit" in capsys.readouterr().err
    memory.in_parts([], 6, work, "rows", "buy more")

    def never(part):
        raise MemoryError

    with pytest.raises(OutOfMemory, match="buy more"):
        memory.in_parts(range(5), 4, never, "rows", "buy more")
