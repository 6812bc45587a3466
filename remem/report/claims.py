"""The verdict on each of the paper's claims, from scored rows.

A claim is a conjunction of contrasts: "GD retains most" is GD above each other method, at each
size and hop. It *holds* when the 95 % interval of every contrast lies beyond its margin; as all of
them have to, their number m needs no correction. It *does not hold* when one of them falls short,
and the more there are the likelier one does so by chance: there the upper end is that of the
1 - 0.05/m interval (Bonferroni). Anything else *cannot be told*: too few units (below eight), a
contrast that was not run, a total effect too small to be shared out, and every GPT score that only
the rule has judged.

The unit is one (seed, identity), and differences are paired within it, except between sets of
different people. Each seed forgets other people; but in Table 3, and among the retained of Table 2,
the same twenty come back seed after seed. Intervals over those rows speak about these people under
new runs, not about new people; and with one seed they hold no noise of training, but only how the
people of one trained network differ. `seeds` says how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from remem import metrics
from remem.paper import MODELS, RULE, counterpart
from remem.report.claim_list import CLAIMS, Claim, of
from remem.report.contrasts import FAILS, HOLDS, UNTOLD, Cells, Verdict, verdict

__all__ = ["CLAIMS", "FAILS", "HOLDS", "NOT_RUN", "UNTOLD", "Claim", "check", "of", "scorecard"]

NOT_RUN = "not run"

FLOOR = 0.05  # total effect (a probability) below which a causal trace tells nothing

# Item -> (column that names the view, columns of the row key, column -> (view, measure)).
_SIGNATURES = {name: (None, name) for name in ("min_k", "inverse_perplexity")}

ITEMS = {
    "fig1": ("split", ["benchmark"], metrics.TABLE3),
    "fig2a": (None, ["set"], _SIGNATURES),
    "fig3a": (None, ["control", "samples"], {"ROUGE": (None, "rouge"), "EM": (None, "em")}),
    "fig3b": (None, ["control", "samples"], {"perplexity": (None, "perplexity")}),
    "fig3c": (None, ["setting", "share", "hop"], {"EM": (None, "em")}),
    "table2": ("view", ["model", "method", "hop"], metrics.TABLE2),
    "table3": ("split", ["model", "stage"], metrics.TABLE3),
    "table4": (None, ["model", "method"], {"MMBench": (None, "plain")}),
    "table5": (None, ["set"], _SIGNATURES),
    "fig6": ("view", ["model", "method", "ratio", "control"], metrics.TABLE2),  # and 7: 13B
    "fig2b": (None, ["set", "corruption", "state"], {"peak": (None, "effect")}),
    "fig5": (None, ["set", "corruption", "state"], {"peak": (None, "effect")}),
}

# Why a contrast on this column may be unmeasured though its row was run.
NOTES = {
    "judge": "no GPT score: only the rule has judged",
    "share": "total effect below the floor",
    "peak": "total effect below the floor",
}


def _cells(item: str, rows: pd.DataFrame, floor: float) -> Cells:
    """Per column of the table: percent where it is a share, (seed, identity) x row keys."""
    where, names, columns = ITEMS[item]
    needed = [*names, *(measure for _, measure in columns.values()), "model", "seed", "identity"]
    needed += [where] * (where is not None) + ["judged_by"] * ("judge" in columns)
    needed += ["layer", "position", "total"] * ("peak" in columns)
    if missing := [name for name in dict.fromkeys(needed) if name not in rows]:
        raise ValueError(f"the claims about {item} need the column(s) {', '.join(missing)}")
    models = rows.model.map(counterpart)
    if "model" not in names:  # shown for one model: 7B, where there are both
        one = next(name for name in (*MODELS, *models) if name in set(models))
        rows = rows[models == one]
    keys = [models if name == "model" else rows[name].astype(str) for name in names]
    rows = rows.assign(row=["/".join(key) for key in zip(*keys, strict=True)])
    if "peak" in columns:
        return _effects(rows, floor)
    cells = {}
    for column, (view, measure) in columns.items():
        part = rows if view is None else rows[rows[where] == view]
        if column == "judge":  # the rule decides no claim about the GPT score
            part = part[part.judged_by != RULE]
        cells[column] = _pivot(part, measure) * (1 if measure in metrics.AS_STATED else 100)
    return cells


def _pivot(rows: pd.DataFrame, measure: str, columns: str | list[str] = "row") -> pd.DataFrame:
    return rows.pivot_table(
        index=["seed", "identity"], columns=columns, values=measure, observed=True
    )


def _effects(rows: pd.DataFrame, floor: float) -> Cells:
    """ "share": the mean effect over the early half of the layers, or the late half, all positions;
    "peak": the effect in one window at one position. Percent of the set's mean total effect, not of
    a person's own, which may be near zero. A set whose total is below `floor` has no cells.

    The largest of many cells is large by chance. So a person's peak is taken where the *others*
    have theirs: scattered effects have none.
    """
    total = rows.groupby("row").total.transform("mean")
    rows = rows.assign(share=100 * rows.effect / total)[total >= floor]
    middle = rows.groupby("row").layer.transform("max") / 2
    half = np.select([rows.layer < middle, rows.layer > middle], ["/early", "/late"], "/middle")
    peaks = {}
    for row, part in rows.groupby("row"):
        effects = _pivot(part, "share", ["layer", "position"]).fillna(0.0)
        place = (effects.sum() - effects).to_numpy().argmax(axis=1)
        peaks[row] = pd.Series(effects.to_numpy()[range(len(place)), place], effects.index)
    return {"share": _pivot(rows.assign(row=rows.row + half), "share"), "peak": pd.DataFrame(peaks)}


def check(
    claims: Sequence[Claim], rows: pd.DataFrame, scope: str, floor: float = FLOOR
) -> pd.DataFrame:
    """One line per claim: what the paper's own numbers say, what ours say, and the verdict.

    rows: as for the table of the item that the claims are about (report.tables); a paired contrast
    is taken over the (seed, identity) that all of its rows have. From `paper` to `units` the
    numbers are those of the weakest contrast (named in `weakest`), in `unit`; lo and hi are those
    of `verdict`; `measured` counts the contrasts that could be measured, and `note` says why one
    could not though its rows were there. `floor` is that of the traces' total effect. `scope`
    says which data the verdict speaks of (Config.verdict_scope): only under "paper", and with the
    paper's own models, can it be "reproduced". ValueError names the columns that are missing.
    """
    cells = {item: _cells(item, rows, floor) for item in {claim.item for claim in claims}}
    names = {counterpart(model): model for model in rows.model.unique()}
    if len(names) < rows.model.nunique():
        raise ValueError(f"two of the models {sorted(rows.model.unique())} stand for one: drop one")
    lines = []
    for claim in claims:
        found, seeds = {}, {}
        for part in claim.contrasts:
            groups = part.groups(cells[claim.item])
            if all(map(len, groups)):
                found[part] = verdict(groups, part.margin, len(claim.contrasts))
                seeds[part] = min(group.index.unique(level=0).size for group in groups)
        words = [each.word for each in found.values()]
        if FAILS in words:
            word = FAILS
        else:
            word = HOLDS if words == [HOLDS] * len(claim.contrasts) else UNTOLD
        line = _line(claim)
        if found:
            weakest = min(found, key=lambda part: _strength(found[part], part.margin))
            result = found[weakest]
            line |= {"paper": claim.printed(weakest), "ours": result.mean, "lo": result.lo}
            line |= {"hi": result.hi, "margin": weakest.margin, "unit": weakest.unit}
            line |= {"units": result.units, "seeds": seeds[weakest], "weakest": str(weakest)}
            for papers, ours in names.items():
                line["weakest"] = line["weakest"].replace(papers, ours)
        without = {getattr(part, "column", None) for part in claim.contrasts if part not in found}
        line |= {"verdict": _say(word, scope, rows.model.isin(MODELS).all())}
        line |= {"measured": f"{len(found)} of {len(claim.contrasts)}"}
        line |= {"note": "; ".join(dict.fromkeys(NOTES[name] for name in NOTES if name in without))}
        lines.append(line)
    return pd.DataFrame(lines)


@cache
def _borne_out(claim: Claim) -> str:
    return claim.paper_bears_out()[0]


def _line(claim: Claim) -> dict[str, Any]:
    """A line of the scorecard, nothing run yet."""
    line = {"claim": claim.id, "section": claim.section, "text": claim.text}
    line |= {"verdict": NOT_RUN, "paper": np.nan, "paper bears out": _borne_out(claim)}
    line |= {"ours": np.nan, "lo": np.nan, "hi": np.nan, "margin": np.nan}
    line |= {"unit": claim.contrasts[0].unit, "units": 0, "seeds": 0, "weakest": ""}
    line |= {"measured": f"0 of {len(claim.contrasts)}", "note": ""}
    return line


def scorecard(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every claim in the paper's order, as `check` gives it, and the `notebook` that tested it.

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
    return pd.DataFrame(list(lines.values()))


def _strength(found: Verdict, margin: float) -> tuple[int, float]:
    """What fails is weakest, then what cannot be told; among equals, the mean above the margin."""
    return (FAILS, UNTOLD, HOLDS).index(found.word), found.mean - margin


def _say(word: str, scope: str, papers_models: bool) -> str:
    if scope != "paper":
        return f"in the {scope} world: {word}"
    if not papers_models:
        return f"with other models: {word}"
    return {HOLDS: "reproduced", FAILS: "not reproduced"}.get(word, word)
