"""A session of measuring: one measure after the other, each kept as soon as it is there."""

from __future__ import annotations

import functools
import importlib.metadata
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from remem import paths
from remem.bench import workload
from remem.bench.measures import measures
from remem.bench.subject import Source, forget, made, paper_scale
from remem.bench.workload import Rates
from remem.experiments import unlearning
from remem.model.memory import OutOfMemory

COLUMNS = ("network", "device", "measure", "quantity", "value", "unit")
LIBRARIES = ("peft", "transformers.models.llava.modeling_llava")  # imported once for all
DOES_NOT_FIT, FAILED, NOT_REACHED = "does not fit", "failed", "not reached in the time given"


class Line(NamedTuple):
    """One number, and what it is of; a measure that did not come to its end has a last one without
    a value, whose `quantity` says so, and `unit` why."""

    measure: str
    quantity: str
    value: float
    unit: str


def names(source: Source) -> list[str]:
    """The measures that there are, those that are most wanted first."""
    return list(measures(source.config))


def measured(source: Source, name: str) -> list[Line]:
    """The numbers of one measure, in this process. What goes wrong is a line as well: others are
    to come."""
    import torch

    lines: list[Line] = []
    try:
        subject = made(source)
        for each in measures(source.config)[name](subject):
            lines.append(Line(name, *each))
    except (torch.OutOfMemoryError, OutOfMemory):
        lines.append(Line(name, DOES_NOT_FIT, float("nan"), ""))
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        lines.append(Line(name, FAILED, float("nan"), f"{why:.300}"))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return lines


def apart(source: Source, name: str) -> list[Line]:
    """The numbers of one measure, in a process of its own, with one thread: there the memory of the
    process is that of the measure."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload([__name__, *LIBRARIES])
    try:
        with ProcessPoolExecutor(1, mp_context=context, initializer=_one_thread) as pool:
            return pool.submit(measured, source, name).result()
    except BrokenExecutor:
        why = "its process was killed (out of memory?)"
        return [Line(name, FAILED, float("nan"), why)]


def session(
    source: Source,
    wanted: Sequence[str],
    seconds: float = float("inf"),
    say: Callable[[str], object] = print,
) -> Iterator[list[Line]]:
    """The lines of each measure of `wanted`, as soon as they are there, and said; none is begun
    after so many `seconds`. On a GPU all are made in this process; else each in one of its own."""
    import torch

    make = measured if torch.cuda.is_available() else apart
    started = time.monotonic()
    try:
        for name in wanted:
            if time.monotonic() - started < seconds:
                lines = make(source, name)
            else:
                lines = [Line(name, NOT_REACHED, float("nan"), "")]
            for line in lines:
                say(in_words(line))
            yield lines
    finally:
        forget()


def in_words(line: Line) -> str:
    """A line as it is printed."""
    value = "" if line.value != line.value else f" {line.value:,.4g}"
    return f"{line.measure}: {line.quantity}{value} {line.unit}".rstrip()


def table(source: Source, lines: Sequence[Line]) -> pd.DataFrame:
    """COLUMNS."""
    network = f"random weights, {source.size}" if source.size else source.model
    where = {"network": network, "device": device()}
    return pd.DataFrame([where | line._asdict() for line in lines], columns=list(COLUMNS))


@functools.cache
def device() -> str:
    """The card, or the number of threads of a processor, and the versions that count."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "one thread of a CPU"
    versions = (f"{each} {importlib.metadata.version(each)}" for each in ("torch", "transformers"))
    return ", ".join([name, *versions])


def keep(file: Path, frame: pd.DataFrame) -> None:
    """Write a table at once or not at all."""
    paths.write(file, frame.to_csv(index=False))


def rates(lines: Sequence[Line]) -> Rates:
    """What the numbers say of Table 2."""
    known = {(line.measure, line.quantity): line.value for line in lines}

    def found(measure: str, quantity: str) -> float | None:
        value = known.get((measure, quantity))
        return None if value is None or value != value else value

    stage2 = {
        measure.removeprefix("stage 2, "): value
        for (measure, quantity), value in known.items()
        if measure.startswith("stage 2, ") and quantity == "seconds a row and epoch"
    }
    return Rates(
        stage1=found("stage 1", "seconds a row"),
        stage2=stage2,
        answer=found("answers", "seconds an answer"),
        answer_drafted=found("answers", "seconds an answer, all of its draft right"),
        ranked=found("Exposure", "seconds a row"),
        picture=found("features", "seconds a picture"),
        between=found("between runs, base", "next run"),
    )


def table2(source: Source) -> pd.DataFrame:
    """What Table 2 of the model takes: `workload.counted`."""
    return workload.counted(unlearning(source.config, models=[source.model]))


def hours(counts: pd.DataFrame, lines: Sequence[Line]) -> pd.DataFrame:
    """`workload.hours` of these counts at the rates that were measured, and the counts."""
    return workload.hours(counts, rates(lines)).merge(counts, on="part", how="left")


def bench(size: str, seconds: float, out: Path, say: Callable[[str], Any] = print) -> int:
    """Measure a network of `size` with random weights at scale paper; writes bench_<size>.csv and
    bench_<size>_table2.csv, the hours that follow, into the folder `out`, anew with each measure.
    Returns 1 where a measure failed."""
    source, lines = paper_scale(size), list[Line]()
    say(f"{size}: {device()}")
    counts, started = table2(source), time.monotonic()

    def timed(line: str) -> None:
        say(f"{time.monotonic() - started:5.0f} s  {line}")

    for found in session(source, names(source), seconds, timed):
        lines += found
        keep(out / f"bench_{size}.csv", table(source, lines))
        keep(out / f"bench_{size}_table2.csv", hours(counts, lines))
    follows = hours(counts, lines).round(3).to_string(index=False)
    say(f"Table 2 of {source.model}, at these rates:\n{follows}")
    return int(any(line.quantity == FAILED for line in lines))


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
