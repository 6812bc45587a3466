"""All that the pages show of an outputs folder, gathered once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pandas as pd

from remem import metrics, paths
from remem.config import SCALES
from remem.report import calls, made, preconditions, tables
from remem.site import answer, cells, claims, comparison, files, notebooks, tradeoff
from remem.site.behind import Runs, scale_of
from remem.site.claims import Claim
from remem.site.files import Files
from remem.site.items import Item, items

SCORECARD, PRECONDITIONS, TABLE2 = "scorecard", "preconditions", "table2"

SAME_CLAIMS = {"fig7": "fig6"}  # figures whose claims are kept under another one's name


@dataclass(frozen=True)
class Caution:
    """What a reader should know before believing a number; its class, and the page with more."""

    text: str
    kind: str = ""
    page: str = ""


class Gathered:
    """An outputs folder as the site shows it.

    items (by name), notebooks, claims, and what keeps them from being there (wrong, empty: nothing
    does); comparison with the reference; preconditions as a table; tradeoff; scale, scope (whose
    world verdicts speak of) and changed parameters; files, with those that are broken.
    """

    def __init__(self, folders: paths.Folders, since: float = 0.0):
        self.folders, self.behind, self.files = folders, Runs(folders), Files(folders)
        records, last = made.known(folders), calls.last_parameters(folders)

        def other(some: Sequence[Path]) -> str:
            return made.otherwise(records, some, last)

        self.items = {item.id: item for item in items(self.files, since, other)}
        conditions = folders.tables / f"{PRECONDITIONS}.csv"
        self.preconditions = self.files.read(conditions, preconditions.read)
        self.notebooks = notebooks.listed(self.files, self.preconditions, since, other)
        self.claims, self.wrong = claims.listed(self.files, self.preconditions)
        self.comparison = comparison.compare(folders, self.claims)
        self.tradeoff = tradeoff.tradeoff(self.files)
        self.scale, self.name = scale_of(folders), folders.root.name
        data = self.files.layout().get("data", self.scale)
        self.scope = data.rpartition(" ")[0] or self.scale
        self.changed = notebooks.changed(self.notebooks)
        self.is_reference = folders.is_reference
        self.is_experiment = not self.is_reference and self.name not in SCALES

    def answer(self) -> tuple[str, ...]:
        """What Table 2 answers to the first page's question, in sentences."""
        if not (table := self.items[TABLE2].table):
            return ()
        return self.files.read(table, lambda file: answer.answer(files.table(file))) or ()

    def about(self, item: Item) -> list[Claim]:
        """The claims about a table or figure."""
        name = SAME_CLAIMS.get(item.id, item.id)
        return [claim for claim in self.claims if claim.item == name]

    def cells(self, item: Item, linked: bool) -> cells.Cells | None:
        """The table of an item as its page has it; if `linked`, Table 2's cells lead to the rows
        behind them. None where there is none, or it cannot be shown."""

        def shown(file: Path) -> cells.Cells:
            if item.id == PRECONDITIONS:
                return cells.cells(preconditions.for_reading(preconditions.read(file)))
            table = tables.main(files.table(file)) if item.of_the_paper else files.table(file)
            return cells.cells(table, _links(table) if linked and item.id == TABLE2 else None)

        return self.files.read(item.table, shown) if item.table else None

    def broken(self, item: Item) -> str:
        """Why the table of an item cannot be shown; empty where it can."""
        return self.files.broken.get(item.table, "") if item.table else ""

    def cautions(self) -> list[Caution]:
        """What a reader should know first, the worst first."""
        return [
            *self._not_learned(),
            *self._broken(),
            *self._calls(),
            *self._few_runs(),
            *self._conditions(),
        ]

    def _not_learned(self) -> list[Caution]:
        item = self.items["memorised"]
        table = self.files.read(item.table) if item.table else None
        known = list(table["known"]) if table is not None and "known" in table else []
        lost = [each for each in known if str(each) != "True"]
        said = (
            f"Stage 1 did not memorise {len(lost)} of {len(known)} (model, seed, person): what is "
            "said of forgetting them means nothing."
        )
        return [Caution(said, "failed", item.page)] if lost else []

    def _broken(self) -> list[Caution]:
        """Files that could not be read, or shown, so far: ask when all else is."""
        names = [f"{file.parent.name}/{file.name}" for file in self.files.broken]
        said = f"Cannot be read: {', '.join(names)}. Delete them, or run their notebooks again."
        return [Caution(said, "failed")] if names else []

    def _calls(self) -> list[Caution]:
        failed = [n.name for n in self.notebooks if n.failed]
        idle = [n.name for n in self.notebooks if n.older and not n.failed]
        older = [item.label for item in self.items.values() if item.older]
        older += [f"the verdicts of {n.name}" for n in self.notebooks if n.verdicts_older]
        said = [Caution(f"Failed: {', '.join(failed)}.", "failed", "notebooks.html")] * bool(failed)
        said += [Caution(f"Not run in the last call: {', '.join(idle)}.")] * bool(idle)
        because = (
            "The last call did not make these, so that they may be older than the rest, and made "
            f"with other parameters: {', '.join(older)}."
        )
        said += [Caution(because, "older")] * bool(older)
        others = [item.label for item in self.items.values() if item.other]
        others += [f"the verdicts of {n.name}" for n in self.notebooks if n.verdicts_other]
        because = (
            "Not made with the last call's parameters, as far as is known: "
            f"{', '.join(others)}. Beside each stands with which."
        )
        return said + [Caution(because, "older")] * bool(others)

    def _few_runs(self) -> list[Caution]:
        """More runs mend what was not told, but for what misses a precondition."""
        if self.scale != "quick":
            return []
        few = [
            claim
            for claim in self.claims
            if claim.mark in ("untold", "idle") and not re.search(r"\bP\d", claim.why)
        ]
        left = f" Here {len(few)} claims could not be told, or not be run, for that." if few else ""
        said = (
            "Few runs stand behind this: one model, one seed, few points. A claim about sizes, or "
            f"about few people, needs scale tiny (make reproduce).{left}"
        )
        return [Caution(said, page="scorecard.html#verdict=untold" if few else "")]

    def _conditions(self) -> list[Caution]:
        if self.preconditions is None:
            return []
        states = Counter(preconditions.state(self.preconditions).values())
        if not states:
            return []
        said = (
            f"What has to be true of the models was written down before the run, as "
            f"{states.total()} preconditions: {states[preconditions.YES]} met, "
            f"{states[preconditions.NO]} missed."
        )
        if states[preconditions.NO]:
            said += " A claim that needs one that is missed cannot be told."
        page = self.items[PRECONDITIONS].page
        lines = [Caution(each, "missed") for each in preconditions.missed(self.preconditions)]
        return [Caution(said, page=page), *lines]


def _links(table2: pd.DataFrame) -> dict[tuple[int, str], str]:
    """(row, column) of Table 2 -> the page of samples at the rows that the cell is a mean of."""
    found = {}
    for at, row in enumerate(table2.to_dict("records")):
        for column, (view, _) in (metrics.TABLE2 | metrics.BESIDE_TABLE2).items():
            if column in row and not pd.isna(row[column]) and row["method"] != "chance":
                picked = {key: row[key] for key in ("model", "method", "hop")} | {"view": view}
                found[at, column] = f"samples.html#{urlencode(picked)}"
    return found
