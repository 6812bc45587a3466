"""Jobs with labels, one sweep that makes their runs, one collect that reads them.

An experiment is a list of jobs. `sweep` makes what is not there yet, in worker processes, each run
as soon as those that it needs are done; `collect` gives the tables of all as one frame, in which
the labels of a job are columns.
"""

from __future__ import annotations

import dataclasses
import heapq
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from tqdm import tqdm

from remem import runs
from remem.config.cluster import Cluster
from remem.jobs import cluster, workers
from remem.jobs.workers import Place
from remem.runs import Run

SHOWN, WIDE = 5, 60  # runs, and keys of each, and characters of a value, in a message


class FailedRuns(RuntimeError):
    """Some runs of a sweep failed; the message says why, and which, by what tells them apart."""

    exit_status: ClassVar[int] = 1


class _Needed(RuntimeError):
    """A run was not begun, since one that it needs had failed."""


@dataclass(frozen=True)
class Job:
    """A run, and the columns that tell its rows from those of the others."""

    spec: Run
    labels: Mapping[str, Any] = field(default_factory=dict)
    select: Callable[[pd.DataFrame], pd.DataFrame] | None = None  # of its rows, where not all


@dataclass(frozen=True)
class Jobs:
    """The jobs of an experiment in the order of its tables, where their runs lie, how many are made
    at once, and on which cluster, if not on this machine. With more than one worker each run is
    made in a process of one thread; the numbers depend on neither."""

    jobs: tuple[Job, ...]
    runs_root: Path
    workers: int = 1
    cluster: Cluster | None = None

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def __add__(self, other: Jobs) -> Jobs:
        return dataclasses.replace(self, jobs=(*self.jobs, *other.jobs))

    def training(self) -> Jobs:
        """The training behind each job, once each, with its labels: to `collect` its history."""
        found: dict[str, Job] = {}
        for job in self.jobs:
            trained = getattr(job.spec, "trained", None)
            if trained is not None:
                found.setdefault(f"{runs.name(trained)} {job.labels}", Job(trained, job.labels))
        return dataclasses.replace(self, jobs=tuple(found.values()))


def sweep(jobs: Jobs, label: str = "runs") -> list[Path]:
    """Make the runs of `jobs`, and those that they need; returns a folder for each job.

    What is done is only verified. The last job is begun first: small ones stand before large ones,
    and no core should wait for a long run at the end. When runs fail, those that do not need them
    are finished, and then FailedRuns says why. Raises NoCluster where the cluster cannot be used.
    """
    _clear(jobs.runs_root)
    waiting = _waiting(jobs)
    made: dict[str, Path | BaseException] = {}
    place = _place(jobs, len(waiting))
    with tqdm(
        desc=label, total=len(waiting), unit="run", file=sys.stderr, disable=not waiting
    ) as bar:
        for name, outcome in _outcomes(waiting, jobs.runs_root, place):
            made[name] = outcome
            bar.update()
    failures = {name: error for name, error in made.items() if isinstance(error, BaseException)}
    if failures:
        specs = {**{runs.name(job.spec): job.spec for job in jobs}, **waiting}
        raise FailedRuns(_report(jobs, specs, failures, place)) from next(iter(failures.values()))
    return [
        runs.get_or_create(job.spec, jobs.runs_root)
        if runs.name(job.spec) not in made
        else runs.folder(job.spec, jobs.runs_root)
        for job in jobs
    ]


def collect(jobs: Jobs, label: str = "runs") -> pd.DataFrame:
    """The tables of all runs (`Run.read`) as one, made first where they are not there; the labels
    of each job are columns. Without columns where there are no jobs."""
    parts = []
    for job, folder in zip(jobs, sweep(jobs, label), strict=True):
        rows = job.spec.read(folder)
        rows = rows if job.select is None else job.select(rows)
        parts.append(rows.assign(**job.labels))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _clear(runs_root: Path) -> None:
    """Delete what processes that died have left: runs half made, and what was kept to go on with
    one that is done."""
    runs.clear(runs_root)
    for kept in runs_root.glob(".unfinished/*"):
        if (runs_root / kept.stem).exists():
            kept.unlink(missing_ok=True)


def _place(jobs: Jobs, count: int) -> Place:
    if jobs.cluster is not None and count:
        return cluster.Nodes(jobs.cluster, jobs.runs_root)
    return workers.place(jobs.workers, count)


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
    waiting: Mapping[str, Run], runs_root: Path, place: Place
) -> Iterator[tuple[str, Path | BaseException]]:
    """(name, folder or what was raised) of each run, as they end."""
    needed = {
        name: {other for need in spec.needs() if (other := runs.name(need)) in waiting}
        for name, spec in waiting.items()
    }
    order = list(waiting)
    number = {name: number for number, name in enumerate(order)}
    ready = [number[name] for name in order if not needed[name]]
    under_way: dict[Future[Path], str] = {}
    try:
        while ready or under_way:
            while ready and len(under_way) < place.at_once:
                name = order[heapq.heappop(ready)]
                under_way[place.submit(waiting[name], runs_root)] = name
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                name = under_way.pop(future)
                error = future.exception()
                yield name, future.result() if error is None else error
                for other in [key for key, needs in needed.items() if name in needs]:
                    if error is None:
                        needed[other].discard(name)
                        if not needed[other]:
                            heapq.heappush(ready, number[other])
                    else:  # and so with all that needs the other
                        yield from _without(other, name, needed)
    except BaseException:  # interrupted: what is under way is not waited for
        place.stop()
        raise


def _without(name: str, cause: str, needed: dict[str, set[str]]):
    """The failure of a run whose need failed, and of all that need it in turn."""
    if needed.pop(name, None) is None:
        return
    yield name, _Needed(cause)
    for other in [key for key, needs in needed.items() if name in needs]:
        yield from _without(other, name, needed)


def _report(
    jobs: Jobs, specs: Mapping[str, Run], failures: Mapping[str, BaseException], place: Place
) -> str:
    """Each reason once, and after it the runs that failed for it, with what tells them apart."""
    reasons: dict[str, list[str]] = {}
    for name, error in failures.items():
        if not isinstance(error, _Needed):
            reason = place.lost(error) or workers.in_words(error)
            reasons.setdefault(reason, []).append(name)
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
