import pandas as pd
import pytest

from remem import runs
from remem.bench import cost, session
from remem.bench.session import Line
from remem.config import load_config


def measured(*lines):
    return pd.DataFrame([Line(*each) for each in lines])


def test_ratios_are_over_the_usual_way_the_products_and_gd():
    table = cost.ratios(
        measured(
            ("stage 1", "seconds a row", 0.2, "s"),
            ("stage 1", "seconds a row of its products alone", 0.16, "s"),
            ("stage 1, the usual way", "seconds a row", 0.3, "s"),
            ("answers", "seconds an answer", 0.01, "s"),
            ("answers, the usual way", "seconds an answer", 0.12, "s"),
            ("stage 2, GD", "peak above the network", 2.0, "GiB"),
            ("stage 2, DPO", "peak above the network", 3.0, "GiB"),
        )
    ).set_index(["thing", "against"])
    assert table.ratio["stage 1: a row", "the usual way"] == pytest.approx(1.5)
    assert table.ratio["an answer", "the usual way"] == pytest.approx(12)
    assert table.ratio["stage 1: a row", "its matrix products alone"] == pytest.approx(1.25)
    assert table.ratio["DPO: memory", "GD"] == pytest.approx(1.5)
    assert table.ours["an answer", "the usual way"] == pytest.approx(10)  # ms
    assert table.ours["DPO: memory", "GD"] == pytest.approx(3 * 1024)  # MiB
    assert table.ratio.isna().sum() == 4  # NPO and Exposure, and the memory of NPO and KL


def test_a_config_is_measured_once_whatever_its_outputs_are_called():
    config = load_config("smoke")
    one, other = (
        cost.CostRun.of(each) for each in (config, load_config("smoke", {"outputs": "x"}))
    )
    assert runs.name(one) == runs.name(other) and one.needs()[-1].kind == "stage1"
    micro = load_config("smoke", {"stage1": {"micro_batch": 2}})  # moves no result, and the cost
    assert runs.name(cost.CostRun.of(micro)) != runs.name(one)
    assert {*cost.WANTED} <= {*session.measures(config)}


def test_what_failed_is_not_kept(tmp_path, monkeypatch):
    line = Line("stage 1", session.FAILED, float("nan"), "ValueError: no")
    monkeypatch.setattr(session, "session", lambda *_, **__: iter([[line]]))
    run = cost.CostRun.of(load_config("smoke"))
    with pytest.raises(RuntimeError, match="stage 1: failed ValueError: no"):
        run.make(tmp_path, tmp_path)
    assert not [*tmp_path.iterdir()]
    good = Line("stage 1", "seconds a row", 0.25, "s")
    monkeypatch.setattr(session, "session", lambda *_, **__: iter([[good]]))
    run.make(tmp_path, tmp_path)
    assert run.read(tmp_path).value.tolist() == [0.25]
