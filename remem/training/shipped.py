"""The tiny networks that come with the repository: base models, and the tower below them.

Processors round differently. Whoever trained them anew would start from other networks, and get
other numbers from there on, so they are trained once and kept in `paths.BASES`, each in a folder
that is named as its run is. `python -m remem base` trains them again, and compares.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from remem import paths, runs
from remem.runs import Run


def folder(run: Run) -> Path | None:
    """Where it lies in the repository, if it does."""
    found = paths.BASES / runs.name(run)
    return found if found.is_dir() else None


def copied(run: Run, out: Path) -> bool:
    """Copy its files to `out`, if it comes with the repository; whether it does."""
    source = folder(run)
    if source is None:
        return False
    for file in source.iterdir():
        shutil.copyfile(file, out / file.name)
    return True
