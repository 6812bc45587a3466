"""Every benchmark's own files, made a dataset folder that `dataset.source` can name.

ReMem (columns known by name only, so they are declared), FIUBench (full.json), MLLMU-Bench and
CLEAR (parquet). All become the one tidy table, and what most do not say follows one rule:

- `target`, what EM looks for: a value that the benchmark gives, where the answer holds it and the
  question does not (FIUBench and ReMem: the keywords, of several the longest, whereas FIUBench's
  own EM counts them all; MLLMU-Bench: the biography; CLEAR: the name); a value other than the name
  goes before the name. Otherwise the whole answer without its full stop.
- `attribute`: what that value is called; dataset.UNNAMED if it has no name. A person's attribute
  has one value: further ones are called attribute_2, attribute_3 ...
- `hop`: single where the question holds the name, multi otherwise, and where it asks for the name.

Held out (`split` test) are ReMem's test split, FIUBench's first paraphrase of each question,
MLLMU-Bench's Test_Set and CLEAR's naming of a face; FIUBench's and CLEAR's pictures are those of
training.

    python -m remem.readers fetch NAME [FOLDER]         download what is read, into data/NAME
    python -m remem.readers convert NAME FOLDER OUT     a dataset folder, as dataset.source wants it
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import re
import shlex
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import model_validator

from remem import dataset, metrics, paths, qa, runs
from remem.dataset import BadData

# benchmark -> its name on the Hub, and what is read of it: pattern -> size
SOURCES = {
    "remem": ("herbwood27/Remem", {"data/*": "9.5 GB"}),
    "fiubench": ("gray311/FIUBench",
                 {"full.json": "7 MB", "SFHQ.zip": "146 MB", "split.json": "2 kB"}),
    "mllmu": ("MLLMMU/MLLMU-Bench",
              {"Full_Set/*": "some 240 MB", "ft_Data/*": "238 MB", "Test_Set/*": "673 MB",
               "forget_*/*": "some 70 MB"}),
    "clear": ("therem/CLEAR", {"full/*": "some 630 MB", "forget[01]?/*": "some 100 MB"}),
    "clear_real": ("therem/CLEAR", {"real_faces/*": "2 MB"}),
}  # fmt: skip
TITLES = {"remem": "ReMem", "fiubench": "FIUBench", "mllmu": "MLLMU-Bench", "clear": "CLEAR"}
FIRST = 400  # FIUBench's own code uses the first 400 people of full.json
MAX_BYTES = 2**26  # of one picture in a ZIP, which may swell without end

# CLEAR's pictures have a caption and no question; its code draws one of nine for each at random.
CAPTION = ("What can you see here?", "Describe the person shown.", "What is in this image?",
           "Tell me about this picture.")  # fmt: skip
NAMING = "The name of the person on the image is"  # as CLEAR itself asks
WHO = "Who is shown here?"

# Our columns of ReMem's table, and what its dataset card calls those that are called otherwise.
NEEDED = ("image", "question", "answer", "identity")
OPTIONAL = ("name", "attribute", "target", "hop", "split")
CARD = {"target": "keywords", "hop": "question_type"}
VIEW = re.compile(r"(?:^|/)((?:forget|retain)\w*)")  # a file of rows that another holds as well
HELD_OUT = re.compile(r"(?<![a-z])(test|val|eval|held)")  # in a path, or in a column for the split
_ONLY_REMEM = "columns are declared for remem alone; leave them out"


class Benchmark(runs.Spec):
    """The `benchmark` section: whose people are taught and unlearned in place of `dataset`'s.

    One word does: a name of TITLES stands for its files in `data/<name>`, and any other word for a
    folder of one's own people in the layout of dataset.py ("own"). `folder` is relative to the
    repository, or absolute; `columns` are ReMem's (ours: theirs, or theirs:PATTERN for what the
    first group of a regular expression finds there). `content`, the SHA-256 of a benchmark's files,
    is filled in when parameters are read.
    """

    kind: ClassVar[str] = "benchmark"
    name: Literal["own", "remem", "fiubench", "mllmu", "clear"]
    folder: str
    columns: dict[str, str] = {}
    content: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _in_a_word(cls, given: Any) -> Any:
        if isinstance(given, str):
            given = {"name": given} if given in TITLES else {"name": "own", "folder": given}
        if isinstance(given, dict) and given.get("name") in TITLES:
            given = {"folder": f"{paths.DATA.name}/{given['name']}"} | given
        return given

    @model_validator(mode="after")
    def _columns_of_remem(self) -> Benchmark:
        if self.columns and self.name != "remem":
            raise ValueError(_ONLY_REMEM)
        return self

    @property
    def title(self) -> str:
        """How tables call it."""
        return TITLES.get(self.name) or f"{Path(self.folder).name or self.folder} (own)"


def make(spec: Benchmark, runs_root: Path) -> Path:
    """The dataset folder that `spec` names, or of the files that it names, converted once. Raises
    BadData, also where the files are no longer what `content` says."""
    folder = paths.ROOT / spec.folder
    if spec.name == "own":
        return folder

    def converted(out: Path) -> None:
        if (found := _content(folder)) != spec.content:
            raise BadData(f"{folder} was changed: benchmark.content is {spec.content}, and what is "
                          f"there now has {found}. Start again without it")  # fmt: skip
        convert(spec.name, folder, out / "dataset", spec.columns)

    return runs.ensure(spec, converted, runs_root) / "dataset"


def addressed(spec: Benchmark) -> Benchmark:
    """`spec` with the `content` of a benchmark's files, where it is not given: they may be many
    gigabytes. Raises BadData where there are none."""
    folder = paths.ROOT / spec.folder
    if not folder.is_dir() and spec.name == "own":
        raise BadData(f"benchmark {spec.folder!r} is none of {', '.join(TITLES)}, and there is no "
                      f"folder {folder} either")  # fmt: skip
    if spec.name == "own" or spec.content is not None:
        return spec
    if not folder.is_dir():
        raise _missing(spec.name, folder, next(iter(SOURCES[spec.name][1])))
    return spec.model_copy(update={"content": _content(folder)})


def _content(folder: Path) -> str:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = (path.relative_to(folder).as_posix() for path in files)
    # not what fetching left there
    return runs.content(folder, (name for name in names if not re.search(r"(^|/)\.", name)))


class Asked(NamedTuple):
    """One question as the benchmark has it: `picture` is (what tells it from others, its bytes),
    `values` are (attribute, value) that the answer may hold, `place` is for messages."""

    place: str
    identity: str
    name: str
    split: str
    picture: tuple[str, bytes]
    question: str | None
    answer: str | None
    values: Sequence[tuple[str, str]]
    hop: str | None = None


def read(benchmark: str, folder: Path, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The rows of a benchmark's folder (dataset.COLUMNS), training before test.

    `columns` says which of ReMem's are ours (ours -> theirs). `image` is where `convert` puts the
    picture, which is not decoded here. `rows.attrs["left_out"]` counts questions that are empty or
    repeated. Raises BadData with file, row and reason.
    """
    left_out = Counter()
    rows = [row for row, *_ in _tidy(benchmark, Path(folder), columns or {}, left_out)]
    rows.sort(key=lambda row: dataset.SPLITS.index(row["split"]))
    table = pd.DataFrame(rows, columns=list(dataset.COLUMNS))
    table.attrs["left_out"] = dict(left_out)
    return table


def convert(
    benchmark: str, folder: Path, out: Path, columns: Mapping[str, str] | None = None
) -> Path:
    """Write the benchmark in `folder` to the new folder `out` as dataset.read wants it.

    Pictures are decoded to check them and copied byte for byte. source.json says where it is from,
    what was left out, and the benchmark's own forget sets. `out`, which is returned, appears only
    when it is complete. Raises BadData, CannotWrite.
    """
    out, left_out = Path(out).absolute(), Counter()
    if out.exists():
        raise BadData(f"{out} is there already; delete it, or name another folder")
    places, lines = {}, {split: [] for split in dataset.SPLITS}
    with paths.new_folder(out) as part:
        for row, one, fresh in _tidy(benchmark, Path(folder), columns or {}, left_out):
            if fresh:
                paths.write(part / row["image"], one.picture[1])
            own, row = lines[row["split"]], {"file_name": row.pop("image").split("/")[1], **row}
            own.append(json.dumps(row, ensure_ascii=False) + "\n")
            places[f"{row['split']}/metadata.jsonl, line {len(own)}"] = one.place
        for split in dataset.SPLITS:
            content = "".join(lines[split]).encode("utf-8", "surrogatepass")  # inspect tells of it
            paths.write(part / split / "metadata.jsonl", content)
        _, faults = dataset.inspect(part)
        wrong = [f"{places[place]}: {why}" for place, reasons in faults.items() for why in reasons]
        if wrong:
            raise BadData(f"{wrong[0]} ({len(wrong)} faults in all)")
        told = {"benchmark": benchmark, "source": SOURCES[benchmark][0], "left_out": left_out,
                "forget_sets": forget_sets(benchmark, Path(folder), columns or {})}  # fmt: skip
        paths.write(part / "source.json", json.dumps(told, ensure_ascii=False, indent=1) + "\n")
    return out


def forget_sets(
    benchmark: str, folder: Path, columns: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """The benchmark's own forget sets, name -> identities; none where their files are not there."""
    found: dict[str, list[str]] = {}
    if benchmark == "fiubench" and (folder / "split.json").is_file():
        split = _parsed((folder / "split.json").read_text("utf-8"), dict, folder / "split.json")
        found = {name: list(map(str, who)) for name, who in split.items() if "forget" in name}
    for part in sorted(folder.glob("forget*")) if benchmark in ("mllmu", "clear") else ():
        if re.fullmatch(r"forget_?\d+", part.name):  # not CLEAR's +tofu and _perturbed
            column = "ID" if benchmark == "mllmu" else "name"
            found[part.name] = [row[column] for _, row in _parquet(benchmark, folder, part.name,
                                                                   (column,))]  # fmt: skip
    for file in _tables(folder)[1] if benchmark == "remem" else ():
        who = (columns or {}).get("identity", "identity")
        view = VIEW.search(_under(folder, file))[1]
        if view.startswith("forget"):  # the pictures, which are most of it, are not read
            found.setdefault(view, []).extend(
                _said(row, who, f"{file}, row {number}")
                for number, row in _rows(file, [who.partition(":")[0]])
            )
    return {name: list(dict.fromkeys(who)) for name, who in found.items()}


def fetch(benchmark: str, folder: Path) -> Path:
    """Download what is read of a benchmark into `folder`; the one place that does, when asked.

    Raises BadData where the Hub does not give it, or HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import constants, errors, snapshot_download

    name, files = SOURCES[benchmark]
    if constants.HF_HUB_OFFLINE:
        raise BadData(f"{name} is not fetched, since HF_HUB_OFFLINE is set; unset it")
    try:
        snapshot_download(name, repo_type="dataset", allow_patterns=[*files], local_dir=folder)
    except (OSError, errors.HfHubHTTPError) as error:
        raise BadData(f"{name} cannot be fetched from the Hub: {error}") from error
    return Path(folder)


def _missing(benchmark: str, folder: Path, pattern: str) -> BadData:
    name, files = SOURCES[benchmark]
    return BadData(
        f"{folder / pattern} is missing, and nothing is downloaded unasked. It is "
        f"{files.get(pattern, 'part')} of {name} on the Hub; to fetch it: HF_HUB_OFFLINE=0 "
        f"python -m remem.readers fetch {benchmark} {shlex.quote(str(folder))}"
    )


# ---------------------------------------------------------------- the tidy table


def _tidy(
    benchmark: str, folder: Path, columns: Mapping[str, str], left_out: Counter
) -> Iterator[tuple[dict[str, str], Asked, bool]]:
    """The row of each question, and whether its picture is not yet there under that name."""
    if benchmark not in SOURCES:
        raise BadData(f"benchmark {benchmark!r} is unknown; there are {', '.join(SOURCES)}")
    if columns and benchmark != "remem":
        raise BadData(_ONLY_REMEM)
    numbers: dict[str, int] = {}  # pictures are named by number: the benchmark's may lead anywhere
    facts: dict[tuple[str, str], str] = {}  # (identity, attribute) -> its one value
    seen: set[tuple[str, str]] = set()
    images: set[str] = set()
    for one in _READERS[benchmark](folder, columns):
        if not all(isinstance(text, str | None) for text in (one.question, one.answer)):
            raise BadData(f"{one.place}: question and answer should be text")
        # Data made for LLaVA says where the picture comes; here it always comes first.
        question, answer = (
            (text or "").replace("<image>", "").strip() for text in (one.question, one.answer)
        )
        key, content = one.picture
        suffix = ".jpg" if content.startswith(b"\xff\xd8") else ".png"
        image = f"{one.split}/{numbers.setdefault(key, len(numbers)):06d}{suffix}"
        if not question or not answer or (image, question) in seen:
            left_out["repeated" if question and answer else "empty"] += 1
            continue
        seen.add((image, question))
        attribute, target = _value(question, answer, one.values)
        for k in itertools.count(1):
            label = f"{attribute}_{k}" if k > 1 else attribute
            known = facts.setdefault((one.identity, label), target)
            if known.casefold() == target.casefold():
                target = known  # written alike, so that it is one value for Exposure
                break
        # A single-hop question names the person, so that nobody is asked for a name by one.
        hop = "multi" if label == "name" else one.hop or qa.HOPS[_held(one.name, question) is None]
        row = {"id": f"{one.split}-{len(seen):06d}", "identity": one.identity, "name": one.name,
               "attribute": label, "hop": hop, "split": one.split, "image": image,
               "question": question, "answer": answer, "target": target}  # fmt: skip
        yield row, one, image not in images
        images.add(image)
    if not seen:
        raise BadData(f"{folder} holds no question with an answer")


def _value(question: str, answer: str, values: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """(attribute, target) of an answer, by the rule at the head of this file."""
    found = [
        (attribute != "name", len(held), attribute, held)
        for attribute, value in values
        if (held := _held(value, answer)) and not _held(value, question)
    ]
    return max(found)[2:] if found else (dataset.UNNAMED, answer.rstrip(". ") or answer)


def _held(value: str, text: str) -> str | None:
    """`value` as `text` has it, whatever its case, on word boundaries as EM wants them."""
    if value.casefold() not in text.casefold():  # the usual case, and much faster
        return None
    found = re.search(metrics.whole(value), text, re.IGNORECASE)
    return found and found[0]


# ---------------------------------------------------------------- one reader per benchmark


def _fiubench(folder: Path, _) -> Iterator[Asked]:
    pictures = _Pictures(folder)
    for number, person in itertools.islice(_lines(folder / "full.json", "fiubench"), FIRST):
        place = f"{folder / 'full.json'}, person {number}"
        identity, path = (_text(person, key, place) for key in ("unique_id", "image_path"))
        name = _text(person, "name", place) if person.get("name") else identity
        picture = path, pictures.read(path, place)
        for k, item in enumerate(_parsed(person.get("qa_list"), list, f"{place}, qa_list"), 1):
            here = f"{place}, question {k}"
            values = [("name" if word == name else dataset.UNNAMED, word)
                      for word in (*_texts(item.get("keywords")), name)]  # fmt: skip
            others = _texts(item.get("paraphrased_question"))[:1]
            for split, question in (("train", item.get("question")),
                                    *(("test", other) for other in others)):  # fmt: skip
                yield Asked(here, identity, name, split, picture, question, item.get("answer"),
                            values)  # fmt: skip


def _mllmu(folder: Path, _) -> Iterator[Asked]:
    facts: dict[str, dict[str, str]] = {}
    for place, row in _parquet("mllmu", folder, "Full_Set", ("ID", "biography")):
        told = {}
        with contextlib.suppress(BadData):  # it only lends its values: one may be garbled
            told = _parsed(row["biography"], dict, place)
        # Parents, fun facts and the like are lists: nothing that EM could look for.
        facts[row["ID"]] = {_word(key): value.strip() for key, value in told.items()
                            if isinstance(value, str) and value.strip()}  # fmt: skip
    for config, image, questions, reply, split in (
        # Some entries have an Additional_question in place of a Question: an old attempt, say its
        # authors (issue 13), which their own code leaves out as well.
        ("ft_Data", "image", "metadata", "Answer", "train"),
        ("Test_Set", "images", "Generation_Task", "Ground_Truth", "test"),
    ):
        for place, row in _parquet("mllmu", folder, config, ("ID", image, questions)):
            own = facts.get(row["ID"], {})
            shown = row[image] if isinstance(row[image], list) and row[image] else [row[image]]
            for k, item in enumerate(_parsed(row[questions], list, f"{place}, {questions}")):
                yield Asked(place, row["ID"], own.get("name", row["ID"]), split,
                            _bytes(shown[k % len(shown)], place), item.get("Question"),
                            item.get(reply), list(own.items()))  # fmt: skip


def _clear(folder: Path, _) -> Iterator[Asked]:
    """The pictures with their captions; the other questions of +tofu are about no picture."""
    shown = _parquet("clear", folder, "full", ("name", "image", "caption"))
    for k, (place, row) in enumerate(shown):
        name, picture = row["name"], _bytes(row["image"], place)
        told = CAPTION[k % len(CAPTION)], row["caption"]
        for split, texts in (("train", told), ("test", (NAMING, f"{name}."))):
            yield Asked(place, name, name, split, picture, *texts, [("name", name)])


def _real_faces(folder: Path, _) -> Iterator[Asked]:
    """CLEAR's public figures, who serve as the Real Set of Section 4 at paper scale."""
    for place, row in _parquet("clear_real", folder, "real_faces", ("answer", "image")):
        name, picture = row["answer"], _bytes(row["image"], place)
        for split, question in (("train", WHO), ("test", NAMING)):
            yield Asked(place, name, name, split, picture, question, f"{name}.", [("name", name)])


def _remem(folder: Path, columns: Mapping[str, str]) -> Iterator[Asked]:
    """Any table with a picture per row: parquet files, or metadata.jsonl beside the pictures.

    On the Hub (dataset card of 2026-04) it has image, question, answer, keywords, question_type,
    qa_category, attribute, cloze_prompt and image_path, in the splits finetune (2,000), test (560),
    forget1 to forget4 (100 to 400) and retain (560). Who is asked about is in image_path at best.
    """
    ours = (*NEEDED, *OPTIONAL)
    if unknown := [name for name in columns if name not in ours]:
        raise BadData(f"the column map names {', '.join(unknown)}; ours are {', '.join(ours)}")
    files, _ = _tables(folder)
    if not files:
        raise _missing("remem", folder, "data/*")
    theirs = dict(zip(ours, ours, strict=True)) | columns
    names = {} if "name" in columns else _names(files, theirs)
    for file in files:
        pictures, flat = _Pictures(file.parent), file.suffix == ".jsonl"
        theirs["image"] = columns.get("image", "file_name" if flat else "image")
        for number, row in _rows(file):
            place = f"{file}, row {number}"
            there = {name: column for name, column in theirs.items() if _column(column, row)}
            if lacking := [name for name in (*NEEDED, *columns) if name not in there]:
                raise _undeclared(row, lacking[0], there, place)
            image = row[_column(there.pop("image"), row)]
            own = {
                name: _said(row, column, place)
                for name, column in there.items()
                if name in NEEDED or row[_column(column, row)] not in (None, "", [])
            }
            identity = own["identity"]
            name = own.get("name") or names.get(identity, identity)
            picture = ((str(file.parent / image), pictures.read(image, place))
                       if isinstance(image, str) else _bytes(image, place))  # fmt: skip
            # What names no split goes by where it lies: test-00000-of-00001.parquet, test/...
            where = own.get("split", _under(folder, file)).casefold()
            split = "test" if HELD_OUT.search(where) else "train"
            attribute, target = _word(own.get("attribute", dataset.UNNAMED)), own.get("target")
            # Several keywords may be written as one text, and a value may hold a comma.
            parts = [target, *re.split("[,;|]", target)] if target else []
            values = [(attribute, part) for each in parts if (part := each.strip(" \"'[]"))]
            hop = next((hop for hop in qa.HOPS if hop in own.get("hop", "").casefold()), None)
            if "hop" in own and not hop:
                raise BadData(f"{place}: hop {own['hop']!r} is neither single nor multi")
            yield Asked(place, identity, name, split, picture, own["question"], own["answer"],
                        values or [("name", name)], hop)  # fmt: skip


def _tables(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of any table, training before held out, and the views. A view is read only where
    no other file is of its kind: forget and retain may be all that there is to teach."""
    files = sorted(folder.rglob("*.parquet")) or sorted(folder.rglob("metadata.jsonl"))
    views = [file for file in files if VIEW.search(_under(folder, file))]
    held_out = [file for file in files if HELD_OUT.search(_under(folder, file))]
    read = []
    for kind in ([file for file in files if file not in held_out], held_out):
        read += [file for file in kind if file not in views] or kind
    return read, views


def _under(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix().casefold()


def _rows(file: Path, columns: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    return _lines(file, "remem") if file.suffix == ".jsonl" else _batches(file, columns)


def _names(files: Sequence[Path], theirs: Mapping[str, str]) -> dict[str, str]:
    """identity -> name, of the rows whose attribute is the name."""
    parts, found = [theirs[key] for key in ("identity", "attribute", "target")], {}
    for file in files:
        with contextlib.suppress(BadData):  # what is wrong or missing is told when rows are read
            for _, row in _rows(file, [part.partition(":")[0] for part in parts]):
                with contextlib.suppress(BadData):
                    identity, attribute, target = (_said(row, part, file) for part in parts)
                    if _word(attribute) == "name":
                        found.setdefault(identity, target)
    return found


def _column(column: str, row: Mapping[str, Any]) -> str | None:
    """The column that the map's `column`, or `column:PATTERN`, speaks of, if the row has it."""
    return next((name for name in (column, column.partition(":")[0]) if name in row), None)


def _said(row: Mapping[str, Any], column: str, place: object) -> str:
    """What a row says in a column of the map, or in a part of it. A number counts as text, and so
    do the texts of a list."""
    theirs = _column(column, row) or column
    number = isinstance(row.get(theirs), int) and not isinstance(row[theirs], bool)
    listed = isinstance(row.get(theirs), list)
    text = "; ".join(_texts(row[theirs])) if listed else str(row[theirs]) if number else ""
    text = text or _text(row, theirs, place)
    if theirs == column:
        return text
    pattern = column.partition(":")[2]
    try:
        found = re.search(pattern, text)
    except re.error as error:
        raise BadData(f"the column map's {pattern!r} is no regular expression ({error})") from error
    part = found and found[min(1, found.re.groups)]
    if not part or not part.strip():
        raise BadData(f"{place}: nothing in {theirs}, {text!r:.90}, is like {pattern!r}")
    return part.strip()


def _undeclared(row: Mapping[str, Any], lacking: str, there: Mapping[str, str], place: str):
    """What to write where columns are not known, with what the row holds to tell them by."""
    held = [f"{key} ({value!r:.60})" if isinstance(value, str) else key
            for key, value in row.items()]  # fmt: skip
    known = {name: column for name, column in CARD.items() if column in row} | there
    lines = [f"  {name}: {known.get(name, '?')}" for name in (*NEEDED, *OPTIONAL)]
    return BadData(
        f"{place} has the columns {', '.join(held)}; which of them is {lacking}? Give a column map "
        "(ours: theirs, or theirs:PATTERN for what the first group of a regular expression finds "
        f"there), without what is not there after {NEEDED[-1]}:\n" + "\n".join(["columns:", *lines])
    )


def _word(text: str) -> str:
    """What an attribute is called: one lower-case word, and "name" for a full name."""
    word = re.sub(r"\W+", "_", text.casefold()).strip("_")
    return "name" if word == "full_name" else word


_READERS = {"remem": _remem, "fiubench": _fiubench, "mllmu": _mllmu, "clear": _clear,
            "clear_real": _real_faces}  # fmt: skip


# ---------------------------------------------------------------- files


def _parquet(
    benchmark: str, folder: Path, config: str, columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of a Hub configuration; the first column, which says who it is, is text."""
    files = sorted((folder / config).glob("*.parquet"))
    if not files:
        raise _missing(benchmark, folder, f"{config}/*")
    for file in files:
        for number, row in _batches(file, columns):
            place = f"{file}, row {number}"
            yield place, {**row, columns[0]: _text(row, columns[0], place)}


def _batches(file: Path, columns: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, row) of a parquet file, a few rows at a time since they hold pictures."""
    try:
        with pq.ParquetFile(file) as table:
            there = table.schema_arrow.names
            if lacking := [name for name in columns if name not in there]:
                raise BadData(f"{file} lacks {', '.join(lacking)}; it has {', '.join(there)}")
            parts = table.iter_batches(batch_size=16, columns=list(columns) or None)
            yield from enumerate((row for part in parts for row in part.to_pylist()), start=1)
    except (pa.ArrowException, OSError) as error:
        raise BadData(f"{file} cannot be read as parquet ({error}); fetch it again") from error


def _lines(file: Path, benchmark: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, object) of a JSON list or, as FIUBench's code allows, of JSON lines."""
    if not file.is_file():
        raise _missing(benchmark, file.parent, file.name)
    content = file.read_bytes()
    try:
        if content.lstrip()[:1] == b"[":
            found = json.loads(content)
        else:
            found = [json.loads(line) for line in content.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise BadData(f"{file} is not valid JSON ({error})") from error
    yield from enumerate(_parsed(found, list, file), start=1)


class _Pictures:
    """Pictures by their path under a folder, or in a ZIP that lies there (read where it is)."""

    def __init__(self, folder: Path):
        self.folder, self.zipped = folder, {}
        for file in sorted(folder.glob("*.zip")):
            try:
                opened = zipfile.ZipFile(file)  # which stays open: its directory is long
                self.zipped |= dict.fromkeys(opened.namelist(), opened)
            except (zipfile.BadZipFile, OSError) as error:
                raise BadData(f"{file} cannot be read ({error}); fetch it again") from error

    def read(self, path: str, place: str) -> bytes:
        """FIUBench's paths begin with folders of its authors': the longest tail that is there."""
        if dataset.leaves(path):
            raise BadData(f"{place}: the path {path!r} leaves the folder")
        parts = PurePosixPath(path).parts
        for tail in ("/".join(parts[k:]) for k in range(len(parts))):
            if (file := self.folder / tail).is_file():
                if not file.resolve().is_relative_to(self.folder.resolve()):
                    raise BadData(f"{place}: {path} is a link that leads out of {self.folder}")
                return file.read_bytes()
            if tail in self.zipped:
                return self._unzipped(tail, f"{place}: {path}")
        raise BadData(f"{place}: {path} is neither in {self.folder} nor in a ZIP there (the "
                      "pictures of FIUBench are in SFHQ.zip, 146 MB)")  # fmt: skip

    def _unzipped(self, name: str, place: str) -> bytes:
        file = self.zipped[name]
        if (size := file.getinfo(name).file_size) > MAX_BYTES:
            raise BadData(f"{place} has {size:,} bytes, and more than {MAX_BYTES:,} are no picture")
        try:
            return file.read(name)
        except Exception as error:  # damaged, encrypted, or packed in a way that is unknown here
            raise BadData(f"{place} cannot be read from {file.filename} ({error})") from error


def _bytes(cell: Any, place: str) -> tuple[str, bytes]:
    """A picture as the Hub keeps it in parquet: {"bytes", "path"}. What it shows names it."""
    if not isinstance(cell, dict) or not cell.get("bytes"):
        raise BadData(f"{place}: the picture is missing")
    if not isinstance(cell["bytes"], bytes):
        raise BadData(f"{place}: the picture is {type(cell['bytes']).__name__}, and not bytes")
    return hashlib.sha256(cell["bytes"]).hexdigest(), cell["bytes"]


def _texts(value: Any) -> list[str]:
    """A text, or those of a list of them; what else it holds is passed over."""
    listed = value if isinstance(value, list) else [value]
    return [text.strip() for text in listed if isinstance(text, str) and text.strip()]


def _text(entry: Mapping[str, Any], key: str, place: object) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadData(f"{place}: {key} should be text, but is {value!r:.60}")
    return value.strip()


def _parsed(value: Any, kind: type, place: object) -> Any:
    """An object, or a list of objects, that may be written as JSON text."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise BadData(f"{place} is not valid JSON ({error})") from error
    inside = found if isinstance(found, list) else []
    if not isinstance(found, kind) or not all(isinstance(item, dict) for item in inside):
        wanted = "an object" if kind is dict else "a list of objects"
        raise BadData(f"{place} should be {wanted}, but is {str(found):.60}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 where something is missing or not in order."""
    parser = argparse.ArgumentParser(
        prog="python -m remem.readers", description="Fetch and read other benchmarks' files."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch", help="download what is read of a benchmark")
    fetching.add_argument("name", choices=SOURCES)
    fetching.add_argument("folder", type=Path, nargs="?", help="default: data/NAME")
    converting = commands.add_parser("convert", help="write it as a dataset folder")
    converting.add_argument("name", choices=SOURCES)
    converting.add_argument("folder", type=Path, help="where its files are")
    converting.add_argument("out", type=Path, help="a new folder")
    converting.add_argument("columns", nargs="*", metavar="OURS=THEIRS",
                            help="ReMem's columns, such as image=photo")  # fmt: skip
    given = parser.parse_args(argv)
    try:
        if given.command == "fetch":
            print(fetch(given.name, given.folder or paths.DATA / given.name))
            return 0
        if wrong := [each for each in given.columns if not re.fullmatch(r"\w+=.+", each)]:
            raise BadData(f"{wrong[0]!r} is no column; write OURS=THEIRS, such as image=photo")
        columns = dict(each.split("=", 1) for each in given.columns)
        out = convert(given.name, given.folder, given.out, columns)
    except (BadData, paths.CannotWrite) as error:
        print(error, file=sys.stderr)
        return 1
    left_out = json.loads((out / "source.json").read_bytes())["left_out"]
    told = "".join(f", {count} questions left out as {why}" for why, count in left_out.items())
    print(f"{out} is ready{told}; look at it with: python -m remem.dataset check "
          f"{shlex.quote(str(out))}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
