"""The figure of the controls: does an answer follow the name, the face, or neither?"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from remem.paper import SETS
from remem.report import style
from remem.report.style import Marker

# Column of controls.table -> its mark and its name. What should stay high is filled, what should
# stay at zero is hollow.
MARKS = {
    "single": (Marker("#000000", "o"), "with its own picture"),
    "name_swap": (Marker("#0072B2", "s"), "another's picture: the named person's value"),
    "no_picture": (Marker("#009E73", "^"), "no picture"),
    "misled": (Marker("#D55E00", "X"), "another's picture: the pictured person's value"),
}
FACES = {
    "multi": (MARKS["single"][0], MARKS["single"][1]),
    "picture_swap": (MARKS["misled"][0], MARKS["misled"][1]),
    "unmoved": (MARKS["name_swap"][0], "the former person's value"),
}
LEFT = {
    "single": (MARKS["single"][0], "EM, single-hop"),
    "multi": (Marker("#56B4E9", "D"), "EM, multi-hop"),
    "likeliest": (Marker("#CC79A7", "P"), "the likeliest of eight"),
}
PANELS = (
    ("retained", MARKS, "single-hop: the name should decide"),
    ("retained", FACES, "multi-hop: the face should decide"),
    (SETS[0], LEFT, "Real Set: what is left of it"),
)


@style.styled
def controls(table: pd.DataFrame) -> Figure:
    """The controls (controls.table) for each method, in percent: single-hop and multi-hop
    questions about people who are to be kept, and the Real Set; a row of panels per model."""
    panels = [each for each in PANELS if each[0] in set(table["whose"])]
    models, names = list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["method"]))
    height = 0.9 + 0.27 * len(names)
    figure, axes = style.panels(len(models), len(panels), 3.7, height)
    for down, model in enumerate(models):
        for panel, (whose, columns, title) in zip(axes[down], panels, strict=True):
            rows = table[(table["model"] == model) & (table["whose"] == whose)]
            for line in rows.itertuples():
                at = names.index(line.method)
                for place, (column, (mark, _)) in enumerate(columns.items()):
                    panel.errorbar(
                        getattr(line, column),
                        at + 0.16 * (place - (len(columns) - 1) / 2),
                        xerr=style.error_bar(line, column),
                        color=mark.colour,
                        marker=mark.marker,
                        markersize=5,
                        elinewidth=0.8,
                    )
            for at in range(1, len(names)):
                panel.axhline(at - 0.5, color="#E6E6E6", linewidth=0.8)
            panel.grid(axis="y", visible=False)
            panel.set_title(f"{model}, {title}" if panel is axes[down, 0] else title, loc="left")
            panel.set_yticks(range(len(names)), names)
            panel.set(xlim=(-4, 104), ylim=(len(names) - 0.5, -0.5))
    style.label(axes, "percent; bars: 95 % intervals over people", "")
    for panel, (_, columns, _) in zip(axes[-1], panels, strict=True):
        handles = [style.sample(mark, name) for mark, name in columns.values()]
        panel.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -min(0.32, 0.75 / height)),
            fontsize=8,
            ncols=1,
        )
    return figure
