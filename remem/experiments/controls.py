"""Controls as jobs: whether answers come from name and face, before and after every method."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from remem import metrics, paper
from remem.config.sections import Config
from remem.data import chosen
from remem.data import dataset as datasets
from remem.data.dataset import Data
from remem.evaluation.controls import PICTURES, ControlRun, Shown
from remem.experiments import setup, stage2
from remem.jobs import Job, Jobs
from remem.synthetic import templates
from remem.training.methods import Method
from remem.training.stage2 import Model

REAL = paper.SETS[0]
ALL = PICTURES["single"]


def controls(
    config: Config,
    methods: Sequence[Method | str] | None = None,
    only: Sequence[str] | None = None,
) -> Jobs:
    """The base, the model after each stage 1, the retrained model and the methods, or of these rows
    of Table 2 `only` those named; asked about the people of stage 1 and, where there are any at
    hand, about the public figures that the base knows. Rows labelled model, method, seed, with the
    column `whose` ("retained", "forgotten", "Real Set")."""
    rows, _ = chosen.planned(config)
    shown = {paper.BASE, paper.BEFORE, paper.RETRAINED, *setup.methods(config, methods)}
    shown &= shown if only is None else {*only}
    found = []
    for model in config.models:
        for seed in config.seeds:
            forget = chosen.forget_set(config, rows, seed)
            for label, of in stage2.compared(config, model, seed, methods).items():
                if label in shown and seed in _seeds(config, label):
                    labels = {"model": model, "method": label, "seed": seed}
                    found += _jobs(config, of, label, forget, labels)
    return setup.jobs(config, found)


def refusals_shared(config: Config) -> int:
    """How many of the refusals that DPO teaches are among those that tiny base models read."""
    pool = setup.methods(config, ["DPO"])["DPO"].refusal_pool
    return len({*map(metrics.normalise, pool)} & {*map(metrics.normalise, templates.REFUSALS)})


def _seeds(config: Config, label: str) -> tuple[int, ...]:
    """The seeds whose models are different ones, of the methods a few."""
    if label == paper.BEFORE:  # of the seeds that begin from one stage 1, the first
        return tuple({config.stage1_seed(seed): seed for seed in reversed(config.seeds)}.values())
    return config.seeds[: 1 if label == paper.BASE else config.experiments.controls.seeds]


def _jobs(
    config: Config, of: Model, label: str, forget: tuple[str, ...], labels: dict[str, object]
) -> list[Job]:
    found = [Job(_run(config, of), labels, functools.partial(_whose, forget=forget))]
    real = config.experiments.diagnosis.real
    if real is not None:
        # What the base knows is asked in every way; afterwards, how much of it is left.
        pictures = ALL if label == paper.BASE else ALL[:1]
        run = _run(config, of, datasets.data_of(real), pictures, ranked=True)
        found.append(Job(run, labels, functools.partial(_whose, forget=None)))
    return found


def _run(
    config: Config,
    of: Model,
    data: Data | None = None,
    pictures: tuple[Shown, ...] = ALL,
    ranked: bool = False,
) -> ControlRun:
    return ControlRun(
        of=of,
        data=data,
        per_person=config.experiments.controls.per_person,
        pictures=pictures,
        ranked=ranked,
        prefix_template=config.evaluate.prefix_template,
        max_new_tokens=config.evaluate.max_new_tokens,
        batch=config.evaluate.batch,
    )


def _whose(rows: pd.DataFrame, forget: tuple[str, ...] | None) -> pd.DataFrame:
    if forget is None:
        return rows.assign(whose=REAL)
    return rows.assign(whose=np.where(rows["identity"].isin(forget), "forgotten", "retained"))
