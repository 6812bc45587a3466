"""Stage 1, memorising, and the training loop that stage 2 shares (§7.2)."""

from __future__ import annotations

import functools
import json
import math
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field, model_validator
from torch import Tensor
from tqdm import tqdm

from remem import dataset, models, predict, pretrain, qa, runs
from remem.models import Batch, Features, Scores


class Fit(runs.Spec):
    """How a loss is driven down: AdamW, one learning rate with a schedule over all steps.

    `micro_batch` rows are in memory at once and change no gradient; `warmup` is a share of the
    steps; `clip` bounds the gradient's norm; `checkpointing` trades time for memory on a GPU.
    """

    epochs: int = Field(ge=0)
    batch: int = Field(ge=1)
    micro_batch: int = Field(ge=1)
    lr: float = Field(gt=0)
    schedule: Literal["cosine", "linear", "constant"]
    warmup: float = Field(ge=0, le=1)
    weight_decay: float = Field(ge=0)
    clip: float | None = Field(gt=0)
    checkpointing: bool = False

    def steps(self, rows: int) -> int:
        """Optimiser steps that all epochs over `rows` rows take."""
        return math.ceil(rows / self.batch) * self.epochs


class Stage1(Fit):
    """The `stage1` section: the adapter's size and how it is fitted. With `each_seed` every seed
    starts from a stage 1 of its own; otherwise stage 2's seeds share that of the first."""

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    each_seed: bool = False

    @model_validator(mode="after")
    def _alpha_follows_rank(self):
        if self.alpha != 2 * self.rank:
            raise ValueError(f"alpha is twice the rank in the paper: {2 * self.rank}")
        return self


class Lesson(runs.Spec):
    """A part of a dataset, to be taught alone (§4, §5): what shape of data makes stage 1 fail?

    `people` are identities (none given: all); `single` and `multi` are questions per person by
    hop (both None: all), shared among the attributes as in any dataset that is made (qa.counts;
    where a person lacks one of those, the first of each hop, as far as there are any); `pictures`
    per person go round (None: each question has its own). With `updates`, that many steps in place
    of the epochs.
    `asked` are the splits that are answered afterwards, about the same people.
    """

    people: tuple[str, ...] = ()
    single: int | None = Field(default=None, ge=0)
    multi: int | None = Field(default=None, ge=0)
    pictures: int | None = Field(default=None, ge=1)
    updates: int | None = Field(default=None, ge=1)
    asked: tuple[Literal["train", "test"], ...] = dataset.SPLITS

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The training rows of this lesson. ValueError when the dataset has too few."""
        train = rows[rows["split"] == "train"]
        people = list(dict.fromkeys(train["identity"]))
        if unknown := sorted(set(self.people) - set(people)):
            raise ValueError(f"nobody in the dataset is called {', '.join(unknown)}")
        parts = []
        for who in self.people or people:
            own = train[train["identity"] == who]
            part = own if self.single is None else self._first(own, people.index(who))
            if self.pictures is not None:
                shown = own["image"].drop_duplicates().to_numpy()[: self.pictures]
                part = part.assign(image=np.resize(shown, len(part)))
            parts.append(part)
        return pd.concat(parts)

    def _first(self, own: pd.DataFrame, person: int) -> pd.DataFrame:
        """Of one person's training rows the first of each kind: a smaller lesson lies within a
        larger one."""

        def first(counts: dict[tuple[str, ...], int], *by: str) -> pd.DataFrame:
            kinds = own[[*by]].itertuples(index=False, name=None)
            wanted = np.array([counts.get(kind, 0) for kind in kinds])
            return own[own.groupby([*by]).cumcount().to_numpy() < wanted]

        counts = qa.counts("train", self.single, self.multi, person)
        part = first(counts, "attribute", "hop")
        if not {kind[0] for kind, count in counts.items() if count} <= {*own["attribute"]}:
            return first({("single",): self.single, ("multi",): self.multi}, "hop")
        if len(part) < self.single + self.multi:
            raise ValueError(
                f"the dataset has too few training questions about {own['identity'].iloc[0]} for a "
                f"lesson of {self.single} single-hop and {self.multi} multi-hop ones; raise its "
                "single and multi"
            )
        return part


class Stage1Spec(runs.Spec):
    """One stage-1 run. `exclude` names identities that are left out of training (the retrained
    row of Table 2); they are still asked about. A `lesson` teaches, and asks about, a part of the
    dataset. epochs=0 is the untrained base (Table 3)."""

    kind: ClassVar[str] = "stage1"
    revision: ClassVar[int] = 2
    base: pretrain.BaseSpec
    dataset: dataset.DatasetSpec
    stage1: Stage1
    evaluate: predict.Evaluate
    exclude: tuple[str, ...] = ()
    lesson: Lesson | None = None
    seed: int

    @model_validator(mode="after")
    def _one_of_two(self):
        if self.exclude and self.lesson:
            raise ValueError("a lesson names whom it teaches: leave exclude out")
        return self

    def taught(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that are trained on, of all rows of the dataset."""
        if self.lesson:
            return self.lesson.of(rows)
        return rows[(rows["split"] == "train") & ~rows["identity"].isin(self.exclude)]

    def asked(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that are answered afterwards. A retrained model is a row of Table 2, so it is
        asked what that table asks, and no more."""
        if self.exclude:
            return dataset.evaluated(rows, self.exclude)
        if not self.lesson:
            return rows
        taught = self.taught(rows)
        held_out = rows[(rows["split"] == "test") & rows["identity"].isin(set(taught["identity"]))]
        return pd.concat([taught, held_out])[
            lambda table: table["split"].isin(self.lesson.asked)
        ].reset_index(drop=True)


class Examples:
    """A table of rows as tokens, made once, with the features of their images."""

    def __init__(self, processor, questions, answers, images, features: Features, patches: int):
        self.encoded = models.encode_all(processor, list(questions), list(answers), patches)
        self.images, self.features = list(images), features
        self.pad_id = processor.tokenizer.pad_token_id
        self.lengths = np.array([len(e.ids) for e in self.encoded])
        self.prompts = np.array([e.n_prompt for e in self.encoded])
        self.recalled = np.full(len(self.encoded), np.nan, dtype=np.float32)  # see Reference

    def batch(self, chosen: Sequence[int], whole: Sequence[int]) -> Batch:
        """The rows `chosen`, with the totals of the optimiser batch `whole` that they belong to."""
        return models.collate(
            [self.encoded[i] for i in chosen],
            self.features[[self.images[i] for i in chosen]],
            self.pad_id,
            tokens_total=int((self.lengths[whole] - self.prompts[whole]).sum()),
            rows_total=len(whole),
            positions_total=int((self.lengths[whole] - 1).sum()),
        )


class Reference:
    """What the frozen copy of stage 1 says to some rows of `examples`, asked when it is wanted.

    As Scores, of which the losses need `sequence` and `logits`. The sum of a row is the same in
    every epoch, so that it is asked for once.
    """

    def __init__(self, ask: Callable[[], Scores], examples: Examples, rows: np.ndarray, device):
        self._ask, self._examples, self._rows, self._device = ask, examples, rows, device

    @property
    def logits(self) -> Tensor:
        return self._ask().logits

    def sequence(self) -> Tensor:
        recalled = self._examples.recalled
        if np.isnan(recalled[self._rows]).any():
            said = self._ask().sequence()
            recalled[self._rows] = said.cpu().numpy()
            return said
        return torch.from_numpy(recalled[self._rows]).to(self._device)


Step = Mapping[str, np.ndarray]  # name of the examples -> indices of its rows, equally many each
Loss = Callable[[Callable[..., Scores | Reference], Fit], Tensor]


def cross_entropy(scores: Callable[..., Scores], settings: Fit) -> Tensor:
    """Stage 1's loss: mean cross-entropy per answer token, end-of-sequence included."""
    return scores("train").ce()


def shuffled(
    rows: int, settings: Fit, rng: np.random.Generator, updates: int | None = None
) -> list[list[np.ndarray]]:
    """For each epoch the batches of a fresh permutation of `rows` rows; the last may be short.
    With `updates`, as many epochs as that many batches take, the last of them cut off."""
    per_epoch = math.ceil(rows / settings.batch)
    steps = settings.steps(rows) if updates is None else updates
    epochs = []
    for first in range(0, steps, per_epoch):
        order = rng.permutation(rows)
        batches = [order[i : i + settings.batch] for i in range(0, rows, settings.batch)]
        epochs.append(batches[: steps - first])
    return epochs


def fit(
    model,
    examples: Mapping[str, Examples],
    plan: Sequence[Sequence[Step]],
    loss: Loss,
    settings: Fit,
    on_epoch: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Train what is trainable in `model` on the steps of `plan` (epochs of steps).

    `loss(scores, settings)` asks `scores(name, positions="answer", reference=False)` for what it
    needs and returns a sum that is divided by totals of the whole step, so that the gradients of
    micro-batches add up to those of the step exactly. `on_epoch(epoch)` is called after each
    epoch, counted from 1. Returns step, epoch, lr, loss, seconds per step. FloatingPointError if
    the loss is no longer a number.
    """
    from transformers import get_scheduler

    steps = sum(map(len, plan))
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        weights, lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    schedule = get_scheduler(name, optimiser, math.ceil(settings.warmup * steps), steps)
    if settings.checkpointing:
        models.inner(model).activation_checkpointing_enable()
        model.enable_input_require_grads()
    history = []
    quiet = multiprocessing.parent_process() is not None  # a worker: the sweep has the bar
    with tqdm(total=steps, desc="training", unit="step", disable=quiet or not steps) as bar:
        for epoch, epoch_steps in enumerate(plan, start=1):
            model.train()
            for step in epoch_steps:
                started, value = time.perf_counter(), 0.0
                # Rows of like length in a micro-batch: less padding, and the sums stay the same.
                lengths = next(examples[name].lengths[chosen] for name, chosen in step.items())
                order, rows = lengths.argsort(kind="stable"), len(lengths)
                step = {name: chosen[order] for name, chosen in step.items()}
                for first in range(0, rows, settings.micro_batch):
                    part = slice(first, first + settings.micro_batch)
                    share = loss(functools.partial(_scores, model, examples, step, part), settings)
                    share.backward()
                    value += share.item()
                if not math.isfinite(value):
                    raise FloatingPointError(
                        f"the loss is {value} at step {len(history) + 1} of {steps}: the learning "
                        f"rate {settings.lr:g} is too high"
                    )
                if settings.clip is not None:
                    torch.nn.utils.clip_grad_norm_(weights, settings.clip)
                rate = optimiser.param_groups[0]["lr"]
                optimiser.step()
                schedule.step()
                optimiser.zero_grad()
                seconds = round(time.perf_counter() - started, 4)
                history.append((len(history) + 1, epoch, rate, value, seconds))
                bar.set_postfix(loss=f"{value:.3f}", refresh=False)
                bar.update()
            model.eval()
            if on_epoch is not None:
                on_epoch(epoch)
    model.eval()
    return pd.DataFrame(history, columns=["step", "epoch", "lr", "loss", "seconds"])


def _scores(
    model, examples, step, part, name, positions="answer", reference=False
) -> Scores | Reference:
    rows = step[name][part]
    batch = examples[name].batch(rows, step[name])
    if not reference:
        return models.score(model, batch, positions)

    def ask() -> Scores:
        with models.as_reference(model):
            return models.score(model, batch, positions)

    return Reference(ask, examples[name], rows, models.inner(model).device)


def world(spec: Stage1Spec, runs_root: Path) -> tuple[str | Path, pd.DataFrame, Features]:
    """What a run of `spec` starts from: the base's folder or Hub id, all rows of the dataset, and
    the features of their images under that base (of those that the lesson shows, where it shows a
    few of many: features of LLaVA's are 5 MB a picture)."""
    base = pretrain.run(spec.base, runs_root)
    data = dataset.make(spec.dataset, runs_root)
    rows = dataset.read(data)
    shown = rows["image"]
    if spec.lesson and spec.lesson.pictures:
        shown = pd.concat([spec.taught(rows)["image"], spec.asked(rows)["image"]])
    features = models.features_run(base, data, shown, runs_root, spec.base.network.dtype)
    return base, rows, features


def keep(out: Path, history: pd.DataFrame, predictions: pd.DataFrame, by: Sequence[str]) -> None:
    """Write a run's history.csv, predictions.parquet and scores.json (means per `by`)."""
    history.to_csv(out / "history.csv", index=False)
    predictions.to_parquet(out / "predictions.parquet", index=False)
    scores = json.dumps(predict.means(predictions, by), indent=2)
    (out / "scores.json").write_text(scores + "\n", encoding="utf-8")


def run(spec: Stage1Spec, runs_root: Path) -> Path:
    """The folder of a stage-1 run: history.csv, adapter/, predictions.parquet, scores.json.

    Every row of the dataset is answered, or those of the lesson, and Exposure is taken on the
    training split. A retrained model (`exclude`) answers the rows of Table 2, and Exposure is that
    of the excluded.
    """
    return runs.ensure(spec, functools.partial(_make, spec, runs_root), runs_root)


def _make(spec: Stage1Spec, runs_root: Path, out: Path) -> None:
    base, rows, features = world(spec, runs_root)
    runs.seed_everything(spec.seed)
    model, processor = models.load(base, dtype=spec.base.network.dtype)
    model = models.add_adapter(model, spec.stage1.rank, spec.stage1.alpha, spec.seed)
    taught, asked = spec.taught(rows), spec.asked(rows)
    examples = Examples(
        processor, taught["question"], taught["answer"], taught["image"], features,
        models.patches(model),
    )  # fmt: skip
    updates = spec.lesson.updates if spec.lesson else None
    batches = shuffled(len(taught), spec.stage1, np.random.default_rng(spec.seed), updates)
    plan = [[{"train": batch} for batch in epoch] for epoch in batches]
    history = fit(model, {"train": examples}, plan, cross_entropy, spec.stage1)
    models.save_adapter(model, out / "adapter")
    models.fold(model)
    predictions = predict.evaluate(
        model, processor, asked, features, dataset.candidates(rows), spec.evaluate,
        exposed=(asked["split"] == "train")
        & asked["identity"].isin(spec.exclude or asked["identity"]),
    )  # fmt: skip
    keep(out, history, predictions, ["split", "hop"])
