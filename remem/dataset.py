"""The ReMem dataset: pictures, questions and answers of fictitious people, in two splits.

A dataset is a folder that `datasets.load_dataset("imagefolder", data_dir=folder)` reads as well:
`train/metadata.jsonl` and `test/metadata.jsonl`, one JSON object per line, beside the pictures.
`make` draws one where nothing else is there; `read` reads any, and trusts none of it. Retain,
forget and retain-eval (Section 6.1, "Dataset Splitting") are views of the two splits.

    python -m remem.dataset check FOLDER            all that is wrong with it, row by row
    python -m remem.dataset export FOLDER OUT       a copy with a dataset card, for the Hub
"""

import dataclasses
import functools
import hashlib
import importlib
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import BinaryIO, ClassVar

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field, model_validator
from tqdm import tqdm

from remem import crowd, images, metrics, paths, profiles, qa, runs

SPLITS = ("train", "test")
MADE = ("drawn", "public")  # sources that are no folder
COLUMNS = (
    "id", "identity", "name", "attribute", "hop", "split", "image", "question", "answer", "target",
)  # fmt: skip
KEYS = ("file_name", *(column for column in COLUMNS if column != "image"))

# A picture of more pixels is refused before it is decoded: a few bytes can claim billions. So is a
# strip: processors scale the shorter side up to 336, and the other with it.
MAX_PIXELS, MIN_SIDE, MAX_RATIO = 4096 * 4096, 16, 10
MAX_TEXT = 10_000  # characters; more fit into no model here
THREADS = 4  # that decode: enough for two cores, and few enough for 1 GiB with the largest pictures
# Control characters, and halves of characters that no file can be written with.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# What a reader calls an attribute that its benchmark does not name: the answers to such questions
# are no values of one thing, so that they cannot be ranked against each other.
UNNAMED = "question"
RESERVED = re.compile("<(image|/?s|unk|pad)>")  # LLaVA's
FOLDS = 5  # disjoint forget sets at the paper's 20 %


class BadData(ValueError):
    """A dataset that cannot be used; the message names file, line and reason."""


class DatasetSpec(runs.Spec):
    """What a dataset is made from. The defaults are the paper's 20 x (70 + 30 + 14 + 14) = 2,560.

    `source` is "drawn" (fictitious people, strangers to every model), "public" (the public figures
    that a tiny base model grew up with: the Real Set of Section 4), or a folder of that layout
    (relative to the repository, or absolute). `addressed` then fills in `content`, the SHA-256 of
    all that is in it, when parameters are read, so that a result depends on what the folder held;
    and how many people it has, with how many training questions each. The other fields say nothing
    of it.
    """

    kind: ClassVar[str] = "dataset"

    source: str = "drawn"
    content: str | None = None
    # People and faces are numbered from the seed: below 10,000 x (89 + 2) and thus below all those
    # of crowd.py (from 910,001 and from a million), or the base model would know somebody.
    seed: int = Field(default=0, ge=0, lt=90)
    identities: int = Field(default=20, ge=1)
    image_size: int = Field(default=64, ge=16)  # pixels, square
    single: int = Field(default=70, ge=0)  # training questions per person, by hop
    multi: int = Field(default=30, ge=0)
    test_single: int = Field(default=14, ge=0)
    test_multi: int = Field(default=14, ge=0)

    @model_validator(mode="after")
    def _a_folder_or_made(self):
        if self.source in MADE and self.content is not None:
            raise ValueError("content is that of a folder; leave it out where the source is made")
        if self.source in MADE and not 2 <= self.identities < 10_000:
            raise ValueError("identities should be from 2 to 9999 where they are drawn")
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
    """`spec` with what a folder holds filled in, where that is not given. Raises BadData."""
    if spec.source in MADE or spec.content is not None:
        return spec
    folder = _folder(spec)
    return spec.model_copy(update={"content": _content(folder), **_counts(folder)})


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
    """SHA-256 over the names and bytes of metadata and pictures of both splits. Raises BadData."""
    files = [path for split in SPLITS for path in sorted((folder / split).rglob("*"))]
    names = [path.relative_to(folder).as_posix() for path in files if path.is_file()]
    for name in names:
        _inside(folder, name)
    return runs.content(folder, names)


def _counts(folder: Path) -> dict[str, int]:
    """What DatasetSpec says of a drawn dataset, as far as a folder can be read: `read` tells of
    what cannot. Questions per person are a mean."""
    people, hops = set(), dict.fromkeys(qa.HOPS, 0)
    for line in _inside(folder, "train/metadata.jsonl").read_bytes().splitlines():
        row, _ = _row(line, "train")
        if {"identity", "hop"} <= row.keys():
            people.add(row["identity"])
            hops[row["hop"]] += 1
    each = {hop: round(count / max(1, len(people))) for hop, count in hops.items()}
    return {"identities": max(1, len(people)), **each}


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

    `image` is relative to `folder`. Every line and every picture (decoded in full) is checked;
    where something is not in order BadData names the first fault, and how many there are.
    """
    rows, faults = inspect(folder)
    wrong = [f"{Path(folder) / place}: {why}" for place, reasons in faults.items()
             for why in reasons]  # fmt: skip
    if wrong:
        more = f" ({len(wrong)} faults in all: python -m remem.dataset check {folder})"
        raise BadData(wrong[0] + more * (len(wrong) > 1))
    return rows.reset_index(drop=True)


def inspect(folder: Path) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The complete rows of a folder, and all that is wrong with it: place -> reasons.

    A place is "train/metadata.jsonl, line 3" and labels the row; one without a fault has no
    reasons. Raises nothing, whatever the folder holds.
    """
    folder = Path(folder)
    rows: dict[str, dict[str, str]] = {}
    faults: dict[str, list[str]] = {}
    seen: dict[tuple, str] = {}  # what must be one of a kind -> where it was first
    facts: dict[tuple, str] = {}  # what has one value -> the value
    pictures: dict[str, str] = {}  # image -> where it was first
    for split in SPLITS:
        file = f"{split}/metadata.jsonl"
        try:
            lines = _inside(folder, file).read_bytes().splitlines()
        except (BadData, OSError) as error:
            faults[file] = [f"{error}; a dataset folder holds one for each of {SPLITS}"]
            continue
        for number, line in enumerate(lines, start=1):
            place = f"{file}, line {number}"
            row, faults[place] = _row(line, split)
            for what in (("id",), ("image", "question")):
                if row.keys() >= {*what}:
                    first = seen.setdefault((*what, *map(row.get, what)), place)
                    if first != place:
                        faults[place].append(f"the same {' and '.join(what)} as in {first}")
            for column, of in (("name", ["identity"]), ("target", ["identity", "attribute"])):
                if row.keys() >= {column, *of}:
                    value = facts.setdefault((column, *map(row.get, of)), row[column])
                    if value != row[column]:
                        what = row["attribute"] if column == "target" else column
                        faults[place].append(
                            f"{what} of {row['identity']} is {_cut(row[column])} here and "
                            f"{_cut(value)} before"
                        )
            if "image" in row:
                pictures.setdefault(row["image"], place)
            if len(row) == len(COLUMNS):
                rows[place] = row
    if not any(faults.values()) and not rows:
        faults["train/metadata.jsonl"] = ["there is no row in it, nor in that of test"]
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(functools.partial(_unusable, folder), pictures)
        bar = tqdm(found, desc="looking at pictures", total=len(pictures), delay=3, file=sys.stderr)
        for place, reason in zip(pictures.values(), bar, strict=True):
            faults[place] += [reason] if reason else []
    table = pd.DataFrame(list(rows.values()), index=list(rows), columns=list(COLUMNS), dtype="str")
    return table, faults


def load_images(folder: Path, names: Iterable[str]) -> list[Image.Image]:
    """The pictures of these names (column `image` of the rows), as RGB. Raises BadData."""
    return [_picture(Path(folder), str(name)) for name in names]


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
    Where nothing is held out, it is all of them.
    """
    unknown = sorted(set(forget) - set(rows["identity"]))
    if unknown:
        raise ValueError(f"nobody in the dataset is called {', '.join(unknown)}")
    forgotten, train = rows["identity"].isin(forget), rows["split"] == "train"
    retain, test_retain = rows[train & ~forgotten], rows[~train & ~forgotten]
    return {
        "forget": rows[train & forgotten],
        "retain": retain,
        "retain_eval": retain[_counted(retain).isin(_counted(test_retain)) | test_retain.empty],
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
    """attribute -> its different values in the dataset, sorted: Exposure's candidate sets.

    An attribute with a single value is not among them, nor one without a name (UNNAMED).
    """
    values = {name: sorted(set(part["target"])) for name, part in rows.groupby("attribute")}
    return {
        name: found
        for name, found in values.items()
        if len(found) > 1 and not re.fullmatch(rf"{UNNAMED}(_\d+)?", name)
    }


def own_forget_set(spec: DatasetSpec, name: str) -> tuple[str, ...]:
    """The people of one of the forget sets that a benchmark brings (source.json of a folder that
    readers.convert made). BadData where there is no such set."""
    file = None if spec.source in MADE else _folder(spec) / "source.json"
    told = runs.read_json(file) if file and file.is_file() else {}
    sets = told.get("forget_sets", {}) if isinstance(told, dict) else {}
    if name not in sets:
        raise BadData(
            f"stage2.forget_set: the data has no forget set {name!r}; there are: "
            f"{', '.join(sets) or 'none'}. Without forget_set, forget_ratio draws one"
        )
    return tuple(sets[name])


def leaks(rows: pd.DataFrame, folder: Path) -> pd.Series:
    """What would make a score mean less than it seems, counted; nought throughout is as it should.

    `folder` holds the pictures of `rows`. Text is compared case-folded.
    """
    test = rows["split"] == "test"
    pairs = zip(rows["question"], rows["name"], strict=True)
    anonymous = pd.Series([text.replace(name, "X") for text, name in pairs], rows.index)
    facts = rows.drop_duplicates(["identity", "attribute"])["target"].str.casefold()
    pixels = rows["image"].map({name: _pixels(folder, name) for name in rows["image"].unique()})
    return pd.Series(
        {
            **{leak: found.sum() for leak, found in leaking(rows).items()},
            "facts that two people share": facts.duplicated().sum(),
            "pairs of values of which one lies in the other": _nested({*facts}),
            "test questions that training asks too (names aside)": len(
                set(anonymous[test]) & set(anonymous[~test])
            ),
            "pictures that occur twice": pixels.duplicated().sum(),
        },
        name="count",
    )


def _pixels(folder: Path, name: str) -> bytes:
    return hashlib.sha256(_picture(folder, name).tobytes()).digest()


def leaking(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Those of `leaks` that are a matter of one row: which rows they are (booleans)."""
    folded = rows.apply(lambda column: column.str.casefold())
    multi, asks_name = rows["hop"] == "multi", rows["attribute"] == "name"
    in_question = _holds(folded["question"], folded["name"])
    in_answer = _holds(folded["answer"], folded["name"])
    return {
        "questions that hold their own answer": _holds(folded["question"], folded["target"]),
        "multi-hop questions that name the person": multi & in_question,
        "multi-hop answers that give the name unasked": multi & ~asks_name & in_answer,
    }


def _nested(values: set[str]) -> int:
    """How often one of them lies in another. Every piece that is as long as some value is looked
    up, since to compare all pairs takes hours for 10,000 people."""
    lengths = {len(value) for value in values}
    return sum(
        len({whole[k : k + n] for n in lengths if n < len(whole) for k in range(len(whole) - n + 1)}
            & values)
        for whole in values
    )  # fmt: skip


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


def _row(line: bytes, split: str) -> tuple[dict[str, str], list[str]]:
    """One line of metadata: what is in order, by column, and all that is not."""
    try:
        entry = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # JSON, UTF-8, a key twice; nested without end
        return {}, [f"not valid JSON ({error})"]
    if not isinstance(entry, dict):
        return {}, [f"a JSON object is wanted, not {type(entry).__name__}"]
    found = {key: _fault(key, entry, split) for key in KEYS}
    row = {key: entry[key] for key in KEYS if not found[key]}
    reasons = [reason for reason in found.values() if reason]
    if row.keys() >= {"answer", "target"}:
        said = f"the target {_cut(row['target'])} is not in the answer {_cut(row['answer'])}"
        if metrics.normalise(row["target"]) not in metrics.normalise(row["answer"]):
            reasons.append(said)
        elif not _matches(row["answer"], row["target"]):
            reasons.append(f"{said} as a word: set it off by spaces or punctuation, or exact match "
                           "will not find it")  # fmt: skip
    if (row.get("attribute"), row.get("hop")) == ("name", "single"):
        reasons.append("a single-hop question names the person, so it cannot ask for the name")
    if "file_name" in row:
        row["image"] = PurePosixPath(split, row.pop("file_name")).as_posix()
    return row, reasons


# An answer comes as often as its fact is asked for, and a regular expression is slow to compile.
_matches = functools.lru_cache(4096)(metrics.exact_match)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(entry := dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")
    return entry


def _fault(key: str, entry: dict[str, object], split: str) -> str | None:
    """What is wrong with one key of a line, if anything is."""
    if key not in entry:
        return f"the key {key!r} is missing; there are {_cut([*entry])}"
    value = entry[key]
    if not isinstance(value, str):
        nested = isinstance(value, dict | list)  # maybe too deep to be written out
        shown = f"a {type(value).__name__}" if nested else _cut(json.dumps(value), str)
        return f"{key} should be text, but is {shown}"
    if not value.strip():
        return f"{key} is empty"
    if len(value) > MAX_TEXT:
        return f"{key} has {len(value):,} characters, and more than {MAX_TEXT:,} fit no model"
    if UNWRITABLE.search(value):
        return f"{key} holds a control character, or half a character: {_cut(value)}"
    if told := RESERVED.search(value):
        return f"{key} holds {told[0]}, which stands for something else in a prompt; leave it out"
    if key not in ("question", "answer") and value != value.strip():
        return f"{key} begins or ends with white space: {_cut(value)}"
    if key not in ("question", "answer", "target") and value.splitlines() != [value]:
        return f"{key} has more than one line: {_cut(value)}"
    allowed = {"hop": qa.HOPS, "split": (split,)}.get(key)
    if allowed and value not in allowed:
        return f"{key} {_cut(value)} is unknown here; allowed: {', '.join(allowed)}"
    if key == "attribute" and not (re.fullmatch(r"\w+", value) and value == value.lower()):
        return (f"attribute {_cut(value)} should be one lower-case word, with underscores for "
                "spaces, such as date_of_birth")  # fmt: skip
    if key == "target" and not re.search(r"[^\W_]", value):
        return f"target {_cut(value)} holds no letter and no digit to look for"
    if key == "file_name" and leaves(value):
        return f"the path {_cut(value)} leaves the folder"
    return None


def leaves(name: str) -> bool:
    """Whether a path that should be inside a folder leads out of it, going by its text alone."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name


def _cut(value: object, shown=repr) -> str:
    """For a message: on one line, escaped, and not without end."""
    text = shown(value)
    return text if len(text) <= 100 else f"{text[:90]} ..."


def _inside(folder: Path, name: str) -> Path:
    """The file `name` of the folder. BadData where there is none, or where it is a link that leads
    out: a Hub snapshot is made of links, but to the blobs beside it."""
    if leaves(name):
        raise BadData(f"the path {_cut(name)} leaves the folder")
    home = os.path.realpath(folder)
    plain = os.path.join(home, name)
    real = os.path.realpath(plain)
    if real != plain:
        snapshots = [above for above in Path(home).parents if above.name == "snapshots"]
        homes = [home, *(above.parent / "blobs" for above in snapshots)]
        # A linked folder is refused wherever it leads: content's digest would not see into it.
        linked = os.path.realpath(os.path.dirname(plain)) != os.path.dirname(plain)
        if linked or not any(Path(real).is_relative_to(each) for each in homes):
            raise BadData(f"{name} is reached by a link to {real}; put a copy in its place")
    if not os.path.isfile(real):
        raise BadData(f"{name} is missing" if not os.path.exists(real) else f"{name} is no file")
    return Path(plain)


def _unusable(folder: Path, name: str) -> str | None:
    try:
        _picture(folder, name)
    except BadData as reason:
        return str(reason)
    return None


def _picture(folder: Path, name: str) -> Image.Image:
    try:
        path = _inside(folder, name)
    except BadData as error:
        raise BadData(f"the image {name} cannot be used: {error}") from error
    try:
        return decode(path)
    except BadData as error:
        raise BadData(f"the image {name} {error}") from error


def decode(file: Path | BinaryIO) -> Image.Image:
    """A PNG or JPEG (by its content, not by its suffix) as RGB, decoded in full and upright.

    Whatever the bytes are, it raises BadData, with the end of a sentence about them.
    """
    try:
        with Image.open(file, formats=("PNG", "JPEG")) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise BadData(f"{width} x {height} pixels are more than is safe ({MAX_PIXELS:,})")
            if min(width, height) < MIN_SIDE or max(width, height) > MAX_RATIO * min(width, height):
                raise BadData(
                    f"{width} x {height} pixels are too few, or too long a strip; at least "
                    f"{MIN_SIDE} a side, and one not more than {MAX_RATIO} times the other"
                )
            if picture.mode.startswith(("I", "F")):
                raise BadData("grey in more than 8 bits, which would be cut off; save it in 8 bits")
            # Some cameras save a JPEG with a second picture behind it; the first is what is meant.
            if picture.format == "PNG" and getattr(picture, "is_animated", False):
                raise BadData("it is animated; save one frame of it")
            ImageOps.exif_transpose(picture, in_place=True)  # as a camera held upright shows it
            return picture.convert("RGB")  # all of it is decoded by now
    except BadData as error:
        raise BadData(f"cannot be used: {error}") from error
    except UnidentifiedImageError as error:
        raise BadData("cannot be decoded (it is neither PNG nor JPEG)") from error
    except Exception as error:  # what a decoder raises when it is given anybody's bytes is anything
        raise BadData(f"cannot be decoded ({error})") from error


if __name__ == "__main__":
    # By name, since publish is further down: it uses this room, and nothing here uses it.
    sys.exit(importlib.import_module("remem.publish").main())
