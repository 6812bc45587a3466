"""Runs that take a while, and say where they were made: for the tests of where that is."""

import json
import os
import time
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd

from remem import runs
from remem.jobs import Job, Jobs


class Toy(runs.Run):
    """Adds up what it needs; its log tells when it was made, and on which GPU."""

    kind: ClassVar[str] = "toy"
    number: int
    of: tuple["Toy", ...] = ()
    bad: bool = False
    sleep: Annotated[float, runs.NOT_IN_DIGEST] = 0.0

    def needs(self) -> tuple["Toy", ...]:
        return self.of

    def make(self, out: Path, runs_root: Path) -> None:
        began = time.time()
        with (runs_root / "begun").open("a") as begun:
            begun.write(f"{self.number}\n")
        time.sleep(self.sleep)
        if self.bad:
            raise RuntimeError("the loss is nan")
        below = [runs.read_json(runs.folder(one, runs_root) / "sum.json") for one in self.of]
        (out / "sum.json").write_text(json.dumps(self.number + sum(below)))
        log = {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "pid": os.getpid()}
        log |= {"began": began, "ended": time.time()}
        (runs_root / f"{runs.name(self)}.log").write_text(json.dumps(log))

    def read(self, folder: Path) -> pd.DataFrame:
        return pd.DataFrame({"sum": [runs.read_json(folder / "sum.json")]})


def several(root: Path, count: int, sleep: float, **where) -> Jobs:
    """As many jobs, each of which needs a run of its own."""
    found = []
    for number in range(count):
        below = Toy(number=100 + number, sleep=sleep)
        found.append(Job(Toy(number=number, of=(below,), sleep=sleep), {"number": number}))
    return Jobs(tuple(found), root, **where)


def logs(root: Path) -> pd.DataFrame:
    """What each run said of itself: gpu, pid, began, ended."""
    return pd.DataFrame([json.loads(file.read_text()) for file in root.glob("*.log")])


def begun(root: Path) -> list[str]:
    """Which runs were begun, as often as they were."""
    file = root / "begun"
    return file.read_text().split() if file.exists() else []
