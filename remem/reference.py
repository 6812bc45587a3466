"""The reference run as the repository keeps it: light enough to be read where code is hosted.

`outputs/reference/` has the tables, figures, verdicts, executed notebooks and pages of one whole
run; its runs, which weigh gigabytes, are not among them.
"""

from __future__ import annotations

import base64
import copy
import io
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from PIL import Image

from remem import paths, site
from remem.report import machine

# Of an outputs folder, what is kept.
KEPT = ("tables/*.csv", "verdicts/*.csv", "figures/*.png", "figures/*.svg")
KEPT += ("layout.json", "machine.json", "notebooks.csv", "times.csv")

BAR = re.compile(r"\d+%\|")  # in a line that a progress bar left

ADDED = "injected-parameters"  # the tag of a cell that the source does not have

COLOURS = 256  # of a picture that is kept in one byte for each point


class NotWhole(ValueError):
    """An outputs folder is no run of every notebook, or not of the sources as they are."""


def make(folders: paths.Folders) -> Path:
    """Put the run in `folders` in the place of the reference run; returns the site's first page.

    Raises NotWhole, and changes nothing, where a notebook was not executed, failed, or is older
    than its source; CannotWrite.
    """
    kept = paths.Folders(paths.REFERENCE, folders.runs)
    if folders.is_reference:
        raise NotWhole(f"{folders.root} is the reference run itself")
    if missing := stale(folders.notebooks):
        said = "; ".join(f"{name} {why}" for name, why in missing)
        raise NotWhole(f"{folders.root} cannot be the reference: {said}. Run remem reproduce")
    if machine.known(folders) is None:
        machine.keep(folders)
    for part in ("tables", "verdicts", "figures", "notebooks"):
        shutil.rmtree(kept.root / part, ignore_errors=True)
    for pattern in KEPT:
        for file in sorted(folders.root.glob(pattern)):
            paths.write(kept.root / file.relative_to(folders.root), file.read_bytes())
    for file in sorted(folders.notebooks.glob("*.ipynb")):
        light = nbformat.writes(thinned(nbformat.read(file, as_version=4)))
        here = {
            folders.root: f"outputs/{folders.root.name}",
            paths.ROOT: ".",
        }  # of nobody's machine
        for path, name in here.items():
            light = light.replace(str(path), name)
        paths.write(kept.notebooks / file.name, light + "\n")
    return site.build(kept)


def stale(executed: Path) -> list[tuple[str, str]]:
    """(name, why) of each notebook whose execution is not in the folder `executed`, or has other
    cells."""
    found = []
    for source in sorted(paths.NOTEBOOKS.glob("*.py")):
        file = executed / f"{source.stem}.ipynb"
        if not file.is_file():
            found.append((source.stem, "was not executed"))
        elif _cells(nbformat.read(file, as_version=4)) != _cells(jupytext.read(source)):
            found.append((source.stem, "is older than its source"))
    return found


def thinned(notebook: NotebookNode) -> NotebookNode:
    """An executed notebook without what only weighs: progress bars, the plain text of what is
    there as HTML, times of cells, and bytes of pictures that can be spared without loss."""
    notebook = copy.deepcopy(notebook)
    given = notebook.metadata.get("papermill", {}).get("parameters", {})
    notebook.metadata["papermill"] = {"parameters": given}
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in ("tags",) if key in cell.metadata}
        if cell.cell_type == "code":
            cell.outputs = [light for output in cell.outputs for light in _light(output)]
    return notebook


def _light(output: NotebookNode) -> Iterator[NotebookNode]:
    if output.output_type == "stream":
        lines = [line for line in output.text.splitlines(keepends=True) if not BAR.search(line)]
        output.text = "".join(lines)
        if not output.text.strip():
            return
    data = output.get("data", {})
    if "image/png" in data:
        data["image/png"] = _spared(data["image/png"])
    if {"text/html", "image/png"} & {*data}:
        data.pop("text/plain", None)
    yield output


def _spared(png: str) -> str:
    """A picture in base64, with the same points in fewer bytes where that can be."""
    before = base64.b64decode(png)
    with Image.open(io.BytesIO(before), formats=("PNG",)) as opened:
        dots, picture = opened.info.get("dpi"), opened.convert("RGBA")
    opaque = picture.getchannel("A").getextrema() == (255, 255)
    plain = picture.convert("RGB") if opaque else picture
    if plain.mode == "RGB" and plain.getcolors(COLOURS):
        plain = plain.quantize(COLOURS, dither=Image.Dither.NONE)
        if plain.convert("RGB").tobytes() != picture.convert("RGB").tobytes():
            plain = picture.convert("RGB")
    after = io.BytesIO()
    plain.save(after, "PNG", optimize=True, **({"dpi": dots} if dots else {}))
    return base64.b64encode(min(after.getvalue(), before, key=len)).decode("ascii")


def _cells(notebook: NotebookNode) -> Sequence[tuple[str, str]]:
    return [
        (cell.cell_type, cell.source.strip())
        for cell in notebook.cells
        if ADDED not in cell.metadata.get("tags", ())
    ]
