"""calls: what is kept of each notebook's last call, and that nothing unreadable stops it."""

import csv
import json
import os

import pytest

from remem import paths
from remem.report import calls


@pytest.fixture
def folders(tmp_path):
    return paths.Folders(tmp_path / "tiny", tmp_path / "tiny" / "runs")


def made(folders: paths.Folders, name: str, spec: bytes, done: bytes = b"{}") -> None:
    paths.write(folders.runs / name / "spec.json", spec)
    paths.write(folders.runs / name / "DONE", done)


def whole(kind: str = "stage1") -> bytes:
    return json.dumps({"kind": kind, "seconds": 2.0}).encode()


@pytest.mark.parametrize(
    "spec",
    [b"", b'{"kind": "sta', b"\0" * 300, b"[]", b"{}", b'{"kind": 1, "seconds": "x"}', b"\xff"],
)
def test_a_run_whose_spec_cannot_be_read_is_passed_over(folders, spec):
    made(folders, "stage1-1", whole())
    made(folders, "stage2-1", spec)
    (folders.runs / "stage2-2").mkdir()
    (folders.runs / "stage2-2" / "DONE").touch()  # and no spec at all
    calls.remember(folders, "07_stage2", 1.0, None, {})
    text = (folders.root / "times.csv").read_text()
    assert text == "run,kind,notebook,seconds\nstage1-1,stage1,07_stage2,2.0\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 500,
        b"\xff\xfe",
        b"other,columns\n1,2\n",
        b"notebook,began,seconds,longest,changed\n07_stage2,soon,,,\n",
        b"notebook,began,seconds,longest,changed\n07_stage2,1e300,nan,-1,\n",
        b"notebook,began,seconds,longest,changed\n07_stage2,inf,1,1,\n",
        b"notebook,began\n07_stage2,\n,5\n",
        b"run,kind,notebook,seconds\nstage1-1,stage1,06_stage1,\n",
        b"notebook,began,seconds,longest,changed\n" + b"x" * 200_000 + b",1,1,1,\n",
    ],
)
def test_bookkeeping_that_cannot_be_read_is_begun_anew(folders, content):
    for name in ("notebooks.csv", "times.csv"):
        paths.write(folders.root / name, content)
    paths.write(folders.notebooks / "07_stage2.ipynb", "{}")
    made(folders, "stage1-1", whole())
    calls.remember(folders, "07_stage2", 100.0, 5.0, {"seeds": ([3], [1])}, "0123")
    [row] = csv.DictReader((folders.root / "notebooks.csv").open())
    assert row == {
        "notebook": "07_stage2",
        "began": "100.0",
        "seconds": "5.0",
        "longest": "5.0",
        "changed": "seeds = [3] (file: [1])",
        "parameters": "0123",
    }
    assert "stage1-1,stage1,07_stage2,2.0" in (folders.root / "times.csv").read_text()


def test_rows_that_can_be_read_are_kept_beside_others(folders):
    rows = "notebook,began,seconds,longest,changed\n00,1,2,3,\n01,x,2,3,\n02,4,,,more,too many\n"
    paths.write(folders.root / "notebooks.csv", rows)  # of a version without `parameters`, too
    calls.remember(folders, "03", 5.0, None, {}, "abcd")
    assert [row["notebook"] for row in calls.calls(folders)] == ["00", "02", "03"]
    assert calls.last_parameters(folders) == "abcd"
    calls.remember(folders, "00", 6.0, None, {}, "ef01")
    assert calls.last_parameters(folders) == "ef01"
    assert calls.calls(folders)[0]["longest"] == "3.0"


def test_the_longest_call_is_kept_and_a_failure_takes_no_time_away(folders):
    changed = {"stage1.epochs": (3, 5), "dataset.source": ("<a>", None)}
    calls.remember(folders, "04_dataset", 1000.0, 95.2, changed)
    calls.remember(folders, "04_dataset", 4600.0, 7.5, {})  # finds its training done
    calls.remember(folders, "03_hop_ratio", 1000.0, 1.0, changed)
    calls.remember(folders, "04_dataset", 8200.0, None, {})
    first, last = calls.calls(folders)
    assert first["notebook"] == "03_hop_ratio"
    assert first["changed"] == 'stage1.epochs = 3 (file: 5); dataset.source = "<a>" (file: null)'
    assert (last["seconds"], last["longest"], last["changed"]) == ("", "95.2", "")
    assert float(last["began"]) == 8200.0


def test_which_notebook_made_which_run(folders):
    made(folders, "base-1", whole("base"))
    calls.remember(folders, "00_base_model", 0.0, 130.0, {})
    made(folders, "stage1-1", whole())
    made(folders, "stage1-2", whole())
    made(folders, ".stage1-3.part", whole())
    paths.write(folders.runs / "stage1-4" / "spec.json", whole())  # not done
    calls.remember(folders, "05_metrics", 1.0, 2.0, {})
    made(folders, "unlearn-1", whole("unlearn"))
    calls.remember(folders, "07_stage2", 2.0, None, {})  # what a failed call made is told too
    calls.remember(folders, "00_base_model", 3.0, 5.0, {})
    rows = [(row["run"], row["kind"], row["notebook"]) for row in calls.made_runs(folders)]
    assert rows == [
        ("base-1", "base", "00_base_model"),
        ("stage1-1", "stage1", "05_metrics"),
        ("stage1-2", "stage1", "05_metrics"),
        ("unlearn-1", "unlearn", "07_stage2"),
    ]


def test_the_time_of_runs_that_other_outputs_made_is_not_told_again(folders):
    for run, when in (("base-1", 100), ("stage1-1", 300), ("stage2-1", 500)):
        made(folders, run, whole(run[:-2]))
        os.utime(folders.runs / run / "DONE", (when, when))
        if run == "base-1":  # there before the folder was
            paths.write(folders.layout, "{}")
            os.utime(folders.layout, (200, 200))
        calls.remember(folders, f"0{when}", when + 100.0, None, {})  # the last: made between calls
    text = (folders.root / "times.csv").read_text()
    assert text == "run,kind,notebook,seconds\nstage1-1,stage1,0300,2.0\nstage2-1,stage2,0500,2.0\n"


@pytest.mark.parametrize(
    "seconds, told",
    [(7.52, "7.5 s"), (95.2, "1 min 35 s"), (3720, "1 h 02 min"), (59.9, "1 min 00 s")],
)
def test_a_duration_is_said_as_people_say_it(seconds, told):
    assert calls.duration(seconds) == told


def test_how_long_it_will_take_is_the_last_time_the_longest_or_the_references(
    folders, tmp_path, monkeypatch
):
    monkeypatch.setattr(paths, "REFERENCE", tmp_path / "reference")
    there = paths.Folders(paths.REFERENCE, folders.runs)
    for name in ("00", "01", "02"):
        calls.remember(there, name, 1.0, 1000.0, {}, "x")
    calls.remember(folders, "00", 1.0, 500.0, {}, "a")
    calls.remember(folders, "00", 2.0, 7.0, {}, "b")  # its training was done
    calls.remember(folders, "01", 3.0, 60.0, {}, "a")
    names = ["00", "01", "02", "03"]
    assert calls.expected(folders, names, "b", "tiny") == (7.0 + 60.0 + 1000.0, 1)
    assert calls.expected(folders, names, "c", "tiny") == (500.0 + 60.0 + 1000.0, 1)
    assert calls.expected(folders, names, "b", "quick") == (67.0, 2)


@pytest.mark.parametrize(
    "seconds, told",
    [(3, "a minute"), (80, "a minute"), (480, "8 min"), (4700, "1 h 20 min"), (7170, "2 h 00 min")],
)
def test_a_rough_time_is_rounded(seconds, told):
    assert calls.about(seconds) == told
