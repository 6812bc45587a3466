"""Who may write into an outputs folder: one call of `remem reproduce` with the kernels of its
notebooks, or processes of the same parameters.

Each is a lock file in the folder, which its process holds while it lives. What another call, or
other parameters, would write meanwhile is refused, before it is made.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from remem import paths, runs

OF_CALL = "REMEM_CALL"  # in the environment of a call's kernels: the call

PATIENCE = 3.0  # seconds: for the kernel of a call that was killed, which ends by itself

_held: dict[Path, FileLock] = {}  # of this process, by folder


class InUse(ValueError):
    """Another process writes into the outputs folder; the message names it, and the way out."""


@contextmanager
def call() -> Iterator[None]:
    """A call, whose kernels may all write where one of them does, and nobody else."""
    before = os.environ.get(OF_CALL)
    os.environ[OF_CALL] = f"call-{secrets.token_hex(6)}"
    try:
        yield
    finally:
        del os.environ[OF_CALL]
        if before is not None:
            os.environ[OF_CALL] = before


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """A call that writes into `root`. Raises InUse, CannotWrite."""
    with call():
        enter(root)
        try:
            yield
        finally:
            leave(root)


def enter(root: Path, parameters: str = "") -> None:
    """Let this process write into `root` until it ends, or leaves: as one of its call's, or else as
    one of those with these `parameters` (a digest). Who is alone there deletes what a process that
    died had half written. Raises InUse, CannotWrite."""
    leave(root)
    group, until = os.environ.get(OF_CALL) or parameters, time.monotonic() + PATIENCE
    while True:
        with one_at_a_time(root):
            others = _others(root)
            if all(other == group for _, other in others):
                if not others:
                    for folder in (root, *root.glob("*/"), *root.glob("made/*/")):
                        paths.clear(folder)
                mine = _folder(root) / f"{os.getpid()}.{secrets.token_hex(4)}.{group}"
                _held[root] = FileLock(mine)
                _held[root].acquire()
                return
        if time.monotonic() > until:
            # of a call the first: its kernels came after it
            process = min(process for process, other in others if other != group)
            raise InUse(
                f"process {process} is running and writes into {root}, in another call or with "
                "other parameters. Wait for it, or end it (shut down the notebook's kernel), or "
                'choose another folder with --out NAME (in a notebook: overrides = {"outputs": '
                '"NAME"})'
            )
        time.sleep(0.1)


def leave(root: Path) -> None:
    """Let others write into `root`."""
    if lock := _held.pop(root, None):
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Until its end, no other process is here for the same folder. Raises CannotWrite."""
    with runs.locked(_folder(root) / "one-at-a-time"):
        yield


def _folder(root: Path) -> Path:
    return paths.make_folder(root / ".writers")


def _others(root: Path) -> list[tuple[int, str]]:
    """(process, group) of each process that may write into `root`; what is left of those that died
    is deleted."""
    found = []
    for path in _folder(root).glob("[0-9]*.*.*"):
        lock = FileLock(path)
        try:
            with lock.acquire(blocking=False):
                path.unlink(missing_ok=True)
        except Timeout:
            process, _, group = path.name.split(".", 2)
            found.append((int(process), group))
        except OSError:  # another user's
            continue
    return found
