"""jobs.workers: on one machine, a run on each GPU with nothing to start."""

import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import toy_runs

from remem import jobs
from remem.jobs import workers


def test_with_two_gpus_each_worker_has_one_and_no_two_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "gpus", lambda: ["3", "GPU-5"])
    found = jobs.collect(toy_runs.several(tmp_path / "two", 4, sleep=0.3))
    assert found["sum"].tolist() == [100 + 2 * number for number in range(4)]
    made = toy_runs.logs(tmp_path / "two")
    assert {*made["gpu"]} == {"3", "GPU-5"} and made["pid"].nunique() == 2 and len(made) == 8
    for _, those in made.sort_values("began").groupby("gpu"):
        assert (those["began"].iloc[1:].to_numpy() >= those["ended"].iloc[:-1].to_numpy()).all()
    monkeypatch.setattr(workers, "gpus", list)
    alone = jobs.collect(toy_runs.several(tmp_path / "one", 4, sleep=0))
    pd.testing.assert_frame_equal(found, alone)


@pytest.mark.parametrize(
    ("wanted", "gpus", "count", "at_once"),
    [
        (1, 0, 9, 1),
        (1, 1, 9, 1),
        (1, 4, 9, 4),
        (2, 0, 9, 2),
        (6, 4, 9, 6),
        (2, 1, 9, 2),
        (4, 4, 1, 1),
    ],
)
def test_as_many_at_once_as_are_asked_for_or_as_there_are_gpus(
    monkeypatch, wanted, gpus, count, at_once
):
    monkeypatch.setattr(workers, "gpus", lambda: [*map(str, range(gpus))])
    place = workers.place(wanted, count)
    assert place.at_once == at_once
    assert isinstance(place, workers.Here if at_once == 1 else workers.Processes)


@pytest.mark.parametrize(
    ("visible", "count", "names"),
    [
        (None, 2, ["0", "1"]),
        ("2,3", 2, ["2", "3"]),
        ("GPU-a, GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("1,7", 1, ["1"]),  # CUDA stops at one that is not there
        ("", 0, []),
    ],
)
def test_gpus_are_named_as_cuda_does(monkeypatch, visible, count, names):
    cuda = SimpleNamespace(is_available=lambda: count > 0, device_count=lambda: count)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert workers.gpus() == names
