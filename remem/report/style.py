"""The house style of all figures: colours, markers, panels and legends.

A method keeps its colour (safe for colour-blind readers) and its marker everywhere, and no two have
both in common. Filled marks are ours, hollow ones the paper's.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from itertools import cycle, product
from typing import Any, Literal, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from remem import metrics, paper
from remem.report import fonts

Share = Literal["none", "all", "row", "col"]  # of the axes of a figure's panels


class Marker(NamedTuple):
    """How one method, set or line is drawn: its colour, and the shape of its marks."""

    colour: str
    marker: str


MARKERS = {  # the colours are Okabe and Ito's
    "base": Marker("#BBBBBB", "h"),
    "before unlearning": Marker("#000000", "*"),
    "GA": Marker("#E69F00", "o"),
    "GD": Marker("#009E73", "s"),
    "KL": Marker("#56B4E9", "^"),
    "DPO": Marker("#CC79A7", "D"),
    "NPO": Marker("#D55E00", "v"),
    "retrained": Marker("#7F7F7F", "P"),
}

# Methods that are not the paper's, in turn. The colours lie far from all above and from each other,
# for each kind of colour blindness too. Six colours over five shapes: thirty methods before one
# looks like another.
_COLOURS = ("#0072B2", "#891400", "#3B4E4E", "#8976FF", "#3B00D8", "#76624E")
_SHAPES = "Xp<>d"
ADDED = tuple(
    Marker(colour, shape)
    for colour, shape in zip(_COLOURS * len(_SHAPES), _SHAPES * len(_COLOURS), strict=True)
)
NEW = ADDED[0]

BASE, STAGE1 = MARKERS["base"].colour, NEW.colour

SETS = {
    "Real Set": Marker("#333333", "*"),
    "FIUBench": Marker("#E69F00", "o"),
    "MLLMU-Bench": Marker("#CC79A7", "^"),
    "ReMem": Marker(STAGE1, "s"),
}

OTHER_SETS = (  # not the paper's
    Marker("#009E73", "D"),
    Marker("#56B4E9", "v"),
    Marker("#D55E00", "P"),
    *(mark for mark in ADDED if mark.colour in ("#891400", "#8976FF", "#76624E")),
)

# Two lines that are compared: single-hop and multi-hop, training and held out, plain and circular.
PAIR = (Marker(STAGE1, "o"), Marker("#D55E00", "s"))

CONTROLS: dict[str, Any] = {paper.EPOCHS: "-", paper.UPDATES: "--"}

CHANCE = {"color": "#333333", "linewidth": 0.8}  # a level, not a method: a line, not a mark

HOP = {"single": "single-hop", "multi": "multi-hop"}

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "legend.frameon": False,
    "lines.markersize": 6,
    "pdf.fonttype": 42,
    "figure.dpi": 110,
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the house style, whatever a reader's own matplotlibrc says, and take the figure from
    pyplot so that it is shown only once."""

    @wraps(draw)
    def drawn(*args, **kwargs) -> Figure:
        with plt.style.context(["default", STYLE]):
            figure = draw(*args, **kwargs)
            fonts.complete(figure)
        plt.close(figure)
        return figure

    return drawn


def markers(names: Iterable[str]) -> dict[str, Marker]:
    """The marks of these methods, those of MARKERS first and in its order, then others as met.

    Which of ADDED one of the others has goes by their names: the same methods look the same in
    every figure, in whatever order its rows are.
    """
    names = list(dict.fromkeys(names))
    others = sorted(name for name in names if name not in MARKERS)
    found = MARKERS | dict(zip(others, cycle(ADDED), strict=False))
    return {name: found[name] for name in [*MARKERS, *names] if name in names}


def sets(names: Iterable[str]) -> dict[str, Marker]:
    """The marks of these sets of people, the paper's first and in its order."""
    names = list(dict.fromkeys(names))
    others = (name for name in names if name not in SETS)
    known = {name: mark for name, mark in SETS.items() if name in names}
    return known | dict(zip(others, cycle(OTHER_SETS), strict=False))


def panels(
    rows: int,
    columns: int,
    width: float = 3.1,
    height: float = 2.7,
    share: Share = "all",
    heights: Sequence[float] | None = None,
):
    """A figure and its (rows, columns) axes; width and height are a panel's, in inches, in the mean
    over rows where these have `heights` of their own."""
    return plt.subplots(
        rows,
        columns,
        figsize=(width * columns, height * rows),
        squeeze=False,
        sharex="all" if share == "row" else share,
        sharey=share,
        layout="constrained",
        height_ratios=heights,
    )


def grid(table: pd.DataFrame, width: float = 3.1, height: float = 2.7):
    """A figure with one panel for each model (down) and hop (across): the figure, all axes, and of
    each panel its axes with the rows of `table` that it shows."""
    models, hops = list(dict.fromkeys(table.model)), [hop for hop in HOP if hop in set(table.hop)]
    figure, axes = panels(len(models), len(hops), width, height)
    filled = []
    for panel, (model, hop) in zip(axes.flat, product(models, hops), strict=True):
        panel.set_title(f"{model}, {HOP[hop]}", loc="left")
        filled.append((panel, table[(table.model == model) & (table.hop == hop)]))
    return figure, axes, filled


def row(table: pd.DataFrame, name: str = "model", width: float = 3.1, height: float = 2.7):
    """As `grid`, with one panel beside the other for each value of the column `name`."""
    values = list(dict.fromkeys(table[name]))
    figure, axes = panels(1, len(values), width, height)
    for panel, value in zip(axes.flat, values, strict=True):
        panel.set_title(value, loc="left")
    parts = [(panel, table[table[name] == v]) for panel, v in zip(axes.flat, values, strict=True)]
    return figure, axes, parts


def label(axes: np.ndarray, below: str, left: str) -> None:
    """Labels on the outer axes only (a figure's own labels would lie on its legend)."""
    for panel in axes[-1]:
        panel.set_xlabel(below)
    for panel in axes[:, 0]:
        panel.set_ylabel(left)


def legend(figure: Figure, *handles, columns: int = 5, note: str = "") -> None:
    """One legend, below all panels, of at most so many columns as the figure is wide enough for;
    above it a note, such as what `intervals` says."""
    if not (handles or note):
        return
    letters = max(20, int(14.5 * figure.get_figwidth()))
    title = "\n".join(textwrap.wrap(note, letters)) or None
    look: dict[str, Any] = {"title": title, "title_fontsize": 8, "alignment": "center"}
    for number in range(columns, 0, -1):
        found = figure.legend(handles=handles, loc="outside lower center", ncols=number, **look)
        if found.get_window_extent().width <= figure.bbox.width or number == 1:
            return
        found.remove()


def intervals(
    table: pd.DataFrame, marks: str = "bars", over: str = "(seed, person)", n: str = "units"
) -> str:
    """What a figure's bars or bands are: "Bars: 95 % intervals over (seed, person), n = 20". n is
    taken from the column of that name, where the table has it."""
    counts = sorted({int(count) for count in table.get(n, pd.Series(dtype=float)).dropna()})
    many = f", n = {counts[0]}" if counts else ""
    many += f" to {counts[-1]}" if len(counts) > 1 else ""
    ends = [name for name in table if str(name).endswith("_lo")]
    if table[ends].notna().any(axis=None):
        return f"{marks[:1].upper()}{marks[1:]}: 95 % intervals over {over}{many}."
    return f"No intervals: there are fewer than {metrics.FEWEST} {over}{many}."


def methods(names: Sequence[str]) -> list[Line2D]:
    """The legend's marks for the methods drawn."""
    marks = markers(names)
    return [sample(marks[name], name) for name in dict.fromkeys(names)]


def sample(mark: Marker, name: str, line: Any = "") -> Line2D:
    """A legend's mark, on a line of that style if there is one."""
    return Line2D([], [], color=mark.colour, marker=mark.marker, linestyle=line, label=name)


def controls(names: Sequence[str]) -> list[Line2D]:
    """The legend's lines for what training was held equal in."""
    met = [name for name in CONTROLS if name in set(names)]
    return [Line2D([], [], color="#333333", linestyle=CONTROLS[name], label=name) for name in met]


def hollow(name: str = "hollow: the paper", marker: str = "o") -> Line2D:
    """The legend's hollow mark, which stands for the paper's numbers."""
    return Line2D([], [], color="#555555", marker=marker, mfc="none", linestyle="", label=name)


def error_bar(row, column: str) -> np.ndarray:
    """(2, 1) lengths of the interval's arms, zero where there is none."""
    value = getattr(row, column)
    lo, hi = getattr(row, f"{column}_lo", np.nan), getattr(row, f"{column}_hi", np.nan)
    return np.nan_to_num([[value - lo], [hi - value]]).clip(min=0)


def pair(panel, row, columns: Sequence[str], y: float, apart: float) -> None:
    """Two columns of a table's row as points with intervals, `apart` above and below height y."""
    for shift, column, (colour, marker) in zip((-apart, apart), columns, PAIR, strict=True):
        panel.errorbar(
            getattr(row, column),
            y + shift,
            xerr=error_bar(row, column),
            color=colour,
            marker=marker,
            elinewidth=0.8,
        )


def curve(panel, table: pd.DataFrame, x: str, y: str, mark: Marker, line: str = "-") -> None:
    """A line through a column's means, with its intervals as a band."""
    panel.plot(table[x], table[y], line, color=mark.colour, marker=mark.marker, markersize=4)
    panel.fill_between(
        table[x], table[f"{y}_lo"], table[f"{y}_hi"], color=mark.colour, alpha=0.15, linewidth=0
    )
