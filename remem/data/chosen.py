"""The data that the parameters choose, with whom they want forgotten."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from remem import paths
from remem.config import sections
from remem.config.sections import Config
from remem.data import dataset as datasets
from remem.data import splits
from remem.data.dataset import Data
from remem.data.readers import convert
from remem.data.validation import BadChoice, BadData


class Dataset(NamedTuple):
    """The people of stage 1: all rows (validation.COLUMNS), what they are to a run, the folder of
    their pictures."""

    rows: pd.DataFrame
    data: Data
    folder: Path


def dataset(config: Config) -> Dataset:
    """The data that stage 1 trains on; drawn, or converted from a benchmark's files, where that is
    not done yet. Raises BadData."""
    data, root = data_of(config), config.folders.runs
    rows = _trained_on(config, datasets.rows_of(data, root))
    return Dataset(rows, data, datasets.folder_of(data, root))


def planned(config: Config) -> tuple[pd.DataFrame, Data]:
    """The rows of `dataset`, and what they are to a run, for who counts what there is to do: what
    is to be drawn is not drawn for it. Raises BadData."""
    data = data_of(config)
    return _trained_on(config, datasets.planned(data, config.folders.runs)), data


def _trained_on(config: Config, rows: pd.DataFrame) -> pd.DataFrame:
    if not (rows["split"] == "train").any():
        raise BadData(f"{config.data_name}: no row is in the split train")
    return rows


def data_of(config: Config) -> Data:
    """What stands for the data of stage 1 in a run."""
    if config.benchmark is None:
        return datasets.data_of(config.dataset)
    folder = paths.ROOT / config.benchmark.folder
    return _converted(
        config.benchmark.model_dump_json(), str(config.folders.runs), fingerprint(folder)
    )


@functools.lru_cache(8)
def _converted(benchmark: str, runs_root: str, fingerprint: Any) -> Data:
    # Gigabytes of files are hashed once in a process, and again when one of them has changed.
    return convert.converted(sections.Benchmark.model_validate_json(benchmark), Path(runs_root))


def fingerprint(folder: Path) -> tuple:
    """Names, sizes and times of all files: changes when a file does, and costs no reading."""
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a link into nothing, as an editor's lock is one
                status = os.stat(os.path.join(where, name))
                found.append((where, name, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


def forget_set(config: Config, rows: pd.DataFrame, seed: int) -> tuple[str, ...]:
    """The identities that Table 2 forgets with this seed. Raises BadData."""
    named = config.stage2.forget_set
    if named is None:
        return splits.forget_set(rows, config.stage2.forget_ratio, seed)
    forget = (
        named
        if isinstance(named, tuple)
        else splits.own_forget_set(data_of(config), named, config.folders.runs)
    )
    if not forget:
        raise BadChoice(f"stage2.forget_set {named!r} holds nobody to forget")
    if splits.views(rows, forget)["retain"].empty:
        raise BadChoice(f"stage2.forget_set {named!r} leaves no one to retain")
    return tuple(dict.fromkeys(forget))
