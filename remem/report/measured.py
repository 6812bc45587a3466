"""What is measured of each precondition: lines of the table in report.preconditions, from the
scored rows that a notebook has at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from remem import metrics, paper, paths
from remem.paper import BASE, BEFORE, CHANCE
from remem.report.preconditions import NO, REAL, YES, Measured, after, line


def of_base(
    controls: pd.DataFrame, answers: pd.DataFrame, abilities: pd.DataFrame
) -> list[dict[str, Any]]:
    """P1 to P4 of the base models, a line for each model.

    controls: their scored answers with names and pictures exchanged (column `whose`); answers:
    their scored answers about the people of stage 1; abilities: `base_abilities.abilities`.
    """
    found = []
    for model in dict.fromkeys(answers["model"]):
        asked = controls[(controls["model"] == model) & (controls["whose"] == REAL)]
        found += _exchanged("base-", model, asked)
        seen = abilities[
            (abilities["model"] == model) & (abilities["ability"] == "recognising an unseen face")
        ]
        counted = Measured()
        if len(seen):
            counted = _proportion(seen["percent"].iloc[0], int(seen["n"].iloc[0]))
        found.append(line("one-shot", model, counted))
        own = answers[answers["model"] == model]
        refused = own.assign(refused=own["answer_given"].map(metrics.refuses).astype(float))
        found.append(line("refusals", model, _mean(refused, "refused")))
        found.append(line("base-em", model, _mean(own[own["split"] == "train"], "em")))
    return found


def of_stage1(
    controls: pd.DataFrame, answers: pd.DataFrame, ability: pd.DataFrame, scale: str
) -> list[dict[str, Any]]:
    """P1 to P3, P5 and P6 after stage 1, a line for each model.

    controls: as `of_base`, after stage 1 and of the base; answers: scored answers after stage 1;
    ability: rows of Table 4. P5 is what the log of this scale's rates of stage 1 says, where there
    is one (params/tuning_stage1.csv), of the tuning seed; else of the seeds reported.
    """
    found = []
    log = {model: (rows, name) for model, rows, name in _tried("tuning_stage1.csv", "base", scale)}
    for model in dict.fromkeys(answers["model"]):
        asked = controls[(controls["model"] == model) & (controls["method"] == BEFORE)]
        asked = asked[asked["whose"] != REAL]
        found += _exchanged("", model, asked)
        own = asked[asked["picture"] == "own"]
        hops = own.pivot_table(index=["seed", "identity"], columns="hop", values="em")
        gaps = 100 * (hops["single"] - hops["multi"]) if {"single", "multi"} <= {*hops} else []
        found.append(line("hops", model, _of_units(gaps)))
        trained = answers[(answers["model"] == model) & (answers["split"] == "train")]
        reported = _mean(trained, "em")
        if paper.counterpart(model) == paper.MODELS[0] or answers["model"].nunique() == 1:
            if model in log:
                tried, name = log[model]
                chosen = Measured(float(tried[name][tried["chosen"]].iloc[0]))
            else:
                chosen = reported
            found.append(line("training-em", model, chosen))
        found.append(line("training-em-reported", model, reported))
    return found + of_ability(ability, [BEFORE]) + of_real_set(controls, [BASE, BEFORE])


def of_ability(scores: pd.DataFrame, methods: Sequence[str]) -> list[dict[str, Any]]:
    """P6: what each model of `methods` lost of the base's general ability, paired by question.

    scores: the rows of Table 4, with model, method, identity (the question), plain.
    """
    found = []
    for model, rows in scores.groupby("model", sort=False):
        wide = rows.pivot_table(index="identity", columns="method", values="plain")
        for method in methods:
            if method in wide and BASE in wide:
                lost = _of_units(100 * (wide[method] - wide[BASE]))
                key = "ability" if method == BEFORE else "ability-after"
                found.append(line(key, str(model), lost, after(method)))
    return found


def of_real_set(controls: pd.DataFrame, methods: Sequence[str]) -> list[dict[str, Any]]:
    """P6: what is left of the Real Set in each model of `methods`; reported, without an aim."""
    keys = {"real-em": "em", "real-likeliest": "likeliest", "real-stage1-value": "stage1_value"}
    rows = controls[(controls["whose"] == REAL) & (controls["picture"] == "own")]
    return [
        line(key, str(model), _mean(part[part["method"] == method], column), after(method))
        for model, part in rows.groupby("model", sort=False)
        for method in methods
        for key, column in keys.items()
        if (part["method"] == method).any()
    ]


def of_stage2(ability: pd.DataFrame, scale: str, shared: int) -> list[dict[str, Any]]:
    """P6 after each method, P8 and P9.

    ability: the rows of Table 4; shared: how many refusals DPO teaches that the base has read.
    """
    methods = [each for each in ability["method"].unique() if each not in (BASE, BEFORE, CHANCE)]
    found = of_ability(ability, methods) + of_rate(scale)
    return [*found, line("refusals-shared", "all", Measured(float(shared)))]


def of_traces(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """P7: the largest total effect that a corruption has on the Real Set in the base.

    rows: of a causal trace, labelled model and set; total (0..1), corruption, identity, and
    `asked`, where names and facts are asked for apart.
    """
    real = rows[rows["set"] == REAL]
    by = ["corruption", *(["asked"] if "asked" in real else [])]
    found = []
    for model, part in real.groupby("model", sort=False):
        units = part.groupby([*by, "seed", "identity"], sort=False)["total"].mean()
        largest = max(
            (_of_units(100 * values) for _, values in units.groupby(level=by)),
            key=lambda measured: measured.value,
        )
        found.append(line("trace", str(model), largest))
    return found or [line("trace", str(model), Measured()) for model in rows["model"].unique()]


def of_rate(scale: str) -> list[dict[str, Any]]:
    """P8: stage 2's rate at this `scale`, the nearest to its aim between a smaller and a larger one
    that were tried from the same start (params/tuning.csv)."""
    found = []
    for model, rows, column in _tried("tuning.csv", "start", scale):
        place = int(np.flatnonzero(rows["chosen"])[0])
        beside = [rows.loc[k] for k in (place - 1, place + 1) if k in rows.index]
        said = " and ".join(f"{row[column]:z.1f} at {row['lr']:g}" for row in beside)
        value, met = Measured(float(rows[column][place])), YES if len(beside) == 2 else NO
        one = line("stage2-rate", model, value, f"{rows['lr'][place]:g}", met)
        aim = f"nearest to {rows['aim'][place]:z.1f}" if "aim" in rows else "nearest to the target"
        found.append(one | {"aim": f"{aim}; beside it {said or 'nothing was tried'}"})
    return found or [line("stage2-rate", "all", Measured(), "none")]


def _tried(file: str, start: str, scale: str) -> Iterator[tuple[str, pd.DataFrame, str]]:
    """Of a log of rates in params/, for each model at this `scale`: its name, the rates tried from
    the start of the chosen one, in order, and the column that the choice went by. Nothing where
    there is no log, or nothing was chosen."""
    path = paths.PARAMS / file
    if not path.is_file():
        return
    table = pd.read_csv(path)
    column = next(name for name in table if name.startswith("EM"))
    for model, rows in table[table["scale"] == scale].groupby("model", sort=False):
        for digest in rows[start][rows["chosen"]]:
            alike = rows[rows[start] == digest].sort_values("lr", ignore_index=True)
            yield str(model), alike, column


# ---------------------------------------------------------------- numbers


def _exchanged(prefix: str, model: str, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of P1 and P2: what is left of EM when something is exchanged, in percent of it."""
    wanted = {
        "name-swap": ("single", "another's", "em"),
        "no-picture": ("single", "none", "em"),
        "picture-swap": ("multi", "another's", "em_pictured"),
    }
    found = []
    for key, (hop, picture, column) in wanted.items():
        of_hop = rows[rows["hop"] == hop]
        parts = (
            (of_hop[of_hop["picture"] == "own"], "em"),
            (
                of_hop[of_hop["picture"] == picture],
                column,
            ),
        )
        own, other = (part.groupby(["seed", "identity"])[name].mean() for part, name in parts)
        found.append(line(prefix + key, model, _share(other, own)))
    return found


def _share(part: pd.Series, whole: pd.Series) -> Measured:
    """100 x the mean of `part` / that of `whole`, over the units that both have; 0 of nothing."""
    both = pd.concat([part, whole], axis=1, keys=["part", "whole"]).dropna()
    if both.empty:
        return Measured()
    over, under = both.mean()
    value = 100 * over / under if under else 0.0
    if len(both) < metrics.FEWEST or not under:
        return Measured(value)
    drawn = metrics.resample(both.to_numpy())
    drawn = drawn[drawn[:, 1] > 0]
    return Measured(value, *np.percentile(100 * drawn[:, 0] / drawn[:, 1], [2.5, 97.5]))


def _of_units(values: Sequence[float] | pd.Series) -> Measured:
    found = np.asarray(values, dtype=float)
    found = found[~np.isnan(found)]
    return Measured(found.mean(), *metrics.interval(found.tolist())) if len(found) else Measured()


def _mean(rows: pd.DataFrame, column: str) -> Measured:
    """Percent, units (seed, identity) alike."""
    return _of_units(100 * rows.groupby(["seed", "identity"])[column].mean())


def _proportion(percent: float, count: int) -> Measured:
    """Of so many answers, with Wilson's interval."""
    from scipy.stats import binomtest

    ends = binomtest(round(percent * count / 100), count).proportion_ci(method="wilson")
    return Measured(percent, 100 * ends.low, 100 * ends.high)
