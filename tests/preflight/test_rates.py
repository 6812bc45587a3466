"""preflight.rates: what was measured counts, and what is stated says so."""

import pandas as pd
import pytest

from remem import paths
from remem.config import load_config
from remem.model import sizes
from remem.preflight import rates
from remem.preflight.counts import Work
from remem.training.base_model import BaseRun

KEPT = rates.KEPT
BENCH = """network,device,measure,quantity,value,unit
"random weights, 7b","H100, torch 2",stage 1,seconds a row,0.05,s
"random weights, 7b","H100, torch 2",stage 1,tokens a second,11000,tokens/s
"random weights, 7b","H100, torch 2","stage 2, NPO",seconds a row and epoch,0.2,s
"random weights, 7b","H100, torch 2","stage 2, GD",seconds a row and epoch,0.1,s
"random weights, 7b","H100, torch 2","stage 2, NPO, the usual way",seconds a row and epoch,9,s
"random weights, 7b","H100, torch 2",answers,seconds an answer,0.4,s
"random weights, 7b","H100, torch 2",answers,"seconds an answer, all of its draft right",0.2,s
"random weights, 7b","H100, torch 2",Exposure,seconds a row,0.5,s
"random weights, 7b","H100, torch 2","between runs, base",next run,2,s
"random weights, 7b","H100, torch 2",features,does not fit,,
"""


@pytest.fixture
def networks(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(rates, "KEPT", tmp_path / "kept")
    return load_config("paper").base.networks


def work(networks, part="stage 1", **amounts) -> Work:
    return Work(part, BaseRun(network=networks["llava-1.5-7b"]), **amounts)


def test_what_was_measured_is_what_counts(networks):
    paths.write(paths.outputs("bench").root / "bench_7b.csv", BENCH)
    found = rates.Rates("llava-1.5-7b", networks["llava-1.5-7b"], gpu=False)
    assert found.words == "llava-1.5-7b: measured on H100, torch 2"
    for part, seconds in (
        ("stage 1", 5),
        ("retrained", 5),
        ("stage 2, NPO", 20),
        ("stage 2, GA", 20),
    ):
        assert found.seconds(work(networks, part, rows=100, trained=1e5)) == pytest.approx(
            seconds + 2
        )
    asked = work(networks, "answers", answers=10, ranked=4, answered=1e4, compared=1e4, written=90)
    assert found.seconds(asked) == pytest.approx(10 * 0.3 + 4 * 0.5 + 2)
    assert found.seconds(work(networks, read=22_000)) == pytest.approx(1 + 2)
    pictures = found.seconds(work(networks, pictures=100))  # which did not fit: as stated
    assert 2 < pictures < 10
    other = rates.Rates("llava-1.5-13b", networks["llava-1.5-13b"], gpu=False)
    assert "stated, and not measured" in other.words and "one NVIDIA H100" in other.words


def test_what_the_repository_keeps_counts_where_nothing_is_known_here(networks, monkeypatch):
    """Of the 13B some measures were not reached: what is missing is as stated, or the slowest."""
    monkeypatch.setattr(rates, "KEPT", KEPT)
    for size in ("7b", "13b"):
        network = networks[f"llava-1.5-{size}"]
        found = rates.Rates(f"llava-1.5-{size}", network, gpu=False)
        assert found.words.startswith(f"llava-1.5-{size}: measured on NVIDIA H200, ")
        line = pd.read_csv(rates.KEPT / f"bench_{size}.csv").set_index(["measure", "quantity"])
        each = line["value"]["stage 1", "seconds a row"]
        one = Work("stage 1", BaseRun(network=network), rows=1000)
        none = Work("stage 1", BaseRun(network=network))
        assert found.seconds(one) - found.seconds(none) == pytest.approx(1000 * each)
        kl = line["value"]["stage 2, KL", "seconds a row and epoch"]
        one = Work("stage 2, DPO", BaseRun(network=network), rows=1000)
        seconds = 1000 * line["value"].get(("stage 2, DPO", "seconds a row and epoch"), kl)
        assert found.seconds(one) - found.seconds(none) == pytest.approx(seconds)


def test_a_file_of_something_else_is_passed_over(networks):
    folder = paths.outputs("bench").root
    paths.write(folder / "bench_7b_table2.csv", "part,hours\nstage 1,2\n")
    paths.write(folder / "bench_bad.csv", b"\xff\xfe\x00")
    head, line = "network,device,measure,quantity,value\n", "7b,GPU,stage 1,seconds a row,"
    paths.write(folder / "bench_short.csv", f"{head}7b\n")
    for k, value in enumerate(("", "none", "nan", "inf", "-1")):
        paths.write(folder / f"bench_{k}.csv", head + line + value + "\n")
    assert rates.measured("llava-1.5-7b") == ({}, "")


def test_without_a_measure_seconds_follow_the_operations(networks):
    found = rates.Rates("llava-1.5-7b", networks["llava-1.5-7b"], gpu=False)
    shape = sizes.shape_of(networks["llava-1.5-7b"], None)
    assert 6.4e9 < shape.layers * shape.block < 6.6e9 and 6.9e9 < shape.weights < 7.2e9
    tokens = 2000 * 640
    took = found.seconds(work(networks, rows=2000, trained=tokens)) - rates.GPU.between
    least = 4 * shape.layers * shape.block * tokens / rates.PEAK / rates.GPU.trained
    assert least < took < 1.2 * least
    twice = found.seconds(work(networks, rows=4000, trained=2 * tokens)) - rates.GPU.between
    assert twice == pytest.approx(2 * took)
    wide = load_config("paper").base.networks["llava-1.5-13b"]
    more = rates.Rates("x", wide, gpu=False).seconds(
        Work("stage 1", BaseRun(network=wide), rows=2000, trained=tokens)
    )
    assert 1.8 < (more - rates.GPU.between) / took < 2.1


def test_a_tiny_network_goes_by_this_machine(networks):
    paths.write(paths.outputs("bench").root / "bench_7b.csv", BENCH)  # of a 7B, not of a tiny-7b
    tiny = load_config("tiny")
    network = tiny.base.networks["tiny-7b"]
    found = rates.Rates("tiny-7b", network, gpu=False)
    assert found.words.startswith("tiny-7b: this machine, ")
    assert 1e8 < rates.peak(False, "float32") < 1e13
    base = BaseRun(network=network, tower=tiny.base.tower)
    assert found.seconds(Work("pictures", drawn=10, pixels=64)) > 0
    assert found.seconds(Work("stage 1", base, rows=9, trained=900.0)) > rates.CPU.between
