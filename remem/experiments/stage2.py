"""Stage 2 as jobs: Table 2 with its ceiling and floor, curves, forget ratios (§7.3, A.3)."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from remem import paper, runs
from remem.config.sections import Config, Draws, PrefixTemplate
from remem.data import chosen, splits
from remem.evaluation.answers import AnswerRun, EvalRows
from remem.evaluation.curves import CurveRun
from remem.experiments import setup
from remem.jobs import Job, Jobs
from remem.synthetic.templates import REFUSAL_POOLS
from remem.training.methods import DPO, KL, NPO, Method
from remem.training.stage1 import Stage1Run
from remem.training.stage2 import Model, Stage2Run


def unlearning(
    config: Config,
    methods: Sequence[Method | str] | None = None,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Jobs:
    """Table 2: rows labelled model, method, seed and stage1_seed (the stage 1 that the seed begins
    from), with the column `view`.

    For each model and seed the untrained base, the ceiling (before unlearning), the floor
    (retrained without the forgotten), then the methods: those given (their names, or instances of
    Method), or those of the section `stage2`; with the latter also (first model, first seed: checks
    of a reading, not methods) KL over other positions, and DPO with the other refusals.
    """
    stages, found = _Stages(config), []
    for model, seed in itertools.product(models or config.models, seeds or config.seeds):
        forget = stages.forget(seed)
        select = functools.partial(splits.evaluated, forget=forget)
        for label, of in stages.compared(model, seed, methods).items():
            everything = label in (paper.BASE, paper.BEFORE)  # all rows are answered for Table 3
            rows = EvalRows() if everything else EvalRows(forget=forget)
            labels = _labels(config, model, label, seed)
            found.append(Job(setup.answers(config, of, rows), labels, select))
    return setup.jobs(config, found)


def compared(
    config: Config, model: str, seed: int, methods: Sequence[Method | str] | None = None
) -> dict[str, Model]:
    """The models behind the rows of Table 2 for one size and seed, by the name of the row."""
    return _Stages(config).compared(model, seed, methods)


def curves(config: Config, methods: Sequence[Method | str] | None = None) -> Jobs:
    """Each method epoch by epoch, by the first seeds: rows labelled model, method, seed, with
    epoch, view, hop, em."""
    stages, found = _Stages(config), []
    for model, seed in itertools.product(config.models, stages.curve_seeds):
        for label, of in stages.unlearned(model, seed, methods).items():
            run = CurveRun(
                of=of, max_new_tokens=config.evaluate.max_new_tokens, batch=config.evaluate.batch
            )
            found.append(Job(run, {"model": model, "method": label, "seed": seed}))
    return setup.jobs(config, found)


def exposure_prefixes(config: Config) -> Jobs:
    """Does Exposure hang on the words before the value? The first model before unlearning, its
    forget rows ranked under each prefix; rows labelled prefix_template."""
    stages, found = _Stages(config), []
    model, seed = config.models[0], config.seeds[0]
    rows = EvalRows(forget=stages.forget(seed), views=("forget",))
    start, ranked = stages.stage1(model, seed), {"max_new_tokens": 0, "exposure": True}
    for template in get_args(PrefixTemplate):
        run = setup.answers(config, start, rows, prefix_template=template, **ranked)
        found.append(Job(run, {"prefix_template": template, "model": model, "seed": seed}))
    return setup.jobs(config, found)


def sensitivity(config: Config) -> Jobs:
    """Does Table 2 hang on what the paper leaves open? The first model and seed, DPO and NPO (where
    they are compared) with each beta, and DPO with either refusals; rows labelled varied,
    setting, model, method, seed. What Table 2 has is not made again.
    """
    stages, betas, found = _Stages(config), config.experiments.sensitivity.betas, []
    model, seed = config.models[0], config.seeds[0]
    start, forget = stages.stage1(model, seed), stages.forget(seed)
    table2 = unlearning(config, models=[model], seeds=[seed])
    asked = {runs.name(run.of): run for job in table2 if isinstance(run := job.spec, AnswerRun)}
    for label, method in setup.methods(config).items():
        if not isinstance(method, DPO | NPO):
            continue
        settings: list[tuple[str, Any]] = [("beta", beta) for beta in sorted({*betas, method.beta})]
        settings += [("refusals", pool) for pool in REFUSAL_POOLS] * isinstance(method, DPO)
        for varied, setting in settings:
            other = dataclasses.replace(method, **{varied: setting})
            of = stages.stage2(model, start, other, forget, seed)
            of = of.model_copy(update={"kept": config.experiments.keep_adapters})
            rows = EvalRows(forget=forget, views=("forget", "retain_eval"))
            spec = asked.get(runs.name(of)) or setup.answers(config, of, rows)
            labels = {"varied": varied, "setting": str(setting)}
            labels |= {"model": model, "method": label, "seed": seed}
            found.append(Job(spec, labels))
    return setup.jobs(config, found)


def forget_ratios(config: Config) -> Jobs:
    """Fig 6 and 7: rows labelled ratio (percent forgotten), control, model, method, seed and
    stage1_seed.

    A larger set is also more updates, so that the first model is made to forget some once more with
    as many as Table 2's set takes.
    """
    stages, ratios, found = _Stages(config), config.experiments.ratios, []
    for model in config.models:
        if model == config.models[0]:
            found += _ratios(stages, model, ratios.first, paper.EPOCHS)
            found += _ratios(stages, model, ratios.equal_updates, paper.UPDATES)
        else:
            found += _ratios(stages, model, ratios.others, paper.EPOCHS)
    return setup.jobs(config, found)


RATIO_VIEWS = ("forget", "retain_eval", "test_forget")  # what the claims of A.3 are about


def _ratios(stages: _Stages, model: str, how: Draws, control: str) -> Iterator[Job]:
    config, table2 = stages.config, stages.config.stage2.forget_ratio
    training = stages.rows[stages.rows["split"] == "train"]
    usual = splits.forget_set(stages.rows, table2, config.seeds[0])
    updates = config.stage2.steps(training["identity"].isin(usual).sum())
    for share, count in zip(how.shares, how.draws, strict=True):
        shared = share == table2  # with Table 2, and between the controls
        for seed, forget in splits.draws(stages.rows, share, table2, count, config.seeds):
            start = stages.stage1(model, seed)
            named: dict[str, tuple[Model, EvalRows]] = {paper.BEFORE: (start, EvalRows())}
            for label, method in setup.methods(config).items():
                equal = control == paper.UPDATES and not shared
                of = stages.stage2(model, start, method, forget, seed, updates if equal else None)
                if not shared:
                    of = of.model_copy(update={"kept": config.experiments.keep_adapters})
                named[label] = of, EvalRows(forget=forget, views=() if shared else RATIO_VIEWS)
            for label, (of, rows) in named.items():
                labels = _labels(config, model, label, seed)
                labels |= {"ratio": round(100 * share), "control": control}
                select = functools.partial(splits.evaluated, forget=forget, only=RATIO_VIEWS)
                yield Job(setup.answers(config, of, rows), labels, select)


def _labels(config: Config, model: str, method: str, seed: int) -> dict[str, Any]:
    stage1 = config.stage1_seed(seed)
    return {"model": model, "method": method, "seed": seed, "stage1_seed": stage1}


class _Stages:
    """The runs of both stages of a config; its data is read once for all jobs of an experiment."""

    def __init__(self, config: Config):
        self.config = config
        self.rows, self.data = chosen.planned(config)
        self.curve_seeds = config.seeds[: config.experiments.curves.seeds]

    @functools.cache  # noqa: B019 (it lives as long as the building of a list of jobs)
    def forget(self, seed: int) -> tuple[str, ...]:
        return chosen.forget_set(self.config, self.rows, seed)

    def stage1(self, model: str, seed: int, exclude: tuple[str, ...] = ()) -> Stage1Run:
        return setup.stage1_run(self.config, model, seed, exclude, self.data)

    def stage2(
        self,
        model: str,
        start: Stage1Run,
        method: Method,
        forget: tuple[str, ...],
        seed: int,
        updates: int | None = None,
    ) -> Stage2Run:
        """With checkpoints where the curves want them."""
        usual = updates is None and forget == self.forget(seed)
        return Stage2Run(
            start=start,
            method=method,
            forget=forget,
            optimiser=setup.optimiser(self.config, model, "stage2"),
            updates=updates,
            checkpoints=usual and seed in self.curve_seeds,
            seed=seed,
        )

    def compared(
        self, model: str, seed: int, methods: Sequence[Method | str] | None
    ) -> dict[str, Model]:
        forget, start = self.forget(seed), self.stage1(model, seed)
        named: dict[str, Model] = {
            paper.BASE: setup.untrained(self.config, model, self.data),
            paper.BEFORE: start,
            paper.RETRAINED: self.stage1(model, seed, forget),
        }
        named |= self.unlearned(model, seed, methods)
        if methods is None and (model, seed) == (self.config.models[0], self.config.seeds[0]):
            for label, method in self.other_readings().items():
                named[label] = self.stage2(model, start, method, forget, seed)
        return named

    def other_readings(self) -> dict[str, Method]:
        """KL and DPO, where they are compared, as the paper's words may be read as well."""
        methods = setup.methods(self.config)
        found: dict[str, Method] = {}
        if isinstance(kl := methods.get("KL"), KL):
            other = "answer" if kl.positions == "all" else "all"
            found[f"KL, {other} positions"] = dataclasses.replace(kl, positions=other)
        if isinstance(dpo := methods.get("DPO"), DPO):
            known = dpo.refusals == "unseen"
            label = "DPO, the base's refusals" if known else "DPO, unseen refusals"
            found[label] = dataclasses.replace(dpo, refusals="base" if known else "unseen")
        return found

    def unlearned(
        self, model: str, seed: int, methods: Sequence[Method | str] | None
    ) -> dict[str, Stage2Run]:
        forget, start = self.forget(seed), self.stage1(model, seed)
        return {
            label: self.stage2(model, start, method, forget, seed)
            for label, method in setup.methods(self.config, methods).items()
        }
