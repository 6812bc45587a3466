"""A part of a dataset, to be trained on alone (§4, §5): what shape of data makes stage 1 fail?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import Field

from remem.runs import Spec
from remem.synthetic import questions


class TrainSubset(Spec):
    """Which of a dataset's training rows are used.

    `people` are identities (none given: all); `single` and `multi` are questions per person by
    hop (both None: all), shared among the attributes as in any dataset that is made
    (questions.counts; where a person lacks one of those, the first of each hop, as far as there
    are any); `pictures` per person go round (None: each question has its own).
    """

    people: tuple[str, ...] = ()
    single: int | None = Field(default=None, ge=0)
    multi: int | None = Field(default=None, ge=0)
    pictures: int | None = Field(default=None, ge=1)

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The training rows of this subset. ValueError when the dataset has too few."""
        train = rows[rows["split"] == "train"]
        people = list(dict.fromkeys(train["identity"]))
        if unknown := sorted(set(self.people) - set(people)):
            raise ValueError(f"no identity in the dataset is called {', '.join(unknown)}")
        parts = []
        for identity in self.people or people:
            own = train[train["identity"] == identity]
            whole = self.single is None and self.multi is None
            part = own if whole else self._first(own, people.index(identity))
            if self.pictures is not None:
                shown = own["image"].drop_duplicates().to_numpy()[: self.pictures]
                part = part.assign(image=np.resize(shown, len(part)))
            parts.append(part)
        return pd.concat(parts)

    def eval_rows(
        self, rows: pd.DataFrame, splits: tuple[str, ...], people: int | None = None
    ) -> pd.DataFrame:
        """The rows of `splits` about the same people, or the first `people` of them: the training
        rows of this subset, and all held-out rows."""
        train = self.of(rows)
        if people is not None:
            train = train[train["identity"].isin(train["identity"].unique()[:people])]
        held_out = rows[(rows["split"] == "test") & rows["identity"].isin(set(train["identity"]))]
        both = pd.concat([train, held_out])
        return both[both["split"].isin(splits)].reset_index(drop=True)

    def _first(self, own: pd.DataFrame, person: int) -> pd.DataFrame:
        """Of one person's training rows the first of each kind: a smaller subset lies within a
        larger one."""
        single, multi = self.single or 0, self.multi or 0

        def first(counts: dict[tuple[str, ...], int], *by: str) -> pd.DataFrame:
            kinds = own[[*by]].itertuples(index=False, name=None)
            wanted = np.array([counts.get(kind, 0) for kind in kinds])
            return own[own.groupby([*by]).cumcount().to_numpy() < wanted]

        counts = questions.counts("train", single, multi, person)
        part = first({**counts}, "attribute", "hop")
        if not {kind[0] for kind, count in counts.items() if count} <= {*own["attribute"]}:
            return first({("single",): single, ("multi",): multi}, "hop")
        if len(part) < single + multi:
            raise ValueError(
                f"the dataset has too few training questions about {own['identity'].iloc[0]} for a "
                f"subset of {single} single-hop and {multi} multi-hop ones; raise its single and "
                "multi"
            )
        return part


def asking_the_name(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that ask for a name; all where none does, since every row has one."""
    found = rows[rows["attribute"] == "name"]
    return found if len(found) else rows
