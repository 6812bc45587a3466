"""The runs behind a table: the jobs of its experiments, with the parameters of its notebook."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remem import paths, runs
from remem.config import SCALES, BadParameter, Config, load_config
from remem.jobs import Job
from remem.site.files import Files
from remem.site.items import Item


@dataclass(frozen=True)
class Run:
    """A run behind a table: its name, where its record is (from the site's folder, "" where the run
    is not there), and the labels of its rows, in words."""

    name: str
    record: str
    labels: str


def scale_of(folders: paths.Folders) -> str:
    """The scale of a folder: what its layout says, or the name of the folder that has its runs."""
    named = [Files(folders).layout().get("scale"), folders.runs.parent.name]
    return next((name for name in named if name in SCALES), "tiny")


class Runs:
    """The runs behind the tables of one outputs folder; each experiment is asked once.

    What is asked raises BadParameter where parameters cannot be read any more, such as a YAML file
    that is gone, or are of other runs than the folder's, and whatever the experiments raise where
    their data is gone.
    """

    def __init__(self, folders: paths.Folders):
        self.folders = folders
        # Without a single run no experiment is asked, nor torch loaded.
        self.any = next(folders.runs.glob("*/DONE"), None) is not None

    @functools.cache  # noqa: B019 (it lives as long as the building of a site)
    def config(self, notebook: str) -> Config:
        """The parameters with which a notebook was last executed into the folder; where it was not,
        those of the folder's scale."""
        given = Files(self.folders).read(self.folders.notebooks / f"{notebook}.ipynb", _given) or {}
        scale = given.get("scale") or scale_of(self.folders)
        config = load_config(scale, given.get("overrides"))
        if config.folders.runs != self.folders.runs:
            raise BadParameter(f"the runs of {notebook} lie in {config.folders.runs}")
        return config

    @functools.cache  # noqa: B019
    def jobs(self, notebook: str, experiment: str) -> Sequence[Job]:
        """The jobs of an experiment (a function of remem.experiments), done or not."""
        from remem import experiments  # which loads torch

        return list(getattr(experiments, experiment)(self.config(notebook)))

    def of(self, item: Item) -> list[Run]:
        """Those behind a table or figure that was made, each once."""
        if not (item.there and self.any):
            return []
        labels: dict[str, list[Mapping[str, Any]]] = {}
        for experiment in item.caption.runs:
            for job in self.jobs(item.caption.notebook, experiment):
                labels.setdefault(runs.name(job.spec), []).append(job.labels)
        return [Run(name, self._record(name), _in_common(each)) for name, each in labels.items()]

    def _record(self, name: str) -> str:
        if self.folders.is_reference:
            return ""  # which travels without its runs
        file = self.folders.runs / name / "spec.json"
        return os.path.relpath(file, self.folders.site) if file.is_file() else ""


def _given(executed: Path) -> dict[str, Any]:
    given = runs.read_json(executed)["metadata"].get("papermill", {}).get("parameters", {})
    return given if isinstance(given, dict) else {}


def _in_common(labels: Sequence[Mapping[str, Any]]) -> str:
    """What all rows of a run have: "model tiny-7b, method NPO, seed 1"."""
    first, *others = labels
    same = {key: value for key, value in first.items() if all(o.get(key) == value for o in others)}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in same.items())
