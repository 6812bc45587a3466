"""What can be known before hours are spent: each check is a small function.

A check yields what is in the way, as an exception whose message has the way out, or a sentence that
is only worth knowing. `remem reproduce` makes those that its notebooks need before the first of
them, and `begin` those of its own notebook.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from remem import paths
from remem.config import BadParameter
from remem.config.networks import Hub
from remem.config.sections import Config
from remem.data import chosen, doubts, splits, validation
from remem.data import dataset as datasets
from remem.data.dataset import SyntheticData
from remem.data.readers import mmbench
from remem.data.validation import BadData
from remem.jobs import cluster
from remem.model import folder, sizes
from remem.model.folder import CannotLoad
from remem.services import client, ledger
from remem.synthetic import questions
from remem.training.methods import method

Found = Iterator[Exception | str]

# Functions of `experiments` that need rows and no network, and those about other sets of people.
ROWS = {"dataset", "forget_set", "shape_rows", "ability_scores", "refusals_shared"}
SETS = {"diagnosis", "causes", "signatures", "traces", "sets", "shape_rows"}
JUDGE = "score"  # of `judge`


class CannotStart(ValueError):
    """Several things are in the way of a run; the message lists them all."""

    def __init__(self, faults: Sequence[Exception]):
        listed = "".join(f"\n- {fault}" for fault in faults)
        super().__init__(f"{len(faults)} things are in the way:{listed}")
        # of the command line: 1 where all that is wrong is data
        self.exit_status = max(getattr(fault, "exit_status", 2) for fault in faults)


def used(notebook: Path) -> set[str]:
    """The functions of `experiments` that a notebook's text names, and JUDGE where it names that;
    a section of the parameters is no function."""
    text = notebook.read_text(encoding="utf-8") if notebook.is_file() else ""
    of_ours = r"(?:(?<![\w.])|\bremem\.)"
    return set(re.findall(rf"{of_ours}(?:experiments\.|judge\.(?={JUDGE}\b))(\w+)", text))


def ready(config: Config, calls: Collection[str]) -> list[str]:
    """Make the checks that such `calls` (see `used`) need; returns what is worth knowing.

    Methods, data and forget sets are checked in any case. Raises what is in the way: BadMethod,
    BadParameter, BadData, CannotLoad or CannotWrite, and CannotStart where it is several things.
    """
    calls = set(calls)
    found: list[Exception | str] = [*methods(config), *drawn(config, calls)]
    try:
        rows = _rows(config)
    except ValueError as error:
        rows = None
        found += [error] if isinstance(error, BadData) else ()  # `drawn` tells of the others
    else:
        found += people(config, rows)
        found += ratios(config, rows) if "forget_ratios" in calls else ()
    found += sets(config) if calls & SETS else ()
    found += multiple_choice(config) if "ability" in calls else ()
    if calls - ROWS - {JUDGE}:
        unusable = [*networks(config)]
        found += unusable or disk(config, rows, calls)
        found += nodes(config)
    found += judge(config) if JUDGE in calls else ()

    faults = list({str(each): each for each in found if isinstance(each, Exception)}.values())
    if faults:
        raise CannotStart(faults) if len(faults) > 1 else faults[0]
    return [each for each in found if isinstance(each, str)]


def left_out(config: Config, calls: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """What such `calls` need that is not on this machine, and that the rest can do without: the
    parameters that leave it out, and in words what that is and why. It is Table 4, where there is
    no file of questions, and a network that cannot be loaded, where another one can."""
    changed: dict[str, Any] = {}
    said = []
    if "ability" in calls:
        for fault in multiple_choice(config):
            if isinstance(fault, Exception):
                changed["experiments.ability.source"] = None
                said.append(f"Table 4 is left out: {fault}")
    if {*calls} - ROWS - {JUDGE}:
        faults = {name: [*_network(config, name)] for name in config.models}
        there = [name for name, found in faults.items() if not found]
        if 0 < len(there) < len(faults):
            changed["models"] = there
            for name in (each for each in faults if each not in there):
                said.append(f"{name} is left out: {'; '.join(map(str, faults[name]))}")
    return changed, said


def methods(config: Config) -> Found:
    """Hyper-parameters that no method has, or whose values do not fit."""
    for name, fields in config.stage2.hyperparameters.items():
        yield from _raised(lambda name=name, fields=fields: method(name, fields))


def people(config: Config, rows: pd.DataFrame) -> Found:
    """A single person, and forget sets that the data does not have."""
    if alone := doubts.alone(rows):
        yield BadData(f"{config.data_name}: {alone}; add people to the split train")
        return
    for seed in config.seeds:
        yield from _raised(lambda seed=seed: chosen.forget_set(config, rows, seed))


def ratios(config: Config, rows: pd.DataFrame) -> Found:
    """Forget ratios that leave no one to forget, or no one to retain, of more than one person."""
    if doubts.alone(rows):
        return
    section = config.experiments.ratios
    shares = {*section.first.shares, *section.others.shares, *section.equal_updates.shares}
    for share in sorted(shares):
        yield from _raised(lambda share=share: splits.forget_set(rows, share, 0))


def sets(config: Config) -> Found:
    """Other sets of people that cannot be used, or traced: a trace takes two."""
    section = config.experiments.diagnosis
    named = {f"diagnosis.files.{name}": data for name, data in section.files.items()}
    for key, data in {**named, "diagnosis.real": section.real}.items():
        try:
            of = None if data is None else datasets.data_of(data)
            if of is None or isinstance(of, SyntheticData):
                continue
            alone = doubts.alone(datasets.rows_of(of, config.folders.runs))
        except BadData as error:
            yield BadData(f"experiments.{key}: {error}")
        else:
            if alone:
                yield BadData(f"experiments.{key}: {alone}")


def drawn(config: Config, calls: Collection[str]) -> Found:
    """People, or questions about each, of whom more are to be drawn than there are."""
    own, others, calls = config.dataset, config.experiments, set(calls)
    wanted: dict[str, tuple[str, dict[str, Any]]] = {}
    if config.synthetic:
        wanted["dataset"] = own.source, own.model_dump(exclude={"source"})
    if calls & SETS and others.diagnosis.real is not None:
        real = others.diagnosis.real
        wanted["experiments.diagnosis.real"] = real.source, real.model_dump(exclude={"source"})
    if calls & SETS:
        for name, shape in others.diagnosis.shapes.items():
            wanted[f"experiments.diagnosis.shapes.{name}"] = "synthetic", shape.model_dump()
    if "scaling" in calls:
        single, multi = questions.mixed(max(others.scaling.samples), others.scaling.single)
        wanted["experiments.scaling"] = "synthetic", {"single": single, "multi": multi}
    if "hops" in calls:
        for name in ("one_person", "several_people"):
            most = getattr(others.hops, name).samples
            wanted[f"experiments.hops.{name}"] = "synthetic", {"single": most, "multi": most}
    for key, (source, changed) in wanted.items():
        if source in ("synthetic", "public"):
            draw = functools.partial(_draw, own.model_dump() | changed | {"source": source})
            yield from (BadParameter(f"{key}: {error}") for error in _raised(draw))
    few = others.diagnosis.questions_per_person
    if "causes" in calls and config.synthetic and few > own.single + own.multi:
        yield BadParameter(
            f"experiments.diagnosis.questions_per_person is {few}, and the dataset has "
            f"{own.single} + {own.multi} questions about a person in all"
        )


def multiple_choice(config: Config) -> Found:
    """A file of multiple-choice questions that cannot be read, or of which some cannot be asked."""
    source = config.experiments.ability.source
    if source in (None, "synthetic"):
        return
    path = paths.ROOT / source
    try:
        table, left_out = mmbench.inspect(path)
    except BadData as error:
        yield error
    else:
        if left_out:
            yield mmbench.in_words(path, len(table), left_out)


def networks(config: Config) -> Found:
    """Networks of the Hub, or of folders, that would not be loaded."""
    for name in config.models:
        yield from _network(config, name)


def _network(config: Config, name: str) -> Iterator[CannotLoad]:
    network = config.base.networks[name]
    if not isinstance(network, Hub):
        return
    try:
        folder.find(network.where)
    except CannotLoad as error:
        yield error
    else:
        from remem.model import loading, resident  # with torch, which takes seconds

        resident.release()  # what a run before this left makes room for the next
        if config.cluster is None:  # else it is others' memory
            yield from loading.faults(network.where, network.dtype, config.workers)


def nodes(config: Config) -> Found:
    """A cluster that cannot be reached, or has no node with what a run takes."""
    if (wanted := config.cluster) is not None:
        yield from _raised(lambda: cluster.Nodes(wanted, config.folders.runs))


def disk(config: Config, rows: pd.DataFrame | None, calls: Collection[str]) -> Found:
    """Less room on the disk than is known to be taken: by image features of stage 1's pictures,
    where all models are asked, and by the adapters of Table 2, where all of it is made."""
    own, seeds, adapters = config.dataset, len(config.seeds), 0
    if not {"memorising", "curves"} & set(calls):
        return
    each = own.single + own.multi + own.test_single + own.test_multi
    pictures = own.identities * each
    if rows is not None and not config.synthetic:
        pictures = rows["image"].nunique()
    if "curves" in calls:
        between = min(seeds, config.experiments.curves.seeds) * (config.stage2.epochs - 1)
        adapters = len(config.stage1_seeds) + seeds  # and those that are retrained
        adapters += (seeds + between) * len(config.stage2.methods)
    need = 0
    for name in config.models:
        network = config.base.networks[name]
        size = sizes.of_network(network, config.base.tower, config.stage1.rank, own.image_size)
        stored = pictures * (network.features == "stored")
        need += stored * size.picture + adapters * size.adapter
    root = config.folders.runs
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free, held = shutil.disk_usage(there).free, sum(_sizes(root))
    if need > free + held:
        yield paths.CannotWrite(
            f"{root}: {free / 2**30:.1f} GiB are free there, and of {', '.join(config.models)} "
            f"image features of {pictures:,} pictures{f' and {adapters} adapters' * (adapters > 0)}"
            f" take {need / 2**30:.1f} GiB at the least. Make room, or set REMEM_OUTPUTS to a "
            "folder on another disk"
        )


def judge(config: Config) -> Found:
    """A key that Gemini does not accept, where it has judged nothing yet; or none, so that what it
    has judged is all there is, or the rule judges."""
    model = config.judge.model
    if model is None:
        return
    calls = ledger.calls(config.account)
    judged = calls[(calls.section != "construction") & (calls.model == model)]
    known = "its scores that are there need no key, others would be missing"
    known = known if judged.outcome.eq("accepted").any() else ""
    if client.key_variable() is None:
        without = f"{' or '.join(client.KEYS)} is not set: {known or 'the rule judges'}"
        yield f"judge.model is {model}, but {without}"
        return
    try:
        if reason := client.unreachable(config.judge, "model"):
            yield f"judge.model {model} could not be asked for ({reason}): scores may be missing"
    except client.WrongKey as error:
        said = f"judge: {error.args[0]}, or set judge.model to null to have the rule judge"
        yield f"{said}; {known}" if known else BadParameter(said)


def _raised(make: Callable[[], object]) -> Iterator[ValueError]:
    try:
        make()
    except ValueError as error:  # BadData and BadMethod among them
        yield error


def _draw(fields: dict[str, Any]) -> None:
    SyntheticData.model_validate(fields).drawable()


def _rows(config: Config) -> pd.DataFrame:
    """The rows of stage 1's people; of people who are to be drawn, one for each, without drawing
    them. Raises BadData."""
    data = chosen.data_of(config)
    if not isinstance(data, SyntheticData):
        return chosen.dataset(config).rows
    identities = [person.identity for person in datasets.people_of(data)]
    rows = pd.DataFrame({"identity": identities}, columns=list(validation.COLUMNS), dtype="str")
    return rows.assign(split="train")


def _sizes(folder: Path) -> Iterator[int]:
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # another process has just named it otherwise
                yield os.lstat(os.path.join(where, name)).st_size
