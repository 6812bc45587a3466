"""What a run takes, counted from its spec: steps, rows, answers, tokens, memory, bytes on the disk.

It is an estimate where it has to be: how often an answer is not its draft is not known before.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from remem import runs
from remem.config.networks import Hub, TinyLlava
from remem.config.sections import Optimiser
from remem.data import dataset, splits, validation
from remem.data.dataset import Data, RowsRun, SyntheticData
from remem.evaluation import controls, curves, mmbench
from remem.evaluation.answers import AnswerRun
from remem.evaluation.controls import ControlRun
from remem.evaluation.curves import CurveRun
from remem.evaluation.mmbench import AbilityRun, QuestionsRun
from remem.evaluation.signatures import SignatureRun
from remem.evaluation.tracing import TraceRun, people_in
from remem.model import folder, sizes
from remem.model.sizes import ADAPTER, Shape
from remem.paper import POSITIONS, STATES
from remem.runs import Run
from remem.synthetic import questions
from remem.training import shipped
from remem.training.base_model import BaseRun
from remem.training.inputs import FeaturesRun
from remem.training.stage1 import Stage1Run, Untrained
from remem.training.stage2 import Model, Stage2Run
from remem.training.vision_tower import TowerRun

TEMPLATE = 12  # tokens of a conversation besides its words
LETTERS = 3.5  # of English in a token, where there is no tokenizer here to ask
WRONG = 0.5  # of the answers are not their draft, and are written from where they leave it
FILE = 0.35  # bytes of a drawn picture's file, for each of its pixels
HALF = 2  # bytes: a base that is trained here is kept in half precision


class Work(NamedTuple):
    """What a run takes. Tokens are counted as often as they are read."""

    part: str
    base: BaseRun | None = None
    told: bool = True  # False: of a kind of run that is not known here
    steps: int = 0
    rows: int = 0  # trained on
    answers: int = 0
    ranked: int = 0  # rows whose candidates are
    pictures: int = 0  # through the tower
    drawn: int = 0  # pictures
    pixels: int = 0  # of a drawn one's side
    trained: float = 0.0  # tokens
    answered: float = 0.0  # tokens read for answers,
    written: float = 0.0  # written one by one,
    compared: float = 0.0  # read to rank candidates,
    read: float = 0.0  # and for all else
    whole: float = 0.0  # operations, of what is trained from nothing
    memory: float = 0.0  # bytes at the most
    disk: float = 0.0  # bytes


class Counter:
    """Counts runs; what several need, such as the rows of a dataset, is read once."""

    def __init__(self, runs_root: Path):
        self._root = Path(runs_root)
        self._rows: dict[Data, pd.DataFrame] = {}
        self._parts: dict[tuple[Data, tuple[str, ...]], dict[str, pd.DataFrame]] = {}
        self._lengths: dict[str, dict[str, int]] = {}
        self._asked_alike: dict[tuple, Work] = {}
        self._computed: set[tuple[str, Data]] = set()

    def work(self, spec: Run, done: bool = False) -> Work:
        """What a run takes; of a kind that is not known here nothing but its name. Features that
        are not stored count for the first run that wants them, and is not `done`."""
        work, of = self._work(spec), getattr(spec, "of", spec)
        if isinstance(of, Stage1Run | Stage2Run | Untrained):
            data = getattr(spec, "data", None) or of.data
            key = (named(of.base), data)
            computed = of.base.network.features == "computed"
            if computed and not done and key not in self._computed:
                self._computed.add(key)
                count = work.pictures + self._table(data)["image"].nunique()
                return work._replace(pictures=count)
        return work

    def _work(self, spec: Run) -> Work:
        match spec:
            case SyntheticData():
                pictures = self._table(spec)["image"].nunique()
                return Work(
                    "pictures",
                    drawn=pictures,
                    pixels=spec.image_size,
                    disk=pictures * FILE * spec.image_size**2,
                )
            case TowerRun() | BaseRun() if place := shipped.folder(spec):
                return Work("base", disk=float(sum(f.stat().st_size for f in place.iterdir())))
            case TowerRun():
                return _tower(spec)
            case BaseRun():
                return _base(spec)
            case FeaturesRun():
                return self._features(spec)
            case Stage1Run():
                return self._stage1(spec)
            case Stage2Run():
                return self._stage2(spec)
            case AnswerRun():
                return self._answers(spec)
            case CurveRun():
                views = self._views(spec.of.data, spec.of.forget)
                asked = curves.probe(views, len(spec.of.forget), spec.of.seed)
                epochs = spec.of.optimiser.epochs + 1
                return self._asked("curves", spec.of, asked, spec.batch, times=epochs)
            case ControlRun():
                rows = self._table(spec.data or spec.of.data)
                asked = controls.questions(rows, spec.per_person, spec.pictures)
                own = asked[asked["picture"] == "own"]
                return self._asked(
                    "controls", spec.of, asked, spec.batch, ranked=own if spec.ranked else own[:0]
                )
            case SignatureRun():
                rows = spec.of.train_rows(self._table(spec.of.data))
                people = rows["identity"].drop_duplicates()[: spec.people]
                shown = rows[rows["identity"].isin(people)].drop_duplicates("image")
                read = float(self._tokens(spec.of.base, shown, answer="name").sum())
                return self._asking(Work("signatures", spec.of.base, read=read), spec.batch)
            case TraceRun():
                return self._traced(spec)
            case AbilityRun():
                return self._ability(spec)
            case RowsRun():
                return Work("rows read")
            case QuestionsRun():
                return Work("questions", drawn=spec.questions, pixels=spec.image_size)
        return Work(spec.kind, told=False)

    def _table(self, data: Data) -> pd.DataFrame:
        if data not in self._rows:
            self._rows[data] = dataset.planned(data, self._root)
        return self._rows[data]

    def _views(self, data: Data, forget: tuple[str, ...]) -> dict[str, pd.DataFrame]:
        if (data, forget) not in self._parts:
            self._parts[data, forget] = splits.views(self._table(data), forget)
        return self._parts[data, forget]

    def _tokens(
        self, base: BaseRun, rows: pd.DataFrame, answer: str = "answer", picture: bool = True
    ) -> np.ndarray:
        """Tokens of each row: picture, question and answer."""
        asked = rows["question"].tolist() if answer == "answer" else [""] * len(rows)
        texts = [f"{q} {a}" for q, a in zip(asked, rows[answer], strict=True)]
        lengths = self._of_texts(base, texts)
        return lengths + TEMPLATE + (shape(base).patches if picture else 0)

    def _of_texts(self, base: BaseRun, texts: Sequence[str]) -> np.ndarray:
        tokenizer = _tokenizer(base, self._root)
        if tokenizer is None:
            return np.array([len(text) / LETTERS for text in texts])
        known = self._lengths.setdefault(named(base), {})
        new = [each for each in dict.fromkeys(texts) if each not in known]
        found = tokenizer.encode_batch(new, add_special_tokens=False)
        known |= {text: len(each.ids) for text, each in zip(new, found, strict=True)}
        return np.array([known[text] for text in texts], dtype=float)

    # ------------------------------------------------------------ training

    def _stage1(self, spec: Stage1Run) -> Work:
        rows = spec.train_rows(self._table(spec.data))
        part = "stage 1" if not spec.exclude else "retrained"
        return self._trained(part, spec, rows, spec.optimiser, spec.rank, kinds=1, kept=1)

    def _stage2(self, spec: Stage2Run) -> Work:
        rows = self._views(spec.data, spec.forget)["forget"]
        kept = spec.optimiser.epochs if spec.checkpoints else 1
        # A retained or refusing row, and the reference's pass, beside each row: methods differ.
        everywhere = spec.method.fields.get("positions") == "all"
        part = f"stage 2, {spec.method.name}{', all positions' * everywhere}"
        return self._trained(part, spec, rows, spec.optimiser, spec.start.rank, kinds=2, kept=kept)

    def _trained(
        self,
        part: str,
        spec: Stage1Run | Stage2Run,
        rows: pd.DataFrame,
        optimiser: Optimiser,
        rank: int,
        kinds: int,
        kept: int,
    ) -> Work:
        """`kinds` of rows are read in each step, and `kept` adapters are written."""
        of, usual = shape(spec.base), optimiser.steps(len(rows))
        steps = usual if spec.updates is None else spec.updates
        share = optimiser.epochs * steps / max(1, usual)
        lengths = self._tokens(spec.base, rows)
        numbers = of.adapter(rank)
        adapter = numbers * ADAPTER[of.dtype]
        longest = float(lengths.max()) if len(lengths) else 0.0
        at_once = min(optimiser.micro_batch, len(rows)) * longest
        activations = kinds * _activations(of, at_once, optimiser.checkpointing)
        # With each trained number go, in single precision, itself, its gradient and AdamW's two;
        # stage 2 has a frozen copy.
        memory = of.loaded + 16 * numbers + kinds * adapter + activations
        return Work(
            part,
            spec.base,
            steps=steps,
            rows=round(len(rows) * share),
            trained=kinds * share * float(lengths.sum()),
            memory=memory,
            disk=kept * adapter * spec.kept,
        )

    def _features(self, spec: FeaturesRun) -> Work:
        rows = self._table(spec.data)
        if spec.subset is not None:
            rows = spec.subset.eval_rows(rows, validation.SPLITS)
        of, count = shape(spec.base), rows["image"].nunique()
        one = of.patches * of.width * of.held
        memory = of.loaded + 64 * one
        return Work("features", spec.base, pictures=count, disk=count * one, memory=memory)

    # ------------------------------------------------------------ asking

    def _answers(self, spec: AnswerRun) -> Work:
        """What every model that is asked the same takes: methods, seeds and ratios share it."""
        of = spec.of
        key = (of.data, of.subset, named(of.base), spec.rows, spec.batch)
        key += (spec.max_new_tokens, spec.exposure, spec.perplexity)
        if key not in self._asked_alike:
            self._asked_alike[key] = self._answers_of(spec)
        return self._asked_alike[key]

    def _answers_of(self, spec: AnswerRun) -> Work:
        rows = self._table(spec.of.data)
        asked = spec.rows.of(rows, spec.of.subset)
        known = asked["attribute"].isin(splits.candidates(rows)) & spec.rows.secret(asked)
        held_out = asked[asked["split"] == "test"] if spec.perplexity else asked[:0]
        read = float(self._tokens(spec.of.base, held_out).sum())
        return self._asked(
            "answers",
            spec.of,
            asked if spec.max_new_tokens else asked[:0],
            spec.batch,
            ranked=asked[known] if spec.exposure else asked[:0],
            read=read,
        )

    def _asked(
        self,
        part: str,
        of: Model,
        asked: pd.DataFrame,
        batch: int,
        times: int = 1,
        ranked: pd.DataFrame | None = None,
        read: float = 0.0,
    ) -> Work:
        lengths = self._tokens(of.base, asked)
        answers = self._of_texts(of.base, asked["answer"].tolist())
        work = Work(part, of.base, answers=times * len(asked), read=read)
        # The draft is read once, and what is not it once more before it goes on.
        answered = times * (1 + WRONG) * float(lengths.sum())
        written = times * WRONG * float(answers.sum())
        work = work._replace(answered=answered, written=written, disk=200.0 * len(asked) * times)
        if ranked is not None and len(ranked):
            compared = self._ranked(of.base, self._table(of.data), ranked)
            work = work._replace(ranked=len(ranked), compared=compared)
        return self._asking(work, batch)

    def _ranked(self, base: BaseRun, rows: pd.DataFrame, ranked: pd.DataFrame) -> float:
        """Tokens: the picture and the prefix once, and all candidates after them."""
        total = 0.0
        candidates = splits.candidates(rows)
        for (attribute, hop), part in ranked.groupby(["attribute", "hop"], sort=False):
            values = candidates.get(str(attribute), [])
            prefix = questions.prefix(str(attribute), str(hop), part["name"].iloc[0])
            each = self._of_texts(base, [prefix, *values]).sum()
            total += len(part) * (shape(base).patches + TEMPLATE + float(each))
        return total

    def _traced(self, spec: TraceRun) -> Work:
        rows = spec.of.train_rows(self._table(spec.of.data))
        people = list(people_in(rows).values())[: spec.trace.people]
        asked = sum((1 + bool(each.facts)) for each in people) * spec.trace.pictures
        of = shape(spec.of.base)
        # Each cell is a row of its own from its layer on: half of the network, in the mean.
        cells = of.layers * len(STATES) * len(POSITIONS) / 2 + 2
        length = float(self._tokens(spec.of.base, rows[:20]).mean()) if len(rows) else 0.0
        read = asked * (2 + spec.trace.samples) * cells * length
        return self._asking(Work("traces", spec.of.base, read=read), spec.trace.batch)

    def _ability(self, spec: AbilityRun) -> Work:
        if isinstance(spec.questions, QuestionsRun):
            count, options, long = spec.questions.questions, 4, 40.0
        else:
            table = mmbench.read_questions(spec.questions, self._root)
            count, options, long = len(table), 4, 120.0
        of, generated = shape(spec.of.base), min(spec.generated, count) * options
        each = of.patches + TEMPLATE + long
        work = Work(
            "ability",
            spec.of.base,
            answers=generated,
            pictures=count,
            answered=generated * each,
            written=float(generated * min(spec.max_new_tokens, 10)),
            read=count * (each + 8 * options),
            disk=300.0 * (generated + count),
        )
        return self._asking(work, spec.batch)

    def _asking(self, work: Work, batch: int) -> Work:
        """With the memory that it takes: the weights, and what the layers keep of a batch."""
        assert work.base is not None
        of = shape(work.base)
        tokens = batch * (of.patches + 100)
        kept = tokens * of.layers * 2 * of.keys * of.held + tokens * of.width * of.held * 12
        return work._replace(memory=of.loaded + kept)


def shape(base: BaseRun) -> Shape:
    """The shape of a base model. Raises CannotLoad."""
    return _shape(base)


_shape: Any = functools.cache(lambda base: sizes.shape_of(base.network, base.tower))


def _activations(of: Shape, tokens: float, checkpointing: bool) -> float:
    """Bytes that a step keeps for its way back: of each token and layer, eleven numbers as wide as
    the network and four as its MLP."""
    layer = (11 * of.width + 4 * of.mlp) * of.held
    if checkpointing:  # what enters each layer, and one layer whole
        return tokens * (of.layers * of.width * of.held + layer)
    return tokens * of.layers * layer


def _tower(spec: TowerRun) -> Work:
    tower = spec.tower
    pictures = tower.faces * tower.views
    weights = sizes.Tower(tower.layers, tower.width, 4 * tower.width).weights
    patches = (tower.image_size // tower.patch) ** 2
    whole = 6.0 * weights * patches * pictures * tower.epochs
    disk = HALF * weights
    return Work("base", drawn=pictures, pixels=tower.image_size, whole=whole, disk=disk)


def _base(spec: BaseRun) -> Work:
    of, tiny = shape(spec), spec.network
    if not isinstance(tiny, TinyLlava):
        return Work("base")
    rows = tiny.steps * tiny.batch
    tokens = rows * (of.patches + 2 * TEMPLATE)
    whole, disk = 6.0 * of.layers * of.block * tokens, float(HALF * of.weights)
    return Work("base", steps=tiny.steps, rows=rows, whole=whole, disk=disk)


def _read_tokenizer(base: BaseRun, root: Path) -> Any:
    """That of a network; None where it is not here."""
    from tokenizers import Tokenizer

    if isinstance(base.network, Hub):
        try:
            place = folder.find(base.network.where)
        except folder.CannotLoad:
            return None
    else:
        place = shipped.folder(base) or runs.folder(base, root)
    file = place / "tokenizer.json"
    return Tokenizer.from_file(str(file)) if file.is_file() else None


_tokenizer: Any = functools.cache(_read_tokenizer)


def named(spec: Run) -> str:
    """runs.name, which takes milliseconds and is asked for again and again."""
    try:
        return _name(spec)
    except TypeError:  # a method of the user's own has a list, say
        return runs.name(spec)


_name: Any = functools.cache(runs.name)
