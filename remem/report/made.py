"""What made each table, figure and verdict of an outputs folder: a notebook and its parameters.

It stands in a small file for each, `made/<its path>.json`, with the SHA-256 of what was made: so
one that was written over, or never finished, is known by no record that fits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from remem import paths, runs
from remem.config import Config
from remem.config.loading import changes


class Parameters(runs.Spec):
    """A digest of all parameters that may move a result, and in words those that are not as the
    scale's file has them."""

    digest: str
    changed: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The latter, as a sentence ends."""
        return "; ".join(self.changed) or "all parameters as in the scale's file"


class Record(runs.Spec):
    """By notebook, the parameters of what is in a file with this SHA-256."""

    sha256: str
    made: dict[str, Parameters]


Known = Mapping[Path, Record]  # by file; one without a record that fits is not among them


def parameters(config: Config) -> Parameters:
    """Those of `config`. How many runs are made at once moves no result, nor where that is, nor
    where they go."""
    same = {"workers": 1, "outputs": None, "cluster": None}
    changed = {
        key: values for key, values in changes(config).items() if key.split(".")[0] not in same
    }
    digest = runs.digest(config.model_copy(update=same))
    return Parameters(digest=digest, changed=tuple(in_words(changed)))


def note(
    folders: paths.Folders,
    file: Path,
    notebook: str,
    given: Parameters,
    parts: Iterable[str] = (),
    before: Record | None = None,
) -> None:
    """Keep that `notebook` made `file` with the parameters `given`; of a file that several make,
    such `parts` of it as the record `before` knows are others'."""
    kept = {name: before.made[name] for name in parts if before and name in before.made}
    by = dict(sorted((kept | {notebook: given}).items()))  # whichever came first
    record = Record(sha256=_sha256(file), made=by)
    paths.write(_side(folders, file), runs.as_json(record.model_dump(mode="json")))


def known(folders: paths.Folders) -> Known | None:
    """The records that fit their files; None where nothing was ever kept."""
    if not (folders.root / "made").is_dir():
        return None
    sides = (folders.root / "made").glob("*/*.json")
    files = [folders.root / side.parent.name / side.name.removesuffix(".json") for side in sides]
    records = ((file, record(folders, file)) for file in files)
    return {file: found for file, found in records if found is not None}


def record(folders: paths.Folders, file: Path) -> Record | None:
    """What made `file`; None where no record of it fits."""
    try:
        found = Record.model_validate_json(_side(folders, file).read_bytes())
        return found if found.sha256 == _sha256(file) else None
    except (OSError, ValueError):  # no file, or not what `note` writes
        return None


def otherwise(known: Known | None, files: Sequence[Path], digest: str) -> str:
    """In words, why what is in `files` may not stand beside results of parameters with this
    digest; "" where it may, or nothing is known of anything."""
    if known is None or not digest:
        return ""
    if any(file not in known for file in files):
        return "It is not known with which parameters this was made."
    made = [given for file in files for given in known[file].made.values()]
    others = dict.fromkeys(given.words for given in made if given.digest != digest)
    return f"Made with other parameters: {' / '.join(others)}." if others else ""


def in_words(changed: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Of each changed parameter (config.loading.changes): "stage1.epochs = 3 (file: 5)"."""
    return [
        f"{key} = {json.dumps(value, ensure_ascii=False)} "
        f"(file: {json.dumps(standard, ensure_ascii=False)})"
        for key, (value, standard) in changed.items()
    ]


def _side(folders: paths.Folders, file: Path) -> Path:
    return folders.root / "made" / file.parent.name / f"{file.name}.json"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
