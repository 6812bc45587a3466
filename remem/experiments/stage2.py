"""Stage 2 as jobs: Table 2 with its ceiling and floor, curves, forget ratios (§7.3, A.3)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import get_args

from remem import paper
from remem.config.sections import Config, PrefixTemplate
from remem.data import splits
from remem.evaluation.answers import EvalRows
from remem.evaluation.curves import CurveRun
from remem.experiments import setup
from remem.jobs import Job, Jobs
from remem.training.methods import KL, Method
from remem.training.stage1 import Stage1Run
from remem.training.stage2 import Model, Stage2Run


def unlearning(
    config: Config,
    methods: Sequence[Method | str] | None = None,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Jobs:
    """Table 2: rows labelled model, method and seed, with the column `view`.

    For each model and seed the untrained base, the ceiling (before unlearning), the floor
    (retrained without the forgotten), then the methods: those given (their names, or instances of
    Method), or those of the section `stage2`; with the latter also KL over other positions (first
    model, first seed: a check of a reading, not a method).
    """
    people = _People(config)
    found = []
    for model, seed in itertools.product(models or config.models, seeds or config.seeds):
        forget = people.forget(seed)
        select = functools.partial(splits.evaluated, forget=forget)
        for label, of in _compared(config, model, seed, people, methods).items():
            everything = label in (paper.BASE, paper.BEFORE)  # asked about all rows for Table 3
            rows = EvalRows() if everything else EvalRows(forget=forget)
            labels = {"model": model, "method": label, "seed": seed}
            found.append(Job(people.answers(of, rows), labels, select))
    return people.jobs(found)


def compared(
    config: Config, model: str, seed: int, methods: Sequence[Method | str] | None = None
) -> dict[str, Model]:
    """The models behind the rows of Table 2 for one size and seed, by the name of the row."""
    return _compared(config, model, seed, _People(config), methods)


def curves(config: Config, methods: Sequence[Method | str] | None = None) -> Jobs:
    """Each method epoch by epoch: rows labelled model, method, seed, with epoch, view, hop, em."""
    people, found = _People(config), []
    for model, seed in itertools.product(config.models, config.seeds):
        for label, of in _unlearned(config, model, seed, people, methods).items():
            run = CurveRun(
                of=of,
                max_new_tokens=config.evaluate.max_new_tokens,
                batch=config.evaluate.batch,
            )
            found.append(Job(run, {"model": model, "method": label, "seed": seed}))
    return people.jobs(found)


def exposure_prefixes(config: Config) -> Jobs:
    """Does Exposure hang on the words before the value? The first model before unlearning, its
    forget rows ranked under each prefix; rows labelled prefix_template."""
    people = _People(config)
    model, seed = config.models[0], config.seeds[0]
    rows = EvalRows(forget=people.forget(seed), views=("forget",))
    start = people.stage1(model, seed)
    return people.jobs(
        Job(
            people.answers(start, rows, prefix_template=template, max_new_tokens=0, exposure=True),
            {"prefix_template": template, "model": model, "seed": seed},
        )
        for template in get_args(PrefixTemplate)
    )


def forget_ratios(config: Config) -> Jobs:
    """Fig 6 and 7: rows labelled ratio (percent forgotten), control, model, method, seed.

    A larger set is also more updates, so that the first model is made to forget each once more
    with as many as Table 2's set takes.
    """
    people, ratios = _People(config), config.experiments.ratios
    training = people.rows[people.rows["split"] == "train"]
    found = []
    for model, seed in itertools.product(config.models, config.seeds[: ratios.seeds]):
        usual = splits.forget_set(people.rows, config.stage2.forget_ratio, seed)
        updates = config.stage2.steps(training["identity"].isin(usual).sum())
        for share in ratios.shares:
            forget = splits.forget_set(people.rows, share, seed)
            select = functools.partial(splits.evaluated, forget=forget)
            shared = share == config.stage2.forget_ratio  # with Table 2, and between the controls
            controls: dict[str, int | None] = {paper.EPOCHS: None}
            if model == config.models[0]:
                controls[paper.UPDATES] = None if shared else updates
            for control, steps in controls.items():
                start = people.stage1(model, seed)
                named: dict[str, tuple[Model, EvalRows]] = {paper.BEFORE: (start, EvalRows())}
                for label, method in setup.methods(config).items():
                    of = people.stage2(start, method, forget, seed, steps, checkpoints=shared)
                    named[label] = of, EvalRows(forget=forget)
                for label, (of, rows) in named.items():
                    labels = {"model": model, "method": label, "seed": seed}
                    labels |= {"ratio": round(100 * share), "control": control}
                    found.append(Job(people.answers(of, rows), labels, select))
    return people.jobs(found)


class _People:
    """The people of a config, read once for all jobs of an experiment, and runs about them."""

    def __init__(self, config: Config):
        self.config = config
        self.rows, self.data, _ = setup.dataset(config)
        self.jobs = functools.partial(setup.jobs, config)
        self.answers = functools.partial(setup.answers, config)

    @functools.cache  # noqa: B019 (it lives as long as the building of a list of jobs)
    def forget(self, seed: int) -> tuple[str, ...]:
        return setup.forget_set(self.config, self.rows, seed)

    def stage1(self, model: str, seed: int, exclude: tuple[str, ...] = ()) -> Stage1Run:
        return setup.stage1_run(self.config, model, seed, exclude, self.data)

    def stage2(
        self,
        start: Stage1Run,
        method: Method,
        forget: tuple[str, ...],
        seed: int,
        updates: int | None = None,
        checkpoints: bool = True,
    ) -> Stage2Run:
        return Stage2Run(
            start=start,
            method=method,
            forget=forget,
            optimiser=self.config.stage2.optimiser,
            updates=updates,
            checkpoints=checkpoints,
            seed=seed,
        )


def _compared(
    config: Config,
    model: str,
    seed: int,
    people: _People,
    given: Sequence[Method | str] | None,
) -> dict[str, Model]:
    forget, start = people.forget(seed), people.stage1(model, seed)
    named: dict[str, Model] = {
        paper.BASE: setup.untrained(config, model, people.data),
        paper.BEFORE: start,
        paper.RETRAINED: people.stage1(model, seed, forget),
    }
    named |= _unlearned(config, model, seed, people, given)
    first = (model, seed) == (config.models[0], config.seeds[0])
    kl = setup.methods(config, given).get("KL")
    if given is None and first and isinstance(kl, KL):
        other = KL(positions="answer" if kl.positions == "all" else "all")
        named[f"KL, {other.positions} positions"] = people.stage2(start, other, forget, seed)
    return named


def _unlearned(
    config: Config,
    model: str,
    seed: int,
    people: _People,
    given: Sequence[Method | str] | None,
) -> dict[str, Stage2Run]:
    forget, start = people.forget(seed), people.stage1(model, seed)
    return {
        label: people.stage2(start, method, forget, seed)
        for label, method in setup.methods(config, given).items()
    }
