"""page: the record of calls, notebooks.csv and times.csv, which outlasts failures."""

import csv
import json
import os
from datetime import datetime

import pytest

from remem import paths
from remem.report import page


@pytest.fixture
def folders(tmp_path):
    return paths.Folders(tmp_path / "tiny", tmp_path / "tiny" / "runs")


def made(folders: paths.Folders, name: str, seconds: float, done: bool = True) -> None:
    """A run's folder."""
    kind = name.split("-")[0].lstrip(".")
    paths.write(folders.runs / name / "spec.json", json.dumps({"kind": kind, "seconds": seconds}))
    if done:
        paths.write(folders.runs / name / "DONE", "{}")


def test_the_longest_call_is_kept_and_a_failure_takes_no_time_away(folders):
    day = datetime(2026, 3, 1, 12, 30).timestamp()
    changed = {"stage1.epochs": (3, 5), "dataset.source": ("<a>", None)}
    page.remember(folders, "04_dataset", day, 95.2, changed)
    page.remember(folders, "04_dataset", day + 3600, 7.5, {})  # finds its training done
    page.remember(folders, "03_hop_ratio", day, 1.0, changed)
    page.remember(folders, "04_dataset", day + 7200, None, {})
    first, last = page.rows(folders.root / "notebooks.csv")
    assert first["notebook"] == "03_hop_ratio"
    assert first["changed"] == 'stage1.epochs = 3 (file: 5); dataset.source = "<a>" (file: null)'
    assert (last["seconds"], last["longest"], last["changed"]) == ("", "95.2", "")
    assert float(last["began"]) == day + 7200


@pytest.mark.parametrize(
    "seconds, told",
    [(7.52, "7.5 s"), (95.2, "1 min 35 s"), (3720, "1 h 02 min"), (59.9, "1 min 00 s")],
)
def test_a_duration_is_said_as_people_say_it(seconds, told):
    assert page.duration(seconds) == told


def test_which_notebook_made_which_run(folders):
    made(folders, "base-1", 100.0)
    page.remember(folders, "00_base_model", 0.0, 130.0, {})
    made(folders, "stage1-1", 50.0)
    made(folders, "stage1-2", 70.0)
    made(folders, ".stage1-3.part", 1000.0)
    made(folders, "stage1-4", 1000.0, done=False)
    page.remember(folders, "05_metrics", 1.0, 2.0, {})
    made(folders, "unlearn-1", 3500.0)
    page.remember(folders, "07_stage2", 2.0, None, {})  # what a failed call made is told too
    page.remember(folders, "00_base_model", 3.0, 5.0, {})
    with (folders.root / "times.csv").open(newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [
        ("base-1", "base", "00_base_model", "100.0"),
        ("stage1-1", "stage1", "05_metrics", "50.0"),
        ("stage1-2", "stage1", "05_metrics", "70.0"),
        ("unlearn-1", "unlearn", "07_stage2", "3500.0"),
    ]


def test_the_time_of_runs_that_other_outputs_made_is_not_told_again(folders):
    for run, when in (("base-1", 100), ("stage1-1", 300), ("stage2-1", 500)):
        for name in ("spec.json", "DONE"):
            path = folders.runs / run / name
            paths.write(path, json.dumps({"kind": run[:-2], "seconds": 1.0}))
            os.utime(path, (when, when))
        if run == "base-1":  # there before the folder was
            paths.write(folders.layout, "{}")
            os.utime(folders.layout, (200, 200))
        page.remember(folders, f"0{when}", when + 100.0, None, {})  # the last: made between calls
    text = (folders.root / "times.csv").read_text()
    assert text == "run,kind,notebook,seconds\nstage1-1,stage1,0300,1.0\nstage2-1,stage2,0500,1.0\n"
