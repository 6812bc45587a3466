import numpy as np
import pandas as pd
import pytest

from remem import metrics
from remem.report import exposure


@pytest.fixture
def rows():
    """Right answers at rank 1, wrong ones at 4 of 16: Exposure 50 (log), 80 (linear)."""
    table = pd.DataFrame(
        [
            {"hop": hop, "em": float(k < 3), "candidate_rank": 1.0 if k < 3 else 4.0}
            for hop in ("single", "multi")
            for k in range(10)
        ]
    )
    table["exposure"] = metrics.exposure(table.candidate_rank, np.full(len(table), 16))
    table["exposure_linear"] = metrics.exposure(
        table.candidate_rank, np.full(len(table), 16), "linear"
    )
    return table


def test_levels_of_right_and_wrong_answers(rows):
    table = exposure.levels(rows)
    assert table.loc[("single", "right")].tolist() == [3, 100, 100, 100]
    assert table.loc[("multi", "wrong")].tolist() == pytest.approx([7, 0, 50, 80])


def test_predictions_by_hand(rows):
    table = exposure.predictions(exposure.levels(rows)).set_index("row")
    assert table.source.value_counts().to_dict() == {
        "paper, 7B": 10,
        "paper, 13B": 10,
        "PAVA, 7B": 5,
    }
    ga = table.loc["llava-1.5-7b/GA/single"]  # 27.14 and 52.26 are printed
    assert ga.log_measured == pytest.approx(27.14 + 0.7286 * 50)
    assert ga.linear_measured == pytest.approx(27.14 + 0.7286 * 80)
    assert ga.residual_log == pytest.approx(6.45, abs=0.01)
    assert table.residual_linear["llava-1.5-7b/before unlearning/multi"] < -35


def test_the_fit_of_the_assumption_is_what_was_found(rows):
    table = exposure.fit(exposure.predictions(exposure.levels(rows)))
    fitted = table.set_index(["source", "ranks", "formula"])
    assert fitted.RMSE["paper, both", "assumed", "log"] == pytest.approx(4.6, abs=0.05)
    assert fitted.bias["paper, both", "assumed", "linear"] == pytest.approx(-11.4, abs=0.05)
    assert fitted.n["PAVA, 7B", "measured", "log"] == 5
    assert exposure.verdict(table) == "open"


def test_a_formula_is_settled_only_where_it_is_near_everywhere():
    def verdict(log, linear):
        lines = [
            {"source": source, "ranks": ranks, "formula": formula, "RMSE": rmse}
            for (source, ranks), rmses in zip(
                [(s, r) for s in ("paper, both", "PAVA, 7B") for r in ("assumed", "measured")],
                zip(log, linear, strict=True),
                strict=True,
            )
            for formula, rmse in zip(("log", "linear"), rmses, strict=True)
        ]
        return exposure.verdict(pd.DataFrame(lines))

    assert verdict([1, 2, 3, 4], [9, 9, 9, 9]) == "log"
    assert verdict([9, 9, 9, 9], [1, 2, 3, 4]) == "linear"
    assert verdict([1, 2, 3, 6], [9, 9, 9, 9]) == "open"
    assert verdict([1, 2, 3, 4], [9, 9, 9, 3]) == "open"
    assert verdict([1, 2, 3, np.nan], [9, 9, 9, 9]) == "open"


def test_where_nothing_was_right_nothing_is_measured(rows):
    table = exposure.predictions(exposure.levels(rows[rows.em == 0]))
    assert table.log_measured.isna().all() and table.log.notna().all()
    assert exposure.verdict(exposure.fit(table)) == "open"
