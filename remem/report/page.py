"""The record of an outputs folder's calls: notebooks.csv, and times.csv for the runs they made."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from remem import paths, runs

TICK = 0.1  # seconds by which a file system's clock may be late


def remember(
    folders: paths.Folders,
    name: str,
    began: float,
    seconds: float | None,
    changed: Mapping[str, tuple[Any, Any]],
) -> None:
    """Keep in notebooks.csv when a notebook was last run, for how long (None: it failed), and which
    parameters were `changed` (config.loading.changes); in times.csv, which runs it made.

    The longest time is kept beside the last: a second run finds its training done. Whatever run was
    made since the call before (or the making of the folder) was made for this notebook, now or in a
    call of it that was killed. Those before it are of other outputs, which share them.
    """
    known: dict[str, Mapping[str, Any]] = {
        row["notebook"]: row for row in rows(folders.root / "notebooks.csv")
    }
    ends = [float(row["began"]) + float(row["seconds"] or 0) for row in known.values()]
    since = max([folders.layout.stat().st_mtime if folders.layout.exists() else 0.0, *ends])
    times = [seconds, known.get(name, {}).get("longest")]
    longest = max((float(time) for time in times if time), default=None)
    known[name] = {
        "notebook": name,
        "began": began,
        "seconds": seconds,
        "longest": longest,
        "changed": "; ".join(in_words(changed)),
    }
    _write_rows(folders.root / "notebooks.csv", [known[name] for name in sorted(known)])

    made = {row["run"]: row for row in rows(folders.root / "times.csv")}
    there = sorted(path for path in folders.runs.glob("*/DONE") if path.parent.name[0] != ".")
    lines = []
    for path in there:
        run = path.parent.name
        if run not in made and path.stat().st_mtime > since - TICK:
            spec = runs.read_json(path.with_name("spec.json"))
            made[run] = {
                "run": run,
                "kind": spec["kind"],
                "notebook": name,
                "seconds": spec["seconds"],
            }
        if run in made:
            lines.append(made[run])
    if lines:
        _write_rows(folders.root / "times.csv", lines)


def in_words(changed: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Of each changed parameter (config.loading.changes): "stage1.epochs = 3 (file: 5)"."""
    return [
        f"{key} = {json.dumps(value, ensure_ascii=False)} "
        f"(file: {json.dumps(standard, ensure_ascii=False)})"
        for key, (value, standard) in changed.items()
    ]


def duration(seconds: float) -> str:
    """As people say it: "7.5 s", "1 min 35 s", "1 h 02 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def rows(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV, all text; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    paths.write(path, text.getvalue())
