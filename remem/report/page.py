"""The page of an outputs folder: every table and figure of the paper in its order, ours beside it.

It is one file that fetches nothing; the claims and their verdicts stand above, the notebooks and
where the time goes below. All of it is of one scale and the same data (output.open_folder).
"""

from __future__ import annotations

import base64
import bisect
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from pandas.api.types import is_numeric_dtype

from remem import paper, paths, runs
from remem.report import claims, preconditions, show, tables, verdicts

# What the paper shows, in the order in which it first does: (title, the notebook that makes it).
# Its Figure 4 and Tables 6 to 8 are not in the source text that we work from.
PAPER = {
    "fig1": ("stage 1 fails on data of the older benchmarks' shape", "01"),
    "fig2a": ("Min-k% against inverse perplexity of the name", "01"),
    "fig2b": ("causal traces of the Real Set and of FIUBench's people", "01"),
    "fig3a": ("ROUGE and EM against the number of samples", "02"),
    "fig3b": ("perplexity against the number of samples", "02"),
    "fig3c": ("EM against the share of single-hop questions", "03"),
    "table1": ("the benchmarks compared", "04"),
    "table2": ("five unlearning methods, two sizes, two hops", "07"),
    "table3": ("what stage 1 learns", "06"),
    "table4": ("general ability after unlearning (multiple choice)", "07"),
    "table5": ("Min-k% and inverse perplexity of the name", "06"),
    "fig5": ("causal traces after MLLMU-Bench and after ReMem", "06"),
    "fig6": ("from 5 to 20 % of the people forgotten, 7B", "08"),
    "fig7": ("from 5 to 20 % of the people forgotten, 13B", "08"),
}

SCORECARD, ITS_NOTEBOOK = "scorecard", "09"

PRECONDITIONS = "preconditions"

HEAD = (SCORECARD, PRECONDITIONS)  # items that stand before all others

FAR = (2, 5, 10, 20, 40)  # points between ours and the paper's, where a cell's shade changes

# Of every page that holds what a model or a file said: whatever that is, nothing is run, fetched or
# sent.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)

TICK = 0.1  # seconds by which a file system's clock may be late

FOLDED, SHOWN = 60, 300  # rows from which a table is folded, and which are shown at most


def write(folders: paths.Folders, since: float = 0.0) -> Path:
    """Write index.html: everything that the notebooks left, in one file that fetches nothing.

    What was last written before `since` (seconds since 1970, when the last call began) is shown
    all the same, but the page says so: it may belong to other parameters than the rest.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("remem.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    items, known = list(_items(folders, since)), verdicts.preconditions(folders)
    layout = runs.read_json(folders.layout) if folders.layout.exists() else {}
    scale = layout.get("scale", folders.root.name)
    text = environment.get_template("index.html.j2").render(
        policy=POLICY,
        name=folders.root.name,
        scale=scale,
        scope=layout.get("data", scale).rpartition(" ")[0] or scale,
        scorecard=next(item for item in items if item["id"] == SCORECARD),
        preconditions=next(item for item in items if item["id"] == PRECONDITIONS),
        conditions=_conditions(folders),
        paper=[item for item in items if item["paper"]],
        ours=[item for item in items if not item["paper"] and item["id"] not in HEAD],
        verdicts=[_table(path, since, known) for path in sorted(folders.verdicts.glob("*.csv"))],
        notebooks=list(_notebook_rows(folders, since)),
        times=_times(folders),
        few_runs=_few_runs(folders) if scale == "quick" else [],
        memorised=[row["known"] == "True" for row in _rows(folders.tables / "memorised.csv")],
        far=FAR,
    )
    return paths.write(folders.root / "index.html", text)


def _few_runs(folders: paths.Folders) -> list[str]:
    """The claims that were not told, but for those that miss a precondition, which more runs do not
    mend: what scale quick leaves to tiny."""
    return [
        row["claim"]
        for row in _rows(folders.tables / f"{SCORECARD}.csv")
        if verdicts.mark(row["verdict"]) not in ("holds", "fails")
        and not re.search(r"\bP\d", f"{row['verdict']} {row.get('note', '')}")
    ]


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
        row["notebook"]: row for row in _rows(folders.root / "notebooks.csv")
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

    made = {row["run"]: row for row in _rows(folders.root / "times.csv")}
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


def _rows(path: Path) -> list[dict[str, str]]:
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


def _notebook_rows(folders: paths.Folders, since: float) -> Iterator[dict[str, Any]]:
    known = {row["notebook"]: row for row in _rows(folders.root / "notebooks.csv")}
    for name in sorted({path.name.split(".")[0] for path in folders.notebooks.glob("*.ipynb")}):
        failed = (folders.html / f"{name}.failed.html").exists()
        row = known.get(name, {})
        began = float(row.get("began", 0))
        yield {
            "name": name,
            "failed": failed,
            "older": began < since,
            "page": f"{folders.html.name}/{name}{'.failed' if failed else ''}.html",
            "began": f"{datetime.fromtimestamp(began):%Y-%m-%d %H:%M}" if began else "",
            "changed": row.get("changed", ""),
            **{
                key: duration(float(row[key])) if row.get(key) else ""
                for key in ("seconds", "longest")
            },
        }


def _times(folders: paths.Folders) -> dict[str, Any]:
    """Per notebook and kind of run: how many it made, their time together, and the longest's."""
    made = _rows(folders.root / "times.csv")
    calls = {
        row["notebook"]: float(row["longest"] or 0) for row in _rows(folders.root / "notebooks.csv")
    }
    lines = []
    for notebook, longest in [*calls.items(), ("all", sum(calls.values()))]:
        here = [row for row in made if notebook in ("all", row["notebook"])]
        kinds = ["all"] if notebook == "all" else sorted({row["kind"] for row in here}) or ["none"]
        for kind in kinds:
            seconds = [float(row["seconds"]) for row in here if kind in ("all", row["kind"])]
            lines.append(
                {
                    "notebook": notebook,
                    "longest call": duration(longest) if longest else "",
                    "kind of run": kind,
                    "runs": len(seconds),
                    "together": duration(sum(seconds)) if seconds else "",
                    "longest run": duration(max(seconds)) if seconds else "",
                }
            )
    return {"html": _html(pd.DataFrame(lines), "times"), "link": "times.csv" if made else None}


def _conditions(folders: paths.Folders) -> list[str]:
    """Which preconditions are met, and how each that is missed is missed."""
    file = folders.tables / f"{PRECONDITIONS}.csv"
    return preconditions.sentences(preconditions.read(file)) if file.is_file() else []


def _items(folders: paths.Folders, since: float) -> Iterator[dict[str, Any]]:
    figures = {path.stem: path for path in folders.figures.glob("*.png")}
    numbers = {path.stem: path for path in folders.tables.glob("*.csv")}
    for stem in sorted({*figures, *numbers, *PAPER, *HEAD}, key=_place):
        figure, table = figures.get(stem), numbers.get(stem)
        title, notebook = PAPER.get(stem, ("", "00" if stem == PRECONDITIONS else ITS_NOTEBOOK))
        pdf = figure and figure.with_suffix(".pdf")
        item = {
            "id": stem,
            "paper": stem.split("_")[0] in PAPER,
            "label": _label(stem),
            "title": f"{_label(stem)}: {title}" if title else _label(stem),
            "notebook": notebook,
            "figure": figure and base64.b64encode(figure.read_bytes()).decode(),
            "pdf": f"{folders.figures.name}/{pdf.name}" if pdf and pdf.exists() else None,
            "table": table and _table(table, since),
            "older": any(path and path.stat().st_mtime < since for path in (figure, table)),
        }
        many = stem == PRECONDITIONS or (table and item["table"]["rows"] > FOLDED)
        item["folded"] = many or (figure is not None and not stem.startswith(("table", SCORECARD)))
        yield item


def _place(stem: str) -> tuple[int, str]:
    order, item = list(PAPER), stem.split("_")[0]
    return order.index(item) if item in order else len(order), stem


def _label(stem: str) -> str:
    item, _, rest = stem.partition("_")
    known = re.fullmatch(r"(fig|table)(\d+\w?)", item)
    if not known:
        words = stem.replace("_", " ")
        return words[:1].upper() + words[1:]
    label = f"{'Figure' if known[1] == 'fig' else 'Table'} {known[2]}"
    return f"{label}, {rest.replace('_', ' ')}" if rest else label


def _table(path: Path, since: float, known: pd.DataFrame | None = None) -> dict[str, Any]:
    table = tables.main(_read(path)) if path.stem in PAPER else _read(path)
    table = claims.gate(table, known)
    if path.stem == PRECONDITIONS:
        table = preconditions.for_reading(table)
    marks = Counter(map(verdicts.mark, map(str, table.get("verdict", ()))))
    return {
        "label": _label(path.stem),
        "older": path.stat().st_mtime < since,
        "link": f"{path.parent.name}/{path.name}",
        "rows": len(table),
        "shown": min(len(table), SHOWN),
        "outcomes": {mark: marks[mark] for mark in verdicts.MARKS},
        "html": _html(table[:SHOWN], re.sub(r"\W", "-", path.stem)),
    }


def _html(table: pd.DataFrame, name: str) -> Markup:
    """The table in its box, with classes for the style sheet: how far a cell is from the paper's
    number, how a verdict ends, which text is long, and how many first columns stay in view."""
    if {"section", "text"} <= {*table}:  # one column less between a claim and its verdict
        text = table.text.astype(str) + " (" + table.section.astype(str) + ")"
        table = table.assign(text=text).drop(columns="section")
    shown = show.show(table, versions=False)  # those it was made with may be others than today's
    marks = pd.DataFrame("", shown.data.index, shown.data.columns)
    keys, leading = 0, True
    by_rule = paper.RULE in [*table.get("judged_by", [paper.RULE])]  # no Gemini, no comparison
    for column in table:
        head = escape(show.head(table, str(column)))
        if head not in marks:
            continue
        text = not is_numeric_dtype(table[column])
        longest = table[column].astype(str).str.len().max() if len(table) else 0
        leading = leading and text and longest <= 20 and column != "verdict"
        keys += leading
        if column == "verdict":
            marks[head] = [f"verdict {verdicts.mark(str(word))}" for word in table[column]]
        elif column == "met":
            signs = {preconditions.YES: "holds", preconditions.NO: "fails"}
            signs |= {preconditions.OUTSIDE: "fails", preconditions.UNMEASURED: "untold"}
            marks[head] = [f"verdict {signs.get(word, '')}" for word in table[column]]
        elif text and longest > 40:
            marks[head] = "long"
        elif is_numeric_dtype(table.get(f"paper_{column}")) and not (column == "judge" and by_rule):
            marks[head] = [_far(gap) for gap in (table[column] - table[f"paper_{column}"]).abs()]
    box = f"box keys{min(keys, 1 if 'verdict' in table else 3)}"
    if "verdict" in marks:
        kept = [{"selector": "", "props": "position: sticky; right: 0; background: white"}]
        shown.set_table_styles({"verdict": kept}, overwrite=False)
    html = shown.set_td_classes(marks).to_html(table_uuid=name)  # show escaped its texts
    return Markup('<div class="{}" tabindex="0">{}</div>').format(box, Markup(html))


def _far(gap: float) -> str:
    return "" if pd.isna(gap) else f"far{bisect.bisect_left(FAR, round(gap, 6))}"


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
