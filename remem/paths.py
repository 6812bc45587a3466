"""Where everything lies. The only room that knows a path; every other one asks here."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

NOTEBOOKS = ROOT / "notebooks"

PARAMS = ROOT / "params"

PAPER = ROOT / "remem" / "paper.csv"

PRECONDITIONS = PAPER.with_name("preconditions.csv")  # the aims

SITE = ROOT / "remem" / "site"  # templates, styles and scripts of the site

REFERENCE = ROOT / "outputs" / "reference"  # a run of every notebook at scale tiny

BASES = REFERENCE / "base"  # the tiny base models, from which everybody starts

DATA = ROOT / "data"  # other people's files, which their readers look for here


class CannotWrite(OSError):
    """A file or folder of the outputs cannot be written; the message says which, and what to do."""


class OldOutputs(ValueError):
    """A folder's results may not be mixed with new ones; the message says why, and what to do."""


@dataclass(frozen=True)
class Folders:
    """The output folders (absolute). Each is made by whoever first writes to it; `runs` is shared
    by all outputs of one scale."""

    root: Path
    runs: Path

    @property
    def layout(self) -> Path:
        """The file that says what the folder's results are of: layout, scale and data."""
        return self.root / "layout.json"

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
    def judge(self) -> Path:
        """What a Gemini judge answered."""
        return self.root / "judge"

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


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which gets the name `out` once all is written, and is gone otherwise."""
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that died
    try:
        yield part
        os.rename(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def renewed_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `out` once all is written; `out` stays as it was
    otherwise. Raises CannotWrite."""
    part, old = (out.with_name(f".{out.name}.{end}") for end in ("part", "old"))
    for left in (part, old):  # of a process that died
        shutil.rmtree(left, ignore_errors=True)
    make_folder(part)
    try:
        yield part
        if out.exists():
            os.rename(out, old)
        os.rename(part, out)
    except OSError as error:
        raise CannotWrite(_refusal(out, error.strerror)) from error
    finally:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)


def is_plain_name(name: str) -> bool:
    """Whether `name` can be that of a folder, and leads nowhere else."""
    return bool(name) and Path(name).name == name and name not in (".", "..")


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
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
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


def write(path: Path, content: str | bytes) -> Path:
    """Write `content` (text as UTF-8) to `path` at once or not at all, and return `path`.

    A reader never sees half a file: the content goes to a second file in the same folder, which
    then takes the name. Parents are made. Raises CannotWrite.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        raise CannotWrite(_refusal(path, error.strerror)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def save_figure(figure, path: Path) -> tuple[Path, Path]:
    """Save a matplotlib figure as `path`.png and `path`.pdf; returns the two paths.

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
                buffer, format=suffix[1:], metadata=metadata, bbox_inches="tight", dpi=160
            )
        # not with_suffix, which would take the end of "fig3.a" for a suffix
        saved.append(write(Path(f"{path}{suffix}"), buffer.getvalue()))
    return saved[0], saved[1]


def _refusal(path: Path, reason: str | None) -> str:
    return (
        f"cannot write {path}: {reason}. Make room or give the right there, "
        "or set REMEM_OUTPUTS to a folder that can be written"
    )
