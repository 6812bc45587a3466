"""The schema of the parameters: what each section of a scale's YAML holds, and what is allowed.

Plain values only: nothing here reads data or loads a network. `loading` reads a file into
`Config`; `remem params` lists every key with its default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from remem import paper, paths
from remem.config.cluster import Cluster
from remem.config.networks import Hub as Hub
from remem.config.networks import Network, Place, VisionTower
from remem.config.networks import TinyLlava as TinyLlava
from remem.config.numbers import (
    AtOnce,
    Count,
    Few,
    FewOrNone,
    Part,
    Percent,
    Pixels,
    Scale,
    Seed,
    Several,
    Share,
    Tokens,
)
from remem.config.services import Account, Construction, Judge, Services
from remem.config.services import FaceSimilarity as FaceSimilarity
from remem.config.stages import Optimiser as Optimiser
from remem.config.stages import Stage1, Stage2
from remem.runs import NOT_IN_DIGEST, Spec

SCALES = ("smoke", "quick", "tiny", "small", "paper")
MADE = ("synthetic", "public")  # sources of a dataset that are no folder
BENCHMARKS = {
    "remem": paper.REMEM,
    "fiubench": "FIUBench",
    "mllmu": "MLLMU-Bench",
    "clear": "CLEAR",
}
PrefixTemplate = Literal["plain", "alternative"]  # of Exposure's prefix, see questions.prefix


class Dataset(Spec):
    """The data to train on. The defaults are the paper's 20 x (70 + 30 + 14 + 14) = 2,560.

    `source` is "synthetic" (fictitious people, strangers to every model), "public" (the public
    figures that a tiny base model grew up with: the Real Set of section 4), or a dataset folder,
    relative to the repository or absolute; then the other fields say nothing of it.
    """

    source: Place = Field("synthetic", description="synthetic, public, or a folder")
    # People and faces are numbered from the seed: below 10,000 x (89 + 2) and thus below all those
    # of training/corpus.py (from 910,001 and from a million), or the base would know one of them.
    seed: int = Field(0, ge=0, lt=90, description="draws people, faces and questions")
    identities: Several = Field(20, description="how many people are drawn")
    image_size: Pixels = Field(64, description="pixels, square")
    single: FewOrNone = Field(70, description="training questions per person, single-hop")
    multi: FewOrNone = Field(30, description="training questions per person, multi-hop")
    test_single: FewOrNone = Field(14, description="held-out questions per person, single-hop")
    test_multi: FewOrNone = Field(14, description="held-out questions per person, multi-hop")


class Base(Spec):
    """The networks that experiments start from, by the name under which tables show them."""

    tower: VisionTower | None = Field(
        description="the vision tower that tiny networks share; a Hub network has its own"
    )
    networks: dict[str, Network] = Field(description="by name")


class Evaluate(Spec):
    """How answers are generated. Nothing here retrains anything."""

    batch: Count = Field(description="sequences in memory at once")
    max_new_tokens: Tokens = Field(description="after which an answer is cut off")
    prefix_template: PrefixTemplate = Field(
        "plain", description="the words before the value in Exposure's prefix"
    )
    exposure: bool = Field(True, description="whether candidates are ranked at all")


class Shape(Spec):
    """The shape of another benchmark's data."""

    identities: Several = Field(description="people")
    single: FewOrNone = Field(description="single-hop questions about each")
    multi: FewOrNone = Field(description="multi-hop questions about each")
    names: FewOrNone = Field(description="of the latter, how many ask for the name")
    pictures: Few = Field(description="pictures of each")

    @model_validator(mode="after")
    def _names_are_multi_hop(self):
        if self.names > self.multi:
            raise ValueError(f"names is {self.names}, of {self.multi} multi-hop questions in all")
        return self


class Diagnosis(Spec):
    """Fig 1, 2 and 5: data of other benchmarks' shape, and public figures."""

    shapes: dict[str, Shape] = Field(description="the other benchmarks' shapes, by name")
    files: dict[str, Dataset] = Field(
        {}, description="their own samples, converted, which then stand for the shape"
    )
    real: Dataset | None = Field(
        description="public figures that the base model knows; null: none at hand"
    )
    asked: Several = Field(description="people of each shape who are asked about, the first of all")
    questions_per_person: Few = Field(description="where questions are made few")
    pictures_per_person: Few = Field(1, description="where pictures are made few")
    updates: Count | None = Field(
        None,
        description="optimiser steps where one thing is changed at a time; null: ReMem's own",
    )


class Repeated(Spec):
    """People who are trained on alone, one at a time or together, and by how many of the seeds."""

    people: Few = Field(description="how many people")
    seeds: Few = Field(description="by how many of the seeds")


class Scaling(Repeated):
    """Fig 3a and 3b: more and more questions about one person."""

    samples: tuple[Few, ...] = Field(min_length=2, description="numbers of questions")
    controlled: tuple[Few, ...] = Field(
        min_length=2, description="those of them that have the control as well"
    )
    updates: Count = Field(description="optimiser steps in the control with equal updates")
    single: Percent = Field(description="percent of the questions that are single-hop")


class Mix(Repeated):
    """One setting of Fig 3c."""

    samples: Few = Field(description="questions about each person")


class Hops(Spec):
    """Fig 3c: shares of single-hop questions, about one person at a time, as in the paper, and
    about several at once, who have to be distinguished."""

    shares: tuple[Percent, ...] = Field(min_length=2, description="percent single-hop")
    one_person: Mix = Field(description="one person at a time")
    several_people: Mix = Field(description="several at once")


class Trace(Spec):
    """Causal tracing (Fig 2 and 5)."""

    window: Few = Field(description="layers restored together, an odd number")
    floor: Annotated[
        Share,
        Field(description="total effect (a probability) below which no trace is read"),
        NOT_IN_DIGEST,
    ]
    people: Several = Field(description="of each set")
    pictures: Few = Field(description="of each person")
    noise: Scale = Field(description="on the subject, in standard deviations of embeddings")
    samples: Few = Field(description="of that noise, averaged")
    batch: Annotated[Count, Field(description="restored runs in memory at once"), NOT_IN_DIGEST]

    @model_validator(mode="after")
    def _centred(self):
        if self.window % 2 == 0:
            raise ValueError(f"window should be odd, {self.window} has no middle layer")
        return self


class Controls(Spec):
    """Name swap, picture swap, no picture: do answers come from the name, and from the face?"""

    per_person: Few = Field(description="held-out questions of each hop about each person")
    seeds: Few = Field(description="by how many of the seeds the methods are asked")


class Ability(Spec):
    """General ability (Table 4): multiple-choice questions in MMBench's format."""

    source: Place | None = Field(
        "synthetic",
        description="synthetic, or an MMBench TSV file; null: Table 4 is left out",
    )
    questions: Count = Field(description="how many are drawn, where they are synthetic")
    generated: int = Field(
        ge=0,
        le=1_000_000,
        description="of how many, the first, an answer is generated in each rotation as well",
    )
    image_size: Pixels = Field(description="pixels of a drawn picture")
    seed: Seed = Field(description="of the drawn questions")
    instruction: str = Field("", description="a last line under the options")
    batch: Annotated[Count, Field(description="sequences in memory at once"), NOT_IN_DIGEST]
    max_new_tokens: Tokens = Field(description="after which an answer is cut off")


class Draws(Spec):
    """Forget ratios, and how often others are forgotten at each: one draw in the forget set of each
    seed, then a second there, and so on, as far as there is room for disjoint ones."""

    shares: tuple[Part, ...] = Field(min_length=1, description="of the identities to forget")
    draws: tuple[Few, ...] = Field(
        min_length=1, description="of people to forget, at each of these shares"
    )

    @model_validator(mode="after")
    def _as_many(self):
        if len(self.draws) != len(self.shares):
            raise ValueError(f"draws has {len(self.draws)} values, for {len(self.shares)} shares")
        return self


class Ratios(Spec):
    """Forget ratios (Fig 6 and 7): of the first model, of the others, and of the first again with
    as many updates as Table 2's set takes."""

    first: Draws = Field(description="of the first model")
    others: Draws = Field(description="of the other models")
    equal_updates: Draws = Field(description="of the first model, in the control")


class Curves(Spec):
    """Each method epoch by epoch, for which checkpoints are kept."""

    seeds: Few = Field(description="by how many of the seeds")


class Sensitivity(Spec):
    """What Table 2 hangs on that the paper leaves open."""

    betas: tuple[Scale, ...] = Field(min_length=1, description="values of beta of DPO and of NPO")


class Experiments(Spec):
    """What is done beside Tables 2 and 3, by experiment."""

    diagnosis: Diagnosis
    scaling: Scaling
    hops: Hops
    trace: Trace
    controls: Controls
    ability: Ability
    keep_adapters: bool = Field(
        True, description="also of lessons and forget ratios, whose answers alone are read"
    )
    curves: Curves
    sensitivity: Sensitivity
    ratios: Ratios


class Benchmark(Spec):
    """Another benchmark, or a folder, whose people are trained on and unlearned in place of
    `dataset`'s. In YAML a name alone will do (its files are in data/<name>), or a folder alone."""

    name: Literal["remem", "fiubench", "mllmu", "clear", "own"]
    folder: Place = Field(description="of its files")
    columns: dict[str, str] = Field(
        {}, description="of ReMem's release: our columns' names to theirs"
    )

    @model_validator(mode="before")
    @classmethod
    def _in_a_word(cls, given: Any) -> Any:
        if isinstance(given, str):
            known = given in BENCHMARKS
            given = {"name": given} if known else {"name": "own", "folder": given}
        if isinstance(given, dict) and given.get("name") in BENCHMARKS:
            given = {"folder": f"{paths.DATA.name}/{given['name']}"} | given
        return given

    @model_validator(mode="after")
    def _columns_of_remem(self) -> Benchmark:
        if self.columns and self.name != "remem":
            raise ValueError("columns are declared for remem alone; leave them out")
        return self

    @property
    def title(self) -> str:
        """How tables call it."""
        return BENCHMARKS.get(self.name) or f"{Path(self.folder).name or self.folder} (own)"


class Config(Spec):
    """Everything that can be set: what a notebook, a script or the command line starts from."""

    scale: Literal["smoke", "quick", "tiny", "small", "paper"]
    outputs: str | None = Field(
        None, description="folder below outputs/ for tables and figures; null: the scale's name"
    )
    models: tuple[str, ...] = Field(description="which of base.networks; the first is used most")
    seeds: tuple[Annotated[int, Field(ge=1, lt=2**31)], ...] = Field(
        description="from 1 on: 0 is kept for tuning"
    )
    workers: AtOnce = Field(description="runs at once, each a process of one thread if above 1")
    cluster: Annotated[
        Cluster | None,
        Field(description="a Ray cluster that makes the runs: auto; null: this machine does"),
        NOT_IN_DIGEST,
    ] = None
    dataset: Dataset
    base: Base
    stage1: Stage1
    stage2: Stage2
    evaluate: Evaluate
    experiments: Experiments
    services: Services = Services()  # pyright: ignore[reportCallIssue]
    judge: Judge
    benchmark: Benchmark | None = Field(
        description="null: what `dataset` says. Or remem, fiubench, mllmu, clear, or a folder"
    )
    construction: Construction

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        for key in ("models", "seeds"):
            values = getattr(self, key)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{key} should hold at least one value, and none twice")
        unknown = [name for name in self.models if name not in self.base.networks]
        if unknown:
            known = ", ".join(self.base.networks)
            raise ValueError(f"models names {', '.join(unknown)}, but base.networks has {known}")
        if self.outputs is not None and not paths.is_plain_name(self.outputs):
            raise ValueError(f"outputs {self.outputs!r} is not a plain name such as 'my_people'")
        if self.outputs in SCALES and self.outputs != self.scale:
            raise ValueError(f"outputs {self.outputs!r} is where that scale's own go")
        return self

    @property
    def folders(self) -> paths.Folders:
        """Where tables, figures and runs go. Runs are shared by all outputs of a scale."""
        return paths.outputs(self.outputs or self.scale, runs_of=self.scale)

    @property
    def account(self) -> Account:
        """Where services' answers are kept, and what they may cost. Shared as the runs are."""
        folders = self.folders
        return Account(folders.services, self.services.budget, folders.former_services)

    @property
    def data_name(self) -> str:
        """How tables call the data of stage 1: ReMem, another benchmark, or a folder's name."""
        if self.benchmark is not None:
            return self.benchmark.title
        if self.dataset.source in MADE:
            return paper.REMEM
        return f"{Path(self.dataset.source).name} (own)"

    @property
    def is_remem(self) -> bool:
        """Whether the paper's numbers may stand beside ours: they are of ReMem's people."""
        return self.data_name == paper.REMEM

    @property
    def synthetic(self) -> bool:
        """Whether stage 1's people are drawn by code."""
        return self.benchmark is None and self.dataset.source in MADE

    @property
    def verdict_scope(self) -> str:
        """What a verdict is about: "paper" where the paper's models are trained on its own data,
        else the scale, or the data, or both."""
        if self.synthetic:
            return self.synthetic_scope
        if self.scale == "paper":
            return "paper" if self.is_remem else self.data_name
        return f"{self.synthetic_scope} {self.data_name}"

    @property
    def synthetic_scope(self) -> str:
        """The same for experiments whose people are always drawn by code: the toy people of section
        5, and shapes of other benchmarks. Scale quick has tiny's world, and fewer runs in it."""
        return {"paper": "drawn", "quick": "tiny"}.get(self.scale, self.scale)

    @property
    def diagnosis_scope(self) -> str:
        """The same for the diagnosis, which is about other benchmarks as well."""
        shapes = set(self.experiments.diagnosis.shapes) - set(self.experiments.diagnosis.files)
        drawn = self.verdict_scope == "paper" and shapes
        return self.synthetic_scope if drawn else self.verdict_scope

    @property
    def stage1_seeds(self) -> tuple[int, ...]:
        """The seeds of the stage 1s that the seeds of stage 2 begin from."""
        return tuple(dict.fromkeys(map(self.stage1_seed, self.seeds)))

    def stage1_seed(self, seed: int) -> int:
        """Which seed's stage 1 a seed begins from: the tuning seed 0 has its own."""
        return 1 + (seed - 1) % self.stage1.seeds if seed else 0
