"""The data that is trained on: a dataset that is drawn by code, or a folder with one.

`data_of` gives the data that a section of the parameters names, `rows_of` its checked rows and
`folder_of` the folder of its pictures, in the layout of `validation`. Retain, forget and
retain-eval (section 6.1, "Dataset Splitting") are views of the two splits, see `splits`.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from remem import paths, runs
from remem.config import sections
from remem.data import decoding, validation
from remem.data.validation import SPLITS, BadChoice, BadData
from remem.runs import NOT_IN_DIGEST, Run, Spec
from remem.synthetic import faces, people, questions


class SyntheticData(sections.Dataset, Run):
    """A dataset that is drawn: train/, test/, and people.json with each person's facts.

    For the shapes of other benchmarks: `names`, how many of the multi-hop training questions ask
    for the name (None: questions.NAME_SHARE), and `pictures` of each person in training, which go
    round the questions (None: each question has its own, as the Hub's image folders want it).
    """

    kind: ClassVar[str] = "dataset"
    verified_once: ClassVar[bool] = True
    source: Literal["synthetic", "public"] = "synthetic"
    identities: int = Field(20, ge=1, lt=10_000)  # section 5 trains on one person alone
    names: int | None = Field(default=None, ge=0)
    pictures: int | None = Field(default=None, ge=1)

    def make(self, out: Path, runs_root: Path) -> None:
        """Draw the people, their pictures and questions."""
        lines: dict[str, list[str]] = {split: [] for split in SPLITS}
        profiles = people_of(self)
        pictures: dict[Path, tuple[int, int, int]] = {}  # file -> person, split, number
        for index, person in enumerate(profiles):
            for part, split in enumerate(SPLITS):
                (out / split / person.identity).mkdir(parents=True)
                for k, row in enumerate(self.lines(person, split)):
                    file = out / split / row["file_name"]
                    pictures.setdefault(file, (index, part, k))
                    lines[split].append(json.dumps(row, ensure_ascii=False) + "\n")
        with ThreadPoolExecutor(decoding.THREADS) as pool:
            drawn = pool.map(self._draw, pictures, pictures.values())
            bar = tqdm(drawn, desc="drawing", unit="picture", total=len(pictures), file=sys.stderr)
            collections.deque(bar, 0)
        for split in SPLITS:
            paths.write(out / split / "metadata.jsonl", "".join(lines[split]))
        known = [dataclasses.asdict(person) for person in profiles]
        paths.write(out / "people.json", runs.as_json(known))

    def lines(self, person: people.Profile, split: str) -> Iterator[dict[str, str]]:
        """What the metadata of one split says of a person, question by question."""
        shown = self.pictures if split == "train" else None
        for k, pair in enumerate(self.questions(person, split)):
            at = k if shown is None else k % shown
            yield {
                "file_name": f"{person.identity}/{person.identity}-{split}-{at:03d}.png",
                "id": f"{person.identity}-{split}-{k:03d}",
                "identity": person.identity,
                "name": person.name,
                "split": split,
                **dataclasses.asdict(pair),
            }

    def _draw(self, file: Path, place: tuple[int, int, int]) -> None:
        index, part, number = place
        rng = np.random.default_rng([self.seed, index, part, number])
        scene = faces.sample_scene(rng, SPLITS[part])
        appearance = faces.sample_appearance(face_seed(self, index))
        faces.draw(appearance, scene, self.image_size).save(file)

    def questions(self, person: people.Profile, split: str) -> list[questions.QA]:
        """A person's questions in one split. Raises ValueError where there are not so many."""
        if split == "test":
            return questions.build(person, self.test_single, self.test_multi, split, self.seed)
        return questions.build(person, self.single, self.multi, split, self.seed, names=self.names)

    def drawable(self) -> None:
        """Raise ValueError where there are not so many people, or questions about each."""
        # Who comes first among the attributes goes round: these are all cases.
        for person in people_of(self)[: len(questions.ASKED)]:
            for split in SPLITS:
                self.questions(person, split)

    def read(self, folder: Path) -> pd.DataFrame:
        """Its rows (`validation.COLUMNS`)."""
        return validation.read(folder)


class FolderData(Spec):
    """A dataset folder, known by its metadata and the pictures that they name: the same
    people at another path, or with further files beside them, are the same data."""

    kind: ClassVar[str] = "folder"
    folder: Annotated[str, NOT_IN_DIGEST]  # relative to the repository, or absolute
    content: str  # SHA-256, see data_of


Data = SyntheticData | FolderData


class RowsRun(Run):
    """The rows of a dataset, every line and every picture of which has been checked."""

    kind: ClassVar[str] = "rows"
    verified_once: ClassVar[bool] = True
    data: Data

    def needs(self) -> Sequence[Run]:
        """The dataset, where it is drawn."""
        return (self.data,) if isinstance(self.data, SyntheticData) else ()

    def make(self, out: Path, runs_root: Path) -> None:
        """Check the folder. Raises BadData, also where it is not what it was any more."""
        folder = folder_of(self.data, runs_root)
        if isinstance(self.data, FolderData) and _content(folder) != self.data.content:
            raise BadData(f"{folder} was changed after it was first read; start again")
        validation.read(folder).to_parquet(out / "rows.parquet")

    def read(self, folder: Path) -> pd.DataFrame:
        """The rows (`validation.COLUMNS`, all text), train before test, in file order."""
        return pd.read_parquet(folder / "rows.parquet")


def data_of(section: sections.Dataset) -> Data:
    """The data that a section of the parameters names. A folder is hashed, and not yet checked.
    Raises BadData."""
    if section.source in sections.MADE:
        return SyntheticData.model_validate(section.model_dump())
    return folder_data(section.source)


def folder_data(source: str) -> FolderData:
    """The data in a folder (relative to the repository, or absolute), hashed and not yet checked.

    Nothing is downloaded: a source that is no folder raises BadChoice, which says how to get it and
    what it has to hold; one that is no dataset folder, BadData.
    """
    folder = paths.ROOT / source
    if not os.path.isdir(folder):  # also where no folder can be called so
        raise BadChoice(
            f"dataset source {validation.cut(source)}: there is no such folder, and nothing is "
            "downloaded here. Fetch the dataset yourself (hf download NAME --repo-type dataset "
            "--local-dir FOLDER) and name that folder. It has to hold train/metadata.jsonl and "
            f"test/metadata.jsonl with the keys {', '.join(validation.KEYS)}"
        )
    return FolderData(folder=source, content=_content(folder))


def folder_of(data: Data, runs_root: Path) -> Path:
    """The folder with the pictures of `data`; synthetic data is drawn first if it is not there."""
    if isinstance(data, SyntheticData):
        return runs.get_or_create(data, runs_root)
    return paths.ROOT / data.folder


def rows_of(data: Data, runs_root: Path) -> pd.DataFrame:
    """The rows of `data` (`validation.COLUMNS`, all text), checked once. Raises BadData."""
    return _read(runs.get_or_create(RowsRun(data=data), runs_root)).copy()


def planned(data: Data, runs_root: Path) -> pd.DataFrame:
    """As `rows_of`, but of a dataset that is drawn its rows as they will be, and no picture is: for
    who counts what there is to do. Raises BadData."""
    if not isinstance(data, SyntheticData):
        return rows_of(data, runs_root)
    drawn: Any = data  # frozen, and so it has a hash
    return _planned(drawn).copy()


def people_of(data: SyntheticData) -> list[people.Profile]:
    """The people of a drawn dataset; person i has the face number `face_seed(data, i)`.

    Beyond the length of the lists (people.DISTINCT) they share jobs, banks or illnesses.
    """
    if data.source == "public":
        return people.public_figures(data.identities)
    distinct = data.identities <= people.DISTINCT
    return people.write(data.identities, data.seed, distinct=distinct)


def face_seed(data: SyntheticData, index: int) -> int:
    """The number that fixes the face of person `index`."""
    first = faces.PUBLIC_FACES if data.source == "public" else 10_000 * (data.seed + 1)
    return first + index


def hashed(folder: Path, names: Sequence[str]) -> str:
    """runs.content of these files, which are read again in one process only if one of them has
    another size or time: they may be gigabytes."""
    stats = ((folder / name).stat() for name in names)
    return _hashed(folder, tuple(names), tuple((each.st_size, each.st_mtime_ns) for each in stats))


@functools.lru_cache(32)
def _hashed(folder: Path, names: tuple[str, ...], stamps: tuple[tuple[int, int], ...]) -> str:
    return runs.content(folder, names)


@functools.lru_cache(8)
def _planned(data: SyntheticData) -> pd.DataFrame:
    everybody = people_of(data)
    rows = pd.DataFrame(
        [line for split in SPLITS for person in everybody for line in data.lines(person, split)]
    )
    rows["image"] = rows["split"] + "/" + rows["file_name"]
    return rows[[*validation.COLUMNS]].astype("str")


@functools.lru_cache(8)
def _read(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "rows.parquet")


def _content(folder: Path) -> str:
    """SHA-256 over both metadata.jsonl and the pictures that they name. A picture that is missing,
    or out of the folder, is left out: `validation` refuses it. Raises BadData without metadata."""
    metadata = [f"{split}/metadata.jsonl" for split in SPLITS]
    pictures: dict[str, None] = {}
    for split in SPLITS:
        try:
            lines = validation.metadata_lines(folder, split)
        except BadData as error:
            raise BadData(f"{folder}: {error}") from error
        pictures |= dict.fromkeys(_named(split, tuple(line for _, line in lines)))
    return hashed(folder, [*metadata, *filter(functools.partial(_is_there, folder), pictures)])


@functools.lru_cache(8)
def _named(split: str, lines: tuple[bytes, ...]) -> list[str]:
    """The pictures that lines of metadata name. To read thousands takes a second, and they are
    asked for again and again."""
    rows = (validation.parse_row(line, split)[0] for line in lines)
    return [row["image"] for row in rows if "image" in row]


def _is_there(folder: Path, name: str) -> bool:
    try:
        return bool(validation.inside(folder, name))
    except BadData:
        return False
