"""Running the notebooks, which leaves a site of all their tables and figures.

papermill does it. What it lets through is refused here: a notebook that would not take the
parameters, and a run that stopped half-way without an error. An executed notebook gets its name
only when every cell of it has run; a failed one is kept as NN.failed.ipynb.
"""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jinja2
import jupytext
import matplotlib
import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbconvert import HTMLExporter
from nbformat.v4 import new_output
from tqdm import tqdm
from traitlets import default
from traitlets.config import Config as Traits

from remem import checks, paths, runs, site
from remem.config import SCALES, Config, load_config, loading
from remem.report import calls, machine, made, output, writers

# The tags of the cells that an executed notebook has more than its source.
ADDED_BY_PAPERMILL = ("injected-parameters", "papermill-error-cell-tag")

PARAMETERS = ("scale", "overrides")  # of each notebook

EVERY = 60.0  # seconds between two lines that say how far a notebook is, where nobody sees its bar

LONG = 80  # characters of a folder's path, in which a socket's name may have no room

OF_THE_USER = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONIOENCODING", "IPYTHONDIR")  # not a kernel's


# Of an executed notebook as a page, which holds what models and files said: whatever that is,
# nothing is run, fetched or sent.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)


class CannotRun(ValueError):
    """What was asked for cannot be started; nothing was run."""


class NotebookFailed(RuntimeError):
    """A notebook did not run to its end; the message names the notebook and the cell."""


class _Kernel(AsyncKernelManager):
    """A kernel of this interpreter, in which nothing of the user's own settings changes a result:
    no other kernel of that name, no encoding of a locale's, no backend or file of matplotlib's.
    What it and its workers leave among temporary files goes with the folder of its connection."""

    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])  # then ipykernel's own is left

    async def start_kernel(self, **options: Any) -> None:
        """Start it, in such an environment."""
        environment = {key: value for key, value in os.environ.items() if key not in OF_THE_USER}
        environment |= {"PYTHONUTF8": "1", "MATPLOTLIBRC": matplotlib.get_data_path()}
        temporary = Path(self.connection_file).parent / "t"
        if len(str(temporary)) < LONG - 10:  # sockets of workers are two names below it
            environment["TMPDIR"] = str(paths.make_folder(temporary))
        await super().start_kernel(env=environment, **options)


class _Terminal(io.TextIOBase):
    """What runs.say says in a kernel, or in a worker of it, is shown at once and not only in the
    notebook; all else that is written to its stderr is the notebook's. Of its progress bars the
    last is kept as `progress` ("runs 23/50")."""

    progress = ""

    def write(self, text: str) -> int:
        """Show the lines of `text` that are to be shown."""
        for line in re.findall(rf"{re.escape(runs.SAID)}[^\r\n]*", text):
            tqdm.write(f"\n{line}", file=sys.stderr)
        for name, done in re.findall(r"([^\r\n]*?):? *\d+%\|[^|\r\n]*\| *(\d+/\d+)", text):
            self.progress = f"{name.strip()} {done}".strip()
        return len(text)


@contextmanager
def _told(terminal: _Terminal) -> Iterator[threading.Event]:
    """Until its end, how far a notebook is, in a line a minute, for whoever looks into a log. The
    event says whether there was one."""
    over, spoken, began = threading.Event(), threading.Event(), time.monotonic()

    def tell() -> None:
        while not over.wait(EVERY):
            spoken.set()
            there = f": {terminal.progress}" if terminal.progress else ""
            after = calls.duration(time.monotonic() - began)
            print(f"\n    after {after}{there}", end="", flush=True)

    thread = threading.Thread(target=tell, daemon=True)
    if not sys.stdout.isatty():
        thread.start()
    try:
        yield spoken
    finally:
        over.set()
        if thread.is_alive():
            thread.join()


def reproduce(
    scale: str | Path = "tiny",
    overrides: Mapping[str, Any] | None = None,
    notebooks: Sequence[str] = (),
    dry_run: bool = False,
) -> int:
    """Run these notebooks (a number, a name or a path each; none: all) with the parameters of
    `load_config(scale, overrides)`, less what is missing here and can be left out
    (checks.left_out); returns the exit status, 1 where one of them failed. A `dry_run` says what
    they would take (preflight.estimate), and is 1 where something is in the way.

    Raises CannotRun, BadParameter, OldOutputs, InUse, DamagedRun, CannotWrite, or what checks.ready
    finds, before anything is run.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched unless the user says so
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the runs have bars of their own
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")  # text bars will do
    config = load_config(scale, overrides)
    found = [_find(name) for name in notebooks] or _known()
    for notebook in found:
        _check_parameters(notebook)
    calls_made = set[str]().union(*map(checks.used, found))
    without, notes = checks.left_out(config, calls_made)
    if without:
        overrides = {**(overrides or {}), **without}
        config = load_config(scale, overrides)
    if dry_run:
        from remem.preflight import estimate  # with torch, which takes seconds

        return estimate.say(config, found, calls_made, notes)
    for note in [*notes, *checks.ready(config, calls_made)]:
        print(f"note: {note}", file=sys.stderr)
    where = str(scale) if str(scale) in SCALES else str(Path(paths.expanded(scale)).absolute())
    with writers.call():
        folders = output.open_folder(config)
        try:
            given = {"scale": where, "overrides": dict(overrides or {})}
            return _run_all(found, given, config, folders)
        finally:
            writers.leave(folders.root)


def run_notebook(
    notebook: Path,
    parameters: Mapping[str, Any],
    folders: paths.Folders,
    label: str = "",
    terminal: io.TextIOBase | None = None,
) -> float:
    """Execute one percent notebook into `folders.notebooks` and `folders.html`; returns seconds.

    Raises NotebookFailed, after keeping what was executed as NAME.failed.ipynb and .failed.html.
    """
    started = time.perf_counter()
    name = notebook.stem
    paths.make_folder(folders.notebooks)
    with paths.scratch_folder() as scratch:
        source, executed = scratch / "in.ipynb", scratch / "out.ipynb"
        profile = paths.make_folder(scratch / "ipython")
        jupytext.write(_numbered(jupytext.read(notebook)), source)
        bar: Any = {"desc": label or name, "leave": False} if _watched() else False
        kernel = {"connection_file": str(scratch / "kernel.json")}
        # Sockets in a folder of our own: TCP ports may be taken between choosing and binding.
        # (A socket's path cannot be long: then TCP after all.)
        if len(str(scratch)) < LONG:
            kernel |= {"transport": "ipc", "ip": str(scratch / "kernel")}
        try:
            papermill.execute_notebook(
                str(source),
                str(executed),
                parameters=dict(parameters),
                kernel_name="python3",
                language="python",
                cwd=str(notebook.parent),
                progress_bar=bar,
                start_timeout=300,
                iopub_timeout=300,
                coalesce_streams=True,
                stderr_file=terminal or _Terminal(),
                kernel_manager_class=_Kernel,
                # No profile of the user's; and what a kernel logs as an error is that it was
                # interrupted while it shut down, as every kernel may be.
                extra_arguments=[f"--ipython-dir={profile}", "--log-level=CRITICAL"],
                config=Traits({"KernelManager": kernel}),
            )
            failure = None
        except Exception as error:  # a dead kernel leaves a file that looks finished: trust this
            failure = error
        result = _numbered(nbformat.read(executed if executed.exists() else source, as_version=4))
    result.metadata.setdefault("papermill", {}).update(
        input_path=notebook.name, output_path=f"{name}.ipynb"
    )
    reason, failed = _why_unfinished(result, failure), f"{name}.failed"
    for cell in result.cells:
        if cell.cell_type == "code":
            cell.outputs = [part for shown in cell.outputs for part in _calm(shown, bool(reason))]
    _save(result, folders, failed if reason else name)
    if reason:
        kept = folders.notebooks / f"{failed}.ipynb"
        raise NotebookFailed(f"{notebook.name}: {reason}\n(kept as {kept})") from failure
    for stale in (folders.notebooks / f"{failed}.ipynb", folders.html / f"{failed}.html"):
        stale.unlink(missing_ok=True)
    return time.perf_counter() - started


def _known() -> list[Path]:
    return sorted(paths.NOTEBOOKS.glob("*.py"))


def _find(name: str) -> Path:
    name = paths.expanded(name)
    if name.endswith(".py") and os.path.isfile(name):
        return Path(name).resolve()
    stem = Path(name).name.removesuffix(".py")
    known = _known()
    found = [path for path in known if stem == path.stem or path.stem.startswith(f"{stem}_")]
    if len(found) != 1:
        names = ", ".join(path.stem for path in known)
        raise CannotRun(f"{name}: not one of the notebooks: {names}")
    return found[0]


def _check_parameters(notebook: Path) -> None:
    """Refuse a notebook whose parameters cell would let a parameter go unheard."""
    with paths.scratch_folder() as scratch:
        source = scratch / "in.ipynb"
        jupytext.write(jupytext.read(notebook), source)
        declared = set(papermill.inspect_notebook(str(source)))
    if declared != set(PARAMETERS):
        missing = ", ".join(name for name in PARAMETERS if name not in declared)
        unknown = ", ".join(sorted(declared.difference(PARAMETERS)))
        raise CannotRun(
            f"{notebook.name}: its cell tagged 'parameters' should declare exactly "
            f"{', '.join(PARAMETERS)}; missing: {missing or 'none'}; unknown: {unknown or 'none'}"
        )


def _run_all(
    notebooks: Sequence[Path],
    parameters: Mapping[str, Any],
    config: Config,
    folders: paths.Folders,
) -> int:
    """One after the other; one that fails is told, and the next is run."""
    width, since = max(len(notebook.stem) for notebook in notebooks), time.time()
    changed, digest = loading.changes(config), made.parameters(config).digest
    names = [notebook.stem for notebook in notebooks]
    seconds, unknown = calls.expected(folders, names, digest, config.scale)
    if seconds:
        more = f" and what {unknown} of them take that were never run" * bool(unknown)
        print(
            f"This will take about {calls.about(seconds)}{more}, by the last run or the reference."
        )
    machine.keep(folders)
    failed = []
    for number, notebook in enumerate(notebooks, 1):
        label = f"[{number}/{len(notebooks)}] {notebook.stem:<{width}}"
        print(label, end="  ", flush=True)
        began, took, wrong, terminal = time.time(), None, "", _Terminal()
        try:
            with _told(terminal) as spoken:
                took = run_notebook(notebook, parameters, folders, label, terminal)
        except NotebookFailed as error:
            failed.append(notebook.stem)
            wrong = f"error: {error}"
        finally:
            with suppress(paths.CannotWrite):  # what went wrong before it is what counts
                calls.remember(folders, notebook.stem, began, took, changed, digest)
            end = "failed" if took is None else f"{calls.duration(took):>8}"
            print(f"\n    {end.strip()}" if spoken.is_set() else end, flush=True)
        if wrong:
            print(wrong, file=sys.stderr, flush=True)
    many = f"{len(notebooks)} notebook{'s' * (len(notebooks) != 1)}"
    print(f"{many} in {calls.duration(time.time() - since)}")
    page = site.build(folders, since)
    if failed:
        several = f"{len(failed)} of {len(notebooks)} notebooks failed: {', '.join(failed)}"
        print(f"error: {several}. What the others made: {page}", file=sys.stderr)
        return 1
    print(f"all tables and figures: {page}")
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


def _calm(shown: nbformat.NotebookNode, failed: bool) -> list[nbformat.NotebookNode]:
    """An output, its progress bars apart: they are nothing to be shown in red."""
    if shown.output_type != "stream":
        return [shown]
    bars, text = _bars_apart(shown.text)
    done = "".join(line for line in bars if failed or re.match(r".*?\b100%\|", line))
    parts = [("stdout", done), (shown.name, text)]
    return [new_output("stream", name=name, text=part) for name, part in parts if part.strip()]


def _bars_apart(text: str) -> tuple[list[str], str]:
    """The last state of each progress bar of a stream, and the stream without bars."""
    bars: dict[str, str] = {}
    rest = []
    for line in text.splitlines(keepends=True):
        last = line.replace("\x1b[A", "").rpartition("\r")[2]  # the cursor's ways
        bar = re.match(r"(.*?):? *\d+%\|", last)
        if bar:
            bars.pop(bar[1], None)
            bars[bar[1]] = last.rstrip("\n") + "\n"
        elif last.strip() or last == line:
            rest.append(last)
    return list(bars.values()), "".join(rest)


def _why_unfinished(result: nbformat.NotebookNode, failure: Exception | None) -> str | None:
    """Which cell stopped the notebook and why, or None when every code cell has run."""
    code = [cell for cell in result.cells if cell.cell_type == "code" and cell.source.strip()]
    for cell in code:
        for shown in cell.outputs:
            if shown.output_type == "error":  # SystemExit too, which papermill takes for success
                return f"{_cell(cell)} raised {shown.ename}: {shown.evalue}"
    if failure is not None:
        started = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]
        where = _cell(started[-1]) if started else "before its first cell"
        what = f"stopped at {where}: {type(failure).__name__}: {failure}"
        if type(failure).__name__ == "DeadKernelError":  # nbclient's, which papermill lets through
            what += ". The notebook's process was killed (out of memory?); lower `workers`, or what"
            what += " is held at once (evaluate.batch, stage1.micro_batch), and start again"
        return what
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
        "{%- block html_head -%}"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        "{{ super() }}"
        "{%- endblock -%}"
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
