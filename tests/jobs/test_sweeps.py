"""jobs.sweeps: every run once, each after those it needs, whatever fails or is killed."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
import psutil
import pytest

from remem import jobs, paths, runs
from remem.jobs import FailedRuns, Job, Jobs

KEPT: list[bytes] = []  # in a worker, from one run to the next


class Toy(runs.Run):
    """Writes its seed and who made it; `name` chooses how it goes wrong."""

    kind: ClassVar[str] = "toy"
    name: str
    seed: int = 1
    of: tuple["Toy", ...] = ()
    sleep: Annotated[float, runs.NOT_IN_DIGEST] = 0.0

    def needs(self) -> tuple["Toy", ...]:
        return self.of

    def make(self, out: Path, runs_root: Path) -> None:
        with (runs_root / "calls").open("a") as calls:
            calls.write(f"{self.name}\n")
        (out / "weights").write_bytes(bytes(range(self.seed)) * 100)
        time.sleep(self.sleep)
        if self.name == "bad":
            raise RuntimeError("loss is nan")
        if self.name == "odd":
            raise Odd("a", 2)
        if self.name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if "grown" in self.name:
            KEPT.append(b"x" * 4 * 10**8)  # as features and libraries are kept
        if self.name == "interrupted":
            raise KeyboardInterrupt
        below = [runs.read_json(runs.folder(one, runs_root) / "scores.json") for one in self.of]
        scores = {"seed": self.seed, "below": sum(each["seed"] for each in below)}
        (out / "scores.json").write_text(json.dumps(scores))
        if self.name.startswith("who"):
            (out / "pid").write_text(str(os.getpid()))

    def read(self, folder: Path) -> pd.DataFrame:
        return pd.DataFrame([runs.read_json(folder / "scores.json")] * 2).assign(row=[0, 1])


class Numbers(runs.Run):
    """Sums that depend on the order of additions, hence on the number of threads."""

    kind: ClassVar[str] = "numbers"
    seed: int

    def make(self, out: Path, runs_root: Path) -> None:
        import torch

        runs.seed_everything(self.seed)
        a, b = torch.randn(300, 4000), torch.randn(4000, 300)
        (out / "sum").write_text(f"{torch.get_num_threads()} {(a @ b).sum().item():.17g}")


class Odd(Exception):
    """One that pickles and does not come back: its arguments are not its constructor's."""

    def __init__(self, what: str, number: int):
        super().__init__(f"{what} odd thing, {number} times")


def several(root: Path, *specs: runs.Run, workers: int = 1) -> Jobs:
    return Jobs(
        tuple(Job(spec, {"place": place}) for place, spec in enumerate(specs)), root, workers
    )


def calls(root: Path) -> list[str]:
    return (root / "calls").read_text().split() if (root / "calls").exists() else []


def contents(root: Path) -> dict[str, bytes]:
    """Every file of every run, but for spec.json (how long it took) and what follows from it."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.glob("*-*/**/*"))
        if path.is_file() and path.name not in ("spec.json", "DONE")
    }


def wait_until(condition, seconds: float = 90.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


SCRIPT = """
import sys; sys.path.insert(0, {tests!r})
from pathlib import Path
import test_sweeps
specs = [test_sweeps.Toy(name=f"n{{i}}", seed=i, sleep={sleep}) for i in range(1, 4)]
test_sweeps.jobs.sweep(test_sweeps.several(Path({root!r}), *specs, workers={workers}), "toys")
"""


def script(root: Path, text: str) -> subprocess.Popen:
    """Run `text` as a script, as a user would: without `if __name__ == "__main__"`."""
    root.parent.joinpath("script.py").write_text(text)
    return subprocess.Popen(
        [sys.executable, str(root.parent / "script.py")],
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def start(root: Path, workers: int, sleep: float) -> subprocess.Popen:
    tests = str(Path(__file__).parent)
    return script(root, SCRIPT.format(tests=tests, root=str(root), workers=workers, sleep=sleep))


# ---------------------------------------------------------------- what comes out


def test_a_sweep_gives_folders_in_order_and_one_line(tmp_path, capsys):
    specs = [Toy(name="a"), Toy(name="b", seed=2), Toy(name="a")]
    toys = several(tmp_path, *specs)
    assert jobs.sweep(toys, "toys") == [runs.folder(spec, tmp_path) for spec in specs]
    assert sorted(calls(tmp_path)) == ["a", "b"]
    assert "toys: 100%" in capsys.readouterr().err
    jobs.sweep(toys, "toys")
    assert sorted(calls(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("workers", [1, 2])
def test_collect_gives_the_rows_of_all_with_their_labels(tmp_path, workers):
    specs = [Toy(name="a", seed=1), Toy(name="b", seed=2)]
    table = jobs.collect(several(tmp_path, *specs, workers=workers))
    assert table.to_dict("list") == {
        "seed": [1, 1, 2, 2],
        "below": [0] * 4,
        "row": [0, 1, 0, 1],
        "place": [0, 0, 1, 1],
    }


def test_jobs_add_up(tmp_path):
    one, two = several(tmp_path, Toy(name="a")), several(tmp_path, Toy(name="b"))
    assert [job.spec.name for job in one + two] == ["a", "b"] and len(one + two) == 2


def test_the_training_behind_jobs_is_there_once(tmp_path):
    class Asked(runs.Run):
        kind: ClassVar[str] = "asked"
        trained: Toy
        question: int

    asked = [Asked(trained=Toy(name="a"), question=question) for question in (1, 2)]
    behind = Jobs(tuple(Job(each, {"model": "m"}) for each in asked), tmp_path).training()
    assert [(job.spec, job.labels) for job in behind] == [(Toy(name="a"), {"model": "m"})]
    assert len(several(tmp_path, Toy(name="a")).training()) == 0


# ---------------------------------------------------------------- needs


@pytest.mark.parametrize("workers", [1, 2])
def test_needs_are_made_first_and_once(tmp_path, workers):
    ground = Toy(name="ground", seed=5, sleep=0.2)
    middle = [Toy(name=f"m{seed}", seed=seed, of=(ground,)) for seed in (1, 2, 3)]
    top = Toy(name="top", of=tuple(middle))
    folder, *_ = jobs.sweep(several(tmp_path, top, *middle, workers=workers))
    assert calls(tmp_path)[0] == "ground" and calls(tmp_path)[-1] == "top"
    assert sorted(calls(tmp_path)) == ["ground", "m1", "m2", "m3", "top"]
    assert runs.read_json(folder / "scores.json") == {"seed": 1, "below": 6}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_need_fails_those_that_need_it_and_no_other(tmp_path, workers):
    bad = Toy(name="bad")
    middle = Toy(name="middle", of=(bad,))
    specs = [Toy(name="top", of=(middle, Toy(name="sound"))), Toy(name="other")]
    with pytest.raises(FailedRuns) as told:
        jobs.sweep(several(tmp_path, *specs, workers=workers))
    said = str(told.value)
    assert said.startswith("RuntimeError: loss is nan\n")
    ends = "1 of 5 runs failed; 2 that need them were not begun; the others are done and kept"
    assert said.endswith(f"\n{ends}")
    assert sorted(calls(tmp_path)) == ["bad", "other", "sound"]


def test_the_last_job_is_begun_first_after_what_it_needs(tmp_path):
    ground = Toy(name="ground")
    specs = [Toy(name="a", of=(ground,)), Toy(name="b", of=(ground,)), Toy(name="c")]
    jobs.sweep(several(tmp_path, *specs))
    assert calls(tmp_path) == ["c", "ground", "b", "a"]


# ---------------------------------------------------------------- failures


def test_a_failed_run_is_told_by_the_labels_that_all_who_need_it_share(tmp_path):
    bad = Toy(name="bad")
    specs = [Toy(name="top", seed=seed, of=(bad,)) for seed in (1, 2)]
    labelled = tuple(Job(spec, {"model": "m", "seed": spec.seed}) for spec in specs)
    with pytest.raises(FailedRuns) as told:
        jobs.sweep(Jobs((*labelled, Job(Toy(name="sound"), {"model": "n"})), tmp_path))
    reason, where, ends = str(told.value).splitlines()
    assert (reason, where) == ("RuntimeError: loss is nan", f"  in {runs.name(bad)} (model=m)")
    assert ends.startswith("1 of 4 runs failed; 2 that need them were not begun; ")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_job_lets_the_others_finish_and_is_named(tmp_path, workers):
    specs = [Toy(name="bad", seed=7), Toy(name="a", seed=2), Toy(name="b", seed=3)]
    with pytest.raises(FailedRuns) as told:
        jobs.sweep(Jobs(tuple(map(Job, specs)), tmp_path, workers))  # without labels
    said = str(told.value)
    assert said.splitlines() == [
        "RuntimeError: loss is nan",
        f"  in {runs.name(specs[0])} (name=bad, seed=7)",  # sleep is the same in all
        "1 of 3 runs failed; the others are done and kept",
    ]
    assert sorted(calls(tmp_path)) == ["a", "b", "bad"]
    assert len(list(tmp_path.glob("toy-*"))) == 2


class Nested(runs.Spec):
    """Many fields, most of them empty in most specs."""

    a: int | None = None
    b: int | None = None
    c: str | None = None
    inner: "Nested | None" = None


class Wide(runs.Run):
    """One that fails for a reason of two."""

    kind: ClassVar[str] = "wide"
    number: int
    part: Nested = Nested()

    def make(self, out: Path, runs_root: Path) -> None:
        if self.number >= 0:
            raise ValueError(f"{'even' if self.number % 2 == 0 else 'odd'} numbers are refused")


def test_a_reason_is_told_once_and_first_and_then_what_tells_the_runs_apart(tmp_path):
    deep = Nested(inner=Nested(inner=Nested(a=1, c="x" * 500)))
    specs = [
        Wide(number=number, part=deep if number == 2 else Nested()) for number in range(-1, 18)
    ]
    with pytest.raises(FailedRuns) as told:
        jobs.sweep(Jobs(tuple(map(Job, specs)), tmp_path))
    odd, those, even, others, ends = str(told.value).splitlines()
    assert odd == "ValueError: odd numbers are refused" and even.startswith("ValueError: even")
    names = {number: runs.name(specs[number + 1]) for number in range(18)}
    assert (
        those
        == "  in "
        + ", ".join(f"{names[number]} (number={number})" for number in (17, 15, 13, 11, 9))
        + " and 4 more"
    )
    assert others.endswith("and 4 more")
    assert ends == "18 of 19 runs failed; the others are done and kept"
    assert len(str(told.value)) < 700 and "None" not in str(told.value)
    with pytest.raises(FailedRuns) as told:
        jobs.sweep(Jobs(tuple(map(Job, [specs[3], specs[1]])), tmp_path))
    where = str(told.value).splitlines()[1]
    assert f"{names[0]} (number=0)" in where  # it has nothing that the other has not
    assert f"{names[2]} (number=2, part.inner.a=" not in where
    assert f"{names[2]} (number=2, part.inner.inner.a=1, " in where and "x" * 60 not in where


def test_an_error_that_cannot_travel_is_told_all_the_same(tmp_path):
    specs = [Toy(name="odd"), Toy(name="a")]
    with pytest.raises(FailedRuns) as told:
        jobs.sweep(several(tmp_path, *specs, workers=2))
    assert "Odd: a odd thing, 2 times" in str(told.value)
    assert "1 of 2" in str(told.value)


def test_a_killed_worker_is_told_and_the_next_sweep_has_new_ones(tmp_path):
    with pytest.raises(FailedRuns, match=r"out of memory.*lower `workers`"):
        jobs.sweep(several(tmp_path, Toy(name="killed"), Toy(name="a"), workers=2))
    jobs.sweep(several(tmp_path, Toy(name="a"), Toy(name="b"), workers=2))
    assert {"a", "b"} <= {*calls(tmp_path)}


class Much:
    """What is held, such as a network."""


class Holding(runs.Run):
    """Fails in a frame below its own, and holds something in both."""

    kind: ClassVar[str] = "holding"
    number: int

    def make(self, out: Path, runs_root: Path) -> None:
        held = Much()
        HELD.append(weakref.ref(held))
        try:
            self.deeper()
        except ZeroDivisionError as error:
            raise ValueError("it failed") from error

    def deeper(self) -> None:
        held = Much()
        HELD.append(weakref.ref(held))
        raise ZeroDivisionError


HELD: list[weakref.ref] = []


def test_what_a_failed_run_held_is_free_though_its_error_is_kept(tmp_path):
    HELD.clear()
    with pytest.raises(FailedRuns, match="ValueError: it failed") as told:
        jobs.sweep(several(tmp_path, Holding(number=1), Holding(number=2)))
    assert told.value.__cause__ is not None and len(HELD) == 4
    gc.collect()
    assert [each() for each in HELD] == [None] * 4


def test_a_damaged_run_is_told(tmp_path):
    [folder] = jobs.sweep(several(tmp_path, Toy(name="a")))
    changed = (folder / "scores.json").read_text().replace("1", "2")
    (folder / "scores.json").write_text(changed)
    with pytest.raises(runs.DamagedRun, match=r"scores\.json was changed"):
        jobs.sweep(several(tmp_path, Toy(name="a")))
    with pytest.raises(FailedRuns, match=r"scores\.json was changed"):
        jobs.sweep(several(tmp_path, Toy(name="b", of=(Toy(name="a"),))))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_loss_of_power_left_is_made_again_in_the_sweep(tmp_path, capsys, workers):
    ground, other = Toy(name="ground", seed=5), Toy(name="other")
    top = Toy(name="top", of=(ground,))
    toys = several(tmp_path, top, other, workers=workers)
    jobs.sweep(toys)
    before = contents(tmp_path)
    for spec in (ground, other):
        (runs.folder(spec, tmp_path) / "weights").write_bytes(b"")
    half = tmp_path / f".{runs.name(Toy(name='gone'))}.part"
    half.mkdir()
    (tmp_path / ".locks" / runs.name(Toy(name="gone"))).touch()
    assert jobs.collect(toys).below.tolist() == [5, 5, 0, 0]
    # what needs a run is done, and nobody reads the run itself
    assert sorted(calls(tmp_path)) == ["ground", "other", "other", "top"] and not half.exists()
    assert "other" not in capsys.readouterr().out
    jobs.sweep(several(tmp_path, Toy(name="new", of=(ground,)), workers=workers))
    assert sorted(calls(tmp_path)) == ["ground", "ground", "new", "other", "other", "top"]
    assert before.items() <= contents(tmp_path).items()


def test_an_interrupted_sweep_stops_at_once_and_keeps_what_is_done(tmp_path):
    specs = [Toy(name="b"), Toy(name="interrupted"), Toy(name="a")]
    with pytest.raises(KeyboardInterrupt):
        jobs.sweep(several(tmp_path, *specs))
    assert calls(tmp_path) == ["a", "interrupted"]
    assert [path.name for path in tmp_path.glob("*-*")] == [runs.name(specs[2])]


def test_a_sweep_interrupted_in_its_workers_ends_them(tmp_path):
    root = tmp_path / "runs"
    root.mkdir()
    process = start(root, 2, sleep=60)
    wait_until(lambda: len(calls(root)) == 2)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=90)
    assert "KeyboardInterrupt" in said and process.returncode
    wait_until(lambda: not any(_lives(worker) for worker in workers))
    assert not list(root.glob("toy-*"))


def test_what_was_kept_of_a_run_that_is_done_goes_with_the_next_sweep(tmp_path):
    done, other = Toy(name="a"), Toy(name="b")
    jobs.sweep(several(tmp_path, done))
    kept = [tmp_path / ".unfinished" / f"{runs.name(spec)}.safetensors" for spec in (done, other)]
    for file in kept:
        paths.write(file, b"x")
    jobs.sweep(several(tmp_path, done))
    assert [file.exists() for file in kept] == [False, True]


# ---------------------------------------------------------------- processes


def test_the_workers_live_on_from_sweep_to_sweep(tmp_path):
    def makers(names: Sequence[str]) -> set[str]:
        specs = [Toy(name=f"who{name}", sleep=0.5) for name in names]
        folders = jobs.sweep(several(tmp_path, *specs, workers=2))
        return {(folder / "pid").read_text() for folder in folders}

    first = makers("ab")
    assert makers("cd") == first and len(first) == 2
    time.sleep(1)  # loky looks at a worker's memory once a second
    assert makers(["grown e", "grown f"]) == makers("gh") == first
    assert str(os.getpid()) not in first


def test_a_single_run_needs_no_worker(tmp_path):
    [folder] = jobs.sweep(several(tmp_path, Toy(name="who"), workers=2))
    assert (folder / "pid").read_text() == str(os.getpid())


NOTEBOOK = """
from pathlib import Path
from typing import ClassVar
from remem import jobs, runs

class Mine(runs.Run):
    kind: ClassVar[str] = "mine"
    beta: float

    def loss(self):
        return self.beta * FACTOR

    def make(self, out, runs_root):
        (out / "loss").write_text(str(self.loss()))

FACTOR = 2
specs = [Mine(beta=beta) for beta in (1.0, 2.0)]
folders = jobs.sweep(jobs.Jobs(tuple(map(jobs.Job, specs)), Path({root!r}), 2), "mine")
print([(folder / "loss").read_text() for folder in folders])
"""


def test_a_class_that_a_notebook_defines_is_shipped_to_the_workers(tmp_path):
    process = script(tmp_path / "runs", NOTEBOOK.format(root=str(tmp_path / "runs")))
    said, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert said == "['2.0', '4.0']\n"  # once: no worker runs the script again


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_the_middle_and_started_again_gives_the_same_bytes(tmp_path, workers):
    root = tmp_path / "killed" / "runs"
    root.mkdir(parents=True)
    process = start(root, workers, sleep=0.7)
    wait_until(lambda: len(calls(root)) >= 2)
    workers_of_it = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert list(root.glob(".*.part"))
    # they go when their parent has gone, and nothing is written after that
    wait_until(lambda: not any(_lives(worker) for worker in workers_of_it))

    before = len(calls(root))
    done = len(list(root.glob("toy-*")))
    process = start(root, workers, sleep=0)
    assert process.wait(120) == 0, process.stderr and process.stderr.read()
    assert len(calls(root)) == before + 3 - done
    assert not list(root.glob(".*.part"))

    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    jobs.sweep(several(undisturbed, *(Toy(name=f"n{i}", seed=i) for i in range(1, 4))))
    assert contents(root) == contents(undisturbed)
    assert len(contents(root)) == 6


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_two_processes_at_once_make_each_run_once(tmp_path):
    root = tmp_path / "runs"
    root.mkdir()
    both = [start(root, 1, sleep=0.5) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(calls(root)) == ["n1", "n2", "n3"]


def test_workers_and_threads_do_not_change_a_number(tmp_path):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    one, two = (tmp_path / name for name in ("one", "two"))
    for root, workers in ((one, 1), (two, 2)):
        root.mkdir()
        jobs.sweep(several(root, Numbers(seed=1), Numbers(seed=2), workers=workers))
    assert contents(one) == contents(two)
    assert torch.get_num_threads() == before
