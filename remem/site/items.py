"""What an outputs folder shows under one name (a table, a figure or both), in the site's order."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from remem.report.calls import TICK
from remem.site import captions, files
from remem.site.captions import Caption
from remem.site.files import Files

RESERVED = ("index", "samples", "tradeoff", "notebooks", "words")  # other pages' names

INCH = 120  # pixels of a screen, for an inch of a figure: its letters are as large as the text's

LIGHT = 1.5  # an SVG may be so many times as large as the PNG, or the latter is shown


@dataclass(frozen=True)
class Picture:
    """A figure: the file that is shown, its size on a screen, and the other forms that it has."""

    file: Path
    width: int
    height: int
    others: tuple[Path, ...]


@dataclass(frozen=True)
class Item:
    """What has one name among the tables and figures: a CSV, a figure, or both; neither where it
    was not run. `older` says that it was there before the last call, `other` in a sentence that it
    was made with other parameters than that."""

    id: str
    caption: Caption
    table: Path | None = None
    picture: Picture | None = None
    older: bool = False
    other: str = ""

    @property
    def label(self) -> str:
        """How it is called: "Table 2", "Figure 3a", "Table 2, by attribute", "Leaks"."""
        return label(self.id)

    @property
    def title(self) -> str:
        """Its label and what it is about."""
        return f"{self.label}: {self.caption.title}" if self.caption.title else self.label

    @property
    def there(self) -> bool:
        """Whether anything of it was made."""
        return self.table is not None or self.picture is not None

    @property
    def page(self) -> str:
        """The name of its page."""
        return f"{slug(self.id)}.html"

    @property
    def of_the_paper(self) -> bool:
        """Whether it is the paper's own, and no further cut of it."""
        return self.caption.group == captions.PAPER and "_" not in self.id


def items(
    kept: Files, since: float = 0.0, other: Callable[[Sequence[Path]], str] = lambda _: ""
) -> list[Item]:
    """All that the captions name, run or not, and what the folder has beyond; what was written
    before `since` (seconds since 1970) is older, and `other` says of files what made them, where
    that was not the last call's parameters."""
    pictures = files.listed(kept.folders.figures, ".png")
    tables = files.listed(kept.folders.tables, ".csv")
    known, found = captions.captions(), []
    for name in [*known, *sorted({*pictures, *tables} - {*known})]:
        picture, table = pictures.get(name), tables.get(name)
        made = [path for path in (picture, table) if path]
        older = any(path.stat().st_mtime < since - TICK for path in made)
        caption = known.get(name, Caption())
        shown = kept.read(picture, _picture) if picture else None
        found.append(Item(name, caption, table, shown, older, other(made)))
    return found


def label(name: str) -> str:
    """How the table or figure of that name is called."""
    item, _, rest = name.partition("_")
    known = re.fullmatch(r"(fig|table)(\d+\w?)", item)
    if not known:
        words = name.replace("_", " ")
        return words[:1].upper() + words[1:]
    called = f"{'Figure' if known[1] == 'fig' else 'Table'} {known[2]}"
    return f"{called}, {rest.replace('_', ' ')}" if rest else called


def slug(name: str) -> str:
    """A file name of letters that every system and every address takes, another for each name."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
    if plain == name.replace("_", "-") and plain not in RESERVED:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}".lstrip("-")


def _picture(file: Path) -> Picture:
    with Image.open(file, formats=("PNG",)) as shown:
        across, down = shown.size
        dots = shown.info.get("dpi", (INCH, INCH))[0] or INCH
    scale = INCH / dots
    svg, pdf = file.with_suffix(".svg"), file.with_suffix(".pdf")
    light = svg.is_file() and svg.stat().st_size <= LIGHT * file.stat().st_size
    forms = list(_there(svg, file, pdf) if light else _there(file, svg, pdf))
    return Picture(forms[0], round(across * scale), round(down * scale), tuple(forms[1:]))


def _there(*forms: Path) -> Iterator[Path]:
    return (file for file in forms if file.is_file())
