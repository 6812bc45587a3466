"""The ReMem dataset: pictures, questions and answers of fictitious people, in two splits.

A dataset is a folder that `datasets.load_dataset("imagefolder", data_dir=folder)` reads as well:
`train/metadata.jsonl` and `test/metadata.jsonl`, one JSON object per line, beside the pictures.
`make` draws one where nothing else is there; `read` reads any, and trusts none of it. Retain,
forget and retain-eval (Section 6.1, "Dataset Splitting") are views of the two splits.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import BinaryIO, ClassVar

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field, model_validator
from tqdm import tqdm

from remem import crowd, images, paths, profiles, qa, runs

SPLITS = ("train", "test")
MADE = ("drawn", "public")  # sources that are no folder
COLUMNS = (
    "id", "identity", "name", "attribute", "hop", "split", "image", "question", "answer", "target",
)  # fmt: skip
KEYS = ("file_name", *(column for column in COLUMNS if column != "image"))

# A picture of more pixels is refused before it is decoded: a few bytes can claim billions.
MAX_PIXELS = 4096 * 4096
FOLDS = 5  # disjoint forget sets at the paper's 20 %


class BadData(ValueError):
    """A dataset that cannot be used; the message names file, line and reason."""


class DatasetSpec(runs.Spec):
    """What a dataset is made from. The defaults are the paper's 20 x (70 + 30 + 14 + 14) = 2,560.

    `source` is "drawn" (fictitious people, strangers to every model), "public" (the public figures
    that a tiny base model grew up with: the Real Set of Section 4), or a folder of that layout
    (relative to the repository, or absolute), of which the other fields then say nothing but for
    `content`: the SHA-256 of all that is in it.
    `addressed` fills it in when parameters are read, so that a result depends on what the folder
    held and not on what it is called.
    """

    kind: ClassVar[str] = "dataset"

    source: str = "drawn"
    content: str | None = None
    # People and faces are numbered from the seed: below 10,000 x (89 + 2) and thus below all those
    # of crowd.py (from 910,001 and from a million), or the base model would know somebody.
    seed: int = Field(default=0, ge=0, lt=90)
    identities: int = Field(default=20, ge=2, lt=10_000)
    image_size: int = Field(default=64, ge=16)  # pixels, square
    single: int = Field(default=70, ge=0)  # training questions per person, by hop
    multi: int = Field(default=30, ge=0)
    test_single: int = Field(default=14, ge=0)
    test_multi: int = Field(default=14, ge=0)

    @model_validator(mode="after")
    def _only_a_folder_has_content(self):
        if self.source in MADE and self.content is not None:
            raise ValueError("content is that of a folder; leave it out where the source is made")
        return self


def make(spec: DatasetSpec, runs_root: Path) -> Path:
    """The folder of the dataset, drawn first where it is to be made and is not there yet.

    Nothing is downloaded: a `source` that is no folder here raises BadData, which says how to get
    it and what it has to hold. So does a folder that is no longer what `spec.content` says.
    """
    if spec.source in MADE:
        return runs.ensure(spec, lambda folder: _draw(spec, folder), runs_root)
    folder = _folder(spec)
    if spec.content not in (None, found := _content(folder)):
        raise BadData(
            f"{folder} was changed: dataset.content is {spec.content}, and what is there now has "
            f"{found}. Start again, without dataset.content where a file gives it"
        )
    return folder


def addressed(spec: DatasetSpec) -> DatasetSpec:
    """`spec` with `content` filled in where it is a folder's and not given. Raises BadData."""
    if spec.source in MADE or spec.content is not None:
        return spec
    return spec.model_copy(update={"content": _content(_folder(spec))})


def _folder(spec: DatasetSpec) -> Path:
    folder = paths.ROOT / spec.source
    if not folder.is_dir():
        raise BadData(
            f"dataset source {spec.source!r}: there is no folder {folder}, and nothing is "
            "downloaded here. Fetch the dataset yourself (hf download NAME --repo-type dataset "
            "--local-dir FOLDER) and name that folder. It has to hold train/metadata.jsonl and "
            f"test/metadata.jsonl with the keys {', '.join(KEYS)}"
        )
    return folder


def _content(folder: Path) -> str:
    """SHA-256 over the names and bytes of metadata and pictures of both splits."""
    seen = hashlib.sha256()
    for split in SPLITS:
        for path in sorted((folder / split).rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                seen.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return seen.hexdigest()


def people(spec: DatasetSpec) -> list[profiles.Profile]:
    """The people of a drawn dataset; person i looks like `images.identity(look_seed(spec, i))`.

    Beyond the length of the lists (profiles.DISTINCT) people share jobs, banks or illnesses.
    """
    if spec.source == "public":
        return crowd.public_figures(spec.identities)
    distinct = spec.identities <= profiles.DISTINCT
    return profiles.write(spec.identities, spec.seed, distinct=distinct)


def look_seed(spec: DatasetSpec, index: int) -> int:
    """The number that fixes the face of person `index`."""
    first = crowd.PUBLIC_FACES if spec.source == "public" else 10_000 * (spec.seed + 1)
    return first + index


def read(folder: Path) -> pd.DataFrame:
    """The rows of a dataset folder (`COLUMNS`, all text), train before test, in file order.

    `image` is relative to `folder`. Every line and every picture (decoded in full) is checked, and
    the first that is not in order raises BadData.
    """
    folder = Path(folder)
    rows: list[dict[str, str]] = []
    seen: dict[tuple[str, ...], str] = {}  # what must be one of a kind -> where it was first
    facts: dict[tuple[str, str], str] = {}  # (identity, attribute) -> its one value
    for split in SPLITS:
        file = folder / split / "metadata.jsonl"
        if not file.is_file():
            raise BadData(f"{file} is missing; a dataset folder holds one for each of {SPLITS}")
        for number, line in enumerate(file.read_bytes().splitlines(), start=1):
            place = f"{file}, line {number}"
            try:
                row = _row(line, split)
                for what in (("id",), ("image", "question")):
                    key = (*what, *(row[column] for column in what))
                    if key in seen:
                        raise BadData(f"the same {' and '.join(what)} as in {seen[key]}")
                    seen[key] = place
                value = facts.setdefault((row["identity"], row["attribute"]), row["target"])
                if value != row["target"]:
                    raise BadData(
                        f"{row['attribute']} of {row['identity']} is {row['target']!r} here and "
                        f"{value!r} before"
                    )
                if ("picture", row["image"]) not in seen:
                    _picture(folder / row["image"])
                    seen["picture", row["image"]] = place
            except BadData as reason:
                raise BadData(f"{place}: {reason}") from reason
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def load_images(folder: Path, names: Iterable[str]) -> list[Image.Image]:
    """The pictures of these names (column `image` of the rows), as RGB. Raises BadData."""
    return [_picture(Path(folder) / name) for name in names]


def forget_set(rows: pd.DataFrame, ratio: float, seed: int) -> tuple[str, ...]:
    """The people to forget: `ratio` of all, at least one, in the order of being drawn.

    One fixed permutation of the people is cut into five folds; seed s begins with fold s mod 5. So
    at the paper's 20 % five seeds cover everybody once, a smaller ratio takes the first of the
    same fold (5, 10 and 15 % are 1, 2 and 3 of 20 people), and a larger one runs on into the next.
    """
    everybody = list(dict.fromkeys(rows["identity"]))
    wanted = max(1, round(ratio * len(everybody)))
    if not 0 < ratio < 1 or wanted >= len(everybody):
        raise ValueError(
            f"forget ratio {ratio} of {len(everybody)} people leaves nobody to forget or nobody "
            "to retain; choose one between 0 and 1, such as 0.2"
        )
    order = np.random.default_rng(0).permutation(len(everybody))
    order = np.roll(order, -(seed % FOLDS * len(everybody) // FOLDS))
    return tuple(everybody[index] for index in order[:wanted])


def views(rows: pd.DataFrame, forget: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The rows of each view, given who is forgotten; row labels are those of `rows`.

    "forget" and "retain" are training rows, "test_forget" and "test_retain" held-out ones.
    "retain_eval" is made of training rows of retained people: for each person, hop and attribute
    as many as the test split has, so 14 + 14 in the paper's dataset, all attributes in balance.
    """
    unknown = sorted(set(forget) - set(rows["identity"]))
    if unknown:
        raise ValueError(f"nobody in the dataset is called {', '.join(unknown)}")
    forgotten, train = rows["identity"].isin(forget), rows["split"] == "train"
    retain, test_retain = rows[train & ~forgotten], rows[~train & ~forgotten]
    return {
        "forget": rows[train & forgotten],
        "retain": retain,
        "retain_eval": retain[_counted(retain).isin(_counted(test_retain))],
        "test_forget": rows[~train & forgotten],
        "test_retain": test_retain,
    }


def evaluated(rows: pd.DataFrame, forget: Sequence[str]) -> pd.DataFrame:
    """The rows of the four views that Table 2 is made of, with the view's name in `view`: all of
    `views` but retain, which is what training draws from."""
    parts = views(rows.drop(columns="view", errors="ignore"), forget)
    return pd.concat(
        [part.assign(view=name) for name, part in parts.items() if name != "retain"],
        ignore_index=True,
    )


def candidates(rows: pd.DataFrame) -> dict[str, list[str]]:
    """attribute -> its different values in the dataset, sorted: Exposure's candidate sets."""
    return {
        attribute: sorted(set(part["target"])) for attribute, part in rows.groupby("attribute")
    }


def leaks(rows: pd.DataFrame, pictures: Sequence[Image.Image]) -> pd.Series:
    """What would make a score mean less than it seems, counted; nought throughout is as it should.

    `pictures` are those of `rows`, in their order. Text is compared case-folded.
    """
    folded = rows.apply(lambda column: column.str.casefold())
    asks_name, multi, test = (
        rows["attribute"] == "name", rows["hop"] == "multi", rows["split"] == "test"
    )  # fmt: skip
    in_question = _holds(folded["question"], folded["name"])
    in_answer = _holds(folded["answer"], folded["name"])
    pairs = zip(rows["question"], rows["name"], strict=True)
    anonymous = pd.Series([text.replace(name, "X") for text, name in pairs], rows.index)
    facts = folded.drop_duplicates(["identity", "attribute"])["target"]
    pixels = pd.Series([picture.tobytes() for picture in pictures])
    return pd.Series(
        {
            "questions that hold their own answer": _holds(
                folded["question"], folded["target"]
            ).sum(),
            "multi-hop questions that name the person": (multi & in_question).sum(),
            "multi-hop answers that give the name unasked": (multi & ~asks_name & in_answer).sum(),
            "facts that two people share": facts.duplicated().sum(),
            "pairs of values of which one lies in the other": sum(
                one in other or other in one for one, other in combinations(set(facts), 2)
            ),
            "test questions that training asks too (names aside)": len(
                set(anonymous[test]) & set(anonymous[~test])
            ),
            "pictures that occur twice": pixels.duplicated().sum(),
        },
        name="count",
    )


def _holds(texts: pd.Series, parts: pd.Series) -> pd.Series:
    return pd.Series(
        [part in text for text, part in zip(texts, parts, strict=True)], texts.index, dtype=bool
    )


def _counted(rows: pd.DataFrame) -> pd.MultiIndex:
    """(identity, hop, attribute, k) where the row is the k-th of its kind."""
    kind = ["identity", "hop", "attribute"]
    return pd.MultiIndex.from_frame(rows[kind].assign(k=rows.groupby(kind).cumcount()))


def _draw(spec: DatasetSpec, folder: Path) -> None:
    sizes = {"train": (spec.single, spec.multi), "test": (spec.test_single, spec.test_multi)}
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    persons = people(spec)
    for index, person in enumerate(tqdm(persons, desc="drawing", unit="person", file=sys.stderr)):
        look = images.identity(look_seed(spec, index))
        for part, split in enumerate(SPLITS):
            (folder / split / person.identity).mkdir(parents=True)
            for k, item in enumerate(qa.build(person, *sizes[split], split, spec.seed)):
                view = images.view(np.random.default_rng([spec.seed, index, part, k]), split)
                name = f"{person.identity}-{split}-{k:03d}"
                file = f"{person.identity}/{name}.png"
                images.draw(look, view, spec.image_size).save(folder / split / file)
                who = {"identity": person.identity, "name": person.name, "split": split}
                row = {"file_name": file, "id": name, **who, **dataclasses.asdict(item)}
                lines[split].append(json.dumps(row, ensure_ascii=False) + "\n")
    for split in SPLITS:
        paths.write(folder / split / "metadata.jsonl", "".join(lines[split]))
    told = [dataclasses.asdict(person) for person in persons]
    paths.write(folder / "people.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def _row(line: bytes, split: str) -> dict[str, str]:
    """One line of metadata as a row; raises BadData with the reason alone."""
    try:
        entry = json.loads(line)
    except ValueError as error:  # JSON or UTF-8
        raise BadData(f"not valid JSON ({error})") from error
    if not isinstance(entry, dict):
        raise BadData(f"a JSON object is wanted, not {type(entry).__name__}")
    for key in KEYS:
        if key not in entry:
            raise BadData(f"the key {key!r} is missing")
        if not isinstance(entry[key], str):
            raise BadData(f"{key} should be text, but is {json.dumps(entry[key])}")
        if not entry[key].strip():
            raise BadData(f"{key} is empty")
    for key, allowed in (("attribute", profiles.ATTRIBUTES), ("hop", qa.HOPS), ("split", (split,))):
        if entry[key] not in allowed:
            raise BadData(f"{key} {entry[key]!r} is unknown here; allowed: {', '.join(allowed)}")
    if entry["target"] not in entry["answer"]:
        raise BadData(f"the target {entry['target']!r} is not in the answer {entry['answer']!r}")
    name = entry["file_name"]
    # By its text, not by resolving it: a Hub snapshot is made of links that point elsewhere.
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
        raise BadData(f"the path {name!r} leaves the folder")
    return {column: entry.get(column, f"{split}/{name}") for column in COLUMNS}


def decode(file: Path | BinaryIO) -> Image.Image:
    """A PNG or JPEG as RGB, decoded in full. Raises one of UNDECODABLE, for too many pixels too."""
    with Image.open(file, formats=("PNG", "JPEG")) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise OSError(f"{width} x {height} pixels are more than is safe")
        return picture.convert("RGB")  # decodes all of it


UNDECODABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def _picture(path: Path) -> Image.Image:
    try:
        return decode(path)
    except FileNotFoundError as error:
        raise BadData(f"the image {path} is missing") from error
    except UNDECODABLE as error:
        raise BadData(f"the image {path} cannot be decoded ({error})") from error
