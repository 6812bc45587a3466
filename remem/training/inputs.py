"""What a run of training or evaluation starts from: the base, the rows, their image features."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import ClassVar, NamedTuple

import pandas as pd

from remem import runs
from remem.data import validation
from remem.data.dataset import Data, RowsRun, folder_of, rows_of
from remem.data.subset import TrainSubset
from remem.model import features, resident
from remem.model.computed_features import ComputedFeatures
from remem.model.features import SHARD, Features
from remem.runs import Run
from remem.training.base_model import BaseRun, base_needs, place

BATCH = 64  # pictures in memory at a time: one of a telephone's takes 40 MB


class FeaturesRun(Run):
    """The image features of the pictures of `data` under `base`, as `Features.read` wants them.

    With a `subset`, of those pictures alone that it shows in training and that its people have in
    the test: features of LLaVA's are 5 MB a picture.
    """

    kind: ClassVar[str] = "features"
    verified_once: ClassVar[bool] = True
    base: BaseRun
    data: Data
    subset: TrainSubset | None = None

    def needs(self) -> tuple[Run, ...]:
        """The base, and the rows, whose pictures have been checked."""
        return (*base_needs(self.base), RowsRun(data=self.data))

    def make(self, out: Path, runs_root: Path) -> None:
        """Compute the features, SHARD pictures to a file."""
        rows, folder = rows_of(self.data, runs_root), folder_of(self.data, runs_root)
        if self.subset is not None:
            rows = self.subset.eval_rows(rows, validation.SPLITS)
        names, layouts = sorted(set(rows["image"])), []
        with resident.lend(place(self.base, runs_root), self.base.network.dtype) as network:
            for number, start in enumerate(range(0, len(names), SHARD)):
                shown = validation.Pictures(folder, names[start : start + SHARD])
                seen = features.look(network, shown, BATCH)
                features.write_shard(out, number, seen.features)
                layouts += seen.layouts
            features.write_layouts(out, network, layouts)
        (out / "images.json").write_text(json.dumps(names, indent=0), "utf-8")

    def read(self, folder: Path) -> pd.DataFrame:
        """The pictures that have features: image."""
        return pd.DataFrame({"image": runs.read_json(folder / "images.json")})


class Inputs(NamedTuple):
    """`place` is what `loading.load` takes; `rows` are all rows of the data; `features` are those
    of their pictures, or of the pictures that a subset shows."""

    place: Path | str
    rows: pd.DataFrame
    features: Features


def inputs(base: BaseRun, data: Data, runs_root: Path, subset: TrainSubset | None = None) -> Inputs:
    """What a run on `base` and `data` starts from, made first where it is not there. Raises BadData
    and CannotLoad."""
    where, rows = place(base, runs_root), rows_of(data, runs_root)
    if base.network.features == "computed":
        named = (runs.digest(base), runs.digest(data))  # what lies at a place may change
        found = _computed(where, base.network.dtype, folder_of(data, runs_root), *named)
    else:
        found = _features(runs.get_or_create(_features_run(base, data, subset), runs_root))
    return Inputs(where, rows, found)


def inputs_needs(base: BaseRun, data: Data, subset: TrainSubset | None = None) -> tuple[Run, ...]:
    """The runs that `inputs` reads, for the `needs` of others."""
    stored = base.network.features == "stored"
    return (*base_needs(base), RowsRun(data=data), *[_features_run(base, data, subset)] * stored)


def _features_run(base: BaseRun, data: Data, subset: TrainSubset | None) -> FeaturesRun:
    """Subsets share the features of all pictures, but where they show a few of many."""
    few = subset if subset is not None and subset.pictures is not None else None
    return FeaturesRun(base=base, data=data, subset=few)


@functools.lru_cache(16)
def _computed(where: Path | str, dtype: str, folder: Path, base: str, data: str) -> Features:
    network = functools.partial(resident.lent, where, dtype)
    return ComputedFeatures(network, base, folder, functools.partial(validation.Pictures, folder))


@functools.lru_cache(16)  # files that stay on disk until they are touched
def _features(folder: Path) -> Features:
    return Features.read(folder)
