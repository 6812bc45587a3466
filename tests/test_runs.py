"""runs: done is loaded, killed is made again with the same bytes, damage is told."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest

from remem import paths, runs


class Inner(runs.Spec):
    kind: ClassVar[str] = "inner"
    lr: float


class Other(runs.Spec):
    kind: ClassVar[str] = "other"
    lr: float


class Toy(runs.Spec):
    kind: ClassVar[str] = "toy"
    name: str
    seed: int = 1
    inner: Inner = Inner(lr=1)


def make(spec: Toy, runs_root: Path) -> Path:
    """A job: writes two files, one in a folder; `name` chooses how it goes wrong."""

    def write(folder: Path) -> None:
        with (runs_root / "calls").open("a") as calls:
            calls.write(f"{spec.name}\n")
        (folder / "adapter").mkdir()
        (folder / "adapter" / "weights").write_bytes(bytes(range(spec.seed)) * 100)
        time.sleep(float(os.environ.get("TOY_SLEEP", 0)))
        if spec.name == "bad":
            raise RuntimeError("loss is nan")
        if spec.name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / "scores.json").write_text(json.dumps({"seed": spec.seed}))

    return runs.ensure(spec, write, runs_root)


def job(**fields) -> tuple[str, Toy]:
    return f"{__name__}:make", Toy(**fields)


def calls(root: Path) -> list[str]:
    return (root / "calls").read_text().split() if (root / "calls").exists() else []


def contents(root: Path) -> dict[str, bytes]:
    """Every file of every run, but for spec.json (how long it took) and what follows from it."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.glob("toy-*/**/*"))
        if path.is_file() and path.name not in ("spec.json", "DONE")
    }


SCRIPT = """
import sys; sys.path.insert(0, {tests!r})
from pathlib import Path
from remem import runs
import test_runs
if __name__ == "__main__":
    jobs = [test_runs.job(name=f"n{{i}}", seed=i) for i in range(1, 4)]
    runs.sweep(jobs, Path({root!r}), {workers}, "toys")
"""


def start(root: Path, workers: int, sleep: float) -> subprocess.Popen:
    script = SCRIPT.format(tests=str(Path(__file__).parent), root=str(root), workers=workers)
    root.parent.joinpath("script.py").write_text(script)
    return subprocess.Popen(
        [sys.executable, str(root.parent / "script.py")],
        env={**os.environ, "TOY_SLEEP": str(sleep), "PYTHONPATH": str(paths.ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


def test_the_digest_knows_every_field_and_kind():
    spec = Toy(name="a")
    assert runs.digest(spec) == runs.digest(Toy(name="a", seed=1, inner=Inner(lr=1.0)))
    assert len(runs.digest(spec)) == 12
    assert runs.digest(spec) != runs.digest(Toy(name="a", inner=Inner(lr=2)))
    assert runs.digest(spec) != runs.digest(Toy(name="a", seed=2))
    assert runs.digest(Inner(lr=1)) != runs.digest(Other(lr=1))
    # written down: a change of this value makes every run of every user be made again
    assert runs.digest(Inner(lr=0.5)) == "c1a61ad43ccd"


def test_a_raised_revision_is_another_digest_and_so_is_all_that_builds_on_it(monkeypatch):
    inner, outer, other = Inner(lr=1), Toy(name="a"), Other(lr=1)
    before = [runs.digest(spec) for spec in (inner, outer, other)]
    monkeypatch.setattr(Inner, "revision", 2)
    after = [runs.digest(spec) for spec in (inner, outer, other)]
    assert after[0] != before[0] and after[1] != before[1] and after[2] == before[2]
    monkeypatch.setattr(Inner, "revision", 3)
    assert runs.digest(inner) not in (before[0], after[0])


def test_what_is_done_is_not_made_again(tmp_path):
    _, spec = job(name="a", seed=3)
    folder = make(spec, tmp_path)
    assert folder == runs.folder(spec, tmp_path) == make(spec, tmp_path)
    assert calls(tmp_path) == ["a"]
    kept = runs.read_json(folder / "spec.json")
    assert kept["spec"]["inner"] == {"kind": "inner", "lr": 1.0}
    assert kept["versions"]["python"].startswith("3.")
    assert {"device", "threads", "commit", "seconds"} <= kept.keys()
    done = runs.read_json(folder / "DONE")["files"]
    assert done.keys() == {"adapter/weights", "scores.json", "spec.json"}
    assert done["adapter/weights"]["bytes"] == 300


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError, match="loss is nan"):
        make(Toy(name="bad"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".locks", "calls"]


def damage_by_changing(folder):
    (folder / "scores.json").write_text('{"seed": 2}')  # as long as before
    return "scores.json was changed"


def damage_by_removing(folder):
    (folder / "adapter" / "weights").unlink()
    return "weights is missing"


def damage_by_cutting(folder):
    (folder / "DONE").write_text((folder / "DONE").read_text()[:40])
    return "DONE cannot be read"


def damage_by_undoing(folder):
    (folder / "DONE").unlink()
    return "holds no DONE"


@pytest.mark.parametrize(
    "damage", [damage_by_changing, damage_by_removing, damage_by_cutting, damage_by_undoing]
)
def test_a_damaged_folder_is_told_and_kept(tmp_path, damage):
    folder = make(Toy(name="a"), tmp_path)
    reason = damage(folder)
    with pytest.raises(runs.DamagedRun, match=reason) as told:
        make(Toy(name="a"), tmp_path)
    assert f"delete the folder {folder}" in str(told.value)
    with pytest.raises(runs.DamagedRun, match=reason):
        runs.sweep([job(name="a")], tmp_path, 1, "toys")
    assert folder.is_dir() and calls(tmp_path) == ["a"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(paths.CannotWrite, match="REMEM_OUTPUTS"):
        runs.ensure(Toy(name="a"), lambda folder: None, tmp_path / "runs")


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_the_middle_and_started_again_gives_the_same_bytes(tmp_path, workers):
    root = tmp_path / "killed" / "runs"
    root.mkdir(parents=True)
    process = start(root, workers, sleep=0.5)
    wait_until(lambda: len(calls(root)) >= 2)
    process.kill()
    process.communicate()
    assert 0 < len(list(root.glob(".*.part")))
    wait_until(lambda: _unlocked(root))  # the workers go when their parent has gone

    before = len(calls(root))
    done = len(list(root.glob("toy-*")))
    process = start(root, workers, sleep=0)
    assert process.wait(30) == 0, process.stderr.read()
    assert len(calls(root)) == before + 3 - done
    assert not list(root.glob(".*.part"))

    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    runs.sweep([job(name=f"n{i}", seed=i) for i in range(1, 4)], undisturbed, 1, "toys")
    assert contents(root) == contents(undisturbed)
    assert len(contents(root)) == 6


def _unlocked(root: Path) -> bool:
    import fcntl

    for path in (root / ".locks").iterdir():
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True


def test_two_processes_at_once_make_each_run_once(tmp_path):
    root = tmp_path / "runs"
    root.mkdir()
    both = [start(root, 1, sleep=0.3) for _ in range(2)]
    said = [process.communicate(timeout=30)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(calls(root)) == ["n1", "n2", "n3"]
    assert any("another process is making it" in text for text in said)


def test_a_sweep_gives_results_in_order_and_one_line(tmp_path, capsys):
    jobs = [job(name="b", seed=2), job(name="a"), job(name="b", seed=2)]
    folders = runs.sweep(jobs, tmp_path, 1, "toys")
    assert folders == [runs.folder(spec, tmp_path) for _, spec in jobs]
    assert calls(tmp_path) == ["b", "a"]
    assert "toys: 100%" in capsys.readouterr().err
    runs.sweep(jobs, tmp_path, 1, "toys")
    assert calls(tmp_path) == ["b", "a"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_job_lets_the_others_finish_and_is_named(tmp_path, workers):
    jobs = [job(name="bad", seed=7), job(name="a", seed=2), job(name="b", seed=3)]
    with pytest.raises(runs.FailedRuns) as told:
        runs.sweep(jobs, tmp_path, workers, "toys")
    assert f"toy-{runs.digest(jobs[0][1])}" in str(told.value)
    assert "(name=bad, seed=7): RuntimeError: loss is nan" in str(told.value)
    assert "inner" not in str(told.value)  # the same in all
    assert sorted(calls(tmp_path)) == ["a", "b", "bad"]
    assert len(list(tmp_path.glob("toy-*"))) == 2


def test_a_killed_worker_is_told(tmp_path):
    with pytest.raises(runs.FailedRuns, match="out of memory.*lower `workers`"):
        runs.sweep([job(name="killed"), job(name="a")], tmp_path, 2, "toys")


def test_workers_and_threads_do_not_change_a_number(tmp_path):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    jobs = [(f"{__name__}:numbers", Toy(name="t", seed=seed)) for seed in (1, 2)]
    one, two = (tmp_path / name for name in ("one", "two"))
    for root, workers in ((one, 1), (two, 2)):
        root.mkdir()
        runs.sweep(jobs, root, workers, "toys")
    assert contents(one) == contents(two)
    assert torch.get_num_threads() == before


def numbers(spec: Toy, runs_root: Path) -> Path:
    """A job whose sums depend on the order of additions, hence on the number of threads."""
    import torch

    def write(folder: Path) -> None:
        runs.seed_everything(spec.seed)
        a, b = torch.randn(300, 4000), torch.randn(4000, 300)
        (folder / "sum").write_text(f"{torch.get_num_threads()} {(a @ b).sum().item():.17g}")

    return runs.ensure(spec, write, runs_root)


def test_seeds_reach_all_three_generators():
    import random

    import numpy as np
    import torch

    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    runs.seed_everything(5)
    first = draw()
    runs.seed_everything(5)
    assert draw() == first
    runs.seed_everything(6)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_json_that_is_none_names_its_file(tmp_path):
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(ValueError, match=r"scores\.json is not valid JSON"):
        runs.read_json(tmp_path / "scores.json")


