"""The pages of the manual review (section 6.1), one for each person.

On a page somebody marks every picture keep or drop, with the reason, from the keyboard. It is one
file, which fetches nothing and saves a small CSV. Put beside its page, the CSV is what the next
page begins with, and what `construct` and an export of a dataset honour (data.review_marks).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from tqdm import tqdm

from remem import paths
from remem.data import review_marks, validation
from remem.data.review_marks import ANCHOR, COLUMNS, REASONS, BadReview

SIDE, EXACT = 768, 256  # pixels a side: the most that a page holds; up to here nothing is lost

UNDECIDED = pd.DataFrame(columns=list(COLUMNS), dtype=str)  # before anybody marked a picture


def write_pages(folder: Path) -> list[str]:
    """Write `folder`/review/<identity>.html for each person of a construction's draft, or of a
    dataset folder; the marks that lie beside them are honoured.

    Returns lines that say what there is: for each page how many pictures are kept, dropped and
    still to see, and of a dataset what an export leaves out. Raises BadReview, and what `write`
    raises.
    """
    folder = Path(folder)
    pages = folder / "review"
    if pages.is_symlink():
        raise BadReview(
            f"{pages} is a link to {pages.resolve()}: nothing is written through it. Put a folder "
            "in its place"
        )
    decided = review_marks.decisions(pages) if pages.is_dir() else UNDECIDED
    pictures = write(*_pictures(folder), folder, pages, decided)
    lines = []
    for page, part in pictures.groupby("page", sort=False):
        kept, dropped, left = ((part.decision == mark).sum() for mark in ("keep", "drop", ""))
        lines.append(f"{page}: {len(part)} pictures, {kept} kept, {dropped} dropped, {left} to see")
    dropped = pictures[pictures.decision == "drop"]
    if ANCHOR not in {*pictures.split} and len(dropped):  # a dataset, which nobody draws again
        lines.append("remem dataset export leaves out the rows of these:")
        lines += [f"- {row.image}: {REASONS[row.reason]}" for row in dropped.itertuples()]
    return lines


def write(
    pictures: pd.DataFrame,
    people: Iterable[Mapping[str, Any]],
    source: Path,
    folder: Path,
    decided: pd.DataFrame = UNDECIDED,
) -> pd.DataFrame:
    """Write a page per identity to `folder`, and return `pictures`, one row for each picture of a
    person, with `fingerprint`, `decision`, `reason` and `page` (its path) added.

    pictures: identity, image (relative to `source`), split. similarity (cosine to the anchor; NaN:
    no face was found) and any further columns, such as pose, are shown beneath the picture. The one
    of split "anchor", else the first, stays in sight beside the others.
    people: for each `identity` whatever the page is to show. decided: those pictures begin marked,
    and what it says of pictures that are no longer there is saved again with the rest.
    Raises validation.BadData for a picture that cannot be read or is outside of `source`,
    paths.CannotWrite.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("remem.construction", "."),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("review.html.j2")
    profiles = {person["identity"]: person for person in people}
    done = []
    groups = pictures.drop_duplicates(["identity", "image"]).groupby("identity", sort=False)
    for identity, part in tqdm(groups, desc="pages to review", unit="person", file=sys.stderr):
        fingerprints, data = zip(*(_embedded(source, name) for name in part.image), strict=True)
        mine = decided[decided.identity == identity]
        part = review_marks.apply(part.assign(fingerprint=fingerprints), mine)
        shown = [
            {**{name: row[name] for name in COLUMNS}, "caption": _caption(row), "data": each}
            for row, each in zip(part.to_dict("records"), data, strict=True)
        ]
        stem = _stem(identity)
        text = template.render(
            identity=identity,
            profile={**profiles.get(identity, {}), "identity": identity},
            views=shown,
            anchor=data[int((part.split == ANCHOR).argmax())],
            has_anchor=ANCHOR in [*part.split],
            earlier=mine[~mine.fingerprint.isin(fingerprints)].to_dict("records"),
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


def _stem(identity: str) -> str:
    """A file name for anybody's label: the label itself where it is a plain one."""
    plain = re.fullmatch("[a-z0-9_-]{1,60}", identity)
    return identity if plain else hashlib.sha256(identity.encode()).hexdigest()[:16]


def _caption(row: Mapping[str, Any]) -> str:
    """What is known about a picture, in one line."""
    parts = [row["image"]]
    for name, value in row.items():
        if name == "similarity" and row["split"] != ANCHOR:
            parts.append("no face found" if pd.isna(value) else f"similarity {value:.2f}")
        elif name not in (*COLUMNS, "similarity") and not pd.isna(value) and value != "":
            parts.append(f"{name.replace('_', ' ')}: {value}")
    return " \u00b7 ".join(parts)


def _embedded(source: Path, name: str) -> tuple[str, str]:
    """A picture's fingerprint, and the picture as a page holds it."""
    picture = validation.load_image(source, name)
    found = review_marks.fingerprint(picture)
    picture.thumbnail((SIDE, SIDE))
    kind = "png" if max(picture.size) <= EXACT else "jpeg"
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=92, subsampling=0)  # png knows neither
    return found, f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _pictures(folder: Path) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """(pictures, people) of a draft, which lists them in pictures.csv, or of a dataset folder."""
    table, file = folder / "pictures.csv", folder / "people.json"
    try:
        people = json.loads(file.read_bytes()) if file.is_file() else []
        people = [{**person, "identity": str(person["identity"])} for person in people]
    except (ValueError, TypeError, KeyError) as error:
        raise BadReview(f"{file} is not a list of people with an identity each") from error
    if not table.is_file():
        return validation.read(folder)[["identity", "image", "split"]], people
    try:
        pictures = pd.read_csv(table, dtype=str, keep_default_na=False)
    except ValueError as error:  # no table, or not UTF-8
        raise BadReview(
            f"{table} is not a CSV in UTF-8 ({error}); start the construction again, "
            "which writes it"
        ) from error
    # pandas takes the first cell for a label where a row has more cells than there are columns
    labelled = not isinstance(pictures.index, pd.RangeIndex)
    if not {"identity", "image", "split"} <= {*pictures} or pictures.empty or labelled:
        raise BadReview(
            f"{table} should have the columns identity, image, split, and rows with as "
            "many cells as the first line has"
        )
    if "similarity" in pictures:
        pictures["similarity"] = pd.to_numeric(pictures.similarity, errors="coerce")
    return pictures, people
