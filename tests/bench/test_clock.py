import time

import torch

from remem.bench.clock import Clock


def test_on_a_cpu_only_work_counts():
    clock = Clock("cpu")
    assert clock.seconds(lambda: time.sleep(0.3)) < 0.2
    assert clock.seconds(lambda: sum(range(3_000_000))) > 0.01


def test_memory_is_what_a_piece_of_work_holds_at_the_most():
    clock, megabytes = Clock("cpu"), 2**20

    def work():
        torch.ones(200 * megabytes // 4).sum()  # gone when the work is done

    found = clock.memory(work)
    assert 190 * megabytes < found.added < 400 * megabytes and found.peak > found.added
    # What was held before, and given back, is not counted again (where the system can forget it).
    assert clock.memory(lambda: None).added < 100 * megabytes
