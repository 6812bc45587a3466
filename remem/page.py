"""The page of a scale: its notebooks, verdicts, tables and figures, in one file of its own."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Iterator
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


def write(folders: paths.Folders) -> Path:
    """Write index.html: the executed notebooks, and every table and figure, in one file."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("remem", "."), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    text = environment.get_template("index.html.j2").render(
        scale=folders.root.name,
        notebooks=list(_notebook_rows(folders)),
        verdicts=[_table(path) for path in sorted(folders.verdicts.glob("*.csv"))],
        items=list(_items(folders)),
    )
    return paths.write(folders.root / "index.html", text)


def durations(folders: paths.Folders) -> dict[str, dict[str, str]]:
    """Notebook -> its row of durations.csv: `seconds` of the last run, and of the `longest`."""
    path = folders.root / "durations.csv"
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["notebook"]: row for row in csv.DictReader(file)}


def duration(seconds: float) -> str:
    """As people say it: "7.5 s", "1 min 35 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _notebook_rows(folders: paths.Folders) -> Iterator[dict[str, Any]]:
    known = durations(folders)
    names = {path.name.split(".")[0] for path in folders.notebooks.glob("*.ipynb")}
    for name in sorted(names):
        failed = (folders.html / f"{name}.failed.html").exists()
        times = known.get(name)
        yield {
            "name": name,
            "failed": failed,
            "page": f"{folders.html.name}/{name}{'.failed' if failed else ''}.html",
            "seconds": duration(float(times["seconds"])) if times else "",
            "longest": duration(float(times["longest"])) if times else "",
        }


def _items(folders: paths.Folders) -> Iterator[dict[str, Any]]:
    figures = {path.stem: path for path in folders.figures.glob("*.png")}
    numbers = {path.stem: path for path in folders.tables.glob("*.csv")}
    for stem in sorted(figures.keys() | numbers.keys(), key=_place):
        figure = figures.get(stem)
        yield {
            "id": stem,
            "title": _title(stem),
            "figure": base64.b64encode(figure.read_bytes()).decode() if figure else None,
            "pdf": f"{folders.figures.name}/{stem}.pdf" if figure else None,
            "table": _table(numbers[stem]) if stem in numbers else None,
            "folded": figure is not None and not stem.startswith("table"),
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


def _table(path: Path) -> dict[str, Any]:
    name = re.sub(r"\W", "-", path.stem)
    table = tables.show(pd.read_csv(path)).to_html(table_uuid=name)
    return {
        "title": _title(path.stem),
        "link": f"{path.parent.name}/{path.name}",
        "html": Markup(table),  # its texts were escaped by tables.show
    }
