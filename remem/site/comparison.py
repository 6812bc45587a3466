"""How the verdicts of an outputs folder differ from the reference run's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from remem import paths
from remem.report import verdicts
from remem.report.claims import NOT_RUN
from remem.site import files
from remem.site.claims import Claim


@dataclass(frozen=True)
class Comparison:
    """Our claims beside the reference's: how many both put to the test, the verdict's word of each
    there, and the claims that came out otherwise."""

    both: int
    there: dict[str, str]
    others: Sequence[Claim]


def compare(folders: paths.Folders, ours: Sequence[Claim]) -> Comparison | None:
    """None for the reference itself, and where it has nothing that can be compared."""
    if folders.is_reference or not ours:
        return None
    file = paths.REFERENCE / "tables" / "scorecard.csv"
    if not file.is_file():
        return None
    table = files.table(file)
    there = {
        name: verdicts.word(said)
        for name, said in zip(table["claim"], table["verdict"], strict=True)
    }
    there = {name: word for name, word in there.items() if word != NOT_RUN}
    both = [claim for claim in ours if claim.id in there and claim.word != NOT_RUN]
    others = [claim for claim in both if claim.word != there[claim.id]]
    return Comparison(len(both), there, others) if both else None
