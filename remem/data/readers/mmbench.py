"""The questions of an MMBench file, each with its picture.

Cells are read as the format's own tools read them (VLMEvalKit's `ImageMCQDataset` and LLaVA's
`model_vqa_mmbench`): what pandas takes for a missing value is none, and so is "nan" or "none" in
any letter case; options go from A as far as there are columns; an image is base64, another row's
index, or a list. What cannot be asked about one picture is left out, and said.
"""

from __future__ import annotations

import base64
import codecs
import io
import re
import string
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from remem.data import decoding, validation
from remem.data.decoding import BadPicture
from remem.data.validation import BadData

LETTERS = string.ascii_uppercase  # of options

COLUMNS = ("index", "question", "hint", *"ABCD", "answer", "category", "image", "split")

NEEDED = ("index", "question", "A", "B", "answer", "image")  # by the tools; the others may be empty

ROLLED = 10**6  # MMBench numbers the k-th rotation of question i as i + k x 1,000,000

LeftOut = Mapping[str, Sequence[str]]  # why -> which rows ("index 7")

_MORE = "more than the columns"  # no name that a file may have: of cells beyond the first line's


def read_mmbench(path: Path) -> pd.DataFrame:
    """The questions of an MMBench TSV that can be asked (see `inspect`). Raises BadData where it
    has none, with the reasons, or is no such file."""
    return inspect(path)[0]


def inspect(path: Path) -> tuple[pd.DataFrame, LeftOut]:
    """The questions of an MMBench TSV, and which of its rows are left out, for which reason.

    The questions are in file order, all text: `COLUMNS`, and letters beyond D as far as there are
    such options; "" where there is none. A picture that is given as another row's index is put in
    its place. Each row is checked, and its picture decoded in full. The file's own rotations
    (ROLLED) are no questions, since evaluation.mmbench.rotations makes them.
    """
    table, left_out = _cells(path)
    letters = [letter for letter in LETTERS if letter in table]
    pairs = zip(table["index"], table["image"], strict=True)
    pictures = {number: cell for number, cell in pairs if _is_number(number)}
    kept: dict[str, dict[str, str]] = {}
    for place, row in enumerate(table.to_dict("records"), start=1):
        number = row["index"]
        if _is_number(number) and int(number) >= ROLLED and str(int(number) % ROLLED) in pictures:
            continue
        row["image"] = pictures.get(row["image"], row["image"])
        if reason := _unusable(row, letters, number in kept):
            left_out.setdefault(reason, []).append(_name(number, place))
        else:
            kept[number] = row
    with ThreadPoolExecutor(decoding.THREADS) as pool:
        reasons = list(pool.map(_no_picture, (row["image"] for row in kept.values())))
    for number, reason in zip(list(kept), reasons, strict=True):
        if reason:
            left_out.setdefault(reason, []).append(_name(number))
            del kept[number]
    if not kept:
        raise BadData(in_words(path, 0, left_out) or f"{path}: holds no row")
    most = max(len(options(row)) for row in kept.values())
    columns = [*COLUMNS[:3], *LETTERS[: max(4, most)], *COLUMNS[7:]]
    return pd.DataFrame(list(kept.values()), columns=columns), left_out


def in_words(path: Path, asked: int, left_out: LeftOut) -> str:
    """A sentence about the rows of a file that are left out; "" where there are none."""
    total = sum(map(len, left_out.values()))
    ordered = sorted(left_out.items(), key=lambda each: -len(each[1]))
    reasons = [
        f"{len(rows):,} x {reason} ({', '.join(rows[:5])}{', ...' * (len(rows) > 5)})"
        for reason, rows in ordered
    ]
    more = f"; and {len(reasons) - 10} reasons more" * (len(reasons) > 10)
    said = f"{path}: {total:,} rows left out, {asked:,} asked: {'; '.join(reasons[:10])}{more}"
    return said if total else ""


def options(row: Mapping[str, str]) -> list[str]:
    """The options of a question, from A on."""
    return [row[letter] for letter in LETTERS if row.get(letter)]


def picture(cell: str) -> Image.Image:
    """The picture in a cell of the column `image`, as RGB. BadData with the reason alone."""
    if not cell:
        raise BadData("there is no picture")
    if _is_number(cell):
        raise BadData("the picture is that of a row which is not there")
    try:
        data = _decoded(cell)
    except BadData:
        data = _decoded(_single(cell))
    try:
        return decoding.decode(io.BytesIO(data))
    except BadPicture as error:
        raise BadData(f"the picture {error}") from error


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadData(f"the picture is not in base64 ({error})") from error


def _single(cell: str) -> str:
    """The base64 in a cell that holds more than that: of a list, of a data URI, or in lines."""
    # None of these characters is in base64.
    found = [part for part in re.split(r"data:[^,]*,|[\[\]'\",;|]", cell) if part.strip()]
    if len(found) == 1:
        parts = found[0].split()  # several, or one that is wrapped as mail does it
        found = parts if all(part.startswith(_BEGINS) for part in parts) else ["".join(parts)]
    if len(found) > 1:
        raise BadData("several pictures in one cell, and a question is asked about one")
    return "".join(found)


_BEGINS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")  # PNG, JPEG, GIF, WebP in base64


def _cells(path: Path) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The cells of the file as text, "" where there is none, and the rows that are none at all."""
    content = read_bytes(path).removeprefix(codecs.BOM_UTF8)
    form: dict[str, Any] = {"sep": "\t", "encoding": "utf-8", "dtype": str}
    try:
        head = [*pd.read_csv(io.BytesIO(content), nrows=0, **form)]
        # pandas goes by the first line, and takes a cell too many in the next for the name of the
        # row, which shifts the rest. So there is a line before it, with one cell more than it has.
        content = b"\t" * len(head) + b"\n" + content
        form |= {"header": None, "names": [*head, _MORE], "on_bad_lines": "warn"}
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            table = pd.read_csv(io.BytesIO(content), **form)[2:]
    except ValueError as error:  # no table, or not UTF-8
        raise BadData(f"{path}: cannot be read as tab-separated text: {error}") from error
    if lacking := [column for column in NEEDED if column not in table]:
        raise BadData(f"{path}: the column(s) {', '.join(lacking)} of MMBench are missing")
    left_out: dict[str, list[str]] = {}
    if lines := re.findall(r"Skipping line (\d+)", " ".join(str(each.message) for each in said)):
        left_out[_TOO_MANY] = [f"line {int(line) - 1}" for line in lines]
    table = table.fillna("").apply(lambda column: column.str.strip())
    nothing = table.apply(lambda column: column.str.fullmatch("nan|none", case=False))
    table = table.mask(nothing, "")
    table = table[(table != "").any(axis=1)]  # a line of tabs alone is no row
    # A spreadsheet, and pandas beside an empty cell, write 7 as 7.0.
    for column in ("index", "image"):
        table[column] = table[column].str.replace(r"^(\d+)\.0+$", r"\1", regex=True)
    absent = [column for column in COLUMNS if column not in table]
    return table.assign(**dict.fromkeys(absent, "")), left_out


_TOO_MANY = "more cells than the first line has"


def _unusable(row: Mapping[str, str], letters: Sequence[str], known: bool) -> str:
    """Why a row cannot be asked, its picture aside; "" where it can."""
    if row[_MORE]:
        return _TOO_MANY
    if not _is_number(row["index"]):
        return "the index should be a whole number"
    if known:
        return "the same index as in a row before"
    there = "".join(letter for letter in letters if row[letter])
    for column in ("question", "answer"):
        if not row[column]:
            test = "; MMBench's test split has none, use dev" if column == "answer" else ""
            return f"{column} is empty{test}"
    if len(there) < 2 or not LETTERS.startswith(there):
        return f"options are filled from A on, at least two; here {there or 'none'}"
    if row["answer"] not in list(there):
        return f"the answer {row['answer'][:20]!r} is not among the options {', '.join(there)}"
    for column in ("question", "hint", *there):
        if len(row[column]) > validation.MAX_TEXT:
            return f"{column} has more than {validation.MAX_TEXT:,} characters, which fit no model"
        if found := validation.RESERVED.search(row[column]):
            return (
                f"{column} holds {found[0]}, which stands for something else in a prompt: mend it"
            )
    return ""


def _no_picture(cell: str) -> str:
    """Why a cell holds no picture; "" where it does."""
    try:
        picture(cell)
    except BadData as error:
        return str(error)
    return ""


def _name(number: str, place: int = 0) -> str:
    return f"index {number}" if _is_number(number) else f"row {place}"


def _is_number(cell: str) -> bool:
    return re.fullmatch("[0-9]{1,18}", cell) is not None


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
