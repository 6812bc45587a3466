"""Every notebook of the repository, run at scale smoke: once, once more, and killed half-way."""

import hashlib
import json
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import psutil
import pytest
import test_anybody
from test_reproduce import FETCHED

from remem import dataset, params, paths, reproduce, runs

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(900)]

ESSAYS = sorted(paths.NOTEBOOKS.glob("*.py"))
TOO_LARGE = {"stage2_dialogue.png"}  # half a megabyte at scale tiny: looked at in the run itself


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


def run(folders: paths.Folders, *notebooks: str) -> Run:
    started = time.monotonic()
    assert reproduce.main(["--scale", "smoke", *notebooks]) == 0
    seconds = time.monotonic() - started
    results = {
        str(path.relative_to(folders.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in (folders.tables, folders.figures, folders.verdicts)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    done = {path.parent.name: path.stat().st_mtime_ns for path in folders.runs.glob("*/DONE")}
    return Run(folders, seconds, results, done)


def killed(folders: paths.Folders, log: Path, *notebooks: str) -> None:
    """Start a run in a process of its own and kill -9 it once a first unlearning is done."""
    environment = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
    with log.open("wb") as said:
        process = psutil.Popen(
            [sys.executable, "-m", "remem.reproduce", "--scale", "smoke", *notebooks],
            env=environment, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    limit = time.monotonic() + 600
    while not list(folders.runs.glob("unlearn-*/DONE")):
        assert process.poll() is None and time.monotonic() < limit, log.read_text()
        time.sleep(0.02)
    # The kernel has a session, and so a process group, of its own: all go at once, as in a power
    # cut, and nobody is left to tidy up.
    everybody = [process, *process.children(recursive=True)]
    assert len(everybody) > 1
    for each in everybody:
        each.kill()
    psutil.wait_procs(everybody, timeout=30)


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


def test_no_page_fetches_anything(first):
    pages = [first.folders.root / "index.html", *first.folders.html.glob("*.html")]
    assert len(pages) == len(ESSAYS) + 1
    for page in pages:
        found = FETCHED.search(page.read_text())
        assert not found, f"{page.name}: {found[0][:200]}"


def test_the_papers_two_tables_are_there(first):
    assert {"tables/table2.csv", "tables/table3.csv"} <= first.results.keys()
    page = (first.folders.root / "index.html").read_text()
    assert 'id="table2"' in page and 'id="table3"' in page
    assert "Unnamed" not in page, "a table with a header of two levels"
    assert "older than the rest" not in page
    assert not list(first.folders.notebooks.glob("*.failed.*"))
    assert not list(first.folders.runs.glob(".*.part"))


def shape(table: Path, model: str) -> list[str]:
    """The columns of a CSV; where models stand side by side in it, one for all of them."""
    columns = pd.read_csv(table, nrows=0).columns
    return list(dict.fromkeys(re.sub(model, "MODEL", name) for name in columns))


def test_the_committed_reference_has_the_shape_that_is_written_today(first):
    reference, again = paths.ROOT / "outputs" / "reference", "run tiny and copy its outputs there"
    for folder, kind in ((first.folders.tables, "csv"), (first.folders.verdicts, "csv"),
                         (first.folders.figures, "png")):  # fmt: skip
        written = {path.name for path in folder.glob(f"*.{kind}")}
        kept = {path.name for path in (reference / folder.name).glob(f"*.{kind}")}
        assert kept - {"fig7.csv", "fig7.png"} == written - TOO_LARGE, again  # fig7: a second model
        for name in sorted(kept & written if kind == "csv" else ()):
            old, new = shape(reference / folder.name / name, "tiny-(7|13)b"), shape(
                folder / name, "smoke")  # fmt: skip
            assert old == new, f"{name}: {again}"


def test_a_second_run_trains_nothing_and_gives_the_same_bytes(first, second):
    assert second.runs == first.runs and len(first.runs) > 5
    assert second.results == first.results
    assert second.seconds < 150  # ten kernels, each with torch to load


def test_killed_half_way_and_started_again_gives_the_same_bytes(first, tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    folders = paths.outputs("smoke")
    some = ("00", "07")  # the base, and most of the runs
    killed(folders, tmp_path / "log", *some)
    done = [runs.verify(path) for path in folders.runs.glob("*-*") if path.name[0] != "."]
    assert 0 < len(done) < len(first.runs)
    assert not list(folders.notebooks.glob("07*")) and not list(folders.html.glob("07*"))
    assert not (folders.root / "index.html").exists()
    stamps = {path.name: (path / "DONE").stat().st_mtime_ns for path in done}

    again = run(folders, *some)
    assert again.runs.keys() < first.runs.keys()
    assert stamps.items() <= again.runs.items()  # what was done was kept
    assert any(name.startswith("figures/") for name in again.results)
    assert again.results.items() < first.results.items()


def test_people_of_ones_own_go_through_the_notebooks(first, tmp_path, monkeypatch):
    """And hardly fit: nobody is asked for a name, next to nothing is held out, one has less."""
    folder = tmp_path / "my people"
    theirs = dataset.make(params.load("smoke").dataset, first.folders.runs)
    rows = dataset.read(theirs).query("identity != 'p04'")
    test_anybody.own(SimpleNamespace(rows=rows, folder=theirs), folder)
    for split, limit in {"train": 2, "test": 1}.items():
        file, kept = folder / split / "metadata.jsonl", []
        for line in map(json.loads, file.read_text("utf-8").splitlines()):
            met = [line["identity"], line["hop"]]
            few = split == "test" or line["identity"] == "p01"
            if line["attribute"] != "name" and not (few and kept.count(met) >= limit):
                kept.append(met)
                print(json.dumps(line, ensure_ascii=False), file=file.with_suffix(".new").open("a"))
        file.with_suffix(".new").rename(file)
    assert not any(dataset.inspect(folder)[1].values())

    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    folders = paths.outputs("smoke")
    for made in ("base", "tower"):  # they are not what this is about
        for path in first.folders.runs.glob(f"{made}-*"):
            shutil.copytree(path, folders.runs / path.name)
    asked = ["--set", f"benchmark={folder}", "--set", "stage2.forget_set=[p01]"]
    assert reproduce.main(["--scale", "smoke", *asked, "04", "06", "07"]) == 0
    table2 = pd.read_csv(folders.tables / "table2.csv")
    assert set(table2.not_learned) == {1} and table2.filter(like="paper_").isna().all(axis=None)
    page = (folders.root / "index.html").read_text()
    assert "Stage 1 did not teach 4 of 4" in page and "benchmark.folder" in page
    assert "in the smoke my people (own) world" in page
