"""Table 2 fact by fact: what stage 1 had really taught, what is erased of it, which values fall
first, and what the numbers hang on. Rows and columns are those of `tables`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from remem import metrics
from remem import paper as published
from remem.report.tables import ENDS, MEASURES, METHODS, in_order, measured, models_in_order


def by_attribute(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 2 per attribute: model, method, attribute, hop, then the columns of Table 2, and
    value_tokens, the mean length of the values to forget.

    An average hides which secret leaks: e-mail addresses and jobs are not forgotten alike.
    """
    by = ["model", "method", "attribute", "hop"]
    table = measured(rows, by, MEASURES, where="view")
    tokens = rows[rows["view"] == "forget"].groupby(by)["value_tokens"].mean().reset_index()
    table = table.merge(tokens, on=by, how="left")
    return in_order(
        table, model=models_in_order(table), method=METHODS, attribute=(), hop=published.HOPS
    )


def mark_taught(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of Table 2 with `taught`: whether stage 1 had really taught the fact that a row asks
    for, by the answers before unlearning (metrics.taught)."""
    known = metrics.taught(rows[rows["method"] == published.BEFORE])
    rows = rows.drop(columns="taught", errors="ignore")
    rows = rows.merge(known[[*metrics.FACT, "taught"]], on=metrics.FACT, how="left")
    return rows.assign(taught=rows["taught"].eq(True))


def table2_taught(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 2 of taught facts alone: model, method, hop, its columns but for ROUGE and the judge,
    and how many facts of the forgotten were taught (`taught`), of how many (`facts`).

    rows: as `mark_taught` gives them. A fact that was never learned cannot be forgotten, and lowers
    EM_f before any unlearning.
    """
    by = ["model", "method", "hop"]
    measures = {name: where for name, where in MEASURES.items() if name not in ("ROUGE", "judge")}
    table = measured(rows[rows["taught"]], by, measures, where="view")
    facts = rows[rows["view"] == "forget"].drop_duplicates([*by, *metrics.FACT])
    counts = facts.groupby(by)["taught"].agg(taught="sum", facts="size").reset_index()
    table = counts.merge(table, on=by, how="left")
    table = table[[*by, *(name for name in table if name not in (*by, "taught", "facts"))]].join(
        table[["taught", "facts"]]
    )
    return in_order(table, model=models_in_order(table), method=METHODS, hop=published.HOPS)


NO_GAP = "before and retrained do not differ"


def erased(rows: pd.DataFrame) -> pd.DataFrame:
    """How much of what can be erased is: model, method, hop, then of each measure of the forget
    rows its mean and `_erased`, the share in percent with its interval; units; note.

    0 is the model before unlearning, 100 the retrained one: 100 (before - x) / (before -
    retrained). The three means are resampled over the same (seed, identity). Where the interval of
    before - retrained holds 0 there is nothing to have a share of: the share is empty, and `note`
    says so. Below eight units there is no interval, and a share only where the difference is above
    0.
    """
    measures = {"EM_f": "em", "Exposure": "exposure", "Exposure_linear": "exposure_linear"}
    measures |= {"logp": "logp"}
    forget, lines = rows[rows["view"] == "forget"], []
    for (model, hop), part in forget.groupby(["model", "hop"], sort=False):
        units = part.groupby(["method", "seed", "identity"], sort=False)[[*measures.values()]]
        units = units.mean().unstack("method")
        ends = (published.BEFORE, published.RETRAINED)
        for method in dict.fromkeys(part["method"]):
            line = {"model": model, "method": method, "hop": hop}
            without = []
            for name, measure in measures.items():
                scale = 1 if measure in metrics.AS_STATED else 100
                three = units[measure].reindex(columns=[ends[0], method, ends[1]]).dropna() * scale
                found = _share_erased(three.to_numpy())
                without += [name] if len(three) and np.isnan(found[0]) else []
                line[name] = scale * units[measure, method].mean()
                line |= dict(zip((f"{name}_erased{end}" for end in ENDS), found, strict=True))
            line["units"] = units["em", method].count()
            line["note"] = f"{NO_GAP}: {', '.join(without)}" if without else ""
            lines.append(line)
    table = pd.DataFrame(lines)
    return in_order(table, model=models_in_order(table), method=METHODS, hop=published.HOPS)


def _share_erased(three: np.ndarray) -> tuple[float, float, float]:
    """(units, 3) before, x, retrained -> the share erased, its interval; NaN as in `erased`."""
    if not len(three) or (gap := three[:, 0].mean() - three[:, 2].mean()) <= 0:
        return np.nan, np.nan, np.nan
    share = 100 * (three[:, 0].mean() - three[:, 1].mean()) / gap
    if len(three) < metrics.FEWEST:
        return share, np.nan, np.nan
    before, x, retrained = metrics.resample(three).T
    if np.percentile(before - retrained, 2.5) <= 0:
        return np.nan, np.nan, np.nan
    lo, hi = np.percentile(100 * (before - x) / (before - retrained), [2.5, 97.5])
    return share, float(lo), float(hi)


def sensitivity(rows: pd.DataFrame, varied: pd.DataFrame) -> pd.DataFrame:
    """How far Table 2 hangs on what the paper leaves open: varied, setting, method, hop, EM_r,
    EM_f, Exposure, Exposure_linear; of one model and seed.

    rows: those of Table 2 of that model and seed, whose answers are scored by each of
    metrics.EM_RULES (Exposure does not depend on them). varied: those of
    experiments.sensitivity, labelled varied and setting.
    """
    rows, parts = rows[rows["method"].isin(METHODS)], [varied]
    texts = [rows[name].tolist() for name in ("answer_given", "answer", "target")]
    for name, rule in metrics.EM_RULES.items():
        em = metrics.em(rows) if name == metrics.OURS else [*map(float, map(rule, *texts))]
        parts.append(rows.assign(em=em, varied="EM rule", setting=name))
    rows = pd.concat(parts, ignore_index=True)
    by = ["varied", "setting", "method", "hop"]
    table = rows[by].drop_duplicates()
    for name in ("EM_r", "EM_f", "Exposure", "Exposure_linear"):
        view, measure = MEASURES[name]
        part = metrics.summarise(rows[rows["view"] == view], by, measure)
        table = table.merge(part[[*by, "mean"]].rename(columns={"mean": name}), on=by, how="left")
    return in_order(table, varied=(), method=METHODS, setting=(), hop=published.HOPS)
