"""Ink: one function per figure, a table in, a matplotlib Figure out; no file is read or written.

A method keeps its colour (Okabe and Ito's, safe for colour-blind readers) and its marker
everywhere. Filled marks are ours, hollow ones the paper's. All axes are in percent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import product
from textwrap import wrap
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from remem import metrics


class Mark(NamedTuple):
    colour: str
    marker: str


MARKS = {
    "base": Mark("#BBBBBB", "h"),
    "before unlearning": Mark("#000000", "*"),
    "GA": Mark("#E69F00", "o"),
    "GD": Mark("#009E73", "s"),
    "KL": Mark("#56B4E9", "^"),
    "DPO": Mark("#CC79A7", "D"),
    "NPO": Mark("#D55E00", "v"),
    "retrained": Mark("#7F7F7F", "P"),
}
NEW = Mark("#0072B2", "X")  # a method that is not the paper's
BASE, STAGE1 = MARKS["base"].colour, NEW.colour
CHANCE = {"color": "#333333", "linewidth": 0.8}  # a level, not a method: a line, not a mark
HOP = {"single": "single-hop", "multi": "multi-hop"}
INK = {
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


def _inked(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the house style, and take the figure from pyplot so that it is shown only once."""

    @wraps(draw)
    def drawn(*args, **kwargs) -> Figure:
        with plt.rc_context(INK):
            figure = draw(*args, **kwargs)
        plt.close(figure)
        return figure

    return drawn


def _panels(rows: int, columns: int, width: float = 3.1, height: float = 2.7, share="all"):
    """A figure and its (rows, columns) axes."""
    return plt.subplots(
        rows,
        columns,
        figsize=(width * columns, height * rows),
        squeeze=False,
        sharex=share,
        sharey=share,
        layout="constrained",
    )


def _grid(table: pd.DataFrame, width: float = 3.1, height: float = 2.7):
    """A figure with one panel for each model (down) and hop (across), and (axes, its rows)."""
    models, hops = list(dict.fromkeys(table.model)), [hop for hop in HOP if hop in set(table.hop)]
    figure, axes = _panels(len(models), len(hops), width, height)
    panels = []
    for panel, (model, hop) in zip(axes.flat, product(models, hops), strict=True):
        panel.set_title(f"{model}, {HOP[hop]}", loc="left")
        panels.append((panel, table[(table.model == model) & (table.hop == hop)]))
    return figure, axes, panels


def _axes(axes: np.ndarray, below: str, left: str) -> None:
    """Labels on the outer axes only (a figure's own labels would lie on its legend)."""
    for panel in axes[-1]:
        panel.set_xlabel(below)
    for panel in axes[:, 0]:
        panel.set_ylabel(left)


def _key(figure: Figure, methods: Sequence[str], *more: Line2D, columns: int = 5) -> None:
    """One legend below all panels: the methods drawn, then `more`."""
    lines = [
        Line2D([], [], color=mark.colour, marker=mark.marker, linestyle="", label=method)
        for method in dict.fromkeys(methods)
        for mark in [MARKS.get(method, NEW)]
    ]
    figure.legend(handles=[*lines, *more], loc="outside lower center", ncols=columns)


def _apart(table2: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of models, and those of chance."""
    guessed = table2.method == "chance"
    return table2[~guessed], table2[guessed]


def _levels(table2: pd.DataFrame, styles: dict[str, str]) -> list[Line2D]:
    """The legend's lines for those of chance and `styles` that the table has."""
    looks = {"chance": CHANCE}
    looks |= {name: {"color": MARKS[name].colour, "linestyle": s} for name, s in styles.items()}
    met = set(table2.method)
    return [Line2D([], [], label=name, **look) for name, look in looks.items() if name in met]


def _ghost(label: str = "hollow: the paper") -> Line2D:
    return Line2D([], [], color="#555555", marker="o", mfc="none", linestyle="", label=label)


def _reach(row, column: str) -> np.ndarray:
    """(2, 1) lengths of the interval's arms, zero where there is none."""
    value = getattr(row, column)
    lo, hi = getattr(row, f"{column}_lo", np.nan), getattr(row, f"{column}_hi", np.nan)
    return np.nan_to_num([[value - lo], [hi - value]]).clip(min=0)


@_inked
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
    figure, axes = _panels(len(lines), columns, 0.95, 1.1)
    for panel in axes.flat:
        panel.set_axis_off()
    named = None
    for line, cells in zip(axes, lines, strict=True):
        for panel, (_, place, split) in zip(line, cells, strict=False):
            panel.imshow(images[place], interpolation="nearest")
            panel.text(0.5, -0.04, split, transform=panel.transAxes, ha="center", va="top",
                       fontsize=6, color="#555555")
        if cells[0][0] != named:
            named = cells[0][0]
            line[0].set_title(named, loc="left", fontsize=8)
    return figure


@_inked
def stage1(table3: pd.DataFrame) -> Figure:
    """Table 3 as bars, one panel per model: base and stage 1, the paper's values hollow."""
    columns = ["ROUGE", "judge", "EM", "EM_t"]
    models = list(dict.fromkeys(table3.model))
    figure, axes = _panels(1, len(models))
    for panel, model in zip(axes.flat, models, strict=True):
        panel.set_title(model, loc="left")
        for row in table3[table3.model == model].itertuples():
            stage = int(row.stage != "base")
            for place, column in enumerate(columns):
                x = place + 0.38 * (stage - 0.5)
                panel.bar(x, getattr(row, column), 0.36, color=STAGE1 if stage else BASE,
                          yerr=_reach(row, column), ecolor="#333333")
                panel.plot(x, getattr(row, f"paper_{column}"), "D", color="#222222", mfc="none")
        panel.set_xticks(range(len(columns)), ["ROUGE", "rule\njudge", "EM", "EM\nheld out"])
        panel.grid(axis="x", visible=False)
        panel.set_ylim(0, 104)
    axes[0, 0].set_ylabel("percent")
    bars = [plt.Rectangle((0, 0), 1, 1, color=c, label=n)
            for c, n in ((BASE, "base"), (STAGE1, "stage 1"))]
    ghost = Line2D([], [], color="#222222", marker="D", mfc="none", linestyle="",
                   label="hollow: the paper (its judge is Gemini)")
    figure.legend(handles=[*bars, ghost], loc="outside lower center", ncols=3)
    return figure


@_inked
def tradeoff(table2: pd.DataFrame) -> Figure:
    """Forget EM (left is better) against retain EM (up is better), the paper's values hollow.

    Thin lines are chance, where the table has that row.
    """
    figure, axes, panels = _grid(table2, 3.6, 3.2)
    for panel, rows in panels:
        rows, chance = _apart(rows)
        for row in chance.itertuples():
            panel.axvline(row.EM_f, **CHANCE)
            panel.axhline(row.EM_r, **CHANCE)
        for row in rows.itertuples():
            colour, marker = MARKS.get(row.method, NEW)
            panel.errorbar(row.EM_f, row.EM_r, _reach(row, "EM_r"), _reach(row, "EM_f"),
                           color=colour, marker=marker, elinewidth=0.8)
            panel.plot(row.paper_EM_f, row.paper_EM_r, marker, color=colour, mfc="none")
            panel.plot([row.EM_f, row.paper_EM_f], [row.EM_r, row.paper_EM_r], ":",
                       color=colour, linewidth=0.8)
    axes[0, 0].set_xlim(-4, 104)
    _axes(axes, "EM on the forget set", "EM on the retain set")
    models, chance = _apart(table2)
    _key(figure, models.method, *_levels(chance, {}), _ghost())
    return figure


@_inked
def forget_retain(curve: pd.DataFrame) -> Figure:
    """Unlearning epoch by epoch: forget EM against retain EM, to be read at equal forget EM.

    One rate for all methods is the paper's protocol, not a fair race; at equal forget EM the
    higher line keeps more. curve: model, method, seed, epoch, view ("forget", "retain_eval"), hop,
    em (0..1); the mean over seeds is drawn.
    """
    figure, axes, panels = _grid(curve)
    for panel, rows in panels:
        mean = 100 * rows.groupby(["method", "epoch", "view"], sort=False).em.mean()
        for method, way in mean.unstack("view").groupby(level="method", sort=False):
            colour, marker = MARKS.get(method, NEW)
            way = way.sort_index(level="epoch")
            panel.plot(way.forget, way.retain_eval, marker=marker, markersize=4, color=colour)
    axes[0, 0].set_xlim(-4, 104)
    _axes(axes, "EM on the forget set (an epoch a mark)", "EM on the retain set")
    _key(figure, curve.method)
    return figure


@_inked
def exposure(table2: pd.DataFrame) -> Figure:
    """Exposure of the forget set per method, among lines for what is no method: chance (the row of
    that name in tables.table2), the untaught base, the start, the retrained model."""
    figure, axes, panels = _grid(table2)
    frame = {"base": "-.", "before unlearning": ":", "retrained": "--"}
    for panel, rows in panels:
        rows, chance = _apart(rows)
        for row in chance.itertuples():
            panel.axhline(row.Exposure, **CHANCE)
        methods = rows[~rows.method.isin(frame)]
        for row in rows[rows.method.isin(frame)].itertuples():
            panel.axhline(row.Exposure, color=MARKS[row.method].colour, linestyle=frame[row.method])
        for place, row in enumerate(methods.itertuples()):
            colour, marker = MARKS.get(row.method, NEW)
            panel.errorbar(place, row.Exposure, _reach(row, "Exposure"), color=colour,
                           marker=marker, elinewidth=0.8)
            panel.plot(place + 0.25, row.paper_Exposure, marker, color=colour, mfc="none")
        panel.set_xticks(range(len(methods)), methods.method, rotation=30, ha="right",
                         rotation_mode="anchor")
        panel.grid(axis="x", visible=False)
    axes[0, 0].set_ylim(0, 104)
    _axes(axes, "", "Exposure of the forget set")
    _key(figure, [], *_levels(table2, frame), _ghost(), columns=3)
    return figure


@_inked
def worked_exposure(ranks: pd.DataFrame, forms: pd.DataFrame) -> Figure:
    """Both forms of Exposure over the rank, and the paper's 20 pairs (forget EM, Exposure).

    ranks: rank, log, linear. forms: model, EM_f, Exposure, log, linear (what each form predicts).
    """
    lines = {"log": "#0072B2", "linear": "#D55E00"}
    figure, axes = _panels(1, 2, 3.6, 3.0, share=False)
    left, right = axes.flat
    for form, colour in lines.items():
        left.plot(ranks["rank"], ranks[form], ".-", color=colour, label=form)
        left.axhline(ranks[form].mean(), color=colour, linestyle=":", linewidth=0.9)
        line = forms.sort_values("EM_f")
        right.plot(line.EM_f, line[form], color=colour, label=f"{form} form")
    left.set(xlabel=f"rank of the truth among {len(ranks)}", ylabel="Exposure")
    left.set_title("dotted: chance", loc="left")
    left.xaxis.get_major_locator().set_params(integer=True)
    for model, marker in zip(dict.fromkeys(forms.model), "o^", strict=False):
        rows = forms[forms.model == model]
        right.plot(rows.EM_f, rows.Exposure, marker, color="#333333", mfc="none", label=model)
    right.set(xlabel="forget EM", ylabel="Exposure", ylim=(0, 104))
    right.set_title("Table 2 against the two forms", loc="left")
    for panel in axes.flat:
        panel.legend(fontsize=8)
    return figure


@_inked
def loss(history: pd.DataFrame) -> Figure:
    """Training loss per step, one line per seed. history: model, seed, step, loss."""
    models = list(dict.fromkeys(history.model))
    figure, axes = _panels(1, len(models))
    for panel, model in zip(axes.flat, models, strict=True):
        panel.set_title(model, loc="left")
        for seed, line in history[history.model == model].groupby("seed"):
            panel.plot(line.step, line.loss, linewidth=1, color=STAGE1, alpha=0.7,
                       label=f"seed {seed}")
        panel.set_yscale("log")
    _axes(axes, "step", "loss per answer token, nats")
    return figure


@_inked
def dialogue(images: Sequence, rows: pd.DataFrame) -> Figure:
    """Each question beside its picture, and below it what was said: right answers in the colour of
    stage 1, wrong ones in grey. Long lines are wrapped.

    images: one for each of `rows`. rows: question, target, and one column per speaker, in the order
    in which they spoke.
    """
    if len(images) != len(rows):
        raise ValueError(f"dialogue: {len(images)} images for {len(rows)} rows")
    width, side, line, letters = 7.5, 0.6, 0.15, 105  # of the page, a picture, a line: inches
    speakers = [name for name in rows if name not in ("hop", "question", "target")]
    blocks = []  # per row its lines: (text, colour)
    for row in rows.to_dict("records"):
        lines = [(line, "#000000") for line in wrap(row["question"], letters)]
        for name in speakers:
            right = metrics.exact_match(row[name], row["target"])
            said = wrap(f"{name}: {row[name]}", letters, subsequent_indent="   ")
            lines += [(line, STAGE1 if right else "#777777") for line in said]
        blocks.append(lines)
    heights = [max(side, line * len(lines)) + line for lines in blocks]
    figure = plt.figure(figsize=(width, sum(heights)))
    panel = figure.add_axes((0, 0, 1, 1))  # its unit is the inch, downwards
    top = line / 2
    for image, lines, height in zip(images, blocks, heights, strict=True):
        panel.imshow(image, extent=(line, line + side, top + side, top), interpolation="nearest")
        for place, (text, colour) in enumerate(lines):
            panel.text(side + 2 * line, top + (place + 0.5) * line, text, color=colour,
                       fontsize=8, va="center", parse_math=False)
        top += height
    panel.set(xlim=(0, width), ylim=(sum(heights), 0))
    panel.set_axis_off()
    return figure
