"""Stage 1 as jobs: Table 3, and what shape of data makes it fail (§1, §4, §5; Fig 1 to 3, 5).

The latter is stage 1 on another subset: data shaped like other benchmarks' (Fig 1), one thing
changed at a time, one person with more and more questions (Fig 3a, 3b), another mix of hops
(Fig 3c).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from remem import paper
from remem.config.sections import Config, Repeated
from remem.data import chosen
from remem.data import dataset as datasets
from remem.data.dataset import Data, SyntheticData
from remem.data.subset import TrainSubset
from remem.data.validation import SPLITS
from remem.evaluation.answers import EvalRows
from remem.evaluation.signatures import SignatureRun
from remem.evaluation.tracing import TraceRun
from remem.experiments import setup
from remem.jobs import Job, Jobs
from remem.synthetic import questions
from remem.training.stage1 import Stage1Run, Untrained
from remem.training.stage2 import Model

REAL = paper.SETS[0]
ONE = paper.SETTINGS[0]


class People(NamedTuple):
    """Data to train on, and its size: people, and training questions about each by hop."""

    data: Data
    identities: int
    single: int
    multi: int

    @property
    def total(self) -> int:
        """Training questions about each person."""
        return self.single + self.multi


def base_models(config: Config) -> Jobs:
    """The base models that are no weights from elsewhere: tiny's come with the repository, others
    are trained."""
    found = [Job(run, {"model": name}) for name, run in setup.trained_here(config).items()]
    return setup.jobs(config, found)


def memorising(config: Config, stages: Sequence[str] = paper.STAGES) -> Jobs:
    """Table 3: all rows, answered by the base and after stage 1, or at one of these `stages` alone;
    labelled stage, model, seed."""
    found = []
    for stage, model, seed in itertools.product(stages, config.models, config.stage1_seeds):
        untrained = stage == paper.BASE
        of = setup.untrained(config, model) if untrained else setup.stage1_run(config, model, seed)
        labels = {"stage": stage, "model": model, "seed": seed}
        found.append(Job(setup.answers(config, of), labels))
    return setup.jobs(config, found)


def diagnosis(config: Config) -> Jobs:
    """Fig 1: the first model, trained on data of each shape by each seed of stage 1; rows labelled
    benchmark."""
    return setup.jobs(
        config,
        (
            _job(
                config,
                of,
                benchmark=name,
                whole=name == config.data_name,
                people=config.experiments.diagnosis.asked,
            )
            for seed in config.stage1_seeds
            for name, of in _shapes(config, seed).items()
        ),
    )


def _shapes(config: Config, seed: int) -> dict[str, Stage1Run]:
    """Stage 1 on each shape: its own rows, in the usual epochs, as the paper's. So each takes as
    many updates as its rows ask for, which for the other benchmarks' is more than ReMem's."""
    settings, found = config.experiments.diagnosis, {}
    for name, section in settings.files.items():
        data = datasets.data_of(section)
        found[name] = _plain(config, seed, data).model_copy(update={"subset": TrainSubset()})
    for name, shape in settings.shapes.items():
        if name in (*settings.files, config.data_name):  # the thing itself is there
            continue
        drawn = _drawn(config, shape.identities, shape.single, shape.multi).data
        like = {"names": shape.names, "pictures": shape.pictures}
        like |= {} if shape.single else {"test_single": 0}
        run = _plain(config, seed, drawn.model_copy(update=like))
        found[name] = run.model_copy(update={"subset": TrainSubset()})
    return {**found, config.data_name: _plain(config, seed)}


def shape_rows(config: Config) -> dict[str, pd.DataFrame]:
    """The rows of each shape of `diagnosis` but ReMem's own, by "<benchmark>'s shape" (Table 1)."""
    found = {}
    for name, of in _shapes(config, config.stage1_seeds[0]).items():
        if name != config.data_name and of.subset is not None:
            rows = datasets.rows_of(of.data, config.folders.runs)
            found[f"{name}'s shape"] = of.subset.eval_rows(rows, SPLITS)
    return found


def causes(config: Config) -> Jobs:
    """ReMem with one thing changed at a time towards FIUBench, then several; with equally many
    updates but for one. One seed of stage 1; rows labelled change.

    A dataset folder can only be trained on a part of what it holds: more would be other people.
    """
    settings, own = config.experiments.diagnosis, _own(config)
    few = settings.questions_per_person
    fewer = questions.mixed(few, round(100 * own.single / max(1, own.total)))
    more = own.identities * own.total // few  # people, for as many rows
    pool = _drawn(config, own.identities, own.single, own.total)
    many = _drawn(config, more, *fewer)
    pictures = settings.pictures_per_person
    picture, short = f"{pictures} picture", f"{few} QA"
    made = isinstance(own.data, SyntheticData)
    all_single, all_multi = (own.single, own.multi) if made else (None, None)
    changes: dict[str, tuple[People, int | None, int | None, int | None]] = {
        picture: (own, all_single, all_multi, pictures),
        short: (own, *fewer, None),
        f"{short}, {paper.EPOCHS}": (own, *fewer, None),
        "multi-hop only": (pool, 0, own.total, None),
        f"{short}, multi-hop, {picture}": (pool, 0, few, pictures),
        f"{short}, {more} people": (many, *fewer, None),
    }
    plain, asked = _plain(config, config.stage1_seeds[0]), settings.asked
    none = f"none ({config.data_name})"
    usual = _updates(config, own)
    steps = settings.updates or usual
    if steps == usual:  # Table 3's
        found = [_job(config, plain, change=none, whole=True, people=asked)]
    else:
        of = _trained(config, own, TrainSubset(single=all_single, multi=all_multi), steps)
        found = [_job(config, of, change=none, people=asked)]
    for name, (people, single, multi, shown) in changes.items():
        within = single is None or multi is None or single + multi < own.total
        if made or (people is own and within):
            updates = None if name.endswith(paper.EPOCHS) else steps
            subset = TrainSubset(single=single, multi=multi, pictures=shown)
            of = _trained(config, people, subset, updates)
            found.append(_job(config, of, change=name, people=asked))
    return setup.jobs(config, found)


def sets(config: Config, seed: int | None = None) -> dict[str, Model]:
    """Set of people -> the model that should know their names: of the Real Set the untrained base,
    of each shape's people the model that was trained on them (Fig 2, 5, Table 5), by a `seed` of
    stage 1 (None: the first)."""
    real = config.experiments.diagnosis.real
    found: dict[str, Model] = {}
    if real is not None:
        found[REAL] = setup.untrained(config, config.models[0], datasets.data_of(real))
    return found | _shapes(config, config.stage1_seeds[0] if seed is None else seed)


def signatures(config: Config) -> Jobs:
    """Fig 2 left and Table 5: how sure the model is of a name, by each seed of stage 1, the base of
    the Real Set's once; one row per person, labelled set."""
    first, *_ = config.stage1_seeds
    people, batch = config.experiments.trace.people, config.evaluate.batch
    return setup.jobs(
        config,
        (
            Job(SignatureRun(of=of, people=people, batch=batch), _labels(config, seed, set=name))
            for seed in config.stage1_seeds
            for name, of in sets(config, seed).items()
            if seed == first or not isinstance(of, Untrained)
        ),
    )


def traces(config: Config, names: tuple[str, ...] | None = None) -> Jobs:
    """Fig 2 right and 5: causal traces of the people of `sets`, or of those named; labelled set."""
    return setup.jobs(
        config,
        (
            Job(
                TraceRun(of=of, trace=config.experiments.trace),
                _labels(config, _seed(config, of), set=name),
            )
            for name, of in sets(config).items()
            if names is None or name in names
        ),
    )


def scaling(config: Config) -> Jobs:
    """Fig 3a, 3b: one person at a time, more and more questions; answers to what is held out. Rows
    labelled samples, control, and how many updates these are."""
    settings, found = config.experiments.scaling, []
    people = _drawn(
        config, settings.people, *questions.mixed(max(settings.samples), settings.single)
    )
    for (who, seed), samples in itertools.product(_repeated(config, settings), settings.samples):
        single, multi = questions.mixed(samples, settings.single)
        subset = TrainSubset(people=(who,), single=single, multi=multi)
        usual = config.stage1.steps(samples)
        controls: dict[str, int | None] = {paper.EPOCHS: None}
        if samples in settings.controlled:  # where both come to the same, one run serves both
            controls[paper.UPDATES] = None if usual == settings.updates else settings.updates
        for control, updates in controls.items():
            of = _trained(config, people, subset, updates, seed)
            labels = {"samples": samples, "control": control, "updates": updates or usual}
            found.append(_job(config, of, ("test",), **labels))
    return setup.jobs(config, found)


def hops(config: Config) -> Jobs:
    """Fig 3c: the same number of questions, more and more of them single-hop. Rows labelled
    setting and share."""
    settings = config.experiments.hops
    one, several = settings.one_person, settings.several_people
    together = (((), seed) for seed in config.seeds[: several.seeds])
    found = []
    for setting, mix, groups in (
        (ONE, one, (((who,), seed) for who, seed in _repeated(config, one))),
        (f"{several.people} people", several, together),
    ):
        people = _drawn(config, mix.people, mix.samples, mix.samples)
        for (group, seed), share in itertools.product(groups, settings.shares):
            single, multi = questions.mixed(mix.samples, share)
            subset = TrainSubset(people=group, single=single, multi=multi)
            of = _trained(config, people, subset, None, seed)
            found.append(_job(config, of, ("test",), setting=setting, share=share))
    return setup.jobs(config, found)


def _own(config: Config) -> People:
    """The people of stage 1."""
    data = chosen.data_of(config)
    if isinstance(data, SyntheticData):
        return People(data, data.identities, data.single, data.multi)
    return _counted(config, data)


def _counted(config: Config, data: Data) -> People:
    """Data of a folder with its size; questions per person are a mean."""
    if isinstance(data, SyntheticData):
        return People(data, data.identities, data.single, data.multi)
    rows = datasets.rows_of(data, config.folders.runs)
    train = rows[rows["split"] == "train"]
    identities = max(1, train["identity"].nunique())
    each = [round((train["hop"] == hop).sum() / identities) for hop in paper.HOPS]
    return People(data, identities, *each)


def _drawn(config: Config, identities: int, single: int, multi: int) -> People:
    """The first people of the dataset with more questions about each than ReMem has, or other
    people than its own folder holds: drawn, as the paper's toy experiments were made apart."""
    section = config.dataset.model_copy(
        update={"source": "synthetic", "identities": identities, "single": single, "multi": multi}
    )
    return People(datasets.data_of(section), identities, single, multi)


def _trained(
    config: Config,
    people: People,
    subset: TrainSubset,
    updates: int | None,
    seed: int | None = None,
) -> Stage1Run:
    """Stage 1 of the first model on a subset."""
    run = _plain(config, config.stage1_seeds[0], people.data)
    changed: dict[str, Any] = {"subset": subset, "updates": updates}
    changed["kept"] = config.experiments.keep_adapters
    return run.model_copy(update=changed | ({} if seed is None else {"seed": seed}))


def _plain(config: Config, seed: int, data: Data | None = None) -> Stage1Run:
    """Stage 1 of the first model as it is (Table 3), or on other data."""
    return setup.stage1_run(config, config.models[0], seed, data=data)


def _job(
    config: Config,
    of: Stage1Run,
    splits: tuple[str, ...] = SPLITS,
    whole: bool = False,
    people: int | None = None,
    **labels: Any,
) -> Job:
    """The answers after one of these, about the first `people` (None: all). Exposure is a matter of
    stage 2 and left out, except where it is the `whole` stage 1, of which Tables 2 and 3 need all
    answers, with it."""
    changed = {} if whole else {"exposure": False, "perplexity": True}
    rows = EvalRows() if whole else EvalRows(splits=splits, people=people)
    run = setup.answers(config, of, rows, **changed)
    return Job(run, _labels(config, of.seed, **labels))


def _labels(config: Config, seed: int, **others: Any) -> dict[str, Any]:
    return {"seed": seed, **others, "model": config.models[0]}  # as the CSVs have them


def _seed(config: Config, of: Model) -> int:
    return config.stage1_seeds[0] if isinstance(of, Untrained) else of.seed


def _updates(config: Config, people: People) -> int:
    return config.stage1.steps(people.identities * people.total)


def _repeated(config: Config, how: Repeated) -> Iterator[tuple[str, int]]:
    """(person, seed): one person at a time, by each seed."""
    # The identities that people who are drawn are given.
    who = (f"p{k:02d}" for k in range(how.people))
    return itertools.product(who, config.seeds[: how.seeds])
