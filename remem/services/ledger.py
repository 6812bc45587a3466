"""The ledger of a service: a folder that keeps each answer, which is never paid for twice.

Each accepted answer is a file there, named by a hash of the request. `calls.jsonl` beside the
answers has a line for each call, accepted, refused or failed, with its tokens, seconds and price.
The budget is reckoned from those lines, and so holds over all runs.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from remem import paths, runs
from remem.config.services import Construction, Prices, Service

CALLS = "calls.jsonl"

COLUMNS = (
    "at",
    "key",
    "kind",
    "model",
    "version",
    "prompt",
    "references",
    "outcome",
    "reason",
    "seconds",
    "input_tokens",
    "output_tokens",
    "dollars",
)

PLANNED = {"text": (500, 2000, 0), "image": (1500, 0, 1)}  # a call's tokens in, out, and pictures

PROMPT_BLOCKED = "prompt blocked"  # it would be blocked again


class Stopped(RuntimeError):
    """The asking ended early; the message says why, and what to do. No answer is lost."""

    def __str__(self) -> str:
        """The message, and that nothing is lost."""
        return f"{super().__str__()}. What was answered is kept; start again to go on from there"


class Unusable(ValueError):
    """An answer came that cannot be used; the message says why."""


def plan(settings: Construction, texts: int, images: int) -> pd.DataFrame:
    """What so many answers would cost, without a call: kind, model, calls, dollars.

    An estimate, with PLANNED for each call and none that is refused or drawn again.
    """
    rows = [
        (kind, getattr(settings, f"{kind}_model"), n, n * price(settings.prices, *PLANNED[kind]))
        for kind, n in (("text", texts), ("image", images))
    ]
    return pd.DataFrame(rows, columns=["kind", "model", "calls", "dollars"])


def price(prices: Prices, read: int, written: int, pictures: int) -> float:
    """US dollars of one call: tokens read and written, and pictures drawn."""
    return (read * prices.input + written * prices.output) / 1e6 + pictures * prices.image


def calls(folder: Path) -> pd.DataFrame:
    """Every call that `folder` knows of, in the order in which they ended, with COLUMNS.

    outcome is accepted, refused (an answer, but none to use) or failed (no answer); seconds are
    those of the call; dollars go by `prices`. Calls that were under way when a run was killed are
    not among them.
    """
    return pd.DataFrame(_lines(Path(folder) / CALLS), columns=[*COLUMNS])


def cached(keys: Collection[str], read: Callable[[bytes], Any], folder: Path) -> dict[str, Any]:
    """The answers among `keys` that `folder` holds. One that `read` finds Unusable was damaged
    since, and is none: it is asked for again."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.stem in keys:
            try:
                found[path.stem] = read(path.read_bytes())
            except Unusable:
                continue
    return found


@contextmanager
def opened(folder: Path, settings: Service) -> Iterator[Ledger]:
    """The ledger of `folder`, for this process alone: two never pay for one answer.

    Raises CannotWrite, before anything is asked where nothing can be written.
    """
    paths.make_folder(folder)
    with runs.locked(folder / "answers.lock"):
        try:
            paths.clear(folder)
            with (folder / CALLS).open("ab") as file:
                yield Ledger(folder, file, settings)
        except paths.CannotWrite:
            raise
        except OSError as error:
            remedy = "make room, or give the right there"
            raise paths.CannotWrite(f"cannot write in {folder}: {error}; {remedy}") from error


class Ledger:
    """A folder's answers and calls: what was paid and refused, and what may yet be asked."""

    def __init__(self, folder: Path, file: BinaryIO, settings: Service) -> None:
        """Of `opened`; file: calls.jsonl, open for appending."""
        self.folder, self.file, self.settings = folder, file, settings
        self.lock = threading.Lock()
        self.spent, self.under_way = 0.0, 0  # dollars, calls
        self.dearest = {kind: price(settings.prices, *each) for kind, each in PLANNED.items()}
        self.refusals: dict[str, list[str]] = defaultdict(list)  # the reasons, by key
        for line in _lines(folder / CALLS):
            self._count(line)

    def _count(self, line: dict[str, Any]) -> None:
        self.spent += line["dollars"]
        self.dearest[line["kind"]] = max(self.dearest[line["kind"]], line["dollars"])
        if line["outcome"] == "refused":
            self.refusals[line["key"]].append(line["reason"])

    def refused(self, key: str) -> str:
        """Why the request is not sent any more; "" where it may be.

        A blocked prompt is refused for good, any other request 1 + `repeats` times.
        """
        reasons = self.refusals.get(key, [])
        final = any(reason.startswith(PROMPT_BLOCKED) for reason in reasons)
        return reasons[-1] if final or len(reasons) > self.settings.repeats else ""

    def begin(self, kind: str) -> float:
        """Count a call as under way; returns the US dollars that it may cost.

        Raises Stopped where the budget has no room for it.
        """
        with self.lock:
            budget, dollars = self.settings.budget, self.dearest[kind]
            if budget is not None and self.spent + (self.under_way + 1) * dollars > budget:
                so_far = f"${self.spent:.2f} spent, {self.under_way} under way"
                raise Stopped(
                    f"the budget of ${budget:.2f} does not allow another call ({so_far}):"
                    f" raise {self.settings.section}.budget"
                )
            self.under_way += 1
            return dollars

    def accept(self, line: Mapping[str, Any], started: float, name: str, answer: bytes) -> None:
        """Keep an answer in the file `name`, and its call."""
        # first the answer, then its line: a kill between them loses a line, and no money
        paths.write(self.folder / name, answer)
        paths.to_disk(self.folder)
        self.end({**line, "outcome": "accepted"}, started)

    def end(self, line: dict[str, Any], started: float) -> None:
        """A call that began at `started` (time.monotonic) is over: one more line, on the disk when
        this returns."""
        line["seconds"] = round(time.monotonic() - started, 3)
        with self.lock:
            self.under_way -= 1
            self._count(line)
            # the line's end comes first: what a kill cut off stays alone on its line
            self.file.write(b"\n" + json.dumps(line).encode())
            self.file.flush()
            os.fsync(self.file.fileno())


def _lines(path: Path) -> list[dict[str, Any]]:
    """The ledger's lines. One that cannot be read was cut off by a kill: the others stand."""
    lines = []
    for text in path.read_bytes().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
            known = isinstance(line["key"], str) and line["kind"] in PLANNED and line["outcome"]
            if known and line["dollars"] >= 0:
                lines.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    return lines
