"""Which notebooks were run for an outputs folder, when and how, and where the time went."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from remem import paths
from remem.report import calls, verdicts
from remem.report.claims import CLAIMS
from remem.site import cells


@dataclass(frozen=True)
class Notebook:
    """One notebook: its name, where to read it (from the site's folder; "" where it was never
    executed), and of its last call when it began, how long it took, the longest that any took, and
    which parameters were changed. `older` and `verdicts_older` say that the last call did not
    run it, or not make its verdicts, `outcomes` how these came out (verdicts.MARKS), `table` holds
    those that are about no claim."""

    name: str
    page: str
    failed: bool
    older: bool
    began: str
    seconds: str
    longest: str
    changed: str
    verdicts_older: bool
    outcomes: dict[str, int]
    table: cells.Cells | None

    @property
    def title(self) -> str:
        """ "7, stage 2": its number and what it is called."""
        number, _, name = self.name.partition("_")
        return f"{number.lstrip('0') or '0'}, {name.replace('_', ' ')}"


def listed(folders: paths.Folders, since: float = 0.0) -> list[Notebook]:
    """All that were executed, or left verdicts, by name."""
    known = {row["notebook"]: row for row in calls.calls(folders)}
    executed = {path.name.split(".")[0] for path in folders.notebooks.glob("*.ipynb")}
    judged = {path.stem: path for path in folders.verdicts.glob("*.csv")}
    return [
        _notebook(folders, name, known.get(name, {}), judged.get(name), since)
        for name in sorted({*executed, *judged, *known})
    ]


def times(folders: paths.Folders) -> pd.DataFrame:
    """Per notebook and kind of run: how many it made, their time together, and the longest's."""
    made = calls.made_runs(folders)
    took = {row["notebook"]: float(row["longest"] or 0) for row in calls.calls(folders)}
    lines = []
    for notebook, longest in [*took.items(), ("all", sum(took.values()))]:
        here = [row for row in made if notebook in ("all", row["notebook"])]
        kinds = ["all"] if notebook == "all" else sorted({row["kind"] for row in here}) or ["none"]
        for kind in kinds:
            seconds = [float(row["seconds"]) for row in here if kind in ("all", row["kind"])]
            lines.append(
                {
                    "notebook": notebook,
                    "longest call": calls.duration(longest) if longest else "",
                    "kind of run": kind,
                    "runs": len(seconds),
                    "together": calls.duration(sum(seconds)) if seconds else "",
                    "longest run": calls.duration(max(seconds)) if seconds else "",
                }
            )
    return pd.DataFrame(lines)


def changed(found: Sequence[Notebook]) -> list[str]:
    """The parameters that some notebook was run with and the scale's file does not have, each once:
    "stage1.epochs = 3 (file: 5)"."""
    parts = [part for each in found for part in re.split(r"; (?=[^ ]+ = )", each.changed)]
    return list(dict.fromkeys(filter(None, parts)))


def _notebook(
    folders: paths.Folders, name: str, row: dict[str, str], judged: Path | None, since: float
) -> Notebook:
    failed = (folders.html / f"{name}.failed.html").exists()
    began = float(row.get("began") or 0)
    read = [
        folders.html / f"{name}{'.failed' if failed else ''}.html",
        folders.notebooks / f"{name}.ipynb",
    ]
    there = next((path for path in read if path.is_file()), None)
    table = cells.read(judged) if judged else pd.DataFrame()
    own = _about_no_claim(table)
    marks = [verdicts.mark(str(word)) for word in table.get("verdict", ())]
    took = {
        key: calls.duration(float(row[key])) if row.get(key) else ""
        for key in ("seconds", "longest")
    }
    return Notebook(
        name=name,
        page=os.path.relpath(there, folders.site) if there else "",
        failed=failed,
        older=began < since,
        began=f"{datetime.fromtimestamp(began):%Y-%m-%d %H:%M}" if began else "",
        changed=row.get("changed", ""),
        verdicts_older=bool(judged) and judged.stat().st_mtime < since - calls.TICK,
        outcomes={mark: marks.count(mark) for mark in verdicts.MARKS if mark in marks},
        table=cells.cells(own) if len(own) else None,
        **took,
    )


def _about_no_claim(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of a notebook's verdicts that are about no claim of the scorecard."""
    if "section" not in table:
        return table
    own = table[~table["claim"].isin([claim.id for claim in CLAIMS])]
    return verdicts.short(own) if len(own) and "rule" in own else own
