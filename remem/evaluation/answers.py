"""What a model answers: greedy answers, and how it ranks the candidates for a fact (§6.2).

A run keeps what was said; scores are computed when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from remem import metrics, paths, runs
from remem.config.sections import PrefixTemplate
from remem.data import splits
from remem.data.subset import TrainSubset
from remem.data.validation import SPLITS
from remem.model import inference
from remem.model.features import Features
from remem.model.loading import Network
from remem.runs import NOT_IN_DIGEST, Spec
from remem.training.inputs import inputs
from remem.training.trained import ModelRun, lend_trained

LONGER = "longer_values.json"  # only where some values of the data stand in others


class EvalRows(Spec):
    """Which rows a model answers.

    With `forget` (identities), those of the views that Table 2 is made of (of `views` alone, if any
    are named), with a column `view`; else all rows of `splits`, and where the model
    was trained on a subset, those about its people, or about the first `people` of them.
    """

    forget: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    splits: tuple[str, ...] = SPLITS
    people: int | None = Field(default=None, ge=1)

    def of(self, rows: pd.DataFrame, subset: TrainSubset | None = None) -> pd.DataFrame:
        """The rows to answer, of all rows of the data."""
        if self.forget:
            return splits.evaluated(rows, self.forget, self.views)
        if subset is not None:
            return subset.eval_rows(rows, self.splits, self.people)
        return rows[rows["split"].isin(self.splits)]

    def secret(self, rows: pd.DataFrame) -> pd.Series:
        """Of rows that `of` gave, which hold what Exposure asks for: those to forget, or those
        that training had. Booleans."""
        return rows["view"] == "forget" if self.forget else rows["split"] == "train"


class AnswerRun(ModelRun):
    """The answers of one model: answers.parquet, the rows with what it said.

    answer_given is the greedy answer (left out where max_new_tokens is 0); candidates, the number
    of values that the attribute has; candidate_rank, the rank of the true one (1 is the likeliest,
    ties share their average); logp, its mean log-probability per token in nats, and value_tokens,
    how many those are; candidate_logps, the mean log-probabilities of all in the order of
    splits.candidates; these four are missing where Exposure is not asked for. perplexity, of the
    reference answer, is on held-out rows where it is wanted.
    """

    kind: ClassVar[str] = "answers"
    revision: ClassVar[int] = 2  # 1: without logp and value_tokens
    rows: EvalRows = EvalRows()
    max_new_tokens: int = Field(ge=0)
    exposure: bool = True
    prefix_template: PrefixTemplate = "plain"
    perplexity: bool = False
    batch: Annotated[int, Field(ge=1), NOT_IN_DIGEST]

    def make(self, out: Path, runs_root: Path) -> None:
        """Answer the rows, and rank candidates."""
        _, rows, features = inputs(self.of.base, self.of.data, runs_root, self.of.subset)
        with lend_trained(self.of, runs_root) as network:
            found = self._asked(network, rows, features)
        keep_answers(found, out, splits.longer_values(rows))
        self.of.drop_adapter(runs_root)

    def _asked(self, network: Network, rows: pd.DataFrame, features: Features) -> pd.DataFrame:
        """The rows to answer, of all rows of the data, with what the network says."""
        eval_rows = self.rows.of(rows, self.of.subset)
        candidates = splits.candidates(rows)
        counts = [len(candidates.get(attribute, ())) for attribute in eval_rows["attribute"]]
        missing = dict.fromkeys(("candidate_rank", "logp", "value_tokens"), np.nan)
        found = eval_rows.assign(candidates=counts, **missing)
        if self.max_new_tokens:
            found.insert(
                found.columns.get_loc("candidates"),
                "answer_given",
                inference.answers(
                    network,
                    eval_rows,
                    features,
                    self.batch,
                    self.max_new_tokens,
                    drafts=list(eval_rows["answer"]),
                ),
            )
        if self.exposure:
            known = eval_rows["attribute"].isin(candidates)
            marked = (self.rows.secret(eval_rows) & known).to_numpy()
            asked = eval_rows[marked]
            logps = inference.candidate_logps(
                network, asked, features, candidates, self.prefix_template, self.batch
            )
            places = truths(asked, candidates)
            pairs = list(zip(logps, places, strict=True))
            found.loc[marked, "candidate_rank"] = [
                metrics.rank(row.tolist(), k) for row, k in pairs
            ]
            found.loc[marked, "logp"] = [row[k] for row, k in pairs]
            lengths = inference.target_tokens(network, asked, self.prefix_template)
            found.loc[marked, "value_tokens"] = lengths
            all_logps: list[np.ndarray | None] = [None] * len(eval_rows)
            for place, row in zip(np.flatnonzero(marked), logps, strict=True):
                all_logps[place] = row
            found["candidate_logps"] = all_logps
        if self.perplexity:
            found["perplexity"] = _perplexity(network, eval_rows, features, self.batch)
        return found

    def read(self, folder: Path) -> pd.DataFrame:
        """The rows with what was said and its scores (metrics.score), computed anew each time;
        Exposure's alone where nothing was said."""
        rows = splits.with_longer_values(*read_answers(folder))
        rows = rows.drop(columns="candidate_logps", errors="ignore")
        if self.max_new_tokens:
            return metrics.score(rows)
        scored = metrics.score(rows.assign(answer_given=""))
        return scored.drop(columns=["answer_given", "rouge", "em", "judge_rule"])


def keep_answers(
    rows: pd.DataFrame, out: Path, longer: Mapping[str, Mapping[str, Sequence[str]]]
) -> None:
    """Write the answers of a run, answers.parquet, and beside them what exact match has to tell
    apart (`longer`, of splits.longer_values of all rows): those answered may not have it all."""
    rows.to_parquet(out / "answers.parquet", index=False)
    if longer:
        paths.write(out / LONGER, runs.as_json(longer))


def read_answers(folder: Path) -> tuple[pd.DataFrame, dict[str, dict[str, list[str]]]]:
    """What `keep_answers` wrote: the rows, and the longer values."""
    file = folder / LONGER
    longer = runs.read_json(file) if file.is_file() else {}
    return pd.read_parquet(folder / "answers.parquet"), longer


def truths(rows: pd.DataFrame, candidates: Mapping[str, Sequence[str]]) -> list[int]:
    """The place of each row's target among the candidates for its attribute. ValueError where it is
    not among them."""
    found = []
    for attribute, target in zip(rows["attribute"], rows["target"], strict=True):
        if target not in candidates[attribute]:
            raise ValueError(f"{target!r} is not among the candidates for {attribute!r}")
        found.append(list(candidates[attribute]).index(target))
    return found


def _perplexity(network: Network, rows: pd.DataFrame, features: Features, batch: int) -> pd.Series:
    held_out = rows[rows["split"] == "test"]
    logps = inference.token_logps(network, held_out, features, batch)
    return pd.Series(
        [metrics.perplexity(each.tolist()) for each in logps], held_out.index, dtype=float
    ).reindex(rows.index)
