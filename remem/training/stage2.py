"""Stage 2, unlearning: stage 1's adapter trained on with a method's loss (§7.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field
from torch import Tensor

from remem import runs
from remem.config.sections import Optimiser
from remem.data import splits
from remem.data.dataset import Data
from remem.model import adapters, resident
from remem.runs import Run
from remem.training.base_model import BaseRun
from remem.training.inputs import inputs
from remem.training.loop import Examples, Step, fit, shuffled
from remem.training.method_source import BadMethod
from remem.training.methods import Ask, Method
from remem.training.stage1 import Stage1Run, TrainRun, Untrained


class Stage2Run(TrainRun):
    """One run of unlearning: the model of `start`, made to forget the identities `forget`.

    With `updates`, that many optimiser steps in place of the epochs. With `checkpoints` the folder
    also holds the adapter after each epoch but the last, in `checkpoints/<epoch>/`.
    """

    kind: ClassVar[str] = "stage2"
    revision: ClassVar[int] = 3  # 2: DPO's refusals; 3: the first update's rate is above zero
    subset: ClassVar[None] = None  # it is evaluated on all of its data
    start: Stage1Run
    method: Method
    forget: tuple[str, ...] = Field(min_length=1)
    optimiser: Optimiser
    updates: int | None = Field(default=None, ge=1)
    checkpoints: bool = False
    seed: int

    @property
    def base(self) -> BaseRun:
        """The base model below both stages."""
        return self.start.base

    @property
    def data(self) -> Data:
        """The data of both stages."""
        return self.start.data

    def needs(self) -> Sequence[Run]:
        """Stage 1, and what that needs."""
        return (self.start, *self.start.needs())

    def checkpoint(self, runs_root: Path, epoch: int) -> Path:
        """The folder of the adapter after an epoch; 0 is stage 1's."""
        if epoch == 0:
            return self.start.adapter(runs_root)
        between = runs.folder(self, runs_root) / "checkpoints" / str(epoch)
        return between if between.is_dir() else self.adapter(runs_root)

    def train_rows(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that stage 1 trained on, of all rows of the data."""
        return self.start.train_rows(rows)

    def make(self, out: Path, runs_root: Path) -> None:
        """Unlearn, and save adapter, checkpoints and history."""
        place, rows, features = inputs(self.base, self.data, runs_root)
        views = splits.views(rows, self.forget)
        runs.seed_everything(self.seed)
        rng = np.random.default_rng(self.seed)
        refusals = rng.choice(self.method.refusal_pool, size=len(views["forget"]))
        steps = plan(len(views["forget"]), len(views["retain"]), self.optimiser, rng, self.updates)

        start = self.start.adapter(runs_root)
        with (
            resident.lend(place, self.base.network.dtype) as network,
            self.history_saved(runs_root),
        ):
            network = adapters.load_adapter(network, start, trainable=True, reference=True)
            examples = {
                "forget": Examples(network, views["forget"], features),
                "refusal": Examples(network, views["forget"], features, list(refusals)),
                "retain": Examples(network, views["retain"], features),
            }

            def save(epoch: int) -> None:
                if self.checkpoints and epoch < len(steps):
                    adapters.save_adapter(network, out / "checkpoints" / str(epoch))

            history = fit(
                network,
                examples,
                steps,
                _unchanging(self.method),
                self.optimiser,
                save,
                name=f"the loss of {self.method.name}",
                note=self.noting(out),
            )
            self.save_adapter(network, out, runs_root)
        history.to_csv(out / "history.csv", index=False)


Model = Stage1Run | Stage2Run | Untrained  # what can be evaluated


def plan(
    forget: int,
    retain: int,
    optimiser: Optimiser,
    rng: np.random.Generator,
    updates: int | None = None,
) -> list[list[Step]]:
    """Epochs of steps: every forget row once an epoch, its refusal, and one random retain row.
    `updates` as in loop.shuffled."""
    epochs = []
    for batches in shuffled(forget, optimiser, rng, updates):
        partners = rng.choice(retain, size=sum(map(len, batches)), replace=retain < forget)
        parts = np.split(partners, np.cumsum([len(batch) for batch in batches])[:-1])
        epochs.append(
            [{"forget": b, "refusal": b, "retain": p} for b, p in zip(batches, parts, strict=True)]
        )
    return epochs


def _unchanging(method: Method) -> Callable[[Ask], Tensor]:
    """The loss of `method`. Raises BadMethod where its first call changes what the run is named
    after, such as a list that it appends to."""
    before: list[Any] = [method.described()]

    def loss(scores: Ask) -> Tensor:
        value = method.loss(scores)
        if before and before.pop() != method.described():
            raise BadMethod(
                f"the loss of {method.name} changes a value outside of it, such as a list that it "
                "appends to, so that its run would not be found again: print it, or write it to a "
                "file"
            )
        return value

    return loss
