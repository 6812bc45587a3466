"""calls: what is kept of each notebook's last call, and that nothing unreadable stops it."""

import csv
import json

import pytest

from remem import paths
from remem.report import calls, page


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
    page.write(folders)  # nor is the page stopped by it
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
