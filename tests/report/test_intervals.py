from typing import Literal

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import stdtrit

from remem.report import intervals
from remem.report.contrasts import UNIT, Test
from remem.report.intervals import estimate

Rule = Literal["above", "beyond", "alike"]


def _index(count, runs=1):
    """`count` people, dealt out to runs."""
    people = [(f"r{i % runs}", i % runs, f"p{i:02d}") for i in range(count)]
    return pd.MultiIndex.from_tuples(people, names=UNIT)


def _numbers(values, runs=1):
    return pd.Series(np.asarray(values, dtype=float), _index(len(values), runs))


def _told(values, test, runs=1):
    return intervals.verdict([estimate({"": _numbers(each, runs)}) for each in values], test)


def _test(rule: Rule, margin) -> Test:
    return Test((), rule, margin)


AROUND = np.array([-1.5, -1, -0.5, -0.25, 0.25, 0.5, 1, 1.5])  # mean 0


@pytest.mark.parametrize(
    "rule, margin, mean, word",
    [
        ("above", 5, 3, "holds"),
        ("above", 5, -3, "reversed"),
        ("above", 5, 0.2, "smaller than the margin"),
        ("above", 0.5, 0.2, "cannot be told"),
        ("beyond", 10, 12, "holds"),
        ("beyond", 10, 10.2, "cannot be told"),
        ("beyond", 10, 5, "smaller than the margin"),
        ("beyond", 10, 0.2, "smaller than the margin"),
        ("beyond", 10, -3, "reversed"),
        ("alike", 5, 3, "holds"),
        ("alike", 5, 5.2, "cannot be told"),
        ("alike", 5, 8, "reversed"),
        ("alike", 5, -8, "reversed"),
    ],
)
def test_words(rule, margin, mean, word):
    found = _told([AROUND + mean], _test(rule, margin))
    assert found.word == word and found.mean == pytest.approx(mean)
    half = stats.t.ppf(0.975, 7) * AROUND.std(ddof=1) / np.sqrt(8)
    assert (found.lo, found.hi) == pytest.approx((mean - half, mean + half))


def test_p_agrees_with_the_interval():
    rng = np.random.default_rng(1)
    rules: list[tuple[Rule, int]] = [("above", 5), ("beyond", 1), ("alike", 1)]
    for rule, margin in rules:
        for _ in range(40):
            many = 1 if rule == "alike" else int(rng.integers(1, 4))
            sides = [rng.normal(rng.uniform(-2, 2), 1, 12) for _ in range(many)]
            found = _told(sides, _test(rule, margin))
            test = _test(rule, margin)
            if rule == "alike":
                decided = found.word in ("holds", "reversed")
            else:
                decided = found.lo > test.bound or found.hi < test.bound
            assert (found.p < 0.05) == decided


def test_below_eight_units_nothing_is_told():
    few = _told([AROUND[:7] + 50], _test("above", 5))
    assert (few.word, few.units) == ("cannot be told", 7) and np.isnan(
        [few.lo, few.hi, few.p]
    ).all()


def test_the_least_rival_decides():
    near, far = AROUND + 3, AROUND + 60
    found = _told([far, near], _test("above", 5))
    assert (found.word, found.mean, found.side) == ("holds", pytest.approx(3), 1)
    behind = _told([far, AROUND - 20], _test("above", 5))
    assert (behind.word, behind.side) == ("reversed", 1)  # highest of two is not highest of all
    # that the least of many falls short by chance is allowed for
    short = AROUND - 0.95
    assert _told([short], _test("above", 0.1)).word == "reversed"
    assert _told([short] + [far] * 15, _test("above", 0.1)).word == "cannot be told"


def test_the_interval_widens_where_runs_differ():
    values = np.tile(AROUND, 5)[:40]
    apart = values + 6 * (np.arange(40) % 5)
    alone, several = (estimate({"": _numbers(values, runs)}) for runs in (1, 5))
    assert (alone.runs, several.runs, several.people) == (1, 5, 40)
    noisy = estimate({"": _numbers(apart, 5)})
    means = apart.reshape(8, 5).mean(axis=0)
    assert noisy.error > means.std(ddof=1) / np.sqrt(5)
    assert noisy.df < 6 < alone.df == 39


def test_people_that_come_back_are_not_new_ones():
    index = pd.MultiIndex.from_tuples(
        [(f"r{r}", r, f"p{i}") for r in range(5) for i in range(8)], names=UNIT
    )
    noise = np.random.default_rng(0).normal(0, 0.01, 40)
    found = estimate({"": pd.Series(np.tile(8 * AROUND, 5) + noise, index)})
    assert (found.units, found.people, found.runs) == (40, 8, 5)
    assert found.error == pytest.approx(8 * AROUND.std(ddof=1) / np.sqrt(8), rel=0.01)
    assert found.df == pytest.approx(7, abs=0.2)


def test_the_same_answers_count_once():
    index = pd.MultiIndex.from_tuples(
        [(f"r{r}", r, f"p{i}") for r in range(5) for i in range(8)], names=UNIT
    )
    found = estimate({"": pd.Series(np.tile(AROUND, 5), index)})
    assert (found.units, found.runs) == (8, 1)
    own = pd.MultiIndex.from_tuples(  # networks of one person each, equal by chance
        [(f"{r}/p{i}", r, f"p{i}") for r in range(2) for i in range(8)], names=UNIT
    )
    assert estimate({"": pd.Series(np.tile(AROUND, 2), own)}).units == 16


# ---------------------------------------------------------------- how often the rule errs


def _false(people, runs, between_runs, draws, rng, skewed=False):
    """How often the rule says "holds", and "reversed", where the effect is 0."""
    code = np.arange(people)
    size = (draws, people)
    noise = rng.exponential(1, size) - 1 if skewed else rng.normal(0, 1, size)
    values = noise + (between_runs * rng.normal(0, 1, (draws, runs)))[:, code % runs]
    parts = intervals.variances(values, [code, code % runs])
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / many for part, many in parts)
    half = stdtrit(df, 0.975) * np.sqrt(variance)
    one = estimate({"": pd.Series(values[0], _index(people, runs))})
    assert one.bounds(0.025) == pytest.approx(
        (values[0].mean() - half[0], values[0].mean() + half[0])
    )
    return np.mean(values.mean(axis=1) > half), np.mean(values.mean(axis=1) < -half)


@pytest.mark.parametrize(
    "people, runs, between_runs, skewed",
    [
        (8, 1, 0.0, False),
        (20, 1, 0.0, False),
        (20, 5, 0.0, False),
        (20, 5, 0.5, False),  # runs differ half as much as people do
        (20, 3, 0.3, False),
        (20, 5, 0.3, True),
    ],
)
def test_false_holds_are_no_more_than_nominal(people, runs, between_runs, skewed):
    draws, nominal = 10_000, 0.025
    rng = np.random.default_rng(people + runs)
    holds, reverses = _false(people, runs, between_runs, draws, rng, skewed)
    noise = 3 * np.sqrt(nominal * (1 - nominal) / draws)
    assert holds <= nominal + noise and (skewed or reverses <= nominal + noise)


def test_the_highest_of_five_equals_is_seldom_called_highest_or_reversed():
    rng = np.random.default_rng(0)
    words = []
    for _ in range(200):
        mine, *others = rng.normal(0, 1, (5, 20))
        words.append(_told([mine - other for other in others], _test("above", 0.01)).word)
    assert words.count("holds") <= 2 and words.count("reversed") <= 0.025 * 200 + 7


def test_a_percentile_bootstrap_would_hold_too_often():
    """What 0.2 did: at eight units twice the nominal 2.5 %."""
    rng = np.random.default_rng(0)
    data = rng.normal(0, 1, (2000, 8))
    drawn = rng.integers(0, 8, (400, 8))
    lows = np.quantile(data[:, drawn].mean(axis=2), 0.025, axis=1)
    assert np.mean(lows > 0) > 0.04
