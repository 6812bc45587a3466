"""Letters in figures that the house's font lacks: shown by installed fonts that have them."""

from __future__ import annotations

import functools
import sys
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

HOUSE = "DejaVu Sans"  # comes with matplotlib, so that it is everybody's

WIDE_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")

_told: set[str] = set()


def complete(figure: Figure) -> None:
    """Give every text of `figure` fonts for the letters that the house's lacks.

    Where no installed font has some of them, they stay boxes, and one line on stderr says what to
    install. A figure in letters of the house's font is left as it is.
    """
    texts = list(figure.findobj(Text))
    for panel in figure.axes:
        texts += [*panel.get_xticklabels(), *panel.get_yticklabels()]
    for text in texts:
        if lacking := _lacking(text.get_text()):
            families, boxes = _others(lacking)
            text.set_fontfamily([HOUSE, *families])
            if boxes:
                _tell(boxes)


@functools.cache
def _house() -> FT2Font:
    return FT2Font(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")))


def _lacking(text: str) -> str:
    """The letters and signs of a text that the house's font lacks, each once, in order."""
    if text.isascii():
        return ""
    seen = [c for c in sorted(set(text)) if unicodedata.category(c)[0] not in "CZ"]
    return "".join(c for c in seen if not _house().get_char_index(ord(c)))


@functools.cache
def _others(letters: str) -> tuple[tuple[str, ...], str]:
    """Families of installed fonts that have these letters between them, and letters of none."""
    families = []
    while letters and (found := max(_coverage(letters), default=None)):
        _, _, path, has = found
        properties = font_manager.ttfFontProperty(FT2Font(path))
        if not any(entry.fname == path for entry in font_manager.fontManager.ttflist):
            font_manager.fontManager.addfont(path)
        families.append(properties.name)
        letters = "".join(c for c in letters if c not in has)
    return tuple(families), letters


def _coverage(letters: str):
    """(how many of the letters, how fit for a figure, path, which of them) of each installed font
    that has some; the first that has them all ends the search."""
    for path in _installed():
        try:
            font = FT2Font(path)
            has = [c for c in letters if font.get_char_index(ord(c))]
        except (OSError, RuntimeError):  # no font that can be drawn with
            continue
        if has:
            yield len(has), -_installed().index(path), path, has
        if len(has) == len(letters):
            return


@functools.cache
def _installed() -> Sequence[str]:
    """The paths of installed fonts, regular ones without serifs first."""

    # Asked of the system: matplotlib's own list is kept in a file, and does not know new ones.
    def fitness(path: str) -> tuple[bool, bool, str]:
        name = Path(path).stem.casefold()
        special = any(
            word in name for word in ("bold", "italic", "oblique", "light", "thin", "mono")
        )
        return special, "serif" in name and "sans" not in name, name

    # A font of boxes, for which every letter is there, is none.
    found = (path for path in font_manager.findSystemFonts() if "lastresort" not in path.casefold())
    return sorted(found, key=fitness)


def _tell(letters: str) -> None:
    wide = any(unicodedata.name(c, "").startswith(WIDE_SCRIPTS) for c in letters)
    font, package = (
        ("Noto Sans CJK", "fonts-noto-cjk") if wide else ("Noto Sans", "fonts-noto-core")
    )
    if font not in _told:
        _told.add(font)
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")  # for each letter again
        print(
            f"figures: no installed font has {letters[:8]}{'...' * (len(letters) > 8)}, which will "
            f"show as boxes; install one that does, such as {font} (Debian, Ubuntu: apt install "
            f"{package}; elsewhere: fonts.google.com/noto)",
            file=sys.stderr,
        )
