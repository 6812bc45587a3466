"""A run: a frozen, typed spec whose digest names the folder that holds its result.

What is done is loaded, the rest is made; killing it at any moment loses at most the run in hand.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from remem import paths


class DamagedRun(ValueError):
    """A run folder is not what it was when it was finished; the message names the file."""

    exit_status: ClassVar[int] = 1


class CutShort(DamagedRun):
    """Files of a run folder are empty or cut, as a loss of power leaves what was on its way to the
    disk: it is made again."""


class NotJson(ValueError):
    """A file that should hold JSON does not; the message names it."""

    exit_status: ClassVar[int] = 1


class _NotInDigest:
    """Marks a field that moves memory or time and no result: it is in the record, not the name."""


NOT_IN_DIGEST = _NotInDigest()  # batch: Annotated[int, Field(ge=1), NOT_IN_DIGEST]

SAID = "remem: "  # how a line begins that `say` has said
SOON = 1.0  # seconds for which a wait is not worth a word
PAGE = 4096  # bytes; a disk is written in multiples of it


class Spec(BaseModel):
    """Plain values and other specs; frozen, strict, and without unknown fields.

    The code is not among them. Whoever changes what the code of a kind produces raises its
    `revision`: what the old code made is then made again, and so is all that builds on it.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )
    kind: ClassVar[str] = ""
    revision: ClassVar[int] = 1

    def not_in_digest(self) -> set[str]:
        """The fields that move no result: those that are marked so."""
        fields = type(self).model_fields.items()
        return {name for name, info in fields if NOT_IN_DIGEST in info.metadata}


class Run(Spec):
    """A spec whose result is a folder, `<kind>-<digest>`.

    A kind of run says which runs have to be there first (`needs`), how its folder is filled
    (`make`), and what table `jobs.collect` reads from it (`read`).
    """

    # Read again and again, and large: verified once in each process, and not at every use.
    verified_once: ClassVar[bool] = False

    def needs(self) -> Sequence[Run]:
        """The runs whose folders `make` reads."""
        return ()

    def make(self, out: Path, runs_root: Path) -> None:
        """Fill the empty folder `out`; the folders of `needs` are finished below `runs_root`."""
        raise NotImplementedError

    def done(self, runs_root: Path) -> None:
        """Delete what `make` kept beside the runs to go on from: the folder has its name."""

    def read(self, folder: Path) -> pd.DataFrame:
        """The table that this run is there for, from its finished folder."""
        raise NotImplementedError


def digest(spec: Spec) -> str:
    """Twelve hex digits that change when a field or the revision of `spec`, or of a spec inside
    it, does; fields that are NOT_IN_DIGEST change nothing."""
    fields = plain(spec, for_digest=True)
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def name(spec: Spec) -> str:
    """The name of the folder of `spec`."""
    return f"{spec.kind}-{digest(spec)}"


def folder(spec: Spec, runs_root: Path) -> Path:
    """Where the result of `spec` lies, done or not."""
    return Path(runs_root) / name(spec)


def get_or_create(spec: Run, runs_root: Path) -> Path:
    """Return the folder of `spec`; where it is not done, make what it needs, and then it.

    A folder gets its name only when it is complete and on the disk, with `DONE` (the manifest: size
    and SHA-256 of each file). Of several processes that ask at once, one makes it and the others
    wait. One that was CutShort is put aside. Raises DamagedRun when what is there is not what was
    finished, or another run's, CannotWrite when nothing can be written; whatever `make` raises.
    """
    if done := _done(spec, runs_root):
        return done
    for need in spec.needs():
        get_or_create(need, runs_root)
    final = create(spec, lambda out: spec.make(out, Path(runs_root)), runs_root)
    spec.done(Path(runs_root))
    return final


def create(spec: Spec, make: Callable[[Path], None], runs_root: Path) -> Path:
    """As `get_or_create`, for a spec whose maker is given: `make(an empty folder)`."""
    if done := _done(spec, runs_root):
        return done
    final = folder(spec, runs_root)
    with locked(paths.make_folder(final.parent / ".locks") / final.name):
        if done := _done(spec, runs_root, put_aside=True):
            return done
        part = final.with_name(f".{final.name}.part")
        # Only the holder of the lock writes here: what is found was left by a process that died.
        shutil.rmtree(part, ignore_errors=True)
        paths.make_folder(part)
        try:
            started = time.perf_counter()
            make(part)
            seconds = round(time.perf_counter() - started, 3)
            record = {"kind": spec.kind, "spec": plain(spec), "seconds": seconds}
            paths.write(part / "spec.json", as_json(record | circumstances()), sync=False)
            paths.write(part / "DONE", as_json({"files": _manifest(part)}), sync=False)
            paths.all_to_disk(part)
            os.rename(part, final)
            paths.to_disk(final.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return final


def clear(runs_root: Path) -> None:
    """Delete what `create` left half made below `runs_root`, in processes that died."""
    for part in Path(runs_root).glob(".*-*.part"):
        lock = part.parent / ".locks" / part.name[1:].removesuffix(".part")
        if lock.is_file():  # of ours, then
            with suppress(Timeout, OSError), FileLock(lock).acquire(blocking=False):
                shutil.rmtree(part, ignore_errors=True)


def is_done(spec: Spec, runs_root: Path) -> bool:
    """Whether the folder of `spec` is there, and no file of it cut short, as far as sizes tell: for
    who plans work. What is used is verified."""
    final = folder(spec, runs_root)
    try:
        return final.exists() and bool(verify(final, contents=False))
    except DamagedRun as error:
        return not isinstance(error, CutShort)  # whoever uses it is told


def verify(final: Path, contents: bool = True) -> Path:
    """Return `final` if each file of its manifest is as it was when done, by its size and, with
    `contents`, by its SHA-256; else raise DamagedRun, or CutShort."""
    for file, (size, sha256) in _promised(final).items():
        path = final / file
        if not path.is_file():
            raise DamagedRun(f"{path} is missing; {_remedy(final)}")
        cut = path.stat().st_size < size
        if cut or (contents and (path.stat().st_size != size or _sha256(path) != sha256)):
            if cut or _ends_in_zeros(path):
                raise CutShort(f"{path} is empty or cut short; {_remedy(final)}")
            raise DamagedRun(f"{path} was changed after the run was done; {_remedy(final)}")
    return final


_verified = functools.cache(verify)


def _done(spec: Spec, runs_root: Path, put_aside: bool = False) -> Path | None:
    """The folder of `spec`, verified; None where there is none, or one that was cut short, which
    the holder of its lock may have `put_aside`."""
    final = folder(spec, runs_root)
    if not final.exists():
        return None
    try:
        _verified(final) if getattr(spec, "verified_once", False) else verify(final)
    except CutShort as error:
        if put_aside:
            aside = final.rename(final.with_name(f".{final.name}.cut-{time.time_ns()}"))
            reason = str(error).partition("; ")[0]
            say(f"{reason} (a loss of power?): put aside as {aside.name}, and made again")
        return None
    _is_of(spec, final)
    return final


def _is_of(spec: Spec, final: Path) -> None:
    """Raise DamagedRun where a folder, sound as it is, is that of another spec: it was copied, or
    renamed, to a name that stands for this one."""
    try:
        recorded = read_json(final / "spec.json")["spec"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedRun(f"{final / 'spec.json'} cannot be read; {_remedy(final)}") from error
    asked = json.loads(json.dumps(plain(spec, for_digest=True)))
    for key, wanted, found in _unlike(asked, recorded):
        raise DamagedRun(
            f"{final} holds another run under this name: its spec.json has {key or 'the spec'} = "
            f"{found!s:.80}, which should be {wanted!s:.80}; {_remedy(final)}"
        )


def _unlike(asked: Any, found: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value in `asked`, value in `found`) wherever `found`, which may hold more keys,
    has another value; both JSON."""
    if isinstance(asked, dict) and isinstance(found, dict):
        for name, value in asked.items():
            yield from _unlike(value, found.get(name), f"{key}.{name}" if key else name)
    elif isinstance(asked, list) and isinstance(found, list) and len(asked) == len(found):
        for place, pair in enumerate(zip(asked, found, strict=True)):
            yield from _unlike(*pair, f"{key}[{place}]")
    elif asked != found:
        yield key, asked, found


def _promised(final: Path) -> dict[str, tuple[int, str]]:
    """Of each file in the manifest its size and SHA-256. Raises DamagedRun."""
    done = final / "DONE"
    if not done.is_file():
        raise DamagedRun(
            f"{final} holds no DONE, so it was not finished by this code; {_remedy(final)}"
        )
    try:
        files = read_json(done)["files"]
        return {name: (int(entry["bytes"]), entry["sha256"]) for name, entry in files.items()}
    except NotJson as error:
        raise CutShort(f"{done} is empty or cut short; {_remedy(final)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DamagedRun(f"{done} cannot be read; {_remedy(final)}") from error


def _remedy(final: Path) -> str:
    return f"delete the folder {final} to have it made again"


def _ends_in_zeros(path: Path) -> bool:
    """Whether a file's last page is empty: its size was on the disk before its content was."""
    with path.open("rb") as file:
        last = max(file.seek(0, os.SEEK_END) - 1, 0)
        file.seek(last - last % PAGE)
        return not any(file.read())


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises NotJson."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise NotJson(f"{path} is not valid JSON: {error}") from error


def content(folder: Path, names: Iterable[str]) -> str:
    """SHA-256, in hex digits, over the names and bytes of these files of a folder, in order."""
    seen = hashlib.sha256()
    for file in names:
        sha256 = bytes.fromhex(_sha256(Path(folder) / file))
        seen.update(file.encode(errors="surrogateescape") + b"\0" + sha256)
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


def say(line: str) -> None:
    """Say on stderr what whoever waits should know; of a notebook that `reproduce` runs, and of its
    workers, such lines are shown in the terminal too."""
    print(f"{SAID}{line}", file=sys.stderr, flush=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the system lets go of it when its holder dies, however it dies."""
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=SOON)
        except Timeout:
            say(f"{path.name}: another process is making it; waiting")
            lock.acquire()
    except OSError as error:
        raise paths.CannotWrite(f"cannot write {path}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def plain(value: Any, for_digest: bool = False) -> Any:
    """`value` as JSON types, every field of a spec, or those that count `for_digest`; a spec keeps
    its kind, so that two kinds never share a digest."""
    if isinstance(value, Spec):
        left_out = value.not_in_digest() if for_digest else set()
        kept = [field for field in type(value).model_fields if field not in left_out]
        fields = {field: plain(getattr(value, field), for_digest) for field in kept}
        if value.kind and value.revision > 1:  # 1: no revision was recorded at first
            fields = {"revision": value.revision, **fields}
        return {"kind": value.kind, **fields} if value.kind else fields
    if hasattr(value, "described"):
        return plain(value.described(), for_digest)
    if isinstance(value, dict):
        return {key: plain(item, for_digest) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, for_digest) for item in value]
    return value


def as_json(content: Any) -> str:
    """JSON for people to read: indented, in Unicode, with a line's end."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(root: Path) -> dict[str, dict[str, Any]]:
    return {
        path.relative_to(root).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")  # what a system leaves, and changes
    }


def circumstances() -> dict[str, Any]:
    """What a result should not depend on, kept for the day that it does."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("numpy", "torch", "transformers", "peft"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    torch: Any = sys.modules.get("torch")
    return {
        "versions": versions,
        "device": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "cpu",
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
