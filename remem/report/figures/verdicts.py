"""The scorecard as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from remem.report import claims, style, verdicts

_VERDICTS = {  # the word of a verdict -> its mark
    **dict.fromkeys([claims.HOLDS, "reproduced"], style.Marker("#009E73", "o")),
    claims.REVERSED: style.Marker("#D55E00", "X"),
    claims.SMALLER: style.Marker("#8C6BB1", "$\\approx$"),
    claims.UNTOLD: style.Marker("#777777", "$?$"),
    claims.NOT_RUN: style.Marker("#AAAAAA", "_"),
}

_ITEMS = {
    "fig6": "Fig 6, Fig 7",
    "table2_curves": "Table 2",
}  # a claim's item -> its heading, where it is not the item's name


@style.styled
def scorecard(table: pd.DataFrame) -> Figure:
    """Every claim in one picture: what it says, whether the paper's own numbers bear it out, the
    paper's number of its contrast and ours with the 95 % interval, and the verdict. Claims about
    one item stand together.

    table: claims.scorecard; claim, section, text, "paper bears out", paper, ours, lo, hi, unit and
    verdict are shown.
    """
    width, line, letters = 11.8, 0.185, 54  # of the page and of a line, in inches
    left, text_at, paper_at, printed_at, ours_at, mark_at = 0.12, 0.86, 5.05, 6.35, 7.0, 9.65
    about = table.claim.map({claim.id: _heading(claim.item) for claim in claims.CLAIMS})
    blocks = []  # (lines of text, its row or None for a heading)
    for _, rows in table.groupby(about.ne(about.shift()).cumsum()):
        blocks.append(([about[rows.index[0]]], None))
        blocks += [
            (wrap(row["text"].replace(" %", "\u00a0%"), letters, break_on_hyphens=False), row)
            for row in rows.to_dict("records")
        ]
    height = line * (2.6 + sum(len(lines) + 0.4 for lines, _ in blocks))
    figure = plt.figure(figsize=(width, height))
    panel = figure.add_axes((0, 0, 1, 1))  # its unit is the inch, downwards
    panel.set(xlim=(0, width), ylim=(height, 0))
    panel.set_axis_off()
    scopes = {
        verdict.partition(verdicts.word(verdict))[0].rstrip(": ") for verdict in table.verdict
    }
    scopes -= {""}
    heads = {
        text_at: "claim",
        paper_at: "borne out by\nthe paper's\nnumbers?",
        printed_at: "paper's\nnumber",
        ours_at: "ours\n[95 % interval]",
        mark_at: ",\n".join(sorted(scopes)) or "verdict",
    }
    for x, text in heads.items():
        panel.text(x, 1.3 * line, text, color="#666666", va="center", fontsize=8)
    top = 2.6 * line
    for lines, row in blocks:
        middle = top + line / 2
        if row is None:
            panel.text(left, middle, lines[0], weight="bold", va="center", fontsize=10)
            panel.plot([left, width - left], [top - 0.02] * 2, color="#BBBBBB", linewidth=0.8)
        else:
            word = verdicts.word(row["verdict"])
            colour, marker = _VERDICTS[word]
            missed = str(row.get("preconditions", "")).partition("missed: ")[2].partition(";")[0]
            said = f"{word} ({missed})" if missed and word == claims.UNTOLD else word
            panel.text(left, middle, row["section"], color="#666666", va="center", fontsize=8)
            for place, text in enumerate(lines):
                panel.text(
                    text_at,
                    middle + place * line,
                    text,
                    va="center",
                    fontsize=9.5,
                    parse_math=False,
                )
            panel.text(paper_at, middle, row["paper bears out"], va="center", fontsize=9.5)
            printed, ours = _numbers(row)
            panel.text(printed_at, middle, printed, va="center", fontsize=8.5)
            panel.text(ours_at, middle, ours, va="center", fontsize=8.5)
            panel.plot(mark_at, middle, marker=marker, color=colour, markersize=8)
            panel.text(mark_at + 0.15, middle, said, color=colour, va="center", fontsize=9.5)
        top += (len(lines) + 0.4) * line
    return figure


def _numbers(row: Mapping[str, Any]) -> tuple[str, str]:
    """The paper's number of a claim's contrast, and ours with its interval and unit."""
    margin = row["margin"]
    digits = max(1, 1 - math.floor(math.log10(margin))) if margin > 0 else 1
    printed, ours, lo, hi = (
        "" if pd.isna(row[name]) else f"{row[name]:z.{digits}f}"
        for name in ("paper", "ours", "lo", "hi")
    )
    interval = f" [{lo}, {hi}]" if lo else ""
    return printed, f"{ours}{interval} {row['unit']}" if ours else ""


def _heading(item: str) -> str:
    return _ITEMS.get(item, item.replace("fig", "Fig ").replace("table", "Table "))
