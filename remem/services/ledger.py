"""The ledger of services: a folder that keeps each answer, which is never paid for twice.

Each answer is a file there, whether it could be used or not. Its name has a hash of the request,
and a checksum over that and the content, by which one that was damaged, or lies under another's
name, is known. `calls.jsonl` beside the answers has a line for each call that begins, and another
when it has ended: accepted, refused or failed, with its tokens, seconds and price. The budget is
reckoned from those lines, and so holds over all runs, and over kills.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pandas as pd

from remem import paths, runs
from remem.config.services import Account, Construction, Prices, Service

CALLS = "calls.jsonl"

COLUMNS = (
    "at",
    "key",
    "section",
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
    "file",
)

NAMES = ("at", "key", "section", "kind", "model")  # what is known of a call that begins

BLANK = {"section": "", "reason": "", "file": ""}  # what a line need not have

BEGUN = "begun"  # the outcome of a call before it has one; what a kill cut off keeps it

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


def calls(account: Account) -> pd.DataFrame:
    """Every call that `account` knows of, in the order in which they ended, with COLUMNS.

    outcome is accepted, refused (an answer, but none to use), failed (no answer), or begun: under
    way, or cut off when a run was killed. seconds are those of the call; dollars go by `prices`,
    and are reckoned where nothing was billed yet; file is that of the answer, "" where none came.
    """
    return pd.DataFrame([*_known(account)], columns=[*COLUMNS])


class Cached(NamedTuple):
    """Answers by the key of their request, and the files that are not what came."""

    answers: dict[str, Any]
    changed: list[Path]


def cached(keys: Collection[str], read: Callable[[bytes], Any], account: Account) -> Cached:
    """The answers among `keys` that `account` holds. What `read` finds Unusable is none, and so is
    what was changed since, or came as the answer to another request."""
    found, changed = {}, []
    for path in (path for folder in _folders(account) for path in sorted(folder.iterdir())):
        key, _, mark = path.stem.partition("-")
        if key not in keys or key in found or not path.is_file():
            continue
        data = path.read_bytes()
        if mark and mark != _mark(key, data):  # earlier versions wrote none
            changed.append(path)
            continue
        try:
            found[key] = read(data)
        except Unusable:
            continue
    return Cached(found, [path for path in changed if path.stem.partition("-")[0] not in found])


@contextmanager
def opened(account: Account, settings: Service) -> Iterator[Ledger]:
    """The ledger of `account`, for this process alone: two never pay for one answer.

    Raises CannotWrite, before anything is asked where nothing can be written.
    """
    folder = paths.make_folder(account.folder)
    with runs.locked(folder / "answers.lock"):
        try:
            paths.clear(folder)
            with (folder / CALLS).open("ab") as file:
                paths.to_disk(folder, folder.parent)  # both may be new
                yield Ledger(account, file, settings)
        except paths.CannotWrite:
            raise
        except OSError as error:
            remedy = "make room, or give the right there"
            raise paths.CannotWrite(f"cannot write in {folder}: {error}; {remedy}") from error


class Ledger:
    """An account's answers and calls: what was paid and refused, and what may yet be asked."""

    def __init__(self, account: Account, file: BinaryIO, settings: Service) -> None:
        """Of `opened`; file: calls.jsonl, open for appending."""
        self.account, self.file, self.settings = account, file, settings
        self.lock = threading.Lock()
        self.spent = 0.0  # US dollars
        self.under_way: set[str] = set()  # keys
        self.dearest = {kind: price(settings.prices, *each) for kind, each in PLANNED.items()}
        self.refusals: dict[str, list[str]] = defaultdict(list)  # the reasons, by key
        for line in _known(account):
            self._count(line)

    def _count(self, line: dict[str, Any]) -> None:
        self.spent += line["dollars"]
        if line["section"] in (self.settings.section, ""):  # another's are other calls
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

    def begin(self, line: Mapping[str, Any]) -> float:
        """A call with the `key` and `kind` of its line is under way from now on, which is on the
        disk when this returns; returns the US dollars that it may cost.

        Raises Stopped where the budget has no room for it.
        """
        with self.lock:
            budget, dollars = self.account.budget, self.dearest[line["kind"]]
            if budget is not None and self.spent + (len(self.under_way) + 1) * dollars > budget:
                so_far = f"${self.spent:.2f} spent, {len(self.under_way)} under way"
                raise Stopped(
                    f"the budget of ${budget:.2f} does not allow another call ({so_far}):"
                    " raise services.budget"
                )
            self.under_way.add(line["key"])
            rest = {"outcome": BEGUN, "dollars": dollars}
            self._write({name: line[name] for name in NAMES if name in line} | rest)
            return dollars

    def end(
        self, line: dict[str, Any], started: float, answer: bytes = b"", suffix: str = ""
    ) -> None:
        """A call that began at `started` (time.monotonic) is over: what came, if anything, is kept
        in a file, and then its line; both are on the disk when this returns."""
        if answer:
            name = f"{line['key']}-{_mark(line['key'], answer)}{suffix}"
            paths.write(self.account.folder / name, answer)
            paths.to_disk(self.account.folder)
            line["file"] = name
        line["seconds"] = round(time.monotonic() - started, 3)
        with self.lock:
            self.under_way.discard(line["key"])
            self._count(BLANK | line)
            self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        # the line's end comes first: what a kill cut off stays alone on its line
        self.file.write(b"\n" + json.dumps(line).encode())
        self.file.flush()
        os.fsync(self.file.fileno())


def _mark(key: str, answer: bytes) -> str:
    return hashlib.sha256(f"{key}\0".encode() + answer).hexdigest()[:16]


def _folders(account: Account) -> Iterator[Path]:
    yield from (folder for folder in (account.folder, *account.older) if folder.is_dir())


def _known(account: Account) -> Iterator[dict[str, Any]]:
    """The line of each call: where it ended, that of its end."""
    for folder in _folders(account):
        yield from _ended(_lines(folder / CALLS))


def _ended(lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    begun: dict[str, dict[str, Any]] = {}  # no key is asked twice at once
    for line in lines:
        cut_off = begun.pop(line["key"], None)
        if line["outcome"] != BEGUN:
            yield line
        else:
            begun[line["key"]] = line
            if cut_off:
                yield cut_off
    yield from begun.values()


def _lines(path: Path) -> list[dict[str, Any]]:
    """The ledger's lines. One that cannot be read was cut off by a kill: the others stand."""
    lines = []
    for text in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            line = BLANK | json.loads(text)
            words = all(isinstance(line[name], str) for name in ("key", "outcome", "reason"))
            if words and line["outcome"] and line["kind"] in PLANNED and 0 <= line["dollars"] < inf:
                lines.append(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return lines
