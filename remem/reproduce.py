"""Run the notebooks, one after the other, and put their tables and figures on one page.

    python -m remem.reproduce [--scale S | --params FILE] [--set key=value ...] [notebooks ...]

papermill does the running. What it lets through is refused here: a parameter that is misspelt or
of the wrong type, and a run that stopped half-way without an error. An executed notebook gets its
name only when every cell of it has run; a failed one is kept as NN.failed.ipynb.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import jupytext
import nbformat
import papermill
import yaml
from nbconvert import HTMLExporter
from traitlets.config import Config

from remem import dataset, page, params, paths, runs

# The tags of the cells that an executed notebook has more than its source.
ADDED_BY_PAPERMILL = ("injected-parameters", "papermill-error-cell-tag")


class CannotRun(ValueError):
    """What was asked for cannot be started; nothing was run."""


class NotebookFailed(RuntimeError):
    """A notebook did not run to its end; the message names the notebook and the cell."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the notebooks that `argv` asks for; returns the exit status (0 when all ran)."""
    given = _arguments(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched unless the user says so
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the runs have bars of their own
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")  # text bars will do
    try:
        settings = params.load_file(
            given.params or paths.PARAMS / f"{given.scale}.yaml", _overrides(given.set)
        )
        notebooks = [_find(name) for name in given.notebooks] or _known()
        parameters, changed = settings.model_dump(mode="json"), params.changes(settings)
        for notebook in notebooks:
            _check_parameters(notebook, parameters)
        folders = paths.outputs(settings.scale)
        if settings.dataset.source not in dataset.MADE:  # before a base model is trained for it
            rows = dataset.read(dataset.make(settings.dataset, folders.runs))
            if not (rows["split"] == "train").any():
                raise CannotRun(f"{settings.dataset.source}: no row is in its split train")
        with _alone(folders):
            return _run_all(notebooks, parameters, changed, folders)
    except (
        CannotRun, params.BadParameter, dataset.BadData, runs.DamagedRun, paths.CannotWrite,
    ) as error:  # fmt: skip
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 130


def run_notebook(
    notebook: Path, parameters: Mapping[str, Any], folders: paths.Folders, label: str = ""
) -> float:
    """Execute one percent notebook into `folders.notebooks` and `folders.html`; returns seconds.

    Raises NotebookFailed, after keeping what was executed as NAME.failed.ipynb and .failed.html.
    """
    started = time.perf_counter()
    name = notebook.stem
    paths.make_folder(folders.notebooks)
    with tempfile.TemporaryDirectory(prefix="remem-") as scratch:
        source, executed = Path(scratch) / "in.ipynb", Path(scratch) / "out.ipynb"
        jupytext.write(_numbered(jupytext.read(notebook)), source)
        # Sockets in a folder of our own: TCP ports may be taken between choosing and binding.
        # (A socket's path cannot be long: then TCP after all.)
        sockets = {"transport": "ipc", "ip": f"{scratch}/kernel"} if len(scratch) < 80 else {}
        try:
            papermill.execute_notebook(
                str(source),
                str(executed),
                parameters=dict(parameters),
                kernel_name="python3",
                language="python",
                cwd=str(notebook.parent),
                progress_bar={"desc": label or name, "leave": False} if _watched() else False,
                start_timeout=300,
                iopub_timeout=300,
                coalesce_streams=True,
                config=Config({"KernelManager": sockets}),
            )
            failure = None
        except Exception as error:  # a dead kernel leaves a file that looks finished: trust this
            failure = error
        result = _numbered(nbformat.read(executed if executed.exists() else source, as_version=4))
    result.metadata.setdefault("papermill", {}).update(
        input_path=notebook.name, output_path=f"{name}.ipynb"
    )
    for output in (output for cell in result.cells for output in cell.get("outputs", ())):
        if output.output_type == "stream":
            output.text = _one_line_a_bar(output.text)
    reason, failed = _why_unfinished(result, failure), f"{name}.failed"
    _save(result, folders, failed if reason else name)
    if reason:
        kept = folders.notebooks / f"{failed}.ipynb"
        raise NotebookFailed(f"{notebook.name}: {reason}\n(kept as {kept})") from failure
    for stale in (folders.notebooks / f"{failed}.ipynb", folders.html / f"{failed}.html"):
        stale.unlink(missing_ok=True)
    return time.perf_counter() - started


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m remem.reproduce",
        description="Run the notebooks and collect their tables and figures on one page.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--scale", choices=params.SCALES, default="tiny", help="default: tiny")
    which.add_argument("--params", type=Path, metavar="FILE", help="a parameter file of your own")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="change one parameter: --set stage1.epochs=3 (the value is read as YAML)",
    )  # fmt: skip
    parser.add_argument("notebooks", nargs="*", help="07, 07_stage2 or a path; default: all")
    return parser.parse_args(argv)


def _overrides(assignments: Sequence[str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        *sections, last = key.split(".")
        if not equals or not all([*sections, last]):
            raise CannotRun(f"--set {assignment}: should be KEY=VALUE, such as stage1.epochs=3")
        if key == "scale":
            raise CannotRun("--set scale: the scale is chosen by --scale")
        place = overrides
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise CannotRun(f"--set {assignment}: {section} was already set to a value")
        try:
            place[last] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:  # ValueError: the 31st of February
            raise CannotRun(f"--set {assignment}: the value is not valid YAML: {error}") from error
    return overrides


def _known() -> list[Path]:
    return sorted(paths.NOTEBOOKS.glob("*.py"))


def _find(name: str) -> Path:
    if name.endswith(".py") and Path(name).is_file():
        return Path(name).resolve()
    stem = Path(name).name.removesuffix(".py")
    known = _known()
    found = [path for path in known if stem == path.stem or path.stem.startswith(f"{stem}_")]
    if len(found) != 1:
        names = ", ".join(path.stem for path in known)
        raise CannotRun(f"{name}: not one of the notebooks: {names}")
    return found[0]


def _check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse a notebook whose parameters cell would let one of `parameters` go unheard."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "in.ipynb"
        jupytext.write(jupytext.read(notebook), source)
        declared = set(papermill.inspect_notebook(str(source)))
    if declared != set(parameters):
        missing, unknown = sorted(set(parameters) - declared), sorted(declared - set(parameters))
        raise CannotRun(
            f"{notebook.name}: its cell tagged 'parameters' should declare exactly "
            f"{', '.join(parameters)}; missing: {', '.join(missing) or 'none'}; "
            f"unknown: {', '.join(unknown) or 'none'}"
        )


@contextmanager
def _alone(folders: paths.Folders) -> Iterator[None]:
    """One run of a scale at a time: two would write the same notebooks and tables."""
    path = paths.make_folder(folders.root) / ".lock"
    try:
        lock = path.open("a+")
    except OSError as error:
        raise paths.CannotWrite(f"cannot write {path}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise CannotRun(
                f"process {lock.read().strip() or '?'} is running notebooks of this scale into "
                f"{folders.root}; wait for it, or set REMEM_OUTPUTS to another folder"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _run_all(
    notebooks: Sequence[Path],
    parameters: Mapping[str, Any],
    changed: Mapping[str, Any],
    folders: paths.Folders,
) -> int:
    width, since = max(len(notebook.stem) for notebook in notebooks), time.time()
    try:
        for number, notebook in enumerate(notebooks, 1):
            label = f"[{number}/{len(notebooks)}] {notebook.stem:<{width}}"
            print(label, end="  ", flush=True)
            began, seconds = time.time(), None
            try:
                seconds = run_notebook(notebook, parameters, folders, label)
            finally:
                page.remember(folders, notebook.stem, began, seconds, changed)
                print("failed" if seconds is None else f"{page.duration(seconds):>8}", flush=True)
    except NotebookFailed as error:
        print(f"error: {error}", file=sys.stderr)
        page.write(folders, since)
        return 1
    print(f"all tables and figures: {page.write(folders, since)}")
    return 0


def _watched() -> bool:
    return sys.stderr.isatty()


def _numbered(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Give the cells ids by their place: jupytext draws new ones each time, and diffs drown."""
    counts: dict[str, int] = {}
    for cell in notebook.cells:
        tag = (cell.metadata.get("tags") or ["cell"])[0]
        kind = tag if tag in ADDED_BY_PAPERMILL else "cell"
        cell.id = f"{kind}-{counts.setdefault(kind, 0):02d}"
        counts[kind] += 1
    return notebook


def _one_line_a_bar(text: str) -> str:
    """Of each progress bar only its last state: bars inside bars leave a line at every refresh."""
    lines: dict[str | int, str] = {}
    for number, line in enumerate(text.splitlines(keepends=True)):
        line = line.replace("\x1b[A", "").rpartition("\r")[2]  # the cursor's ways
        bar = re.match(r"(.*?): +\d+%\|", line)
        if bar:
            lines.pop(bar[1], None)
        lines[bar[1] if bar else number] = line
    return "".join(lines.values())


def _why_unfinished(result: nbformat.NotebookNode, failure: Exception | None) -> str | None:
    """Which cell stopped the notebook and why, or None when every code cell has run."""
    code = [cell for cell in result.cells if cell.cell_type == "code" and cell.source.strip()]
    for cell in code:
        for output in cell.outputs:
            if output.output_type == "error":  # SystemExit too, which papermill takes for success
                return f"{_cell(cell)} raised {output.ename}: {output.evalue}"
    if failure is not None:
        started = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
        where = _cell(started[-1]) if started else "before its first cell"
        return f"stopped at {where}: {type(failure).__name__}: {failure}"
    for cell in code:
        if cell.execution_count is None:
            return f"{_cell(cell)} never ran, though nothing failed"
    return None


def _cell(cell: nbformat.NotebookNode) -> str:
    line = next(line for line in cell.source.splitlines() if line.strip())
    return f"{cell.id} ({line.strip()!r})"


def _save(result: nbformat.NotebookNode, folders: paths.Folders, name: str) -> None:
    # lab's page, less three scripts that it would fetch from the network; nothing here uses them
    template = (
        "{%- extends 'lab/index.html.j2' -%}"
        "{%- block html_head_js_requirejs -%}{%- endblock -%}"
        "{%- block html_head_js_mathjax -%}{%- endblock -%}"
        "{%- block html_head_js_mermaidjs -%}{%- endblock -%}"
    )
    exporter = HTMLExporter(
        extra_loaders=[jinja2.DictLoader({"quiet.html.j2": template})],
        template_file="quiet.html.j2",
    )
    html, _ = exporter.from_notebook_node(result, {"metadata": {"name": name}})
    paths.write(folders.html / f"{name}.html", html)
    paths.write(folders.notebooks / f"{name}.ipynb", nbformat.writes(result) + "\n")


if __name__ == "__main__":
    sys.exit(main())
