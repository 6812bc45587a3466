"""machine: what numbers may hang on is kept, and what differs is said."""

import os
import platform

import pytest

from remem import paths
from remem.report import machine
from remem.report.machine import Machine


def test_what_is_kept_can_be_read_again(tmp_path):
    folders = paths.Folders(tmp_path / "tiny", tmp_path / "runs")
    assert machine.known(folders) is None
    kept = machine.keep(folders)
    assert machine.known(folders) == kept == machine.here()
    assert kept.processor and kept.cores == os.cpu_count()
    assert kept.versions["python"] == platform.python_version() and "torch" in kept.versions
    assert platform.node() not in folders.machine.read_text().split('"')


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"cores": "many"}', b'{"x": 1}'])
def test_a_file_that_is_none_says_nothing(tmp_path, content):
    folders = paths.Folders(tmp_path / "tiny", tmp_path / "runs")
    paths.write(folders.machine, content)
    assert machine.known(folders) is None


def test_what_differs_is_said_with_both():
    one = Machine(processor="A", system="Linux x86_64", versions={"torch": "2.13.0", "numpy": "2"})
    other = one.model_copy(update={"processor": "B", "versions": {"torch": "2.12.1", "numpy": "2"}})
    assert one.unlike(one) == []
    assert one.unlike(other) == ["processor A (reference: B)", "torch 2.13.0 (reference: 2.12.1)"]
    assert "peft not known (reference: 1)" in one.unlike(Machine(versions={"peft": "1"}))
