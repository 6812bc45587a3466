"""Where everything lies. The only room that knows a path; every other one asks here."""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from filelock import FileLock, Timeout

ROOT = Path(__file__).resolve().parent.parent

NOTEBOOKS = ROOT / "notebooks"

PARAMS = ROOT / "params"

PAPER = ROOT / "remem" / "paper.csv"

PRECONDITIONS = PAPER.with_name("preconditions.csv")  # the aims

SITE = ROOT / "remem" / "site"  # templates, styles and scripts of the site

REFERENCE = ROOT / "outputs" / "reference"  # a run of every notebook at scale tiny

BASES = REFERENCE / "base"  # the tiny base models, from which everybody starts

DATA = ROOT / "data"  # other people's files, which their readers look for here

FILLED_BY = ".filled-by"  # in a folder that is being filled: held by the process that fills it

AT_ONCE = 16  # files on their way to the disk: they share its turns, of milliseconds each
MAX_NAME = 200  # bytes in a plain name: systems take 255, and some of ours have ends of their own


class CannotWrite(OSError):
    """A file or folder of the outputs cannot be written; the message says which, and what to do."""


class OldOutputs(ValueError):
    """A folder's results may not be mixed with new ones; the message says why, and what to do."""


@dataclass(frozen=True)
class Folders:
    """The output folders (absolute). Each is made by whoever first writes to it; `runs` and
    `services` are shared by all outputs of one scale."""

    root: Path
    runs: Path

    @property
    def is_reference(self) -> bool:
        """Whether this is the run that the repository keeps."""
        return self.root.resolve() == REFERENCE.resolve()

    @property
    def layout(self) -> Path:
        """The file that says what the folder's results are of: layout, scale and data."""
        return self.root / "layout.json"

    @property
    def machine(self) -> Path:
        """The file that says where it was last written: processor, system, versions."""
        return self.root / "machine.json"

    @property
    def tables(self) -> Path:
        """CSV files."""
        return self.root / "tables"

    @property
    def figures(self) -> Path:
        """PNG and PDF files."""
        return self.root / "figures"

    @property
    def verdicts(self) -> Path:
        """CSV files, one for each notebook."""
        return self.root / "verdicts"

    @property
    def notebooks(self) -> Path:
        """Executed notebooks."""
        return self.root / "notebooks"

    @property
    def services(self) -> Path:
        """What services answered, for money."""
        return self.runs.parent / "services"

    @property
    def former_services(self) -> tuple[Path, ...]:
        """Where that lay before judge and construction had one folder."""
        return self.root / "judge", self.root / "construction" / "answers"

    @property
    def html(self) -> Path:
        """Executed notebooks, as web pages."""
        return self.root / "html"

    @property
    def site(self) -> Path:
        """The pages that show all of this, and the files that they need."""
        return self.root / "site"


def expanded(name: str | Path) -> str:
    """A path as a person writes it, with the home folder in place of a leading ~."""
    return os.path.expanduser(str(name))


def written(name: str) -> Path:
    """The same as a Path: an argument of the command line."""
    return Path(expanded(name))


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """An empty folder to fill, which gets the name `out` once all is written and on the disk, and
    is gone otherwise. Write into it without `sync`. Raises CannotWrite."""
    with _filled(out.parent) as (part, lock):
        yield part
        lock.release()
        (part / FILLED_BY).unlink()
        all_to_disk(part)
        try:
            os.rename(part, out)
        except OSError as error:  # somebody else's has come to be there
            raise CannotWrite(_refusal(out, error.strerror)) from error
        to_disk(out.parent)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder of the system's temporary ones, for this user alone, and gone at the end."""
    with _filled(Path(tempfile.gettempdir()), mode=0o700) as (part, _):
        yield part


@contextmanager
def _filled(above: Path, mode: int = 0o777) -> Iterator[tuple[Path, FileLock]]:
    """A new folder in `above`, and the lock in it that says that it is being filled. Those of
    processes that died are deleted first: nobody holds theirs."""
    for left in make_folder(above).glob(".remem-*.part"):
        lock = FileLock(left / FILLED_BY)
        with suppress(Timeout, OSError):  # it is being filled, or another user's
            if (left / FILLED_BY).is_file() and not left.is_symlink():
                with lock.acquire(blocking=False):
                    shutil.rmtree(left, ignore_errors=True)
    part = above / f".remem-{secrets.token_hex(8)}.part"
    try:
        part.mkdir(mode)
        lock = FileLock(part / FILLED_BY)
        lock.acquire()
    except OSError as error:
        raise CannotWrite(_refusal(part, error.strerror)) from error
    try:
        yield part, lock
    finally:
        lock.release()
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def renewed_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `out` once all is written; `out` stays as it was
    otherwise. It can be made again, and is not waited for until it is on the disk. Raises
    CannotWrite."""
    with _filled(out.parent) as (part, lock), _filled(out.parent) as (old, _):
        yield part
        lock.release()
        (part / FILLED_BY).unlink()
        try:
            if out.exists():
                os.rename(out, old / out.name)
            os.rename(part, out)
        except OSError as error:  # such as another process that does the same
            raise CannotWrite(_refusal(out, error.strerror)) from error


def is_plain_name(name: str) -> bool:
    """Whether `name` can be that of a folder, and leads nowhere else."""
    plain = bool(name) and Path(name).name == name and name not in (".", "..")
    return plain and "\0" not in name and len(os.fsencode(name)) <= MAX_NAME


def outputs(name: str, runs_of: str | None = None) -> Folders:
    """The folders of `name` under `outputs/`, or under $REMEM_OUTPUTS where that is set; its runs
    are those of the scale `runs_of` (left out: of `name`).

    Raises CannotWrite when nothing could be written there, before any work is done for it.
    """
    for plain in (name, runs_of or name):
        if not is_plain_name(plain):
            raise ValueError(f"{plain!r} is not a plain name such as 'tiny'")
    chosen = os.environ.get("REMEM_OUTPUTS")
    above = Path(expanded(chosen)).absolute() if chosen else ROOT / "outputs"
    root = above / name
    nearest = next(folder for folder in (root, *root.parents) if os.path.exists(folder))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise CannotWrite(_refusal(root, f"{nearest} is not a folder that can be written"))
    return Folders(root, above / (runs_of or name) / "runs")


def make_folder(folder: Path) -> Path:
    """Make `folder` and its parents, and return it. Raises CannotWrite."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(_refusal(folder, error.strerror)) from error
    return folder


def write(path: Path, content: str | bytes, sync: bool = True) -> Path:
    """Write `content` (text as UTF-8) to `path` at once or not at all, and return `path`.

    A reader never sees half a file, nor does who comes after a loss of power: the content goes to a
    second file in the same folder, which takes the name once it is on the disk. Without `sync` it
    is not waited for: in a folder that is itself not named yet. Parents are made. Raises
    CannotWrite.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise CannotWrite(_refusal(path, error.strerror)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def clear(folder: Path) -> None:
    """Delete what a process that died in `write` left in `folder`. Only for who writes there alone:
    what is there may otherwise be on its way to a name."""
    for path in folder.glob(".*.part"):
        if re.fullmatch(r"\.[0-9a-f]{16}\.part", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def to_disk(*places: Path) -> None:
    """Return when these files or folders (not what is in them) are on the disk, and would outlive a
    loss of power. Raises CannotWrite."""

    def sync(place: Path) -> None:
        try:
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise CannotWrite(_refusal(place, error.strerror)) from error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(sync, places))


def all_to_disk(folder: Path) -> None:
    """As `to_disk`, for a folder and everything below it."""
    to_disk(*(path for path in folder.rglob("*") if not path.is_symlink()), folder)


def silenced(*streams: TextIO) -> bool:
    """Whether one of these streams can no longer be written to: a line's end is tried, since one
    that failed forgets it. What is left goes nowhere, or Python would complain of it at its end."""
    for stream in streams:
        try:
            stream.write("\n")
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            return True
    return False


def save_figure(figure, path: Path, dpi: int = 240) -> tuple[Path, Path]:
    """Save a matplotlib figure as `path`.png, at two points for each of a screen's, and `path`.pdf;
    returns the two paths.

    Neither holds a date or a version, nor what a reader's own matplotlibrc says, so that the same
    figure gives the same bytes.
    """
    from matplotlib import style  # it is loaded where there is a figure

    saved = []
    for suffix, metadata in (
        (".png", {"Software": None}),
        (".pdf", {"CreationDate": None, "Creator": None, "Producer": None}),
    ):
        buffer = io.BytesIO()
        with style.context("default"):
            figure.savefig(
                buffer, format=suffix[1:], metadata=metadata, bbox_inches="tight", dpi=dpi
            )
        # not with_suffix, which would take the end of "fig3.a" for a suffix
        saved.append(write(Path(f"{path}{suffix}"), buffer.getvalue()))
    return saved[0], saved[1]


def _refusal(path: Path, reason: str | None) -> str:
    return (
        f"cannot write {path}: {reason}. Make room or give the right there, "
        "or set REMEM_OUTPUTS to a folder that can be written"
    )
