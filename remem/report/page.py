"""The page of an outputs folder: every table and figure of the paper in its order, ours beside it.

It is one file that fetches nothing; the claims and their verdicts stand above, the notebooks and
where the time goes below. All of it is of one scale and the same data (output.open_folder).
"""

from __future__ import annotations

import base64
import bisect
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup
from pandas.api.types import is_numeric_dtype

from remem import paper, paths, runs
from remem.report import calls, claims, made, preconditions, show, tables, verdicts, written

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

FOLDED, SHOWN = 60, 300  # rows from which a table is folded, and which are shown at most


def write(folders: paths.Folders, since: float = 0.0) -> Path:
    """Write index.html: everything that the notebooks left, in one file that fetches nothing.

    What was last written before `since` (seconds since 1970, when the last call began) is shown
    all the same, but the page says so, and what was made with other parameters than the last call's
    (report.made). A file among the tables that cannot be shown is named, with the reason.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("remem.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    (known, conditions), records = _preconditions(folders), made.known(folders)
    items, digest = list(_items(folders, since)), calls.last_parameters(folders)
    shown = [_table(path, since, known) for path in written.files(folders.verdicts)]
    for each in [*items, *shown]:
        each["other"] = made.otherwise(records, each["files"], digest)
    scale, data = _layout(folders)
    text = environment.get_template("index.html.j2").render(
        policy=POLICY,
        name=folders.root.name,
        scale=scale,
        scope=data.rpartition(" ")[0] or scale,
        scorecard=next(item for item in items if item["id"] == SCORECARD),
        preconditions=next(item for item in items if item["id"] == PRECONDITIONS),
        conditions=conditions,
        paper=[item for item in items if item["paper"]],
        ours=[item for item in items if not item["paper"] and item["id"] not in HEAD],
        verdicts=shown,
        broken=[
            each["file"]
            for each in [*(item["table"] for item in items if item["table"]), *shown]
            if each["wrong"]
        ],
        notebooks=list(_notebook_rows(folders, since, records or {})),
        times=_times(folders),
        few_runs=_few_runs(folders) if scale == "quick" else [],
        memorised=[
            row.get("known") == "True" for row in calls.rows(folders.tables / "memorised.csv")
        ],
        far=FAR,
    )
    # A file's name may hold half a character, which no file can be written with.
    return paths.write(folders.root / "index.html", text.encode(errors="replace"))


def _layout(folders: paths.Folders) -> tuple[str, str]:
    """The scale and the data of what the folder holds (output.open_folder), as far as it says."""
    try:
        layout = runs.read_json(folders.layout)
    except (OSError, runs.NotJson):
        layout = {}
    known = layout if isinstance(layout, dict) else {}
    scale, data = known.get("scale"), known.get("data")
    scale = scale if isinstance(scale, str) else folders.root.name
    return scale, data if isinstance(data, str) else scale


def _few_runs(folders: paths.Folders) -> list[str]:
    """The claims that were not told, but for those that miss a precondition, which more runs do not
    mend: what scale quick leaves to tiny."""
    return [
        row.get("claim", "")
        for row in calls.rows(folders.tables / f"{SCORECARD}.csv")
        if verdicts.mark(row.get("verdict") or "") not in ("holds", "fails")
        and not re.search(r"\bP\d", f"{row.get('verdict')} {row.get('note', '')}")
    ]


def duration(seconds: float) -> str:
    """As people say it: "7.5 s", "1 min 35 s", "1 h 02 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _notebook_rows(
    folders: paths.Folders, since: float, records: made.Known
) -> Iterator[dict[str, Any]]:
    known = {row["notebook"]: row for row in calls.calls(folders)}
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
            "other": _made_since(name, row.get("parameters", ""), records),
            **{
                key: duration(float(row[key])) if row.get(key) else ""
                for key in ("seconds", "longest")
            },
        }


def _made_since(name: str, digest: str, records: made.Known) -> str:
    """What a notebook has made with other parameters than those of the page that it left."""
    found: dict[str, list[str]] = {}
    for file, record in records.items():
        given = record.made.get(name)
        if digest and given and given.digest != digest and file.suffix != ".pdf":
            found.setdefault(given.words, []).append(_label(file.stem))
    return "; ".join(
        f"not of this run, but made with {words}: {', '.join(dict.fromkeys(labels))}"
        for words, labels in found.items()
    )


def _times(folders: paths.Folders) -> dict[str, Any]:
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
                    "longest call": duration(longest) if longest else "",
                    "kind of run": kind,
                    "runs": len(seconds),
                    "together": duration(sum(seconds)) if seconds else "",
                    "longest run": duration(max(seconds)) if seconds else "",
                }
            )
    return {"html": _html(pd.DataFrame(lines), "times"), "link": "times.csv" if runs_made else None}


def _preconditions(folders: paths.Folders) -> tuple[pd.DataFrame | None, list[str]]:
    """The table by which claims are gated, and in words which preconditions are met, and how each
    that is missed is missed; nothing where it is not there, or cannot be read, which is told where
    the table should be shown."""
    try:
        known = verdicts.preconditions(folders)
    except written.BadTable:
        known = None
    return known, [] if known is None else preconditions.sentences(known)


def _items(folders: paths.Folders, since: float) -> Iterator[dict[str, Any]]:
    figures = {path.stem: path for path in written.files(folders.figures, ".png")}
    numbers = {path.stem: path for path in written.files(folders.tables)}
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
            "files": [path for path in (figure, table) if path],
            "older": any(path and path.stat().st_mtime < since for path in (figure, table)),
        }
        many = stem == PRECONDITIONS or (table and item["table"]["rows"] > FOLDED)
        wrong = table and item["table"]["wrong"]
        item["folded"] = not wrong and (
            many or (figure is not None and not stem.startswith(("table", SCORECARD)))
        )
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
    try:
        if path.stem == PRECONDITIONS:
            table = preconditions.for_reading(preconditions.read(path))
        else:
            table = tables.main(_read(path)) if path.stem in PAPER else _read(path)
            table = claims.gate(table, known)
        html, wrong = _html(table[:SHOWN], re.sub(r"\W", "-", path.stem)), ""
    except Exception as error:  # anybody's file may lie there, and the page is of the others too
        table = pd.DataFrame()
        wrong = error.reason if isinstance(error, written.BadTable) else f"{error!r:.300}"
        html = Markup(
            '<p class="failed">This file cannot be shown as a table ({}): delete it, or run the '
            "notebook that makes it again.</p>"
        ).format(wrong)
    marks = Counter(map(verdicts.mark, map(str, table.get("verdict", ()))))
    return {
        "label": _label(path.stem),
        "files": [path],
        "older": path.stat().st_mtime < since,
        "file": f"{path.parent.name}/{path.name}",
        "link": quote(f"{path.parent.name}/{path.name}", errors="replace"),
        "rows": len(table),
        "shown": min(len(table), SHOWN),
        "outcomes": {mark: marks[mark] for mark in verdicts.MARKS},
        "html": html,
        "wrong": wrong,
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
    gap of an answer that is the word "None". Raises BadTable."""
    table = written.read(path, dtype=str, keep_default_na=False)
    for name in table:
        try:
            table[name] = pd.to_numeric(table[name].replace("", None))
        except ValueError:  # text
            continue
    return table
