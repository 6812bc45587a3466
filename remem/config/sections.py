"""The schema of the parameters: what each section of a scale's YAML holds, and what is allowed.

Plain values only: nothing here reads data or loads a network. `loading` reads a file into
`Config`; `remem params` lists every key with its default.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from remem import paper, paths
from remem.config.networks import Hub as Hub
from remem.config.networks import Network, VisionTower
from remem.config.networks import TinyLlava as TinyLlava
from remem.config.services import Construction, Judge
from remem.config.services import FaceSimilarity as FaceSimilarity
from remem.runs import NOT_IN_DIGEST, Spec

SCALES = ("smoke", "tiny", "paper")
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

    source: str = Field("synthetic", description="synthetic, public, or a folder")
    # People and faces are numbered from the seed: below 10,000 x (89 + 2) and thus below all those
    # of training/corpus.py (from 910,001 and from a million), or the base would know one of them.
    seed: int = Field(0, ge=0, lt=90, description="draws people, faces and questions")
    identities: int = Field(20, ge=2, lt=10_000, description="how many people are drawn")
    image_size: int = Field(64, ge=16, description="pixels, square")
    single: int = Field(70, ge=0, description="training questions per person, single-hop")
    multi: int = Field(30, ge=0, description="training questions per person, multi-hop")
    test_single: int = Field(14, ge=0, description="held-out questions per person, single-hop")
    test_multi: int = Field(14, ge=0, description="held-out questions per person, multi-hop")


class Base(Spec):
    """The networks that experiments start from, by the name under which tables show them."""

    tower: VisionTower | None = Field(
        description="the vision tower that tiny networks share; a Hub network has its own"
    )
    networks: dict[str, Network] = Field(description="by name")


class Optimiser(Spec):
    """How a loss is driven down: AdamW, one learning rate with a schedule over all steps."""

    epochs: int = Field(ge=0, description="passes over the rows")
    batch: int = Field(ge=1, description="rows in an optimiser step")
    micro_batch: Annotated[
        int, Field(ge=1, description="rows in memory at once; changes no gradient"), NOT_IN_DIGEST
    ]
    lr: float = Field(gt=0, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field(description="of the learning rate")
    warmup: float = Field(ge=0, le=1, description="share of the steps in which the rate rises")
    weight_decay: float = Field(ge=0, description="AdamW's")
    clip: float | None = Field(gt=0, description="bound on the gradient's norm, or null")
    checkpointing: Annotated[
        bool, Field(description="trades time for memory on a GPU"), NOT_IN_DIGEST
    ] = False

    def steps(self, rows: int) -> int:
        """Optimiser steps that all epochs over `rows` rows take."""
        return math.ceil(rows / self.batch) * self.epochs

    @property
    def optimiser(self) -> Optimiser:
        """These fields alone, without those that a section adds."""
        return Optimiser(**{name: getattr(self, name) for name in Optimiser.model_fields})


class Stage1(Optimiser):
    """Stage 1, memorising: the adapter's size and how it is fitted."""

    rank: int = Field(ge=1, description="of the LoRA matrices")
    alpha: int = Field(ge=1, description="LoRA's; twice the rank, as in the paper")
    each_seed: bool = Field(
        False, description="every seed has a stage 1 of its own; otherwise all share the first's"
    )

    @model_validator(mode="after")
    def _alpha_follows_rank(self):
        if self.alpha != 2 * self.rank:
            raise ValueError(f"alpha is twice the rank in the paper: {2 * self.rank}")
        return self


Hyperparameter = float | int | bool | str


class Stage2(Optimiser):
    """Stage 2, unlearning: which methods, and who is forgotten.

    A share of the identities that the seed draws, or for every seed `forget_set`: one that a
    benchmark brings, by its name, or the identities themselves.
    """

    methods: tuple[str, ...] = Field(min_length=1, description="which of the five are compared")
    hyperparameters: dict[str, dict[str, Hyperparameter]] = Field(
        {}, description="of a method, by its name: NPO: {beta: 0.1}"
    )
    forget_ratio: float = Field(gt=0, lt=1, description="share of the identities to forget")
    forget_set: str | tuple[str, ...] | None = Field(
        None, description="a benchmark's own forget set by name, or identities"
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in paper.METHODS:
                raise ValueError(
                    f"{name!r} is none of {', '.join(paper.METHODS)}; a method of your own is "
                    "handed to experiments.unlearning, see docs/method.md"
                )
        if len(set(names)) < len(names):
            raise ValueError("a method stands twice")
        return names


class Evaluate(Spec):
    """How answers are generated. Nothing here retrains anything."""

    batch: int = Field(ge=1, description="sequences in memory at once")
    max_new_tokens: int = Field(ge=1, description="after which an answer is cut off")
    prefix_template: PrefixTemplate = Field(
        "plain", description="the words before the value in Exposure's prefix"
    )
    exposure: bool = Field(True, description="whether candidates are ranked at all")


class Shape(Spec):
    """The shape of another benchmark's data."""

    identities: int = Field(ge=2, description="people")
    single: int = Field(ge=0, description="single-hop questions about each")
    multi: int = Field(ge=0, description="multi-hop questions about each")
    pictures: int = Field(ge=1, description="pictures of each")


class Diagnosis(Spec):
    """Fig 1, 2 and 5: data of other benchmarks' shape, and public figures."""

    shapes: dict[str, Shape] = Field(description="the other benchmarks' shapes, by name")
    files: dict[str, Dataset] = Field(
        {}, description="their own samples, converted, which then stand for the shape"
    )
    real: Dataset | None = Field(
        description="public figures that the base model knows; null: none at hand"
    )
    questions_per_person: int = Field(ge=1, description="where questions are made few")
    pictures_per_person: int = Field(1, ge=1, description="where pictures are made few")


class Repeated(Spec):
    """People who are trained on alone, one at a time or together, and by how many of the seeds."""

    people: int = Field(ge=1, description="how many people")
    seeds: int = Field(ge=1, description="by how many of the seeds")


class Scaling(Repeated):
    """Fig 3a and 3b: more and more questions about one person."""

    samples: tuple[int, ...] = Field(min_length=2, description="numbers of questions")
    updates: int = Field(ge=1, description="optimiser steps in the control with equal updates")
    single: int = Field(ge=0, le=100, description="percent of the questions that are single-hop")


class Mix(Repeated):
    """One setting of Fig 3c."""

    samples: int = Field(ge=1, description="questions about each person")


class Hops(Spec):
    """Fig 3c: shares of single-hop questions, about one person at a time, as in the paper, and
    about several at once, who have to be distinguished."""

    shares: tuple[Annotated[int, Field(ge=0, le=100)], ...] = Field(
        min_length=2, description="percent single-hop"
    )
    one_person: Mix = Field(description="one person at a time")
    several_people: Mix = Field(description="several at once")


class Trace(Spec):
    """Causal tracing (Fig 2 and 5)."""

    window: int = Field(ge=1, description="layers restored together, an odd number")
    floor: Annotated[
        float,
        Field(ge=0, le=1, description="total effect (a probability) below which no trace is read"),
        NOT_IN_DIGEST,
    ]
    people: int = Field(ge=2, description="of each set")
    pictures: int = Field(ge=1, description="of each person")
    noise: float = Field(gt=0, description="on the subject, in standard deviations of embeddings")
    samples: int = Field(ge=1, description="of that noise, averaged")
    batch: Annotated[int, Field(ge=1, description="restored runs in memory at once"), NOT_IN_DIGEST]

    @model_validator(mode="after")
    def _centred(self):
        if self.window % 2 == 0:
            raise ValueError(f"window should be odd, {self.window} has no middle layer")
        return self


class Ability(Spec):
    """General ability (Table 4): multiple-choice questions in MMBench's format."""

    source: str = Field("synthetic", description="synthetic, or an MMBench TSV file")
    questions: int = Field(ge=1, description="how many are drawn, where they are synthetic")
    image_size: int = Field(ge=16, description="pixels of a drawn picture")
    seed: int = Field(ge=0, description="of the drawn questions")
    instruction: str = Field("", description="a last line under the options")
    batch: Annotated[int, Field(ge=1, description="sequences in memory at once"), NOT_IN_DIGEST]
    max_new_tokens: int = Field(ge=1, description="after which an answer is cut off")


class Ratios(Spec):
    """Forget ratios (Fig 6 and 7)."""

    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        min_length=1, description="of the identities to forget"
    )
    seeds: int = Field(ge=1, description="by how many of the seeds")


class Experiments(Spec):
    """What is done beside Tables 2 and 3, by experiment."""

    diagnosis: Diagnosis
    scaling: Scaling
    hops: Hops
    trace: Trace
    ability: Ability
    ratios: Ratios


class Benchmark(Spec):
    """Another benchmark, or a folder, whose people are trained on and unlearned in place of
    `dataset`'s. In YAML a name alone will do (its files are in data/<name>), or a folder alone."""

    name: Literal["remem", "fiubench", "mllmu", "clear", "own"]
    folder: str = Field(min_length=1, description="of its files")
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

    scale: Literal["smoke", "tiny", "paper"]
    outputs: str | None = Field(
        None, description="folder below outputs/ for tables and figures; null: the scale's name"
    )
    models: tuple[str, ...] = Field(description="which of base.networks; the first is used most")
    seeds: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        description="from 1 on: 0 is kept for tuning"
    )
    workers: int = Field(ge=1, description="runs at once, each a process of one thread if above 1")
    dataset: Dataset
    base: Base
    stage1: Stage1
    stage2: Stage2
    evaluate: Evaluate
    experiments: Experiments
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
        return f"{self.scale} {self.data_name}"

    @property
    def synthetic_scope(self) -> str:
        """The same for experiments whose people are always drawn by code: the toy people of section
        5, and shapes of other benchmarks."""
        return "drawn" if self.scale == "paper" else self.scale

    @property
    def diagnosis_scope(self) -> str:
        """The same for the diagnosis, which is about other benchmarks as well."""
        shapes = set(self.experiments.diagnosis.shapes) - set(self.experiments.diagnosis.files)
        drawn = self.verdict_scope == "paper" and shapes
        return self.synthetic_scope if drawn else self.verdict_scope

    @property
    def stage1_seeds(self) -> tuple[int, ...]:
        """The seeds that have a stage 1 of their own: the first, or each (stage1.each_seed)."""
        return self.seeds if self.stage1.each_seed else self.seeds[:1]
