"""Figures of stage 1: what it leaves (Fig 1, Table 3), and how much it takes (Fig 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator

from remem import paper
from remem.report import style
from remem.report.show import judge_name

ZERO = 0.5  # percent below which a bar is written as a number


def _bars(table: pd.DataFrame, name: str, colours: dict[str, str]) -> Figure:
    """Table 3's columns as bars, one panel per model, a colour for each value of column `name`."""
    columns = {
        "ROUGE": "ROUGE",
        "judge": judge_name(table).replace(" ", "\n"),
        "EM": "EM",
        "EM_t": "EM\nheld out",
    }
    colours = {value: colour for value, colour in colours.items() if value in set(table[name])}
    width = 0.8 / len(colours)
    alone = table.model.nunique() == 1
    height = 3.0 + 0.08 * max(0, len(colours) - 4)  # the legend's
    figure, axes, panels = style.row(table, width=4.8 if alone else 3.3, height=height)
    for panel, rows in panels:
        for at, (value, colour) in enumerate(colours.items()):
            for line in rows[rows[name] == value].itertuples():
                for place, column in enumerate(columns):
                    x = place + width * (at - (len(colours) - 1) / 2)
                    panel.bar(
                        x,
                        getattr(line, column),
                        0.94 * width,
                        color=colour,
                        yerr=style.error_bar(line, column),
                        ecolor="#333333",
                    )
                    panel.plot(
                        x, getattr(line, f"paper_{column}"), "D", color="#222222", mfc="none"
                    )
                    if getattr(line, column) < ZERO:  # a bar that cannot be seen
                        panel.text(x, 1.5, "0", ha="center", fontsize=7, color="#333333")
        panel.set_xticks(range(len(columns)), columns.values())
        panel.grid(axis="x", visible=False)
        panel.set_ylim(0, 104)
    axes[0, 0].set_ylabel("percent (up is better)")
    boxes = [Rectangle((0, 0), 1, 1, color=c, label=n) for n, c in colours.items()]
    hollow = style.hollow("hollow: the paper (its judge is Gemini)", "D")
    note = style.intervals(table, "thin lines")
    style.legend(figure, *boxes, hollow, columns=2 if alone else 4, note=note)
    return figure


@style.styled
def fig1(table: pd.DataFrame) -> Figure:
    """Fig 1: what stage 1 leaves, on data of each benchmark's shape; Table 3's values hollow."""
    marks = style.sets(table["benchmark"])
    return _bars(table, "benchmark", {name: mark.colour for name, mark in marks.items()})


@style.styled
def causes(table: pd.DataFrame) -> Figure:
    """One thing of ReMem's data changed at a time: EM on training and on held-out rows."""
    changes = list(dict.fromkeys(table.change))
    figure, axes, panels = style.row(table, width=4.2, height=0.6 + 0.34 * len(changes))
    for panel, rows in panels:
        for line in rows.itertuples():
            style.pair(panel, line, ("EM", "EM_t"), changes.index(line.change), 0.12)
        panel.set_yticks(range(len(changes)), changes)
        panel.set(xlim=(-4, 104), ylim=(len(changes) - 0.5, -0.5))
    style.label(axes, "EM, % (right is better)", "")
    names = ("training rows", "held-out rows")
    note = style.intervals(table)
    style.legend(figure, *map(style.sample, style.PAIR, names), note=note)
    return figure


@style.styled
def stage1(table3: pd.DataFrame) -> Figure:
    """Table 3 as bars, one panel per model: base and stage 1, the paper's values hollow."""
    return _bars(table3, "stage", {"base": style.BASE, "stage 1": style.STAGE1})


@style.styled
def loss(history: pd.DataFrame) -> Figure:
    """Training loss per step, one line per seed. history: model, seed, step, loss."""
    models = list(dict.fromkeys(history.model))
    figure, axes = style.panels(1, len(models))
    for panel, model in zip(axes.flat, models, strict=True):
        panel.set_title(model, loc="left")
        for seed, line in history[history.model == model].groupby("seed"):
            panel.plot(
                line.step,
                line.loss,
                linewidth=1,
                color=style.STAGE1,
                alpha=0.7,
                label=f"seed {seed}",
            )
        panel.set_yscale("log")
    style.label(axes, "step", "loss per answer token, nats")
    return figure


@style.styled
def fig3a(table: pd.DataFrame) -> Figure:
    """Fig 3a: ROUGE and EM of held-out answers against the number of samples of one person."""
    figure, axes = style.panels(1, 2, height=3.2)
    for panel, column in zip(axes.flat, ("ROUGE", "EM"), strict=True):
        panel.set_title(column, loc="left")
        _samples(panel, table, column)
        _updates(panel, table)
    panel.set_ylim(0, 104)
    style.label(axes, "questions about one person", "percent, held out")
    style.legend(figure, *_controls(table), note=style.intervals(table, "bands"))
    return figure


@style.styled
def fig3b(table: pd.DataFrame) -> Figure:
    """Fig 3b: perplexity of the held-out answers; where the paper has its lowest and its spike."""
    figure, axes = style.panels(1, 1, 4.2, 3.4)
    panel = axes[0, 0]
    _samples(panel, table, "perplexity")
    if table.perplexity.max() > 10 * table.perplexity.min():
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
    printed = paper.paper_table("fig3b").loc["perplexity"]
    for place, word in (("lowest_at_samples", "lowest "), ("spike_at_samples", " spike")):
        panel.axvline(printed[place], color="#999999", linestyle=":")
        side = "right" if word[-1] == " " else "left"
        panel.text(
            printed[place],
            0.97,
            word,
            transform=panel.get_xaxis_transform(),
            ha=side,
            va="top",
            color="#666666",
        )
    _updates(panel, table)
    style.label(axes, "questions about one person", "perplexity, held out (down is better)")
    dotted = Line2D([], [], color="#999999", linestyle=":", label="the paper's")
    style.legend(figure, *_controls(table), dotted, note=style.intervals(table, "bands"))
    return figure


def _samples(panel: Axes, table: pd.DataFrame, column: str) -> None:
    for (control, line), mark in zip(style.CONTROLS.items(), style.PAIR, strict=True):
        rows = table[table.control == control].sort_values("samples")
        style.curve(panel, rows, "samples", column, mark, line)
    panel.set_xticks(sorted(table.samples.unique())[::2])


def _updates(panel: Axes, table: pd.DataFrame) -> None:
    """Above a panel how many updates each number of questions is, in the paper's protocol."""
    if "updates" in table:
        usual = table[table.control == paper.EPOCHS].set_index("samples")["updates"]
        ticks = [at for at in panel.get_xticks() if at in usual.index]
        above = panel.secondary_xaxis("top")
        above.set_xticks(ticks, [f"{usual[at]:.0f}" for at in ticks])
        above.tick_params(length=2, labelsize=7, colors="#666666")
        above.set_xlabel(f"updates in {paper.EPOCHS}", fontsize=7, color="#666666")


def _controls(table: pd.DataFrame) -> list[Line2D]:
    pairs = zip(style.PAIR, style.CONTROLS.items(), strict=True)
    found = []
    for mark, (name, line) in pairs:
        rows = table[table.control == name]
        if len(rows):
            many = "" if "updates" not in table else f" ({_span(rows.updates)} updates)"
            found.append(style.sample(mark, f"{name}{many}", line))
    return found


def _span(numbers: pd.Series) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low}" if low == high else f"{low} to {high}"


@style.styled
def fig3c(table: pd.DataFrame, peaks: pd.DataFrame) -> Figure:
    """Fig 3c: held-out EM of both hops against the share of single-hop in training.

    peaks: tables.peaks; each lies on its curve, large, with its interval; the paper's is dotted.
    """
    figure, axes, panels = style.row(table, "setting", 3.6, 3.1)
    for panel, rows in panels:
        for hop, mark in zip(style.HOP, style.PAIR, strict=True):
            line = rows[rows.hop == hop].sort_values("share")
            style.curve(panel, line, "share", "EM", mark)
            here = peaks[(peaks.setting == rows.setting.iloc[0]) & (peaks.hop == hop)]
            for peak in here.dropna(subset="peak").itertuples():
                panel.errorbar(
                    peak.peak,
                    np.interp(peak.peak, line["share"], line["EM"]),
                    xerr=style.error_bar(peak, "peak"),
                    color=mark.colour,
                    marker=mark.marker,
                    markeredgecolor="#000000",
                    markersize=9,
                    elinewidth=2.5,
                    alpha=0.8,
                )
                if pd.notna(peak.paper_peak):
                    panel.axvline(peak.paper_peak, color="#999999", linestyle=":")
        panel.set(ylim=(0, 104), yticks=range(0, 101, 20))
    style.label(axes, "single-hop share of the training rows, %", "EM, held out, %")
    hops = [
        style.sample(mark, name, "-")
        for mark, name in zip(style.PAIR, style.HOP.values(), strict=True)
    ]
    look: dict[str, Any] = {"color": "#555555", "markersize": 9, "linewidth": 2.5}
    large = Line2D([], [], marker="o", mec="#000000", label="where it peaks", **look)
    dotted = Line2D([], [], color="#999999", linestyle=":", label="the paper's peak")
    note = style.intervals(table, "bands and thick lines")
    style.legend(figure, *hops, large, dotted, columns=4, note=note)
    return figure
