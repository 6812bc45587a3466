"""Another benchmark's own files, made a dataset folder.

ReMem (columns known by name only, so they are declared), FIUBench (full.json), MLLMU-Bench and
CLEAR (parquet). All become the one tidy table, and what most do not say follows one rule:

- `target`, what EM looks for: a value that the benchmark gives, where the answer holds it and the
  question does not (FIUBench and ReMem: the keywords, of several the longest, whereas FIUBench's
  own EM counts them all; MLLMU-Bench: the biography; CLEAR: the name); a value other than the name
  goes before the name. Otherwise the whole answer without its full stop.
- `attribute`: what that value is called; splits.UNNAMED if it has no name. A person's attribute
  has one value: further ones are called attribute_2, attribute_3 ...
- `hop`: single where the question holds the name, multi otherwise, and where it asks for the name.

- `cloze_prompt`: ReMem's, up to the value or the blank that it has in the value's place; only
  where every question has one.

Held out (`split` test) are ReMem's test split, FIUBench's first paraphrase of each question,
MLLMU-Bench's Test_Set and CLEAR's naming of a face; FIUBench's and CLEAR's pictures are those of
training.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd

from remem import language, metrics, paths, runs
from remem.config import sections
from remem.data import splits, validation
from remem.data.dataset import FolderData, folder_data, hashed
from remem.data.readers import clear, fiubench, mllmu, remem
from remem.data.readers.files import SOURCES, Question, can_be_read, missing, visible
from remem.data.validation import BadChoice, BadData, cut
from remem.runs import NOT_IN_DIGEST, Run
from remem.synthetic import questions

READERS = {
    "fiubench": fiubench.read,
    "mllmu": mllmu.read,
    "clear": clear.read,
    "clear_real": clear.read_real_faces,
}

FORGET_SETS = {
    "fiubench": fiubench.forget_sets,
    "mllmu": mllmu.forget_sets,
    "clear": clear.forget_sets,
}


BRINGS = {"fiubench": "keywords", "mllmu": "biography"}  # where a format has a person's values


@dataclasses.dataclass
class Account:
    """What became of a benchmark's questions while they were read."""

    left_out: Counter[str] = dataclasses.field(default_factory=Counter)  # why -> how many
    asked: int = 0
    whole: int = 0  # of them, with no value but the whole answer
    people: dict[str, bool] = dataclasses.field(default_factory=dict)  # whether with any value

    def add(self, one: Question, whole: bool) -> None:
        """Count a question that is asked."""
        self.asked += 1
        self.whole += whole
        values = any(attribute != "name" for attribute, _ in one.values)
        self.people[one.identity] = self.people.get(one.identity, False) or values

    def notes(self, benchmark: str) -> list[str]:
        """Sentences on what EM means for those questions; none where it has a value for all."""
        said, bare = [], [who for who, values in self.people.items() if not values]
        if bare and benchmark in BRINGS:
            some = f"{', '.join(map(cut, bare[:5]))}{', ...' * (len(bare) > 5)}"
            said.append(
                f"{len(bare):,} of {len(self.people):,} people have no {BRINGS[benchmark]} that "
                f"can be read, so that EM has no value of theirs to look for ({some})"
            )
        if self.whole:
            said.append(
                f"in {self.whole:,} of {self.asked:,} questions no value stands in the answer: EM "
                "looks for the whole answer"
            )
        return said


class ConvertedRun(Run):
    """A benchmark's files as a dataset folder, converted once for all that start from them."""

    kind: ClassVar[str] = "benchmark"
    name: str  # one of SOURCES
    folder: Annotated[str, NOT_IN_DIGEST]  # of its files: relative to the repository, or absolute
    columns: dict[str, str]  # ours -> theirs
    content: str  # SHA-256 of the files

    def make(self, out: Path, runs_root: Path) -> None:
        """Convert. Raises BadData, also where the files are not what they were any more."""
        folder = paths.ROOT / self.folder
        if _content(folder) != self.content:
            raise BadData(f"{folder} was changed after it was first read; start again")
        convert(self.name, folder, out / "dataset", self.columns)

    def read(self, folder: Path) -> pd.DataFrame:
        """Its rows (`validation.COLUMNS`)."""
        return validation.read(folder / "dataset")


def converted(benchmark: sections.Benchmark, runs_root: Path) -> FolderData:
    """The data that the section `benchmark` names: a folder as it is, another benchmark's files
    converted, which may take minutes and happens once. Raises BadData."""
    folder = paths.ROOT / benchmark.folder
    if benchmark.name == "own":
        if not os.path.isdir(folder):
            raise BadChoice(
                f"benchmark {cut(benchmark.folder)} is none of {', '.join(sections.BENCHMARKS)}, "
                "and there is no such folder either"
            )
        return folder_data(benchmark.folder)
    if not os.path.isdir(folder):
        raise missing(benchmark.name, folder, next(iter(SOURCES[benchmark.name][1])))
    run = ConvertedRun(
        name=benchmark.name,
        folder=benchmark.folder,
        columns=benchmark.columns,
        content=_content(folder),
    )
    if new := not runs.folder(run, runs_root).exists():
        print(f"converting {folder} ({benchmark.title}), once", file=sys.stderr)
    made = runs.get_or_create(run, runs_root) / "dataset"
    if new:
        for note in runs.read_json(made / "source.json")["notes"]:
            print(f"note: {folder}: {note}", file=sys.stderr)
    return folder_data(str(made))


def _content(folder: Path) -> str:
    """SHA-256 over what a reader may read: nothing of it changes when somebody's system or editor
    leaves a file of its own there."""
    found = filter(can_be_read, visible(folder, "**/*"))
    return hashed(folder, [path.relative_to(folder).as_posix() for path in found])


def read(benchmark: str, folder: Path, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The rows of a benchmark's folder, as validation.read gives them, training before test.

    `columns` says which of ReMem's are ours (ours -> theirs). `image` is where `convert` puts the
    picture, which is not decoded here. `rows.attrs["left_out"]` counts questions that are empty or
    repeated; `rows.attrs["notes"]` says in words for what EM can only look for the whole answer.
    Raises BadData with file, row and reason.
    """
    account = Account()
    rows = [row for row, *_ in _tidy(benchmark, Path(folder), columns or {}, account)]
    rows.sort(key=lambda row: validation.SPLITS.index(row["split"]))
    optional = _only_whole(rows)
    table = pd.DataFrame(rows, columns=[*validation.COLUMNS, *optional])
    table.attrs["left_out"] = dict(account.left_out)
    table.attrs["notes"] = account.notes(benchmark)
    return table


def convert(
    benchmark: str, folder: Path, out: Path, columns: Mapping[str, str] | None = None
) -> Path:
    """Write the benchmark in `folder` to the new folder `out` as validation.read wants it.

    Pictures are decoded to check them and copied byte for byte. source.json says where it is from,
    what was left out, what is to be known of the rest (`notes`), and the benchmark's own forget
    sets. `out`, which is returned, appears only
    when it is complete. Raises BadData, CannotWrite.
    """
    out, account = Path(out).absolute(), Account()
    if os.path.lexists(out):
        raise BadChoice(f"{out} is there already; delete it, or name another folder")
    places: dict[str, str] = {}
    found: dict[str, list[dict[str, str]]] = {split: [] for split in validation.SPLITS}
    with paths.new_folder(out) as part:
        for row, question, fresh in _tidy(benchmark, Path(folder), columns or {}, account):
            if fresh:
                paths.write(part / row["image"], question.picture[1], sync=False)
            own, row = found[row["split"]], {"file_name": row.pop("image").split("/")[1], **row}
            own.append(row)
            places[f"{row['split']}/metadata.jsonl, line {len(own)}"] = question.place
        _only_whole([row for rows in found.values() for row in rows])
        for split, rows in found.items():
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            content = "".join(lines).encode("utf-8", "surrogatepass")  # inspect names it
            paths.write(part / split / "metadata.jsonl", content, sync=False)
        _, faults = validation.inspect(part)
        wrong = [f"{places[place]}: {why}" for place, reasons in faults.items() for why in reasons]
        if wrong:
            raise BadData(f"{wrong[0]} ({len(wrong)} faults in all)")
        source = {
            "benchmark": benchmark,
            "source": SOURCES[benchmark][0],
            "left_out": account.left_out,
            "notes": account.notes(benchmark),
            "forget_sets": forget_sets(benchmark, Path(folder), columns or {}),
        }
        text = json.dumps(source, ensure_ascii=False, indent=1) + "\n"
        paths.write(part / "source.json", text, sync=False)
    return out


def forget_sets(
    benchmark: str, folder: Path, columns: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """The benchmark's own forget sets, name -> identities; none where their files are not there."""
    if benchmark == "remem":
        found = remem.forget_sets(folder, columns or {})
    else:
        found = FORGET_SETS[benchmark](folder) if benchmark in FORGET_SETS else {}
    for name in itertools.chain(found, *found.values()):
        if validation.UNWRITABLE.search(name):
            raise BadData(f"{folder}: the forget sets hold {cut(name)}, which cannot be written")
    return {name: list(dict.fromkeys(people)) for name, people in found.items()}


def _tidy(
    benchmark: str, folder: Path, columns: Mapping[str, str], account: Account
) -> Iterator[tuple[dict[str, str], Question, bool]]:
    """The row of each question, and whether its picture is not yet there under that name."""
    if benchmark not in SOURCES:
        raise BadChoice(f"benchmark {benchmark!r} is unknown; there are {', '.join(SOURCES)}")
    if columns and benchmark != "remem":
        raise BadChoice("columns are declared for remem alone; leave them out")
    found = remem.read(folder, columns) if benchmark == "remem" else READERS[benchmark](folder)
    numbers: dict[str, int] = {}  # pictures are named by number: the benchmark's may lead anywhere
    facts: dict[tuple[str, str], str] = {}  # (identity, attribute) -> its one value
    seen: set[tuple[str, str]] = set()
    images: set[str] = set()
    for one in found:
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
            account.left_out["repeated" if question and answer else "empty"] += 1
            continue
        seen.add((image, question))
        attribute, target, whole = _value(question, answer, one.values)
        account.add(one, whole)
        for k in itertools.count(1):
            label = f"{attribute}_{k}" if k > 1 else attribute
            known = facts.setdefault((one.identity, label), target)
            if known.casefold() == target.casefold():
                target = known  # written alike, so that it is one value for Exposure
                break
        # A single-hop question names the person, so that nobody is asked for a name by one.
        hop = (
            "multi"
            if label == "name"
            else one.hop or questions.HOPS[_held(one.name, question) is None]
        )
        row = {
            "id": f"{one.split}-{len(seen):06d}",
            "identity": one.identity,
            "name": one.name,
            "attribute": label,
            "hop": hop,
            "split": one.split,
            "image": image,
            "question": question,
            "answer": answer,
            "target": target,
        }
        if one.cloze and (start := _up_to(target, one.cloze)):
            row["cloze_prompt"] = start
        yield row, one, image not in images
        images.add(image)
    if not seen:
        raise BadData(f"{folder} holds no question with an answer")


def _up_to(target: str, cloze: str) -> str:
    """A cloze prompt up to the value, or up to the blank in its place."""
    text = cloze.replace("<image>", "").partition("__")[0]
    place = _place(target, text)
    return " ".join(text[: place.start() if place else None].split())


def _only_whole(rows: Sequence[dict[str, str]]) -> list[str]:
    """Take the optional columns that some rows lack from all; returns those that are left."""
    for name in validation.OPTIONAL:
        if not all(name in row for row in rows):
            for row in rows:
                row.pop(name, None)
    return [name for name in validation.OPTIONAL if rows and name in rows[0]]


def _value(question: str, answer: str, values: Sequence[tuple[str, str]]) -> tuple[str, str, bool]:
    """(attribute, target, whether that is the whole answer), by the rule at the file's head."""
    found = [
        (attribute != "name", len(held), attribute, held)
        for attribute, value in values
        if (held := _held(value, answer)) and not _held(value, question)
    ]
    if not found:
        return splits.UNNAMED, answer.rstrip(". ") or answer, True
    _, _, attribute, target = max(found)
    return attribute, target, False


def _held(value: str, text: str) -> str | None:
    """`value` as `text` has it, whatever its case, if it stands whole there, as EM wants it."""
    place = _place(value, text)
    return place and place[1]


def _place(value: str, text: str) -> re.Match | None:
    if value.casefold() not in text.casefold():  # the usual case, and much faster
        return None
    if not language.normalise(value) or not metrics.exact_match(text, value):
        return None
    places = re.finditer(f"(?=({re.escape(value)}))", text, re.IGNORECASE)
    return next((each for each in places if language.whole(text, *each.span(1))), None)
