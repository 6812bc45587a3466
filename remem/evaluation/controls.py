"""Controls: do a model's answers come from the name, from the face, or from neither?

A single-hop question names a person, so its answer should stay what it is when another's picture
stands beside it, or none. A multi-hop question names nobody, so its answer should follow the
picture. Whether they do is measured here, on people of stage 1 and on the public figures that the
base knows; no claim about hops can be read without it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from remem import metrics, runs
from remem.config.sections import PrefixTemplate
from remem.data import splits
from remem.data.dataset import Data, rows_of
from remem.evaluation.answers import keep_answers, read_answers, truths
from remem.model import inference
from remem.model.features import Features
from remem.model.loading import Network
from remem.runs import NOT_IN_DIGEST, Run
from remem.training.inputs import inputs, inputs_needs
from remem.training.trained import ModelRun, lend_trained

Shown = Literal["own", "another's", "none"]  # the picture beside a question

PICTURES: dict[str, tuple[Shown, ...]] = {
    "single": ("own", "another's", "none"),
    "multi": ("own", "another's"),  # without a picture it asks about nobody
}

OPTIONS = 8  # values among which a choice by likelihood is scored


class ControlRun(ModelRun):
    """Held-out questions (those of training for a hop of which none is held out), `per_person` of
    each hop about each person, each asked with the `pictures` that its hop allows:
    answers.parquet, and values.json, what stage 1 taught.

    `data` says whose people are asked about: those that the model was trained beside (None), or
    others, such as public figures; for these `ranked` also ranks all values of the attribute.
    """

    kind: ClassVar[str] = "controls"
    data: Data | None = None
    per_person: int = Field(ge=1)
    pictures: tuple[Shown, ...] = PICTURES["single"]
    ranked: bool = False
    prefix_template: PrefixTemplate = "plain"
    max_new_tokens: int = Field(ge=1)
    batch: Annotated[int, Field(ge=1), NOT_IN_DIGEST]

    def needs(self) -> Sequence[Run]:
        """The trained model, and the people who are asked about."""
        others = () if self.data is None else inputs_needs(self.of.base, self.data)
        return (*super().needs(), *others)

    def make(self, out: Path, runs_root: Path) -> None:
        """Ask with each picture, and rank where that is wanted."""
        subset = self.of.subset if self.data is None else None
        _, rows, features = inputs(self.of.base, self.data or self.of.data, runs_root, subset)
        taught = rows if self.data is None else rows_of(self.of.data, runs_root)
        if subset is not None:
            rows = subset.eval_rows(rows, ("train", "test"))
        with lend_trained(self.of, runs_root) as network:
            table = self._asked(network, rows, features)
        keep_answers(table, out, splits.longer_values(rows))
        values = json.dumps(splits.candidates(taught), ensure_ascii=False)
        (out / "values.json").write_text(values, "utf-8")

    def _asked(self, network: Network, rows: pd.DataFrame, features: Features) -> pd.DataFrame:
        """The questions about the people of `rows`, with what the network says."""
        table = questions(rows, self.per_person, self.pictures).assign(
            answer_given="", candidates=0, candidate_rank=np.nan
        )
        for shown, part in table.groupby("picture", sort=False):
            given = inference.answers(
                network,
                part,
                None if shown == "none" else features,
                self.batch,
                self.max_new_tokens,
                drafts=list(part["answer"]),
            )
            table.loc[part.index, "answer_given"] = given
        if self.ranked:
            values = splits.candidates(rows)
            part = table[(table["picture"] == "own") & table["attribute"].isin(values)]
            logps = inference.candidate_logps(
                network, part, features, values, self.prefix_template, self.batch
            )
            table.loc[part.index, "candidate_rank"] = [
                metrics.rank(found.tolist(), place)
                for found, place in zip(logps, truths(part, values), strict=True)
            ]
            table.loc[part.index, "candidates"] = [len(values[a]) for a in part["attribute"]]
        return table

    def read(self, folder: Path) -> pd.DataFrame:
        """The questions (`questions`) with answer_given, and scored (0..1, computed anew): em, the
        value asked for; em_pictured, that of the person in the picture, where it is another's;
        refused; stage1_value, of a wrong answer about others, whether it is one that stage 1
        taught; likeliest, the chance that the value asked for is the likeliest of OPTIONS."""
        rows, longer = read_answers(folder)
        taught = runs.read_json(folder / "values.json") if self.data is not None else {}
        return scored(rows, taught, longer)


def questions(
    rows: pd.DataFrame, per_person: int, pictures: Sequence[str] = PICTURES["single"]
) -> pd.DataFrame:
    """The questions of a ControlRun, of all rows of the data: as they stand in the data, with
    `picture` ("own", "another's", "none"), `image` (the picture shown), `pictured` (whose it is,
    "" where there is none) and `pictured_target` (that person's value of the attribute).

    Another's is a picture of the next person, in one fixed order of all, whose value is another;
    where nobody has one, the question is not asked with another's.
    """
    test = rows["split"] == "test"
    held_out = rows[test | ~rows["hop"].isin(rows["hop"][test])]
    # Each attribute once before any comes again.
    again = held_out.groupby(["identity", "hop", "attribute"]).cumcount()
    chosen = held_out.loc[again.sort_values(kind="stable").index]
    chosen = chosen[chosen.groupby(["identity", "hop"]).cumcount() < per_person].sort_index()
    people = list(dict.fromkeys(rows["identity"]))
    order = [people[k] for k in np.random.default_rng(0).permutation(len(people))]
    values = rows.drop_duplicates(["identity", "attribute"])
    values = values.set_index(["identity", "attribute"])["target"].to_dict()
    images = held_out.groupby("identity")["image"].agg(list).to_dict()
    found = []
    for number, row in enumerate(chosen.to_dict("records")):
        other = _partner(row, order, values, images)
        for shown in PICTURES[row["hop"]]:
            if shown not in pictures or (shown == "another's" and other is None):
                continue
            image, whose = row["image"], row["identity"]
            if shown == "another's" and other is not None:
                whose, image = other, images[other][number % len(images[other])]
            elif shown == "none":
                whose, image = "", ""
            target = values.get((whose, row["attribute"]), "")
            changed = {"image": image, "picture": shown, "pictured": whose}
            found.append(row | changed | {"pictured_target": target})
    columns = [*rows, "picture", "pictured", "pictured_target"]
    return pd.DataFrame(found, columns=columns)


def _partner(
    row: Mapping[str, str],
    order: Sequence[str],
    values: Mapping[tuple[str, str], str],
    images: Mapping[str, Sequence[str]],
) -> str | None:
    """The next person whose value of a row's attribute is another: neither holds the other."""
    place = order.index(row["identity"])
    for other in (*order[place + 1 :], *order[:place]):
        value, own = values.get((other, row["attribute"])), row["target"]
        if value is None or other not in images:
            continue
        if not metrics.exact_match(value, own) and not metrics.exact_match(own, value):
            return other
    return None


def scored(
    rows: pd.DataFrame,
    taught: Mapping[str, Sequence[str]],
    longer: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
) -> pd.DataFrame:
    """Answers of a ControlRun with its scores (ControlRun.read); `taught` are the values that
    stage 1 taught, by attribute, where others than its people are asked about; `longer` are those
    of splits.longer_values."""
    given, targets = rows["answer_given"], rows["target"]
    em = metrics.em(splits.with_longer_values(rows, longer or {}))
    swapped = rows[rows["picture"] == "another's"]
    swapped = swapped.assign(target=swapped["pictured_target"])
    found = metrics.em(splits.with_longer_values(swapped, longer or {}))
    pictured = pd.Series(found, swapped.index, dtype=float).reindex(rows.index)
    learnt = np.full(len(rows), np.nan)
    if taught:
        learnt = [
            np.nan if right else float(_holds_one(g, set(taught.get(attribute, ())) - {target}))
            for g, target, attribute, right in zip(
                given, targets, rows["attribute"], em, strict=True
            )
        ]
    return rows.assign(
        em=em,
        em_pictured=pictured,
        refused=[float(metrics.refuses(g)) for g in given],
        stage1_value=np.array(learnt, float),
        likeliest=[
            likeliest(rank, count)
            for rank, count in zip(rows["candidate_rank"], rows["candidates"], strict=True)
        ],
    )


def _holds_one(given: str, values: set[str]) -> bool:
    return any(metrics.exact_match(given, value) for value in values)


def likeliest(rank: float, count: int, options: int = OPTIONS) -> float:
    """The chance that the value of this `rank` (1 is the likeliest) among `count` is the likeliest
    of `options` when the others of them are drawn; NaN without a rank. Of tied values none wins."""
    if np.isnan(rank):
        return np.nan
    worse, others = count - math.ceil(rank), min(options, count) - 1
    return math.comb(worse, others) / math.comb(count - 1, others)
