"""The paper's tables, and those behind its figures, from scored rows; its own numbers beside ours.

Input rows are scored predictions (metrics.score, judge.score), concatenated, with `model`, `seed`
and what tells the runs apart: `method` and `view` (Table 2), `stage` (Table 3), `benchmark` (Fig 1)
and so on. All numbers are percentages; `X_lo` and `X_hi` bound the 95 % interval of X over (seed,
identity), empty below eight; `paper_X` is the paper's; `judged_by` says whose the judge's score is.
Where the data is not ReMem's (`paper` is false), `paper_X` is empty. In Table 3, and among the
retained in Table 2, the same people come back with every seed: those intervals speak about them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from remem import metrics
from remem import paper as published
from remem.paper import (
    ASKED,
    BASE,
    CHANCE,
    CONTROLS,
    CORRUPTIONS,
    POSITIONS,
    SETS,
    SETTINGS,
    STAGES,
    STATES,
)
from remem.report.show import main as main
from remem.report.show import show as show  # remem.tables.show

MEASURES = {**metrics.TABLE2, **metrics.BESIDE_TABLE2}
ENDS = ("", "_lo", "_hi")  # of the columns of a measure
# What one trace is of, and in which order tables have it.
_TRACED: dict[str, Sequence[str]] = {"set": SETS, "asked": ASKED, "corruption": CORRUPTIONS}
METHODS = (BASE, CHANCE, published.BEFORE, *published.METHODS, published.RETRAINED)


def fig1(rows: pd.DataFrame) -> pd.DataFrame:
    """Fig 1: model, benchmark, then the columns of Table 3; the paper's are Table 3's (ReMem)."""
    by = ["model", "benchmark"]
    table = measured(rows, by, metrics.TABLE3, where="split", count=True)
    table = in_order(table, model=models_in_order(table), benchmark=SETS)
    stage = table.benchmark.map({"ReMem": "stage 1"})
    return _beside_paper(table, "table3", _papers(table.assign(stage=stage), "stage"))


def causes(rows: pd.DataFrame) -> pd.DataFrame:
    """What makes stage 1 fail: model, change (from ReMem's data), then the columns of Table 3."""
    table = measured(rows, ["model", "change"], metrics.TABLE3, where="split", count=True)
    return in_order(table, model=models_in_order(table), change=())


def signatures(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 5: set, min_k, inverse_perplexity, mean_probability of the name, tokens, people.

    rows: one per question, with the metrics of a name's tokens in percent and their number. People
    of two sets are two people, whatever they are called.
    """
    measures = ("min_k", "inverse_perplexity", "mean_probability")
    table = measured(rows, ["set"], {name: (None, name) for name in measures})
    tokens = metrics.summarise(rows, ["set"], "tokens")[["set", "mean", "units"]]
    table = table.merge(tokens.rename(columns={"mean": "tokens", "units": "people"}), on="set")
    table = in_order(table, set=SETS)
    return _beside_paper(table, "table5", table.set)


def traces(rows: pd.DataFrame, floor: float) -> pd.DataFrame:
    """Fig 2 and 5: set, asked, corruption, state, layer, position, then effect, share, clean, ...
    in points of probability, share in %.

    rows: set, seed, identity, asked, corruption, state, layer, position, clean, corrupted, total,
    effect (0..1). `share` is 100 x mean effect / mean total; both means are resampled over the same
    people for its interval (a person's own share would divide by totals near zero). Where the mean
    total is below `floor` (0..1) there is nothing to have a share of: `measurable` is false, share
    empty.
    """
    by, amounts = ["state", "layer", "position"], ["effect", "clean", "corrupted", "total"]
    parts = []
    for (name, asked, corruption), part in rows.groupby([*_TRACED], sort=False):
        units = part.groupby(["seed", "identity", *by], sort=False)[amounts].mean().unstack(by)
        effect, total = units["effect"], units["total"]
        table = pd.DataFrame({amount: 100 * units[amount].mean() for amount in amounts})
        measurable = table.total >= 100 * floor
        table.insert(1, "share", (100 * table.effect / table.total).where(measurable))
        drawn = metrics.resample(effect.to_numpy())
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = 100 * drawn / metrics.resample(total.to_numpy())
        for place, (column, draws) in enumerate({"effect": 100 * drawn, "share": shares}.items()):
            lo, hi = np.percentile(draws, [2.5, 97.5], axis=0)
            shown = (len(units) >= metrics.FEWEST) & (measurable | (column == "effect"))
            table.insert(3 * place + 1, f"{column}_lo", np.where(shown, lo, np.nan))
            table.insert(3 * place + 2, f"{column}_hi", np.where(shown, hi, np.nan))
        table = table.assign(people=len(units), measurable=measurable).reset_index()
        parts.append(table.assign(set=name, asked=asked, corruption=corruption))
    table = pd.concat(parts, ignore_index=True)
    order = [*_TRACED, *by]
    table = table[[*order, *(name for name in table if name not in order)]]
    layers = sorted(table.layer.unique())
    ordered: dict[str, Sequence[str]] = dict(state=STATES, layer=layers, position=POSITIONS)
    return in_order(table, **_TRACED, **ordered)


def trace_peaks(rows: pd.DataFrame, floor: float) -> pd.DataFrame:
    """Where Fig 2 and 5 peak, by split halves (metrics.split_half_peaks), MLP and attention apart:
    set, asked, corruption, state, `peak` (points of probability) with its interval over people,
    `share` of the total effect (%, empty below `floor`), `total`, `found at` (layer and position,
    by either half), people.

    rows: as for `traces`. What was traced for one person alone has no halves, and no line.
    """
    lines = []
    states = rows[rows.state.isin(STATES[:2])]  # not the control, which peaks by construction
    for key, part in states.groupby([*_TRACED, "state"], sort=False):
        if part["identity"].nunique() < 2:
            continue
        units = ["seed", "identity"]
        effects = part.pivot_table(index=units, columns=["layer", "position"], values="effect")
        peaks = metrics.split_half_peaks(effects)
        lo, hi = metrics.interval(peaks["value"])
        peak, total = 100 * peaks["value"].mean(), 100 * part.total.mean()
        places = dict.fromkeys(f"{layer}, {position}" for layer, position in peaks["place"])
        line = dict(zip([*_TRACED, "state"], key, strict=True))
        line |= {"peak": peak, "peak_lo": 100 * lo, "peak_hi": 100 * hi}
        line |= {"share": 100 * peak / total if total >= 100 * floor else np.nan, "total": total}
        lines.append(line | {"found at": "; ".join(places), "people": len(peaks)})
    measures = ["peak", "peak_lo", "peak_hi", "share", "total", "found at", "people"]
    table = pd.DataFrame(lines, columns=[*_TRACED, "state", *measures])
    return in_order(table, **_TRACED, state=STATES)


def scaling(rows: pd.DataFrame) -> pd.DataFrame:
    """Fig 3a, 3b: samples, control, ROUGE, EM, perplexity of held-out answers, units, updates."""
    measures = {"ROUGE": (None, "rouge"), "EM": (None, "em"), "perplexity": (None, "perplexity")}
    by = ["samples", "control"]
    table = measured(rows, by, measures, count=True)
    if "updates" in rows:
        table = table.merge(rows.groupby(by, as_index=False)["updates"].max(), on=by)
    return in_order(table, control=CONTROLS, samples=sorted(table.samples))


def hops(rows: pd.DataFrame) -> pd.DataFrame:
    """Fig 3c: setting, share (of single-hop in training, %), hop (of the held-out question), EM of
    the held-out answers, units."""
    by = ["setting", "share", "hop"]
    table = measured(rows, by, {"EM": (None, "em")}, count=True)
    return in_order(table, setting=SETTINGS, hop=published.HOPS, share=sorted(table.share))


def peaks(rows: pd.DataFrame) -> pd.DataFrame:
    """Where Fig 3c peaks: setting, hop, peak (a share of single-hop, %) and its interval, units.

    Each resample draws units, with all their shares, and finds the share of the best mean EM; of
    equally good ones, the middle. The paper's is a share, "across both question types".
    """
    lines = []
    for (setting, hop), part in rows.groupby(["setting", "hop"], sort=False):
        curves = part.pivot_table(index=["seed", "identity"], columns="share", values="em").dropna()
        curve = curves.mean().to_numpy()[None]
        at = _best(curve, curves.columns)[0] if len(curves) else np.nan
        lo = hi = np.nan
        if len(curves) >= metrics.FEWEST:
            drawn = _best(metrics.resample(curves.to_numpy()), curves.columns)
            lo, hi = np.percentile(drawn, [2.5, 97.5])
        lines.append([setting, hop, at, lo, hi, len(curves)])
    names = ["setting", "hop", "peak", "peak_lo", "peak_hi", "units"]
    table = in_order(pd.DataFrame(lines, columns=names), setting=SETTINGS, hop=published.HOPS)
    printed = published.paper_table("fig3c").loc["peak", "single_hop_percent"]
    table.insert(5, "paper_peak", np.where(table.setting == SETTINGS[0], printed, np.nan))
    return table


def _best(curves: np.ndarray, at: Sequence[float]) -> np.ndarray:
    """(n, shares) -> (n,) the mean of `at` where each curve is at its highest."""
    top = curves >= curves.max(axis=1, keepdims=True) - 1e-9
    return top @ np.asarray(at, dtype=float) / top.sum(axis=1)


def table4(rows: pd.DataFrame, paper: bool = True) -> pd.DataFrame:
    """Table 4: model, method, MMBench (whether the likeliest option is right), MMBench_generated
    (whether the answer is), MMBench_circular (whether it is in every rotation), units (questions);
    `questions` says which were asked, where the rows do.

    rows: identity is the question. All seeds and models get the same questions; the intervals
    speak about these.
    """
    measures = {
        "MMBench": (None, "plain"),
        "MMBench_generated": (None, "generated"),
        "MMBench_circular": (None, "circular"),
    }
    table = measured(rows, ["model", "method"], measures, count=True)
    if "questions" in rows:
        table["questions"] = rows["questions"].iloc[0]
    table = in_order(table, model=models_in_order(table), method=METHODS)
    return _beside_paper(table, "table4", _papers(table, "method"), paper)


def ratios(rows: pd.DataFrame, paper: bool = True) -> pd.DataFrame:
    """Fig 6 and 7: model, method, ratio (%), control, hop, then those columns of Table 2 (table2)
    whose rows were asked.

    The paper prints numbers for five epochs at 20 % alone: Table 2's.
    """
    by = ["model", "method", "ratio", "control", "hop"]
    asked = set(rows["view"])  # fewer than Table 2's: what the claims are about
    measures = {name: of for name, of in MEASURES.items() if of[0] in asked}
    table = measured(rows, by, measures, where="view")
    table = table.merge(_units(rows, by), on=by, how="left")
    of = ["model", "ratio", "control"]
    table = table.merge(_not_learned(rows, of), on=of, how="left")
    table = in_order(
        table,
        model=models_in_order(table),
        control=CONTROLS,
        method=METHODS,
        hop=published.HOPS,
        ratio=sorted(table.ratio),
    )
    printed = (table.ratio == 20) & (table.control == CONTROLS[0])
    return _beside_paper(table, "table2", _papers(table, "method", "hop").where(printed), paper)


def table2(
    rows: pd.DataFrame,
    resamples: int = 2000,
    paper: bool = True,
    more: Mapping[str, tuple[str, str]] | None = None,
) -> pd.DataFrame:
    """Table 2: model, method, hop, then the columns of metrics.TABLE2, and BESIDE_TABLE2.

    rows: `view` is forget, retain_eval, test_forget or test_retain; `candidates` is |C|. A method's
    row appears when the method does; other names than the paper's follow them. The rows "chance"
    are added: what a guess among the candidates gives, in EM and in Exposure.
    `not_learned`: how many of the forgotten, as (seed, person), stage 1 had not learned, so that
    forgetting them means nothing (metrics.memorised). `units`, `units_retain`: (seed, person).

    more: columns of your own, name -> (view, column of the rows). That column holds a number from
    0 to 1 for each row, and is shown in percent, with its interval, after the paper's columns.
    Raises ValueError where a view or a column is not there, or a name is taken.
    """
    measures = {**MEASURES, **_own(rows, more or {})}
    by = ["model", "method", "hop"]
    table = measured(rows, by, measures, where="view", resamples=resamples)
    table = table.merge(_units(rows, by), on=by, how="left")
    table = pd.concat([table, _chance(rows)], ignore_index=True)
    table = table.merge(_not_learned(rows, ["model"]), on="model", how="left")
    table = in_order(table, model=models_in_order(table), method=METHODS, hop=published.HOPS)
    return _beside_paper(table, "table2", _papers(table, "method", "hop"), paper)


def table3(rows: pd.DataFrame, paper: bool = True) -> pd.DataFrame:
    """Table 3: model, stage ("base", "stage 1"), ROUGE, judge, EM (train), EM_t (test), units."""
    table = measured(rows, ["model", "stage"], metrics.TABLE3, where="split", count=True)
    table = in_order(table, model=models_in_order(table), stage=STAGES)
    return _beside_paper(table, "table3", _papers(table, "stage"), paper)


def warning(rows: pd.DataFrame) -> str:
    """The sentence that a table about forgetting needs before it: who was not learned in stage 1,
    by its scored answers `rows` (metrics.memorised)."""
    memorised = metrics.memorised(rows)
    lost = memorised[~memorised.known]
    if lost.empty:
        return "Everybody was memorised in stage 1."
    people = lost.groupby("model", sort=False).identity.unique().map(list)
    names = "; ".join(f"{model}: {', '.join(who)}" for model, who in people.items())
    return (
        f"WARNING: {len(lost)} of {len(memorised)} (model, seed, person) were not memorised in "
        f"stage 1 (EM below {metrics.KNOWN} %), so that what is said here of forgetting them means "
        f"nothing. {names}"
    )


def _own(rows: pd.DataFrame, more: Mapping[str, tuple[str, str]]) -> Mapping[str, tuple[str, str]]:
    """`more`, checked (see table2)."""
    views = list(dict.fromkeys(view for view, _ in metrics.TABLE2.values()))
    for name, (view, column) in more.items():
        if name in (*MEASURES, *rows, "units", "units_retain", "not_learned"):
            raise ValueError(f"more: the name {name!r} is taken by another column; choose another")
        if view not in views:
            raise ValueError(
                f"more: {name} asks for the view {view!r}; there are {', '.join(views)}"
            )
        if column not in rows:
            raise ValueError(
                f"more: {name} asks for the column {column!r}, which the rows lack; add it with "
                f"rows.assign({column}=...)"
            )
    return more


def _chance(rows: pd.DataFrame) -> pd.DataFrame:
    """model, method, hop and each column of Table 2 that a guess has a value for."""
    if "candidates" not in rows:
        raise ValueError(
            "the rows lack the column candidates, which comes with answers that were ranked for "
            "Exposure (evaluate.exposure)"
        )
    guess = {
        "em": lambda n: 100 / n,
        "exposure": lambda n: metrics.exposure_chance(int(n)),
        "exposure_linear": lambda n: metrics.exposure_chance(int(n), "linear"),
    }
    columns = {}
    for column, (view, measure) in MEASURES.items():
        if measure in guess:
            part = rows[rows["view"] == view]
            # An attribute without candidates (splits.candidates) leaves nothing to guess among.
            level = {n: guess[measure](n) if n else np.nan for n in part.candidates.unique()}
            columns[column] = part.candidates.map(level).groupby([part.model, part.hop]).mean()
    return pd.DataFrame(columns).rename_axis(["model", "hop"]).reset_index().assign(method=CHANCE)


def _units(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """by..., units, units_retain: see table2."""
    people = rows.drop_duplicates([*by, "view", "seed", "identity"])
    counts = people.groupby([*by, "view"]).size().unstack("view").astype(float)
    found = counts.reindex(columns=["forget", "retain_eval"])
    return found.set_axis(["units", "units_retain"], axis=1).reset_index()


def _not_learned(rows: pd.DataFrame, of: list[str]) -> pd.DataFrame:
    """of..., not_learned: see table2."""
    before = rows[
        (rows["method"] == published.BEFORE) & rows["view"].isin(["forget", "test_forget"])
    ]
    lost = {key: (~metrics.memorised(part)["known"]).sum() for key, part in before.groupby(of)}
    index = pd.MultiIndex.from_tuples(lost, names=of)
    return pd.Series(lost, index, name="not_learned", dtype=float).reset_index()


def measured(
    rows: pd.DataFrame,
    by: list[str],
    measures: Mapping[str, tuple[str | None, str]],
    where: str | None = None,
    count: bool = False,
    resamples: int = 2000,
) -> pd.DataFrame:
    """by..., then mean and interval per column of `measures`: (value of the column `where`, column
    of the rows). After the judge's comes `judged_by`; if `count`, the last one's `units`."""
    needed = [*by, *([where] if where else []), "seed", "identity"]
    needed += dict.fromkeys(measure for _, measure in measures.values())
    needed += ["judged_by"] if "judge" in measures else []
    if missing := [name for name in needed if name not in rows]:
        raise ValueError(
            f"the rows lack the column(s) {', '.join(missing)}; score them with metrics.score and "
            "judge.score, and add model, seed and the rest with rows.assign(...)"
        )
    for name in {"model", "judged_by"} - {*by} & {*rows}:
        if len(met := rows[name].dropna().unique()) > 1:
            raise ValueError(f"{name} is {' and '.join(map(str, met))}: one table takes only one")
    table = rows[by].drop_duplicates()
    for column, (view, measure) in measures.items():
        part = rows if view is None else rows[rows[where] == view]
        part = metrics.summarise(part, by, measure, resamples).rename(
            columns={"mean": column, "lo": f"{column}_lo", "hi": f"{column}_hi"}
        )
        table = table.merge(part.drop(columns="units"), on=by, how="left")
        if column == "judge":
            table["judged_by"] = rows.judged_by.iloc[0]
    return table.merge(part[[*by, "units"]], on=by, how="left") if count else table


def models_in_order(table: pd.DataFrame) -> list[str]:
    """The models as met, those standing for the paper's 7B before those for its 13B."""
    size = {name: place for place, name in enumerate(published.MODELS)}
    met = list(dict.fromkeys(table.model))
    return sorted(met, key=lambda name: size.get(published.counterpart(name), -1))


def in_order(table: pd.DataFrame, **orders: Sequence[str]) -> pd.DataFrame:
    """Sort by the columns named, each in the order given; values not in it follow, as met."""
    places = table[list(orders)].copy()
    for column, order in orders.items():
        names = [*order, *(name for name in dict.fromkeys(table[column]) if name not in order)]
        places[column] = table[column].map(names.index)
    return table.loc[places.sort_values(list(orders)).index].reset_index(drop=True)


def _papers(table: pd.DataFrame, *names: str) -> pd.Series:
    """The paper's row keys, such as "llava-1.5-7b/GD/single"; missing where a part of it is."""
    return table.model.map(published.counterpart).str.cat([table[name] for name in names], sep="/")


def _beside_paper(
    table: pd.DataFrame, item: str, keys: pd.Series, paper: bool = True
) -> pd.DataFrame:
    """The table with the paper's numbers of an item, at its rows `keys`, after our intervals; empty
    where they are not of the same data (`paper` is false)."""
    printed = published.paper_table(item).reindex(keys if paper else [None] * len(keys))
    for column in printed:
        if f"{column}_hi" in table:
            place = table.columns.get_loc(f"{column}_hi") + 1
            table.insert(place, f"paper_{column}", printed[column].to_numpy())
    return table
