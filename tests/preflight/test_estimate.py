"""preflight.estimate: the numbers of what is asked for, beside the machine's."""

import shutil
from types import SimpleNamespace

import pytest

from remem import __main__, jobs, paths, runs
from remem.config import load_config
from remem.preflight import estimate as module
from remem.preflight.estimate import estimate


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


def notebook(number: str):
    [found] = paths.NOTEBOOKS.glob(f"{number}_*.py")
    return found


def test_the_runs_left_are_those_that_a_sweep_would_make(outputs):
    config = load_config("smoke")
    found = estimate(config, [notebook("02")])
    pairs, untold = module._runs(config, [notebook("02")])
    specs = [spec for spec, _ in pairs]
    whole = found.table.iloc[-1]
    assert untold == [] and (whole["runs"], whole["done"]) == (len(specs), 0)
    waiting = jobs.sweeps._waiting(jobs.Jobs(tuple(map(jobs.Job, specs)), config.folders.runs))
    assert len(waiting) == len(specs)
    assert found.faults == [] and not outputs.exists()
    assert whole["hours"] > 0 and whole["steps"] == found.table["steps"][:-1].sum() > 0
    assert found.table["peak GiB"].max() == whole["peak GiB"]

    [drawn] = [spec for spec in specs if spec.kind == "dataset"]
    runs.get_or_create(drawn, config.folders.runs)
    again = estimate(config, [notebook("02"), notebook("02")]).table.iloc[-1]
    assert (again["runs"], again["done"]) == (len(specs) - 1, 1)
    assert again["hours"] < whole["hours"] and again["disk GiB"] < whole["disk GiB"]


def test_what_only_a_run_needs_that_is_done_will_not_be_made(monkeypatch):
    config = load_config("smoke")
    pairs, _ = module._runs(config, [notebook("02")])
    answers = {runs.name(spec) for spec, _ in pairs if spec.kind == "answers"}
    monkeypatch.setattr(runs, "is_done", lambda spec, root: runs.name(spec) in answers)
    left, _ = module._runs(config, [notebook("02")])
    kinds = {spec.kind for spec, done in left if not done}
    assert {runs.name(spec) for spec, done in left if done} == answers
    # The notebook shows the histories of stage 1 as well.
    assert "stage1" in kinds and "answers" not in kinds


def test_scale_paper_is_told_without_its_weights(outputs):
    """Both sizes, from the notebook of Table 2; Table 4's file is not here."""
    config = load_config("paper", {"experiments.ability.source": None})
    found = estimate(config, [notebook("07")])
    table = found.table.set_index(["model", "part"])
    for model in config.models:
        assert table.loc[(model, "stage 1"), "steps"] == 3 * 160
        assert table.loc[(model, "stage 2, GA"), "rows"] == 5 * 5 * 400
        assert table.loc[(model, "answers"), "answers"] > 5 * 2560
    assert 26 < table.loc[("llava-1.5-13b", "stage 1"), "peak GiB"] < 80
    assert 0.29 < table.loc[("llava-1.5-7b", "stage 1"), "disk GiB"] / 3 < 0.31  # bfloat16
    assert any("there is no GPU here" in fault for fault in found.faults)
    assert "13b: measured on NVIDIA H200" in str(found) and "GPU hours" in str(found)
    assert not outputs.exists()


def test_what_this_machine_lacks_is_told(monkeypatch):
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=2**10))
    found = estimate(load_config("smoke"), [notebook("03")])
    memory, disk = found.faults
    assert "lower evaluate.batch" in memory and "set REMEM_OUTPUTS to a folder" in disk
    assert "Too little: " in str(found)


def test_a_dry_run_prints_it_and_makes_nothing(outputs, capsys):
    assert __main__.main(["reproduce", "--scale", "smoke", "--dry-run", "02"]) == 0
    said = capsys.readouterr().out
    assert "together" in said and "runs to make, 0 are done" in said and "Rates of smoke" in said
    assert not outputs.exists()
    wrong = ["reproduce", "--scale", "smoke", "--dry-run", "02", "--set", "benchmark=nobody"]
    assert __main__.main(wrong) in (1, 2)
    assert "there is no such folder" in capsys.readouterr().err
