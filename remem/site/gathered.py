"""All that the pages show of an outputs folder, gathered once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode

import pandas as pd

from remem import metrics, paths, runs
from remem.config import SCALES
from remem.report import preconditions, tables
from remem.site import cells, claims, notebooks, reference, tradeoff
from remem.site.behind import Runs, scale_of
from remem.site.claims import Claim
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
    world verdicts speak of) and changed parameters.
    """

    def __init__(self, folders: paths.Folders, since: float = 0.0):
        self.folders, self.behind = folders, Runs(folders)
        self.items = {item.id: item for item in items(folders, since)}
        self.notebooks = notebooks.listed(folders, since)
        table, self.wrong = claims.scorecard(folders)
        self.claims = [] if table is None else claims.listed(table)
        self.comparison = reference.compare(folders, self.claims)
        conditions = self.items[PRECONDITIONS].table
        self.preconditions = preconditions.read(conditions) if conditions else None
        self.tradeoff = tradeoff.tradeoff(folders)
        self.scale, self.name = scale_of(folders), folders.root.name
        layout = runs.read_json(folders.layout) if folders.layout.is_file() else {}
        self.scope = layout.get("data", self.scale).rpartition(" ")[0] or self.scale
        self.changed = notebooks.changed(self.notebooks)
        self.is_reference = reference.is_reference(folders)
        self.is_experiment = not self.is_reference and self.name not in SCALES

    def about(self, item: Item) -> list[Claim]:
        """The claims about a table or figure."""
        name = SAME_CLAIMS.get(item.id, item.id)
        return [claim for claim in self.claims if claim.item == name]

    def cells(self, item: Item, linked: bool) -> cells.Cells | None:
        """The table of an item as its page has it; if `linked`, Table 2's cells lead to the rows
        behind them."""
        if item.table is None:
            return None
        table = cells.read(item.table)
        if item.id == PRECONDITIONS:
            return cells.cells(preconditions.for_reading(preconditions.read(item.table)))
        if item.of_the_paper:
            table = tables.main(table)
        links = _links(table) if linked and item.id == TABLE2 else None
        return cells.cells(table, links)

    def cautions(self) -> list[Caution]:
        """What a reader should know first, the worst first."""
        return [*self._not_learned(), *self._calls(), *self._few_runs(), *self._conditions()]

    def _not_learned(self) -> list[Caution]:
        item = self.items["memorised"]
        known = [*cells.read(item.table).get("known", ())] if item.table else []
        lost = [each for each in known if str(each) != "True"]
        said = (
            f"Stage 1 did not memorise {len(lost)} of {len(known)} (model, seed, person): what is "
            "said of forgetting them means nothing."
        )
        return [Caution(said, "failed", item.page)] if lost else []

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
        return said + [Caution(because, "older")] * bool(older)

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
        first, *missed = preconditions.sentences(self.preconditions) or [""]
        page = self.items[PRECONDITIONS].page
        more = " A claim that needs one that is missed cannot be told:" if missed else ""
        said = [Caution(first + more, page=page)] if first else []
        return said + [Caution(each, "missed") for each in missed]


def _links(table2: pd.DataFrame) -> dict[tuple[int, str], str]:
    """(row, column) of Table 2 -> the page of samples at the rows that the cell is a mean of."""
    found = {}
    for at, row in enumerate(table2.to_dict("records")):
        for column, (view, _) in (metrics.TABLE2 | metrics.BESIDE_TABLE2).items():
            if column in row and not pd.isna(row[column]) and row["method"] != "chance":
                picked = {key: row[key] for key in ("model", "method", "hop")} | {"view": view}
                found[at, column] = f"samples.html#{urlencode(picked)}"
    return found
