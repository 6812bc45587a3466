"""What a judge makes of answers that a reader graded."""

from __future__ import annotations

from textwrap import wrap

import pandas as pd
from matplotlib.figure import Figure

from remem.report import style


@style.styled
def confusion(table: pd.DataFrame) -> Figure:
    """The judge's steps over the reader's, how many answers of each, in a panel for each judge; on
    the diagonal both say the same.

    table: calibration.confusion.
    """
    steps = [name for name in table if name not in ("judged_by", "grade")]
    figure, axes, panels = style.row(table, "judged_by", width=2.7, height=2.7)
    for panel, rows in panels:
        panel.set_title("\n".join(wrap(panel.get_title(loc="left"), 26)), loc="left")
        counts = rows[steps].to_numpy()
        # Most answers give away all or nothing: a darker shade for those would hide the others.
        shade = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
        panel.imshow(shade, cmap="Blues", vmin=0, vmax=1.6, origin="lower")
        for (row, column), count in (
            (at, counts[at]) for at in zip(*counts.nonzero(), strict=True)
        ):
            panel.text(column, row, f"{count}", ha="center", va="center", fontsize=8)
        panel.set_xticks(range(len(steps)), steps)
        panel.set_yticks(range(len(steps)), [f"{grade:g}" for grade in rows["grade"]])
        panel.grid(visible=False)
    style.label(axes, "the judge's score", "the reader's grade")
    style.legend(figure, note="Answers of each grade; the shade is their share of the grade.")
    return figure
