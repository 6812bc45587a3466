"""Which notebooks were run for an outputs folder, when and how, and where the time went."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pandas as pd

from remem import paths
from remem.report import calls, claims, made, verdicts
from remem.site import cells, files
from remem.site.files import Files
from remem.site.items import label


@dataclass(frozen=True)
class Notebook:
    """One notebook: its name, where to read it (from the site's folder; "" where it was never
    executed), and of its last call when it began, how long it took, the longest that any took, and
    which parameters were changed. `older` and `verdicts_older` say that the last call did not
    run it, or not make its verdicts, `verdicts_other` that these are of other parameters, and
    `since` what else it has made since, with other parameters. `outcomes` says how its verdicts
    came out (verdicts.MARKS), `table` holds those that are about no claim."""

    name: str
    page: str
    failed: bool
    older: bool
    began: str
    seconds: str
    longest: str
    changed: str
    outcomes: Mapping[str, int]
    table: cells.Cells | None
    since: str = ""
    verdicts_older: bool = False
    verdicts_other: str = ""

    @property
    def title(self) -> str:
        """ "7, stage 2": its number and what it is called."""
        number, _, name = self.name.partition("_")
        return f"{number.lstrip('0') or '0'}, {name.replace('_', ' ')}"


def listed(
    kept: Files,
    conditions: pd.DataFrame | None = None,
    since: float = 0.0,
    other: Callable[[Sequence[Path]], str] = lambda _: "",
) -> list[Notebook]:
    """All that were executed, or left verdicts, by name. The verdicts are gated by the table of
    preconditions `conditions`; `since` and `other` as for items.items."""
    known = {row["notebook"]: row for row in calls.calls(kept.folders)}
    executed = {name.split(".")[0] for name in files.listed(kept.folders.notebooks, ".ipynb")}
    judged = files.listed(kept.folders.verdicts, ".csv")
    records = made.known(kept.folders) or {}
    found = []
    for name in sorted({*executed, *judged, *known}):
        file, row = judged.get(name), known.get(name, {})
        told = kept.read(file, partial(_judged, conditions=conditions)) if file else None
        each = _notebook(kept.folders, name, row, told or Judged(), since)
        if file:
            late = file.stat().st_mtime < since - calls.TICK
            each = replace(each, verdicts_older=late, verdicts_other=other([file]))
        made_since = _made_since(name, row.get("parameters", ""), records)
        found.append(replace(each, since=made_since))
    return found


def times(folders: paths.Folders) -> pd.DataFrame:
    """Per notebook and kind of run: how many it made, their time together, and the longest's."""
    runs_made = calls.made_runs(folders)
    took = {row["notebook"]: float(row["longest"] or 0) for row in calls.calls(folders)}
    lines = []
    for notebook, longest in [*took.items(), ("all", sum(took.values()))]:
        here = [row for row in runs_made if notebook in ("all", row["notebook"])]
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


class Judged(NamedTuple):
    """How the verdicts of a notebook came out, and those that are about no claim."""

    outcomes: Mapping[str, int] = {}
    table: cells.Cells | None = None


def _judged(file: Path, conditions: pd.DataFrame | None) -> Judged:
    table = claims.gate(files.table(file), conditions)
    marks = [verdicts.mark(str(word)) for word in table.get("verdict", ())]
    outcomes = {mark: marks.count(mark) for mark in verdicts.MARKS if mark in marks}
    if "section" in table:
        table = table[~table["claim"].isin([claim.id for claim in claims.CLAIMS])]
        table = verdicts.short(table) if len(table) and "rule" in table else table
    return Judged(outcomes, cells.cells(table) if len(table) else None)


def _notebook(
    folders: paths.Folders, name: str, row: Mapping[str, str], judged: Judged, since: float
) -> Notebook:
    failed = (folders.html / f"{name}.failed.html").exists()
    began = float(row.get("began") or 0)
    read = [
        folders.html / f"{name}{'.failed' if failed else ''}.html",
        folders.notebooks / f"{name}.ipynb",
    ]
    there = next((path for path in read if path.is_file()), None)
    took = {
        key: calls.duration(float(row[key])) if row.get(key) else ""
        for key in ("seconds", "longest")
    }
    return Notebook(
        name=name,
        page=quote(os.path.relpath(there, folders.site)) if there else "",
        failed=failed,
        older=began < since,
        began=f"{datetime.fromtimestamp(began):%Y-%m-%d %H:%M}" if began else "",
        changed=row.get("changed", ""),
        outcomes=judged.outcomes,
        table=judged.table,
        seconds=took["seconds"],
        longest=took["longest"],
    )


def _made_since(name: str, digest: str, records: made.Known) -> str:
    """What a notebook has made with other parameters than those of the page that it left."""
    found: dict[str, list[str]] = {}
    for file, record in records.items():
        given = record.made.get(name)
        if digest and given and given.digest != digest and file.suffix in (".csv", ".png"):
            found.setdefault(given.words, []).append(label(file.stem))
    return "; ".join(
        f"not of this run, but made with {words}: {', '.join(dict.fromkeys(labels))}"
        for words, labels in found.items()
    )
