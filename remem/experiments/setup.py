"""From parameters to what experiments start with: data, base models, stage 1, forget sets."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from remem import paths
from remem.config import BadParameter, sections
from remem.config.networks import Hub
from remem.config.sections import Config
from remem.data import dataset as datasets
from remem.data import splits
from remem.data.dataset import Data, SyntheticData
from remem.data.readers import convert
from remem.data.validation import BadChoice, BadData
from remem.evaluation.answers import AnswerRun, EvalRows
from remem.jobs import Job, Jobs
from remem.model import loading
from remem.training import base_model
from remem.training.base_model import BaseRun
from remem.training.methods import METHODS, BadMethod, Method, method
from remem.training.stage1 import Stage1Run, Untrained
from remem.training.stage2 import Model


class Dataset(NamedTuple):
    """The people of stage 1: all rows (validation.COLUMNS), what they are to a run, the folder of
    their pictures."""

    rows: pd.DataFrame
    data: Data
    folder: Path


def dataset(config: Config) -> Dataset:
    """The data that stage 1 trains on; drawn, or converted from a benchmark's files, where that is
    not done yet. Raises BadData."""
    data, root = data_of(config), config.folders.runs
    rows = datasets.rows_of(data, root)
    if not (rows["split"] == "train").any():
        raise BadData(f"{config.data_name}: no row is in the split train")
    return Dataset(rows, data, datasets.folder_of(data, root))


def data_of(config: Config) -> Data:
    """What stands for the data of stage 1 in a run."""
    if config.benchmark is None:
        return datasets.data_of(config.dataset)
    folder = paths.ROOT / config.benchmark.folder
    return _converted(
        config.benchmark.model_dump_json(), str(config.folders.runs), _fingerprint(folder)
    )


@functools.lru_cache(8)
def _converted(benchmark: str, runs_root: str, fingerprint: Any) -> Data:
    # Gigabytes of files are hashed once in a process, and again when one of them has changed.
    return convert.converted(sections.Benchmark.model_validate_json(benchmark), Path(runs_root))


@functools.lru_cache(8)
def _weights(folder: str, fingerprint: Any) -> str:
    return loading.content_of(Path(folder))


def _fingerprint(folder: Path) -> tuple:
    """Names, sizes and times of all files: changes when a file does, and costs no reading."""
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a link into nothing, as an editor's lock is one
                status = os.stat(os.path.join(where, name))
                found.append((where, name, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


def base(config: Config, name: str) -> BaseRun:
    """One of the networks that experiments start from; of a local folder, with what it holds.
    Raises BadParameter."""
    network = config.base.networks.get(name)
    if network is None:
        known = ", ".join(config.base.networks)
        raise BadParameter(f"there is no model {name!r}; base.networks has {known}")
    if not isinstance(network, Hub):
        return BaseRun(network=network, tower=config.base.tower)
    if Path(network.hub).is_dir():
        content = _weights(network.hub, _fingerprint(Path(network.hub)))
        network = network.model_copy(update={"content": content})
    return BaseRun(network=network, tower=None)


def trained_here(config: Config) -> dict[str, BaseRun]:
    """Those of the base models, by name, that do not come from the Hub."""
    return {
        name: base(config, name)
        for name in config.models
        if not isinstance(config.base.networks[name], Hub)
    }


def places(config: Config) -> dict[str, Path | str]:
    """Where the base models lie, by name: a Hub id, or a folder, trained first where need be."""
    root = config.folders.runs
    return {name: base_model.place(base(config, name), root) for name in config.models}


def stage1_run(
    config: Config, model: str, seed: int, exclude: tuple[str, ...] = (), data: Data | None = None
) -> Stage1Run:
    """The stage 1 of `model` that `seed` starts from (config.stage1_seed); with identities to
    `exclude`, the model retrained without them."""
    return Stage1Run(
        base=base(config, model),
        data=data or data_of(config),
        rank=config.stage1.rank,
        alpha=config.stage1.alpha,
        optimiser=config.stage1.optimiser,
        exclude=exclude,
        seed=config.stage1_seed(seed),
    )


def untrained(config: Config, model: str, data: Data | None = None) -> Untrained:
    """The base model, beside the data of stage 1."""
    return Untrained(base=base(config, model), data=data or data_of(config))


def answers(config: Config, of: Model, rows: EvalRows | None = None, **changed: Any) -> AnswerRun:
    """The run that gives the answers of a model, as the section `evaluate` says, but for what is
    `changed`."""
    settings = {
        "max_new_tokens": config.evaluate.max_new_tokens,
        "exposure": config.evaluate.exposure,
        "prefix_template": config.evaluate.prefix_template,
        "batch": config.evaluate.batch,
    }
    return AnswerRun(of=of, rows=rows or EvalRows(), **(settings | changed))


def jobs(config: Config, found: Iterable[Job]) -> Jobs:
    """Jobs whose runs lie where `config` has them."""
    return Jobs(tuple(found), config.folders.runs, config.workers)


def forget_set(config: Config, rows: pd.DataFrame, seed: int) -> tuple[str, ...]:
    """The identities that Table 2 forgets with this seed. Raises BadData."""
    named = config.stage2.forget_set
    if named is None:
        return splits.forget_set(rows, config.stage2.forget_ratio, seed)
    forget = (
        named
        if isinstance(named, tuple)
        else splits.own_forget_set(data_of(config), named, config.folders.runs)
    )
    if not forget:
        raise BadChoice(f"stage2.forget_set {named!r} holds nobody to forget")
    if splits.views(rows, forget)["retain"].empty:
        raise BadChoice(f"stage2.forget_set {named!r} leaves no one to retain")
    return tuple(dict.fromkeys(forget))


def methods(config: Config, given: Sequence[Method | str] | None = None) -> dict[str, Method]:
    """The methods to compare, by the name that tables show: those given, or those of the section
    `stage2`. A name stands for a method of METHODS with the hyper-parameters of that section.
    Raises BadMethod."""
    if isinstance(given, str | Method):  # one alone
        given = [given]
    for name in config.stage2.hyperparameters:
        if name not in METHODS:
            raise BadMethod(
                f"stage2.hyperparameters.{name}: {name!r} is none of {', '.join(METHODS)}"
            )
    found: dict[str, Method] = {}
    for each in config.stage2.methods if given is None else given:
        if isinstance(each, str):
            each = method(each, config.stage2.hyperparameters.get(each))
        elif not isinstance(each, Method):
            raise BadMethod(f"{each!r} is no method: give its name, or an instance of a Method")
        label = each.name
        if label in found:  # the same method with other fields
            label = f"{label} ({', '.join(f'{k}={v}' for k, v in each.fields.items())})"
        same = [other for other in found.values() if other.described() == each.described()]
        if label in found or same:
            raise BadMethod(f"the method {each.name} stands twice: give another name, or fields")
        found[label] = each
    return found


def check(config: Config) -> None:
    """What can be wrong before hours are spent: methods and their hyper-parameters, the data, the
    forget sets. Raises BadMethod, BadData."""
    methods(config)
    data = data_of(config)
    if isinstance(data, SyntheticData) and config.stage2.forget_set is None:  # nothing is drawn yet
        rows = pd.DataFrame({"identity": range(data.identities), "split": "train"})
        splits.forget_set(rows, config.stage2.forget_ratio, config.seeds[0])
        return
    rows = dataset(config).rows
    for seed in config.seeds:
        forget_set(config, rows, seed)
