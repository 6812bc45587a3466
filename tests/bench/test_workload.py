import math

import pytest

from remem import experiments
from remem.bench import workload
from remem.bench.workload import Rates
from remem.config import load_config


@pytest.fixture(scope="module")
def counts():
    """Table 2 of the 7B at scale paper, as the code that makes it has it."""
    config = load_config("paper")
    jobs = experiments.unlearning(config, models=["llava-1.5-7b"])
    return workload.counted(jobs).set_index("part")


def test_table_2_is_counted_from_its_runs(counts):
    # 20 people x 100 questions in 5 epochs; three stage 1s, five that leave four people out
    assert counts.loc["stage 1", ["runs", "steps", "rows"]].tolist() == [3, 3 * 160, 3 * 10_000]
    floor = counts.loc["retrained", ["runs", "steps", "rows"]].tolist()
    assert floor == [5, 5 * 125, 5 * 8_000]
    # 4 x 100 rows, in 7 steps an epoch; DPO and KL once more, in another reading
    assert counts.loc["NPO", ["runs", "steps", "rows"]].tolist() == [5, 5 * 35, 5 * 2_000]
    assert counts.loc["DPO", "runs"] == 6 and counts.loc["KL", "runs"] == 5
    assert counts.loc["KL, all positions", "runs"] == 1
    assert counts.loc["features", "pictures"] == 2_560


def test_so_are_answers_and_ranks(counts):
    views = 400 + 16 * 28 + 4 * 28 + 16 * 28  # forget, retain_eval, test_forget, test_retain
    whole = 2_560  # the base, and three stage 1s, of which Table 3 has all rows
    models = 5 + 5 * 5 + 2
    assert counts.loc["answers", "runs"] == 4 + models
    assert counts.loc["answers", "answers"] == 4 * whole + models * views
    assert counts.loc["answers", "ranked"] == 4 * 2_000 + models * 400


def test_hours_follow_from_rates(counts):
    methods = dict.fromkeys(("GA", "GD", "KL", "KL, all positions", "DPO", "NPO"), 0.2)
    rates = Rates(0.1, methods, 0.5, 0.05, 0.1, 0.01, 2.0)
    table = workload.hours(counts.reset_index(), rates).set_index("part")
    assert table.loc["stage 1", "hours"] * 3600 == pytest.approx(0.1 * 30_000 + 3 * 2)
    assert table.loc["NPO", "hours"] * 3600 == pytest.approx(0.2 * 10_000 + 5 * 2)
    answers, ranked, made = counts.loc["answers", ["answers", "ranked", "runs"]]
    slow, quick = (answers * each + ranked * 0.1 + made * 2 for each in (0.5, 0.05))
    assert table.loc["answers", "hours"] * 3600 == pytest.approx(slow)
    assert table.loc["answers", "hours_drafted"] * 3600 == pytest.approx(quick)
    assert table.loc["together", "hours"] == pytest.approx(table.hours[:-1].sum())
    missing = workload.hours(counts.reset_index(), rates._replace(ranked=None, stage2={}))
    missing = missing.set_index("part").hours
    assert missing.isna().sum() == 8 and math.isnan(missing["together"])
    assert missing["stage 1"] > 0
