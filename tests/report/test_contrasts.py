import numpy as np
import pandas as pd
import pytest
from scipy import stats

from remem.report import intervals
from remem.report.contrasts import (
    UNIT,
    Between,
    Change,
    Contrast,
    Correlation,
    Excess,
    Matched,
    Pooled,
    Side,
    Trend,
    above,
    alike,
    beyond,
    mean_of,
)
from remem.report.intervals import estimate


def _index(count, runs=1):
    """`count` people, dealt out to runs."""
    people = [(f"r{i % runs}", i % runs, f"p{i:02d}") for i in range(count)]
    return pd.MultiIndex.from_tuples(people, names=UNIT)


def _numbers(values, runs=1):
    return pd.Series(np.asarray(values, dtype=float), _index(len(values), runs))


def _cells(column, **rows):
    """Cells of one column: row key -> one number per person, all of one run."""
    return {column: pd.DataFrame({row: _numbers(values) for row, values in rows.items()})}


def test_differences_are_paired_within_units():
    index = _index(3)
    table = {"a": [9.0, 5, 7], "b": [1.0, 2, np.nan], "c": [3.0, 4, 5]}
    cells = {"EM_f": pd.DataFrame(table, index)}
    assert Contrast("EM_f", "a", ("b",)).groups(cells)[""].tolist() == [8, 3]
    assert Contrast("EM_f", "a", ("b", "c")).groups(cells)[""].tolist() == [7, 2]
    assert Contrast("EM_f", "a", ("never run",)).groups(cells) == {}


def test_a_mean_is_over_the_cells_that_a_unit_has():
    cells = _cells("EM", a=[4.0, 6, 8], b=[1.0, 1, 1], c=[2.0, 2])
    both = [Contrast("EM", "a", (other,)).groups(cells) for other in ("b", "c")]
    assert mean_of(both)[""].tolist() == [2.5, 4.5, 7]


def test_correlation_meets_a_seeds_mean():
    people = [("r1", 1, f"p{i}") for i in (8, 9, 0, 1, 2)]
    kept, lost = (pd.MultiIndex.from_tuples(p, names=UNIT) for p in (people[:2], people[2:]))
    cells = {
        "EM_r": pd.DataFrame([[0.0, 30, 40], [20.0, 10, 20]], kept, list("abc")),  # 10, 20, 30
        "EM_f": pd.DataFrame([[1.0, 2, 3], [3.0, 2, 1], [5.0, 5, 5]], lost, list("abc")),
    }
    found = Correlation("EM_r", "EM_f", tuple("abc")).groups(cells)[""]
    assert found.tolist() == pytest.approx([1, -1])  # the third is constant: no correlation
    assert Correlation("EM_r", "EM_f", tuple("abd")).groups(cells) == {}


def test_a_number_is_a_level():
    cells = _cells("EM", low=[10.0, 20] * 4)
    assert Contrast("EM", 50, ("low",)).groups(cells)[""].mean() == 35
    assert Contrast("EM", 50, ("never run",)).groups(cells) == {}
    assert Between("EM", 50, "low").groups(cells)["low"].mean() == 35
    assert Between("EM", "low", 50).groups(cells)["low"].mean() == -35
    assert Between("EM", 50, "never run").groups(cells) == {}


NEAR, FAR = [1.0, 9, 5, 3, 7, 2, 8, 5, 4, 6], [11.0, 19, 15, 13, 17, 12, 18, 15, 14, 16]


def test_people_called_alike_are_not_paired():
    cells = _cells("min_k", a=FAR, b=NEAR, c=NEAR)
    # paired, the difference would be 10 for everybody, without any spread
    found = estimate(Between("min_k", "a", "b").groups(cells))
    welch = stats.ttest_ind(FAR, NEAR, equal_var=False)
    assert found.mean == 10 and 2 * found.tails(0)[0] == pytest.approx(welch.pvalue)
    both = estimate(mean_of([Between("min_k", "a", other).groups(cells) for other in "bc"]))
    assert both.mean == 10 and both.error == pytest.approx(found.error * np.sqrt(0.75))
    few = _cells("min_k", a=FAR, b=NEAR[:7])
    assert estimate(Between("min_k", "a", "b").groups(few)).units == 7  # eight in each


def test_excess_is_a_difference_of_differences():
    cells = _cells("EM", a5=[90.0] * 9, a20=[60.0] * 9, b5=[80.0] * 9, b20=[70.0] * 8)
    steep, flat = Contrast("EM", "a5", ("a20",)), Contrast("EM", "b5", ("b20",))
    assert Excess(steep, flat).groups(cells)[""].tolist() == [20] * 8  # b20 lacks one person
    assert Excess(flat, steep).column == "EM"


def test_change_is_that_of_the_line_of_least_squares():
    cells = _cells("EM", r5=[1.0, 2, 3], r10=[2.0, 9], r20=[4.0, 4])
    found = Change("EM", ("r5", "r10", "r20"), (5, 10, 20)).groups(cells)[""]
    slopes = [np.polyfit([5, 10, 20], y, 1)[0] for y in ([1, 2, 4], [2, 9, 4])]
    assert found.tolist() == pytest.approx([15 * slope for slope in slopes])
    back = Change("EM", ("r20", "r10", "r5"), (20, 10, 5)).groups(cells)[""]
    assert back.tolist() == pytest.approx((-found).tolist())
    missing = Change("EM", ("r5", "r15", "r20"), (5, 15, 20)).groups(cells)[""]
    assert missing.tolist() == pytest.approx([3, 2])  # what lies between need not be there


def test_trend():
    cells = _cells("EM", x20=[1.0, 1, 5, 3, 4], x40=[2.0, 8, 5, 2], x60=[4.0, 4, 5, 1])
    found = Trend("EM", ("x20", "x40", "x60")).groups(cells)[""]
    # rises; up and down again; a constant has no trend; falls; one row alone is none
    assert found.tolist() == pytest.approx([1, 0.5, 0, -1])
    falling = Trend("EM", ("x60", "x40", "x20")).groups(cells)[""]
    assert falling.tolist() == pytest.approx([-1, -0.5, 0, 1])


def test_points_of_a_grid_need_not_all_be_run():
    cells = _cells("EM", a5=[9.0, 8], b5=[1.0, 1], a20=[5.0, 5, 5], b20=[3.0, 3, 3])
    pairs = tuple(Contrast("EM", f"a{n}", (f"b{n}",)) for n in (5, 10, 20))
    assert Pooled(pairs).groups(cells)[""].tolist() == [5, 4.5, 2]
    part = Trend("EM", ("a5", "a10", "a20"))
    assert part.groups(cells)[""].tolist() == pytest.approx([-1, -1])
    assert Trend("EM", ("a5", "a20", "a25")).groups(cells) == {}  # an end was not run


def test_matched_reads_both_ways_where_forgetting_is_equal():
    people = pd.MultiIndex.from_tuples([("1", 1, "p0"), ("1", 1, "p1")], names=UNIT)
    forgotten = {"m/A/0": 90.0, "m/A/1": 50, "m/A/2": 10, "m/B/0": 90, "m/B/1": 70, "m/B/2": 30}
    kept = {"m/A/0": 100.0, "m/A/1": 80, "m/A/2": 0, "m/B/0": 100, "m/B/1": 60, "m/B/2": 40}
    cells = {
        "EM_f": pd.DataFrame(forgotten, people[:1]),
        "EM_r": pd.DataFrame([kept, {k: v + 1 for k, v in kept.items()}], people),
    }
    # B reaches 30; A is there half-way through its second epoch
    assert Matched("EM_r", "m/A", "m/B").groups(cells)[""].tolist() == pytest.approx([0, 0])
    cells["EM_f"]["m/B/2"] = 50.0
    assert Matched("EM_r", "m/A", "m/B").groups(cells)[""].tolist() == pytest.approx([40, 40])
    assert Matched("EM_r", "m/A", "m/C").groups(cells) == {}
    never = cells | {"EM_f": cells["EM_f"].assign(**{"m/B/1": 95.0, "m/B/2": 99.0})}
    assert Matched("EM_r", "m/A", "m/B").groups(never)[""].tolist() == [0, 0]  # both at the start


def test_a_column_that_was_not_run_gives_nothing():
    one = Contrast("EM", "a", ("b",))
    for part in (
        one,
        Excess(one, one),
        Change("EM", ("a", "b"), (1, 2)),
        Trend("EM", ("a", "b")),
        Pooled((one,)),
        Between("EM", "a", "b"),
        Correlation("EM", "EM", ("a", "b")),
        Matched("EM", "a", "b"),
    ):
        assert part.groups({}) == {}, part
        assert part.column
    assert intervals.estimate({}).units == 0


def test_tests_say_when_a_number_bears_them_out():
    side = Side("", ())
    assert above(side).bears_out(0.1) and not above(side).bears_out(0)
    assert beyond(side, margin=10).bears_out(10.1) and not beyond(side, margin=10).bears_out(9)
    assert alike(side, margin=2).bears_out(-1.9) and not alike(side, margin=2).bears_out(-2.1)
