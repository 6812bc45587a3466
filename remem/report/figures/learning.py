"""Figures of stage 1: what it leaves (Fig 1, Table 3), and how much it takes (Fig 3)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator

from remem import paper
from remem.report import style
from remem.report.show import judge_name


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
    height = 2.7 + 0.08 * max(0, len(colours) - 4)  # the legend's
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
        panel.set_xticks(range(len(columns)), columns.values())
        panel.grid(axis="x", visible=False)
        panel.set_ylim(0, 104)
    axes[0, 0].set_ylabel("percent")
    boxes = [Rectangle((0, 0), 1, 1, color=c, label=n) for n, c in colours.items()]
    hollow = style.hollow("hollow: the paper (its judge is Gemini)", "D")
    style.legend(figure, *boxes, hollow, columns=2 if alone else 4)
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
    style.label(axes, "EM, %", "")
    names = ("training rows", "held-out rows")
    style.legend(figure, *map(style.sample, style.PAIR, names))
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
    figure, axes = style.panels(1, 2)
    for panel, column in zip(axes.flat, ("ROUGE", "EM"), strict=True):
        panel.set_title(column, loc="left")
        _samples(panel, table, column)
    panel.set_ylim(0, 104)
    style.label(axes, "samples of one person", "percent, held out")
    style.legend(figure, *_controls(table))
    return figure


@style.styled
def fig3b(table: pd.DataFrame) -> Figure:
    """Fig 3b: perplexity of the held-out answers; where the paper has its lowest and its spike."""
    figure, axes = style.panels(1, 1, 4.2, 3.0)
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
    style.label(axes, "samples of one person", "perplexity, held out")
    dotted = Line2D([], [], color="#999999", linestyle=":", label="the paper's")
    style.legend(figure, *_controls(table), dotted)
    return figure


def _samples(panel: Axes, table: pd.DataFrame, column: str) -> None:
    for (control, line), mark in zip(style.CONTROLS.items(), style.PAIR, strict=True):
        rows = table[table.control == control].sort_values("samples")
        style.curve(panel, rows, "samples", column, mark, line)
    panel.set_xticks(sorted(table.samples.unique())[::2])


def _controls(table: pd.DataFrame) -> list[Line2D]:
    pairs = zip(style.PAIR, style.CONTROLS.items(), strict=True)
    return [
        style.sample(mark, name, line) for mark, (name, line) in pairs if name in set(table.control)
    ]


@style.styled
def fig3c(table: pd.DataFrame, peaks: pd.DataFrame) -> Figure:
    """Fig 3c: held-out EM of both hops against the share of single-hop in training.

    peaks: tables.peaks; its places and intervals lie above the curves, the paper's is dotted.
    """
    figure, axes, panels = style.row(table, "setting", 3.6, 3.1)
    for panel, rows in panels:
        for place, (hop, mark) in enumerate(zip(style.HOP, style.PAIR, strict=True)):
            style.curve(panel, rows[rows.hop == hop].sort_values("share"), "share", "EM", mark)
            here = peaks[(peaks.setting == rows.setting.iloc[0]) & (peaks.hop == hop)]
            for peak in here.itertuples():
                panel.errorbar(
                    peak.peak,
                    108 + 6 * place,
                    xerr=style.error_bar(peak, "peak"),
                    color=mark.colour,
                    marker=mark.marker,
                    elinewidth=1.2,
                    capsize=2,
                )
                if pd.notna(peak.paper_peak):
                    panel.axvline(peak.paper_peak, color="#999999", linestyle=":")
        panel.axhline(103, color="#CCCCCC", linewidth=0.8)
        panel.set(ylim=(0, 118), yticks=range(0, 101, 20))
    style.label(axes, "single-hop share of the training rows, %", "EM, held out, %")
    hops = [
        style.sample(mark, name, "-")
        for mark, name in zip(style.PAIR, style.HOP.values(), strict=True)
    ]
    above = Line2D([], [], color="#555555", marker="|", label="above: where it peaks")
    dotted = Line2D([], [], color="#999999", linestyle=":", label="the paper's peak")
    style.legend(figure, *hops, above, dotted, columns=4)
    return figure
