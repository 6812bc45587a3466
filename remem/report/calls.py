"""When each notebook was last run, for how long, and which runs it made.

notebooks.csv has a line for each notebook, times.csv one for each run. Nothing hangs on them but
what the page says of time: what cannot be read there is passed over.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from remem import paths, runs
from remem.report import made

TICK = 0.1  # seconds by which a file system's clock may be late

MOST = 1e11  # seconds since 1970, of any date that can be written


def remember(
    folders: paths.Folders,
    name: str,
    began: float,
    seconds: float | None,
    changed: Mapping[str, tuple[Any, Any]],
    parameters: str = "",
) -> None:
    """Keep in notebooks.csv when a notebook was last run, for how long (None: it failed), which
    parameters were `changed` (config.loading.changes), and the digest of all `parameters`
    (made.parameters); in times.csv, which runs it made. What cannot be read is passed over.

    The longest time is kept beside the last: a second run finds its training done. Whatever run was
    made since the call before (or the making of the folder) was made for this notebook, now or in a
    call of it that was killed. Those before it are of other outputs, which share them.
    """
    known: dict[str, Mapping[str, Any]] = {row["notebook"]: row for row in calls(folders)}
    ends = [float(row["began"]) + float(row["seconds"] or 0) for row in known.values()]
    since = max([folders.layout.stat().st_mtime if folders.layout.exists() else 0.0, *ends])
    both = [seconds, known.get(name, {}).get("longest")]
    longest = max((float(time) for time in both if time), default=None)
    known[name] = {
        "notebook": name,
        "began": began,
        "seconds": seconds,
        "longest": longest,
        "changed": "; ".join(made.in_words(changed)),
        "parameters": parameters,
    }
    _write_rows(folders.root / "notebooks.csv", [known[name] for name in sorted(known)])

    times: dict[str, Mapping[str, Any]] = {row["run"]: row for row in made_runs(folders)}
    there = sorted(path for path in folders.runs.glob("*/DONE") if path.parent.name[0] != ".")
    lines = []
    for path in there:
        run = path.parent.name
        try:
            if run not in times and path.stat().st_mtime > since - TICK:
                spec = runs.read_json(path.with_name("spec.json"))
                kind, took = str(spec["kind"]), float(spec["seconds"])
                times[run] = {"run": run, "kind": kind, "notebook": name, "seconds": took}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # whoever uses that run is told
        if run in times:
            lines.append(times[run])
    if lines:
        _write_rows(folders.root / "times.csv", lines)


def calls(folders: paths.Folders) -> list[dict[str, str]]:
    """notebooks.csv: the last call of each notebook."""
    columns = ("notebook", "began", "seconds", "longest", "changed", "parameters")
    return _rows(folders.root / "notebooks.csv", columns, ("began", "seconds", "longest"))


def last_parameters(folders: paths.Folders) -> str:
    """The digest of the parameters of the last call."""
    last = max(calls(folders), key=lambda row: float(row["began"]), default={})
    return last.get("parameters", "")


def made_runs(folders: paths.Folders) -> list[dict[str, str]]:
    """times.csv: who made each run, and in what time."""
    columns = ("run", "kind", "notebook", "seconds")
    return _rows(folders.root / "times.csv", columns, ("seconds",))


def _rows(path: Path, columns: Sequence[str], numbers: Collection[str]) -> list[dict[str, str]]:
    """These columns of a CSV. A file that cannot be read has no rows, and one is passed over whose
    first column is empty, or whose `numbers` are no seconds (all but the first may be empty)."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return []
    found = [{column: row.get(column) or "" for column in columns} for row in found]
    first, *others = numbers
    return [
        row
        for row in found
        if row[columns[0]]
        and _is_seconds(row[first])
        and all(_is_seconds(row[other]) for other in others if row[other])
    ]


def expected(
    folders: paths.Folders, notebooks: Sequence[str], parameters: str, scale: str
) -> tuple[float, int]:
    """About how many seconds these notebooks will take together, and of how many of them nothing
    is known. One takes as long as its last call with the same `parameters` (a digest), else as the
    longest that it took here, else, at scale tiny, as the reference run's."""
    here = {row["notebook"]: row for row in calls(folders)}
    reference = calls(paths.Folders(paths.REFERENCE, folders.runs)) if scale == "tiny" else []
    there = {row["notebook"]: row["longest"] for row in reference}
    found = []
    for name in notebooks:
        row = here.get(name, {})
        last = row.get("seconds") if row.get("parameters") == parameters else None
        found.append(last or row.get("longest") or there.get(name))
    known = [float(seconds) for seconds in found if seconds]
    return sum(known), len(found) - len(known)


def about(seconds: float) -> str:
    """A time that is only roughly known: "a minute", "8 min", "1 h 20 min"."""
    minutes = round(seconds / 60)
    if minutes <= 1:
        return "a minute"
    if minutes < 60:
        return f"{minutes} min"
    minutes = 5 * round(minutes / 5)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def duration(seconds: float) -> str:
    """As people say it: "7.5 s", "1 min 35 s", "1 h 02 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _is_seconds(text: str) -> bool:
    try:
        return 0 <= float(text) < MOST
    except ValueError:
        return False


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    paths.write(path, text.getvalue())
