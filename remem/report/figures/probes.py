"""Figures of what a model knows inside: names' probabilities and causal traces (Fig 2, Fig 5)."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
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


_STATES = {"mlp": "MLP output", "attention": "attention output", "residual": "residual (control)"}


@style.styled
def traces(table: pd.DataFrame, corruption: str = "subject") -> Figure:
    """Fig 2 right and Fig 5: share of the total effect by layer and position, for one corruption.

    A column of panels per set, a row per state. The number is the panel's highest share; hatched
    is what cannot be told, grey a cell without a value. Shares below 0 have the colour of 0.
    """
    table = table[table.corruption == corruption]
    if table.empty:
        raise ValueError(f"traces: the table has no corruption {corruption!r}")
    sets, states, positions = (list(dict.fromkeys(table[c])) for c in ("set", "state", "position"))
    layers = sorted(table.layer.unique())
    norm = PowerNorm(0.5, 0, 100, clip=True)  # so that small shares can be seen beside large ones
    figure, axes = style.panels(len(states), len(sets), 1.55 + 1.4 / len(sets), 1.75)
    for panel, (state, name) in zip(axes.flat, product(states, sets), strict=True):
        rows = table[(table.state == state) & (table["set"] == name)]
        panel.set(facecolor="#DDDDDD", xlim=(-0.5, len(positions) - 0.5))
        panel.set_ylim(-0.5, len(layers) - 0.5)
        panel.grid(visible=False)
        panel.set_xticks(range(len(positions)), positions, rotation=90)
        panel.set_yticks(range(0, len(layers), -(-len(layers) // 8)))
        panel.set_yticklabels(layers[:: -(-len(layers) // 8)])
        if state == states[0]:
            panel.set_title(f"{name}\ntotal effect {rows.total.mean():.1f} %", loc="left")
        shares = rows.pivot(index="layer", columns="position", values="share")
        shares = shares.reindex(index=layers, columns=positions).to_numpy()
        if rows.measurable.any():
            image = panel.imshow(shares, cmap="cividis", norm=norm, aspect="auto", origin="lower")
            y, x = np.unravel_index(np.nanargmax(shares), shares.shape)
            shade = "black" if norm(shares[y, x]) > 0.55 else "white"
            panel.text(x, y, f"{shares[y, x]:.0f}", color=shade, ha="center", va="center")
        else:
            panel.add_patch(
                Rectangle(
                    (0, 0),
                    1,
                    1,
                    transform=panel.transAxes,
                    hatch="////",
                    facecolor="white",
                    edgecolor="#CCCCCC",
                    linewidth=0,
                )
            )
            panel.text(
                0.5,
                0.5,
                "cannot\nbe told",
                transform=panel.transAxes,
                ha="center",
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none"},
            )
    for panel, state in zip(axes[:, 0], states, strict=True):
        panel.set_ylabel(f"{_STATES[state]}\nlayer")
    figure.suptitle(f"corrupted: the {corruption}", fontsize=9, ha="left", x=0.01)
    if table.measurable.any():
        bar = figure.colorbar(image, ax=axes, ticks=[0, 5, 20, 50, 100], shrink=0.7)
        bar.set_label("share of the total effect, %")
    return figure
