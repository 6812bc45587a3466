"""How fast work is done: as `remem bench` measured it for a network, or else as stated here.

What is stated are shares of what matrix products of this machine do at the most, which is measured
when it is asked for; without a GPU, what the maker of an H100 says of it.
"""

from __future__ import annotations

import csv
import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from remem import paths
from remem.config.networks import Hub, TinyLlava
from remem.model.precision import COMPUTED
from remem.model.sizes import Shape
from remem.preflight.counts import WRONG, Work, shape
from remem.synthetic import faces

KEPT = paths.ROOT / "outputs" / "reference-gpu"  # what was measured once, and on which card
WORDS = 60  # tokens of a question and its answer, beside the picture's
CARD, PEAK = "NVIDIA H100", 989e12  # operations a second in bfloat16, dense: its data sheet

Measured = Mapping[tuple[str, str], float]  # (measure, quantity) of a bench


class Shares(NamedTuple):
    """Of the operations a second of a matrix product, in training, in reading, and where tokens are
    written one by one; and seconds from one run to the next."""

    trained: float
    read: float
    written: float
    between: float
    source: str


# Stage 1 of a 7B at micro-batch 8, counted and compared with what others reach on such a card;
# writing is of sixteen answers at once, a token in about thirty milliseconds.
GPU = Shares(0.30, 0.40, 0.007, 3.0, "shares of its peak that are stated, and not measured")
# What is counted of scale tiny, over the 80 minutes on two cores that it took, part by part.
CPU = Shares(0.40, 0.60, 0.15, 0.5, "shares of its peak as in the reference run of scale tiny")


class Rates:
    """Seconds of work of one network."""

    def __init__(self, model: str, network: Hub | TinyLlava, gpu: bool):
        """model: its name; gpu: whether this machine has one."""
        self._tiny = isinstance(network, TinyLlava)
        # A tiny network's size is whatever params/ says, so that its name tells of no rate.
        self.lines, self.device = ({}, "") if self._tiny else measured(model)
        here = gpu or self._tiny
        self._peak = peak(gpu, network.dtype) if here else PEAK
        self._shares = CPU if self._tiny and not gpu else GPU
        on = "this machine" if here else f"one {CARD}"
        stated = f"{on}, {self._peak / 1e12:,.3g} TFLOP/s at the most, {self._shares.source}"
        self.words = f"{model}: measured on {self.device}" if self.lines else f"{model}: {stated}"

    def seconds(self, work: Work) -> float:
        """Of one run."""
        if work.base is None:
            return work.whole / self._peak / self._shares.trained + _drawing(work)
        of = shape(work.base)
        trained, read, written = self._shares[:3]
        each = _operations(of, of.patches + WORDS)
        parts = [
            (work.rows, self._trained(work), 2 * each * work.trained / trained),
            (
                work.answers,
                self._answered(),
                each * work.answered / read + _operations(of, 1) * work.written / written,
            ),
            (
                work.ranked,
                self._found("Exposure", "seconds a row"),
                each * work.compared / read,
            ),
            (work.read, self._read(), each * work.read / read),
            (
                work.pictures,
                self._found("features", "seconds a picture"),
                2.0 * of.tower.weights * of.patches * work.pictures / read,
            ),
            (0, None, work.whole / trained),
        ]
        took = sum(
            count * known if known is not None else operations / self._peak
            for count, known, operations in parts
        )
        between = self._found("between runs, base", "next run")
        return took + (self._shares.between if between is None else between) + _drawing(work)

    def _found(self, measure: str, quantity: str) -> float | None:
        return self.lines.get((measure, quantity))

    def _trained(self, work: Work) -> float | None:
        """Seconds a row; of a method that was not measured, those of the slowest that was."""
        if not work.part.startswith("stage 2"):
            return self._found("stage 1", "seconds a row")
        each = "seconds a row and epoch"
        others = [
            value
            for (name, what), value in self.lines.items()
            if what == each and name.startswith("stage 2") and "usual" not in name
        ]
        return self.lines.get((work.part, each), max(others, default=None))

    def _answered(self) -> float | None:
        """Seconds an answer."""
        wrong = self._found("answers", "seconds an answer")
        right = self._found("answers", "seconds an answer, all of its draft right")
        if wrong is None or right is None:
            return None
        return WRONG * wrong + (1 - WRONG) * right

    def _read(self) -> float | None:
        """Seconds a token: a step of stage 1 is there and back."""
        tokens = self._found("stage 1", "tokens a second")
        return 0.5 / tokens if tokens else None


def measured(model: str) -> tuple[Measured, str]:
    """What `remem bench` measured for a network of that name, or of that size, and on which device:
    in outputs/bench, or where the repository has it. Nothing where nothing was."""
    found: dict[tuple[str, str], float] = {}
    device = ""
    for folder in (KEPT, paths.outputs("bench").root):
        for file in sorted(folder.glob("bench_*.csv")):
            for row in _rows(file):
                size = row["network"].removeprefix("random weights, ")
                if model == size or model.endswith(f"-{size}"):
                    found[row["measure"], row["quantity"]] = float(row["value"])
                    device = row["device"]
    return found, device


@functools.cache
def peak(gpu: bool, dtype: str) -> float:
    """Operations a second of a matrix product on this machine: of a GPU, or of one thread."""
    import torch

    size, device = (8192, "cuda") if gpu else (768, "cpu")
    clock = time.perf_counter if gpu else time.thread_time
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a = torch.ones(size, size, dtype=getattr(torch, COMPUTED.get(dtype, dtype)), device=device)
        took = []
        for _ in range(6):
            started = clock()
            (a @ a)[0, 0].item()
            took.append(clock() - started)
    finally:
        torch.set_num_threads(threads)
    return 2.0 * size**3 / min(took[1:])


@functools.cache
def _one_picture(pixels: int) -> float:
    """Seconds in which one is drawn here."""
    rng, took = np.random.default_rng(0), []
    for number in range(3):
        started = time.thread_time()
        look = faces.sample_appearance(number)
        faces.draw(look, faces.sample_scene(rng, "train"), pixels)
        took.append(time.thread_time() - started)
    return min(took)


def _drawing(work: Work) -> float:
    return work.drawn * _one_picture(work.pixels) if work.drawn else 0.0


def _operations(of: Shape, length: float) -> float:
    """Of a token of a text of that length: two for each weight, and attention."""
    return 2.0 * of.layers * (of.block + of.queries * length)


def _rows(file: Path) -> list[dict[str, str]]:
    """The lines of a bench that hold a value; none of a file that cannot be read."""
    wanted = ("network", "device", "measure", "quantity", "value")
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = [{name: row.get(name) or "" for name in wanted} for row in csv.DictReader(lines)]
    except (OSError, ValueError, csv.Error):
        return []
    return [row for row in rows if _is_amount(row["value"])]


def _is_amount(text: str) -> bool:
    try:
        return 0 <= float(text) < float("inf")
    except ValueError:
        return False
