"""One function per figure, a table in, a matplotlib Figure out; no file is read or written.

The style is that of `ink`. All axes are in percent unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from remem import claims, ink, metrics, tables


def _judge(table: pd.DataFrame) -> str:
    return tables.judged_by(table).partition(" (")[0]  # "rule judge" or "Gemini"


def _bars(table: pd.DataFrame, name: str, colours: dict[str, str]) -> Figure:
    """Table 3's columns as bars, one panel per model, a colour for each value of column `name`."""
    columns = {"ROUGE": "ROUGE", "judge": _judge(table).replace(" ", "\n"), "EM": "EM",
               "EM_t": "EM\nheld out"}
    colours = {value: colour for value, colour in colours.items() if value in set(table[name])}
    width = 0.8 / len(colours)
    figure, axes, panels = ink.row(table, width=4.8 if table.model.nunique() == 1 else 3.3)
    for panel, rows in panels:
        for at, (value, colour) in enumerate(colours.items()):
            for line in rows[rows[name] == value].itertuples():
                for place, column in enumerate(columns):
                    x = place + width * (at - (len(colours) - 1) / 2)
                    panel.bar(x, getattr(line, column), 0.94 * width, color=colour,
                              yerr=ink.reach(line, column), ecolor="#333333")
                    panel.plot(x, getattr(line, f"paper_{column}"), "D", color="#222222",
                               mfc="none")
        panel.set_xticks(range(len(columns)), columns.values())
        panel.grid(axis="x", visible=False)
        panel.set_ylim(0, 104)
    axes[0, 0].set_ylabel("percent")
    boxes = [plt.Rectangle((0, 0), 1, 1, color=c, label=n) for n, c in colours.items()]
    ghost = ink.ghost("hollow: the paper (its judge is Gemini)", "D")
    ink.legend(figure, *boxes, ghost, columns=2 if len(panels) == 1 else 4)
    return figure


@ink.inked
def fig1(table: pd.DataFrame) -> Figure:
    """Fig 1: what stage 1 leaves, on data of each benchmark's shape; Table 3's values hollow."""
    marks = ink.sets(table["benchmark"])
    return _bars(table, "benchmark", {name: mark.colour for name, mark in marks.items()})


@ink.inked
def causes(table: pd.DataFrame) -> Figure:
    """One thing of ReMem's data changed at a time: EM on training and on held-out rows."""
    changes = list(dict.fromkeys(table.change))
    columns = dict(zip(("EM", "EM_t"), ink.PAIR, strict=True))
    figure, axes, panels = ink.row(table, width=4.2, height=0.6 + 0.34 * len(changes))
    for panel, rows in panels:
        for line in rows.itertuples():
            for shift, (column, (colour, marker)) in zip((-0.12, 0.12), columns.items(),
                                                         strict=True):  # fmt: skip
                panel.errorbar(getattr(line, column), changes.index(line.change) + shift,
                               xerr=ink.reach(line, column), color=colour, marker=marker,
                               elinewidth=0.8)
        panel.set_yticks(range(len(changes)), changes)
        panel.set(xlim=(-4, 104), ylim=(len(changes) - 0.5, -0.5))
    ink.label(axes, "EM, %", "")
    names = ("training rows", "held-out rows")
    ink.legend(figure, *map(ink.sample, ink.PAIR, names))
    return figure


@ink.inked
def fig2a(points: pd.DataFrame, least: float = 0.001) -> Figure:
    """Fig 2 left: Min-k% against inverse perplexity of each name, on logarithmic axes.

    points: set, min_k, inverse_perplexity (percent), one row per person. Small marks are people,
    large ones their mean, hollow ones Table 5's; what lies below `least` is drawn there.
    """
    printed = claims.paper_table("table5")
    figure, axes = ink.panels(1, 1, 5.2, 4.2)
    panel = axes[0, 0]
    marks = ink.sets(points["set"])
    for name in reversed(marks):  # the Real Set on top: it crowds in one corner
        colour, marker = marks[name]
        rows = points[points["set"] == name]
        x, y = rows.inverse_perplexity.clip(lower=least), rows.min_k.clip(lower=least)
        panel.plot(x, y, marker, color=colour, alpha=0.4, markersize=5, markeredgewidth=0)
        panel.plot(rows.inverse_perplexity.mean(), rows.min_k.mean(), marker, color=colour,
                   markersize=11, markeredgecolor="white")
        if name in printed.index:
            panel.plot(*printed.loc[name, ["inverse_perplexity", "min_k"]], marker, color=colour,
                       markersize=11, mfc="none")
    panel.set(xscale="log", yscale="log", xlabel="inverse perplexity of the name, %",
              ylabel="Min-k% of the name, %")
    panel.set(xlim=(None, 140), ylim=(None, 180))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter("{x:g}")
    samples = [ink.sample(mark, name) for name, mark in marks.items()]
    ink.legend(figure, *samples, ink.ghost("hollow: the paper's means"), columns=3)
    return figure


_STATES = {"mlp": "MLP output", "attention": "attention output", "residual": "residual (control)"}


@ink.inked
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
    figure, axes = ink.panels(len(states), len(sets), 1.55 + 1.4 / len(sets), 1.75)
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
        if rows.told.any():
            image = panel.imshow(shares, cmap="cividis", norm=norm, aspect="auto", origin="lower")
            y, x = np.unravel_index(np.nanargmax(shares), shares.shape)
            shade = "black" if norm(shares[y, x]) > 0.55 else "white"
            panel.text(x, y, f"{shares[y, x]:.0f}", color=shade, ha="center", va="center")
        else:
            panel.add_patch(plt.Rectangle((0, 0), 1, 1, transform=panel.transAxes, hatch="////",
                                          facecolor="white", edgecolor="#CCCCCC", linewidth=0))
            panel.text(0.5, 0.5, "cannot\nbe told", transform=panel.transAxes, ha="center",
                       va="center", bbox={"facecolor": "white", "edgecolor": "none"})
    for panel, state in zip(axes[:, 0], states, strict=True):
        panel.set_ylabel(f"{_STATES[state]}\nlayer")
    figure.suptitle(f"corrupted: the {corruption}", fontsize=9, ha="left", x=0.01)
    if table.told.any():
        bar = figure.colorbar(image, ax=axes, ticks=[0, 5, 20, 50, 100], shrink=0.7)
        bar.set_label("share of the total effect, %")
    return figure


@ink.inked
def fig3a(table: pd.DataFrame) -> Figure:
    """Fig 3a: ROUGE and EM of held-out answers against the number of samples of one person."""
    figure, axes = ink.panels(1, 2)
    for panel, column in zip(axes.flat, ("ROUGE", "EM"), strict=True):
        panel.set_title(column, loc="left")
        _samples(panel, table, column)
    panel.set_ylim(0, 104)
    ink.label(axes, "samples of one person", "percent, held out")
    ink.legend(figure, *_controls(table))
    return figure


@ink.inked
def fig3b(table: pd.DataFrame) -> Figure:
    """Fig 3b: perplexity of the held-out answers; where the paper has its lowest and its spike."""
    figure, axes = ink.panels(1, 1, 4.2, 3.0)
    panel = axes[0, 0]
    _samples(panel, table, "perplexity")
    if table.perplexity.max() > 10 * table.perplexity.min():
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
    printed = claims.paper_table("fig3b").loc["perplexity"]
    for place, word in (("lowest_at_samples", "lowest "), ("spike_at_samples", " spike")):
        panel.axvline(printed[place], color="#999999", linestyle=":")
        side = "right" if word[-1] == " " else "left"
        panel.text(printed[place], 0.97, word, transform=panel.get_xaxis_transform(), ha=side,
                   va="top", color="#666666")
    ink.label(axes, "samples of one person", "perplexity, held out")
    dotted = Line2D([], [], color="#999999", linestyle=":", label="the paper's")
    ink.legend(figure, *_controls(table), dotted)
    return figure


def _samples(panel, table: pd.DataFrame, column: str) -> None:
    for (control, style), mark in zip(ink.CONTROLS.items(), ink.PAIR, strict=True):
        rows = table[table.control == control].sort_values("samples")
        ink.curve(panel, rows, "samples", column, mark, style)
    panel.set_xticks(sorted(table.samples.unique())[::2])


def _controls(table: pd.DataFrame) -> list[Line2D]:
    pairs = zip(ink.PAIR, ink.CONTROLS.items(), strict=True)
    return [ink.sample(mark, name, style) for mark, (name, style) in pairs
            if name in set(table.control)]  # fmt: skip


@ink.inked
def fig3c(table: pd.DataFrame, peaks: pd.DataFrame) -> Figure:
    """Fig 3c: held-out EM of both hops against the share of single-hop in training.

    peaks: tables.peaks; its places and intervals lie above the curves, the paper's is dotted.
    """
    figure, axes, panels = ink.row(table, "setting", 3.6, 3.1)
    for panel, rows in panels:
        for place, (hop, mark) in enumerate(zip(ink.HOP, ink.PAIR, strict=True)):
            ink.curve(panel, rows[rows.hop == hop].sort_values("share"), "share", "EM", mark)
            here = peaks[(peaks.setting == rows.setting.iloc[0]) & (peaks.hop == hop)]
            for peak in here.itertuples():
                panel.errorbar(peak.peak, 108 + 6 * place, xerr=ink.reach(peak, "peak"),
                               color=mark.colour, marker=mark.marker, elinewidth=1.2, capsize=2)
                if pd.notna(peak.paper_peak):
                    panel.axvline(peak.paper_peak, color="#999999", linestyle=":")
        panel.axhline(103, color="#CCCCCC", linewidth=0.8)
        panel.set(ylim=(0, 118), yticks=range(0, 101, 20))
    ink.label(axes, "single-hop share of the training rows, %", "EM, held out, %")
    hops = [ink.sample(mark, name, "-")
            for mark, name in zip(ink.PAIR, ink.HOP.values(), strict=True)]
    above = Line2D([], [], color="#555555", marker="|", label="above: where it peaks")
    dotted = Line2D([], [], color="#999999", linestyle=":", label="the paper's peak")
    ink.legend(figure, *hops, above, dotted, columns=4)
    return figure


@ink.inked
def table4(table: pd.DataFrame) -> Figure:
    """Table 4: plain and circular accuracy per method, one panel per model, the paper's hollow."""
    names = list(dict.fromkeys(table.method))
    columns = dict(zip(("MMBench", "MMBench_circular"), ink.PAIR, strict=True))
    figure, axes, panels = ink.row(table, width=3.6, height=0.7 + 0.28 * len(names))
    for panel, rows in panels:
        for line in rows.itertuples():
            y = names.index(line.method)
            for shift, (column, (colour, marker)) in zip((-0.14, 0.14), columns.items(),
                                                         strict=True):  # fmt: skip
                panel.errorbar(getattr(line, column), y + shift, xerr=ink.reach(line, column),
                               color=colour, marker=marker, elinewidth=0.8)
            plain = columns["MMBench"]
            panel.plot(line.paper_MMBench, y - 0.14, plain.marker, color=plain.colour, mfc="none")
        panel.set_yticks(range(len(names)), names)
        panel.set_ylim(len(names) - 0.5, -0.5)
    ink.label(axes, "accuracy, %", "")
    ink.legend(figure, *map(ink.sample, ink.PAIR, ("plain", "circular")), ink.ghost())
    return figure


@ink.inked
def ratios(table: pd.DataFrame, model: str) -> Figure:
    """Fig 6 or 7: every column of Table 2 against the forget ratio, of one model; a row of panels
    per column, single-hop left. Table 2's values are hollow."""
    table = table[table.model == model]
    if table.empty:
        raise ValueError(f"ratios: the table has no model {model!r}")
    heads = {
        "ROUGE": "ROUGE\nretained", "EM_r": "EM\nretained",
        "EM_t_retain": "EM held out\nretained", "judge": f"{_judge(table)}\nforgotten",
        "EM_f": "EM\nforgotten", "Exposure": "Exposure\nforgotten",
        "EM_t": "EM held out\nforgotten",
    }  # fmt: skip
    hops = [hop for hop in ink.HOP if hop in set(table.hop)]
    names = list(dict.fromkeys(table.method))
    figure, axes = ink.panels(len(heads), len(hops), 3.3, 1.65)
    for panel, (column, hop) in zip(axes.flat, product(heads, hops), strict=True):
        rows = table[table.hop == hop].sort_values("ratio", kind="stable")
        for (method, control), line in rows.groupby(["method", "control"], sort=False):
            colour, marker = ink.MARKS.get(method, ink.NEW)
            ours = control == claims.EPOCHS
            x = line.ratio + 0.25 * (names.index(method) - (len(names) - 1) / 2)
            panel.plot(x, line[column], ink.CONTROLS[control], color=colour, markersize=4,
                       marker=marker if ours else "", linewidth=1.3 if ours else 0.7)
            for at, point in zip(x, line.itertuples(), strict=True):
                if ours:
                    panel.errorbar(at, getattr(point, column), ink.reach(point, column),
                                   color=colour, elinewidth=0.7)
                    panel.plot(at + 0.9, getattr(point, f"paper_{column}", np.nan), marker,
                               color=colour, mfc="none", markersize=5)
        panel.set_xticks(sorted(table.ratio.unique()))
    axes[0, 0].set_ylim(-4, 104)
    for hop, panel in zip(hops, axes[0], strict=True):
        panel.set_title(f"{model}, {ink.HOP[hop]}", loc="left")
    for panels, head in zip(axes, heads.values(), strict=True):
        panels[0].set_ylabel(head)
    for panel in axes[-1]:
        panel.set_xlabel("people to forget, % of all")
    ink.legend(figure, *ink.methods(table.method), *ink.controls(table.control), ink.ghost(),
               columns=4)  # fmt: skip
    return figure


_VERDICTS = {  # the last words of a verdict -> its mark
    **dict.fromkeys([claims.HOLDS, "reproduced"], ink.Mark("#009E73", "o")),
    **dict.fromkeys([claims.FAILS, "not reproduced"], ink.Mark("#D55E00", "X")),
    claims.UNTOLD: ink.Mark("#777777", "$?$"),
    claims.NOT_RUN: ink.Mark("#AAAAAA", "_"),
}
_ITEMS = {"fig6": "Fig 6, Fig 7"}


@ink.inked
def scorecard(table: pd.DataFrame) -> Figure:
    """Every claim in one picture: what it says, whether the paper's own numbers bear it out, and
    the verdict. Claims about one item stand together.

    table: claims.scorecard; claim, section, text, "paper bears out" and verdict are shown.
    """
    width, line, letters = 7.75, 0.185, 54  # of the page and of a line, in inches
    left, text_at, paper_at, mark_at = 0.12, 0.86, 5.05, 6.42
    about = table.claim.map({claim.id: claim.item for claim in claims.CLAIMS})
    blocks = []  # (lines of text, its row or None for a heading)
    for _, rows in table.groupby(about.ne(about.shift()).cumsum()):
        item = about[rows.index[0]]
        name = item.replace("fig", "Fig ").replace("table", "Table ")
        blocks.append(([_ITEMS.get(item, name)], None))
        blocks += [
            (wrap(row["text"].replace(" %", "\u00a0%"), letters, break_on_hyphens=False), row)
            for row in rows.to_dict("records")
        ]
    height = line * (2.6 + sum(len(lines) + 0.4 for lines, _ in blocks))
    figure = plt.figure(figsize=(width, height))
    panel = figure.add_axes((0, 0, 1, 1))  # its unit is the inch, downwards
    panel.set(xlim=(0, width), ylim=(height, 0))
    panel.set_axis_off()
    worlds = {verdict.rpartition(": ")[0] for verdict in table.verdict} - {""}
    heads = {text_at: "claim", paper_at: "borne out by\nthe paper's\nnumbers?",
             mark_at: ",\n".join(sorted(worlds)) or "verdict"}  # fmt: skip
    for x, text in heads.items():
        panel.text(x, 1.3 * line, text, color="#666666", va="center", fontsize=8)
    top = 2.6 * line
    for lines, row in blocks:
        middle = top + line / 2
        if row is None:
            panel.text(left, middle, lines[0], weight="bold", va="center", fontsize=10)
            panel.plot([left, width - left], [top - 0.02] * 2, color="#BBBBBB", linewidth=0.8)
        else:
            word = row["verdict"].rpartition(": ")[2]
            colour, marker = _VERDICTS[word]
            panel.text(left, middle, row["section"], color="#666666", va="center", fontsize=8)
            for place, text in enumerate(lines):
                panel.text(text_at, middle + place * line, text, va="center", fontsize=9.5,
                           parse_math=False)
            panel.text(paper_at, middle, row["paper bears out"], va="center", fontsize=9.5)
            panel.plot(mark_at, middle, marker=marker, color=colour, markersize=8)
            panel.text(mark_at + 0.15, middle, word, color=colour, va="center", fontsize=9.5)
        top += (len(lines) + 0.4) * line
    return figure


def _apart(table2: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of models, and those of chance."""
    guessed = table2.method == "chance"
    return table2[~guessed], table2[guessed]


def _levels(table2: pd.DataFrame, styles: dict[str, str]) -> list[Line2D]:
    """The legend's lines for those of chance and `styles` that the table has."""
    looks = {"chance": ink.CHANCE}
    looks |= {name: {"color": ink.MARKS[name].colour, "linestyle": s} for name, s in styles.items()}
    met = set(table2.method)
    return [Line2D([], [], label=name, **look) for name, look in looks.items() if name in met]


@ink.inked
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
    figure, axes = ink.panels(len(lines), columns, 0.95, 1.1)
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


@ink.inked
def stage1(table3: pd.DataFrame) -> Figure:
    """Table 3 as bars, one panel per model: base and stage 1, the paper's values hollow."""
    return _bars(table3, "stage", {"base": ink.BASE, "stage 1": ink.STAGE1})


@ink.inked
def tradeoff(table2: pd.DataFrame) -> Figure:
    """Forget EM (left is better) against retain EM (up is better), the paper's values hollow.

    Thin lines are chance, where the table has that row.
    """
    figure, axes, panels = ink.grid(table2, 3.6, 3.2)
    for panel, rows in panels:
        rows, chance = _apart(rows)
        for row in chance.itertuples():
            panel.axvline(row.EM_f, **ink.CHANCE)
            panel.axhline(row.EM_r, **ink.CHANCE)
        for row in rows.itertuples():
            colour, marker = ink.MARKS.get(row.method, ink.NEW)
            panel.errorbar(row.EM_f, row.EM_r, ink.reach(row, "EM_r"), ink.reach(row, "EM_f"),
                           color=colour, marker=marker, elinewidth=0.8)
            panel.plot(row.paper_EM_f, row.paper_EM_r, marker, color=colour, mfc="none")
            panel.plot([row.EM_f, row.paper_EM_f], [row.EM_r, row.paper_EM_r], ":",
                       color=colour, linewidth=0.8)
    axes[0, 0].set_xlim(-4, 104)
    ink.label(axes, "EM on the forget set", "EM on the retain set")
    models, chance = _apart(table2)
    ink.legend(figure, *ink.methods(models.method), *_levels(chance, {}), ink.ghost())
    return figure


@ink.inked
def forget_retain(curve: pd.DataFrame) -> Figure:
    """Unlearning epoch by epoch: forget EM against retain EM, to be read at equal forget EM.

    One rate for all methods is the paper's protocol, not a fair race; at equal forget EM the
    higher line keeps more. curve: model, method, seed, epoch, view ("forget", "retain_eval"), hop,
    em (0..1); the mean over seeds is drawn.
    """
    figure, axes, panels = ink.grid(curve)
    for panel, rows in panels:
        mean = 100 * rows.groupby(["method", "epoch", "view"], sort=False).em.mean()
        for method, way in mean.unstack("view").groupby(level="method", sort=False):
            colour, marker = ink.MARKS.get(method, ink.NEW)
            way = way.sort_index(level="epoch")
            panel.plot(way.forget, way.retain_eval, marker=marker, markersize=4, color=colour)
    axes[0, 0].set_xlim(-4, 104)
    ink.label(axes, "EM on the forget set (an epoch a mark)", "EM on the retain set")
    ink.legend(figure, *ink.methods(curve.method))
    return figure


@ink.inked
def exposure(table2: pd.DataFrame) -> Figure:
    """Exposure of the forget set per method, among lines for what is no method: chance (the row of
    that name in tables.table2), the untaught base, the start, the retrained model."""
    figure, axes, panels = ink.grid(table2)
    frame = {"base": "-.", "before unlearning": ":", "retrained": "--"}
    for panel, rows in panels:
        rows, chance = _apart(rows)
        for row in chance.itertuples():
            panel.axhline(row.Exposure, **ink.CHANCE)
        methods = rows[~rows.method.isin(frame)]
        for row in rows[rows.method.isin(frame)].itertuples():
            panel.axhline(row.Exposure, color=ink.MARKS[row.method].colour,
                          linestyle=frame[row.method])
        for place, row in enumerate(methods.itertuples()):
            colour, marker = ink.MARKS.get(row.method, ink.NEW)
            panel.errorbar(place, row.Exposure, ink.reach(row, "Exposure"), color=colour,
                           marker=marker, elinewidth=0.8)
            panel.plot(place + 0.25, row.paper_Exposure, marker, color=colour, mfc="none")
        panel.set_xticks(range(len(methods)), methods.method, rotation=30, ha="right",
                         rotation_mode="anchor")
        panel.grid(axis="x", visible=False)
    axes[0, 0].set_ylim(0, 104)
    ink.label(axes, "", "Exposure of the forget set")
    ink.legend(figure, *_levels(table2, frame), ink.ghost(), columns=3)
    return figure


@ink.inked
def worked_exposure(ranks: pd.DataFrame, forms: pd.DataFrame) -> Figure:
    """Both forms of Exposure over the rank, and the paper's 20 pairs (forget EM, Exposure).

    ranks: rank, log, linear. forms: model, EM_f, Exposure, log, linear (what each form predicts).
    """
    lines = {"log": "#0072B2", "linear": "#D55E00"}
    figure, axes = ink.panels(1, 2, 3.6, 3.0, share=False)
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


@ink.inked
def likeness(table: pd.DataFrame, threshold: float) -> Figure:
    """Cosine similarity to an anchor, of the same and of another person, in training and test.

    table: likeness.survey. The line is the threshold below which a view would be drawn again.
    """
    splits = list(dict.fromkeys(table.split))
    figure, axes = ink.panels(1, len(splits), 3.4, 2.5)
    bins = np.linspace(-1, 1, 41)
    for panel, split in zip(axes.flat, splits, strict=True):
        rows = table[table.split == split]
        panel.set_title(split, loc="left")
        for (colour, _), (who, part) in zip(ink.PAIR, rows.groupby("of", sort=False), strict=False):
            panel.hist(part.similarity.dropna(), bins, color=colour, alpha=0.6, label=who)
        panel.axvline(threshold, **ink.CHANCE)
    ink.label(axes, "cosine similarity to the anchor", "pictures")
    handles, names = axes.flat[0].get_legend_handles_labels()
    line = Line2D([], [], label="threshold", **ink.CHANCE)
    ink.legend(figure, *handles, line)
    return figure


@ink.inked
def loss(history: pd.DataFrame) -> Figure:
    """Training loss per step, one line per seed. history: model, seed, step, loss."""
    models = list(dict.fromkeys(history.model))
    figure, axes = ink.panels(1, len(models))
    for panel, model in zip(axes.flat, models, strict=True):
        panel.set_title(model, loc="left")
        for seed, line in history[history.model == model].groupby("seed"):
            panel.plot(line.step, line.loss, linewidth=1, color=ink.STAGE1, alpha=0.7,
                       label=f"seed {seed}")
        panel.set_yscale("log")
    ink.label(axes, "step", "loss per answer token, nats")
    return figure


@ink.inked
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
            lines += [(line, ink.STAGE1 if right else "#777777") for line in said]
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
