"""What is wrong with a dataset folder, or doubtful about it, for whoever is about to use it.

A fault is what `validation` refuses. A doubt is none: the rows can be used, but a score on them
means less than it seems, or somebody should look at them before they are given away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from PIL import Image

from remem import metrics
from remem.data import leakage, validation

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
    texts = zip(rows["question"].str.casefold(), rows["name"].str.casefold(), strict=True)
    unnamed = pd.Series([name not in question for question, name in texts], rows.index, dtype=bool)
    shown = rows.drop_duplicates(["image", "identity"])["image"]
    first = rows.drop_duplicates("image")
    pictures = pd.DataFrame(
        [_traits(Path(folder) / name) for name in first["image"]], first.index, ["content", "exif"]
    )
    training = pictures["content"][first["split"] == "train"]
    found = {
        **leakage.leaking(rows),
        "single-hop questions that do not name the person": unnamed & (rows["hop"] == "single"),
        "answers without a Latin letter or digit (ROUGE-L is 0 for them, whatever is said)": ~rows[
            "answer"
        ].str.contains("[A-Za-z0-9]"),
        "pictures that are given as two people's": rows["image"].isin(shown[shown.duplicated()]),
        "test pictures that training shows too": (first["split"] == "test")
        & pictures["content"].isin(training),
        "pictures with EXIF data, which may tell where and when they were taken": pictures["exif"],
    }
    return {what: list(which.index[which]) for what, which in found.items() if which.any()}


def _of_people(rows: pd.DataFrame) -> dict[str, list[str]]:
    people = rows.drop_duplicates("identity").set_index("identity")["name"].map(metrics.normalise)
    trained_on, tested = (
        {*rows["identity"][rows["split"] == split]} for split in validation.SPLITS
    )
    values = rows.groupby("attribute")["target"].nunique()
    found = {
        "people who share their name": people.index[people.duplicated(keep=False)],
        "people with test questions but none in training": sorted(tested - trained_on),
        "people without a held-out question": sorted(trained_on - tested),
        ALONE: people.index[: len(people) == 1],
        "attributes with one value in all (Exposure has nothing to rank it against, "
        "and leaves it out)": values.index[values < 2],
    }
    return {what: list(where) for what, where in found.items() if len(where)}


def _traits(picture: Path) -> tuple[str, bool]:
    """The SHA-256 of its file, and whether that holds EXIF data."""
    try:
        with Image.open(picture) as opened:
            exif = bool(opened.getexif())
    except Exception:  # a fault, which validation.inspect names: also where another row shows it
        return "", False
    return hashlib.sha256(picture.read_bytes()).hexdigest(), exif
