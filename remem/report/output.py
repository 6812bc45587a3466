"""Where a notebook begins, and where what it shows is kept."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from remem import checks, paths, runs
from remem.config import Config, load_config, sections
from remem.config.loading import changes
from remem.data import dataset
from remem.data.validation import BadData
from remem.report import calls, claims, made, preconditions, verdicts, writers
from remem.report.preconditions import Preconditions
from remem.report.show import show as show_table
from remem.report.verdicts import Verdicts

LAYOUT = 2  # of an outputs folder; the first had no layout.json


@dataclass(frozen=True)
class Output:
    """Writes what a notebook shows into the outputs folder, and hands it back to be shown.

    folders: where things go (paths.Folders); config: the parameters; notebook: its name, such as
    "07_stage2". What made a file is kept (report.made).
    """

    notebook: str
    config: Config
    folders: paths.Folders

    def table(
        self,
        name: str,
        frame: pd.DataFrame,
        digits: int = 1,
        show: pd.DataFrame | None = None,
        index: bool = False,
    ) -> Styler:
        """Write `frame` as tables/<name>.csv, with its index if `index`; returns it for reading
        (show.show, to so many `digits`), or in its place the frame `show`: a part of it, say."""
        self._write(self.folders.tables / f"{name}.csv", frame.to_csv(index=index))
        if show is None:
            show = frame.reset_index() if index else frame
        return show_table(show, digits)

    def figure(self, name: str, figure: Figure) -> Figure:
        """Save a figure as figures/<name>.png and .pdf, and return it."""
        for file in paths.save_figure(figure, self.folders.figures / name):
            made.note(self.folders, file, self.notebook, self._parameters)
        return figure

    def preconditions(self, lines: Iterable[Mapping[str, Any]]) -> Preconditions:
        """Put this notebook's lines (report.preconditions) into tables/preconditions.csv, beside
        those of other notebooks; returns them for reading."""
        file = self.folders.tables / "preconditions.csv"
        with writers.one_at_a_time(self.folders.root):
            before = made.record(self.folders, file)
            table = preconditions.join(self.folders.tables, self.notebook, lines)
            self._write(file, table.to_csv(index=False), set(table["notebook"]), before)
        return Preconditions(table[table["notebook"] == self.notebook])

    def verdicts(self, frame: pd.DataFrame, about: str = "claims") -> Verdicts:
        """Write all columns of `frame` as verdicts/<notebook>.csv; returns sentences that say how
        its lines, called `about`, came out, with the table of the columns that matter most. What
        is shown is gated by the preconditions that are known by then (claims.gate); what is written
        is not: notebook 9 gates it when all are.

        A named index is written as the first column.
        """
        if frame.index.name is not None:
            frame = frame.reset_index()
        self._write(self.folders.verdicts / f"{self.notebook}.csv", frame.to_csv(index=False))
        return Verdicts(claims.gate(frame, verdicts.preconditions(self.folders)), about)

    def _write(
        self, file: Path, text: str, parts: Iterable[str] = (), before: made.Record | None = None
    ) -> None:
        paths.write(file, text)
        made.note(self.folders, file, self.notebook, self._parameters, parts, before)

    @functools.cached_property
    def _parameters(self) -> made.Parameters:
        return made.parameters(self.config)


def begin(
    notebook: str, scale: str | Path = "tiny", overrides: Mapping[str, Any] | None = None
) -> tuple[Config, Output]:
    """The parameters of a notebook, and where its results go; both are said first.

    scale, overrides: see config.load_config. Printed are the scale, each parameter that is not as
    params/<scale>.yaml has it, the outputs folder, and how long the notebook may take. What the
    notebook will need is checked. Raises BadParameter, paths.CannotWrite, paths.OldOutputs and
    writers.InUse (see open_folder), and what checks.ready does.
    """
    config = load_config(scale, overrides)
    used = checks.used(paths.NOTEBOOKS / f"{notebook}.py")
    notes = checks.ready(config, used) if used else ()
    style.use("default")  # figures are shown as they are saved, whatever the reader's matplotlibrc
    _show_sharply()
    folders = open_folder(config)
    print(introduction(notebook, config, folders))
    for note in notes:
        print(f"Note: {note}.")
    return config, Output(notebook, config, folders)


def _show_sharply() -> None:
    """Let a notebook show figures with two points for each of a screen's, as they are saved."""
    from IPython import get_ipython
    from IPython.core.pylabtools import select_figure_formats

    shell = get_ipython()
    if shell is not None:
        shell.config.InlineBackend.figure_formats = {"retina"}  # for when the backend is loaded
        select_figure_formats(shell, {"retina"})  # where it is


def open_folder(config: Config) -> paths.Folders:
    """The outputs folder of `config`, with a layout.json that says what its results are of, for
    this process to write into (writers.enter, which may raise InUse).

    Raises paths.OldOutputs, and touches nothing, where the folder holds results of an earlier
    layout, of another scale, or of other data: tables of two data sets on one page would be read as
    one. `outputs: NAME` in the parameters, or --out NAME, chooses another folder.
    """
    folders = config.folders
    remedy = (
        "Nothing there was touched. Move that folder away, or choose another one with --out NAME "
        "(in the parameters: outputs: NAME)"
    )
    here = {"layout": LAYOUT, "scale": config.scale, "data": _data(config)} | _content(config)
    _check(folders, here, remedy)
    writers.enter(folders.root, made.parameters(config).digest)
    try:
        if not _check(folders, here, remedy):
            paths.write(folders.layout, json.dumps(here, indent=2) + "\n")
    except paths.OldOutputs:  # somebody else's, meanwhile
        writers.leave(folders.root)
        raise
    return folders


def _check(folders: paths.Folders, here: Mapping[str, Any], remedy: str) -> bool:
    """Whether the folder holds results like those that are to come; False where it holds none.
    Raises OldOutputs."""
    if folders.layout.exists() and _holds_results(folders):
        try:
            there = runs.read_json(folders.layout)
        except runs.NotJson:
            there = f"{folders.layout.name} cannot be read"
        known = there if isinstance(there, dict) else {}
        moved = "content" in here and known.get("content") == here["content"]
        for key in ("layout", "scale", "data"):
            if known.get(key) != here[key] and not (key == "data" and moved):
                value = known.get(key) if known else there
                raise paths.OldOutputs(
                    f"{folders.root} holds results of another {key} ({value}; these would be of "
                    f"{here[key]}). {remedy}"
                )
        return True
    if _is_old(folders.root):
        raise paths.OldOutputs(f"{folders.root} holds results of an earlier layout. {remedy}")
    return False


def introduction(notebook: str, config: Config, folders: paths.Folders) -> str:
    """What `begin` prints."""
    changed = made.in_words(changes(config))
    lines = [
        f"Scale {config.scale}, "
        + (
            f"but for {len(changed)} of the parameters in params/{config.scale}.yaml:"
            if changed
            else f"with the parameters of params/{config.scale}.yaml."
        ),
        *(f"  {line}" for line in changed),
        f"Tables, figures and verdicts go to {_shown(folders.root)}, "
        f"runs to {_shown(folders.runs)}.",
    ]
    took = _reference_time(notebook) if config.scale == "tiny" else None
    if took:
        unless = ", with no parameter changed" if changed else ""
        lines.append(
            f"The reference run of this notebook took about {took} on two cores"
            f"{unless}; what is done already is not done again."
        )
    return "\n".join(lines)


class _Data(runs.Spec):
    dataset: sections.Dataset
    benchmark: sections.Benchmark | None


def _data(config: Config) -> str:
    data = _Data(dataset=config.dataset, benchmark=config.benchmark)
    return f"{config.verdict_scope} {runs.digest(data)}"


def _content(config: Config) -> dict[str, str]:
    """What a dataset folder holds, by which it is known again at another path; nothing where the
    data is no folder, or one that cannot be used: whoever reads it says why."""
    benchmark, source = config.benchmark, config.dataset.source
    if benchmark is not None:
        source = benchmark.folder if benchmark.name == "own" else None
    if source is None or source in sections.MADE:
        return {}
    try:
        return {"content": dataset.folder_data(source).content}
    except BadData:
        return {}


def _holds_results(folders: paths.Folders) -> bool:
    """Whether there is more than what outputs of a scale share, the layout of a call that came to
    nothing, and what is hidden, as a system does it in every folder."""
    found = [path for path in folders.root.iterdir() if not path.name.startswith(".")]
    return any(path not in (folders.layout, folders.runs, folders.services) for path in found)


def _is_old(root: Path) -> bool:
    """Whether a folder without layout.json was filled before there was one. Runs alone do not say
    so: those of all outputs of a scale lie in the scale's own folder."""
    old = ("tables/*", "verdicts/*", "runs/unlearn-*", "runs/stage1-*/predictions.parquet")
    return any(next(root.glob(pattern), None) for pattern in old)


def _reference_time(notebook: str) -> str | None:
    rows = calls.calls(paths.Folders(paths.REFERENCE, paths.REFERENCE / "runs"))
    took = {row["notebook"]: row["longest"] for row in rows}.get(notebook)
    return calls.about(float(took)) if took else None


def _shown(folder: Path) -> str:
    return str(folder.relative_to(paths.ROOT) if folder.is_relative_to(paths.ROOT) else folder)
