"""Other benchmarks' files: where they come from, and their formats (parquet, JSON, ZIP).

What is not as it should be raises BadData with file, row and reason.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from remem.data import decoding, validation
from remem.data.validation import BadChoice, BadData, cut

# benchmark -> its name on the Hub, and what is read of it: pattern -> size
SOURCES = {
    "remem": ("herbwood27/Remem", {"data/*": "9.5 GB"}),
    "fiubench": (
        "gray311/FIUBench",
        {"full.json": "7 MB", "SFHQ.zip": "146 MB", "split.json": "2 kB"},
    ),
    "mllmu": (
        "MLLMMU/MLLMU-Bench",
        {
            "Full_Set/*": "some 240 MB",
            "ft_Data/*": "238 MB",
            "Test_Set/*": "673 MB",
            "forget_*/*": "some 70 MB",
        },
    ),
    "clear": ("therem/CLEAR", {"full/*": "some 630 MB", "forget[01]?/*": "some 100 MB"}),
    "clear_real": ("therem/CLEAR", {"real_faces/*": "2 MB"}),
}

LISTS = ("full.json", "split.json", "metadata.jsonl")  # what is read besides parquet and ZIP

MAX_BYTES = decoding.MAX_BYTES  # of one picture; in a ZIP it may swell without end

MAX_PATH = 4096  # characters of a path: what systems take

BATCH = 16  # rows of a parquet file at once, since they hold pictures


class Question(NamedTuple):
    """One question as the benchmark has it: `picture` is (what tells it from others, its bytes),
    `values` are (attribute, value) that the answer may hold, `place` is for messages, `cloze` a
    sentence that the value completes."""

    place: str
    identity: str
    name: str
    split: str
    picture: tuple[str, bytes]
    question: str | None
    answer: str | None
    values: Sequence[tuple[str, str]]
    hop: str | None = None
    cloze: str | None = None


def fetch(benchmark: str, folder: Path) -> Path:
    """Download what is read of a benchmark into `folder`; the one place that does, when asked.

    Raises BadData where the Hub does not give it, or HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import constants, errors, snapshot_download

    name, files = SOURCES[benchmark]
    if constants.HF_HUB_OFFLINE:
        raise BadChoice(f"{name} is not fetched, since HF_HUB_OFFLINE is set; unset it")
    try:
        snapshot_download(name, repo_type="dataset", allow_patterns=[*files], local_dir=folder)
    except (OSError, errors.HfHubHTTPError) as error:
        raise BadChoice(f"{name} cannot be fetched from the Hub: {error}") from error
    return Path(folder)


def missing(benchmark: str, folder: Path, pattern: str) -> BadChoice:
    """What to raise where no file of `pattern`, which is one of SOURCES, is in `folder`."""
    name, files = SOURCES[benchmark]
    return BadChoice(
        f"{folder / pattern} is missing, and nothing is downloaded unasked. It is "
        f"{files.get(pattern, 'part')} of {name} on the Hub; to fetch it: HF_HUB_OFFLINE=0 "
        f"remem fetch {benchmark} {shlex.quote(str(folder))}"
    )


def visible(folder: Path, pattern: str) -> list[Path]:
    """What a pattern finds in a folder, sorted, without what a system or an editor hid there."""
    found = {path: path.relative_to(folder).parts for path in sorted(folder.glob(pattern))}
    return [path for path, parts in found.items() if not any(p.startswith(".") for p in parts)]


def can_be_read(file: Path) -> bool:
    """Whether a reader may take it for a table, a list, an archive or a picture; for the latter by
    how it begins, since that is how a picture is decoded."""
    try:
        if not file.is_file():
            return False
        if file.suffix in (".parquet", ".zip") or file.name in LISTS:
            return True
        with file.open("rb") as opened:
            return opened.read(8).startswith((b"\x89PNG", b"\xff\xd8"))
    except OSError:
        return False


def attribute_name(text: str) -> str:
    """What an attribute is called: one lower-case word, and "name" for a full name."""
    word = re.sub(r"\W+", "_", text.casefold()).strip("_")
    return "name" if word == "full_name" else word


def hub_rows(
    benchmark: str, folder: Path, config: str, columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of a Hub configuration; the first column, which says who it is, is text."""
    files = visible(folder, f"{config}/*.parquet")
    if not files:
        raise missing(benchmark, folder, f"{config}/*")
    for file in files:
        for number, row in parquet_rows(file, columns):
            place = f"{file}, row {number}"
            yield place, {**row, columns[0]: text_of(row, columns[0], place)}


def parquet_rows(file: Path, columns: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, row) of a parquet file, a few rows at a time."""
    number = 0
    try:
        with pq.ParquetFile(file) as table:
            there = table.schema_arrow.names
            if lacking := [name for name in columns if name not in there]:
                raise BadData(f"{file} lacks {', '.join(lacking)}; it has {', '.join(there)}")
            for part in table.iter_batches(batch_size=BATCH, columns=list(columns) or None):
                for at in range(len(part)):
                    [row] = part.slice(at, 1).to_pylist()
                    number += 1
                    yield number, row
    except BadData:
        raise
    except UnicodeDecodeError as error:  # of a column that says that it holds text
        where = f"{file}, row {number + 1}"
        raise BadData(
            f"{where} holds text that is not in UTF-8 ({error}); fetch it again"
        ) from error
    except Exception as error:  # what a damaged file raises is anything
        raise BadData(f"{file} cannot be read as parquet ({error}); fetch it again") from error


def json_rows(file: Path, benchmark: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, object) of a JSON list or, as FIUBench's code allows, of JSON lines."""
    if not file.is_file():
        raise missing(benchmark, file.parent, file.name)
    content = text_in(file)
    if content.lstrip().startswith("["):
        found = parsed(content, list, file)
    else:  # lines, whose ends are \n by now
        lines = enumerate(content.split("\n"), start=1)
        found = [parsed(line, dict, f"{file}, line {k}") for k, line in lines if line.strip()]
    yield from enumerate(found, start=1)


def text_in(file: Path) -> str:
    """The text of a JSON file in UTF-8, with or without a byte order mark."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadData(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadData(f"{file} is not valid JSON: it is not in UTF-8 ({error})") from error


def forget_sets(benchmark: str, folder: Path, column: str) -> dict[str, list[str]]:
    """name -> the people in `column`, of each Hub configuration that is a forget set."""
    return {
        part.name: [row[column] for _, row in hub_rows(benchmark, folder, part.name, (column,))]
        for part in sorted(folder.glob("forget*"))
        if re.fullmatch(r"forget_?\d+", part.name)
        and part.is_dir()  # not CLEAR's +tofu, _perturbed
    }


class Pictures:
    """Pictures by their path under a folder, or in a ZIP that lies there (read where it is)."""

    def __init__(self, folder: Path):
        """`folder` may hold any number of ZIPs. Raises BadData for one that cannot be read."""
        self.folder = folder
        self.zipped: dict[str, zipfile.ZipFile] = {}
        for file in visible(folder, "*.zip"):
            try:
                opened = zipfile.ZipFile(file)  # which stays open: its directory is long
                self.zipped |= dict.fromkeys(opened.namelist(), opened)
            except Exception as error:  # what a damaged file raises is anything
                raise BadData(f"{file} cannot be read ({error}); fetch it again") from error

    def read(self, path: str, place: str) -> bytes:
        """FIUBench's paths begin with folders of its authors': the longest tail that is there."""
        shown = cut(path)
        if len(path) > MAX_PATH:
            raise BadData(f"{place}: the path {shown} has {len(path):,} characters")
        if validation.leaves_folder(path):
            raise BadData(f"{place}: the path {shown} leaves the folder")
        parts = PurePosixPath(path).parts
        for tail in ("/".join(parts[k:]) for k in range(len(parts))):
            if os.path.isfile(file := self.folder / tail):
                if not file.resolve().is_relative_to(self.folder.resolve()):
                    raise BadData(f"{place}: {path} is a link that leads out of {self.folder}")
                try:
                    _check_size(file.stat().st_size, f"{place}: {path}")
                    return file.read_bytes()
                except OSError as error:
                    raise BadData(f"{place}: {path} cannot be read: {error.strerror}") from error
            if tail in self.zipped:
                return self._unzipped(tail, f"{place}: {path}")
        raise BadData(
            f"{place}: {shown} is neither in {self.folder} nor in a ZIP there (the "
            "pictures of FIUBench are in SFHQ.zip, 146 MB)"
        )

    def _unzipped(self, name: str, place: str) -> bytes:
        file = self.zipped[name]
        _check_size(file.getinfo(name).file_size, place)
        try:
            return file.read(name)
        except Exception as error:  # damaged, encrypted, or packed in a way that is unknown here
            raise BadData(f"{place} cannot be read from {file.filename} ({error})") from error


def _check_size(size: int, place: str) -> None:
    if size > MAX_BYTES:
        raise BadData(f"{place} has {size:,} bytes, and more than {MAX_BYTES:,} are no picture")


def stored_picture(cell: Any, place: str) -> tuple[str, bytes]:
    """A picture as the Hub keeps it in parquet: {"bytes", "path"}. What it shows names it."""
    if not isinstance(cell, dict) or not cell.get("bytes"):
        raise BadData(f"{place}: the picture is missing")
    if not isinstance(cell["bytes"], bytes):
        raise BadData(f"{place}: the picture is {type(cell['bytes']).__name__}, and not bytes")
    _check_size(len(cell["bytes"]), f"{place}: the picture")
    return hashlib.sha256(cell["bytes"]).hexdigest(), cell["bytes"]


def texts(value: Any) -> list[str]:
    """A text, or those of a list of them; what else it holds is passed over."""
    listed = value if isinstance(value, list) else [value]
    return [text.strip() for text in listed if isinstance(text, str) and text.strip()]


def text_of(entry: Mapping[str, Any], key: str, place: object) -> str:
    """The text that `entry` has under `key`, stripped."""
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadData(f"{place}: {key} should be text, but is {cut(value)}")
    return value.strip()


def parsed(value: Any, kind: type, place: object) -> Any:
    """An object, or a list of objects, that may be written as JSON text."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise BadData(f"{place} is not valid JSON ({error})") from error
    inside = found if isinstance(found, list) else []
    if not isinstance(found, kind) or not all(isinstance(item, dict) for item in inside):
        wanted = "an object" if kind is dict else "a list of objects"
        raise BadData(f"{place} should be {wanted}, but is {cut(found)}")
    return found
