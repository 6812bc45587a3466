"""The parameters of a scale: one YAML file, merged with what a notebook was given, validated whole.

The fields of each section stand in the room that uses them; here they are only put together.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from remem import paths, readers, runs, tables
from remem.benchmarks import Ability
from remem.construct import Construction
from remem.dataset import MADE, BadData, DatasetSpec, addressed
from remem.judge import Judge
from remem.lessons import Diagnosis, Hops, Scaling
from remem.predict import Evaluate
from remem.pretrain import BaseSpec, Drawn, Hub, Tower
from remem.readers import Benchmark
from remem.runs import Spec
from remem.trace import Trace
from remem.train import Stage1, Stage1Spec
from remem.unlearn import Ratios, Stage2

SCALES = ("smoke", "tiny", "paper")

# how pydantic says it, and how a person who edits YAML would
PLAIN_WORDS = {
    "Input should be": "it should be",
    "a valid integer": "a whole number",
    "a valid array": "a list",
    "a valid tuple": "a list",
    "an object": "keys with values",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid number": "a number",
}


class BadParameter(ValueError):
    """A parameter that cannot be used; the message names file and key, and what is allowed."""


# A network with `hub` is one of the Hub's. Told apart, a wrong key is reported for one kind only.
KINDS = {"<hub>": Hub, "<drawn>": Drawn}
NetworkOfOneKind = Annotated[
    Annotated[Hub, Tag("<hub>")] | Annotated[Drawn, Tag("<drawn>")],
    Discriminator(  # a name left empty is no mapping, and is reported as a drawn one that is none
        lambda given: "<hub>" if isinstance(given, Mapping) and "hub" in given else "<drawn>"
    ),
]


class Base(Spec):
    """The networks that the experiments start from, by the name under which tables show them."""

    tower: Tower | None  # the vision tower that the drawn networks share; a Hub network has its own
    networks: dict[str, NetworkOfOneKind]

    def spec(self, name: str) -> BaseSpec:
        """What `pretrain.run` takes, for one of the networks."""
        network = self.networks[name]
        return BaseSpec(network=network, tower=None if isinstance(network, Hub) else self.tower)


class Experiments(Spec):
    """What is done beside Tables 2 and 3, by experiment."""

    diagnosis: Diagnosis  # Fig 1, 2, 5
    scaling: Scaling  # Fig 3a, 3b
    hops: Hops  # Fig 3c
    trace: Trace  # Fig 2, 5
    ability: Ability  # Table 4
    ratios: Ratios  # Fig 6, 7


class Params(Spec):
    """Everything that a notebook can be told; the keys are papermill's parameters as well."""

    scale: Literal["smoke", "tiny", "paper"]
    models: tuple[str, ...]
    seeds: tuple[Annotated[int, Field(ge=1)], ...]  # from 1 on: 0 is kept for tuning
    workers: int = Field(ge=1)  # runs at once, each a process of one thread when above 1
    dataset: DatasetSpec
    base: Base
    stage1: Stage1
    stage2: Stage2
    evaluate: Evaluate
    experiments: Experiments
    judge: Judge
    benchmark: Benchmark | None  # None: what `dataset` says
    construction: Construction

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        for key in ("models", "seeds"):
            values = getattr(self, key)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{key} should hold at least one value, and none twice")
        unknown = [name for name in self.models if name not in self.base.networks]
        if unknown:
            known = ", ".join(self.base.networks)
            raise ValueError(f"models names {', '.join(unknown)}, but base.networks has {known}")
        return self

    @property
    def taught(self) -> str:
        """How tables call the data of stage 1: ReMem, another benchmark, or a folder's name."""
        if self.benchmark is not None:
            return self.benchmark.title
        if self.dataset.source in MADE:
            return tables.REMEM
        return f"{Path(self.dataset.source).name} (own)"

    @property
    def world(self) -> str:
        """Of which world a verdict speaks: "paper" where its models were taught its own data, else
        the scale, or the data, or both."""
        if self.dataset.source in MADE:
            return self.drawn
        if self.scale == "paper":
            return "paper" if self.taught == tables.REMEM else self.taught
        return f"{self.scale} {self.taught}"

    @property
    def drawn(self) -> str:
        """The same for what is always asked of people drawn by code: the toy people of section 5,
        and shapes of other benchmarks."""
        return "drawn" if self.scale == "paper" else self.scale

    @property
    def compared(self) -> str:
        """The same for the diagnosis, which is about other benchmarks as well."""
        shapes = set(self.experiments.diagnosis.shapes) - set(self.experiments.diagnosis.files)
        return self.drawn if self.world == "paper" and shapes else self.world

    @property
    def stage1_seeds(self) -> tuple[int, ...]:
        """The seeds that have a stage 1 of their own: the first, or each (stage1.each_seed)."""
        return self.seeds if self.stage1.each_seed else self.seeds[:1]

    def start(self, model: str, seed: int, exclude: tuple[str, ...] = ()) -> Stage1Spec:
        """The stage 1 of `model` that `seed` starts from; with identities to `exclude`, the model
        retrained without them. A seed that is not reported (the tuning seed) has its own."""
        shared = seed in self.seeds and seed not in self.stage1_seeds
        return Stage1Spec(
            base=self.base.spec(model), dataset=self.dataset, stage1=self.stage1,
            evaluate=self.evaluate, exclude=exclude, seed=self.seeds[0] if shared else seed,
        )  # fmt: skip

    def untrained(self, model: str) -> Stage1Spec:
        """The base model, asked what stage 1 is asked: no epoch, the same code."""
        start = self.start(model, self.seeds[0])
        return start.model_copy(update={"stage1": start.stage1.model_copy(update={"epochs": 0})})


def load(scale: str = "tiny", **sections: Any) -> Params:
    """The parameters of `scale`, with each section that is not None laid over the file's.

    A mapping is merged into the file's mapping key by key; anything else replaces it.
    Raises BadParameter.
    """
    if scale not in SCALES:
        known = ", ".join(SCALES)
        raise BadParameter(f"scale: {scale!r}{_meant(scale, SCALES)} is not one of {known}")
    return load_file(paths.PARAMS / f"{scale}.yaml", sections)


def load_file(path: Path, overrides: Mapping[str, Any] | None = None) -> Params:
    """As `load`, for a parameter file of one's own. A dataset folder is addressed by content."""
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    merged = _merge(_read(Path(path)), given)
    try:
        # as JSON: there a list may stand for a tuple, and everything else stays strict
        text = json.dumps(merged)
    except (TypeError, ValueError) as error:
        raise BadParameter(f"{path}: {error}; use plain text, numbers, lists and keys") from error
    try:
        settings = Params.model_validate_json(text)
        return _addressed(settings)
    except ValidationError as error:
        raise BadParameter(_explain(error, path, given)) from None
    except BadData as error:
        raise BadParameter(f"{path}: {error}") from error


def _addressed(settings: Params) -> Params:
    """With the content of each dataset that is a folder, and a benchmark's files as the dataset."""
    if settings.benchmark is not None:
        benchmark = readers.addressed(settings.benchmark)
        made = readers.make(benchmark, paths.outputs(settings.scale).runs)
        source = made.relative_to(paths.ROOT) if made.is_relative_to(paths.ROOT) else made
        own = settings.dataset
        if own.source != str(source):  # else it is given with its content, as to a notebook
            own = own.model_copy(update={"source": str(source), "content": None})
        settings = settings.model_copy(update={"benchmark": benchmark, "dataset": own})
    experiments, diagnosis = settings.experiments, settings.experiments.diagnosis
    real = diagnosis.real and addressed(diagnosis.real)
    files = {name: addressed(spec) for name, spec in diagnosis.files.items()}
    diagnosis = diagnosis.model_copy(update={"real": real, "files": files})
    experiments = experiments.model_copy(update={"diagnosis": diagnosis})
    found = {"dataset": addressed(settings.dataset), "experiments": experiments}
    return settings.model_copy(update=found)


def changes(settings: Params) -> dict[str, Any]:
    """Dotted key -> value, where `settings` are not what params/<scale>.yaml says (None: without
    that key)."""
    ours, standard = (
        runs.flat(each.model_dump(mode="json")) for each in (settings, load(settings.scale))
    )
    keys = [*ours, *(key for key in standard if key not in ours)]
    return {key: ours.get(key) for key in keys if ours.get(key) != standard.get(key)}


class _Strict(yaml.SafeLoader):
    """SafeLoader, but a key is plain text, and one that stands twice is an error (YAML itself
    keeps the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a key should be plain text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Strict)  # a SafeLoader
    except OSError as error:
        raise BadParameter(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or the 31st of February
        raise BadParameter(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise BadParameter(f"{path}: should hold keys and values, such as 'scale: tiny'")
    return content


def _merge(below: Any, above: Any) -> Any:
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: _merge(below.get(key), value) for key, value in above.items()}}


def _explain(error: ValidationError, path: Path, given: Mapping[str, Any]) -> str:
    lines = []
    for problem in error.errors():
        place = tuple(step for step in problem["loc"] if step not in KINDS)
        source = "given on top of the file" if _holds(given, place) else str(path)
        key = ".".join(map(str, place)) or "the parameters"
        lines.append(f"{source}: {key}: {_reason(problem)}")
    return "\n".join(lines)


def _reason(problem: dict[str, Any]) -> str:
    place, kind, value = problem["loc"], problem["type"], problem["input"]
    if kind == "extra_forbidden":
        allowed = sorted(_fields(place[:-1]))
        return f"unknown key{_meant(str(place[-1]), allowed)}; allowed here: {', '.join(allowed)}"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return problem["msg"].removeprefix("Value error, ")
    reason = f"{json.dumps(value)} was given; {problem['msg']}"
    for words, plain in PLAIN_WORDS.items():
        reason = reason.replace(words, plain)
    if kind == "float_type" and isinstance(value, str) and _is_number(value):
        reason += f". YAML reads {value} as text: write {_with_point(value)}"
    return reason


def _fields(place: tuple[int | str, ...]) -> set[str]:
    """The keys that the model at `place` knows."""
    kind: Any = Params
    for step in place:
        if step in KINDS:
            kind = KINDS[step]
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            field = getattr(kind, "model_fields", {}).get(str(step))
            kind = field.annotation if field else None
        if get_origin(kind) in (Union, UnionType):  # such as "Tower | None"
            kind = get_args(kind)[0]
    return set(getattr(kind, "model_fields", ()))


def _holds(given: Any, place: tuple[int | str, ...]) -> bool:
    for step in place:
        if not isinstance(given, Mapping):
            return True  # a list, or a plain value where the file would have keys
        if step not in given:
            return False
        given = given[step]
    return bool(place)


def _meant(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_point(text: str) -> str:
    digits, _, exponent = text.lower().partition("e")
    return f"{digits if '.' in digits else digits + '.0'}" + (f"e{exponent}" if exponent else "")
