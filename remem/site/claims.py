"""What the site says of each claim: its sentence, its numbers, its verdict, and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from remem.report import claims, preconditions, show, verdicts
from remem.report.preconditions import NO
from remem.site import files
from remem.site.files import Files
from remem.site.items import label, slug

RULES = {
    "above": "the whole 95 % interval has to lie above 0; less than {} either way is too little "
    "to matter",
    "beyond": "the whole 95 % interval has to lie above {}",
    "alike": "the whole 95 % interval has to lie within {} of 0, on both sides",
}

# Of a scorecard, that a page of a claim needs; those of earlier versions lack some.
COLUMNS = ("claim", "section", "text", "verdict", "paper", "paper bears out", "paper cells", "ours")
COLUMNS += ("lo", "hi", "p", "p_adjusted", "rule", "margin", "unit", "units", "people", "runs")
COLUMNS += ("comparison", "measured", "cells", "needs", "remark", "note", "notebook")
COLUMNS += ("without_preconditions", "preconditions")

NUMBERS = ("paper", "ours", "lo", "hi", "p", "p_adjusted", "margin", "units", "people", "runs")

ENDS = 0.08  # of an interval's picture, empty at either end


@dataclass(frozen=True)
class Scale:
    """The picture of an interval: places from 0 to 100 across it. `band` is what is too little to
    matter, or what "alike" asks for; what was not measured is None."""

    zero: float
    band: tuple[float, float]
    ours: float | None
    interval: tuple[float, float] | None
    paper: float | None


@dataclass(frozen=True)
class Claim:
    """One claim as the site shows it. `line` is its line of the scorecard, `text` its sentence,
    with those before it that it goes on from; `word` its verdict in a word and `mark` how that
    counts (verdicts.MARKS); `why` a reason where it cannot be told."""

    id: str
    text: str
    papers: bool
    section: str
    item: str
    mark: str
    word: str
    why: str
    line: Mapping[str, Any]

    @property
    def page(self) -> str:
        """The name of its page."""
        return f"claim-{slug(self.id)}.html"

    @property
    def about(self) -> str:
        """What its item is called."""
        return label(self.item.partition("_")[0])

    @property
    def where(self) -> str:
        """Of which data and models its verdict speaks: "In the tiny world"; empty for a verdict on
        the paper's own."""
        said = verdicts.scope(self.line["verdict"])
        return said[:1].upper() + said[1:]

    @property
    def asked(self) -> str:
        """What its contrast has to be, in short."""
        return verdicts.asked(self.line)

    @property
    def rule(self) -> str:
        """When it holds, in words."""
        amount = f"{self.line['margin']:g} {self.line['unit']}"
        return RULES[self.line["rule"]].format(amount)

    @property
    def measured(self) -> bool:
        """Whether there is a number of ours."""
        return not math.isnan(self.line["ours"])

    def number(self, name: str) -> str:
        """A number of its line, with as many digits as its margin needs; empty where none is."""
        value = self.line[name]
        if not isinstance(value, float) or math.isnan(value):
            return ""
        margin = self.line["margin"]
        digits = max(1, 1 - math.floor(math.log10(margin))) if margin > 0 else 1
        return f"{value:z.{digits}f}"

    @property
    def interval(self) -> str:
        """Its 95 % interval in brackets; empty where there is none."""
        return f"[{self.number('lo')}, {self.number('hi')}]" if self.number("lo") else ""

    @property
    def p(self) -> str:
        """p, and p adjusted for all claims that were told."""
        alone, adjusted = (self.line.get(name, math.nan) for name in ("p", "p_adjusted"))
        if math.isnan(alone):
            return ""
        return f"{alone:.2g}" + ("" if math.isnan(adjusted) else f" (adjusted: {adjusted:.2g})")

    @property
    def scale(self) -> Scale | None:
        """The picture of its interval; None where nothing of ours was measured."""
        ours, lo, hi, paper = (self.line[name] for name in ("ours", "lo", "hi", "paper"))
        margin = self.line["margin"]
        if not self.measured:
            return None
        low = {"above": -margin, "beyond": 0.0, "alike": -margin}[self.line["rule"]]
        known = [at for at in (0.0, low, margin, ours, lo, hi, paper) if not math.isnan(at)]
        first, last = min(known), max(known)
        wide = (last - first) or 1.0

        def place(at: float) -> float:
            return round(100 * (ENDS + (1 - 2 * ENDS) * (at - first) / wide), 2)

        return Scale(
            zero=place(0.0),
            band=(place(low), place(margin)),
            ours=place(ours),
            interval=None if math.isnan(lo) else (place(lo), place(hi)),
            paper=None if math.isnan(paper) else place(paper),
        )


def listed(kept: Files, conditions: pd.DataFrame | None) -> tuple[list[Claim], str]:
    """All claims with their verdicts, in the paper's order, and what is wrong where there are none
    (empty: nothing was put to the test)."""
    try:
        table = scorecard(kept, conditions)
        return ([] if table is None else _claims(table)), ""
    except Exception as error:  # whatever the files of verdicts hold
        return [], str(error) or type(error).__name__


def scorecard(kept: Files, conditions: pd.DataFrame | None) -> pd.DataFrame | None:
    """The scorecard that notebook 9 left, or, where another notebook has judged since, what
    notebook 9 would leave, by the preconditions `conditions`; None where nothing was put to the
    test. Raises ValueError where two notebooks have judged one claim."""
    folders = kept.folders
    judged = files.listed(folders.verdicts, ".csv")
    found = {name: kept.read(file, _verdicts) for name, file in judged.items()}
    some = {name: table for name, table in found.items() if table is not None}
    left, measured = (folders.tables / f"{name}.csv" for name in ("scorecard", "preconditions"))
    made_of = [*(judged[name] for name in some), *[measured] * measured.is_file()]
    newest = max((file.stat().st_mtime for file in made_of), default=0)
    if left.is_file() and left.stat().st_mtime >= newest:
        table = kept.read(left, _whole_table)
        if table is not None:
            return table
    return _checked(claims.scorecard(some, conditions)) if some else None


def _whole_table(file: Path) -> pd.DataFrame | None:
    """A scorecard; None for one of an earlier version, which has fewer columns."""
    table = files.table(file)
    if not {*COLUMNS} <= {*table}:
        return None
    if "" in [*(checked := _checked(table))["rule"]]:
        raise ValueError("a claim has no rule")
    return checked


def _verdicts(file: Path) -> pd.DataFrame | None:
    """A notebook's verdicts on claims, as notebook 9 reads them; None where they are on others."""
    table = pd.read_csv(file)
    if "section" not in table or not {*table["claim"]} & {claim.id for claim in claims.CLAIMS}:
        return None
    _checked(table)
    return table


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """The same with numbers as such and all else as text. Raises ValueError."""
    numbers = {name: pd.to_numeric(table[name]).astype(float) for name in NUMBERS if name in table}
    if infinite := [name for name, values in numbers.items() if np.isinf(values).any()]:
        raise ValueError(f"{infinite[0]} is infinite")
    texts = {name: table[name].map(files.text) for name in COLUMNS if name in {*table} - {*NUMBERS}}
    if unknown := {*texts.get("rule", ())} - {*RULES, ""}:
        raise ValueError(f"no rule of a claim is called {unknown.pop()!r}")
    return table.assign(**numbers, **texts)


def _claims(table: pd.DataFrame) -> list[Claim]:
    known = {claim.id: claim for claim in claims.CLAIMS}
    texts = [*table["text"]]
    return [
        Claim(
            id=line["claim"],
            text=_whole(texts, at),
            papers=not line["section"].startswith("ours"),
            section=line["section"].removeprefix("ours, "),
            item=known[line["claim"]].item,
            mark=verdicts.mark(line["verdict"]),
            word=verdicts.word(line["verdict"]),
            why=verdicts.reason(line) if verdicts.mark(line["verdict"]) == "untold" else "",
            line=line,
        )
        for at, line in enumerate(table.to_dict("records"))
        if line["claim"] in known
    ]


def tally(found: Sequence[Claim]) -> dict[str, int]:
    """How many there are of each of verdicts.MARKS."""
    counts = Counter(claim.mark for claim in found)
    return {mark: counts[mark] for mark in verdicts.MARKS}


def why_untold(found: Sequence[Claim]) -> list[tuple[str, int]]:
    """The reasons for which claims cannot be told, the most frequent first, with their numbers; of
    preconditions those that are missed ("a precondition is missed: P2, the face is used")."""
    reasons: Counter[str] = Counter()
    for claim in found:
        missed = str(claim.line.get("preconditions", "")).partition("missed: ")[2].partition(";")[0]
        if claim.mark == "untold":
            names = show.listed([*map(preconditions.named, missed.split(", "))])
            reasons[f"a precondition is missed: {names}" if missed else claim.why] += 1
    return reasons.most_common()


def needed(claim: Claim, table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The preconditions that a claim needs: `name` ("P2, the face is used"), `state` (yes, no, not
    measured) and the `lines` of preconditions.csv that say so."""
    found = []
    for name in str(claim.line["needs"] or "").split():
        of_it = table[table["precondition"] == name] if table is not None else None
        lines = [] if of_it is None else of_it[of_it["claims"] != ""].to_dict("records")
        states = {} if of_it is None else preconditions.state(of_it)
        said = preconditions.named(name)
        found.append({"name": said, "state": states.get(name, "not measured"), "lines": lines})
    return sorted(found, key=lambda each: each["state"] != NO)


def _whole(texts: Sequence[str], at: int) -> str:
    """A sentence that goes on from the one before ("... and so is") has that one before it."""
    first = at
    while texts[first].startswith("...") and first:
        first -= 1
    return " ".join(texts[first : at + 1])
