"""A published adapter on its base, asked the questions of a dataset: Table 3, from outside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import Field

from remem import metrics, paper, runs
from remem.config.sections import Config
from remem.data import chosen, splits, validation
from remem.data.dataset import Data, RowsRun, folder_of, rows_of
from remem.evaluation.answers import keep_answers, read_answers
from remem.experiments import setup
from remem.model import adapters, inference, resident
from remem.model.features import SHARD, Features, image_features
from remem.outside import adapter
from remem.runs import NOT_IN_DIGEST, Run
from remem.training.base_model import BaseRun, base_needs, place


class PublishedRun(Run):
    """The answers of a published adapter on `base`: answers.parquet, as AnswerRun has it without
    candidates, and adapter/, its matrices under today's names.

    `commit` is what adapter.find knows it by; `hub` and `inside` say where.
    """

    kind: ClassVar[str] = "published"
    base: BaseRun
    data: Data
    hub: Annotated[str, NOT_IN_DIGEST]  # the commit is what counts, or a folder's content
    commit: str
    inside: str | None = None
    max_new_tokens: int = Field(ge=1)
    batch: Annotated[int, Field(ge=1), NOT_IN_DIGEST]

    def needs(self) -> Sequence[Run]:
        """The base and the rows. Not the features of their pictures: adapters of others may change
        the vision tower."""
        return (*base_needs(self.base), RowsRun(data=self.data))

    def make(self, out: Path, runs_root: Path) -> None:
        """Answer all rows, some hundred pictures at a time. Raises CannotLoad."""
        rows, folder = rows_of(self.data, runs_root), folder_of(self.data, runs_root)
        commit = None if Path(self.hub).is_dir() else self.commit
        found = adapter.find(self.hub, commit, self.inside)
        if found.commit != self.commit:
            raise adapter.CannotLoad(f"{self.hub} was changed after it was first read; start again")
        parts = []
        with resident.lend(place(self.base, runs_root), self.base.network.dtype) as network:
            outside = adapter.rewritten(found, network, out / "adapter")
            if outside:
                some = ", ".join(outside[:3])
                runs.say(f"{self.hub}: it also changes {len(outside)} modules such as {some}")
            if Path(found.base).name != (own := Path(network.model.name_or_path).name):
                runs.say(f"{self.hub}: it says that it was trained on {found.base}, not on {own}")
            network = adapters.load_adapter(network, out / "adapter")
            names = sorted(set(rows["image"]))
            for first in range(0, len(names), SHARD):
                shown = names[first : first + SHARD]
                seen = image_features(network, validation.load_images(folder, shown))
                some = rows[rows["image"].isin(shown)]
                given = inference.answers(
                    network,
                    some,
                    Features.of(shown, seen),
                    self.batch,
                    self.max_new_tokens,
                    drafts=list(some["answer"]),
                )
                parts.append(some.assign(answer_given=given))
        keep_answers(pd.concat(parts).loc[rows.index], out, splits.longer_values(rows))

    def read(self, folder: Path) -> pd.DataFrame:
        """The rows with what was said and its scores (metrics.score)."""
        return metrics.score(splits.with_longer_values(*read_answers(folder)))


def published_run(
    config: Config, model: str, hub: str, revision: str | None = None, inside: str | None = None
) -> PublishedRun:
    """The run for an adapter (see adapter.find) on one of the networks of a config, about its
    data."""
    found = adapter.find(hub, revision, inside)
    return PublishedRun(
        base=setup.base(config, model),
        data=chosen.data_of(config),
        hub=hub,
        commit=found.commit,
        inside=inside,
        max_new_tokens=config.evaluate.max_new_tokens,
        batch=config.evaluate.batch,
    )


def answered(config: Config, model: str, run: PublishedRun) -> pd.DataFrame:
    """Its scored rows, labelled as Table 3 wants them; made where they are not there."""
    rows = run.read(runs.get_or_create(run, config.folders.runs))
    return rows.assign(model=model, seed=0, stage=paper.STAGES[1])
