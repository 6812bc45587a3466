"""What is asked for, in numbers, beside what this machine has."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from remem import checks, runs
from remem.config.sections import Config
from remem.experiments import setup
from remem.jobs import workers
from remem.preflight.counts import Counter, Work, named
from remem.preflight.planned import planned
from remem.preflight.rates import Rates
from remem.runs import Run

GIB = 2**30
COUNTED = ["steps", "rows", "answers", "ranked", "pictures"]
COLUMNS = ["model", "part", "runs", "done", *COUNTED, "hours", "peak GiB", "disk GiB"]


class Estimate(NamedTuple):
    """table: COLUMNS, of what is left to do; notes: in words, what it rests on; faults: what this
    machine lacks."""

    table: pd.DataFrame
    notes: list[str]
    faults: list[str]

    def __str__(self) -> str:
        shown = self.table.drop(columns=[c for c in COUNTED if not self.table[c].any()])
        lines = [shown.to_string(index=False, formatters=_formats(shown)), *self.notes]
        return "\n".join([*lines, *(f"Too little: {fault}" for fault in self.faults)])


def estimate(config: Config, notebooks: Sequence[Path]) -> Estimate:
    """What these notebooks would make with these parameters. Nothing is made. Raises CannotLoad
    where a network is not here, nor known by its name."""
    found, untold = _runs(config, notebooks)
    models, gpu = _models(config), bool(workers.gpus())
    counter = Counter(config.folders.runs)
    rates = {name: Rates(name, config.base.networks[name], gpu) for name in config.models}
    lines, unknown = [], dict[str, None]()
    for spec, done in found:
        work = counter.work(spec, done)
        if not work.told:
            unknown[spec.kind] = None
        model = models.get(named(work.base), "") if work.base is not None else ""
        rate = rates.get(model) or next(iter(rates.values()))
        lines.append(_line(work, model, rate, done))
    table = _summed(pd.DataFrame(lines, columns=COLUMNS), ["", *config.models])
    notes = [f"Rates of {rate.words}." for rate in rates.values()]
    if untold:
        notes.append(f"Not counted, since they hang on results: {', '.join(untold)}.")
    if unknown:
        notes.append(f"Not counted: runs of the kind {', '.join(unknown)}.")
    made, faults = _compared(config, table, gpu)
    return Estimate(table, [made, *notes], faults)


def say(
    config: Config, notebooks: Sequence[Path], calls_made: set[str], notes: Sequence[str]
) -> int:
    """Print the estimate of these notebooks, which call `calls_made` (checks.used), these `notes`,
    and what is in the way; returns the exit status, 1 where something is."""
    found = estimate(config, notebooks)
    print(found)
    in_the_way = []
    try:
        notes = [*notes, *checks.ready(config, calls_made)]
    except (ValueError, OSError) as error:  # of ours: what it says is for whoever would begin
        in_the_way = [f"in the way: {error}"]
    for line in [*(f"note: {note}" for note in notes), *in_the_way]:
        print(line, file=sys.stderr)
    return int(bool(found.faults or in_the_way))


def _runs(config: Config, notebooks: Sequence[Path]) -> tuple[list[tuple[Run, bool]], list[str]]:
    """All runs of the notebooks, each once, and whether it is done; and the places of those that
    cannot be told. What only a run needs that is done already will not be made, as in a sweep."""
    found: dict[str, tuple[Run, bool]] = {}
    untold, root = [], config.folders.runs

    def add(spec: Run, wanted: bool = True) -> None:
        if (name := named(spec)) in found:
            return
        done = runs.is_done(spec, root)
        if wanted or done:
            found[name] = spec, done
        for need in spec.needs():
            add(need, wanted and not done)

    for notebook in notebooks:
        of = planned(notebook, config)
        untold += [f"{notebook.name}, line {line}" for line in of.untold]
        for job in (job for jobs in of.jobs for job in jobs):
            add(job.spec)
    return [*found.values()], untold


def _models(config: Config) -> dict[str, str]:
    return {runs.name(setup.base(config, name)): name for name in config.models}


def _line(work: Work, model: str, rates: Rates, done: bool) -> list[object]:
    if done:
        return [model, work.part, 0, 1, *[0] * len(COUNTED), 0.0, 0.0, 0.0]
    counts = [getattr(work, name) for name in COUNTED[:-1]]
    hours = rates.seconds(work) / 3600
    pictures = work.pictures + work.drawn
    return [
        model,
        work.part,
        1,
        0,
        *counts,
        pictures,
        hours,
        work.memory / GIB,
        work.disk / GIB,
    ]


def _summed(lines: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """A line for each part of each of the models, in their order, and one for all."""
    most = dict.fromkeys(COLUMNS[2:], "sum") | {"peak GiB": "max"}
    table = lines.groupby(["model", "part"], sort=False, as_index=False).agg(most)
    order = table["model"].map(list(models).index)
    table = table.loc[order.sort_values(kind="stable").index]
    whole = lines.agg(most).to_frame().T.assign(model="", part="together")
    return pd.concat([table, whole], ignore_index=True)[COLUMNS].astype(
        dict.fromkeys(["runs", "done", *COUNTED], int)
    )


def _compared(config: Config, table: pd.DataFrame, gpu: bool) -> tuple[str, list[str]]:
    """What all of it comes to here, and what this machine lacks for it."""
    whole, root = table.iloc[-1], config.folders.runs
    hours, needed, written = (float(whole[name]) for name in ("hours", "peak GiB", "disk GiB"))
    place = workers.place(config.workers, 2)
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(there).free / GIB
    memory, called = _memory(gpu)
    at_once = max(1, place.at_once)
    each = at_once if not gpu else -(-at_once // max(1, len(workers.gpus())))
    tiny = all(name in setup.trained_here(config) for name in config.models)
    kind = "hours of one core" if tiny and not gpu else "GPU hours"
    where = f"on {config.cluster.address}" if config.cluster else f"{at_once} at once here"
    said = (
        f"{int(whole['runs']):,} runs to make, {int(whole['done']):,} are done: "
        f"{_number(hours)} {kind}"
        + (f", {_number(hours / at_once)} hours {where}." if not config.cluster else f", {where}.")
        + f"\nAt the most {_number(needed)} GiB of memory in a run; {called} has {memory:,.0f} GiB."
        f"\n{_number(written)} GiB on the disk; {free:,.0f} GiB are free at {there}."
    )
    faults = []
    if config.cluster is None and not gpu and not tiny:
        faults.append(f"there is no GPU here, and {', '.join(config.models)} want one")
    elif config.cluster is None and each * needed > memory:
        row = table.iloc[table["peak GiB"][:-1].argmax()]
        trained = row["steps"] > 0
        less = "micro_batch, or set checkpointing" if trained else "evaluate.batch"
        faults.append(
            f"{called} has {memory:,.0f} GiB, and {row['part']} of {row['model']} takes about "
            f"{_number(needed)} GiB{f', {each} at once' * (each > 1)}: lower {less}"
        )
    if written > free:
        faults.append(
            f"{free:,.1f} GiB are free at {there}, and {written:,.1f} GiB are to be written: make "
            "room, or set REMEM_OUTPUTS to a folder on another disk"
        )
    return said, faults


def _memory(gpu: bool) -> tuple[float, str]:
    if gpu:
        torch = sys.modules["torch"]
        sizes = [
            torch.cuda.get_device_properties(n).total_memory
            for n in range(torch.cuda.device_count())
        ]
        return min(sizes) / GIB, torch.cuda.get_device_name()
    import psutil

    return psutil.virtual_memory().total / GIB, "this machine"


def _formats(table: pd.DataFrame) -> dict[str, Callable[[float], str]]:
    return {column: lambda value: _number(value) if value else "-" for column in table.columns[2:]}


def _number(value: float) -> str:
    """With two digits that count, or all before the point."""
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.2g}"
