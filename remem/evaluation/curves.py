"""A method epoch by epoch: what the model says after each epoch of unlearning (§7.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import Field, model_validator

from remem import metrics
from remem.data import splits
from remem.evaluation.answers import keep_answers, read_answers
from remem.model import adapters, inference, resident
from remem.runs import NOT_IN_DIGEST
from remem.training.base_model import place
from remem.training.inputs import inputs
from remem.training.stage2 import Stage2Run
from remem.training.trained import ModelRun

PROBE = 7  # rows per hop and forgotten identity: the curve is a sketch


class CurveRun(ModelRun):
    """Answers to a sample of rows by the model after each epoch of `of`, 0 being its start:
    answers.parquet with the columns epoch, view, hop, target and answer_given among others."""

    kind: ClassVar[str] = "curve"
    of: Stage2Run
    max_new_tokens: int = Field(ge=1)
    batch: Annotated[int, Field(ge=1), NOT_IN_DIGEST]

    @model_validator(mode="after")
    def _kept(self):
        if not self.of.checkpoints or self.of.updates is not None:
            raise ValueError("a curve needs a run that keeps checkpoints, and goes by epochs")
        return self

    def make(self, out: Path, runs_root: Path) -> None:
        """Ask the sample of rows after each epoch."""
        _, rows, features = inputs(self.of.base, self.of.data, runs_root)
        views = splits.views(rows, self.of.forget)
        sample = probe(views, len(self.of.forget), self.of.seed)
        where, dtype = place(self.of.base, runs_root), self.of.base.network.dtype
        parts = []
        for epoch in range(self.of.optimiser.epochs + 1):
            with resident.lend(where, dtype) as network:
                network = adapters.load_adapter(network, self.of.checkpoint(runs_root, epoch))
                adapters.merge_adapter(network)
                given = inference.answers(
                    network,
                    sample,
                    features,
                    self.batch,
                    self.max_new_tokens,
                    drafts=list(sample["answer"]),
                )
            parts.append(sample.assign(epoch=epoch, answer_given=given))
        keep_answers(pd.concat(parts, ignore_index=True), out, splits.longer_values(rows))

    def read(self, folder: Path) -> pd.DataFrame:
        """epoch, view, hop, identity, em (mean exact match, 0..1)."""
        rows = splits.with_longer_values(*read_answers(folder))
        by = ["epoch", "view", "hop", "identity"]
        return rows.assign(em=metrics.em(rows)).groupby(by, as_index=False)["em"].mean()


def probe(views: dict[str, pd.DataFrame], forgotten: int, seed: int) -> pd.DataFrame:
    """The rows asked after each epoch: PROBE per hop and forgotten identity, and as many in all
    of retain_eval; with the column view."""
    samples = []
    for view in ("forget", "retain_eval"):
        keys = ["identity", "hop"] if view == "forget" else ["hop"]
        size = PROBE if view == "forget" else PROBE * forgotten
        for _, group in views[view].groupby(keys):
            samples.append(group.sample(min(size, len(group)), random_state=seed).assign(view=view))
    return pd.concat(samples, ignore_index=True)
