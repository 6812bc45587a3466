"""What shape of data makes stage 1 fail? The experiments of §1, §4 and §5, as lists of runs.

Each is stage 1 on another lesson: data shaped like other benchmarks' (Fig 1), one thing changed at
a time, one person with more and more questions (Fig 3a, 3b), and another mix of hops (Fig 3c).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import pandas as pd
from pydantic import Field

from remem import claims, dataset, predict, runs, tables, train

if TYPE_CHECKING:
    from remem import params

REAL = tables.SETS[0]
ONE = tables.SETTINGS[0]


class Shape(runs.Spec):
    """The shape of another benchmark's data: people, questions about each by hop, pictures."""

    identities: int = Field(ge=2)
    single: int = Field(ge=0)
    multi: int = Field(ge=0)
    pictures: int = Field(ge=1)


class Diagnosis(runs.Spec):
    """The `diagnosis` section (Fig 1, 2, 5). `shapes` are the other benchmarks', by name; `files`
    their own samples where they are at hand, which then stand for the shape (a folder that
    readers.convert made is the `source`); `real` is a dataset of public figures whom the base model
    knows (None: there is none at hand); `few` and `one` are the questions and pictures per person
    when one thing is changed."""

    shapes: dict[str, Shape]
    files: dict[str, dataset.DatasetSpec] = {}
    real: dataset.DatasetSpec | None
    few: int = Field(ge=1)
    one: int = Field(default=1, ge=1)


class Narrow(runs.Spec):
    """A lesson about few people, one at a time or together, fitted as stage 1 is: how many, and by
    how many of the seeds it is repeated."""

    people: int = Field(ge=1)
    seeds: int = Field(ge=1)


class Scaling(Narrow):
    """The `scaling` section (Fig 3a, 3b): numbers of questions about one person, `single` percent
    of them single-hop; each is taught once more with the same number of `updates`."""

    samples: tuple[int, ...] = Field(min_length=2)
    updates: int = Field(ge=1)
    single: int = Field(ge=0, le=100)


class Mix(Narrow):
    """One setting of Fig 3c: `samples` questions about each person."""

    samples: int = Field(ge=1)


class Hops(runs.Spec):
    """The `hops` section (Fig 3c): shares of single-hop questions, in percent; about one person at
    a time, as in the paper, and about several at once, who have to be told apart."""

    shares: tuple[Annotated[int, Field(ge=0, le=100)], ...] = Field(min_length=2)
    one: Mix
    several: Mix


class Taught(NamedTuple):
    """One run of stage 1, and the columns that tell its rows from those of the others."""

    label: dict[str, object]
    spec: train.Stage1Spec


def rows(taught: list[Taught], folders: list) -> pd.DataFrame:
    """The answers of all runs (folders in the order of `taught`), labelled."""
    parts = [
        pd.read_parquet(folder / "predictions.parquet").assign(seed=each.spec.seed, **each.label)
        for each, folder in zip(taught, folders, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def mixed(total: int, percent: int) -> tuple[int, int]:
    """How many single-hop and multi-hop questions, where `percent` of `total` are single-hop."""
    single = round(total * percent / 100)
    return single, total - single


def _people(p: params.Params, people: int, single: int, multi: int) -> dataset.DatasetSpec:
    """The first people of the dataset with more questions about each than ReMem has, or other
    people than its own folder holds: drawn, as the paper's toy experiments were made apart."""
    changed = {"source": "drawn", "content": None, "identities": people, "single": single,
               "multi": multi}  # fmt: skip
    return p.dataset.model_copy(update=changed)


def _taught(
    p: params.Params,
    label: dict[str, object],
    people: dataset.DatasetSpec,
    lesson: train.Lesson,
    seed: int | None = None,
) -> Taught:
    """A lesson for the first model; Exposure is a matter of stage 2 and left out."""
    start = p.start(p.models[0], p.seeds[0])
    spec = start.model_copy(update={
        "dataset": people, "lesson": lesson, "seed": start.seed if seed is None else seed,
        "evaluate": start.evaluate.model_copy(update={"exposure": False, "perplexity": True}),
    })  # fmt: skip
    return Taught(label, spec)


def _stage1(p: params.Params, **label: str) -> Taught:
    """Stage 1 itself (Table 3), to stand beside the others."""
    return Taught(label, p.start(p.models[0], p.seeds[0]))


def _repeated(p: params.Params, how: Narrow) -> Iterator[tuple[str, int]]:
    """(person, seed): one person at a time, by each seed."""
    # The identities that dataset.make gives to people whom it draws.
    return itertools.product((f"p{k:02d}" for k in range(how.people)), p.seeds[: how.seeds])


def diagnosis(p: params.Params) -> list[Taught]:
    """Fig 1: the first model, taught data of each shape: five epochs of it, as the paper's, and at
    least as many updates as ReMem takes."""
    found, settings = [], p.experiments.diagnosis
    for name, people in settings.files.items():
        lesson = train.Lesson(updates=max(_updates(p, people), _updates(p, p.dataset)))
        found.append(_taught(p, {"benchmark": name}, people, lesson))
    for name, shape in settings.shapes.items():
        if name in (*settings.files, p.taught):  # the thing itself is there
            continue
        people = _people(p, shape.identities, shape.single, shape.multi)
        if not shape.single:
            people = people.model_copy(update={"test_single": 0})
        updates = max(_updates(p, people), _updates(p, p.dataset))
        lesson = train.Lesson(single=shape.single, multi=shape.multi, pictures=shape.pictures,
                              updates=updates)  # fmt: skip
        found.append(_taught(p, {"benchmark": name}, people, lesson))
    return [*found, _stage1(p, benchmark=p.taught)]


def causes(p: params.Params) -> list[Taught]:
    """ReMem with one thing changed at a time, then several; with ReMem's updates but for one.

    A dataset folder can only be taught a part of what it holds: more would be other people.
    """
    settings, data = p.experiments.diagnosis, p.dataset
    total = data.single + data.multi
    few = mixed(settings.few, round(100 * data.single / max(1, total)))
    more = data.identities * total // settings.few  # people, for as many rows
    pool = _people(p, data.identities, data.single, total)
    crowd = _people(p, more, *few)
    picture, short = f"{settings.one} picture", f"{settings.few} QA"
    made = data.source in dataset.MADE
    changes = {
        picture: (data, *((data.single, data.multi) if made else (None, None)), settings.one),
        short: (data, *few, None),
        f"{short}, {claims.EPOCHS}": (data, *few, None),
        "multi-hop only": (pool, 0, total, None),
        f"{short}, multi-hop, {picture}": (pool, 0, settings.few, settings.one),
        f"{short}, {more} people": (crowd, *few, None),
    }
    found = [_stage1(p, change=f"none ({p.taught})")]
    for name, (people, single, multi, pictures) in changes.items():
        if made or (people is data and (single is None or single + multi < total)):
            updates = None if name.endswith(claims.EPOCHS) else _updates(p, data)
            lesson = train.Lesson(single=single, multi=multi, pictures=pictures, updates=updates)
            found.append(_taught(p, {"change": name}, people, lesson))
    return found


def _updates(p: params.Params, people: dataset.DatasetSpec) -> int:
    return p.stage1.steps(people.identities * (people.single + people.multi))


def real_set(p: params.Params) -> train.Stage1Spec | None:
    """The first model before any teaching, and the public figures whom it should know."""
    real = p.experiments.diagnosis.real
    return real and p.untrained(p.models[0]).model_copy(update={"dataset": real})


def sets(p: params.Params) -> dict[str, train.Stage1Spec]:
    """Fig 2, 5 and Table 5: whose names a network should know, and the run that taught it."""
    real = real_set(p)
    return ({REAL: real} if real else {}) | {
        each.label["benchmark"]: each.spec for each in diagnosis(p)
    }


def signatures(spec: train.Stage1Spec, people: int, runs_root: Path) -> pd.DataFrame:
    """predict.signatures of the first `people` whom the finished run `spec` taught (the untaught
    base: whom it was asked about): one row per identity, means over their own pictures."""
    base, rows, features = train.world(spec, runs_root)
    taught = spec.taught(rows)
    first = taught["identity"].drop_duplicates()[:people]
    found = predict.signatures(
        base, train.run(spec, runs_root) / "adapter", spec.base.network.dtype,
        taught[taught["identity"].isin(first)], features, spec.evaluate.batch,
    )  # fmt: skip
    found = found.drop(columns="image").groupby("identity", sort=False, as_index=False).mean()
    return found.assign(seed=spec.seed)


def scaling(p: params.Params) -> list[Taught]:
    """Fig 3a, 3b: one person at a time, more and more questions; asked what is held out."""
    settings, found = p.experiments.scaling, []
    people = _people(p, settings.people, *mixed(max(settings.samples), settings.single))
    for (who, seed), samples in itertools.product(_repeated(p, settings), settings.samples):
        single, multi = mixed(samples, settings.single)
        lesson = train.Lesson(people=(who,), single=single, multi=multi, asked=("test",))
        usual = p.stage1.steps(samples)
        limit = None if usual == settings.updates else settings.updates  # one run, one spec
        controls = {claims.EPOCHS: lesson,
                    claims.UPDATES: lesson.model_copy(update={"updates": limit})}
        for control, lesson in controls.items():
            label = {"samples": samples, "control": control}
            found.append(_taught(p, label, people, lesson, seed))
    return found


def hops(p: params.Params) -> list[Taught]:
    """Fig 3c: the same number of questions, more and more of them single-hop."""
    settings = p.experiments.hops
    one, several = settings.one, settings.several
    together = (((), seed) for seed in p.seeds[: several.seeds])
    found = []
    for setting, mix, groups in (
        (ONE, one, (((who,), seed) for who, seed in _repeated(p, one))),
        (f"{several.people} people", several, together),
    ):
        people = _people(p, mix.people, mix.samples, mix.samples)
        for (group, seed), share in itertools.product(groups, settings.shares):
            single, multi = mixed(mix.samples, share)
            lesson = train.Lesson(people=group, single=single, multi=multi, asked=("test",))
            label = {"setting": setting, "share": share}
            found.append(_taught(p, label, people, lesson, seed))
    return found
