"""Figures of what a model knows inside: names' probabilities and causal traces (Fig 2, Fig 5)."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from remem import paper
from remem.report import style


@style.styled
def fig2a(points: pd.DataFrame, least: float = 0.001) -> Figure:
    """Fig 2 left: Min-k% against inverse perplexity of each name, on logarithmic axes.

    points: set, min_k, inverse_perplexity (percent), one row per person. Small marks are people,
    large ones their mean, hollow ones Table 5's; what lies below `least` is drawn there.
    """
    printed = paper.paper_table("table5")
    figure, axes = style.panels(1, 1, 5.2, 4.2)
    panel = axes[0, 0]
    marks = style.sets(points["set"])
    for name in reversed(marks):  # the Real Set on top: it crowds in one corner
        colour, marker = marks[name]
        rows = points[points["set"] == name]
        x, y = rows.inverse_perplexity.clip(lower=least), rows.min_k.clip(lower=least)
        panel.plot(x, y, marker, color=colour, alpha=0.4, markersize=5, markeredgewidth=0)
        panel.plot(
            rows.inverse_perplexity.mean(),
            rows.min_k.mean(),
            marker,
            color=colour,
            markersize=11,
            markeredgecolor="white",
        )
        if name in printed.index:
            panel.plot(
                *printed.loc[name, ["inverse_perplexity", "min_k"]],
                marker,
                color=colour,
                markersize=11,
                mfc="none",
            )
    panel.set(
        xscale="log",
        yscale="log",
        xlabel="inverse perplexity of the name, %",
        ylabel="Min-k% of the name, %",
    )
    panel.set(xlim=(None, 140), ylim=(None, 180))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter("{x:g}")
    samples = [style.sample(mark, name) for name, mark in marks.items()]
    style.legend(figure, *samples, style.hollow("hollow: the paper's means"), columns=3)
    return figure


_STATES = {"mlp": "MLP", "attention": "attention"}  # the residual stream is in the table

_CHANGED = {
    "entity": "wrong subject",
    "noise": "noise on the subject",
    "image": "another's picture",
}


@style.styled
def traces(table: pd.DataFrame, asked: str = "name") -> Figure:
    """Fig 2 right and Fig 5: what comes back by layer and position, in points of probability.

    table: as tables.traces gives it, of which the rows on `asked` are drawn: a column of panels for
    each corruption, MLP and attention of each set below each other, one scale of colour for all.
    The number is the panel's highest effect; hatched is a panel whose total effect is below the
    floor, grey a cell without a value. Effects below 0 have the colour of 0. Raises ValueError
    where nothing of that kind was asked.
    """
    table = table[(table.asked == asked) & table.state.isin([*_STATES])]
    if table.empty:
        raise ValueError(f"traces: the table has no trace of a {asked!r}")
    sets = list(dict.fromkeys(table["set"]))
    changes = [name for name in paper.CORRUPTIONS if name in set(table.corruption)]
    positions = [name for name in paper.POSITIONS if name in set(table.position)]
    layers = sorted(table.layer.unique())
    norm = PowerNorm(0.5, 0, 100, clip=True)  # so that small effects can be seen beside large ones
    shown = list(product(sets, _STATES, changes))
    figure, axes = style.panels(len(sets) * len(_STATES), len(changes), 2.0, 1.8)
    for (name, state, change), panel in zip(shown, axes.flat, strict=True):
        here = (table["set"] == name) & (table.state == state) & (table.corruption == change)
        _trace(panel, table[here], layers, positions, norm)
        if change == changes[0]:
            panel.set_ylabel(f"{name}\n{_STATES[state]}, layer")
        if state == "mlp":
            total = table[here].total.mean()
            total = f"total effect {total:z.1f} points" if here.any() else ""
            title = f"{_CHANGED[change]}\n{total}" if name == sets[0] else total
            panel.set_title(title, loc="left")
    scale = ScalarMappable(norm, "cividis")
    bar = figure.colorbar(scale, ax=axes, ticks=[0, 5, 20, 50, 100], shrink=0.6)
    bar.set_label("effect, points of probability")
    return figure


def _trace(
    panel: Axes, rows: pd.DataFrame, layers: list[int], positions: list[str], norm: PowerNorm
) -> None:
    """One panel: the rows' effects, layer by position."""
    panel.set(facecolor="#DDDDDD", xlim=(-0.5, len(positions) - 0.5))
    panel.set_ylim(-0.5, len(layers) - 0.5)
    panel.grid(visible=False)
    panel.set_xticks(range(len(positions)), positions, rotation=90)
    every = -(-len(layers) // 8)
    panel.set_yticks(range(0, len(layers), every), map(str, layers[::every]))
    if rows.measurable.any():
        effects = rows.pivot(index="layer", columns="position", values="effect")
        effects = effects.reindex(index=layers, columns=positions).to_numpy()
        panel.imshow(effects, cmap="cividis", norm=norm, aspect="auto", origin="lower")
        y, x = map(int, np.unravel_index(np.nanargmax(effects), effects.shape))
        shade = "black" if norm(effects[y, x]) > 0.55 else "white"
        panel.text(x, y, f"{effects[y, x]:z.0f}", color=shade, ha="center", va="center")
        return
    corner, whole = (0, 0), {"width": 1, "height": 1, "transform": panel.transAxes}
    hatched = {"hatch": "////", "facecolor": "white", "edgecolor": "#CCCCCC", "linewidth": 0}
    panel.add_patch(Rectangle(corner, **whole, **hatched))
    panel.text(
        0.5,
        0.5,
        "below the floor:\nnothing to trace" if len(rows) else "not traced",
        transform=panel.transAxes,
        ha="center",
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none"},
    )
