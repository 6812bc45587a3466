"""Figures that show people: their pictures, dialogues about them, how alike they look."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from remem import metrics
from remem.report import style


@style.styled
def contact_sheet(images: Sequence, rows: pd.DataFrame, columns: int = 10) -> Figure:
    """Images with their rows' split below, one or more lines per identity, the name at the left.

    images: PIL images, one for each of `rows` (columns identity, name, split), in that order.
    """
    if len(images) != len(rows):
        raise ValueError(f"contact_sheet: {len(images)} images for {len(rows)} rows")
    lines = []  # (name, [(image, split), ...])
    pairs = rows.assign(place=range(len(rows))).groupby("identity", sort=False)
    for _, group in pairs:
        cells = list(zip(group.name, group.place, group.split, strict=True))
        lines += [cells[start : start + columns] for start in range(0, len(cells), columns)]
    figure, axes = style.panels(len(lines), columns, 0.95, 1.1)
    for panel in axes.flat:
        panel.set_axis_off()
    named = None
    for line, cells in zip(axes, lines, strict=True):
        for panel, (_, place, split) in zip(line, cells, strict=False):
            panel.imshow(images[place], interpolation="nearest")
            panel.text(
                0.5,
                -0.04,
                split,
                transform=panel.transAxes,
                ha="center",
                va="top",
                fontsize=6,
                color="#555555",
            )
        if cells[0][0] != named:
            named = cells[0][0]
            line[0].set_title(named, loc="left", fontsize=8)
    return figure


@style.styled
def dialogue(images: Sequence, rows: pd.DataFrame) -> Figure:
    """Each question beside its picture, and below it the answers: right ones in the colour of
    stage 1, wrong in grey. Long lines are wrapped.

    images: one for each of `rows`. rows: question, target, and a column of answers for each model,
    in the order in which they are to stand.
    """
    if len(images) != len(rows):
        raise ValueError(f"dialogue: {len(images)} images for {len(rows)} rows")
    width, side, line, letters = 7.5, 0.6, 0.15, 105  # of the page, a picture, a line: inches
    models = [name for name in rows if name not in ("hop", "question", "target")]
    blocks = []  # per row its lines: (text, colour)
    for row in rows.to_dict("records"):
        lines = [(line, "#000000") for line in _wrapped(row["question"], letters)]
        for name in models:
            right = metrics.exact_match(row[name], row["target"])
            text = _wrapped(f"{name}: {row[name]}", letters, indent="   ")
            lines += [(line, style.STAGE1 if right else "#777777") for line in text]
        blocks.append(lines)
    heights = [max(side, line * len(lines)) + line for lines in blocks]
    figure = plt.figure(figsize=(width, sum(heights)))
    panel = figure.add_axes((0, 0, 1, 1))  # its unit is the inch, downwards
    top = line / 2
    for image, lines, height in zip(images, blocks, heights, strict=True):
        panel.imshow(image, extent=(line, line + side, top + side, top), interpolation="nearest")
        for place, (text, colour) in enumerate(lines):
            panel.text(
                side + 2 * line,
                top + (place + 0.5) * line,
                text,
                color=colour,
                fontsize=8,
                va="center",
                parse_math=False,
            )
        top += height
    panel.set(xlim=(0, width), ylim=(sum(heights), 0))
    panel.set_axis_off()
    return figure


def _wrapped(text: str, letters: int, indent: str = "") -> list[str]:
    """Lines of at most so many letters, of which one in Chinese, Japanese or Korean is twice as
    wide as others."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    letters = letters * len(text) // (len(text) + wide) if wide else letters
    return wrap(text, letters, subsequent_indent=indent)


@style.styled
def face_similarity(table: pd.DataFrame, threshold: float) -> Figure:
    """Cosine similarity to an anchor, of the same and of another person, in training and test.

    table: face_similarity.survey. The line is the threshold below which a picture is drawn again.
    """
    splits = list(dict.fromkeys(table.split))
    figure, axes = style.panels(1, len(splits), 3.4, 2.5)
    least = min(table.similarity.min(), threshold)
    low = np.floor(10 * least) / 10 if np.isfinite(least) else -1.0
    bins = np.linspace(low, 1, 41)  # from where values are
    for panel, split in zip(axes.flat, splits, strict=True):
        rows = table[table.split == split]
        panel.set_title(split, loc="left")
        for (colour, _), (whose, part) in zip(
            style.PAIR, rows.groupby("of", sort=False), strict=False
        ):
            panel.hist(part.similarity.dropna(), bins, color=colour, alpha=0.6, label=whose)
        panel.axvline(threshold, **style.CHANCE)
    style.label(axes, f"cosine similarity to the anchor (from {low:g})", "pictures")
    handles, _ = axes.flat[0].get_legend_handles_labels()
    line = Line2D([], [], label="threshold", **style.CHANCE)
    style.legend(figure, *handles, line)
    return figure
