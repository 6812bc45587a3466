"""reproduce, on small notebooks of its own: what papermill lets through, and what must be left."""

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest
from browser import until
from nbformat.v4 import new_code_cell, new_notebook, new_output

from remem import __main__, paths, reproduce, runs
from remem.config import load_config
from remem.report import calls

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
overrides = {}
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
    return __main__.main(["reproduce", "--scale", "smoke", *arguments])


def left(name: str = "smoke") -> list[str]:
    root = paths.outputs(name).root
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.*b") if path.is_file())


def no_run(house, capsys, *arguments: str, status: int = 2) -> str:
    house("01_a", "1 / 0")
    assert smoke(*arguments) == status
    assert left() == []
    return capsys.readouterr().err


def test_a_good_run_from_parameters_to_page(house, capsys):
    house(
        "01_good",
        "from remem import paths\nfolders = paths.outputs(scale)",
        "paths.write(folders.tables / 'table3.csv', 'model,EM\\ntiny,95\\n')",
        "import sys, time\nfrom tqdm import tqdm\nprint('a word', file=sys.stderr)\n"
        "for _ in tqdm(range(40), desc='all'):\n    time.sleep(0.01)\n"
        "    for _ in tqdm(range(2), desc='each', leave=False):\n        pass",
        "import matplotlib.figure\nfigure = matplotlib.figure.Figure()\nfigure.subplots()\n"
        "paths.save_figure(figure, folders.figures / 'fig5')",
        "print('lr', overrides['stage1']['lr'], overrides['seeds'], scale)",
    )
    assert smoke("--set", "stage1.lr=5e-5", "--set", "seeds=[3]") == 0
    out = capsys.readouterr().out
    assert out.count("[1/1] 01_good") == 1 and " s\n" in out

    folders = paths.outputs("smoke")
    executed = nbformat.read(folders.notebooks / "01_good.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "lr 5e-05 [3] smoke\n"
    ids = [cell.id for cell in executed.cells]
    assert ids[:4] == ["cell-00", "cell-01", "injected-parameters-00", "cell-02"]
    bar, word = executed.cells[5].outputs  # of a bar one line is left, and not in red
    assert (bar.name, word.name, word.text) == ("stdout", "stderr", "a word\n")
    assert bar.text.startswith("all: 100%|") and "40/40" in bar.text
    assert bar.text.count("\n") == 1 and "\r" not in bar.text and " 0%" not in bar.text
    assert executed.metadata.papermill.parameters["overrides"]["stage1"]["lr"] == 5e-5
    assert isinstance(executed.metadata.papermill.input_path, str)

    assert "site/index.html" in (folders.root / "index.html").read_text()
    index = (folders.site / "index.html").read_text()
    assert index.index("Table 3") < index.index("Figure 5")
    assert "stage1.lr = 5e-05" in index and "seeds = [3]" in index  # beside what the file says
    kept = (folders.site / "notebooks.html").read_text()
    assert 'href="../html/01_good.html"' in kept and (folders.html / "01_good.html").exists()
    [row] = csv.DictReader((folders.root / "notebooks.csv").open())
    assert row["notebook"] == "01_good" and row["longest"] == row["seconds"]
    assert calls.duration(float(row["seconds"])) in kept and "older than" not in index

    html = (folders.html / "01_good.html").read_text()
    assert "40/40" in html and not FETCHED.search(html)


def test_a_log_says_how_far_a_notebook_is_and_what_all_took(house, capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "EVERY", 0.1)
    code = (
        "import time\nfrom tqdm import tqdm\n"
        "for _ in tqdm(range(4), desc='runs', mininterval=0):\n    time.sleep(0.4)"
    )
    house("01_slow", code)
    assert smoke() == 0
    out = capsys.readouterr().out
    assert re.search(r"\n    after \d\.\d s: runs [1-4]/4\n", out), out
    assert "1 notebook in " in out and "This will take" not in out
    assert smoke() == 0
    assert "This will take about a minute, by the last run" in capsys.readouterr().out
    assert paths.outputs("smoke").machine.is_file()


@pytest.mark.parametrize(
    "text, told",
    [
        ("\rruns:  46%|####6     | 23/50 [00:12<00:14,  1.9run/s]", "runs 23/50"),
        ("\rruns:   0%|          | 0/50\rruns:   2%|2         | 1/50 [", "runs 1/50"),
        ("a word\n", ""),
    ],
)
def test_the_last_bar_is_what_is_told(text, told):
    terminal = reproduce._Terminal()
    assert terminal.write(text) == len(text) and terminal.progress == told


def test_what_a_notebook_shows_is_neither_run_nor_fetched(browser, tmp_path):
    table = (
        "<table id='told'><tr><td>42</td></tr></table><script>told.remove()</script>"
        "<img src='http://127.0.0.1:9/a.png' onerror='told.remove()'>"
        "<form action='http://127.0.0.1:9/' id='sent'><input name='a' value='b'></form>"
    )
    shown = new_output("execute_result", {"text/html": table}, execution_count=1)
    folders = paths.Folders(tmp_path, tmp_path / "runs")
    cells = [new_code_cell("1", outputs=[shown], execution_count=1)]
    reproduce._save(new_notebook(cells=cells), folders, "x")
    html = (folders.html / "x.html").read_text()
    assert html.index(reproduce.POLICY) < html.index("<style"), "it goes for all that follows it"
    browser.open(folders.html / "x.html")
    assert browser.value("document.querySelector('#told').innerText") == "42"
    browser.value("document.querySelector('#sent').submit()")
    assert browser.value("location.protocol") == "file:"
    stopped = {
        e["requestId"]: e.get("blockedReason") for e in browser.seen("Network.loadingFailed")
    }
    for event in browser.seen("Network.requestWillBeSent"):
        inside = event["request"]["url"].startswith(("file:", "data:"))
        assert inside or stopped[event["requestId"]] == "csp"

    def refused(what):
        browser.value("0")  # what was logged meanwhile comes along
        texts = [event["entry"]["text"] for event in browser.seen("Log.entryAdded")]
        return any("Content Security Policy" in text and what in text for text in texts)

    for what in ("inline script", "event handler", "form data"):
        until(lambda what=what: refused(what))


# what a browser gets for a page without being asked
FETCHED = re.compile(
    r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)\s*=\s*["']?(?:https?:)?//"""
    r"""|url\(\s*["']?(?:https?:)?//|@import\s+["']?(?:https?:)?//|import[^;]{0,80}["']https?://""",
    re.IGNORECASE,
)


def test_what_would_be_fetched_is_found():
    for fetched in (
        '<script src="https://cdn/x.js">',
        "<link rel=x\nhref='http://a/b.css'>",
        '<script async src="//cdn/x.js">',
        "background: url(http://a/b.png)",
        'import mermaid from "https://cdn/mermaid.mjs";',
    ):
        assert FETCHED.search(fetched), fetched
    for kept in ('<a href="https://a/b">', '<img src="data:image/png;base64,//8=">', "url(#a)"):
        assert not FETCHED.search(kept), kept


@pytest.mark.parametrize(
    "cell, told",
    [
        ("x = 1\n1 / 0", "cell-02 ('x = 1') raised ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(0)", "cell-02 ('import sys') raised SystemExit: 0"),
        (
            "import os\nos.kill(os.getpid(), 9)",
            "stopped at cell-02 ('import os'): DeadKernelError: Kernel died. The notebook's "
            "process was killed (out of memory?); lower `workers`",
        ),
    ],
)
def test_a_run_that_stops_is_kept_as_failed(house, capsys, cell, told):
    house("01_bad", cell, "print('done')")
    house("02_after", "print('all the same')")
    assert smoke() == 1
    said = capsys.readouterr()
    assert "01_bad.py: " in said.err and told in said.err
    assert "[1/2] 01_bad    failed" in said.out and "all tables" not in said.out
    assert "error: 1 of 2 notebooks failed: 01_bad." in said.err
    assert left() == ["notebooks/01_bad.failed.ipynb", "notebooks/02_after.ipynb"]
    site = paths.outputs("smoke").site
    assert "../html/01_bad.failed.html" in (site / "notebooks.html").read_text()
    assert "Failed: 01_bad." in (site / "index.html").read_text()


def test_what_is_missing_is_left_out_and_the_rest_runs(house, capsys):
    """The notebooks are told so by a parameter, and say so."""
    house(
        "01_a",
        "from remem import experiments\nfrom remem.config import load_config",
        "config = load_config(scale, overrides)\nprint(len(experiments.ability(config)))",
        "print(config.experiments.ability.source, config.seeds)",
    )
    assert smoke("--set", "experiments.ability.source=nowhere.tsv", "--set", "seeds=[3]") == 0
    assert "note: Table 4 is left out: experiments.ability.source: " in capsys.readouterr().err
    executed = nbformat.read(paths.outputs("smoke").notebooks / "01_a.ipynb", as_version=4)
    assert [cell.outputs[0].text for cell in executed.cells[-2:]] == ["0\n", "None (3,)\n"]
    index = (paths.outputs("smoke").site / "index.html").read_text()
    assert "experiments.ability.source = null" in index


def test_a_folder_that_cannot_be_taught_stops_before_anything_is_trained(house, capsys, tmp_path):
    people = tmp_path / "people"
    for split in ("train", "test"):
        (people / split).mkdir(parents=True)
        (people / split / "metadata.jsonl").write_text("{}\n" if split == "train" else "")
    told = no_run(house, capsys, "--set", f"benchmark={people}", status=1)
    assert "train/metadata.jsonl, line 1: the key 'file_name' is missing" in told


@pytest.mark.parametrize(
    "assignment, told",
    [
        ("stage2.hyperparameters.NPO.gamma=1", "NPO has no such hyper-parameter; it has beta"),
        ("stage2.forget_ratio=0.99", "leaves no one to forget or no one to retain"),
        ("stage2.forget_set=forget5", "the data has no forget set 'forget5'"),
        ("benchmark=nobody", "there is no such folder"),
    ],
)
def test_what_a_notebook_would_stumble_over_is_told_first(house, capsys, assignment, told):
    assert told in no_run(house, capsys, "--set", assignment, "--out", "mine")
    assert not paths.outputs("mine").root.exists()


def test_what_the_last_call_left_alone_is_told(house):
    write = (
        "from remem import paths\npaths.write(paths.outputs(scale).tables / '{}.csv', 'EM\\n1\\n')"
    )
    house("01_a", write.format("table3"))
    house("02_b", write.format("table2"))
    assert smoke() == 0
    house("02_b", "1 / 0")
    assert smoke("--set", "seeds=[3]", "02") == 1
    site = paths.outputs("smoke").site
    index = (site / "index.html").read_text()
    assert "Failed: 02_b." in index and "Not run in the last call: 01_a." in index
    assert "other parameters: Table 2, Table 3." in index
    assert "seeds = [3]" in index and "seeds = [3]" in (site / "notebooks.html").read_text()


def test_of_bars_that_ended_one_line_each_is_left_and_none_in_red():
    text = (
        "runs:   0%|     | 0/2 [00:00<?]\ntraining:  50%| | 1/2 [00:01]\x1b[A\nruns:  50%|# | 1/2\n"
        "a word of its own\n\ntraining: 100%|##| 2/2 [00:02]\x1b[A\nruns: 100%|##| 2/2\n"
        "\ntracing:   0%|  | 0/2 [00:00<?]\x1b[A\n                        \r\x1b[A"
    )
    shown = new_output("stream", name="stderr", text=text)
    bars, word = reproduce._calm(shown, failed=False)
    assert bars.text == "training: 100%|##| 2/2 [00:02]\nruns: 100%|##| 2/2\n"
    assert (bars.name, word.name, word.text.strip()) == ("stdout", "stderr", "a word of its own")
    bars, _ = reproduce._calm(shown, failed=True)  # then it is told how far it came
    assert bars.text.endswith("tracing:   0%|  | 0/2 [00:00<?]\n")
    unnamed = new_output("stream", name="stderr", text="\r  0%| | 0/4\r100%|##| 4/4 [00:01]\n")
    assert [part.text for part in reproduce._calm(unnamed, False)] == ["100%|##| 4/4 [00:01]\n"]
    other = new_output("display_data", data={"text/plain": "100%|"})
    assert reproduce._calm(other, False) == [other]


def test_a_users_own_settings_change_nothing(house, tmp_path, monkeypatch, capfd):
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    other = {"argv": ["false", "{connection_file}"], "display_name": "other", "language": "python"}
    paths.write(kernel, json.dumps(other))
    rc = paths.write(tmp_path / "matplotlibrc", "text.usetex: True\nfont.size: 40\nno.such: key\n")
    startup = paths.write(tmp_path / "startup.py", "1 / 0")
    profile = tmp_path / "ipython" / "profile_default"
    paths.write(profile / "startup" / "00.py", "1 / 0")
    paths.write(profile / "ipython_kernel_config.py", "c.InlineBackend.figure_formats = {'svg'}")
    for name, value in {
        "JUPYTER_PATH": tmp_path / "jupyter",
        "MATPLOTLIBRC": rc,
        "MPLBACKEND": "TkAgg",
        "IPYTHONDIR": tmp_path / "ipython",
        "PYTHONSTARTUP": startup,
        "PYTHONIOENCODING": "ascii",
        "LC_ALL": "C",
    }.items():
        monkeypatch.setenv(name, str(value))
    house(
        "01_a",
        "import sys\nprint(sys.executable, sys.stdout.encoding, open('/dev/null').encoding)",
        "from matplotlib import rcParams\nprint(rcParams['text.usetex'], rcParams['font.size'])",
        "import matplotlib.pyplot as plt\nprint('山田')\nplt.plot([1, 2]); plt.show()",
    )
    assert smoke() == 0
    said = capfd.readouterr()
    assert said.err == "" and "ERROR" not in said.out
    executed = nbformat.read(paths.outputs("smoke").notebooks / "01_a.ipynb", as_version=4)
    first, second, third = (cell.outputs for cell in executed.cells[-3:])
    assert first[0].text.split() == [sys.executable, "UTF-8", "utf-8"]
    assert second[0].text == "False 10.0\n"
    assert third[0].text == "山田\n" and [*third[1].data] == ["image/png", "text/plain"]


def test_what_a_kernel_leaves_among_temporary_files_goes_with_it(house):
    leave = "import os, tempfile\nprint(tempfile.mkdtemp(), os.environ['TMPDIR'])"
    house("01_a", leave, "os.kill(os.getpid(), 9)")
    house("02_b", leave)
    assert smoke("01") == 1 and smoke("02") == 0
    for name in ("01_a.failed", "02_b"):
        executed = nbformat.read(paths.outputs("smoke").notebooks / f"{name}.ipynb", as_version=4)
        [text] = [cell.outputs[0].text for cell in executed.cells if "mkdtemp" in cell.source]
        folder, above = map(Path, text.split())
        assert folder.parent == above and above.parent.parent == Path(tempfile.gettempdir())
        assert not above.parent.exists()


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
    assert "failed</span>" not in (paths.outputs("smoke").site / "notebooks.html").read_text()


@pytest.mark.parametrize(
    "assignment, told",
    [
        ("stage1.lr='5e-5'", 'stage1.lr: "5e-5" was given; it should be a number'),
        ("stage1.epoch=3", "did you mean 'epochs'"),
        ("stage9.epochs=3", "did you mean 'stage2'"),
        ("seeds=3", "seeds: 3 was given; it should be a list"),
        ("stage1", "should be KEY=VALUE"),
        ("stage1.=3", "not a dotted key"),
        ("seeds=[1", "not valid YAML"),
        ("seeds=2001-02-31", "should be a list"),
        ("scale=tiny", "chosen by `scale`"),
        ("outputs=../tiny", "is not a plain name"),
        ("outputs=tiny", "is where that scale's own go"),
    ],
)
def test_a_mistyped_parameter_is_refused_before_anything_runs(house, capsys, assignment, told):
    assert re.search(told, no_run(house, capsys, "--set", assignment))


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("overrides = {}", "override = {}", "missing: overrides; unknown: override"),
        ("overrides = {}", "overrides = {}\nseeds = None", "missing: none; unknown: seeds"),
        ('scale = "tiny"\n', "", "missing: scale; unknown: none"),
    ],
)
def test_a_notebook_that_would_not_hear_a_parameter_is_refused(house, capsys, old, new, told):
    house("02_deaf", "1", header=HEADER.replace(old, new))
    said = no_run(house, capsys)
    assert "02_deaf.py" in said and told in said


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


def test_a_parameter_file_of_ones_own(house, tmp_path, capsys, monkeypatch):
    house(
        "01_a", "from remem.config import load_config\nprint(load_config(scale, overrides).seeds)"
    )
    text = (paths.PARAMS / "smoke.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("seeds: [1]", "seeds: [7]"))
    monkeypatch.chdir(tmp_path)  # a relative path is of where the command was given
    assert __main__.main(["reproduce", "--params", "mine.yaml"]) == 0
    executed = nbformat.read(paths.outputs("smoke").notebooks / "01_a.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "(7,)\n"


def test_an_experiment_goes_beside_the_reproduction(house):
    house(
        "01_a", "from remem.config import load_config\nprint(load_config(scale, overrides).outputs)"
    )
    assert smoke() == 0
    before = (paths.outputs("smoke").notebooks / "01_a.ipynb").read_bytes()
    assert smoke("--out", "mine", "--set", "seeds=[3]") == 0
    assert left("mine") == ["notebooks/01_a.ipynb"]
    executed = nbformat.read(paths.outputs("mine").notebooks / "01_a.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "mine\n"
    assert (paths.outputs("smoke").notebooks / "01_a.ipynb").read_bytes() == before


def test_outputs_of_an_earlier_layout_are_refused_and_not_touched(house, capsys):
    root = paths.outputs("smoke").root
    paths.write(root / "tables" / "table3.csv", "EM\n1\n")
    house("01_a", "1")
    assert smoke() == 2
    said = capsys.readouterr().err
    assert str(root) in said and "earlier layout" in said and "--out NAME" in said
    assert [path.name for path in root.rglob("*")] == ["tables", "table3.csv"]
    assert smoke("--out", "mine") == 0


def test_outputs_of_other_data_are_refused(house, capsys):
    house("01_a", "1")
    assert smoke() == 0
    assert smoke("--set", "seeds=[3]") == 0  # other seeds are the same data
    capsys.readouterr()
    assert smoke("--set", "dataset.seed=5") == 2
    said = capsys.readouterr().err
    assert str(paths.outputs("smoke").root) in said and "--out NAME" in said
    assert smoke("--set", "dataset.seed=5", "--out", "mine") == 0


def test_killed_half_way_nothing_looks_finished_and_a_second_run_waits_its_turn(
    house, tmp_path, capsys, monkeypatch
):
    ready, begun = tmp_path / "ready", "from remem.report import output\noutput.begin('x', scale)"
    house("01_slow", begun, f"open({str(ready)!r}, 'w').close()", "import time\ntime.sleep(600)")
    for name in ("TMPDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is looked up once
    process = another_smoke()
    wait_for(ready.exists, process)
    assert list((tmp_path / "TMPDIR").iterdir())
    assert smoke() == 2
    assert f"process {process.pid} is running" in capsys.readouterr().err
    half = paths.write(paths.outputs("smoke").tables / f".{'0a' * 8}.part", "EM")
    process.kill()  # its kernel ends within a second
    process.communicate()
    assert left() == []
    house("01_slow", "print('quick now')")
    assert smoke() == 0
    assert left() == ["notebooks/01_slow.ipynb"] and not half.exists()
    for name in ("TMPDIR", "JUPYTER_RUNTIME_DIR"):
        assert not list((tmp_path / name).iterdir())


def another_smoke() -> subprocess.Popen:
    """`remem reproduce --scale smoke` with the same notebooks, in a process of its own."""
    script = (
        "import sys; from pathlib import Path; from remem import __main__, paths\n"
        f"paths.NOTEBOOKS = Path({str(paths.NOTEBOOKS)!r})\n"
        "sys.exit(__main__.main(['reproduce', '--scale', 'smoke']))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process: subprocess.Popen) -> None:
    limit = time.monotonic() + 300
    while not condition():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.05)


def test_a_wait_for_another_process_is_shown_in_the_terminal(house, tmp_path, capsys):
    ready, lock = tmp_path / "ready", tmp_path / "stage1-1"
    house(
        "01_waits",
        "import sys\nfrom pathlib import Path\nfrom remem import runs\nfrom tqdm import tqdm",
        f"open({str(ready)!r}, 'w').close()\nbar = tqdm(total=2, desc='runs')\n"
        f"with runs.locked(Path({str(lock)!r})):\n    bar.close()",
        "print('of no concern', file=sys.stderr)",
    )
    with runs.locked(lock):
        process = another_smoke()
        wait_for(ready.exists, process)
        assert process.stderr
        said = "".join(
            iter(
                process.stderr.readline, "remem: stage1-1: another process is making it; waiting\n"
            )
        )
    assert process.communicate(timeout=300)[1] == "" and process.returncode == 0
    assert said.strip() == ""  # and nothing else is


def test_a_damaged_run_is_told_though_the_bookkeeping_meets_it_too(house, capsys):
    """The message that says what to delete is what is shown."""
    house(
        "01_a",
        "from remem import paths, runs\nfolder = paths.outputs(scale).runs / 'toy-1'",
        'for name, text in ((\'DONE\', \'{"files": {"a": {"bytes": 1, "sha256": ""}}}\'),'
        " ('spec.json', ''), ('a', 'x')):\n    paths.write(folder / name, text)",
        "runs.verify(folder)",
    )
    assert smoke() == 1
    told = capsys.readouterr().err
    assert "a was changed after the run was done; delete the folder" in told
    assert "Traceback" not in told


def test_bookkeeping_that_cannot_be_written_hides_nothing(house, capsys, monkeypatch):
    def full(*_):
        raise paths.CannotWrite("cannot write notebooks.csv: No space left on device")

    monkeypatch.setattr(reproduce.calls, "remember", full)
    house("01_a", "1 / 0")
    assert smoke() == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_table_that_papermill_made_with_other_parameters_is_told(house, tmp_path, monkeypatch):
    cells = (
        "import pandas as pd\nfrom remem.report import output",
        "config, out = output.begin('01_a', scale, overrides)",
        "out.table('table2', pd.DataFrame({'EM': config.seeds}))",
    )
    path = house("01_a", *cells)
    house("02_b", "print('b')")
    assert smoke() == 0
    site = paths.outputs("smoke").site
    assert "other parameters" not in (site / "index.html").read_text()
    jupytext.write(jupytext.read(path), tmp_path / "in.ipynb")
    monkeypatch.setenv("PYTHONPATH", str(paths.ROOT))
    given = {"scale": "smoke", "overrides": {"seeds": [3]}}
    papermill.execute_notebook(
        str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), given, progress_bar=False
    )
    assert (paths.outputs("smoke").tables / "table2.csv").read_text() == "EM\n3\n"
    assert smoke("02") == 0
    assert "Made with other parameters: seeds = [3] (file: [1])." in (
        (site / "table2.html").read_text()
    )
    said = "Not of this run, but made with seeds = [3] (file: [1]): Table 2"
    assert said in (site / "notebooks.html").read_text()
    assert "as far as is known: Table 2." in (site / "index.html").read_text()


def test_plain_jupytext_and_papermill_do_the_same(house, tmp_path):
    """For people who prefer it."""
    path = house(
        "01_a",
        "from remem.config import load_config\nconfig = load_config(scale, overrides)",
        "print(config.model_dump_json())",
    )
    subprocess.run(
        [sys.executable, "-m", "jupytext", "--to", "ipynb", str(path)],
        check=True,
        capture_output=True,
    )
    source, out = str(path.with_suffix(".ipynb")), str(tmp_path / "out.ipynb")
    given = ["-p", "scale", "smoke", "-y", "overrides: {stage1.epochs: 2}", "--no-progress-bar"]
    subprocess.run(
        [sys.executable, "-m", "papermill", source, out, *given],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    executed = nbformat.read(out, as_version=4)
    expected = load_config("smoke", {"stage1.epochs": 2}).model_dump(mode="json")
    assert json.loads(executed.cells[-1].outputs[0].text) == expected
    assert set(papermill.inspect_notebook(source)) == set(reproduce.PARAMETERS)


def test_running_notebooks_needs_no_torch():
    code = "import sys, remem.reproduce\nassert not {'torch', 'transformers'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
