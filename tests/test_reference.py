"""reference: executed notebooks are light and whole, and say when their source has changed."""

import base64
import io

import jupytext
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from remem import paths, reference
from remem.report import machine

MOST = 20_000_000  # bytes of all executed notebooks together

SOURCE = "# %% [markdown]\n# # A title\n\n# %%\n1 + 1\n"


def png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=0, dpi=(220, 220))
    return base64.b64encode(buffer.getvalue()).decode()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def executed(*outputs, source: str = "1 + 1"):
    injected = new_code_cell("scale = 'smoke'", metadata={"tags": ["injected-parameters"]})
    cell = new_code_cell(source, outputs=[*outputs], metadata={"papermill": {"duration": 5}})
    notebook = new_notebook(cells=[new_markdown_cell("# A title"), injected, cell])
    given = {"parameters": {"scale": "smoke"}, "environment_variables": {}, "duration": 5}
    notebook.metadata["papermill"] = given
    return notebook


def test_a_bar_and_the_plain_text_of_a_table_go_and_all_else_stays():
    bars = "runs: 100%|####| 3/3 [00:01<00:00]\na word\n"
    table = new_output("display_data", {"text/html": "<table>", "text/plain": "<Styler at 0x7f>"})
    before = executed(
        new_output("stream", text=bars),
        new_output("stream", text="runs: 100%|####| 3/3 [00:01<00:00]\n"),
        table,
        new_output("execute_result", {"text/plain": "2"}),
    )
    light = reference.thinned(before)
    word, html, two = light.cells[2].outputs
    assert word.text == "a word\n" and html.data == {"text/html": "<table>"}
    assert two.data == {"text/plain": "2"} and light.cells[2].metadata == {}
    assert light.metadata.papermill == {"parameters": {"scale": "smoke"}}
    assert light.cells[1].metadata.tags == ["injected-parameters"]
    nbformat.validate(light)


@pytest.mark.parametrize("colours", [3, 5000])
def test_a_picture_keeps_every_point_in_fewer_bytes(colours):
    points = np.random.default_rng(0).integers(0, colours, (90, 120))
    rgb = np.stack([points % 251, points // 251, points % 7], axis=-1).astype(np.uint8)
    text = png(Image.fromarray(rgb))
    [shown] = (
        reference.thinned(
            executed(new_output("display_data", {"image/png": text, "text/plain": "<Figure>"}))
        )
        .cells[2]
        .outputs
    )
    assert [*shown.data] == ["image/png"] and len(shown.data["image/png"]) < len(text)
    with opened(shown.data["image/png"]) as light:
        assert (np.asarray(light.convert("RGB")) == rgb).all()
        assert round(light.info["dpi"][0]) == 220


def test_a_transparent_picture_stays_so():
    rgba = np.random.default_rng(0).integers(0, 255, (20, 20, 4)).astype(np.uint8)
    text = png(Image.fromarray(rgba))
    light = reference.thinned(executed(new_output("display_data", {"image/png": text})))
    with opened(light.cells[2].outputs[0].data["image/png"]) as picture:
        assert (np.asarray(picture.convert("RGBA")) == rgba).all()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """An outputs folder with one executed notebook, whose source is the only one."""
    monkeypatch.setattr(paths, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "sources")
    paths.write(tmp_path / "sources" / "01_a.py", SOURCE)
    folders = paths.Folders(tmp_path / "tiny", tmp_path / "tiny" / "runs")
    said = new_output("stream", text=f"made in {folders.tables} by {paths.ROOT}/remem\n")
    paths.write(folders.notebooks / "01_a.ipynb", nbformat.writes(executed(said)))
    paths.write(folders.tables / "table3.csv", "hop,EM\nsingle,95.0\n")
    paths.write(folders.tables / "notes.txt", "of nobody")
    paths.write(folders.runs / "stage1-1" / "DONE", "{}")
    return folders


def test_the_reference_has_what_a_reader_needs_and_nothing_that_was_there_before(run):
    left = paths.write(paths.REFERENCE / "tables" / "older.csv", "a\n1\n")
    base = paths.write(paths.REFERENCE / "base" / "tiny-7b" / "weights", "x")
    first = reference.make(run)
    assert first == paths.REFERENCE / "site" / "index.html" and first.is_file()
    assert not left.exists() and base.exists()
    found = {str(p.relative_to(paths.REFERENCE)) for p in paths.REFERENCE.rglob("*.*")}
    assert {"tables/table3.csv", "notebooks/01_a.ipynb", "machine.json"} <= found
    assert not {"tables/notes.txt", "runs"} & found
    told = (paths.REFERENCE / "notebooks" / "01_a.ipynb").read_text(encoding="utf-8")
    assert "made in outputs/tiny/tables by ./remem" in told and str(run.root) not in told
    kept = paths.Folders(paths.REFERENCE, run.runs)
    assert reference.stale(kept.notebooks) == [] and machine.known(kept) == machine.here()
    assert "../notebooks/01_a.ipynb" in (kept.site / "notebooks.html").read_text()


@pytest.mark.parametrize("why", ["was not executed", "is older than its source"])
def test_a_run_that_is_not_whole_is_no_reference(run, why):
    file = run.notebooks / "01_a.ipynb"
    if why == "was not executed":
        file.rename(file.with_name("01_a.failed.ipynb"))
    else:
        paths.write(file, nbformat.writes(executed(source="1 + 2")))
    with pytest.raises(reference.NotWhole, match=f"01_a {why}"):
        reference.make(run)
    assert not paths.REFERENCE.exists()


def test_a_text_that_was_changed_is_seen_too(run, tmp_path):
    source = tmp_path / "sources" / "01_a.py"
    paths.write(source, SOURCE.replace("A title", "Another title"))
    assert reference.stale(run.notebooks) == [("01_a", "is older than its source")]


# ---------------------------------------------------------------- the one in the repository

NOTEBOOKS = paths.REFERENCE / "notebooks"


@pytest.fixture
def kept():
    if not any(NOTEBOOKS.glob("*.ipynb")):
        pytest.skip("no executed notebooks here: remem reference makes them of a whole run")
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def test_the_executed_notebooks_are_as_their_sources(kept):
    assert reference.stale(NOTEBOOKS) == [], "run remem reproduce, and then remem reference"


def test_the_executed_notebooks_are_light_and_came_to_their_end(kept):
    assert sum(file.stat().st_size for file in kept) < MOST
    for file in kept:
        notebook = nbformat.read(file, as_version=4)
        for cell in notebook.cells:
            for shown in cell.get("outputs", ()):
                assert shown.output_type != "error", file.name
                assert not reference.BAR.search(shown.get("text", "")), file.name


def test_a_source_is_read_as_its_execution_is():
    for source in sorted(paths.NOTEBOOKS.glob("*.py")):
        notebook = jupytext.read(source)
        again = nbformat.reads(nbformat.writes(notebook), as_version=4)
        assert reference._cells(notebook) == reference._cells(again)
