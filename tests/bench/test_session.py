import os

import pandas as pd
import pytest
import torch

from remem import __main__
from remem.bench import session
from remem.bench.session import Line
from remem.bench.subject import Source
from remem.config import load_config


@pytest.fixture
def source():
    return Source(load_config("paper"), "narrow")


def measures_of(**named):
    return lambda config: {name.replace("_", " "): each for name, each in named.items()}


def too_large(subject):
    yield "first", 1.0, "s"
    raise torch.OutOfMemoryError("of the card")


def broken(subject):
    raise ValueError("the way\nout")
    yield


def fine(subject):
    yield "seconds a row", 0.5, "s"


def test_what_goes_wrong_is_a_line_and_the_next_is_measured(source, monkeypatch):
    monkeypatch.setattr(session, "measures", measures_of(large=too_large, bad=broken, stage_1=fine))
    monkeypatch.setattr(session, "made", lambda source: None)
    monkeypatch.setattr(session, "apart", session.measured)
    said: list[str] = []
    lines = [*session.session(source, session.names(source), say=said.append)]
    [first, large], [bad], [good] = lines
    assert first.value == 1.0 and large.quantity == session.DOES_NOT_FIT
    assert bad.quantity == session.FAILED and bad.unit == "ValueError: the way out"
    assert good == Line("stage 1", "seconds a row", 0.5, "s")
    assert said[1] == "large: does not fit" and said[-1] == "stage 1: seconds a row 0.5 s"
    late = [*session.session(source, ["stage 1"], seconds=0, say=said.append)]
    assert late[0][0].quantity == session.NOT_REACHED


def test_each_number_is_in_the_file_before_the_next_is_measured(tmp_path, monkeypatch):
    seen = []

    def looks(subject):
        file = tmp_path / "bench_narrow.csv"
        seen.append(len(pd.read_csv(file)) if file.exists() else 0)
        yield "seconds a row", 0.1 * len(seen), "s"

    def killed(subject):
        raise KeyboardInterrupt
        yield

    three = measures_of(stage_1=looks, Exposure=looks, last=killed)
    monkeypatch.setattr(session, "measures", three)
    monkeypatch.setattr(session, "made", lambda source: None)
    monkeypatch.setattr(session, "apart", session.measured)
    with pytest.raises(KeyboardInterrupt):
        session.bench("narrow", 60, tmp_path, say=lambda line: None)
    assert seen == [0, 1]
    kept = pd.read_csv(tmp_path / "bench_narrow.csv")
    assert list(kept) == list(session.COLUMNS) and kept.measure.tolist() == ["stage 1", "Exposure"]
    hours = pd.read_csv(tmp_path / "bench_narrow_table2.csv").set_index("part").hours
    assert hours["stage 1"] * 3600 == pytest.approx(0.1 * 30_000) and pd.isna(hours["NPO"])


def test_rates_are_those_that_were_measured():
    lines = [
        Line("stage 1", "seconds a row", 0.1, "s"),
        Line("stage 2, KL, all positions", "seconds a row and epoch", 0.3, "s"),
        Line("Exposure", session.DOES_NOT_FIT, float("nan"), ""),
        Line("between runs, base", "next run", 1.5, "s"),
        Line("answers", "seconds an answer", 0.2, "s"),
    ]
    rates = session.rates(lines)
    assert rates.stage1 == 0.1 and rates.stage2 == {"KL, all positions": 0.3}
    assert rates.ranked is None and rates.answer_drafted is None and rates.answer == 0.2
    assert rates.between == 1.5


@pytest.mark.slow
def test_a_measure_apart_is_made_in_another_process(source, monkeypatch):
    assert session.names(source)[0] == "matrix products"
    [line] = session.apart(source, "matrix products")
    assert line.quantity == "operations a second" and line.value > 0
    monkeypatch.setattr(session, "_one_thread", os.abort)
    [line] = session.apart(source, "stage 1")
    assert line.quantity == session.FAILED and "was killed" in line.unit


@pytest.mark.slow
def test_the_command_measures_the_shape_of_llava_at_small_widths(tmp_path, monkeypatch, capsys):
    """All that a GPU is asked for, as the command does it, but for what takes minutes here."""
    from remem.bench import measures

    few = {"stage1": {"batch": 2, "micro_batch": 2}, "stage2": {"micro_batch": 1, "epochs": 1}}
    config = load_config("paper", few | {"evaluate": {"batch": 2}})
    monkeypatch.setattr(session, "paper_scale", lambda size: Source(config, size))
    monkeypatch.setattr(session, "apart", session.measured)
    monkeypatch.setattr(measures, "MICRO_BATCHES", (1,))
    monkeypatch.setattr(measures, "ASKED", 2)
    monkeypatch.setattr(measures, "FEW", 1)
    monkeypatch.setattr(measures.products, "LEAST", 1e-6)
    skipped = ("Exposure, the usual way", "answers, the usual way")  # 20 passes a row, and more
    names = [each for each in session.names(Source(config, "narrow")) if each not in skipped]
    monkeypatch.setattr(session, "names", lambda source: names)
    assert __main__.main(["bench", "--size", "narrow", "--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "bench_narrow.csv")
    assert {*table.measure} == {*names} and table.value.notna().all()
    value = table.set_index(["measure", "quantity"]).value
    assert 590 < value["stage 1", "tokens a row"] < 700  # 576 of them a picture's
    assert value["Exposure", "candidates a row"] == 20
    hours = pd.read_csv(tmp_path / "bench_narrow_table2.csv").set_index("part")
    assert hours.hours.notna().all() and hours.hours["together"] > hours.hours_drafted["together"]
    assert "Table 2 of llava-1.5-7b" in capsys.readouterr().out
