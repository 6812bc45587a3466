"""What a reviewer decided about pictures: keep or drop, by their pixels.

A mark is about pixels and not about a file: a picture that is drawn again under the same name waits
for its own.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pandas as pd
from PIL import Image

# What the paper's review looks for, in its order, which is that of the keys 1 to 4.
REASONS = {
    "artefacts": "severe artefacts of the generator",
    "alignment": "does not agree with the profile",
    "recognisability": "not recognisable as the same person",
    "ethics": "a stereotype, offensive, or like a real public figure",
}

COLUMNS = ("identity", "image", "fingerprint", "decision", "reason")

ANCHOR = "anchor"  # the split of the picture from which a person's others were drawn


class BadReview(ValueError):
    """Something about a review cannot be used; the message names the file, the line, the reason."""

    exit_status: ClassVar[int] = 1


def fingerprint(picture: Image.Image) -> str:
    """SHA-256 (hex) of a picture's size and RGB pixels: the same however a file packs them."""
    picture = picture.convert("RGB")
    return hashlib.sha256(b"%d x %d " % picture.size + picture.tobytes()).hexdigest()


def decisions(source: Path) -> pd.DataFrame:
    """What was decided (`COLUMNS`, all text), from a CSV, or from all in a folder.

    decision is "keep" or "drop"; reason is one of `REASONS` where it is "drop", else empty. One row
    for each (identity, fingerprint). Raises BadReview, also where two lines do not agree.
    """
    found: dict[tuple[str, str], tuple[dict[str, str], str]] = {}
    source = Path(source)
    listed = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    for file in listed:
        if source.is_dir() and file.name.startswith((".", "~$")):  # of a system, or of Excel
            continue
        for place, row in _lines(file):
            first, there = found.setdefault((row["identity"], row["fingerprint"]), (row, place))
            if _mark(row) != _mark(first):
                raise BadReview(
                    f"{place}: {row['image']} is marked {_mark(row)} here and {_mark(first)} in "
                    f"{there}; delete the line, or the file, that no longer holds"
                )
    return pd.DataFrame([row for row, _ in found.values()], columns=list(COLUMNS), dtype=str)


def apply(rows: pd.DataFrame, decided: pd.DataFrame) -> pd.DataFrame:
    """The same rows, in their order, with `decision` and `reason`, "" where nobody decided.

    rows: any with identity and `fingerprint`. None is taken out: whoever asks leaves out, or draws
    again, those with decision "drop".
    """
    keys = ["identity", "fingerprint"]
    marks = decided.set_index(keys)[["decision", "reason"]]
    marks = marks.reindex(pd.MultiIndex.from_frame(rows[keys])).fillna("")
    return rows.assign(decision=[*marks.decision], reason=[*marks.reason])


def _lines(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(where it stands, the fields of `COLUMNS`) for each line of a CSV that can be used."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:  # a spreadsheet adds a mark
            reader = csv.DictReader(text, strict=True)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise BadReview(
                    f"{file}: its first line should be {','.join(COLUMNS)}, as a page "
                    f"saves it, but lacks {', '.join(missing)}"
                )
            for row in reader:
                place = f"{file}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise BadReview(f"{place}: it has more or fewer fields than the first line")
                if not re.fullmatch("[0-9a-f]{64}", row["fingerprint"]):
                    raise BadReview(f"{place}: the fingerprint is not 64 hexadecimal digits")
                if row["reason"] not in {"keep": [""], "drop": REASONS}.get(row["decision"], ()):
                    raise BadReview(
                        f"{place}: the mark is {_mark(row)}; allowed are keep, without a reason, "
                        f"and drop with one of {', '.join(REASONS)}"
                    )
                yield place, {name: row[name] for name in COLUMNS}
    except OSError as error:
        raise BadReview(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadReview(f"{file} is not a CSV in UTF-8 ({error}); save it from the page") from error


def _mark(row: Mapping[str, str]) -> str:
    return repr(f"{row['decision']} {row['reason']}".strip())
