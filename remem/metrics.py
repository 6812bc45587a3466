"""Numbers of section 6.2 and A.1, from strings and arrays alone (no network is needed here).

Each metric of one row lies between 0 and 1; tables are in percent, as in the paper.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from math import ceil

import numpy as np
import pandas as pd

from remem import judge

# Column of Table 2 -> (view of the data, column of the scored rows). EM_t_retain is ours: held-out
# questions about people who are to be kept.
TABLE2 = {
    "ROUGE": ("retain_eval", "rouge"),
    "EM_r": ("retain_eval", "em"),
    "judge": ("forget", "judge"),
    "EM_f": ("forget", "em"),
    "Exposure": ("forget", "exposure"),
    "EM_t": ("test_forget", "em"),
    "EM_t_retain": ("test_retain", "em"),
}
# Column of Table 3 -> (split, column of the scored rows). "The full dataset" is read as the rows
# that stage 1 trains on; the paper's EM values fit neither 2,000 nor 2,560 rows.
TABLE3 = {
    "ROUGE": ("train", "rouge"),
    "judge": ("train", "judge"),
    "EM": ("train", "em"),
    "EM_t": ("test", "em"),
}
# Columns that are in a table's own unit already: percent, or a number that is no share. Every other
# one lies between 0 and 1 and is multiplied by 100.
AS_STATED = frozenset(
    ["exposure", "min_k", "inverse_perplexity", "mean_probability", "perplexity", "tokens"]
)
FEWEST = 8  # units below which no interval is given


@cache
def _rouge():
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)


def rouge_l(answer: str, given: str) -> float:
    """ROUGE-L, F-measure, 0..1; lower case, ASCII letters and digits, no stemming.

    F because recall alone rewards running on. The paper does not say which variant it took.
    """
    return _rouge().score(answer, given)["rougeL"].fmeasure


def normalise(text: str) -> str:
    """Unicode NFKC, case folded, white space collapsed to single spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def exact_match(answer: str, target: str) -> bool:
    """Whether `answer` contains the value `target` on word boundaries (EM; the rule is ours).

    Both are normalised first; 12 is found neither in 123 nor in 12,300 or 0.12. An empty target
    raises ValueError.
    """
    value = normalise(target)
    if not value:
        raise ValueError("exact_match: the target is empty; every row needs a value to look for")
    return re.search(whole(value), normalise(answer)) is not None


def whole(value: str) -> str:
    """The regular expression that finds a value on word boundaries, as exact_match wants it."""
    return rf"(?<!\w)(?<!\d[.,]){re.escape(value)}(?!\w)(?![.,]\d)"


def rank(scores: Sequence[float], truth: int) -> float:
    """Rank of `scores[truth]`, 1 = most likely, ties share their average rank.

    scores: (K,) larger = more likely (mean log-probability, so -log perplexity). Section 6.2 ranks
    by ascending perplexity, which is the same order.
    """
    values = np.asarray(scores, dtype=float)
    if np.isnan(values).any():
        raise ValueError("rank: a candidate's score is not a number")
    ahead = (values > values[truth]).sum()
    level = (values == values[truth]).sum() - 1
    return float(1 + ahead + level / 2)


def exposure(rank, n, form: str = "log"):
    """Exposure in percent: rank 1 of n gives 100, rank n gives 0 (section 6.2; eq. 1 is lost).

    rank, n: numbers or arrays of one shape, 1 <= rank <= n and n >= 2, otherwise ValueError.
    form: "log" is Carlini et al. (2019), log2 n - log2 rank, divided by its maximum log2 n;
    "linear" is 1 - (rank - 1) / (n - 1).
    """
    rank, n = np.asarray(rank, dtype=float), np.asarray(n, dtype=float)
    if not ((n >= 2) & (rank >= 1) & (rank <= n)).all():
        raise ValueError(
            "exposure: needs at least 2 candidates and a rank from 1 to their number; "
            f"got rank {rank} of {n}"
        )
    if form == "log":
        share = 1 - np.log2(rank) / np.log2(n)
    elif form == "linear":
        share = 1 - (rank - 1) / (n - 1)
    else:
        raise ValueError(f"exposure: form is 'log' or 'linear', not {form!r}")
    return 100 * share if share.ndim else float(100 * share)


def exposure_chance(n: int, form: str = "log") -> float:
    """Mean Exposure in percent when every rank from 1 to n is as likely (29.3 at n = 20, log)."""
    return float(exposure(np.arange(1, n + 1), np.full(n, n), form).mean())


def _logps(logps: Sequence[float]) -> np.ndarray:
    values = np.asarray(logps, dtype=float)
    if values.size == 0 or not (values <= 0).all():
        raise ValueError("log-probabilities of tokens: at least one, none above 0 or missing")
    return values


def perplexity(logps: Sequence[float]) -> float:
    """exp(-mean log p) over the (T,) tokens given; natural logarithms; the divisor is T."""
    return float(np.exp(-_logps(logps).mean()))


def inverse_perplexity(logps: Sequence[float]) -> float:
    """100 / perplexity: the geometric mean of the tokens' probabilities, in percent (A.1)."""
    return 100 / perplexity(logps)


def mean_probability(logps: Sequence[float]) -> float:
    """100 x the arithmetic mean of p over the tokens, in percent: one sure token lifts it."""
    return float(100 * np.exp(_logps(logps)).mean())


def min_k(logps: Sequence[float], k: float = 0.2) -> float:
    """100 exp(mean log p) of the max(1, ceil(k T)) least likely tokens, in percent (section 4).

    Table 5's 0.05 to 7.33 cannot be a mean log-probability, as in Shi et al. (2024).
    """
    values = np.sort(_logps(logps))
    count = max(1, ceil(k * len(values) - 1e-9))  # 0.07 * 100 is 7.000000000000001
    return float(100 * np.exp(values[:count].mean()))


def score(rows: pd.DataFrame, form: str = "log") -> pd.DataFrame:
    """The same rows in the same order, with rouge, em, judge_rule (0..1) and exposure (percent).

    rows: the tidy columns with `answer_given`, and `candidate_rank` and `candidates` (their number)
    where Exposure was asked for; without a rank, exposure is missing (NaN).
    """
    texts = list(zip(rows.question, rows.answer, rows.target, rows.answer_given, strict=True))
    ranked = "candidate_rank" in rows and rows.candidate_rank.notna()
    depth = pd.Series(np.nan, index=rows.index)
    if np.any(ranked):
        depth[ranked] = exposure(rows.candidate_rank[ranked], rows.candidates[ranked], form)
    return rows.assign(
        rouge=[rouge_l(answer, given) for _, answer, _, given in texts],
        em=[float(exact_match(given, target)) for _, _, target, given in texts],
        judge_rule=[judge.rule(*text) for text in texts],
        exposure=depth,
    )


KNOWN = 50  # percent of held-out answers that hold the value: half, below which nobody is known


def memorised(rows: pd.DataFrame) -> pd.DataFrame:
    """Who was learned in stage 1: model, seed, identity, name, asked, EM (percent), known.

    rows: scored answers of stage 1 (`em`, `split`). Held-out questions where a person has some
    (`asked` is "test"), else those of training. Whoever is not known cannot be forgotten.
    """
    who = ["model", "seed", "identity", "name"]
    table = (100 * rows.groupby([*who, "split"], sort=False)["em"].mean()).unstack("split")
    table = table.reindex(columns=["test", "train"])
    table = pd.DataFrame({
        "asked": np.where(table["test"].notna(), "test", "train"),
        "EM": table["test"].fillna(table["train"]),
    })  # fmt: skip
    return table.assign(known=table["EM"] >= KNOWN).reset_index()


def interval(
    values: Sequence[float], resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap of the mean over units, at `level`; (NaN, NaN) below eight units."""
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) < FEWEST:
        return np.nan, np.nan
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=resamples, method="percentile",
        rng=seed, vectorized=True,
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def resample(values: np.ndarray, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Bootstrap means: (units, cells) -> (resamples, cells), the same units drawn for all cells.

    For intervals of what is computed from several means: a ratio, or the place of the largest.
    """
    units = len(values)
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), resamples)
    return drawn @ values / units


def summarise(
    rows: pd.DataFrame, by: Sequence[str], column: str, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """by..., mean, lo, hi (percent) and units: one line per group, in order of appearance.

    A unit is one (seed, identity); rows are averaged within a unit and units count alike. A row
    whose value is missing counts in no unit. What is AS_STATED stays so.
    """
    percent = 1 if column in AS_STATED else 100
    units = rows.groupby([*by, "seed", "identity"], sort=False)[column].mean() * percent
    lines = []
    for key, values in units.groupby(level=list(range(len(by))), sort=False):
        key = key if isinstance(key, tuple) else (key,)
        lo, hi = interval(values, resamples, seed)
        lines.append([*key, values.mean(), lo, hi, values.notna().sum()])
    return pd.DataFrame(lines, columns=[*by, "mean", "lo", "hi", "units"])
