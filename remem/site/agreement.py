"""A run beside the reference run: are its tables equal, and its conclusions the same?

What somebody needs who has reproduced it: a number may differ in its last digits, with another
processor, without any conclusion being another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from remem import paths
from remem.report import machine, preconditions
from remem.report.claims import NOT_RUN
from remem.site import claims, files
from remem.site.claims import Claim
from remem.site.files import Files

ENDS = ("_lo", "_hi")  # of an interval: its ends move with its middle, and are not counted

ALIKE = 1e-9  # numbers that differ by less are equal: what text makes of them


@dataclass(frozen=True)
class Table:
    """One table beside the reference's. `cells` were compared, `other` of them differ, `outside`
    of these lie outside the reference's 95 % interval, `unbounded` have none; `most` names the one
    that differs most for its interval's width. `why` says why no cell was compared."""

    name: str
    cells: int = 0
    other: int = 0
    outside: int = 0
    unbounded: int = 0
    most: str = ""
    why: str = ""

    @property
    def equal(self) -> bool:
        """Whether nothing of it differs."""
        return not (self.other or self.why)


@dataclass(frozen=True)
class Agreement:
    """`tables` that either has; `claims` that both put to the test, those that came out `other`
    here with the reference's word, and those that only one put to the test; which of scale and
    data are `others`; what is `unlike` of the machines, None where that is not known."""

    tables: Sequence[Table]
    claims: int
    other: Sequence[tuple[Claim, str]]
    missing: Sequence[Claim]
    added: Sequence[Claim]
    unlike: Sequence[str] | None
    others: Sequence[str] = ()
    broken: Sequence[str] = ()

    @property
    def same(self) -> bool:
        """Whether the conclusions are the same: every claim of the reference came out alike."""
        return bool(self.claims) and not (self.other or self.missing)


def compare(ours: paths.Folders, reference: paths.Folders) -> Agreement:
    """`ours` beside `reference`. Neither is written to."""
    here, there = Files(ours), Files(reference)
    mine, theirs = _words(here), _words(there)
    known = {name for name, claim in theirs.items() if claim.word != NOT_RUN}
    tested = [claim for claim in mine.values() if claim.word != NOT_RUN]
    both = [claim for claim in tested if claim.id in known]
    names = {*files.listed(ours.tables, ".csv"), *files.listed(reference.tables, ".csv")}
    found = [_table(name, here, there) for name in sorted(names)]
    machines = machine.known(ours), machine.known(reference)
    return Agreement(
        tables=found,
        claims=len(both),
        other=[(c, theirs[c.id].word) for c in both if c.word != theirs[c.id].word],
        missing=[theirs[name] for name in theirs if name in known - {c.id for c in tested}],
        added=[claim for claim in tested if claim.id not in known],
        unlike=machines[0].unlike(machines[1]) if machines[0] and machines[1] else None,
        others=[*_others(here.layout(), there.layout())],
        broken=[f"{file}: {why}" for file, why in (here.broken | there.broken).items()],
    )


def sentences(found: Agreement) -> Iterator[str]:
    """What was found, for a terminal: a line for each table that is not equal, then the claims."""
    yield from (f"Of another {said}." for said in found.others)
    unequal = [table for table in found.tables if not table.equal]
    equal = len(found.tables) - len(unequal)
    yield f"Tables: {equal} of {len(found.tables)} are equal in every number."
    for table in unequal:
        if table.why:
            yield f"  {table.name}: {table.why}"
            continue
        bounds = f"{table.outside} outside the reference's 95 % interval"
        bounds += f", {table.unbounded} without one" * bool(table.unbounded)
        yield (
            f"  {table.name}: {table.other:,} of {table.cells:,} cells differ, {bounds}; "
            f"the farthest: {table.most}"
        )
    yield from (f"  cannot be read: {said}" for said in found.broken)
    if found.unlike is None:
        yield "Machines: of one of the two it is not known (machine.json)."
    else:
        yield f"Machines: {'; '.join(found.unlike) or 'alike, in processor and versions'}."
    otherwise = f"{len(found.other)} came out otherwise here"
    yield f"Claims: both put {found.claims} to the test; {otherwise}."
    for claim, word in found.other:
        yield f"  {claim.id}: {claim.word} (reference: {word}). {claim.text}"
    for who, some in (("here", found.missing), ("in the reference", found.added)):
        if some:
            names = ", ".join(claim.id for claim in some)
            yield f"  Not put to the test {who}: {len(some)} ({names})."
    if found.same:
        yield "The conclusions are the same."
    elif found.claims:
        yield "The conclusions are not all the same."
    else:
        yield "There is no conclusion that both have."


def _others(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[str]:
    for key in ("scale", "data"):
        if {key} <= {*ours} & {*theirs} and ours[key] != theirs[key]:
            yield f"{key}: {ours[key]} (reference: {theirs[key]})"


def _words(kept: Files) -> dict[str, Claim]:
    conditions = kept.read(kept.folders.tables / "preconditions.csv", preconditions.read)
    found, wrong = claims.listed(kept, conditions)
    if wrong:
        kept.broken[kept.folders.verdicts] = wrong
    return {claim.id: claim for claim in found}


def _table(name: str, here: Files, there: Files) -> Table:
    mine, theirs = (kept.folders.tables / f"{name}.csv" for kept in (here, there))
    if not mine.is_file():
        return Table(name, why="not here, but in the reference")
    if not theirs.is_file():
        return Table(name, why="here, but not in the reference")
    if _bytes(mine) == _bytes(theirs):
        return Table(name)
    one, other = here.read(mine), there.read(theirs)
    if one is None or other is None:
        return Table(name, why="cannot be read")
    if len(one) != len(other):
        return Table(name, why=f"{len(one):,} rows here, {len(other):,} in the reference")
    columns = [column for column in other if column in one]
    changed = [f"without {c}" for c in other if c not in one]
    changed += [f"with {c}" for c in one if c not in other]
    if not columns:
        return Table(name, why="no column in common")
    return _cells(name, one[columns], other[columns], changed)


def _cells(name: str, ours: pd.DataFrame, theirs: pd.DataFrame, changed: Sequence[str]) -> Table:
    numbers = [
        c for c in theirs.columns if is_numeric_dtype(theirs[c]) and is_numeric_dtype(ours[c])
    ]
    texts = [c for c in theirs.columns if c not in numbers]
    cells = other = outside = unbounded = 0
    most, farthest = "", -1.0
    for column in [*texts, *numbers]:
        if column.endswith(ENDS) and column[:-3] in theirs:
            continue
        cells += len(theirs)
        pairs = zip(ours[column], theirs[column], strict=True)
        for at, (mine, his) in enumerate(pairs):
            if column in texts:
                if files.text(mine) == files.text(his):
                    continue
                gap, said = float("inf"), f"{files.text(mine)!r} (reference: {files.text(his)!r})"
                unbounded += 1
            else:
                if (pd.isna(mine) and pd.isna(his)) or abs(mine - his) <= ALIKE:
                    continue
                low, high = (_end(theirs, column, end, at) for end in ENDS)
                bounded = not (pd.isna(low) or pd.isna(high) or pd.isna(mine))
                outside += bounded and not low <= mine <= high
                unbounded += not bounded
                gap = abs(mine - his) / max(high - low, ALIKE) if bounded else 0.0
                said = f"{mine:.4g} (reference: {his:.4g}" + f" [{low:.4g}, {high:.4g}]" * bounded
                said += ")"
            other += 1
            if gap > farthest:
                farthest = gap
                most = f"{column}, {_row(theirs, texts, at, column)}: {said}"[:200]
    why = "; ".join(changed)
    return Table(name, cells, other, int(outside), unbounded, most, why if not other else "")


def _end(table: pd.DataFrame, column: str, end: str, at: int) -> float:
    name = f"{column}{end}"
    return table[name].iloc[at] if name in table else float("nan")


def _row(table: pd.DataFrame, texts: Sequence[str], at: int, besides: str) -> str:
    """A row by its first texts, else by its number."""
    known = [files.text(table[name].iloc[at]) for name in texts if name != besides][:4]
    return " ".join(filter(None, known))[:80] or f"row {at + 1}"


def _bytes(file: Path) -> bytes:
    return file.read_bytes().replace(b"\r\n", b"\n")
