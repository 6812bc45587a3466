"""Manual review (Section 6.1): a page for each person, on which somebody marks every picture keep
or drop, with the reason, from the keyboard; and what was decided, read back.

`python -m remem.review FOLDER` reads a construction's draft or a dataset folder, and writes
FOLDER/review/<identity>.html: one file each, which fetches nothing and saves a small CSV. Put
beside its page, the CSV is what the next page begins with, and what construct.py and an export of a
dataset honour. A mark is about pixels, not a file: a picture that is drawn again
under the same name waits for its own.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from PIL import Image
from tqdm import tqdm

from remem import dataset, paths

# What the paper's review looks for, in its order, which is that of the keys 1 to 4.
REASONS = {
    "artefacts": "severe artefacts of the generator",
    "alignment": "does not agree with the profile",
    "recognisability": "not recognisable as the same person",
    "ethics": "a stereotype, offensive, or like a real public figure",
}
COLUMNS = ("identity", "image", "fingerprint", "decision", "reason")
ANCHOR = "anchor"  # the split of the picture from which a person's others were drawn
SIDE, EXACT = 768, 256  # pixels a side: the most that a page holds; up to here nothing is lost


class BadReview(ValueError):
    """Something about a review cannot be used; the message names the file, the line, the reason."""


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
    for file in sorted(source.glob("*.csv")) if (source := Path(source)).is_dir() else [source]:
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


def write(
    views: pd.DataFrame,
    people: Iterable[Mapping[str, Any]],
    source: Path,
    folder: Path,
    decided: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Write a page per identity to `folder`, and return `views`, one row for each picture of a
    person, with `fingerprint`, `decision`, `reason` and `page` (its path) added.

    views: identity, image (relative to `source`), split. similarity (cosine to the anchor; NaN: no
    face was found) and any further columns, such as pose, are told beneath the picture. The one of
    split "anchor", else the first, stays in sight beside the others.
    people: for each `identity` whatever the page is to tell. decided: those pictures begin marked,
    and what it says of pictures that are no longer there is saved again with the rest.
    Raises dataset.BadData for a picture that cannot be read or is outside of `source`,
    paths.CannotWrite.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("remem", "."), autoescape=True, trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    template = environment.get_template("review.html.j2")
    decided = pd.DataFrame(columns=list(COLUMNS), dtype=str) if decided is None else decided
    profiles = {person["identity"]: person for person in people}
    done = []
    groups = views.drop_duplicates(["identity", "image"]).groupby("identity", sort=False)
    for identity, part in tqdm(groups, desc="pages to review", unit="person", file=sys.stderr):
        prints, data = zip(*(_embedded(source, name) for name in part.image), strict=True)
        mine = decided[decided.identity == identity]
        part = apply(part.assign(fingerprint=prints), mine)
        shown = [{**{name: row[name] for name in COLUMNS}, "told": _told(row), "data": each}
                 for row, each in zip(part.to_dict("records"), data, strict=True)]  # fmt: skip
        stem = _stem(identity)
        text = template.render(
            identity=identity,
            profile={**profiles.get(identity, {}), "identity": identity},
            views=shown,
            anchor=data[int((part.split == ANCHOR).argmax())],
            has_anchor=ANCHOR in [*part.split],
            earlier=mine[~mine.fingerprint.isin(prints)].to_dict("records"),
            reasons=REASONS,
            columns=COLUMNS,
            file=f"{stem}.csv",
            # the marks that a browser remembers are those of this page, and of no later one
            stamp=hashlib.sha256(part[list(COLUMNS)].to_csv().encode()).hexdigest(),
        )
        # "replace": JSON may hold half a character, which no file can be written with
        page = paths.write(Path(folder) / f"{stem}.html", text.encode(errors="replace"))
        done.append(part.assign(page=str(page)))
    return pd.concat(done)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m remem.review FOLDER`. 0 when the pages are written, 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m remem.review", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="a construction's draft, or a dataset")
    folder = parser.parse_args(arguments).folder
    pages = folder / "review"
    try:
        decided = decisions(pages) if pages.is_dir() else None
        views = write(*_pictures(folder), folder, pages, decided)
    except (BadReview, dataset.BadData, paths.CannotWrite) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for page, part in views.groupby("page", sort=False):
        kept, dropped, left = ((part.decision == mark).sum() for mark in ("keep", "drop", ""))
        print(f"{page}: {len(part)} pictures, {kept} kept, {dropped} dropped, {left} to see")
    dropped = views[views.decision == "drop"]
    if ANCHOR not in {*views.split} and len(dropped):  # a dataset, which nobody draws again
        print("python -m remem.dataset export leaves out the rows of these:")
        for row in dropped.itertuples():
            print(f"- {row.image}: {REASONS[row.reason]}")
    return 0


def _lines(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(where it stands, the fields of `COLUMNS`) for each line of a CSV that can be used."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:  # a spreadsheet adds a mark
            reader = csv.DictReader(text, strict=True)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise BadReview(f"{file}: its first line should be {','.join(COLUMNS)}, as a page "
                                f"saves it, but lacks {', '.join(missing)}")  # fmt: skip
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


def _stem(identity: str) -> str:
    """A file name for anybody's label: the label itself where it is a plain one."""
    plain = re.fullmatch("[a-z0-9_-]{1,60}", identity)
    return identity if plain else hashlib.sha256(identity.encode()).hexdigest()[:16]


def _told(row: Mapping[str, Any]) -> str:
    """What is known about a picture, in one line."""
    told = [row["image"]]
    for name, value in row.items():
        if name == "similarity" and row["split"] != ANCHOR:
            told.append("no face found" if pd.isna(value) else f"similarity {value:.2f}")
        elif name not in (*COLUMNS, "similarity") and not pd.isna(value) and value != "":
            told.append(f"{name.replace('_', ' ')}: {value}")
    return " \u00b7 ".join(told)


def _embedded(source: Path, name: str) -> tuple[str, str]:
    """A picture's fingerprint, and the picture as a page holds it."""
    [picture] = dataset.load_images(source, [name])
    found = fingerprint(picture)
    picture.thumbnail((SIDE, SIDE))
    kind = "png" if max(picture.size) <= EXACT else "jpeg"
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=92, subsampling=0)  # png knows neither
    return found, f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _pictures(folder: Path) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """(views, people) of a draft, which tells them in views.csv, or of a dataset folder."""
    table, told = folder / "views.csv", folder / "people.json"
    try:
        people = json.loads(told.read_bytes()) if told.is_file() else []
        people = [{**person, "identity": str(person["identity"])} for person in people]
    except (ValueError, TypeError, KeyError) as error:
        raise BadReview(f"{told} is not a list of people with an identity each") from error
    if not table.is_file():
        return dataset.read(folder)[["identity", "image", "split"]], people
    try:
        views = pd.read_csv(table, dtype=str, keep_default_na=False)
    except ValueError as error:  # no table, or not UTF-8
        raise BadReview(f"{table} is not a CSV in UTF-8 ({error}); start the construction again, "
                        "which writes it") from error  # fmt: skip
    # pandas takes the first cell for a label where a row has more cells than there are columns
    labelled = not isinstance(views.index, pd.RangeIndex)
    if not {"identity", "image", "split"} <= {*views} or views.empty or labelled:
        raise BadReview(f"{table} should have the columns identity, image, split, and rows with as "
                        "many cells as the first line has")  # fmt: skip
    if "similarity" in views:
        views["similarity"] = pd.to_numeric(views.similarity, errors="coerce")
    return views, people


if __name__ == "__main__":
    sys.exit(main())
