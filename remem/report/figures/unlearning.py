"""Figures of stage 2: what is forgotten and what is kept (Tables 2 and 4, Fig 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from remem import paper
from remem.report import style
from remem.report.show import judge_name

SETTINGS = (
    *style.PAIR,
    style.Marker("#009E73", "^"),
    style.Marker("#999999", "D"),
    *style.ADDED[1:],
)


@style.styled
def tradeoff(table2: pd.DataFrame) -> Figure:
    """Forget EM (left is better) against retain EM (up is better), the paper's values hollow.

    Thin lines are chance, where the table has that row. Upper left is best.
    """
    models, guessed = _apart(table2)
    marks = style.markers(models.method)
    figure, axes, panels = style.grid(table2, 3.6, 3.2)
    for panel, rows in panels:
        rows, chance = _apart(rows)
        for row in chance.itertuples():
            panel.axvline(row.EM_f, **style.CHANCE)
            panel.axhline(row.EM_r, **style.CHANCE)
        for row in rows.itertuples():
            colour, marker = marks[row.method]
            panel.errorbar(
                row.EM_f,
                row.EM_r,
                style.error_bar(row, "EM_r"),
                style.error_bar(row, "EM_f"),
                color=colour,
                marker=marker,
                elinewidth=0.8,
            )
            panel.plot(row.paper_EM_f, row.paper_EM_r, marker, color=colour, mfc="none")
            panel.plot(
                [row.EM_f, row.paper_EM_f],
                [row.EM_r, row.paper_EM_r],
                ":",
                color=colour,
                linewidth=0.8,
            )
        _best(panel)
    axes[0, 0].set(xlim=(-4, 104), ylim=(-4, 104))
    style.label(axes, FORGET, RETAIN)
    note = style.intervals(models) + _kept(models)
    legend = [*style.methods(models.method), *_levels(guessed, {}), style.hollow()]
    style.legend(figure, *legend, note=note)
    return figure


FORGET = "EM on the forget set, % (\N{LEFTWARDS ARROW} better)"
RETAIN = "EM on the retain set, % (better \N{RIGHTWARDS ARROW})"


def _best(panel: Axes) -> None:
    """The corner where all is forgotten and all is kept, shaded."""
    panel.add_patch(
        Rectangle((-4, 84), 20, 20, facecolor="#E3F2E6", edgecolor="none", zorder=0, label="best")
    )
    panel.text(-2.5, 85.5, "best", fontsize=7, color="#2E6B3A")


def _kept(table: pd.DataFrame) -> str:
    """How many (seed, person) the means over the others are of."""
    counts = sorted({int(n) for n in table.get("units_retain", pd.Series(dtype=float)).dropna()})
    return f" Of the retain set n = {counts[0]}." if len(counts) == 1 else ""


@style.styled
def exposure(table2: pd.DataFrame) -> Figure:
    """Exposure of the forget set per method, among lines for what is no method: chance (the row of
    that name in tables.table2), the base, the model before unlearning, the retrained model. A
    method has the same place in all panels, whatever else was run for them."""
    frame = {"base": "-.", "before unlearning": ":", "retrained": "--"}
    marks = style.markers(_apart(table2)[0].method)
    names = [name for name in marks if name not in frame]
    figure, axes, panels = style.grid(table2, width=max(3.1, 0.6 + 0.4 * len(names)))
    for panel, rows in panels:
        rows, chance = _apart(rows)
        for row in chance.itertuples():
            panel.axhline(row.Exposure, **style.CHANCE)
        methods = rows[~rows.method.isin(frame)]
        for row in rows[rows.method.isin(frame)].itertuples():
            panel.axhline(
                row.Exposure, color=style.MARKERS[row.method].colour, linestyle=frame[row.method]
            )
        for row in methods.itertuples():
            colour, marker = marks[row.method]
            place = names.index(row.method)
            panel.errorbar(
                place,
                row.Exposure,
                style.error_bar(row, "Exposure"),
                color=colour,
                marker=marker,
                elinewidth=0.8,
            )
            panel.plot(place + 0.25, row.paper_Exposure, marker, color=colour, mfc="none")
        panel.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
        panel.grid(axis="x", visible=False)
    axes[0, 0].set_ylim(0, 104)
    style.label(axes, "", "Exposure of the forget set, %")
    note = style.intervals(_apart(table2)[0])
    style.legend(figure, *_levels(table2, frame), style.hollow(), columns=3, note=note)
    return figure


@style.styled
def forget_retain(curve: pd.DataFrame) -> Figure:
    """Unlearning epoch by epoch: forget EM against retain EM, to be read at equal forget EM.

    One rate for all methods is the paper's protocol, not a fair race; at equal forget EM the
    higher line keeps more. curve: model, method, seed, epoch, view ("forget", "retain_eval"), hop,
    em (0..1); the mean over seeds is drawn. A panel without rows of one view has no lines.
    """
    marks, views = style.markers(curve.method), ["forget", "retain_eval"]
    figure, axes, panels = style.grid(curve)
    for panel, rows in panels:
        mean = 100 * rows.groupby(["method", "epoch", "view"], sort=False).em.mean()
        ways = mean.unstack("view").reindex(columns=views)
        for method, way in ways.groupby(level="method", sort=False):
            colour, marker = marks[str(method)]
            way = way.sort_index(level="epoch")
            panel.plot(way.forget, way.retain_eval, marker=marker, markersize=4, color=colour)
            _forwards(panel, way.dropna().to_numpy(), colour)
    axes[0, 0].set_xlim(-4, 104)
    style.label(axes, FORGET, RETAIN)
    seeds = curve.seed.nunique()
    over = f"Means over {seeds} seeds" if seeds > 1 else "One seed"
    note = (
        "A mark for each epoch, from before unlearning (right); arrows show the way. "
        f"{over} of a sample of rows, without intervals."
    )
    style.legend(figure, *style.methods(curve.method), note=note)
    return figure


def _forwards(panel: Axes, points: np.ndarray, colour: str) -> None:
    """An arrow in the middle of the longest step of a way."""
    if len(points) < 2:
        return
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    at = int(steps.argmax())
    if steps[at] > 0:
        start, end = points[at], points[at + 1]
        look = {"arrowstyle": "-|>", "color": colour, "lw": 0, "mutation_scale": 15}
        middle = start + 0.58 * (end - start)
        panel.annotate("", middle, start + 0.5 * (end - start), arrowprops=look)


@style.styled
def table4(table: pd.DataFrame) -> Figure:
    """Table 4: accuracy per method by likelihood and by the answer, one panel per model, the
    paper's hollow."""
    names = list(dict.fromkeys(table.method))
    plain = style.PAIR[0]
    figure, axes, panels = style.row(table, width=3.6, height=0.7 + 0.28 * len(names))
    for panel, rows in panels:
        for line in rows.itertuples():
            y = names.index(line.method)
            style.pair(panel, line, ("MMBench", "MMBench_generated"), y, 0.14)
            panel.plot(line.paper_MMBench, y - 0.14, plain.marker, color=plain.colour, mfc="none")
        panel.set_yticks(range(len(names)), names)
        panel.set_ylim(len(names) - 0.5, -0.5)
    style.label(axes, "accuracy, % (right is better)", "")
    names = map(style.sample, style.PAIR, ("likeliest option", "answer"))
    note = style.intervals(table, over="questions")
    style.legend(figure, *names, style.hollow(), note=note)
    return figure


@style.styled
def ratios(table: pd.DataFrame, model: str) -> Figure:
    """Fig 6 or 7: every column of Table 2 against the forget ratio, of one model; a row of panels
    per column, single-hop left. Table 2's values are hollow."""
    table = table[table.model == model]
    if table.empty:
        raise ValueError(f"ratios: the table has no model {model!r}")
    heads = {
        "ROUGE": "ROUGE\nretained",
        "EM_r": "EM\nretained",
        "EM_t_retain": "EM held out\nretained",
        "judge": f"{judge_name(table)}\nforgotten",
        "EM_f": "EM\nforgotten",
        "Exposure": "Exposure\nforgotten",
        "EM_t": "EM held out\nforgotten",
    }
    heads = {column: head for column, head in heads.items() if column in table}
    hops = [hop for hop in style.HOP if hop in set(table.hop)]
    marks = style.markers(table.method)
    names = list(marks)
    spans = [_span(table, column) for column in heads]
    heights = [1.0 if span == WHOLE else FLAT for span in spans]
    figure, axes = style.panels(
        len(heads), len(hops), 3.3, 1.65 * sum(heights) / len(heights), "row", heights
    )
    for panel, (column, hop) in zip(axes.flat, product(heads, hops), strict=True):
        rows = table[table.hop == hop].sort_values("ratio", kind="stable")
        for (method, control), line in rows.groupby(["method", "control"], sort=False):
            colour, marker = marks[method]
            ours = control == paper.EPOCHS
            x = line.ratio + 0.25 * (names.index(method) - (len(names) - 1) / 2)
            panel.plot(
                x,
                line[column],
                style.CONTROLS[control],
                color=colour,
                markersize=4,
                marker=marker if ours else "|",
                linewidth=1.3 if ours else 0.7,
            )
            for at, point in zip(x, line.itertuples(), strict=True):
                if ours:
                    panel.errorbar(
                        at,
                        getattr(point, column),
                        style.error_bar(point, column),
                        color=colour,
                        elinewidth=0.7,
                    )
                    panel.plot(
                        at,
                        getattr(point, f"paper_{column}", np.nan),
                        marker,
                        color=colour,
                        mfc="none",
                        markersize=5,
                    )
        panel.set_xticks(sorted(table.ratio.unique()))
    for row, (low, high) in zip(axes, spans, strict=True):
        row[0].set_ylim(low - 4, high + 4)
    for panel in axes[:-1].flat:
        panel.tick_params(labelbottom=False)
    for hop, panel in zip(hops, axes[0], strict=True):
        panel.set_title(f"{model}, {style.HOP[hop]}", loc="left")
    for panels, head in zip(axes, heads.values(), strict=True):
        panels[0].set_ylabel(head)
    for panel in axes[-1]:
        panel.set_xlabel("people to forget, % of all")
    style.legend(
        figure,
        *style.methods(table.method),
        *_controls(table.control),
        style.hollow("hollow: the paper, at 20 %"),
        columns=4,
        note=f"Percent. {style.intervals(table)} Rows in which little moves are lower, and do not "
        "begin at 0.",
    )
    return figure


FLAT, MOVED = 0.55, 30.0  # height of a row of panels in which nothing moves by so many points


WHOLE = (0.0, 100.0)


def _span(table: pd.DataFrame, column: str) -> tuple[float, float]:
    """The tens below and above all that is drawn of a column, where little moves; else WHOLE."""
    drawn = table[[name for name in (column, f"paper_{column}") if name in table]]
    found = drawn.to_numpy(dtype=float)
    if not np.isfinite(found).any() or np.nanmax(found) - np.nanmin(found) >= MOVED:
        return WHOLE
    low, high = 10 * np.floor(np.nanmin(found) / 10), 10 * np.ceil(np.nanmax(found) / 10)
    return float(low), float(max(high, low + 10))


def _controls(names: Sequence[str]) -> list[Line2D]:
    """The legend's lines for what training was held equal in, each with its mark."""
    lines = style.controls(names)
    for line, mark in zip(lines, "o|", strict=False):
        line.set(marker=mark, markersize=5)
    return lines


@style.styled
def sensitivity(table: pd.DataFrame) -> Figure:
    """Forget EM of each method under each setting of what the paper leaves open, single-hop above;
    table: tables.sensitivity."""
    hops = [hop for hop in style.HOP if hop in set(table.hop)]
    kinds = list(dict.fromkeys(table.varied))
    points = table.groupby(["varied", "hop"])[["setting", "method"]].nunique().prod(axis=1).max()
    height = max(2.9, 0.07 * points)
    figure, axes = style.panels(len(hops), len(kinds), 3.3, height, share="none")
    for (hop, varied), panel in zip(product(hops, kinds), axes.flat, strict=True):
        rows = table[(table.hop == hop) & (table.varied == varied)]
        names = list(dict.fromkeys(rows.method))
        apart = min(0.18, 0.8 / rows.setting.nunique())
        for shift, (setting, part) in enumerate(rows.groupby("setting", sort=False)):
            colour, marker = SETTINGS[shift % len(SETTINGS)]
            places = [names.index(name) + apart * shift for name in part.method]
            panel.plot(part.EM_f, places, marker, color=colour, label=setting)
        panel.set_yticks(range(len(names)), names)
        panel.set(
            xlim=(-4, 104), ylim=(len(names) - 0.2, -0.8 - 0.3 * len(names))
        )  # a legend's room
        panel.set_title(f"{varied}, {style.HOP[hop]}", loc="left")
        panel.legend(fontsize=7, loc="upper right")
    style.label(axes, "EM on the forget set, % (left is more forgotten)", "")
    style.legend(figure, note="One model and one seed: no intervals.")
    return figure


@style.styled
def worked_exposure(ranks: pd.DataFrame, formulas: pd.DataFrame) -> Figure:
    """Both formulas of Exposure over the rank, the printed pairs (forget EM, Exposure), and what is
    printed against what ranks as measured here predict.

    ranks: rank, log, linear. formulas: source, EM_f, Exposure, log and linear (what each predicts),
    log_measured and linear_measured.
    """
    lines = {"log": "#0072B2", "linear": "#D55E00"}
    figure, axes = style.panels(1, 3, 3.4, 3.0, share="none")
    left, middle, right = axes.flat
    for formula, colour in lines.items():
        left.plot(ranks["rank"], ranks[formula], ".-", color=colour, label=formula)
        left.axhline(ranks[formula].mean(), color=colour, linestyle=":", linewidth=0.9)
        line = formulas.sort_values("EM_f")
        middle.plot(line.EM_f, line[formula], color=colour, label=f"{formula} formula")
    left.set(xlabel=f"rank of the truth among {len(ranks)}", ylabel="Exposure")
    left.set_title("dotted: chance", loc="left")
    left.xaxis.get_major_locator().set_params(integer=True)
    for source, marker in zip(dict.fromkeys(formulas.source), "o^s", strict=False):
        rows = formulas[formulas.source == source]
        look = {"marker": marker, "linestyle": "", "mfc": "none", "label": source}
        middle.plot(rows.EM_f, rows.Exposure, color="#333333", **look)
        for formula, colour in lines.items():
            right.plot(rows[f"{formula}_measured"], rows.Exposure, color=colour, **look)
    middle.set(xlabel="forget EM", ylabel="Exposure as printed", ylim=(0, 104))
    middle.set_title("wrong answers spread evenly", loc="left")
    right.plot([0, 100], [0, 100], **style.CHANCE)
    right.set(xlabel="Exposure as predicted", xlim=(0, 104), ylim=(0, 104))
    right.set_title("ranks as measured here", loc="left")
    for panel in (left, middle):
        panel.legend(fontsize=8)
    return figure


def _apart(table2: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of models, and those of chance."""
    guessed = table2.method == "chance"
    return table2[~guessed], table2[guessed]


def _levels(table2: pd.DataFrame, styles: dict[str, str]) -> list[Line2D]:
    """The legend's lines for those of chance and `styles` that the table has."""
    looks = {"chance": style.CHANCE}
    looks |= {
        name: {"color": style.MARKERS[name].colour, "linestyle": s} for name, s in styles.items()
    }
    met = set(table2.method)
    return [Line2D([], [], label=name, **look) for name, look in looks.items() if name in met]
