"""Tables that notebooks wrote, read back: anybody's file may lie among them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

MAX_BYTES, MAX_COLUMNS = 2**25, 200  # of a table: the longest of ours has some 30 columns


class BadTable(ValueError):
    """A CSV in the place of a table is not what notebooks write; the message names the file, and
    `reason` says what is wrong with it."""

    exit_status: ClassVar[int] = 1

    def __init__(self, file: Path, reason: object):
        self.reason = f"{reason}"[:300]
        super().__init__(
            f"{file} is not what notebooks write there ({self.reason}): delete it, or run the "
            "notebook that makes it again"
        )


def files(folder: Path, suffix: str = ".csv") -> list[Path]:
    """The files of a folder with this suffix, sorted, but for those that a system or an editor
    keeps there."""
    found = sorted(path for path in folder.glob(f"*{suffix}") if path.is_file())
    return [path for path in found if not path.name.startswith((".", "~$"))]


def read(file: Path, **options: Any) -> pd.DataFrame:
    """pandas.read_csv with these options, of a file with a first line of names and no row that is
    longer. Raises BadTable."""
    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            raise ValueError(f"it has {size:,} bytes")
        with file.open(newline="", encoding="utf-8") as rows:  # pandas would take minutes for 10**5
            if (longest := max(map(len, csv.reader(rows)), default=0)) > MAX_COLUMNS:
                raise ValueError(f"it has {longest:,} columns")
        table = pd.read_csv(file, **options)
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("a row has more cells than the first line")
        return table
    except (OSError, ValueError, csv.Error) as error:
        raise BadTable(file, error) from error
