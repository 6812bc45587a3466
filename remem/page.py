"""The page of a scale: its notebooks, verdicts, tables and figures, in one file of its own."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from remem import paths, tables

# The order in which the paper shows them; what is ours comes after, by name.
PAPER_ORDER = (
    "fig1", "fig2", "fig2a", "fig2b", "fig3a", "fig3b", "fig3c", "table1",
    "table3", "table2", "table4", "table5", "fig5", "fig6", "fig7",
)  # fmt: skip

TIMES = ("seconds", "longest")


def write(folders: paths.Folders, since: float = 0.0) -> Path:
    """Write index.html: the executed notebooks, and every table and figure, in one file.

    What was last written before `since` (seconds since 1970, when the last call began) is shown
    all the same, but the page says so: it may belong to other parameters than the rest.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("remem", "."), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    text = environment.get_template("index.html.j2").render(
        scale=folders.root.name,
        notebooks=list(_notebook_rows(folders, since)),
        verdicts=[_table(path, since) for path in sorted(folders.verdicts.glob("*.csv"))],
        items=list(_items(folders, since)),
    )
    return paths.write(folders.root / "index.html", text)


def remember(
    folders: paths.Folders,
    name: str,
    began: float,
    seconds: float | None,
    changed: Mapping[str, Any],
) -> None:
    """Keep in notebooks.csv when a notebook was last run, for how long (None: it failed), and with
    which parameters other than those of params/<scale>.yaml.

    The longest time is kept beside the last: a second run finds its training done.
    """
    known = _known(folders)
    times = [seconds, known.get(name, {}).get("longest")]
    longest = max((float(time) for time in times if time), default=None)
    told = "; ".join(f"{key} = {json.dumps(value)}" for key, value in changed.items())
    known[name] = {"notebook": name, "began": began, "seconds": seconds, "longest": longest,
                   "changed": told}  # fmt: skip
    text = io.StringIO()
    writer = csv.DictWriter(text, list(known[name]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(known[name] for name in sorted(known))
    paths.write(folders.root / "notebooks.csv", text.getvalue())


def _known(folders: paths.Folders) -> dict[str, dict[str, Any]]:
    """Notebook -> its row of notebooks.csv, all text."""
    path = folders.root / "notebooks.csv"
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["notebook"]: row for row in csv.DictReader(file)}


def duration(seconds: float) -> str:
    """As people say it: "7.5 s", "1 min 35 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _notebook_rows(folders: paths.Folders, since: float) -> Iterator[dict[str, Any]]:
    known = _known(folders)
    names = {path.name.split(".")[0] for path in folders.notebooks.glob("*.ipynb")}
    for name in sorted(names):
        failed = (folders.html / f"{name}.failed.html").exists()
        row = known.get(name, {})
        took = {key: duration(float(row[key])) if row.get(key) else "" for key in TIMES}
        began = float(row.get("began", 0))
        yield {
            "name": name,
            "failed": failed,
            "older": began < since,
            "page": f"{folders.html.name}/{name}{'.failed' if failed else ''}.html",
            "began": f"{datetime.fromtimestamp(began):%Y-%m-%d %H:%M}" if began else "",
            "changed": row.get("changed", ""),
            **took,
        }


def _items(folders: paths.Folders, since: float) -> Iterator[dict[str, Any]]:
    figures = {path.stem: path for path in folders.figures.glob("*.png")}
    numbers = {path.stem: path for path in folders.tables.glob("*.csv")}
    for stem in sorted(figures.keys() | numbers.keys(), key=_place):
        figure = figures.get(stem)
        yield {
            "id": stem,
            "title": _title(stem),
            "figure": base64.b64encode(figure.read_bytes()).decode() if figure else None,
            "pdf": f"{folders.figures.name}/{stem}.pdf" if figure else None,
            "table": _table(numbers[stem], since) if stem in numbers else None,
            "folded": figure is not None and not stem.startswith("table"),
            "older": any(_older(shown.get(stem), since) for shown in (figures, numbers)),
        }


def _place(stem: str) -> tuple[int, str]:
    item = stem.split("_")[0]
    return PAPER_ORDER.index(item) if item in PAPER_ORDER else len(PAPER_ORDER), stem


def _title(stem: str) -> str:
    item, _, rest = stem.partition("_")
    known = re.fullmatch(r"(fig|table)(\d+\w?)", item)
    if not known:
        return stem.replace("_", " ")
    title = f"{'Figure' if known[1] == 'fig' else 'Table'} {known[2]}"
    return f"{title}: {rest.replace('_', ' ')}" if rest else title


def _older(path: Path | None, since: float) -> bool:
    return path is not None and path.stat().st_mtime < since


def _table(path: Path, since: float) -> dict[str, Any]:
    name = re.sub(r"\W", "-", path.stem)
    table = tables.show(_read(path)).to_html(table_uuid=name)
    return {
        "title": _title(path.stem),
        "older": _older(path, since),
        "link": f"{path.parent.name}/{path.name}",
        "html": Markup(table),  # its texts were escaped by tables.show
    }


def _read(path: Path) -> pd.DataFrame:
    """A CSV with numbers where a whole column is numbers. Pandas' own reading would also make a
    gap of an answer that is the word "None"."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in table:
        try:
            table[name] = pd.to_numeric(table[name].replace("", None))
        except ValueError:  # text
            continue
    return table
