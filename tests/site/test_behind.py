"""behind: with which parameters a folder was made, and which runs are behind a table."""

import json

import pytest

from remem import paths, runs
from remem.config import BadParameter
from remem.site.behind import Runs, scale_of
from remem.site.files import Files
from remem.site.items import items


def executed(folders, notebook: str, **parameters) -> None:
    content = {"metadata": {"papermill": {"parameters": parameters}}}
    paths.write(folders.notebooks / f"{notebook}.ipynb", json.dumps(content))


def test_the_scale_is_said_by_the_layout_or_by_where_the_runs_are(tmp_path):
    folders = paths.Folders(tmp_path / "mine", tmp_path / "quick" / "runs")
    assert scale_of(folders) == "quick"
    paths.write(folders.layout, '{"layout": 2, "scale": "smoke", "data": "smoke 0"}')
    assert scale_of(folders) == "smoke"
    assert scale_of(paths.Folders(tmp_path / "yours", tmp_path / "other" / "runs")) == "tiny"


def test_the_parameters_are_those_of_the_executed_notebook(smoke):
    folders = paths.outputs("two_methods", runs_of="smoke")  # of no other test: it stays there
    overrides = {"outputs": "two_methods", "stage2": {"methods": ["GA", "NPO"]}}
    executed(folders, "07_stage2", scale="smoke", overrides=overrides)
    behind = Runs(folders)
    assert behind.config("07_stage2").stage2.methods == ("GA", "NPO")
    assert behind.config("06_stage1").stage2.methods == smoke.config.stage2.methods
    methods = {job.labels["method"] for job in behind.jobs("07_stage2", "unlearning")}
    assert "GA" in methods and "DPO" not in methods


def test_parameters_that_are_gone_or_of_other_runs_are_refused(smoke, folders, tmp_path):
    executed(folders, "07_stage2", scale=str(tmp_path / "gone.yaml"), overrides={})
    with pytest.raises(BadParameter, match=r"gone\.yaml"):
        Runs(folders).config("07_stage2")
    with pytest.raises(BadParameter, match="the runs of 06_stage1 lie in"):
        Runs(folders).config("06_stage1")


def test_the_runs_behind_a_table_have_their_labels_and_their_records(smoke):
    folders = paths.Folders(smoke.folders.root, smoke.folders.runs)
    paths.write(folders.tables / "table2.csv", "EM\n1\n")
    by_name = {item.id: item for item in items(Files(folders))}
    found = Runs(folders).of(by_name["table2"])
    assert [run.name for run in found] == [runs.name(job.spec) for job in smoke.jobs]
    assert all(run.record == f"../runs/{run.name}/spec.json" for run in found)
    labels = {run.labels for run in found}
    assert "model smoke, method NPO, seed 1, stage1 seed 1" in labels
    assert Runs(folders).of(by_name["table3"]) == []  # it was not made


def test_without_a_run_no_experiment_is_asked(folders):
    paths.write(folders.tables / "table2.csv", "EM\n1\n")
    behind = Runs(folders)
    assert (
        not behind.any
        and behind.of({item.id: item for item in items(Files(folders))}["table2"]) == []
    )
