"""The cost of what the experiments of a config are made of, beside the usual way of doing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pandas as pd

from remem.bench import session
from remem.bench.session import Line
from remem.bench.subject import Source
from remem.config.sections import Config
from remem.experiments import setup
from remem.runs import Run
from remem.training.inputs import inputs_needs

# What is set beside the usual way: measure, quantity, and how a reader calls it.
BESIDE = {
    "stage 1": ("seconds a row", "stage 1: a row"),
    "stage 2, NPO": ("seconds a row and epoch", "NPO: a row, an epoch"),
    "answers": ("seconds an answer", "an answer"),
    "Exposure": ("seconds a row", "Exposure: a row"),
}
USUAL, PRODUCTS, GD = "the usual way", "its matrix products alone", "GD"  # compared with
OVER_GD = ("NPO", "KL", "DPO")
ABOVE = "peak above the network"
WANTED = (
    "matrix products",
    *(f"{measure}{way}" for measure in BESIDE for way in ("", f", {USUAL}")),
    *(f"stage 2, {method}" for method in (GD, "KL", "DPO")),
)


class CostRun(Run):
    """What the first model of a config costs: measured.csv, the lines of a `session` of WANTED.

    It stays as it was measured: another machine, or other code, is another folder of outputs.
    """

    kind: ClassVar[str] = "cost"
    config: Config
    at_once: tuple[int, ...]  # micro-batches of the stages, which move no result, and this

    @classmethod
    def of(cls, config: Config) -> CostRun:
        """That of a config, under whatever name its outputs go."""
        stages = (setup.optimiser(config, config.models[0], each) for each in ("stage1", "stage2"))
        at_once = tuple(stage.micro_batch for stage in stages)
        return cls(config=config.model_copy(update={"outputs": None}), at_once=at_once)

    def needs(self) -> Sequence[Run]:
        """Stage 1, whose adapter is asked, and its inputs."""
        config = self.config
        stage1 = setup.stage1_run(config, config.models[0], config.seeds[0])
        return (*inputs_needs(stage1.base, stage1.data), stage1)

    def make(self, out: Path, runs_root: Path) -> None:
        """Measure, each in a process of its own where there is no GPU."""
        source = Source(self.config)
        names = [name for name in WANTED if name in session.names(source)]
        lines: list[Line] = []
        for found in session.session(source, names, say=lambda line: None):
            lines += found
        if failed := [session.in_words(each) for each in lines if each.quantity == session.FAILED]:
            raise RuntimeError("; ".join(failed))
        session.keep(out / "measured.csv", session.table(source, lines))

    def read(self, folder: Path) -> pd.DataFrame:
        """session.COLUMNS."""
        return pd.read_csv(folder / "measured.csv", keep_default_na=False, na_values={"value": ""})


def ratios(measured: pd.DataFrame) -> pd.DataFrame:
    """thing, unit, ours, against, other, ratio: how many times ours the usual way takes (ms); how
    many times its matrix products alone a step of stage 1 takes (ms); the memory of methods over
    GD's, above the network's own (MiB). NaN where something was not measured."""
    value = measured.set_index(["measure", "quantity"])["value"].to_dict()
    none, lines = float("nan"), []
    for measure, (quantity, thing) in BESIDE.items():
        ours = value.get((measure, quantity), none)
        other = value.get((f"{measure}, {USUAL}", quantity), none)
        lines.append((thing, "ms", 1000 * ours, USUAL, 1000 * other, _over(other, ours)))
    quantity, thing = BESIDE["stage 1"]
    ours = value.get(("stage 1", quantity), none)
    other = value.get(("stage 1", "seconds a row of its products alone"), none)
    lines.append((thing, "ms", 1000 * ours, PRODUCTS, 1000 * other, _over(ours, other)))
    for name in OVER_GD:
        ours, other = (value.get((f"stage 2, {each}", ABOVE), none) for each in (name, GD))
        memory = f"{name}: memory"
        lines.append((memory, "MiB", 1024 * ours, GD, 1024 * other, _over(ours, other)))
    return pd.DataFrame(lines, columns=["thing", "unit", "ours", "against", "other", "ratio"])


def _over(one: float, other: float) -> float:
    return one / other if other else float("nan")
