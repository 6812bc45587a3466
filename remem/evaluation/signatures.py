"""How sure a model is of a name: the probability signature of §4 and A.1 (Fig 2, Table 5)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import Field

from remem import metrics
from remem.data import subset
from remem.model import inference
from remem.runs import NOT_IN_DIGEST
from remem.synthetic import questions
from remem.training.inputs import inputs
from remem.training.trained import ModelRun, lend_trained


class SignatureRun(ModelRun):
    """The name's token log-probabilities after the image and "The name of the person in the image
    is", for each picture of a row that asks the name (of any row where none does), of the first
    `people` that the model was trained on: signatures.parquet with identity, image and logps (in
    nats, one per token of the name)."""

    kind: ClassVar[str] = "signatures"
    people: int = Field(ge=1)
    batch: Annotated[int, Field(ge=1), NOT_IN_DIGEST]

    def make(self, out: Path, runs_root: Path) -> None:
        """Ask for the names."""
        _, rows, features = inputs(self.of.base, self.of.data, runs_root, self.of.subset)
        train_rows = self.of.train_rows(rows)
        first = train_rows["identity"].drop_duplicates()[: self.people]
        train_rows = train_rows[train_rows["identity"].isin(first)]
        eval_rows = subset.asking_the_name(train_rows).drop_duplicates("image")
        eval_rows = eval_rows.assign(target=eval_rows["name"])
        prefixes = [questions.prefix("name", "multi", name) for name in eval_rows["name"]]
        with lend_trained(self.of, runs_root, merge=False) as network:
            logps = inference.token_logps(network, eval_rows, features, self.batch, prefixes)
        found = eval_rows[["identity", "image"]].assign(logps=logps)
        found.to_parquet(out / "signatures.parquet", index=False)

    def read(self, folder: Path) -> pd.DataFrame:
        """One row per identity, means over its pictures: min_k, inverse_perplexity and
        mean_probability of the name in percent, and tokens (how many it has)."""
        rows = pd.read_parquet(folder / "signatures.parquet")
        logps = rows.pop("logps")
        found = rows.drop(columns="image").assign(
            min_k=logps.map(metrics.min_k),
            inverse_perplexity=logps.map(metrics.inverse_perplexity),
            mean_probability=logps.map(metrics.mean_probability),
            tokens=logps.map(len),
        )
        return found.groupby("identity", sort=False, as_index=False).mean()
