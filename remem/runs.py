"""A run: a frozen, typed spec whose hash names the folder that holds its results.

What is done is loaded, the rest is made; killing it at any moment loses at most the run in hand.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from remem import paths


class DamagedRun(ValueError):
    """A run folder is not what it was when it was finished; the message names the file."""


class FailedRuns(RuntimeError):
    """Some jobs of a sweep failed; the message says which, and where they differ from the rest."""


class Spec(BaseModel):
    """What a result depends on, and nothing else: plain values and other specs.

    The code is not among them. Whoever changes what the code of a kind produces says so by raising
    its `revision`: what the old code made is then made again, and so is all that builds on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    kind: ClassVar[str] = ""
    revision: ClassVar[int] = 1


def digest(spec: Spec) -> str:
    """Twelve hex digits that change when a field or the revision of `spec`, or of a spec inside
    it, does."""
    canonical = json.dumps(_plain(spec), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def folder(spec: Spec, runs_root: Path) -> Path:
    """Where the results of `spec` lie, done or not."""
    return Path(runs_root) / f"{spec.kind}-{digest(spec)}"


def ensure(spec: Spec, make: Callable[[Path], None], runs_root: Path) -> Path:
    """Return the folder of `spec`, calling `make(an empty folder)` first where it is not done.

    A folder gets its name only when it is complete, with `DONE` (the manifest: size and SHA-256
    of each file) written last. Of several processes that ask at once, one makes it and the others
    wait. Raises DamagedRun when what is there is not what was finished, CannotWrite when nothing
    can be written; whatever `make` raises goes through and leaves nothing behind.
    """
    final = folder(spec, runs_root)
    if final.exists():
        return verify(final)
    paths.make_folder(final.parent / ".locks")
    with _only_one(final.parent / ".locks" / final.name):
        if final.exists():
            return verify(final)
        part = final.with_name(f".{final.name}.part")
        # Only the holder of the lock writes here: what is found was left by a process that died.
        shutil.rmtree(part, ignore_errors=True)
        paths.make_folder(part)
        try:
            started = time.perf_counter()
            make(part)
            seconds = round(time.perf_counter() - started, 3)
            paths.write(
                part / "spec.json",
                _json(
                    {
                        "kind": spec.kind,
                        "spec": _plain(spec),
                        "seconds": seconds,
                        **_circumstances(),
                    }
                ),
            )
            paths.write(part / "DONE", _json({"files": _manifest(part)}))
            _to_disk(part / "DONE")
            _to_disk(part)
            os.rename(part, final)
            _to_disk(final.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return final


def verify(final: Path) -> Path:
    """Return `final` if each file of its manifest is as it was when done, else raise DamagedRun."""
    way_out = f"delete the folder {final} to have it made again"
    if not (final / "DONE").is_file():
        raise DamagedRun(f"{final} holds no DONE, so it was not finished by this code; {way_out}")
    try:
        files = read_json(final / "DONE")["files"]
        promised = {name: (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedRun(f"{final / 'DONE'} cannot be read; {way_out}") from error
    for name, (size, sha256) in promised.items():
        path = final / name
        if not path.is_file():
            raise DamagedRun(f"{path} is missing; {way_out}")
        if path.stat().st_size != size or _sha256(path) != sha256:
            raise DamagedRun(f"{path} was changed after the run was done; {way_out}")
    return final


def sweep(
    jobs: Sequence[tuple[str, Spec]],
    runs_root: Path,
    workers: int,
    label: str,
    threads: int = 1,
) -> list[Path]:
    """Run `jobs` and return what each gives, in their order; what is done is only verified.

    A job is ("module:function", spec), called as function(spec, runs_root) -> Path. With more
    than one worker each job runs in a process of its own; either way torch gets `threads` threads,
    so the numbers do not depend on `workers`. When jobs fail the others are finished first, and
    then FailedRuns names each of them.
    """
    results: dict[str, Path] = {}
    failures: dict[str, Exception] = {}
    waiting: dict[str, tuple[str, Spec]] = {}
    for target, spec in jobs:
        final = folder(spec, runs_root)
        if final.exists():
            results[_name(target, spec)] = verify(final)
        else:
            waiting[_name(target, spec)] = (target, spec)

    with tqdm(
        desc=label,
        total=len(results) + len(waiting),
        initial=len(results),
        unit="run",
        file=sys.stderr,
    ) as bar:
        for name, outcome in _outcomes(waiting, Path(runs_root), workers, threads):
            if isinstance(outcome, Exception):
                failures[name] = outcome
            else:
                results[name] = outcome
            bar.update()
    if failures:
        raise FailedRuns(_report(jobs, failures)) from next(iter(failures.values()))
    return [results[_name(target, spec)] for target, spec in jobs]


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ValueError, naming it, when it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def content(folder: Path, names: Iterable[str]) -> str:
    """SHA-256, in hex digits, over the names and bytes of these files of a folder, in order."""
    seen = hashlib.sha256()
    for name in names:
        told = bytes.fromhex(_sha256(Path(folder) / name))
        seen.update(name.encode(errors="surrogateescape") + b"\0" + told)
    return seen.hexdigest()


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """Dictionaries inside dictionaries as one, with dotted keys: {"stage1.lr": 0.002, ...}."""
    if not isinstance(value, dict):
        return {key: value}
    return {
        inner: item
        for name, content in value.items()
        for inner, item in flat(content, f"{key}.{name}" if key else name).items()
    }


def _plain(value: Any) -> Any:
    """`value` as JSON types; a spec keeps its kind, so that two kinds never share a digest."""
    if isinstance(value, Spec):
        fields = {name: _plain(getattr(value, name)) for name in type(value).model_fields}
        # Revision 1 is not written down: a kind's first is what it was before anybody counted.
        if value.kind and value.revision > 1:
            fields = {"revision": value.revision, **fields}
        return {"kind": value.kind, **fields} if value.kind else fields
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(root: Path) -> dict[str, dict[str, Any]]:
    return {
        path.relative_to(root).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the system lets go of it when its holder dies, however it dies."""
    try:
        file = path.open("a")
    except OSError as error:
        raise paths.CannotWrite(f"cannot write {path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if parent_process() is None:  # a worker waits in silence: its sweep shows a bar
                print(f"{path.name}: another process is making it; waiting", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _circumstances() -> dict[str, Any]:
    """What a result should not depend on, kept for the day that it does."""
    versions = {"python": platform.python_version()}
    for package in ("numpy", "torch", "transformers", "peft"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_available()
    return {
        "versions": versions,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "threads": torch.get_num_threads() if torch is not None else None,
        "commit": _commit(),
    }


@functools.cache
def _commit() -> str | None:
    command = ["git", "-C", str(paths.ROOT), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or not a checkout


def _name(target: str, spec: Spec) -> str:
    return f"{target} {spec.kind}-{digest(spec)}"


def _outcomes(
    waiting: dict[str, tuple[str, Spec]], runs_root: Path, workers: int, threads: int
) -> Iterator[tuple[str, Path | Exception]]:
    if workers == 1 or len(waiting) < 2:
        for name, (target, spec) in waiting.items():
            try:
                yield name, _call(target, spec, runs_root, threads)
            except Exception as error:
                yield name, error
        return
    pool = ProcessPoolExecutor(
        min(workers, len(waiting)), get_context("spawn"), _worker, (os.getpid(), threads)
    )
    try:
        futures = {
            pool.submit(_call, target, spec, runs_root, threads): name
            for name, (target, spec) in waiting.items()
        }
        for future in as_completed(futures):
            yield futures[future], future.exception() or future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _call(target: str, spec: Spec, runs_root: Path, threads: int) -> Path:
    module, function = target.split(":")
    function = getattr(importlib.import_module(module), function)
    torch = sys.modules.get("torch")
    if torch is None:
        return function(spec, runs_root)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return function(spec, runs_root)
    finally:
        torch.set_num_threads(before)


def _worker(parent: int, threads: int) -> None:
    """Set a worker up: few threads (before torch is loaded), no bars beside its sweep's, and no
    life after its parent's."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    tqdm.__init__ = functools.partialmethod(tqdm.__init__, disable=True)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _report(jobs: Sequence[tuple[str, Spec]], failures: dict[str, Exception]) -> str:
    told = {_name(target, spec): flat(_plain(spec)) for target, spec in jobs}
    keys = sorted({key for fields in told.values() for key in fields})
    differing = [key for key in keys if len({repr(f.get(key)) for f in told.values()}) > 1]
    kept = "; the others are done and kept" if len(failures) < len(told) else ""
    lines = [f"{len(failures)} of {len(told)} runs failed{kept}"]
    for name, error in failures.items():
        fields = ", ".join(f"{key}={told[name].get(key)}" for key in differing)
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, BrokenProcessPool):
            reason = (
                "a worker process was killed (out of memory?), which ends the whole pool; "
                "lower `workers` and start again"
            )
        lines.append(f"- {name} ({fields}): {reason}" if fields else f"- {name}: {reason}")
    return "\n".join(lines)
