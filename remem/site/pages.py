"""The pages of the site, and where each is written.

The folder site/ holds what its pages need; only executed notebooks and the records of runs lie
beside it, and are linked.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import jinja2

from remem import paths
from remem.config import SCALES
from remem.report import preconditions, verdicts
from remem.site import captions, cells, claims, files, notebooks, samples
from remem.site.claims import Claim
from remem.site.gathered import PRECONDITIONS, SCORECARD, TABLE2, Gathered
from remem.site.items import Item

PAPER = "https://arxiv.org/abs/2605.03759"

CURVES, CHANGES = "table2_curves", "verdict_changes"

# How one and how several verdicts of each mark are said, the first word of WORDS that has it.
_OUTCOMES = {
    mark: next((one, many) for found, one, many in verdicts.WORDS.values() if found == mark)
    for mark in verdicts.MARKS
}

# What parameters, files or data raise that runs were made with, and that are there no more.
GONE = (ValueError, OSError, KeyError, TypeError)

Thing = TypeVar("Thing")


def build(folders: paths.Folders, since: float = 0.0) -> Path:
    """Write site/ of an outputs folder, and index.html as a door to it; returns its first page.

    Everything that was made is shown, and what of the paper was not is named. What was last written
    before `since` (seconds since 1970, when the last call began) is shown all the same, but said to
    be older: it may belong to other parameters than the rest. Raises CannotWrite.
    """
    found = Gathered(folders, since)
    with paths.renewed_folder(folders.site) as out:
        _copy_files(found, out)
        try:
            rows, without = samples.write(found.behind, out), ""
        except GONE as error:
            rows, without = {}, f"The rows cannot be read: {error}"
            shutil.rmtree(out / "samples", ignore_errors=True)
        if found.is_reference and not rows:
            rows = samples.kept(folders.site, out)
        environment = _environment(found, bool(rows))
        for name, template, shown in _pages(found, rows, without):
            text = environment.get_template(f"{template}.html.j2").render(here=name, **shown)
            paths.write(out / name, text.encode(errors="replace"), sync=False)  # text from anywhere
    door = environment.get_template("door.html.j2").render()
    paths.write(folders.root / "index.html", door)
    return folders.site / "index.html"


def _copy_files(found: Gathered, out: Path) -> None:
    """Styles and scripts, figures in all their forms, and tables."""
    shutil.copytree(paths.SITE / "assets", out / "assets")
    pictures = [item.picture for item in found.items.values() if item.picture]
    forms = [file for each in pictures for file in (each.file, *each.others)]
    _copy(forms, out / "figures")
    times = found.folders.root / "times.csv"
    tables = files.listed(found.folders.tables, ".csv").values()
    _copy([*tables, *[times] * times.is_file()], out / "tables")


def _copy(some: Iterable[Path], out: Path) -> None:
    paths.make_folder(out)
    for file in some:
        shutil.copyfile(file, out / file.name)


def _environment(found: Gathered, rows: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.SITE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # the order is the reader's
    # A file's name may be bytes that are no text: its address is of those bytes.
    environment.filters["address"] = lambda file: quote(file.name, errors="surrogateescape")
    scale = f"scale {found.scale}"
    nav = [
        ("index.html", "Start", True),
        (f"{SCORECARD}.html", "Claims", bool(found.claims)),
        ("index.html#items", "Tables and figures", True),
        ("tradeoff.html", "Trade-off", bool(found.tradeoff)),
        ("samples.html", "Samples", rows),
        ("notebooks.html", "Notebooks", True),
        ("words.html", "Words", True),
    ]
    environment.globals["site"] = {
        "name": found.name,
        "scale": found.scale,
        "scope": found.scope,
        "is_reference": found.is_reference,
        "data": found.scope.removeprefix(f"{found.scale} ") if found.scope not in SCALES else "",
        "called": "the reference run"
        if found.is_reference
        else f"{scale} ({found.name})"
        if found.is_experiment
        else scale,
        "note": _note(found),
        "nav": [(page, name) for page, name, there in nav if there],
        "paper": PAPER,
        "outcomes": _OUTCOMES,
        "far": cells.FAR,
    }
    return environment


def _note(found: Gathered) -> str:
    """What differs from the reference, in a line for the head of every page; empty where this is
    the reference, or a scale as it is."""
    if not (found.is_experiment or found.changed):
        return ""
    many, others = len(found.changed), len(found.comparison.others) if found.comparison else 0
    said = [f"{many or 'no'} parameter{'s' * (many != 1)} changed"]
    said += [f"{others} verdict{'s' * (others != 1)} other than the reference's"] * bool(others)
    who = f"The experiment {found.name}" if found.is_experiment else "This run"
    return f"{who}: {', '.join(said)}."


def _pages(
    found: Gathered, rows: dict[str, Any], without: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(file, template, what it is given) of each page."""
    shown = [item for item in found.items.values() if item.there and item.id != SCORECARD]
    for before, item, after in _around(shown):
        yield item.page, "item", _item(found, item, bool(rows)) | {"before": before, "after": after}
    if found.claims:
        yield f"{SCORECARD}.html", "scorecard", _scorecard(found)
    for before, claim, after in _around(found.claims):
        yield claim.page, "claim", _claim(found, claim) | {"before": before, "after": after}
    if found.tradeoff:
        yield "tradeoff.html", "tradeoff", {"item": found.items[CURVES], "data": found.tradeoff}
    many = {"shown": len(rows.get("people", ()))}
    yield "samples.html", "samples", {"samples": rows, "reason": without} | many
    yield "notebooks.html", "notebooks", _notebooks(found)
    words = {"words": captions.words(), "preconditions": preconditions.NAMES}
    yield "words.html", "words", words
    yield "index.html", "index", _index(found, bool(rows))  # which names what could not be shown


def _index(found: Gathered, rows: bool) -> dict[str, Any]:
    hero = found.items[TABLE2]
    papers = [claim for claim in found.claims if claim.papers]
    ours = [claim for claim in found.claims if not claim.papers]
    return {
        "claims": found.claims,
        "wrong": found.wrong,
        "papers": papers,
        "ours": ours,
        "tally": claims.tally(papers),
        "our_tally": claims.tally(ours),
        "untold": claims.why_untold(papers),
        "hero": hero if hero.picture else None,
        "tradeoff": bool(found.tradeoff),
        "samples": rows,
        "differs": found.is_experiment or bool(found.changed),
        "changed": found.changed,
        "answer": found.answer(),
        "comparison": found.comparison,
        "cautions": found.cautions(),
        "items": list(found.items.values()),
    }


def _item(found: Gathered, item: Item, rows: bool) -> dict[str, Any]:
    try:
        behind, unread = found.behind.of(item), ""
    except GONE as error:
        behind, unread = [], str(error)
    return {
        "item": item,
        "cells": found.cells(item, linked=rows),
        "broken": found.broken(item),
        "linked": rows and item.id == TABLE2,
        "tradeoff": bool(found.tradeoff) and item.id in (TABLE2, CURVES),
        "about": found.about(item),
        "notebook": _notebook(found, item.caption.notebook),
        "behind": behind,
        "unread": unread,
    }


def _scorecard(found: Gathered) -> dict[str, Any]:
    changes = found.items[CHANGES]
    return {
        "item": found.items[SCORECARD],
        "claims": found.claims,
        "tally": claims.tally(found.claims),
        "comparison": found.comparison,
        "changes": changes if changes.there else None,
    }


def _claim(found: Gathered, claim: Claim) -> dict[str, Any]:
    return {
        "claim": claim,
        "about": found.items[claim.item],
        "needs": claims.needed(claim, found.preconditions),
        "preconditions": found.items[PRECONDITIONS],
        "there": found.comparison.there.get(claim.id, "") if found.comparison else "",
        "notebook": _notebook(found, claim.line["notebook"]),
    }


def _notebooks(found: Gathered) -> dict[str, Any]:
    return {
        "notebooks": found.notebooks,
        "times": cells.cells(notebooks.times(found.folders)),
        "has_times": (found.folders.root / "times.csv").is_file(),
    }


def _notebook(found: Gathered, name: str) -> notebooks.Notebook | None:
    return next((notebook for notebook in found.notebooks if notebook.name == name), None)


def _around(things: Sequence[Thing]) -> Iterator[tuple[Thing | None, Thing, Thing | None]]:
    """Each with the one before it and the one after."""
    for at, thing in enumerate(things):
        before = things[at - 1] if at else None
        yield before, thing, things[at + 1] if at + 1 < len(things) else None
