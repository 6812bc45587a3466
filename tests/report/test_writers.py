"""writers: a call and its kernels, or processes of the same parameters, and nobody beside them."""

import os
import subprocess
import sys

import pytest

from remem import paths
from remem.report import writers

OTHER = (
    "import sys; from pathlib import Path; from remem.report import writers\n"
    "try:\n    writers.enter(Path(sys.argv[1]), sys.argv[2]); print('in', flush=True)\n"
    "except writers.InUse as error:\n    print(error, flush=True)\n"
    "sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(writers, "PATIENCE", 0.0)
    monkeypatch.delenv(writers.OF_CALL, raising=False)


@pytest.fixture
def root(tmp_path):
    yield tmp_path / "tiny"
    writers.leave(tmp_path / "tiny")


@pytest.fixture
def start(root):
    """Start a process that enters with some parameters, and lives until it is killed; returns it
    and what it said."""
    started = []

    def start(parameters: str, **environment: str) -> tuple[subprocess.Popen, str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", OTHER, str(root), parameters],
                env={**os.environ, "PYTHONPATH": str(paths.ROOT), **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1], started[-1].stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_other_parameters_wait_until_the_process_is_gone(root, start):
    other, said = start("a")
    assert said == "in"
    with pytest.raises(
        writers.InUse, match=f"process {other.pid} is running and writes into {root}"
    ):
        writers.enter(root, "b")
    with pytest.raises(writers.InUse, match=r"--out NAME \(in a notebook: overrides = "):
        writers.enter(root, "b")
    writers.enter(root, "a")  # the same parameters make the same tables
    other.kill()
    other.wait()
    writers.enter(root, "b")  # and whoever is in may begin anew, with others
    assert [path.name.split(".")[::2] for path in (root / ".writers").glob("*.*.*")] == [
        [str(os.getpid()), "b"]
    ]


def test_a_call_is_alone_with_its_kernels(root, start):
    with writers.call():
        writers.enter(root, "a")
        assert (
            "process" in start("a", **{writers.OF_CALL: ""})[1]
        )  # an open notebook of the same parameters
        assert start("b", **{writers.OF_CALL: os.environ[writers.OF_CALL]})[1] == "in"
    assert writers.OF_CALL not in os.environ
    with writers.call(), pytest.raises(writers.InUse):  # a kernel of the first call lives
        writers.enter(root, "a")


def test_a_call_does_not_begin_where_a_notebook_is_open(root, start):
    other, said = start("a")
    assert said == "in"
    with pytest.raises(writers.InUse, match=str(other.pid)), writers.alone(root):
        pass
    other.communicate("")  # it is closed
    with writers.alone(root):
        assert len(writers._others(root)) == 1
    assert not writers._others(root)


def test_who_is_alone_clears_what_the_dead_had_half_written(root, start):
    half = [root / "tables", root / "made" / "tables", root]
    for folder in half:
        paths.write(folder / f".{'0a' * 8}.part", "EM")
    runs = paths.write(root / "runs" / ".stage1-1.part" / f".{'0a' * 8}.part", "x")
    other, _ = start("a")
    half = [folder / f".{'0a' * 8}.part" for folder in half]
    assert not any(path.exists() for path in half) and runs.exists()
    paths.write(half[0], "EM")
    writers.enter(root, "a")  # the other may be writing it
    assert half[0].exists() and other.poll() is None


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(paths.CannotWrite):
        writers.enter(tmp_path / "file", "a")


def test_one_at_a_time(root):
    with writers.one_at_a_time(root):
        pass
    with writers.one_at_a_time(root):
        pass
