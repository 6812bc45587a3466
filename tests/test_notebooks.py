"""Every notebook of the repository, run once at scale smoke and then once more."""

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from remem import paths, reproduce

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(900)]

ESSAYS = sorted(paths.NOTEBOOKS.glob("*.py"))


@dataclass
class Run:
    folders: paths.Folders
    seconds: float
    results: dict[str, str]  # file -> sha256: tables, figures and verdicts
    runs: dict[str, int]  # run folder -> when it was done


@pytest.fixture(scope="session")
def outputs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REMEM_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        yield paths.outputs("smoke")


@pytest.fixture(scope="session")
def first(outputs) -> Run:
    return run(outputs)


@pytest.fixture(scope="session")
def second(outputs, first) -> Run:
    return run(outputs)


def run(folders: paths.Folders) -> Run:
    started = time.monotonic()
    assert reproduce.main(["--scale", "smoke"]) == 0
    seconds = time.monotonic() - started
    results = {
        str(path.relative_to(folders.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in (folders.tables, folders.figures, folders.verdicts)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    done = {path.parent.name: path.stat().st_mtime_ns for path in folders.runs.glob("*/DONE")}
    return Run(folders, seconds, results, done)


def promised(essay: Path) -> set[str]:
    """The files that a notebook says it writes."""
    found = re.findall(r'folders\.(tables|figures|verdicts) / "([^"]+)"', essay.read_text())
    return {
        f"{folder}/{name}{suffix}"
        for folder, name in found
        for suffix in ((".png", ".pdf") if folder == "figures" else ("",))
    }


@pytest.mark.parametrize("essay", ESSAYS, ids=lambda path: path.stem)
def test_each_notebook_runs_to_its_end_and_leaves_what_it_promises(essay, first):
    executed = nbformat.read(first.folders.notebooks / f"{essay.stem}.ipynb", as_version=4)
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert (first.folders.html / f"{essay.stem}.html").stat().st_size > 10_000
    assert promised(essay) and promised(essay) <= first.results.keys()


def test_the_papers_two_tables_are_there(first):
    assert {"tables/table2.csv", "tables/table3.csv"} <= first.results.keys()
    page = (first.folders.root / "index.html").read_text()
    assert 'id="table2"' in page and 'id="table3"' in page
    assert not list(first.folders.notebooks.glob("*.failed.*"))
    assert not list(first.folders.runs.glob(".*.part"))


def test_a_second_run_trains_nothing_and_gives_the_same_bytes(first, second):
    assert second.runs == first.runs and len(first.runs) > 5
    assert second.results == first.results
    assert second.seconds < first.seconds
