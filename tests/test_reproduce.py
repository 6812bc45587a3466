"""reproduce, on small notebooks of its own: what papermill lets through, and what must be left."""

import csv
import json
import os
import re
import subprocess
import sys
import time

import nbformat
import papermill
import pytest

from remem import page, params, paths, reproduce

HEADER = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A notebook

# %% tags=["parameters"]
scale = "tiny"
models = None
seeds = None
workers = None
dataset = None
base = None
stage1 = None
stage2 = None
evaluate = None
experiments = None
judge = None
benchmark = None
construction = None
"""


@pytest.fixture
def house(tmp_path, monkeypatch):
    """An empty folder of notebooks and one of outputs; `write` adds a notebook of some cells."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))

    def write(name: str, *cells: str, header: str = HEADER):
        path = tmp_path / "notebooks" / f"{name}.py"
        path.write_text(header + "".join(f"\n# %%\n{cell}\n" for cell in cells))
        return path

    return write


def smoke(*arguments: str) -> int:
    return reproduce.main(["--scale", "smoke", *arguments])


def left() -> list[str]:
    root = paths.outputs("smoke").root
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.*b") if path.is_file())


def no_run(house, capsys, *arguments: str) -> str:
    house("01_a", "1 / 0")
    assert smoke(*arguments) == 2
    assert left() == []
    return capsys.readouterr().err


def test_a_good_run_from_parameters_to_page(house, capsys):
    house(
        "01_good",
        "from remem import paths\nfolders = paths.outputs(scale)",
        "paths.write(folders.tables / 'table3.csv', 'model,EM\\ntiny,95\\n')",
        "import time\nfrom tqdm import tqdm\n"
        "for _ in tqdm(range(40)):\n    time.sleep(0.01)",
        "import matplotlib.figure\nfigure = matplotlib.figure.Figure()\nfigure.subplots()\n"
        "paths.save_figure(figure, folders.figures / 'fig5')",
        "print('lr', stage1['lr'], seeds, scale)",
    )
    assert smoke("--set", "stage1.lr=5.0e-5", "--set", "seeds=[3]") == 0
    out = capsys.readouterr().out
    assert out.count("[1/1] 01_good") == 1 and " s\n" in out

    folders = paths.outputs("smoke")
    executed = nbformat.read(folders.notebooks / "01_good.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "lr 5e-05 [3] smoke\n"
    ids = [cell.id for cell in executed.cells]
    assert ids[:4] == ["cell-00", "cell-01", "injected-parameters-00", "cell-02"]
    bar = [output for output in executed.cells[5].outputs if "40/40" in output.get("text", "")]
    assert len(bar) == len(executed.cells[5].outputs) == 1  # one line is left
    assert bar[0].text.count("\n") <= 1 and "\r" not in bar[0].text
    assert executed.metadata.papermill.parameters["stage1"]["lr"] == 5e-5
    assert isinstance(executed.metadata.papermill.input_path, str)

    index = (folders.root / "index.html").read_text()
    assert index.index("Table 3") < index.index("Figure 5")
    assert 'href="html/01_good.html"' in index and (folders.html / "01_good.html").exists()
    [row] = csv.DictReader((folders.root / "notebooks.csv").open())
    assert row["notebook"] == "01_good" and row["longest"] == row["seconds"]
    assert page.duration(float(row["seconds"])) in index and "older than" not in index
    assert "stage1.lr = 5e-05" in index and "seeds = [3]" in index

    html = (folders.html / "01_good.html").read_text()
    assert "40/40" in html and not FETCHED.search(html)


# what a browser gets for a page without being asked
FETCHED = re.compile(
    r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)\s*=\s*["']?(?:https?:)?//"""
    r"""|url\(\s*["']?(?:https?:)?//|@import\s+["']?(?:https?:)?//|import[^;]{0,80}["']https?://""",
    re.IGNORECASE,
)


def test_what_would_be_fetched_is_found():
    for fetched in (
        '<script src="https://cdn/x.js">', "<link rel=x\nhref='http://a/b.css'>",
        '<script async src="//cdn/x.js">', "background: url(http://a/b.png)",
        'import mermaid from "https://cdn/mermaid.mjs";',
    ):  # fmt: skip
        assert FETCHED.search(fetched), fetched
    for kept in ('<a href="https://a/b">', '<img src="data:image/png;base64,//8=">', "url(#a)"):
        assert not FETCHED.search(kept), kept


@pytest.mark.parametrize(
    "cell, told",
    [
        ("x = 1\n1 / 0", "cell-02 ('x = 1') raised ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(0)", "cell-02 ('import sys') raised SystemExit: 0"),
        ("import os\nos.kill(os.getpid(), 9)", "stopped at cell-02 ('import os'): DeadKernel"),
    ],
)
def test_a_run_that_stops_is_kept_as_failed(house, capsys, cell, told):
    house("01_bad", cell, "print('done')")
    house("02_after", "print('never')")
    assert smoke() == 1
    said = capsys.readouterr()
    assert "01_bad.py: " in said.err and told in said.err
    assert "02_after" not in said.out
    assert left() == ["notebooks/01_bad.failed.ipynb"]
    index = (paths.outputs("smoke").root / "index.html").read_text()
    assert "html/01_bad.failed.html" in index and "Failed: 01_bad." in index


def test_a_folder_that_cannot_be_taught_stops_before_anything_is_trained(house, capsys, tmp_path):
    people = tmp_path / "people"
    for split in ("train", "test"):
        (people / split).mkdir(parents=True)
        (people / split / "metadata.jsonl").write_text("{}\n" if split == "train" else "")
    told = no_run(house, capsys, "--set", f"benchmark={people}")
    assert "train/metadata.jsonl, line 1: the key 'file_name' is missing" in told


def test_what_the_last_call_left_alone_is_told(house):
    write = (
        "from remem import paths\n"
        "paths.write(paths.outputs(scale).tables / '{}.csv', 'EM\\n1\\n')"
    )
    house("01_a", write.format("table3"))
    house("02_b", write.format("table2"))
    assert smoke() == 0
    house("02_b", "1 / 0")
    assert smoke("--set", "seeds=[3]", "02") == 1
    index = (paths.outputs("smoke").root / "index.html").read_text()
    assert "Failed: 02_b." in index and "Not run in the last call: 01_a." in index
    assert "other parameters: Table 2, Table 3." in index
    assert index.count("seeds = [3]") == 2  # beside the notebook, and in front of all


def test_of_bars_inside_bars_one_line_each_is_left():
    text = (
        "runs:   0%|     | 0/2 [00:00<?]\ntraining:  50%| | 1/2 [00:01]\x1b[A\nruns:  50%|# | 1/2\n"
        "a word of its own\n\ntraining: 100%|##| 2/2 [00:02]\x1b[A\nruns: 100%|##| 2/2\n"
    )
    assert reproduce._one_line_a_bar(text) == (
        "a word of its own\n\ntraining: 100%|##| 2/2 [00:02]\nruns: 100%|##| 2/2\n"
    )


def test_a_cell_that_never_ran_is_told_though_nothing_failed():
    from nbformat.v4 import new_code_cell, new_notebook

    result = new_notebook(cells=[new_code_cell(f"x = {n}", id=f"cell-0{n}") for n in range(3)])
    for number, cell in enumerate(result.cells):
        cell.execution_count = number + 1
    assert reproduce._why_unfinished(result, None) is None
    result.cells[1].execution_count = None
    assert reproduce._why_unfinished(result, None).startswith("cell-01 ('x = 1') never ran")


def test_a_run_that_succeeds_takes_the_failed_one_away(house):
    house("01_a", "1 / 0")
    assert smoke() == 1
    house("01_a", "1 / 1")
    assert smoke() == 0
    assert left() == ["notebooks/01_a.ipynb"]
    assert "failed</span>" not in (paths.outputs("smoke").root / "index.html").read_text()


@pytest.mark.parametrize(
    "assignment, told",
    [
        ("stage1.lr=5e-5", "stage1.lr: .*5.0e-5"),
        ("stage1.epoch=3", "did you mean 'epochs'"),
        ("stage9.epochs=3", "did you mean 'stage2'"),
        ("seeds=3", "seeds: 3 was given; it should be a list"),
        ("stage1", "should be KEY=VALUE"),
        ("stage1.=3", "should be KEY=VALUE"),
        ("seeds=[1", "not valid YAML"),
        ("seeds=2001-02-31", "not valid YAML"),
        ("scale=tiny", "chosen by --scale"),
    ],
)
def test_a_mistyped_parameter_is_refused_before_anything_runs(house, capsys, assignment, told):
    assert re.search(told, no_run(house, capsys, "--set", assignment))


def test_a_notebook_that_would_not_hear_a_parameter_is_refused(house, capsys):
    house("02_deaf", "1", header=HEADER.replace("stage1 = None", "stage_1 = None"))
    told = no_run(house, capsys)
    assert "02_deaf.py" in told and "missing: stage1; unknown: stage_1" in told


def test_an_unknown_notebook_is_refused_and_a_number_is_enough(house, capsys):
    assert "03: not one of the notebooks: 01_a" in no_run(house, capsys, "03")
    house("02_b", "print('b')")
    assert smoke("02") == 0
    assert left() == ["notebooks/02_b.ipynb"]


def test_outputs_that_cannot_be_written_are_refused(house, tmp_path, capsys, monkeypatch):
    house("01_a", "1")
    (tmp_path / "file").touch()
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "file" / "outputs"))
    assert smoke() == 2
    assert "is not a folder that can be written" in capsys.readouterr().err


def test_a_parameter_file_of_ones_own(house, tmp_path, capsys):
    house("01_a", "print(seeds)")
    text = (paths.PARAMS / "smoke.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("seeds: [1]", "seeds: [7]"))
    assert reproduce.main(["--params", str(tmp_path / "mine.yaml")]) == 0
    executed = nbformat.read(paths.outputs("smoke").notebooks / "01_a.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "[7]\n"


def test_killed_half_way_nothing_looks_finished_and_a_second_run_waits_its_turn(
    house, tmp_path, capsys
):
    ready = tmp_path / "ready"
    house("01_slow", f"open({str(ready)!r}, 'w').close()", "import time\ntime.sleep(60)")
    script = (
        "import sys; from pathlib import Path; from remem import paths, reproduce\n"
        f"paths.NOTEBOOKS = Path({str(paths.NOTEBOOKS)!r})\n"
        "sys.exit(reproduce.main(['--scale', 'smoke']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    limit = time.monotonic() + 40
    while not ready.exists():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    assert smoke() == 2
    assert f"process {process.pid} is running" in capsys.readouterr().err
    process.kill()
    process.wait()
    assert left() == []
    house("01_slow", "print('quick now')")
    assert smoke() == 0
    assert left() == ["notebooks/01_slow.ipynb"]


def test_plain_jupytext_and_papermill_do_the_same(house, tmp_path):
    """For people who prefer it: the keys of the YAML are papermill's parameters."""
    path = house(
        "01_a",
        "from remem import params\n"
        "p = params.load(scale, models=models, seeds=seeds, workers=workers, dataset=dataset,\n"
        "                base=base, stage1=stage1, stage2=stage2, evaluate=evaluate)",
        "print(p.model_dump_json())",
    )
    subprocess.run(
        [sys.executable, "-m", "jupytext", "--to", "ipynb", str(path)], check=True,
        capture_output=True,
    )  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "papermill", str(path.with_suffix(".ipynb")),
         str(tmp_path / "out.ipynb"), "-f", str(paths.PARAMS / "smoke.yaml"), "--no-progress-bar"],
        check=True, capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    expected = params.load("smoke").model_dump(mode="json")
    assert json.loads(executed.cells[-1].outputs[0].text) == expected
    assert set(papermill.inspect_notebook(str(path.with_suffix(".ipynb")))) == set(expected)
