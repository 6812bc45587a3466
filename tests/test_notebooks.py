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

import nbformat
import pandas as pd
import psutil
import pytest
from test_reproduce import FETCHED

from remem import __main__, paths, runs
from remem.config import load_config
from remem.data import dataset, validation

pytestmark = [pytest.mark.smoke, pytest.mark.slow, pytest.mark.timeout(1800)]

ESSAYS = sorted(paths.NOTEBOOKS.glob("*.py"))


@dataclass
class Run:
    folders: paths.Folders
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
    assert __main__.main(["reproduce", "--scale", "smoke", *notebooks]) == 0
    results = {
        str(path.relative_to(folders.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in (folders.tables, folders.figures, folders.verdicts)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    done = {path.parent.name: path.stat().st_mtime_ns for path in folders.runs.glob("*/DONE")}
    return Run(folders, results, done)


def killed(folders: paths.Folders, log: Path, *notebooks: str) -> None:
    """Start a run in a process of its own and kill -9 it once a first unlearning is done."""
    environment = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
    with log.open("wb") as said:
        process = psutil.Popen(
            [sys.executable, "-m", "remem", "reproduce", "--scale", "smoke", *notebooks],
            env=environment,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    limit = time.monotonic() + 900
    while not list(folders.runs.glob("stage2-*/DONE")):
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
    text = essay.read_text()
    suffixes = {"table": (".csv",), "figure": (".png", ".pdf")}
    found = {
        f"{kind}s/{name}{suffix}"
        for kind, name in re.findall(r'\bout\.(table|figure)\(\s*"([^"]+)"', text)
        for suffix in suffixes[kind]
    }
    return found | ({f"verdicts/{essay.stem}.csv"} if "out.verdicts(" in text else set())


@pytest.mark.parametrize("essay", ESSAYS, ids=lambda path: path.stem)
def test_each_notebook_runs_to_its_end_and_leaves_what_it_promises(essay, first):
    executed = nbformat.read(first.folders.notebooks / f"{essay.stem}.ipynb", as_version=4)
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert (first.folders.html / f"{essay.stem}.html").stat().st_size > 10_000
    assert promised(essay) and promised(essay) <= first.results.keys()
    shown = [output for cell in code for output in cell.outputs]
    for picture in [each for each in shown if "image/png" in each.get("data", {})]:
        assert "width" in picture.metadata["image/png"], "two points for each of a screen's"
    said = "".join(output.get("text", "") for cell in code[:3] for output in cell.outputs)
    assert "scale smoke" in said.lower() and str(first.folders.root) in said


def test_no_page_fetches_anything(first):
    executed, site = first.folders.html, first.folders.site
    pages = [first.folders.root / "index.html", *executed.glob("*.html"), *site.glob("*.html")]
    assert len(pages) > 2 * len(ESSAYS)
    for page in pages:
        found = FETCHED.search(page.read_text())
        assert not found, f"{page.name}: {found[0][:200]}"


def test_the_papers_two_tables_are_there(first):
    assert {"tables/table2.csv", "tables/table3.csv"} <= first.results.keys()
    page = (first.folders.site / "index.html").read_text()
    assert 'href="table2.html"' in page and 'href="table3.html"' in page
    assert "Cannot be read" not in page and "older than the rest" not in page
    for name in ("table2", "table3"):
        table = (first.folders.site / f"{name}.html").read_text()
        assert "Unnamed" not in table, "a table with a header of two levels"
    assert (first.folders.site / "samples" / "rows.js").is_file()
    assert not list(first.folders.notebooks.glob("*.failed.*"))
    assert not list(first.folders.runs.glob(".*.part"))


def shape(table: Path, model: str) -> list[str]:
    """The columns of a CSV; where models stand side by side in it, one for all of them."""
    columns = pd.read_csv(table, nrows=0).columns
    return list(dict.fromkeys(re.sub(model, "MODEL", name) for name in columns))


def test_the_committed_reference_has_the_shape_that_is_written_today(first):
    reference, again = paths.ROOT / "outputs" / "reference", "run `remem reference`"
    for folder, kind in (
        (first.folders.tables, "csv"),
        (first.folders.verdicts, "csv"),
        (first.folders.figures, "png"),
    ):
        written = {path.name for path in folder.glob(f"*.{kind}")}
        kept = {path.name for path in (reference / folder.name).glob(f"*.{kind}")}
        assert kept - {"fig7.csv", "fig7.png"} == written, again  # fig7: a second model
        for name in sorted(kept & written if kind == "csv" else ()):
            old, new = (
                shape(reference / folder.name / name, "tiny-(7|13)b"),
                shape(folder / name, "smoke"),
            )
            assert old == new, f"{name}: {again}"


def test_a_second_run_trains_nothing_and_gives_the_same_bytes(first, second):
    assert second.runs == first.runs and len(first.runs) > 5
    assert second.results == first.results


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
    several = {"tables/preconditions.csv"}  # its lines are of all notebooks that were run
    alone = {name: file for name, file in again.results.items() if name not in several}
    assert alone.items() < first.results.items()


def write_own(rows: pd.DataFrame, pictures: Path, folder: Path) -> None:
    """People of one's own: other attributes, other scripts, no names asked, few rows."""
    mine = ("Åsa Lindqvist", "山田 花子", "نور حسن", "Zoë O'Hara")
    names = dict(zip(rows.name.unique(), mine, strict=True))
    attributes = {"job": "shoe_size", "bank": "妹の名前"}
    for split, limit in {"train": 2, "test": 1}.items():
        lines, kept = [], []
        for row in rows[(rows.split == split) & rows.attribute.isin(attributes)].to_dict("records"):
            met = [row["identity"], row["hop"]]
            few = split == "test" or row["identity"] == "p01"
            if few and kept.count(met) >= limit:
                continue
            kept.append(met)
            image = row.pop("image")
            paths.write(folder / image, (pictures / image).read_bytes())
            for name, own in names.items():
                row |= {
                    key: row[key].replace(name, own)
                    for key in ("name", "question", "answer", "target")
                }
            row["attribute"] = attributes[row["attribute"]]
            file_name = image.removeprefix(f"{split}/")
            lines.append(json.dumps({"file_name": file_name, **row}, ensure_ascii=False))
        paths.write(folder / split / "metadata.jsonl", "\n".join(lines))


def test_people_of_ones_own_go_through_the_notebooks(first, tmp_path, monkeypatch):
    """And hardly fit: nobody is asked for a name, next to nothing is held out, one has less."""
    folder = tmp_path / "my people"
    data = dataset.data_of(load_config("smoke").dataset)
    theirs = dataset.folder_of(data, first.folders.runs)
    rows = dataset.rows_of(data, first.folders.runs)
    write_own(rows[rows.identity != "p04"], theirs, folder)
    assert not any(validation.inspect(folder)[1].values())

    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    folders = paths.outputs("smoke")
    for made in ("base", "tower"):  # they are not what this is about
        for path in first.folders.runs.glob(f"{made}-*"):
            shutil.copytree(path, folders.runs / path.name)
    asked = ["--set", f"benchmark={folder}", "--set", "stage2.forget_set=[p01]"]
    assert __main__.main(["reproduce", "--scale", "smoke", *asked, "04", "06", "07"]) == 0
    table2 = pd.read_csv(folders.tables / "table2.csv")
    assert set(table2.not_learned) == {1} and table2.filter(like="paper_").isna().all(axis=None)
    page = (folders.site / "index.html").read_text()
    assert "Stage 1 did not memorise 4 of 4" in page and "benchmark.folder" in page
    assert "in the smoke my people (own) world" in page
