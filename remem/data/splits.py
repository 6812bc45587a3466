"""Who is forgotten, which rows are evaluated, and what Exposure ranks."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from remem import language, metrics, runs
from remem.data.dataset import Data, SyntheticData, folder_of
from remem.data.validation import BadChoice, BadData

# What a reader calls an attribute that its benchmark does not name: the answers to such questions
# are no values of one thing, so that they cannot be ranked against each other.
UNNAMED = "question"

FOLDS = 5  # disjoint forget sets at the paper's 20 %


def forget_set(rows: pd.DataFrame, ratio: float, seed: int, part: int = 0) -> tuple[str, ...]:
    """The people to forget: `ratio` of all who were trained on, at least one, in the order of being
    drawn. Of others there is nothing to forget. Raises BadData, of a ratio BadChoice.

    One fixed permutation of the people is cut into five folds; seed s begins with fold s mod 5. So
    at the paper's 20 % five seeds cover all of them once, a smaller ratio takes the first of the
    same fold (5, 10 and 15 % are 1, 2 and 3 of 20 people), and a larger one runs on into the next.
    `part` 1 is as many again, after those of part 0, and so on: another disjoint draw.
    """
    identities = list(dict.fromkeys(rows["identity"][rows["split"] == "train"]))
    if len(identities) < 2:
        who = f"about {identities[0]} alone" if identities else "about nobody"
        raise BadData(
            f"the training rows are {who}, and it takes two people at least to forget one and "
            "retain another; add people to the split train"
        )
    wanted = max(1, round(ratio * len(identities)))
    if not 0 < ratio < 1 or wanted * (part + 1) > len(identities) or wanted == len(identities):
        raise BadChoice(
            f"forget ratio {ratio} of {len(identities)} people who were trained on leaves no one "
            "to forget or no one to retain; choose one between 0 and 1, such as 0.2"
        )
    order = np.random.default_rng(0).permutation(len(identities))
    order = np.roll(order, -(seed % FOLDS * len(identities) // FOLDS) - part * wanted)
    return tuple(identities[index] for index in order[:wanted])


def draws(
    rows: pd.DataFrame, ratio: float, within: float, count: int, seeds: Sequence[int]
) -> list[tuple[int, tuple[str, ...]]]:
    """(seed, people to forget) of at most `count` draws at `ratio`: first one of each seed, then a
    second of each, and so on.

    Those of a seed are disjoint, and lie within its forget set at the ratio `within` where that is
    larger; so there are as many of a seed as that has room for.
    """
    taken, room = (len(forget_set(rows, share, 0)) for share in (ratio, within))
    places = itertools.product(range(max(1, room // taken)), seeds)
    return [
        (seed, forget_set(rows, ratio, seed, part))
        for part, seed in itertools.islice(places, count)
    ]


def views(rows: pd.DataFrame, forget: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The rows of each view, given who is forgotten; row labels are those of `rows`.

    "forget" and "retain" are training rows, "test_forget" and "test_retain" held-out ones.
    "retain_eval" is made of training rows of retained people: for each person, hop and attribute
    as many as the test split has, so 14 + 14 in the paper's dataset, all attributes in balance.
    What the test split passes over (`_passed_over`) is there too, as many of each kind as the test
    split has of any; where nothing is held out, it is all rows.

    Raises BadChoice where `forget` names somebody of whom there is no training row.
    """
    _check_trained_on(rows, forget)
    forgotten, train = rows["identity"].isin(forget), rows["split"] == "train"
    retain, test, test_retain = rows[train & ~forgotten], rows[~train], rows[~train & ~forgotten]
    ours, theirs = _counted(retain), _counted(test_retain)
    held_out = _in(ours, theirs, [*ours])
    passed_over = _passed_over(retain, test, test_retain)
    if len(theirs):  # else there is no number to keep to
        passed_over &= ours["k"] <= theirs["k"].max()
    return {
        "forget": rows[train & forgotten],
        "retain": retain,
        "retain_eval": retain[held_out | passed_over],
        "test_forget": rows[~train & forgotten],
        "test_retain": test_retain,
    }


def _check_trained_on(rows: pd.DataFrame, forget: Sequence[str]) -> None:
    """Raise BadChoice unless there are training rows of everybody whom `forget` names."""
    trained_on = [*dict.fromkeys(rows["identity"][rows["split"] == "train"])]
    if unknown := sorted({*forget} - {*rows["identity"]}):
        known = {  # by name, and whatever the letter case
            called.casefold(): identity
            for column in ("name", "identity")
            for called, identity in zip(rows[column], rows["identity"], strict=True)
            if isinstance(called, str)  # some have no name
        }
        meant = {each: known.get(each.casefold()) for each in unknown}
        said = [f"{each!r}{f' (did you mean {who!r}?)' * bool(who)}" for each, who in meant.items()]
        some = f"{', '.join(trained_on[:10])}{', ...' if len(trained_on) > 10 else ''}"
        raise BadChoice(f"no identity in the dataset is called {', '.join(said)}; there are {some}")
    if untrained := sorted({*forget} - {*trained_on}):
        raise BadChoice(
            f"there is no training row about {', '.join(untrained)}, and what was never taught "
            "cannot be forgotten; leave them out of the forget set, or add rows to the split train"
        )


def _passed_over(retain: pd.DataFrame, test: pd.DataFrame, test_retain: pd.DataFrame) -> pd.Series:
    """Which of the rows `retain` are of a kind that the test split passes over: a hop by which it
    never asks about this person, an attribute for which it asks none of the retained, or the two
    together, for which it asks nobody. Without them a benchmark whose test split is of one hop
    would have no EM_r of the other."""
    return ~(
        _in(retain, test_retain, ["identity", "hop"])
        & _in(retain, test_retain, ["attribute"])
        & _in(retain, test, ["hop", "attribute"])
    )


def evaluated(rows: pd.DataFrame, forget: Sequence[str], only: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of the four views that Table 2 is made of, with the view's name in `view`: all of
    `views` but retain, which is what training draws from; or of those named alone."""
    parts = views(rows.drop(columns="view", errors="ignore"), forget)
    wanted = only or [name for name in parts if name != "retain"]
    return pd.concat(
        [part.assign(view=name) for name, part in parts.items() if name in wanted],
        ignore_index=True,
    )


def candidates(rows: pd.DataFrame) -> dict[str, list[str]]:
    """attribute -> its different values in the dataset, sorted: Exposure's candidate sets.

    An attribute with a single value is not among them, nor one without a name (UNNAMED).
    """
    values = {name: sorted(set(part["target"])) for name, part in rows.groupby("attribute")}
    return {
        name: found
        for name, found in values.items()
        if len(found) > 1 and not re.fullmatch(rf"{UNNAMED}(_\d+)?", name)
    }


def longer_values(rows: pd.DataFrame) -> dict[str, dict[str, list[str]]]:
    """attribute -> value -> the attribute's other values in which it stands (language.nested):
    what exact match has to tell from it. Only those of which there are any."""
    found = {name: language.nested(values) for name, values in candidates(rows).items()}
    return {name: pairs for name, pairs in found.items() if pairs}


def with_longer_values(
    rows: pd.DataFrame, longer: Mapping[str, Mapping[str, Sequence[str]]]
) -> pd.DataFrame:
    """The same rows with a column `longer_values`, tuples for metrics.em: those of `longer` (of
    longer_values) in which the row's target stands, but for what its reference answer says itself.
    Without the column where `longer` is empty."""
    if not longer:
        return rows
    keys = zip(rows["attribute"], rows["target"], rows["answer"], strict=True)
    return rows.assign(
        longer_values=[
            tuple(
                each
                for each in longer.get(attribute, {}).get(target, ())
                if not metrics.exact_match(answer, each)
            )
            for attribute, target, answer in keys
        ]
    )


def own_forget_set(data: Data, name: str, runs_root: Path) -> tuple[str, ...]:
    """The people of one of the forget sets that a benchmark brings (source.json of a folder that
    readers.convert made). Raises BadData where there is no such set."""
    made = isinstance(data, SyntheticData)
    sets = {} if made else _own_forget_sets(folder_of(data, runs_root) / "source.json")
    if name not in sets:
        raise BadChoice(
            f"stage2.forget_set: the data has no forget set {name!r}; there are: "
            f"{', '.join(sets) or 'none'}. People are named in a list, [{name}]; without "
            "forget_set, forget_ratio draws one"
        )
    return sets[name]


class _Source(BaseModel):
    """What is read of a source.json."""

    forget_sets: dict[str, tuple[str, ...]] = {}


def _own_forget_sets(file: Path) -> dict[str, tuple[str, ...]]:
    """name -> identities, of a source.json; none where there is no such file."""
    if not os.path.lexists(file):
        return {}
    try:
        return _Source.model_validate(runs.read_json(file)).forget_sets
    except (OSError, runs.NotJson) as error:
        raise BadData(f"{file} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadData(
            f"{file} should be a JSON object in which forget_sets holds names, each with a list of "
            f"identities ({where[:90]}: {first['msg']})"
        ) from error


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """identity, hop, attribute, k: the row is the k-th of its kind, from 0."""
    kind = ["identity", "hop", "attribute"]
    return rows[kind].assign(k=rows.groupby(kind).cumcount())


def _in(rows: pd.DataFrame, others: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """Which of `rows` have the values of the columns `by` of some row of `others`."""
    ours, theirs = (pd.MultiIndex.from_frame(table[[*by]]) for table in (rows, others))
    return pd.Series(ours.isin(theirs), rows.index)
