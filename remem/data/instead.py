"""What there is in place of what a dataset folder should hold, for messages that say the way out.

Only names are looked at, and the first bytes of a file; nothing here raises.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import unicodedata
from collections.abc import Sequence
from pathlib import Path

NAME = "metadata.jsonl"

FROM_TABLE = (
    'python -c \'import pandas; pandas.read_csv("{}", sep="{}", dtype=str, keep_default_na=False)'
    f'.to_json("{NAME}", orient="records", lines=True)\''
)

SEPARATORS = {"metadata.csv": ",", "metadata.tsv": r"\t"}

# How a file begins that is no PNG and no JPEG -> what it is, and the way out.
_SAVE = "save it as PNG or JPEG"
_KINDS = {
    rb"RIFF....WEBP": f"a WebP; {_SAVE}",
    rb"GIF8[79]a": f"a GIF; {_SAVE}",
    rb"II[*+]\0|MM\0[*+]": f"a TIFF; {_SAVE}",
    rb"BM": f"a BMP; {_SAVE}",
    rb"....ftypavi": f"an AVIF; {_SAVE}",
    rb"....ftyp(hei|hev|mif|msf)": f"a HEIC, as telephones take them; {_SAVE}",
    rb"\0\0\0\x0cJXL |\xff\x0a": f"a JPEG XL; {_SAVE}",
    rb"\0\0\0\x0cjP|\xff\x4f\xff\x51": f"a JPEG 2000; {_SAVE}",
    rb"%PDF": f"a PDF; {_SAVE}",
    rb"\s*<(\?xml|svg)": f"an SVG; {_SAVE}",
    rb"(?i)\s*<(!doctype html|html|head)": "a web page; it was not really downloaded",
    rb"version https://git-lfs": "the pointer of Git LFS to it; fetch it with: git lfs pull",
}


def of_picture(head: bytes) -> str:
    """What a file is, by its first 64 bytes, as the end of a sentence that says what it is not;
    nothing where that is not known."""
    for begins, what in _KINDS.items():
        if re.match(begins, head, re.DOTALL):
            return f", but {what}"
    return ""


def of_metadata(folder: Path, split: str, splits: Sequence[str]) -> str:
    """What there is where a split's metadata.jsonl is missing, as the end of a sentence; nothing
    where there is nothing of the kind."""
    here, there = _names(folder / split), _names(folder)
    for name in here:
        at, low = f"{split}/{name}", name.casefold()
        if low != NAME and low.removesuffix(".txt") in (NAME, "metadata.json"):
            return f"; there is {at!r}: call it {NAME}, with one JSON object on each line"
        if low != name and low == NAME:
            return f"; there is {at!r}: write its name in small letters"
        if low in SEPARATORS:
            way = FROM_TABLE.format(name, SEPARATORS[low])
            return f"; there is {at!r}: write its rows as JSON, in that folder, with: {way}"
    if any(name.endswith(".parquet") for name in here + _names(folder / "data")):
        return f"; there are parquet files: try remem convert remem {shlex.quote(str(folder))} OUT"
    if folder.name in splits and NAME in there:
        return f"; this is the folder of a split: name the one above it, {str(folder.parent)!r}"
    for name in there:
        if name != split == name.casefold():
            return f"; there is {name!r}: write its name in small letters"
        if name.casefold().startswith("metadata."):
            return (
                f"; there is {name!r} in the folder itself: put the rows of each split in a file "
                f"of its own ({', '.join(f'{each}/{NAME}' for each in splits)}), beside the "
                "pictures, with file_name relative to it"
            )
    for name in there:
        if NAME in _names(folder / name / split):
            return (
                f"; there is {f'{name}/{split}/{NAME}'!r}: name the folder {str(folder / name)!r}"
            )
    others = [name for name in (here or there) if not name.startswith(".")]
    return f"; there is {', '.join(map(repr, others[:5]))}" if others else ""


class Files:
    """The files of a folder, to find the one that was meant by a path that leads to none."""

    def __init__(self, folder: Path):
        """Nothing is read yet: mostly nothing is missing."""
        self.folder = folder

    def like(self, name: str) -> str:
        """Which file may be meant by `name` (relative to the folder, its split first), as the end
        of a sentence; nothing where there is none."""
        split, _, rest = name.partition("/")
        if other := self._by_name.get(_folded(name)):
            form = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
            what = "the Unicode form of its name (NFC, NFD)" if form else "letter case"
            return f"; there is {other!r}, which differs in {what}: rename it, or the other here"
        if rest.startswith(f"{split}/") and self._by_name.get(_folded(rest)) == rest:
            short = rest.removeprefix(f"{split}/")
            return f"; there is {rest!r}: file_name is relative to {split}, so write {short!r}"
        stem = os.path.splitext(name)[0]
        other = self._by_stem.get(_folded(stem)) or self._by_last.get(_folded(_last(name)))
        if not other:
            return ""
        inside = other.startswith(f"{split}/")
        way = f"write {other.removeprefix(f'{split}/')!r}" if inside else f"copy it into {split}"
        return f"; there is {other!r}: {way}"

    @functools.cached_property
    def _all(self) -> list[str]:
        found = []
        for where, _, names in os.walk(self.folder):
            above = Path(where).relative_to(self.folder)
            found += [(above / name).as_posix() for name in names if name != NAME]
        return sorted(found, reverse=True)  # of several that are alike the first is kept

    @functools.cached_property
    def _by_name(self) -> dict[str, str]:
        return {_folded(name): name for name in self._all}

    @functools.cached_property
    def _by_stem(self) -> dict[str, str]:
        return {_folded(os.path.splitext(name)[0]): name for name in self._all}

    @functools.cached_property
    def _by_last(self) -> dict[str, str]:
        return {_folded(_last(name)): name for name in self._all}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []
