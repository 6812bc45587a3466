"""What is wrong with a dataset folder, or doubtful about it, for whoever is about to use it.

A fault is what `validation` refuses. A doubt is none: the rows can be used, but a score on them
means less than it seems, or somebody should look at them before they are given away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from remem import language
from remem.data import decoding, leakage, splits, validation
from remem.synthetic import questions

ALONE = "a single person, so that no one would be left to retain"


def alone(rows: pd.DataFrame) -> str | None:
    """Why nobody of these rows can be forgotten, where only one person is trained on."""
    return ALONE if rows["identity"][rows["split"] == "train"].nunique() == 1 else None


def doubts(rows: pd.DataFrame, folder: Path) -> dict[str, list[str]]:
    """What to doubt -> where: labels of `rows`, people or attributes. Nothing where all is well.

    rows: of validation.inspect, with pictures that can be read (they are not decoded here).
    """
    return _of_rows(rows, folder) | _of_people(rows)


def check(folder: Path) -> tuple[list[str], list[str], str]:
    """(a line for each fault, a line for each kind of doubt, a summary of what there is).

    Raises nothing, whatever the folder holds.
    """
    rows, faults = validation.inspect(folder)
    lines = [f"{place}: {reason}" for place, reasons in faults.items() for reason in reasons]
    wrong = rows.index.isin([place for place, reasons in faults.items() if reasons])
    sound = rows[~rows["image"].isin(rows["image"][wrong])]
    # A faulty row's person is not known; about the others every doubt can be raised.
    found = _of_rows(sound, folder) | ({} if lines else _of_people(rows))
    doubtful = [f"{what}: {len(where):,} ({_some(where)})" for what, where in found.items()]
    counts = ", ".join(f"{count:,} of {split}" for split, count in split_sizes(rows).items())
    attributes = [*dict.fromkeys(rows["attribute"])]
    summary = (
        f"{len(rows):,} complete rows ({counts}), {rows['identity'].nunique():,} people, "
        f"{rows['image'].nunique():,} pictures, {len(attributes)} attributes ({_some(attributes)})"
    )
    return lines, doubtful, summary


def split_sizes(rows: pd.DataFrame) -> dict[str, int]:
    """How many rows each split has."""
    return {split: int((rows["split"] == split).sum()) for split in validation.SPLITS}


def _some(names: Sequence[str], count: int = 10) -> str:
    return "; ".join([*names[:count], *["..."] * (len(names) > count)])


def _of_rows(rows: pd.DataFrame, folder: Path) -> dict[str, list[str]]:
    question, name = (rows[column].map(language.normalise) for column in ("question", "name"))
    named = leakage.holds(question, name)
    shown = rows.drop_duplicates(["image", "identity"])["image"]
    first = rows.drop_duplicates("image")
    pictures = pd.DataFrame(
        [_traits(Path(folder) / name) for name in first["image"]], first.index, ["content", "exif"]
    )
    training = pictures["content"][first["split"] == "train"]
    found = {
        **leakage.leaking(rows),
        "single-hop questions that do not name the person": ~named & (rows["hop"] == "single"),
        "pictures that are given as two people's": rows["image"].isin(shown[shown.duplicated()]),
        "test pictures that training shows too": (first["split"] == "test")
        & pictures["content"].isin(training),
        "pictures with EXIF data, which may tell where and when they were taken": pictures["exif"],
    }
    return {what: list(which.index[which]) for what, which in found.items() if which.any()}


def _of_people(rows: pd.DataFrame) -> dict[str, list[str]]:
    people = rows.drop_duplicates("identity").set_index("identity")["name"].map(language.normalise)
    trained_on, tested = (
        [*dict.fromkeys(rows["identity"][rows["split"] == split])] for split in validation.SPLITS
    )
    values = rows.groupby("attribute")["target"].nunique()
    nested = [
        f"{attribute}: {value} in {longer}"
        for attribute, pairs in splits.longer_values(rows).items()
        for value, others in pairs.items()
        for longer in others
    ]
    found = {
        "people who share their name": people.index[people.duplicated(keep=False)],
        "people with test questions but none in training": sorted({*tested} - {*trained_on}),
        "people without a held-out question": sorted({*trained_on} - {*tested}),
        ALONE: trained_on[: len(trained_on) == 1],
        "values that stand in another person's value (exact match tells them apart)": nested,
        "attributes with one value in all (Exposure has nothing to rank it against, "
        "and leaves it out)": values.index[values < 2],
        **_held_out_otherwise(rows),
    }
    return {what: list(where) for what, where in found.items() if len(where)}


def _held_out_otherwise(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Where the two splits ask for different things, of data of which something is held out."""
    train, test = (rows[rows["split"] == split] for split in validation.SPLITS)
    if test.empty:
        return {}
    thin = {
        f"people without a held-out {hop}-hop question, though others have one": sorted(
            {*train["identity"][train["hop"] == hop]}.intersection(test["identity"])
            - {*test["identity"][test["hop"] == hop]}
        )
        for hop in questions.HOPS
        if hop in {*test["hop"]}
    }
    return thin | {
        "what training asks for and no held-out question does (EM_t says nothing of it)": _asked(
            train, test, ["hop", "attribute"]
        ),
        "what held-out questions ask for and training never does (it cannot be known)": _asked(
            test, train, ["attribute"]
        ),
    }


def _asked(rows: pd.DataFrame, others: pd.DataFrame, by: list[str]) -> list[str]:
    """The kinds of question, in words, that `rows` have and `others` have not."""
    ours, theirs = (
        dict.fromkeys(table[by].itertuples(index=False, name=None)) for table in (rows, others)
    )
    return [" ".join(kind) for kind in ours if kind not in theirs]


def _traits(picture: Path) -> tuple[str, bool]:
    """The SHA-256 of its file, and whether that holds EXIF data."""
    try:
        content = picture.read_bytes()
        exif = decoding.has_exif(content)
    except Exception:  # a fault, which validation.inspect names: also where another row shows it
        return "", False
    return hashlib.sha256(content).hexdigest(), exif
