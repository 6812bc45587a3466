"""paths: files appear whole or not at all, and refusals say where."""

import os

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
