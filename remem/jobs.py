"""Many runs at once: jobs with labels, one sweep that makes them, one collect that reads them.

An experiment is a list of jobs. `sweep` makes what is not there yet, in worker processes, each run
as soon as those that it needs are done; `collect` gives the tables of all as one frame, in which
the labels of a job are columns.
"""

from __future__ import annotations

import functools
import heapq
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from tqdm import tqdm

from remem import runs
from remem.runs import Run

SHOWN, WIDE = 5, 60  # runs, and keys of each, and characters of a value, in a message


class FailedRuns(RuntimeError):
    """Some runs of a sweep failed; the message says why, and which, by what tells them apart."""

    exit_status: ClassVar[int] = 1


class _Needed(RuntimeError):
    """A run was not begun, since one that it needs had failed."""


class _InWorker(RuntimeError):
    """What a run raised in a worker, in words: not every exception survives the way back."""


@dataclass(frozen=True)
class Job:
    """A run, and the columns that tell its rows from those of the others."""

    spec: Run
    labels: Mapping[str, Any] = field(default_factory=dict)
    select: Callable[[pd.DataFrame], pd.DataFrame] | None = None  # of its rows, where not all


@dataclass(frozen=True)
class Jobs:
    """The jobs of an experiment in the order of its tables, where their runs lie, and how many are
    made at once. With more than one worker each run is made in a process of one thread; either way
    the numbers do not depend on `workers`."""

    jobs: tuple[Job, ...]
    runs_root: Path
    workers: int = 1

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def __add__(self, other: Jobs) -> Jobs:
        return Jobs((*self.jobs, *other.jobs), self.runs_root, self.workers)

    def training(self) -> Jobs:
        """The training behind each job, once each, with its labels: to `collect` its history."""
        found: dict[str, Job] = {}
        for job in self.jobs:
            trained = getattr(job.spec, "trained", None)
            if trained is not None:
                found.setdefault(f"{runs.name(trained)} {job.labels}", Job(trained, job.labels))
        return Jobs(tuple(found.values()), self.runs_root, self.workers)


def sweep(jobs: Jobs, label: str = "runs") -> list[Path]:
    """Make the runs of `jobs`, and those that they need; returns a folder for each job.

    What is done is only verified. The last job is begun first: small ones stand before large ones,
    and no core should wait for a long run at the end. When runs fail, those that do not need them
    are finished, and then FailedRuns says why.
    """
    runs.clear(jobs.runs_root)
    waiting = _waiting(jobs)
    made: dict[str, Path | BaseException] = {}
    with tqdm(
        desc=label, total=len(waiting), unit="run", file=sys.stderr, disable=not waiting
    ) as bar:
        for name, outcome in _outcomes(waiting, jobs.runs_root, jobs.workers):
            made[name] = outcome
            bar.update()
    failures = {name: error for name, error in made.items() if isinstance(error, BaseException)}
    if failures:
        specs = {**{runs.name(job.spec): job.spec for job in jobs}, **waiting}
        raise FailedRuns(_report(jobs, specs, failures)) from next(iter(failures.values()))
    return [
        runs.get_or_create(job.spec, jobs.runs_root)
        if runs.name(job.spec) not in made
        else runs.folder(job.spec, jobs.runs_root)
        for job in jobs
    ]


def collect(jobs: Jobs, label: str = "runs") -> pd.DataFrame:
    """The tables of all runs (`Run.read`) as one, made first where they are not there; the labels
    of each job are columns."""
    parts = []
    for job, folder in zip(jobs, sweep(jobs, label), strict=True):
        rows = job.spec.read(folder)
        rows = rows if job.select is None else job.select(rows)
        parts.append(rows.assign(**job.labels))
    return pd.concat(parts, ignore_index=True)


def _waiting(jobs: Jobs) -> dict[str, Run]:
    """The runs that are not done, by name, each after those that it needs."""
    found: dict[str, Run] = {}

    def add(spec: Run) -> None:
        name = runs.name(spec)
        if name not in found and not runs.is_done(spec, jobs.runs_root):
            for need in spec.needs():
                add(need)
            found[name] = spec

    for job in reversed(jobs.jobs):
        add(job.spec)
    return found


def _outcomes(
    waiting: Mapping[str, Run], runs_root: Path, workers: int
) -> Iterator[tuple[str, Path | BaseException]]:
    """(name, folder or what was raised) of each run, as they end."""
    needed = {
        name: {other for need in spec.needs() if (other := runs.name(need)) in waiting}
        for name, spec in waiting.items()
    }
    place = {name: number for number, name in enumerate(waiting)}
    ready = [place[name] for name in waiting if not needed[name]]
    order = list(waiting)
    here = workers == 1 or len(waiting) < 2
    under_way: dict[Future[Path], str] = {}
    try:
        while ready or under_way:
            while ready and len(under_way) < workers:
                name = order[heapq.heappop(ready)]
                under_way[_submit(waiting[name], runs_root, 1 if here else workers)] = name
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                name = under_way.pop(future)
                error = future.exception()
                yield name, future.result() if error is None else error
                for other in [key for key, needs in needed.items() if name in needs]:
                    if error is None:
                        needed[other].discard(name)
                        if not needed[other]:
                            heapq.heappush(ready, place[other])
                    else:  # and so with all that needs the other
                        yield from _without(other, name, needed)
    except BaseException:  # interrupted: what is under way is not waited for
        _stop_workers()
        raise


def _without(name: str, cause: str, needed: dict[str, set[str]]):
    """The failure of a run whose need failed, and of all that need it in turn."""
    if needed.pop(name, None) is None:
        return
    yield name, _Needed(cause)
    for other in [key for key, needs in needed.items() if name in needs]:
        yield from _without(other, name, needed)


def _submit(spec: Run, runs_root: Path, workers: int) -> Future[Path]:
    if workers == 1:
        future: Future[Path] = Future()
        try:
            future.set_result(_make(spec, runs_root))
        except Exception as error:
            _forget_frames(error)
            future.set_exception(error)
        return future
    return _executor(workers).submit(_make_in_worker, spec, runs_root)


def _forget_frames(error: BaseException) -> None:
    """An error is kept until all runs have ended, and with it the frames that it came through: what
    they hold, such as a network and all that it has computed, is not."""
    found: BaseException | None = error
    while found is not None:
        traceback.clear_frames(found.__traceback__)
        found = found.__cause__ or found.__context__


def _executor(workers: int):
    """The pool of this process, which lives until it ends: what a worker has read, such as
    features, serves its next run. Its pickling takes classes that a notebook defines along."""
    from joblib.externals.loky import get_reusable_executor

    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # glibc hands memory back to the system after each large product, and pays for every page when
    # it asks for it again: a quarter of the time of a batch of answers.
    memory = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
    return get_reusable_executor(
        workers,
        timeout=3600,
        initializer=_start_worker,
        initargs=(os.getpid(),),
        env={**threads, **memory, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    )


def _stop_workers() -> None:
    loky = sys.modules.get("joblib.externals.loky.reusable_executor")
    executor = loky and loky._executor
    if executor is not None:
        executor.shutdown(wait=False, kill_workers=True)


def _make(spec: Run, runs_root: Path) -> Path:
    torch = sys.modules.get("torch")
    if torch is None:
        return runs.get_or_create(spec, runs_root)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return runs.get_or_create(spec, runs_root)
    finally:
        torch.set_num_threads(before)


def _make_in_worker(spec: Run, runs_root: Path) -> Path:
    try:
        return _make(spec, runs_root)
    except Exception as error:
        raise _InWorker(f"{type(error).__name__}: {error}") from error


def _start_worker(parent: int) -> None:
    """No bars beside the sweep's, and no life after the parent's."""
    from joblib.externals.loky import process_executor

    quiet: Any = functools.partialmethod(tqdm.__init__, disable=True)
    tqdm.__init__ = quiet
    # loky ends a worker that has grown by 300 MB, which it takes for a leak: here those are
    # libraries, features and rows, kept for the next run.
    process_executor._MAX_MEMORY_LEAK_SIZE = 2**40

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _report(jobs: Jobs, specs: Mapping[str, Run], failures: Mapping[str, BaseException]) -> str:
    """Each reason once, and after it the runs that failed for it, with what tells them apart."""
    reasons: dict[str, list[str]] = {}
    for name, error in failures.items():
        if not isinstance(error, _Needed):
            reasons.setdefault(_reason(error), []).append(name)
    lines = []
    for reason, names in reasons.items():
        shown = [_described(jobs, specs, name) for name in names[:SHOWN]]
        more = f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)
        lines += [reason, f"  in {', '.join(shown)}{more}"]
    failed = sum(map(len, reasons.values()))
    ends = [f"{failed} of {len(specs)} runs failed"]
    if waited := len(failures) - failed:
        ends.append(f"{waited} that need them were not begun")
    if len(failures) < len(specs):
        ends.append("the others are done and kept")
    return "\n".join([*lines, "; ".join(ends)])


def _reason(error: BaseException) -> str:
    if isinstance(error, BrokenExecutor):
        return (
            "a worker process was killed (out of memory?), which ends the whole pool; "
            "lower `workers` and start again"
        )
    return f"{error}" if isinstance(error, _InWorker) else f"{type(error).__name__}: {error}"


def _described(jobs: Jobs, specs: Mapping[str, Run], name: str) -> str:
    """A run's name, with its labels, or else its fields, as far as others have other values."""
    labels = [job.labels for job in jobs]
    said = _differing(_labels(jobs, name), labels)
    if not said:
        fields = {other: runs.flat(runs.plain(spec)) for other, spec in specs.items()}
        kind = fields[name]["kind"]
        said = _differing(fields[name], [each for each in fields.values() if each["kind"] == kind])
    pairs = [f"{key}={_cut(value)}" for key, value in said.items()]
    more = ["..."] * (len(pairs) > SHOWN)
    return f"{name} ({', '.join([*pairs[:SHOWN], *more])})" if pairs else name


def _labels(jobs: Jobs, name: str) -> dict[str, Any]:
    """The labels that all jobs share which are, or need, a run."""
    found = [
        job.labels
        for job in jobs
        if name in (runs.name(job.spec), *map(runs.name, job.spec.needs()))
    ]
    first, *others = found or [{}]
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }


def _differing(own: Mapping[str, Any], each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys of `own` that have a value, and not the same one in all of `each`."""
    return {
        key: value
        for key, value in own.items()
        if value is not None and any(other.get(key) != value for other in each)
    }


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= WIDE else f"{text[: WIDE - 4]} ..."
