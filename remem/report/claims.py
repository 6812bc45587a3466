"""The verdict on each of the paper's claims, from scored rows.

`check` gives one line per claim: the paper's value of its contrast, ours with its interval, and the
word (report.contrasts says by which rule). `gate` then takes the word back where a precondition of
the claim is missed: what the world does not meet, no number from it can tell. `scorecard` puts all
of them in one table, and `changes` beside the verdicts of 0.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from remem import paths
from remem.paper import MODELS, counterpart
from remem.report.cells import FLOOR, cells_of
from remem.report.claim_list import CLAIMS, Claim, of
from remem.report.contrasts import Cells, Groups, mean_of
from remem.report.intervals import HOLDS, REVERSED, SMALLER, UNTOLD, estimate, verdict

__all__ = [
    "CLAIMS",
    "HOLDS",
    "NOT_RUN",
    "REVERSED",
    "SMALLER",
    "UNTOLD",
    "Claim",
    "changes",
    "check",
    "gate",
    "of",
    "scorecard",
]

NOT_RUN = "not run"

# Why a contrast on this column may be unmeasured though its row was run.
NOTES = {
    "judge": "no GPT score: only the rule has judged",
    "share": "nothing to trace: swapping the subject changes too little",
    "peak": "nothing to trace: swapping the subject changes too little",
    "EM_f_taught": "no row says whether stage 1 had taught it",
}


def check(
    claims: Sequence[Claim], rows: pd.DataFrame, scope: str, floor: float = FLOOR
) -> pd.DataFrame:
    """One line per claim: what the paper's own numbers say, what ours say, and the verdict.

    rows: as for the table of the item that the claims are about (report.tables), with the column
    `stage1_seed` where seeds start from several stage 1s. `paper`, `ours`, `lo` and `hi` are of the
    claim's contrast, named in `comparison`, in `unit`; `p` is two-sided, of its being at the margin
    that the claim asks for; `cells` says how many of its cells agree with the claim, each by its
    mean alone ("9 of 10"), `paper cells` the same of the paper's; `every cell` is the verdict by
    the rule of 0.2, under which all of them had to hold. `note` says why something could not be
    measured. `floor` is that of the traces' total effect. `scope` says which data the verdict
    speaks of (Config.verdict_scope): only under "paper", and with the paper's own models, can it be
    "reproduced". ValueError names the columns that are missing.
    """
    cells = {item: cells_of(item, rows, floor) for item in {claim.item for claim in claims}}
    names = {counterpart(model): model for model in rows.model.unique()}
    if len(names) < rows.model.nunique():
        raise ValueError(f"two of the models {sorted(rows.model.unique())} stand for one: drop one")
    where = _where(scope, rows.model.isin(MODELS).all())
    return pd.DataFrame([_told(claim, cells[claim.item], where) for claim in claims])


def _told(claim: Claim, cells: Cells, where: str) -> dict[str, Any]:
    line = _line(claim)
    sides = [[part.groups(cells) for part in side.parts] for side in claim.test.sides]
    found = [groups for side in sides for groups in side]
    run = [groups for groups in found if groups]
    columns = {part.column for part in claim.parts}
    unmeasured = {
        part.column for part, groups in zip(claim.parts, found, strict=True) if not groups
    }
    if "EM_f_taught" in cells:  # its rows were not run, but they do say so
        unmeasured.discard("EM_f_taught")
    line["note"] = "; ".join(dict.fromkeys(NOTES[name] for name in NOTES if name in unmeasured))
    line["measured"] = f"{len(run)} of {len(found)}"
    word = UNTOLD
    if len(run) == len(found):
        result = verdict([estimate(mean_of(side)) for side in sides], claim.test)
        word = result.word
        agree = [claim.test.bears_out(_mean(groups)) for groups in found]
        line |= {"ours": result.mean, "lo": result.lo, "hi": result.hi, "p": result.p}
        line |= {"units": result.units, "people": result.people, "runs": result.runs}
        line |= {"comparison": _comparison(claim, result.side, columns)}
        line |= {"cells": f"{sum(agree)} of {len(agree)}", "every cell": _every(claim, found)}
    line["verdict"] = _say(word, where)
    return line


def _mean(groups: Groups) -> float:
    return float(sum(numbers.mean() for numbers in groups.values()))


def _every(claim: Claim, found: Sequence[Groups]) -> str:
    """The word of 0.2: all cells beyond the margin, or one short of it (Bonferroni)."""
    each = [estimate(groups) for groups in found]
    bounds = (
        [one.bounds(0.025)[0] for one in each],
        [one.bounds(0.025 / len(each))[1] for one in each],
    )
    if claim.test.rule == "alike":  # was two contrasts each, one for either side
        lows = [min(one.bounds(0.025)[0], -one.bounds(0.025)[1]) for one in each]
        highs = [
            min(one.bounds(0.0125 / len(each))[1], -one.bounds(0.0125 / len(each))[0])
            for one in each
        ]
        bounds = lows, highs
    bound = claim.test.bound
    if any(high <= bound for high in bounds[1]):
        return "does not hold"
    return HOLDS if all(low > bound for low in bounds[0]) else UNTOLD


def _comparison(claim: Claim, side: int, columns: set[str]) -> str:
    """ "GD - KL (EM_r, ROUGE; mean of 8)": the least side, its columns and its number of cells."""
    name, parts = claim.test.sides[side]
    many = f"; mean of {len(parts)}" if len(parts) > 1 else ""
    return f"{name} ({', '.join(sorted(columns))}{many})"


@cache
def _of_paper(claim: Claim) -> dict[str, Any]:
    effect, cells = claim.printed()
    agree = sum(map(claim.test.bears_out, cells))
    return {
        "paper": effect,
        "paper bears out": claim.paper_bears_out(),
        "paper cells": f"{agree} of {len(cells)}" if cells else "",
    }


def _line(claim: Claim) -> dict[str, Any]:
    """A line of the scorecard, nothing run yet."""
    line = {"claim": claim.id, "section": claim.section, "text": claim.text}
    line |= {"verdict": NOT_RUN, **_of_paper(claim), "ours": np.nan, "lo": np.nan, "hi": np.nan}
    line |= {"p": np.nan, "rule": claim.test.rule, "margin": claim.test.margin}
    line |= {"unit": claim.test.unit, "units": 0, "people": 0, "runs": 0, "comparison": ""}
    line |= {"measured": f"0 of {len(claim.parts)}", "cells": "", "every cell": NOT_RUN}
    return line | {"needs": claim.needs, "remark": claim.remark, "note": ""}


def _where(scope: str, papers_models: bool) -> str:
    if scope != "paper":
        return f"in the {scope} world: "
    return "" if papers_models else "with other models: "


def _say(word: str, where: str) -> str:
    return f"{where}{word}" if where else {HOLDS: "reproduced"}.get(word, word)


# ---------------------------------------------------------------- preconditions


def gate(table: pd.DataFrame, preconditions: pd.DataFrame | None) -> pd.DataFrame:
    """The verdicts of `check` or `scorecard`, "cannot be told: P1 ..." where a precondition that
    the claim needs is missed; the verdict before that is kept as `without_preconditions`.

    preconditions: `precondition` ("P1"), `what`, `model`, `met` ("yes", "no" or "not measured";
    anything else decides nothing); None where they were not measured. A claim hangs on those of the
    models that its contrast is about, or on those of no model; missed for one is missed.
    `preconditions` says "met", "missed: P1, P3" or "not measured: P5"; what was not measured does
    not take a verdict back.
    """
    if "needs" not in table or "preconditions" in table:
        return table
    found = _states(preconditions)
    claims, lines = {claim.id: claim for claim in CLAIMS}, []
    for line in table.to_dict("records"):
        needs = line["needs"].split() if isinstance(line["needs"], str) else []
        claim = claims.get(line["claim"])
        models: set[str] = _models(claim) if claim else {*MODELS}
        states = {need: _state(found.get(need, []), models) for need in needs}
        missed = {need: what for need, (state, what) in states.items() if state == "no"}
        unknown = [need for need, (state, _) in states.items() if state == "not measured"]
        said = [f"missed: {', '.join(missed)}"] * bool(missed)
        said += [f"not measured: {', '.join(unknown)}"] * bool(unknown)
        line |= {"without_preconditions": line["verdict"]}
        line |= {"preconditions": "; ".join(said) or ("met" if needs else "")}
        if missed and line["verdict"] != NOT_RUN:
            where = line["verdict"].rpartition(": ")[0]
            reasons = "; ".join(f"{need} {what}".strip() for need, what in missed.items())
            line["verdict"] = f"{where}{': ' * bool(where)}{UNTOLD}: {reasons}"
        lines.append(line)
    return pd.DataFrame(lines, columns=[*table, "without_preconditions", "preconditions"])


def _states(preconditions: pd.DataFrame | None) -> dict[str, list[tuple[str, str, str]]]:
    """Precondition -> (the paper's model or "", met, what)."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    if preconditions is not None:
        table = preconditions[["precondition", "what", "model", "met"]].fillna("").astype(str)
        for name, what, model, met in table.itertuples(index=False):
            found.setdefault(name, []).append((counterpart(model), met, what))
    return found


def _state(lines: Sequence[tuple[str, str, str]], models: set[str]) -> tuple[str, str]:
    """("no", what is missed) or ("yes" | "not measured", "")."""
    mine = [(met, what) for model, met, what in lines if model in models or model not in MODELS]
    missed = [what for met, what in mine if met == "no"]
    if missed:
        return "no", missed[0]
    states = {met for met, _ in mine} & {"yes", "not measured"}
    return ("yes" if states == {"yes"} else "not measured"), ""


def _models(claim: Claim) -> set[str]:
    """The paper's models that a claim's rows name; the first for what is shown of one model."""
    text = repr(claim.test)
    return {model for model in MODELS if f"{model}/" in text} or {MODELS[0]}


# ---------------------------------------------------------------- all of them


def scorecard(
    tables: Mapping[str, pd.DataFrame], preconditions: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Every claim in the paper's order, as `check` gives it and `gate` leaves it, the `notebook`
    that tested it, and `p_adjusted`: p by Benjamini and Hochberg over all that were told.

    tables: notebook -> its verdicts, those on other matters among them. What none of them has is
    "not run"; what two have raises ValueError.
    """
    lines = {claim.id: _line(claim) | {"notebook": ""} for claim in CLAIMS}
    for notebook, table in tables.items():
        for found in table.to_dict("records") if "section" in table else ():
            line = lines.get(found["claim"], {"notebook": ""})  # of a claim that is none any more
            if line["notebook"]:
                raise ValueError(
                    f"the claim {found['claim']} has a verdict from {line['notebook']} and from "
                    f"{notebook}; remove the file that is out of date"
                )
            line |= {key: found[key] for key in line if pd.notna(found.get(key))}
            line["notebook"] = notebook
    table = pd.DataFrame(list(lines.values()))
    table.insert(table.columns.get_loc("p") + 1, "p_adjusted", _adjusted(table.p))
    return gate(table, preconditions)


def _adjusted(p: pd.Series) -> pd.Series:
    from scipy.stats import false_discovery_control

    known = p.notna()
    adjusted = pd.Series(np.nan, p.index)
    if known.any():
        adjusted[known] = false_discovery_control(p[known].astype(float))
    return adjusted


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """The scorecard beside that of 0.2: claim, section, text, old, new, and why it changed.

    "precondition": it would have come out as `without_preconditions`. "word": it is the same, said
    more closely. "rule": 0.2's rule (all cells must hold) on today's numbers still gives the old
    verdict. "world": it does not; the numbers are other ones. "new": the claim is; one that was a
    part of another in 0.2 (`part_of`) is compared with that one.
    """
    file = paths.PAPER.with_name("verdicts_0.2.csv")
    old = pd.read_csv(file, index_col="claim")["verdict"].to_dict()
    was = {claim.id: claim.was for claim in CLAIMS}
    lines = []
    for line in table.to_dict("records"):
        before = old.get(was.get(line["claim"], ""), "")
        after = line["verdict"]
        lines.append(
            {"claim": line["claim"], "section": line["section"], "text": line["text"]}
            | {"part_of": was[line["claim"]] if was[line["claim"]] != line["claim"] else ""}
            | {"old": before, "new": after, "reason": _reason(before, line)}
        )
    return pd.DataFrame(lines)


def _reason(before: str, line: Mapping[str, Any]) -> str:
    after = line["verdict"]
    if not before:
        return "new: 0.2 had no such claim"
    if after == NOT_RUN:
        return "not run"
    if after.endswith(before):
        return ""
    if str(line["preconditions"]).startswith("missed"):
        return f"precondition {line['preconditions'].partition(';')[0]}"
    if before == "does not hold" and after.endswith((REVERSED, SMALLER)):
        return "word: 0.2 said so of whatever fell short of its margin"
    if line["every cell"] == NOT_RUN:
        return line["note"] or "some of its comparisons were not run"
    if line["every cell"] == before:
        rule = "each cell had to hold, or one to fail; now their mean decides"
        return f"rule: {rule} ({line['cells']} agree)"
    return f"world: 0.2's rule would now say {line['every cell']} ({line['cells']} cells agree)"
