"""The paper's claims: the sentences of remem/claims.csv, in the paper's order, with the
preconditions that each needs, and what each comes to (report.claim_tests)."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd

from remem import paper, paths
from remem.report.claim_tests import TESTS
from remem.report.contrasts import UNIT, Cells, Part, Test, mean_of


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, and the test that says what it comes to.

    `item` is the table or figure whose rows decide it ("table2"). A `section` that begins with
    "ours" marks a sentence that the paper does not say: the paper's own claim under a control, or
    one of its numbers put into words. `needs` are preconditions ("P1 P3"), `was` the claim of 0.2
    that it comes from (empty: it is new), `remark` what a reader of its verdict has to know.
    """

    id: str
    item: str
    section: str
    text: str
    test: Test = field(repr=False)
    needs: str = ""
    was: str = ""
    remark: str = ""

    @property
    def papers(self) -> bool:
        """Whether the sentence is the paper's own."""
        return not self.section.startswith("ours")

    @property
    def parts(self) -> tuple[Part, ...]:
        """All cells of all sides."""
        return sum((side.parts for side in self.test.sides), ())

    @cache  # noqa: B019 (there are as many claims as CLAIMS has, and their tests)
    def printed(self) -> tuple[float, list[float]]:
        """What the paper's own numbers give for the contrast, and for each of its cells; (NaN, [])
        where it does not print all of them."""
        cells = _printed(self.item)
        found = [[part.groups(cells) for part in side.parts] for side in self.test.sides]
        if not all(groups for side in found for groups in side):
            return np.nan, []
        least = min(_sum(mean_of(side)) for side in found)
        return round(least, 6), [round(_sum(each), 6) for side in found for each in side]

    def paper_bears_out(self) -> str:
        """ "yes", "no" or "not in the paper": by its printed numbers, which have no intervals."""
        effect, _ = self.printed()
        if np.isnan(effect):
            return "not in the paper"
        return "yes" if self.test.bears_out(effect) else "no"


def of(item: str) -> list[Claim]:
    """The claims about one item, such as "table2"; ValueError for an item that has none."""
    found = [claim for claim in CLAIMS if claim.item == item]
    if not found:
        items = dict.fromkeys(claim.item for claim in CLAIMS)
        raise ValueError(f"no claim is about {item!r}; there are {', '.join(items)}")
    return found


@cache
def _printed(item: str) -> Cells:
    """The paper's numbers as cells of a single unit; none of an item that is only drawn."""
    try:
        table = paper.paper_table(item)
    except ValueError:
        return {}
    unit = pd.MultiIndex.from_tuples([("paper", "paper", "all")], names=UNIT)
    return {column: table[[column]].T.set_axis(unit) for column in table}


def _sum(groups: dict[str, pd.Series]) -> float:
    return float(sum(numbers.mean() for numbers in groups.values()))


def _sentences() -> list[dict[str, str]]:
    with paths.PAPER.with_name("claims.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


CLAIMS = tuple(Claim(**line, test=TESTS[line["id"]]) for line in _sentences())
