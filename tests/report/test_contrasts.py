import numpy as np
import pandas as pd
import pytest

from remem.report import contrasts
from remem.report.contrasts import Between, Contrast, Correlation, Excess, Trend


def _cells(column, **rows):
    """Cells of one column: row key -> one number per person, all of seed 1."""
    people = [(1, f"p{i:02d}") for i in range(max(map(len, rows.values())))]
    index = pd.MultiIndex.from_tuples(people, names=["seed", "identity"])
    table = {
        row: pd.Series(values, index[: len(values)], dtype=float) for row, values in rows.items()
    }
    return {column: pd.DataFrame(table, index)}


def told(part, cells, **options):
    return contrasts.verdict(part.groups(cells), part.margin, **options)


def test_verdict():
    high, low, mixed = [6.0, 7, 8, 9] * 2, [-6.0, -7, -8, -9] * 2, [-9.0, 9] * 4
    assert contrasts.verdict([high], 5).word == "holds"
    assert contrasts.verdict([high], 7).word == "cannot be told"  # the interval spans the margin
    assert contrasts.verdict([high], 9).word == "does not hold"
    assert contrasts.verdict([low], 0).word == "does not hold"
    assert contrasts.verdict([low], -10).word == "holds"
    assert contrasts.verdict([mixed], 0).word == "cannot be told"
    assert contrasts.verdict([[0.0] * 8], 0).word == "does not hold"  # no difference is not above 0
    few = contrasts.verdict([high[:7]], 0)
    assert (few.word, few.units) == ("cannot be told", 7)
    assert np.isnan([few.lo, few.hi]).all()
    assert contrasts.verdict([[]], 0).word == "cannot be told"


SHORT = [-2.0, -1.6, -1.3, -1.0, -0.8, -0.4, -0.1, 0.1, 0.5, 0.8]  # mean -0.58


def test_one_of_many_contrasts_may_fall_short_by_chance():
    alone, among = (contrasts.verdict([SHORT], 0, contrasts=m) for m in (1, 32))
    assert (alone.word, among.word) == ("does not hold", "cannot be told")
    assert among.lo == alone.lo and among.hi > 0 >= alone.hi
    beyond_chance = contrasts.verdict([SHORT], 2, contrasts=32)
    assert beyond_chance.word == "does not hold"
    # but all of many have to hold, which takes no correction
    assert contrasts.verdict([[-x for x in SHORT]], 0, contrasts=32).word == "holds"


def test_differences_are_paired_within_units():
    index = pd.MultiIndex.from_tuples([(1, "p0"), (1, "p1"), (2, "p0")], names=["seed", "identity"])
    table = {"a": [9.0, 5, 7], "b": [1.0, 2, np.nan], "c": [3.0, 4, 5]}
    cells = {"EM_f": pd.DataFrame(table, index)}
    assert Contrast("EM_f", "a", ("b",)).groups(cells)[0].tolist() == [8, 3]
    assert Contrast("EM_f", "a", ("b", "c")).groups(cells)[0].tolist() == [7, 2]
    assert Contrast("EM_f", "a", ("never run",)).groups(cells)[0].empty


def test_correlation_meets_a_seeds_mean():
    kept = pd.MultiIndex.from_tuples([(1, "p8"), (1, "p9")], names=["seed", "identity"])
    lost = pd.MultiIndex.from_tuples([(1, "p0"), (1, "p1"), (1, "p2")], names=["seed", "identity"])
    cells = {
        "EM_r": pd.DataFrame([[0.0, 30, 40], [20.0, 10, 20]], kept, list("abc")),  # 10, 20, 30
        "EM_f": pd.DataFrame([[1.0, 2, 3], [3.0, 2, 1], [5.0, 5, 5]], lost, list("abc")),
    }
    [found] = Correlation("EM_r", "EM_f", tuple("abc")).groups(cells)
    assert found.tolist() == pytest.approx([1, -1])  # the third is constant: no correlation
    assert Correlation("EM_r", "EM_f", tuple("abd")).groups(cells)[0].empty


def test_a_number_is_a_level():
    cells = _cells("EM", low=[10.0, 20] * 4, high=[80.0, 90] * 4)
    below, above = Contrast("EM", 50, ("low",)), Contrast("EM", "high", (50,))
    assert [told(part, cells).word for part in (below, above)] == ["holds"] * 2
    assert told(below, cells).mean == told(above, cells).mean == 35
    assert told(Contrast("EM", 50, ("high",)), cells).word == "does not hold"
    assert str(below) == "EM: 50 - low"
    assert Contrast("EM", 50, ("never run",)).groups(cells)[0].empty


NEAR, FAR = [1.0, 9, 5, 3, 7, 2, 8, 5, 4, 6], [11.0, 19, 15, 13, 17, 12, 18, 15, 14, 16]


@pytest.mark.parametrize(
    "left, right, margin, word",
    [
        (FAR, NEAR, 0, "holds"),
        (FAR, NEAR, 10, "cannot be told"),
        (FAR, NEAR, 15, "does not hold"),
        (NEAR, FAR, 0, "does not hold"),
        (FAR, NEAR[:7], 0, "cannot be told"),  # eight in each
        (FAR, [], 0, "cannot be told"),
    ],
)
def test_between_sets_of_different_people(left, right, margin, word):
    part = Between("min_k", "Real Set", "ReMem", margin)
    found = told(part, _cells("min_k", **{"Real Set": left, "ReMem": right}))
    assert (found.word, found.units) == (word, min(len(left), len(right)))


def test_people_called_alike_are_not_paired():
    # paired, the difference would be 10 for everybody, without any spread
    found = told(Between("min_k", "a", "b"), _cells("min_k", a=FAR, b=NEAR))
    assert found.mean == 10 and found.lo < 9 and found.hi > 11
    one_less = told(Between("min_k", "a", "b"), _cells("min_k", a=FAR[1:], b=NEAR))
    assert one_less.mean == pytest.approx(np.mean(FAR[1:]) - np.mean(NEAR))


def test_excess_is_a_difference_of_differences():
    cells = _cells("EM", a5=[90.0] * 9, a20=[60.0] * 9, b5=[80.0] * 9, b20=[70.0] * 8)
    steep, flat = Contrast("EM", "a5", ("a20",)), Contrast("EM", "b5", ("b20",))
    found = told(Excess(steep, flat), cells)
    assert (found.word, found.mean, found.units) == ("holds", 20, 8)  # b20 lacks one person
    assert told(Excess(flat, steep), cells).word == "does not hold"
    assert Excess(steep, flat).column == "EM" and Excess(steep, flat).unit == "points"


def test_trend():
    cells = _cells("EM", x20=[1.0, 1, 5, 3, 4], x40=[2.0, 8, 5, 2], x60=[4.0, 4, 5, 1])
    [found] = Trend("EM", ("x20", "x40", "x60")).groups(cells)
    # rises; up and down again; a constant has no trend; falls; and one row alone is none
    assert found.tolist() == pytest.approx([1, 0.5, 0, -1])
    [falling] = Trend("EM", ("x60", "x40", "x20")).groups(cells)
    assert falling.tolist() == pytest.approx([-1, -0.5, 0, 1])


def test_a_trend_takes_the_rows_that_a_unit_has():
    cells = _cells("EM_f", r20=[1.0, 2, 9], r15=[3.0, 1], r5=[7.0])
    [found] = Trend("EM_f", ("r20", "r15", "r10", "r5")).groups(cells)
    assert found.tolist() == pytest.approx([1, -1])
    assert Trend("EM_f", ("r10",)).groups(cells)[0].empty


def test_trend_against_a_margin():
    rising = {f"x{n}": [float(n + i) for i in range(8)] for n in range(5)}
    noisy = {f"x{n}": [float((n * k) % 5) for k in range(1, 9)] for n in range(5)}
    part = Trend("EM", tuple(rising), 0.5)
    assert told(part, _cells("EM", **rising)).word == "holds"
    assert told(part, _cells("EM", **noisy)).word == "cannot be told"
    falling = Trend("EM", tuple(rising)[::-1], 0.5)
    assert told(falling, _cells("EM", **rising)).word == "does not hold"


def test_a_column_that_was_not_run_gives_nothing():
    one = Contrast("EM", "a", ("b",))
    parts = (
        one,
        Excess(one, one),
        Trend("EM", ("a", "b")),
        Between("EM", "a", "b"),
        Correlation("EM", "EM", ("a", "b")),
    )
    for part in parts:
        assert all(group.empty for group in part.groups({})), part
        assert contrasts.verdict(part.groups({}), 0).word == "cannot be told"
    assert one.unit == "points" and Contrast("perplexity", "a", ("b",)).unit == "perplexity"
