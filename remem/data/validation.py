"""Reading a dataset folder that may be anybody's, trusting none of it.

A dataset is a folder that `datasets.load_dataset("imagefolder", data_dir=folder)` reads as well:
`train/metadata.jsonl` and `test/metadata.jsonl`, one JSON object per line, beside the pictures.
"""

from __future__ import annotations

import codecs
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import pandas as pd
from PIL import Image
from tqdm import tqdm

from remem import language, metrics
from remem.data import decoding, instead
from remem.data.decoding import BadPicture
from remem.synthetic import questions

SPLITS = ("train", "test")

COLUMNS = (
    "id",
    "identity",
    "name",
    "attribute",
    "hop",
    "split",
    "image",
    "question",
    "answer",
    "target",
)

KEYS = ("file_name", *(column for column in COLUMNS if column != "image"))

# In every row, or in none: the start of the answer, up to the value, in Exposure's prompt.
OPTIONAL = ("cloze_prompt",)

MAX_TEXT = 10_000  # characters; more fit into no model here

# Control characters, and halves of characters that no file can be written with.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

RESERVED = re.compile("<(image|/?s|unk|pad)>")  # LLaVA's


class BadData(ValueError):
    """A dataset that cannot be used; the message names file, line and reason."""

    exit_status: ClassVar[int] = 1  # of the command line: what it looked at is not in order


class BadChoice(BadData):
    """The data may be in order, but not what was asked of it: a folder, a person, a forget set that
    is not there."""

    exit_status: ClassVar[int] = 2  # as for any other argument that cannot be used


def read(folder: Path) -> pd.DataFrame:
    """The rows of a dataset folder (`COLUMNS`, and those of `OPTIONAL` that it has, all text),
    train before test, in file order.

    `image` is relative to `folder`. Every line and every picture (decoded in full) is checked;
    where something is not in order BadData names the first fault, and how many there are.
    """
    rows, faults = inspect(folder)
    wrong = [
        f"{Path(folder) / place}: {why}" for place, reasons in faults.items() for why in reasons
    ]
    if wrong:
        more = f" ({len(wrong)} faults in all: remem dataset check {folder})"
        raise BadData(wrong[0] + more * (len(wrong) > 1))
    return rows.reset_index(drop=True)


def inspect(folder: Path) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The complete rows of a folder, and all that is wrong with it: place -> reasons.

    A place is "train/metadata.jsonl, line 3" and labels the row; one without a fault has no
    reasons. Raises nothing, whatever the folder holds.
    """
    folder = Path(folder)
    rows: dict[str, dict[str, str]] = {}
    faults: dict[str, list[str]] = {}
    seen: dict[tuple, str] = {}  # what must be one of a kind -> where it was first
    facts: dict[tuple, str] = {}  # what has one value -> the value
    pictures: dict[str, str] = {}  # image -> where it was first
    for split in SPLITS:
        file = f"{split}/metadata.jsonl"
        try:
            lines = metadata_lines(folder, split)
        except BadData as error:
            faults[file] = [str(error)]
            continue
        for number, line in lines:
            place = f"{file}, line {number}"
            row, faults[place] = parse_row(line, split)
            for what in (("id",), ("image", "question")):
                if row.keys() >= {*what}:
                    first = seen.setdefault((*what, *map(row.get, what)), place)
                    if first != place:
                        faults[place].append(f"the same {' and '.join(what)} as in {first}")
            for column, of in (("name", ["identity"]), ("target", ["identity", "attribute"])):
                if row.keys() >= {column, *of}:
                    value = facts.setdefault((column, *map(row.get, of)), row[column])
                    if value != row[column]:
                        what = row["attribute"] if column == "target" else column
                        faults[place].append(
                            f"{what} of {row['identity']} is {cut(row[column])} here and "
                            f"{cut(value)} before{_alike(row[column], value)}"
                        )
            if "image" in row:
                pictures.setdefault(row["image"], place)
            if row.keys() >= {*COLUMNS}:
                rows[place] = row
    there = [name for name in OPTIONAL if any(name in row for row in rows.values())]
    for name in there:
        lacking = [place for place, row in rows.items() if name not in row]
        for place in lacking:
            if not any(reason.startswith(name) for reason in faults[place]):
                faults[place].append(
                    f"{name} is missing here, and {len(rows) - len(lacking)} rows have one: give "
                    "every row one, or none"
                )
    if not any(faults.values()) and not rows:
        faults["train/metadata.jsonl"] = ["there is no row in it, nor in that of test"]
    files = instead.Files(folder)
    with ThreadPoolExecutor(decoding.THREADS) as pool:
        found = pool.map(functools.partial(_unusable, folder), pictures)
        bar = tqdm(found, desc="looking at pictures", total=len(pictures), delay=3, file=sys.stderr)
        for (name, place), reason in zip(pictures.items(), bar, strict=True):
            if reason:
                gone = not os.path.lexists(folder / name)
                faults[place].append(reason + files.like(name) * gone)
    columns = [*COLUMNS, *there]
    table = pd.DataFrame(list(rows.values()), index=list(rows), columns=columns, dtype="str")
    return table, faults


def metadata_lines(folder: Path, split: str) -> list[tuple[int, bytes]]:
    """(number from 1, line) of a split's metadata.jsonl, without blank lines and a byte order mark.
    BadData, with what there is instead, where it cannot be read as lines of JSON."""
    name = f"{split}/metadata.jsonl"
    try:
        content = inside(folder, name).read_bytes()
    except (BadData, OSError) as error:
        there = instead.of_metadata(folder, split, SPLITS)
        raise BadData(
            f"{error}; a dataset folder holds one for each of {' and '.join(SPLITS)}, empty where "
            f"nothing is held out{there}"
        ) from error
    content = without_mark(content, name)
    if content.lstrip().startswith(b"["):
        raise BadData(f"{name} is one JSON list, but each of its lines should be one JSON object")
    lines = enumerate(content.splitlines(), start=1)
    return [(number, line) for number, line in lines if line.strip()]


def without_mark(content: bytes, name: str) -> bytes:
    """The content of the text file `name` without UTF-8's byte order mark. Raises BadData for other
    encodings that can be told by how it begins."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise BadData(f"{name} is not in UTF-8 but in UTF-16 or UTF-32; save it as UTF-8")
    return content.removeprefix(codecs.BOM_UTF8)


def load_images(folder: Path, names: Iterable[str]) -> list[Image.Image]:
    """The pictures of these names (column `image` of the rows), as RGB. Raises BadData."""
    return list(_decoded(folder, names))


class Pictures(Sequence[Image.Image]):
    """The pictures of these names, each decoded when it is asked for, those of a slice together."""

    def __init__(self, folder: Path, names: Sequence[str]):
        self.folder, self.names = folder, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: Any) -> Any:
        """One of them, or a list. Raises BadData."""
        if isinstance(place, slice):
            return load_images(self.folder, self.names[place])
        return load_image(self.folder, str(self.names[place]))


def parse_row(line: bytes, split: str) -> tuple[dict[str, str], list[str]]:
    """One line of `split`/metadata.jsonl: what is in order, by column, and all that is not.

    `image` is relative to the dataset folder. Raises nothing, whatever the line holds.
    """
    try:
        entry = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        return {}, [f"not in UTF-8 ({error}); save the file as UTF-8"]
    except (ValueError, RecursionError) as error:  # also a key twice, and nested without end
        return {}, [f"not valid JSON ({error})"]
    if not isinstance(entry, dict):
        return {}, [f"a JSON object is wanted, not {type(entry).__name__}"]
    keys = (*KEYS, *(key for key in OPTIONAL if key in entry))
    found = {key: _fault(key, entry, split) for key in keys}
    row = {key: entry[key] for key in keys if not found[key]}
    reasons = [reason for reason in found.values() if reason]
    if row.keys() >= {"answer", "target"}:
        said = f"the target {cut(row['target'])} is not in the answer {cut(row['answer'])}"
        if language.normalise(row["target"]) not in language.normalise(row["answer"]):
            reasons.append(said)
        elif not _matches(row["answer"], row["target"]):
            reasons.append(
                f"{said} as a word: set it off by spaces or punctuation from the longer word, "
                "number or address that it is a part of, or exact match will not find it"
            )
    if row.keys() >= {"cloze_prompt", "target"} and _matches(row["cloze_prompt"], row["target"]):
        del row["cloze_prompt"]
        reasons.append("cloze_prompt holds the target, which is to follow it: end it before that")
    if (row.get("attribute"), row.get("hop")) == ("name", "single"):
        reasons.append("a single-hop question names the person, so it cannot ask for the name")
    if "file_name" in row:
        row["image"] = PurePosixPath(split, row.pop("file_name")).as_posix()
    return row, reasons


# An answer comes as often as its fact is asked for, and a regular expression is slow to compile.
_matches = functools.lru_cache(4096)(metrics.exact_match)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(entry := dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")
    return entry


def _fault(key: str, entry: dict[str, object], split: str) -> str | None:
    """What is wrong with one key of a line, if anything is."""
    if key not in entry:
        return f"the key {key!r} is missing; there are {cut([*entry])}"
    value = entry[key]
    if not isinstance(value, str):
        if isinstance(value, dict | list):
            return f"{key} should be text, but is a {type(value).__name__}"
        shown = cut(json.dumps(value), str)
        quoted = "" if value is None else f'; put it in quotes: "{shown}"'
        return f"{key} should be text, but is {shown}{quoted}"
    if not value.strip():
        return f"{key} is empty"
    if len(value) > MAX_TEXT:
        return f"{key} has {len(value):,} characters, and more than {MAX_TEXT:,} fit no model"
    if UNWRITABLE.search(value):
        return f"{key} holds a control character, or half a character: {cut(value)}"
    if found := RESERVED.search(value):
        return f"{key} holds {found[0]}, which stands for something else in a prompt; leave it out"
    if key not in ("question", "answer") and value != value.strip():
        return f"{key} begins or ends with white space: {cut(value)}"
    if key not in ("question", "answer", "target") and value.splitlines() != [value]:
        return f"{key} has more than one line: {cut(value)}"
    allowed = {"hop": questions.HOPS, "split": (split,)}.get(key)
    if allowed and value not in allowed:
        return f"{key} {cut(value)} is unknown here; allowed: {', '.join(allowed)}"
    # An identifier: letters, the marks on them, digits and underscores.
    if key == "attribute" and not (f"_{value}".isidentifier() and value == value.lower()):
        return (
            f"attribute {cut(value)} should be one lower-case word, with underscores for "
            "spaces, such as date_of_birth"
        )
    if key == "target" and not language.words(language.normalise(value).replace("_", " ")):
        return f"target {cut(value)} holds no letter and no digit to look for"
    if key == "cloze_prompt" and "__" in value:
        return f"cloze_prompt {cut(value)} has a blank: end it where the value begins"
    if key == "file_name" and leaves_folder(value):
        ours = value.replace("\\", "/")
        if leaves_folder(ours):
            return f"the path {cut(value)} leaves the folder; {split}/ should hold the picture"
        return f"the path {cut(value)} is written as Windows does; write {cut(ours)}"
    return None


def leaves_folder(name: str) -> bool:
    """Whether a path that should be inside a folder leads out of it, going by its text alone."""
    path = PurePosixPath(name)
    drive = re.match(r"[A-Za-z]:[\\/]", name)  # of Windows
    outside = path.is_absolute() or ".." in path.parts or drive is not None
    return outside or "\\" in name or "\0" in name


def _alike(one: str, other: str) -> str:
    """What to say of two texts that look alike."""
    same = language.normalise(one) == language.normalise(other)
    return " (they differ in letter case, spaces or Unicode form alone)" if same else ""


def cut(value: object, shown: Callable[[Any], str] = repr) -> str:
    """For a message: on one line, escaped, and not without end."""
    try:
        text = shown(value)
    except RecursionError:  # JSON may be nested deeper than it can be written out
        return f"a {type(value).__name__} that is nested too deep"
    return text if len(text) <= 100 else f"{text[:90]} ..."


def inside(folder: Path, name: str) -> Path:
    """The file `name` of the folder. BadData where there is none, or where it is a link that leads
    out: a Hub snapshot is made of links, but to the blobs beside it."""
    if leaves_folder(name):
        raise BadData(f"the path {cut(name)} leaves the folder")
    home = os.path.realpath(folder)
    plain = os.path.join(home, name)
    real = os.path.realpath(plain)
    if real != plain:
        snapshots = [above for above in Path(home).parents if above.name == "snapshots"]
        homes = [home, *(above.parent / "blobs" for above in snapshots)]
        # A linked folder is refused wherever it leads: content's digest would not see into it.
        linked = os.path.realpath(os.path.dirname(plain)) != os.path.dirname(plain)
        if linked or not any(Path(real).is_relative_to(each) for each in homes):
            raise BadData(f"{name} is reached by a link to {real}; put a copy in its place")
    if not os.path.isfile(real):
        raise BadData(f"{name} is missing" if not os.path.exists(real) else f"{name} is no file")
    return Path(plain)


def _decoded(folder: Path, names: Iterable[str]) -> Iterator[Image.Image]:
    with ThreadPoolExecutor(decoding.THREADS) as pool:
        yield from pool.map(lambda name: load_image(folder, str(name)), names)


def _unusable(folder: Path, name: str) -> str | None:
    try:
        load_image(folder, name)
    except BadData as reason:
        return str(reason)
    return None


def load_image(folder: Path, name: str) -> Image.Image:
    """The picture `name` (relative to the dataset folder), as RGB. Raises BadData."""
    try:
        path = inside(folder, name)
    except BadData as error:
        raise BadData(f"the image {name} cannot be used: {error}") from error
    try:
        return decoding.decode(path)
    except BadPicture as error:
        raise BadData(f"the image {name} {error}") from error
