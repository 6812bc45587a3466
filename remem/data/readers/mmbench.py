"""The questions of an MMBench file, each with its picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from PIL import Image

from remem.data import validation
from remem.data.validation import BadData

LETTERS = "ABCD"

COLUMNS = ("index", "question", "hint", *LETTERS, "answer", "category", "image", "split")

ROLLED = 10**6  # MMBench numbers the k-th rotation of question i as i + k x 1,000,000


def read_mmbench(path: Path) -> pd.DataFrame:
    """The questions of an MMBench TSV: `COLUMNS`, all text, in file order, "" where there is no
    such option. A picture that is given as another row's index is put in its place.

    The file's own rotations (ROLLED) are left out, since `rotations` makes them. Every other row
    and its picture (decoded in full) is checked: BadData names the first that is not in order.
    """
    content = io.BytesIO(read_bytes(path))
    form = {"sep": "\t", "encoding": "utf-8-sig", "dtype": str}
    try:
        table = pd.read_csv(content, keep_default_na=False, **form)  # an option may be called NA
    except ValueError as error:  # no table, or not UTF-8
        raise BadData(f"{path}: cannot be read as tab-separated text: {error}") from error
    if missing := [column for column in COLUMNS if column not in table]:
        raise BadData(f"{path}: the column(s) {', '.join(missing)} of MMBench are missing")
    if table.empty or not isinstance(table.index, pd.RangeIndex):
        raise BadData(f"{path}: holds no row, or rows with more cells than the first line has")
    table = table[list(COLUMNS)].fillna("").apply(lambda column: column.str.strip())
    cells, kept = dict(zip(table["index"], table["image"], strict=True)), {}
    for row in table.to_dict("records"):
        number = row["index"]
        try:
            if not number.isdecimal():
                raise BadData("the index should be a whole number")
            if int(number) >= ROLLED and str(int(number) % ROLLED) in cells:
                continue
            if number in kept:
                raise BadData("the same index as in a row before")
            row["image"] = cells.get(row["image"], row["image"])
            _check(row)
        except BadData as reason:
            raise BadData(f"{path}, index {number!r}: {reason}") from reason
        kept[number] = row
    return pd.DataFrame(list(kept.values()), columns=list(COLUMNS))


def picture(cell: str) -> Image.Image:
    """The picture in a cell of the column `image`, as RGB. BadData with the reason alone."""
    try:
        data = base64.b64decode(cell)
    except ValueError as error:
        raise BadData(f"the picture is not in base64 ({error})") from error
    try:
        return validation.decode(io.BytesIO(data))
    except BadData as error:
        raise BadData(f"the picture {error}") from error


def _check(row: Mapping[str, str]) -> None:
    for column in ("question", "answer", "category"):
        if not row[column]:
            hint = "; MMBench's test split has none, use dev" if column == "answer" else ""
            raise BadData(f"{column} is empty{hint}")
    there = "".join(letter for letter in LETTERS if row[letter])
    if len(there) < 2 or not LETTERS.startswith(there):
        raise BadData(f"options are filled from A on, at least two; here {there or 'none'}")
    if row["answer"] not in list(there):
        raise BadData(f"the answer {row['answer']!r} is not among the options {', '.join(there)}")
    picture(row["image"])


def read_bytes(path: Path) -> bytes:
    """The bytes of an MMBench file. Raises BadData, which says where to get it."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadData(
            f"experiments.ability.source: {path} ({error.strerror}), and nothing is downloaded "
            "here. Fetch MMBench_DEV_EN.tsv (github.com/open-compass/MMBench says where; 1,164 "
            "questions, 40 to 140 MB) and name that file there, or use source: synthetic"
        ) from error
