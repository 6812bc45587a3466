"""paths: files appear whole or not at all, and refusals say where."""

import os
import subprocess
import sys
import tempfile

import pytest
from matplotlib.figure import Figure

from remem import paths


def drawing() -> Figure:
    figure = Figure()
    figure.subplots().set_title("Grüße $x^2$")
    return figure


def test_outputs_follow_the_environment_and_make_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "elsewhere"))
    folders = paths.outputs("tiny")
    assert folders.tables == tmp_path / "elsewhere" / "tiny" / "tables"
    assert not (tmp_path / "elsewhere").exists()
    monkeypatch.delenv("REMEM_OUTPUTS")
    assert paths.outputs("smoke").runs == paths.ROOT / "outputs" / "smoke" / "runs"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0b", "x" * 201, "ü" * 101])
def test_a_name_that_is_not_plain_is_refused(name, monkeypatch, tmp_path):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path))
    with pytest.raises(ValueError, match="is not a plain name"):
        paths.outputs(name)
    assert paths.is_plain_name("x" * 200) and paths.is_plain_name("my people")


def test_outputs_below_a_name_that_no_folder_can_have_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / ("x" * 300)))
    with pytest.raises(paths.CannotWrite, match="File name too long"):
        paths.write(paths.outputs("tiny").tables / "a.csv", "")


def test_outputs_that_cannot_be_written_are_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "file"))
    with pytest.raises(paths.CannotWrite, match=r"file is not a folder.*REMEM_OUTPUTS"):
        paths.outputs("tiny")


def test_a_scale_cannot_lead_out_of_the_outputs():
    with pytest.raises(ValueError, match="plain name"):
        paths.outputs("../tiny")


def test_write_replaces_at_once_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "deep" / "table.csv"
    paths.write(target, "old")
    paths.write(target, "ÿ")
    assert target.read_bytes() == "ÿ".encode()
    assert [path.name for path in target.parent.iterdir()] == ["table.csv"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, named = [], []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda at: synced.append(os.fstat(at).st_ino) or fsync(at))
    monkeypatch.setattr(
        os,
        "replace",
        lambda old, new: named.append(os.stat(old).st_ino in synced) or replace(old, new),
    )
    paths.write(tmp_path / "table.csv", "EM\n1\n")
    paths.save_figure(drawing(), tmp_path / "fig1")
    assert named == [True] * 3
    paths.write(tmp_path / "part" / "table.csv", "", sync=False)  # its folder is not named yet
    assert named == [True] * 3 + [False]


def test_a_name_as_long_as_a_name_can_be_is_written(tmp_path):
    assert paths.write(tmp_path / ("x" * 255), "1").read_text() == "1"


def test_what_a_write_left_is_cleared_and_nothing_else(tmp_path):
    left = tmp_path / f".{'0a' * 8}.part"
    others = [tmp_path / name for name in (".mine.part", "0a0a0a0a0a0a0a0a.part", "table.csv")]
    for path in (left, *others):
        path.touch()
    (tmp_path / f".{'0b' * 8}.part").mkdir()
    paths.clear(tmp_path)
    assert not left.exists() and all(path.exists() for path in others)
    assert (tmp_path / f".{'0b' * 8}.part").is_dir()
    paths.clear(tmp_path / "not there")


def test_a_new_folder_appears_whole_and_on_the_disk(tmp_path, monkeypatch):
    synced = set()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda at: synced.add(os.fstat(at).st_ino) or fsync(at))
    out = tmp_path / "deep" / "out"
    with paths.new_folder(out) as part:
        paths.write(part / "train" / "a.png", b"1", sync=False)
        assert not out.exists()
    assert [path.relative_to(out).as_posix() for path in sorted(out.rglob("*"))] == [
        "train",
        "train/a.png",
    ]
    assert {path.stat().st_ino for path in (out.parent, out, *out.rglob("*"))} <= synced
    assert os.listdir(out.parent) == ["out"]
    with pytest.raises(ZeroDivisionError), paths.new_folder(tmp_path / "no"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["deep"]
    with pytest.raises(paths.CannotWrite, match="out"), paths.new_folder(out):
        pass  # one that is there already, and not empty
    assert (out / "train" / "a.png").exists() and os.listdir(out.parent) == ["out"]


def test_somebody_elses_folders_beside_a_new_one_stay(tmp_path):
    others = [tmp_path / name for name in (".out.part", ".remem-mine.part", ".remem-x.part")]
    for other in others:
        (other / "inside").mkdir(parents=True)
    with paths.new_folder(tmp_path / "out"):
        pass
    assert all((other / "inside").is_dir() for other in others)


def test_what_a_killed_process_was_filling_goes_and_what_a_living_one_fills_stays(
    tmp_path, monkeypatch
):
    code = (
        "import sys, time; from pathlib import Path; from remem import paths\n"
        "with paths.new_folder(Path(sys.argv[1])) as part, paths.scratch_folder() as scratch:\n"
        "    (part / 'half').touch(), (scratch / 'key').touch()\n"
        "    print(part, scratch, sep='\\n', flush=True); time.sleep(600)"
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is looked up once
    (tmp_path / "tmp").mkdir()
    filling = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert filling.stdout
        parts = [paths.Path(filling.stdout.readline().strip()) for _ in range(2)]
        assert parts[1].stat().st_mode & 0o77 == 0  # a kernel's key lies in it
        for _ in range(2):
            with paths.new_folder(tmp_path / "other"), paths.scratch_folder() as scratch:
                assert all(part.is_dir() for part in (*parts, scratch)) == (filling.poll() is None)
            (tmp_path / "other").rmdir()
            filling.kill()
            filling.wait()
        assert sorted(os.listdir(tmp_path)) == ["tmp"] and not os.listdir(tmp_path / "tmp")
    finally:
        filling.kill()
        filling.communicate()


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    target = paths.write(tmp_path / "table.csv", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(paths.CannotWrite, match=r"table\.csv: No space left"):
        paths.write(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_figure_is_saved_twice_with_the_same_bytes_and_no_date(tmp_path, monkeypatch):
    first = paths.save_figure(drawing(), tmp_path / "fig3.a")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")  # matplotlib's own clock: another day
    again = paths.save_figure(drawing(), tmp_path / "again")
    assert [path.name for path in first] == ["fig3.a.png", "fig3.a.pdf"]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert b"CreationDate" not in one.read_bytes()
        assert b"matplotlib" not in one.read_bytes().lower()
