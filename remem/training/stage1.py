"""Stage 1, memorising: a fresh adapter trained on a dataset's facts (§7.2)."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from torch import Tensor

from remem import paths, runs
from remem.config.sections import Optimiser
from remem.data.dataset import Data
from remem.data.subset import TrainSubset
from remem.model import adapters, resident
from remem.model.loading import Network
from remem.runs import NOT_IN_DIGEST, Run, Spec
from remem.training.base_model import BaseRun
from remem.training.inputs import inputs, inputs_needs
from remem.training.loop import Diverged, Examples, fit, shuffled
from remem.training.methods import Ask
from remem.training.unfinished import Unfinished


class Untrained(Spec):
    """A base model as it is, beside the data that other models are trained on."""

    base: BaseRun
    data: Data
    trained: ClassVar[None] = None  # no run of training stands behind it,
    subset: ClassVar[None] = None  # and it is evaluated on all of its data

    def needs(self) -> Sequence[Run]:
        """What has to be there before it can answer questions about its data."""
        return inputs_needs(self.base, self.data)

    def adapter(self, runs_root: Path) -> None:
        """It has no adapter."""

    def drop_adapter(self, runs_root: Path) -> None:
        """There is nothing to delete."""

    def train_rows(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The training rows of its data, though it never saw them."""
        return rows[rows["split"] == "train"]


NOTES = "notes.txt"


class TrainRun(Run):
    """A run of training: its folder holds `adapter/` and `history.csv`, and where a reader should
    know more, `notes.txt`.

    An adapter that is not `kept` lies beside the runs until the answers that it is for are there
    (`drop_adapter`): of hundreds of lessons the answers alone are read.
    """

    kept: Annotated[bool, NOT_IN_DIGEST] = True

    @property
    def trained(self) -> Self:
        """The run of training that stands behind it: itself."""
        return self

    def adapter(self, runs_root: Path) -> Path:
        """The folder of its adapter, which is trained again where it was not kept."""
        inside, beside = runs.folder(self, runs_root) / "adapter", self._beside(runs_root)
        if inside.is_dir():
            return inside
        if not beside.is_dir():
            lock = paths.make_folder(Path(runs_root) / ".locks") / f"adapter-{runs.name(self)}"
            with runs.locked(lock), paths.scratch_folder() as scratch:
                if not beside.is_dir():
                    self.model_copy(update={"kept": False}).make(scratch, runs_root)
        return beside

    def save_adapter(self, network: Network, out: Path, runs_root: Path) -> None:
        """Write the adapter to where it belongs, as the last thing of `make`, whose `out` is."""
        if self.kept:
            adapters.save_adapter(network, out / "adapter")
            return
        beside = self._beside(runs_root)
        part = paths.make_folder(beside.parent) / f".{beside.name}.part"
        for old in (part, beside):
            shutil.rmtree(old, ignore_errors=True)
        adapters.save_adapter(network, part)
        part.rename(beside)

    def drop_adapter(self, runs_root: Path) -> None:
        """Delete it, if it is not kept."""
        if not self.kept:
            shutil.rmtree(self._beside(runs_root), ignore_errors=True)

    def _beside(self, runs_root: Path) -> Path:
        return Path(runs_root) / "adapters" / runs.name(self)

    def read(self, folder: Path) -> pd.DataFrame:
        """Step by step: step, epoch, lr, loss (of stage 1 in nats per answer token), seconds."""
        return pd.read_csv(folder / "history.csv")

    def notes(self, runs_root: Path) -> list[str]:
        """What there is to know of how it went, in words: it diverged, or memory was short."""
        file = runs.folder(self, runs_root) / NOTES
        return file.read_text("utf-8").splitlines() if file.is_file() else []

    def noting(self, out: Path) -> Callable[[str], None]:
        """A function that says a line, and keeps it in the run."""

        def note(line: str) -> None:
            runs.say(f"{runs.name(self)}: {line}")
            with (out / NOTES).open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

        return note

    @contextlib.contextmanager
    def history_saved(self, runs_root: Path) -> Iterator[None]:
        """Inside, a training that diverges leaves the steps until then beside the runs: its own
        folder goes, as that of any run that fails. Raises Diverged, which says where."""
        try:
            yield
        except Diverged as error:
            file = paths.make_folder(runs_root / "diverged") / f"{runs.name(self)}.csv"
            paths.write(file, error.history.to_csv(index=False))
            raise Diverged(f"{error}. The steps before: {file}", error.history) from None


class Stage1Run(TrainRun):
    """One stage 1. `exclude` names identities that are left out of training (the retrained row of
    Table 2); a `subset` trains on a part of the data; with `updates`, that many optimiser steps in
    place of the epochs."""

    kind: ClassVar[str] = "stage1"
    revision: ClassVar[int] = 2  # 2: the first update has a rate above zero
    base: BaseRun
    data: Data
    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    optimiser: Optimiser
    subset: TrainSubset | None = None
    updates: int | None = Field(default=None, ge=1)
    exclude: tuple[str, ...] = ()
    seed: int

    @model_validator(mode="after")
    def _one_of_two(self):
        if self.exclude and self.subset:
            raise ValueError("a subset names its people: leave exclude out")
        return self

    def needs(self) -> Sequence[Run]:
        """The base, the rows, the features of their pictures."""
        return inputs_needs(self.base, self.data, self.subset)

    def train_rows(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that are trained on, of all rows of the data."""
        if self.subset:
            return self.subset.of(rows)
        return rows[(rows["split"] == "train") & ~rows["identity"].isin(self.exclude)]

    def make(self, out: Path, runs_root: Path) -> None:
        """Train, and save adapter and history."""
        place, rows, features = inputs(self.base, self.data, runs_root, self.subset)
        runs.seed_everything(self.seed)
        train_rows = self.train_rows(rows)
        rng = np.random.default_rng(self.seed)
        batches = shuffled(len(train_rows), self.optimiser, rng, self.updates)
        plan = [[{"train": batch} for batch in epoch] for epoch in batches]
        with (
            resident.lend(place, self.base.network.dtype) as network,
            self.history_saved(runs_root),
        ):
            network = adapters.add_adapter(network, self.rank, self.alpha, self.seed)
            examples = {"train": Examples(network, train_rows, features)}
            history = fit(
                network,
                examples,
                plan,
                cross_entropy,
                self.optimiser,
                note=self.noting(out),
                unfinished=Unfinished(self, runs_root),
            )
            self.save_adapter(network, out, runs_root)
        history.to_csv(out / "history.csv", index=False)

    def done(self, runs_root: Path) -> None:
        """Delete what was kept after an epoch."""
        Unfinished(self, runs_root).discard()


def cross_entropy(scores: Ask) -> Tensor:
    """Stage 1's loss: mean cross-entropy per answer token, end-of-sequence included."""
    return scores("train").ce()
