"""The files of an outputs folder, read so that one that is broken takes no other with it.

Anybody may put a file there, or save one of ours with another program.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

import pandas as pd

from remem import paths, runs
from remem.report import written

Found = TypeVar("Found")


class Files:
    """Reads the files of a folder. `broken` keeps those that cannot be read or shown, with the
    reason."""

    def __init__(self, folders: paths.Folders):
        self.folders = folders
        self.broken: dict[Path, str] = {}

    @overload
    def read(self, file: Path) -> pd.DataFrame | None: ...

    @overload
    def read(self, file: Path, how: Callable[[Path], Found]) -> Found | None: ...

    def read(self, file: Path, how: Callable[[Path], Any] | None = None) -> Any:
        """What `how` (left out: `table`) makes of a file; None where there is none, or it cannot be
        read."""
        if not file.is_file():
            return None
        try:
            return (how or table)(file)
        except Exception as error:  # whatever anybody's file may lead to
            self.broken[file] = f"{type(error).__name__}: {error}"[:300]
            return None

    def layout(self) -> dict[str, str]:
        """What layout.json says (output.open_folder): of its keys those that are text."""
        try:
            said = runs.read_json(self.folders.layout)
        except (OSError, runs.NotJson):
            said = {}
        known = said if isinstance(said, dict) else {}
        return {key: value for key, value in known.items() if isinstance(value, str)}


def listed(folder: Path, suffix: str) -> dict[str, Path]:
    """The files of a folder with this suffix, by their names without it, in their order; without
    those that a system or an editor keeps there."""
    return {path.stem: path for path in written.files(folder, suffix)}


def table(path: Path) -> pd.DataFrame:
    """A CSV with numbers where a whole column is numbers. Pandas' own reading would also make a
    gap of an answer that is the word "None". Raises written.BadTable."""
    found = written.read(path, dtype=str, keep_default_na=False)
    for name in found:
        try:
            found[name] = pd.to_numeric(found[name].replace("", None))
        except ValueError:  # text
            continue
    return found


def text(value: Any) -> str:
    """A cell as text, a gap as none."""
    return "" if pd.isna(value) else str(value)
