"""From parameters to what experiments start with: base models, stage 1, methods."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from remem.config import BadParameter
from remem.config.networks import Hub, Memory
from remem.config.sections import Config, Optimiser
from remem.data.chosen import data_of, fingerprint
from remem.data.dataset import Data
from remem.evaluation.answers import AnswerRun, EvalRows
from remem.jobs import Job, Jobs
from remem.model import folder, loading
from remem.training import base_model
from remem.training.base_model import BaseRun
from remem.training.methods import BadMethod, Method, method
from remem.training.stage1 import NOTES, Stage1Run, TrainRun, Untrained
from remem.training.stage2 import Model


@functools.lru_cache(8)
def _weights(where: str, fingerprint: Any) -> str:
    return loading.content_of(Path(where))


def base(config: Config, name: str) -> BaseRun:
    """One of the networks that experiments start from; of a local folder, with what it holds; of
    the Hub, with the commit that is here. Raises BadParameter."""
    network = config.base.networks.get(name)
    if network is None:
        known = ", ".join(config.base.networks)
        raise BadParameter(f"there is no model {name!r}; base.networks has {known}")
    network = network.model_copy(update={"stage1": Memory(), "stage2": Memory()})  # see optimiser
    if not isinstance(network, Hub):
        return BaseRun(network=network, tower=config.base.tower)
    if os.path.isdir(network.hub):
        content = _weights(network.hub, fingerprint(Path(network.hub)))
        network = network.model_copy(update={"content": content})
    elif network.commit is None:
        network = network.model_copy(update={"commit": folder.commit(network.hub)})
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


def optimiser(config: Config, model: str, stage: Literal["stage1", "stage2"]) -> Optimiser:
    """How a stage of a model is fitted: what the stage says, but for what its network says of
    memory."""
    usual, own = getattr(config, stage).optimiser, getattr(config.base.networks[model], stage)
    changed = {name: value for name, value in own if value is not None}
    return usual.model_copy(update=changed)


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
        optimiser=optimiser(config, model, "stage1"),
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
    """Jobs whose runs lie, and are made, where `config` has them."""
    return Jobs(tuple(found), config.folders.runs, config.workers, config.cluster)


def notes(found: Jobs, shown: int = 5) -> list[str]:
    """What the training behind these jobs, once it is made, has noted (TrainRun.notes), each with
    its labels: the first lines, and how many more there are."""
    lines = []
    for job in found.training():
        if isinstance(job.spec, TrainRun):
            labels = ", ".join(f"{key} {value}" for key, value in job.labels.items())
            lines += [f"{labels}: {line}" for line in job.spec.notes(found.runs_root)]
    more = len(lines) - shown
    return [*lines[:shown], *[f"{more} more such lines are in {NOTES} of the runs"] * (more > 0)]


def methods(config: Config, given: Sequence[Method | str] | None = None) -> dict[str, Method]:
    """The methods to compare, by the name that tables show: those given, or those of the section
    `stage2`. A name stands for a method of METHODS with the hyper-parameters of that section.
    Raises BadMethod."""
    if isinstance(given, str | Method):  # one alone
        given = [given]
    for name, fields in config.stage2.hyperparameters.items():
        method(name, fields)
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
