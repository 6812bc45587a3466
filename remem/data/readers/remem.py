"""ReMem's own release, whose columns are known by name only, so that they are declared."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from remem.data import splits
from remem.data.readers.files import (
    Pictures,
    Question,
    attribute_name,
    json_rows,
    missing,
    parquet_rows,
    stored_picture,
    text_of,
    texts,
    visible,
)
from remem.data.validation import BadChoice, BadData, cut
from remem.synthetic import questions

# Our columns of ReMem's table, and what its dataset card calls those that are called otherwise.
NEEDED = ("image", "question", "answer", "identity")

OPTIONAL = ("name", "attribute", "target", "hop", "split", "cloze_prompt")

CARD = {"target": "keywords", "hop": "question_type"}

VIEW = re.compile(r"(?:^|/)((?:forget|retain)\w*)")  # a file of rows that another holds as well

HELD_OUT = re.compile(r"(?<![a-z])(test|val|eval|held)")  # in a path, or in a column for the split


def read(folder: Path, columns: Mapping[str, str]) -> Iterator[Question]:
    """Any table with a picture per row: parquet files, or metadata.jsonl beside the pictures.

    On the Hub (dataset card of 2026-04) it has image, question, answer, keywords, question_type,
    qa_category, attribute, cloze_prompt and image_path, in the splits finetune (2,000), test (560),
    forget1 to forget4 (100 to 400) and retain (560). The person is named in image_path at best.
    """
    ours = (*NEEDED, *OPTIONAL)
    if unknown := [name for name in columns if name not in ours]:
        raise BadChoice(f"the column map names {', '.join(unknown)}; ours are {', '.join(ours)}")
    files, _ = _tables(folder)
    if not files:
        raise missing("remem", folder, "data/*")
    theirs = {**dict(zip(ours, ours, strict=True)), **columns}
    names = {} if "name" in columns else _names(files, theirs)
    for file in files:
        pictures, flat = Pictures(file.parent), file.suffix == ".jsonl"
        theirs["image"] = columns.get("image", "file_name" if flat else "image")
        for number, row in _rows(file):
            place = f"{file}, row {number}"
            there = {name: column for name, column in theirs.items() if _column(column, row)}
            if lacking := [name for name in (*NEEDED, *columns) if name not in there]:
                raise _undeclared(row, lacking[0], there, place)
            image = row[_column(there.pop("image"), row)]
            own = {
                name: _text_in(row, column, place)
                for name, column in there.items()
                if name in NEEDED or row[_column(column, row)] not in (None, "", [])
            }
            identity = own["identity"]
            name = own.get("name") or names.get(identity, identity)
            picture = (
                (str(file.parent / image), pictures.read(image, place))
                if isinstance(image, str)
                else stored_picture(image, place)
            )
            # What names no split goes by where it lies: test-00000-of-00001.parquet, test/...
            where = own.get("split", _under(folder, file)).casefold()
            split = "test" if HELD_OUT.search(where) else "train"
            attribute = attribute_name(own.get("attribute", splits.UNNAMED))
            target = own.get("target")
            # Several keywords may be written as one text, and a value may hold a comma.
            parts = [target, *re.split("[,;|]", target)] if target else []
            values = [(attribute, part) for each in parts if (part := each.strip(" \"'[]"))]
            hop = next(
                (hop for hop in questions.HOPS if hop in own.get("hop", "").casefold()), None
            )
            if "hop" in own and not hop:
                raise BadData(f"{place}: hop {cut(own['hop'])} is neither single nor multi")
            yield Question(
                place,
                identity,
                name,
                split,
                picture,
                own["question"],
                own["answer"],
                values or [("name", name)],
                hop,
                own.get("cloze_prompt"),
            )


def forget_sets(folder: Path, columns: Mapping[str, str]) -> dict[str, list[str]]:
    """The people of each forget view, name -> identities. Pictures, which are most of a file, are
    not read."""
    found: dict[str, list[str]] = {}
    identity = columns.get("identity", "identity")
    for file in _tables(folder)[1]:
        view = VIEW.search(_under(folder, file))
        if view and view[1].startswith("forget"):
            found.setdefault(view[1], []).extend(
                _text_in(row, identity, f"{file}, row {number}")
                for number, row in _rows(file, [identity.partition(":")[0]])
            )
    return found


def _tables(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of any table, training before held out, and the views. A view is read only where
    no other file is of its kind: forget and retain may be all that there is to train on."""
    files = visible(folder, "**/*.parquet") or visible(folder, "**/metadata.jsonl")
    views = [file for file in files if VIEW.search(_under(folder, file))]
    held_out = [file for file in files if HELD_OUT.search(_under(folder, file))]
    read = []
    for kind in ([file for file in files if file not in held_out], held_out):
        read += [file for file in kind if file not in views] or kind
    return read, views


def _under(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix().casefold()


def _rows(file: Path, columns: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    return json_rows(file, "remem") if file.suffix == ".jsonl" else parquet_rows(file, columns)


def _names(files: Sequence[Path], theirs: Mapping[str, str]) -> dict[str, str]:
    """identity -> name, of the rows whose attribute is the name."""
    parts, found = [theirs[key] for key in ("identity", "attribute", "target")], {}
    for file in files:
        with contextlib.suppress(BadData):  # read says what is wrong or missing
            for _, row in _rows(file, [part.partition(":")[0] for part in parts]):
                with contextlib.suppress(BadData):
                    identity, attribute, target = (_text_in(row, part, file) for part in parts)
                    if attribute_name(attribute) == "name":
                        found.setdefault(identity, target)
    return found


def _column(column: str, row: Mapping[str, Any]) -> str:
    """The column that the map's `column`, or `column:PATTERN`, is about; "" if the row lacks it."""
    return next((name for name in (column, column.partition(":")[0]) if name in row), "")


def _text_in(row: Mapping[str, Any], column: str, place: object) -> str:
    """What a row says in a column of the map, or in a part of it. A number counts as text, and so
    do the texts of a list."""
    theirs = _column(column, row) or column
    number = isinstance(row.get(theirs), int) and not isinstance(row[theirs], bool)
    listed = isinstance(row.get(theirs), list)
    text = "; ".join(texts(row[theirs])) if listed else str(row[theirs]) if number else ""
    text = text or text_of(row, theirs, place)
    if theirs == column:
        return text
    pattern = column.partition(":")[2]
    try:
        found = re.search(pattern, text)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadChoice(
            f"the column map's {pattern!r} is no regular expression ({error})"
        ) from error
    part = found and found[min(1, found.re.groups)]
    if not part or not part.strip():
        raise BadData(f"{place}: nothing in {theirs}, {cut(text)}, is like {pattern!r}")
    return part.strip()


def _undeclared(
    row: Mapping[str, Any], lacking: str, there: Mapping[str, str], place: str
) -> BadChoice:
    """What to write where columns are not known, with what the row holds to tell them by."""
    held = [
        f"{key} ({value!r:.60})" if isinstance(value, str) else key for key, value in row.items()
    ]
    known = {**{name: column for name, column in CARD.items() if column in row}, **there}
    lines = [f"  {name}: {known.get(name, '?')}" for name in (*NEEDED, *OPTIONAL)]
    return BadChoice(
        f"{place} has the columns {', '.join(held)}; which of them is {lacking}? Give a column map "
        "(ours: theirs, or theirs:PATTERN for what the first group of a regular expression finds "
        f"there), without what is not there after {NEEDED[-1]}:\n" + "\n".join(["columns:", *lines])
    )
