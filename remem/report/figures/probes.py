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
from matplotlib.ticker import NullLocator

from remem import paper
from remem.report import style


@style.styled
def fig2a(points: pd.DataFrame, least: float = 0.001) -> Figure:
    """Fig 2 left: Min-k% against inverse perplexity of each name, on axes of log-odds, which leave
    room near 0 % and near 100 % alike.

    points: set, min_k, inverse_perplexity (percent), one row per person. Small marks are people,
    large ones their mean, hollow ones Table 5's; what lies below `least`, or as near to 100, is
    drawn there.
    """
    printed = paper.paper_table("table5")
    figure, axes = style.panels(1, 1, 5.2, 4.2)
    panel = axes[0, 0]
    marks = style.sets(points["set"])
    for name in reversed(marks):  # the Real Set on top: it crowds in one corner
        colour, marker = marks[name]
        rows = points[points["set"] == name]
        x, y = (rows[name].clip(least, 100 - least) for name in ("inverse_perplexity", "min_k"))
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
    panel.set(xlabel="inverse perplexity of the name, %", ylabel="Min-k% of the name, %")
    panel.set_xscale("function", functions=(_log_odds, _percent))
    panel.set_yscale("function", functions=(_log_odds, _percent))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_ticks([at for at in TICKS if least <= at <= 100 - least])
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    _fit(panel, least)
    samples = [style.sample(mark, name) for name, mark in marks.items()]
    counts = points["set"].value_counts()
    people = ", ".join(f"{name} {counts[name]}" for name in marks)
    note = f"Small marks are people (n: {people}), large ones their mean; right and up is surer."
    style.legend(figure, *samples, style.hollow("hollow: the paper's means"), columns=3, note=note)
    return figure


TICKS = (0.01, 0.1, 1, 10, 50, 90, 99, 99.9)


def _log_odds(percent):
    some = np.clip(np.asarray(percent, dtype=float), 1e-6, 100 - 1e-6)
    return np.log(some / (100 - some))


def _percent(odds):
    return 100 / (1 + np.exp(-np.asarray(odds, dtype=float)))


def _fit(panel: Axes, least: float) -> None:
    """Limits a little beyond what is drawn."""
    for name in "xy":
        drawn = np.concatenate([getattr(line, f"get_{name}data")() for line in panel.lines])
        odds = _log_odds(drawn[np.isfinite(drawn)].clip(least, 100 - least))
        getattr(panel, f"set_{name}lim")(*_percent([odds.min() - 0.5, odds.max() + 0.5]))


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
    floor, grey a cell without a value. Effects below 0 have the colour of 0. A corruption that is
    below the floor for every set has no panels, but a line below, and so has a set for which every
    corruption is. Raises ValueError where nothing of that kind was asked.
    """
    table = table[(table.asked == asked) & table.state.isin([*_STATES])]
    if table.empty:
        raise ValueError(f"traces: the table has no trace of a {asked!r}")
    asked_sets = list(dict.fromkeys(table["set"]))
    met = [name for name in paper.CORRUPTIONS if name in set(table.corruption)]
    told = table[table.measurable]
    changes = [name for name in met if name in {*told.corruption}] or met[:1]
    sets = [name for name in asked_sets if name in {*told["set"]}] or asked_sets
    positions = [name for name in paper.POSITIONS if name in set(table.position)]
    layers = sorted(table.layer.unique())
    norm = PowerNorm(0.5, 0, 100, clip=True)  # so that small effects can be seen beside large ones
    shown = list(product(sets, _STATES, changes))
    high = 1.8 if len(sets) > 1 else 2.6  # the line below takes as much of one set as of two
    figure, axes = style.panels(len(sets) * len(_STATES), len(changes), 2.5, high)
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
    drawn = table[table["set"].isin(sets)]
    note = [_without(drawn, "corruption", name) for name in met if name not in changes]
    note += [_without(table, "set", name) for name in asked_sets if name not in sets]
    if "people" in table:
        counts = table.drop_duplicates("set").set_index("set").people
        people = ", ".join(f"{name} {counts[name]:.0f}" for name in asked_sets)
        note.append(f"Means over people (n: {people}); intervals of the peaks are in the table.")
    style.legend(figure, columns=1, note=" ".join(note))
    return figure


def _without(table: pd.DataFrame, kind: str, name: str) -> str:
    """What is said of a corruption, or a set, that has no panel."""
    other = "set" if kind == "corruption" else "corruption"
    totals = table[table[kind] == name].groupby(other, sort=False).total.mean()
    said = ", ".join(f"{total:z.1f} ({_CHANGED.get(at, at)})" for at, total in totals.items())
    said_of = _CHANGED.get(name, name)
    return f"{said_of[:1].upper()}{said_of[1:]}: total effect {said} points, nothing to trace."


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
