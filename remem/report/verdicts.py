"""Verdicts in plain sentences, and as a table with few columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from remem import metrics, paths
from remem.report import preconditions as table_of_preconditions
from remem.report import show, written
from remem.report.claims import HOLDS, NOT_RUN, REVERSED, SMALLER, UNTOLD

# The word of a verdict -> (how the page marks it, how one is counted, how several are).
WORDS = {
    HOLDS: ("holds", "holds", "hold"),
    "reproduced": ("holds", "is reproduced", "are reproduced"),
    "reached": ("holds", "is reached", "are reached"),
    REVERSED: ("fails", "is reversed", "are reversed"),
    "does not hold": ("fails", "does not hold", "do not hold"),
    "missed": ("fails", "is missed", "are missed"),
    "differs": ("fails", "differs", "differ"),
    SMALLER: ("small", "is smaller than its margin", "are smaller than their margins"),
    UNTOLD: ("untold", "cannot be told", "cannot be told"),
    "cannot be checked": ("untold", "cannot be checked", "cannot be checked"),
    NOT_RUN: ("idle", "was not run", "were not run"),
}
MARKS = tuple(dict.fromkeys(mark for mark, _, _ in WORDS.values()))

# What each rule of a claim asks of its contrast, in short.
ASKED = {"above": "above 0 (small: {})", "beyond": "above {}", "alike": "within {}"}


def word(verdict: str) -> str:
    """The word of WORDS in a verdict, or "": "holds" in "in the tiny world: holds", "cannot be
    told" in "in the tiny world: cannot be told: P1 ..."."""
    return next((part for part in verdict.split(": ") if part in WORDS), "")


def scope(verdict: str) -> str:
    """Of which data and models a verdict speaks, as it says before its word: "in the tiny world";
    "" where it says nothing of it."""
    found = word(verdict)
    return verdict.partition(found)[0].rstrip(": ") if found else ""


def preconditions(folders: paths.Folders) -> pd.DataFrame | None:
    """tables/preconditions.csv, by which claims.gate takes verdicts back; None where it is not.
    Raises BadTable."""
    file = folders.tables / "preconditions.csv"
    return table_of_preconditions.read(file) if file.is_file() else None


def of_notebooks(folders: paths.Folders) -> dict[str, pd.DataFrame]:
    """verdicts/*.csv by notebook, for claims.scorecard. Raises BadTable."""
    found = {}
    for file in written.files(folders.verdicts):
        table = found[file.stem] = written.read(file)
        if "section" not in table:  # of other matters than the paper's claims
            continue
        try:
            columns = ["paper", "ours", "lo", "hi", "p", "margin", "units", "people", "runs"]
            numbers = table.reindex(columns=columns).astype(float)
            if np.isinf(numbers).any(axis=None):
                raise ValueError("a number is infinite")
            if not numbers["p"].dropna().between(0, 1).all():
                raise ValueError("p is no probability")
            if any(not isinstance(told, str) for told in [*table["claim"], *table["verdict"]]):
                raise ValueError("a claim or its verdict is no text")
            if unknown := [told for told in table["verdict"] if not word(told)]:
                raise ValueError(f"{unknown[0]!r:.60} is no verdict")
            if unknown := [*{*table.get("rule", pd.Series(dtype=str)).dropna()} - {*ASKED}]:
                raise ValueError(f"{unknown[0]!r:.60} is no rule of a claim")
            texts = table[[name for name in ("section", "text", "unit") if name in table]]
            if any(not isinstance(each, str) for name in texts for each in texts[name].dropna()):
                raise ValueError("a section, text or unit is no text")
        except (KeyError, ValueError) as error:
            raise written.BadTable(file, error) from error
    return found


def mark(verdict: str) -> str:
    """How a verdict counts: one of MARKS, or "" for what is no verdict."""
    return WORDS.get(word(verdict), ("",))[0]


class Verdicts:
    """What notebooks show at their end: two or three sentences, and the table below them."""

    def __init__(self, frame: pd.DataFrame, about: str = "claims"):
        """frame: `verdict` and what it is on; see `sentences` and `short`."""
        self.sentences = sentences(frame, about)
        self.table = show.show(short(frame), digits=2 if "text" in frame else 1)

    def __repr__(self) -> str:
        """The sentences, a line each."""
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
        return said + self.table.to_html()


def sentences(frame: pd.DataFrame, about: str = "claims") -> list[str]:
    """How many of the `about` hold, do not hold and cannot be told; which; and why they cannot.

    frame: what claims.check returns, or another table with the column `verdict` whose lines are
    named by the columns `claim`, or `ability` and `model`.
    """
    lines = frame.reset_index(drop=True).assign(
        word=[word(verdict) for verdict in frame["verdict"]],
        scope=[scope(verdict) for verdict in frame["verdict"]],
        text=list(_texts(frame)),
    )
    counts = Counter(lines["word"])
    parts = [f"{counts[end]} {WORDS[end][1 + (counts[end] > 1)]}" for end in WORDS if counts[end]]
    if not parts:
        return [f"None of the {about} was put to the test here."]
    scopes = [scope for scope in dict.fromkeys(lines["scope"]) if scope]
    where = f", {scopes[0]}" if len(scopes) == 1 else ""
    found = [f"Of {len(lines)} {about} put to the test here{where}, {show.listed(parts)}."]
    for end in WORDS:
        chosen = list(lines.index[lines["word"] == end])
        if chosen and mark(end) in ("holds", "fails", "small"):
            found.append(f"What {WORDS[end][1]}: {'; '.join(_named(lines, chosen))}.")
    untold = lines[lines["word"].map(mark) == "untold"]
    if len(untold) and "note" in lines:
        reasons = Counter(map(reason, untold.to_dict("records"))).most_common()
        because = "; ".join(f"{why} ({count})" for why, count in reasons)
        those = "the rest" if len(untold) < len(lines) else "they"
        found.append(f"Why {those} cannot be told: {because}.")
    return found


def short(frame: pd.DataFrame) -> pd.DataFrame:
    """At most six columns of verdicts: of claims, what the verdict needs to be followed."""
    if "text" not in frame:
        return frame[list(frame)[:6]]
    table = pd.DataFrame(
        {
            "claim": frame["text"] + " (" + frame["section"] + ")",
            "paper bears out": frame["paper bears out"],
            "ours": frame["ours"],
            "ours_lo": frame["lo"],
            "ours_hi": frame["hi"],
            "paper_ours": frame["paper"],
            "to be": [asked(line) for line in frame.to_dict("records")],
            "compared": [compared(line) for line in frame.to_dict("records")],
            "verdict": frame["verdict"],
        }
    )
    return table.reset_index(drop=True)


def asked(line: Mapping[str, Any]) -> str:
    """What a claim's contrast has to be, of its line in a table of verdicts."""
    return ASKED[line["rule"]].format(f"{line['margin']:g} {line['unit']}")


def compared(line: Mapping[str, Any]) -> str:
    """What is compared, and in how many of its cells the mean agrees; empty where nothing was."""
    if not isinstance(line["cells"], str) or not line["cells"]:
        return ""
    one = line["cells"].endswith(" of 1")
    return line["comparison"] if one else f"{line['comparison']}: {line['cells']} cells agree"


def _texts(frame: pd.DataFrame) -> pd.Series:
    if "text" in frame:
        return frame["text"]
    if "claim" in frame:
        return frame["claim"].astype(str)
    return frame["ability"] + " (" + frame["model"] + ")"


def _named(lines: pd.DataFrame, chosen: Sequence[int]) -> list[str]:
    """The texts of the chosen lines. One that goes on from the line above ("... and so is") has
    that one's text before it, unless that was chosen as well."""
    texts, found = list(lines["text"]), []
    for place in chosen:
        first = place
        while texts[first].startswith("...") and first and first - 1 not in chosen:
            first -= 1
        found.append(" ".join(texts[first : place + 1]))
    return found


def reason(line: Mapping[str, Any]) -> str:
    """Why a claim cannot be told, from its line: the first cause that would be enough alone."""
    measured, _, cells = str(line["measured"]).partition(" of ")
    because = line["verdict"].partition(f"{UNTOLD}: ")[2]
    if because:
        return because
    if isinstance(line["note"], str) and line["note"]:
        return line["note"]
    if measured != cells:
        return "some of its comparisons were not run"
    if line["units"] < metrics.FEWEST:
        return f"fewer than {metrics.FEWEST} people"
    return "the interval is too wide"
