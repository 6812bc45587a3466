"""Where a run is made on this machine: in this process, or in one of several, each on its GPU."""

from __future__ import annotations

import functools
import itertools
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from tqdm import tqdm

from remem import runs
from remem.runs import Run

# One thread each: many threads on few cores wait for each other, and a sum depends on how many.
# glibc hands memory back to the system after each large product, and pays for every page when
# it asks for it again: a quarter of the time of a batch of answers.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


class InWorker(RuntimeError):
    """What a run raised in a worker, in words: not every exception survives the way back."""


class Place(Protocol):
    """Where runs are made, `at_once` of them."""

    at_once: int

    def submit(self, spec: Run, runs_root: Path) -> Future[Path]:
        """Begin to make a run whose needs are done; gives its folder."""
        ...

    def stop(self) -> None:
        """End what is under way, without waiting for it."""
        ...

    def lost(self, error: BaseException) -> str | None:
        """In words, why a run has no result, where that is the place's own fault."""
        ...


def place(workers: int, count: int) -> Place:
    """For `count` runs on this machine, `workers` of them at once, or one on each GPU where there
    are several and that is more."""
    found = gpus()
    at_once = max(workers, len(found)) if len(found) > 1 else workers
    return Here() if at_once == 1 or count < 2 else Processes(at_once, found)


def gpus() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them; none where torch, which
    every run that wants one needs, is not loaded."""
    torch: Any = sys.modules.get("torch")
    count = torch.cuda.device_count() if torch is not None and torch.cuda.is_available() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(count)]
    return [name.strip() for name in names][:count]


class Here:
    """In this process, when it is submitted."""

    at_once = 1

    def submit(self, spec: Run, runs_root: Path) -> Future[Path]:
        """Make it."""
        future: Future[Path] = Future()
        try:
            future.set_result(make(spec, runs_root))
        except Exception as error:
            _forget_frames(error)
            future.set_exception(error)
        return future

    def stop(self) -> None:
        """Nothing is under way."""

    def lost(self, error: BaseException) -> str | None:
        """Nothing is lost."""


class Processes:
    """In processes of one thread, which live until this one ends: what a worker has read, such as
    features, serves its next run. With several GPUs each worker has one, and they go round."""

    def __init__(self, at_once: int, gpus: Sequence[str] = ()):
        self.at_once = at_once
        self._gpus = tuple(gpus) if len(gpus) > 1 else ()

    def submit(self, spec: Run, runs_root: Path) -> Future[Path]:
        """Hand it to the pool. Its pickling takes classes that a notebook defines along."""
        from joblib.externals.loky import get_reusable_executor

        executor = get_reusable_executor(
            self.at_once,
            timeout=3600,
            initializer=_start_worker,
            initargs=(os.getpid(), _places().name if self._gpus else "", self._gpus),
            env=ENVIRONMENT,
        )
        return executor.submit(_make_in_worker, spec, runs_root)

    def stop(self) -> None:
        """Kill the workers."""
        loky = sys.modules.get("joblib.externals.loky.reusable_executor")
        executor = loky and loky._executor
        if executor is not None:
            executor.shutdown(wait=False, kill_workers=True)

    def lost(self, error: BaseException) -> str | None:
        """A worker that was killed takes all others along."""
        if not isinstance(error, BrokenExecutor):
            return None
        return (
            "a worker process was killed (out of memory?), which ends the whole pool; "
            "lower `workers` and start again"
        )


def make(spec: Run, runs_root: Path) -> Path:
    """Make a run with one thread of torch's, whatever the process has otherwise."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return runs.get_or_create(spec, runs_root)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return runs.get_or_create(spec, runs_root)
    finally:
        torch.set_num_threads(before)


def _forget_frames(error: BaseException) -> None:
    """An error is kept until all runs have ended, and with it the frames that it came through: what
    they hold, such as a network and all that it has computed, is not."""
    found: BaseException | None = error
    while found is not None:
        traceback.clear_frames(found.__traceback__)
        found = found.__cause__ or found.__context__


def in_words(error: BaseException) -> str:
    """What was raised, for a message."""
    return f"{error}" if isinstance(error, InWorker) else f"{type(error).__name__}: {error}"


def _make_in_worker(spec: Run, runs_root: Path) -> Path:
    try:
        return make(spec, runs_root)
    except Exception as error:
        raise InWorker(in_words(error)) from error


@functools.cache
def quieten() -> None:
    """No bars beside the sweep's, from here on."""
    quiet: Any = functools.partialmethod(tqdm.__init__, disable=True)
    tqdm.__init__ = quiet


_HELD: list[FileLock] = []  # by a worker, as long as it lives


@functools.cache
def _places() -> tempfile.TemporaryDirectory[str]:
    """A folder of locks, one for each worker: who dies lets go of his place, and of his GPU."""
    return tempfile.TemporaryDirectory(prefix="remem-gpus-", ignore_cleanup_errors=True)


def _take_gpu(places: str, gpus: Sequence[str]) -> None:
    for number in itertools.count():
        lock = FileLock(Path(places) / str(number))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        _HELD.append(lock)
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        return


def _start_worker(parent: int, places: str, gpus: Sequence[str]) -> None:
    """No bars, a GPU of its own, and no life after the parent's."""
    from joblib.externals.loky import process_executor

    quieten()
    if gpus:
        _take_gpu(places, gpus)  # before anything asks CUDA
    # loky ends a worker that has grown by 300 MB, which it takes for a leak: here those are
    # libraries, features and rows, kept for the next run.
    process_executor._MAX_MEMORY_LEAK_SIZE = 2**40

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
