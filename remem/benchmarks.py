"""What stands beside ReMem: general ability on MMBench (Table 4), other benchmarks (Table 1).

MMBench (Liu et al. 2024) is one TSV file of multiple-choice questions, pictures and all. Offline,
questions about drawn pictures are written in that format and read back by the same reader.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field
from tqdm import tqdm

from remem import (
    crowd,
    dataset,
    images,
    metrics,
    models,
    paths,
    predict,
    pretrain,
    runs,
    tables,
    train,
    unlearn,
)
from remem.dataset import BadData

if TYPE_CHECKING:
    from remem import params

LETTERS = "ABCD"
COLUMNS = ("index", "question", "hint", *LETTERS, "answer", "category", "image", "split")
ROLLED = 10**6  # MMBench numbers the k-th rotation of question i as i + k x 1,000,000
FILE = "questions.tsv"


class DrawnSpec(runs.Spec):
    """A file of questions that is drawn here: how many, pixels of a picture's side, seed."""

    kind: ClassVar[str] = "mmbench"
    questions: int = Field(ge=1)
    image_size: int = Field(ge=16)
    seed: int = Field(ge=0)


class Ability(runs.Spec):
    """The `ability` section: the questions of Table 4, and how they are asked.

    `source` is "drawn" (then `questions`, `image_size` and `seed` say what is drawn) or an MMBench
    TSV file, relative to the repository or absolute; `cells` fills in `content`, its SHA-256.
    `instruction` is a last line under the options; the tiny networks answer in a sentence and need
    none. `batch` counts sequences in memory at once.
    """

    source: str = "drawn"
    content: str | None = None
    questions: int = Field(ge=1)
    image_size: int = Field(ge=16)
    seed: int = Field(ge=0)
    instruction: str = ""
    batch: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1)


def questions(ability: Ability, runs_root: Path) -> pd.DataFrame:
    """The questions of `ability` as `read_mmbench` gives them, drawn first if need be."""
    if ability.source != "drawn":
        return read_mmbench(paths.ROOT / ability.source)
    spec = DrawnSpec(**ability.model_dump(include=set(DrawnSpec.model_fields)))
    return read_mmbench(runs.ensure(spec, functools.partial(_draw, spec), runs_root) / FILE)


def _draw(spec: DrawnSpec, folder: Path) -> None:
    # Each value of a topic is as likely: to know what is frequent among people helps nobody.
    rng = np.random.default_rng([10, spec.seed])
    # Nobody of crowd.examination or crowd.lineup.
    faces = itertools.count(crowd.HELD_OUT_FACES + 10**5 * (1 + spec.seed))
    rows = []
    for number, topic in zip(range(spec.questions), itertools.cycle(crowd.VISUAL), strict=False):
        values = crowd.VISUAL[topic][2]
        value, facts = values[rng.integers(len(values))], {}
        while facts.get(topic) != value:
            look, view = images.identity(next(faces)), images.view(rng, "pretrain")
            facts = {**look.facts(), **view.facts()}
        question, options, answer = crowd.choice(topic, value, rng)
        images.draw(look, view, spec.image_size).save(png := io.BytesIO(), "PNG")
        rows.append({"index": number, "question": question, "answer": answer, "category": topic,
                     "image": base64.b64encode(png.getvalue()).decode(), "split": "dev",
                     **dict(option.split(". ", 1) for option in options)})  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    paths.write(folder / FILE, table.to_csv(sep="\t", index=False))


def read_mmbench(path: Path) -> pd.DataFrame:
    """The questions of an MMBench TSV: `COLUMNS`, all text, in file order, "" where there is no
    such option. A picture that is given as another row's index is put in its place.

    The file's own rotations (ROLLED) are left out, since `rotations` makes them. Every other row
    and its picture (decoded in full) is checked: BadData names the first that is not in order.
    """
    content = io.BytesIO(_bytes(path))
    form = {"sep": "\t", "encoding": "utf-8-sig", "dtype": str}
    try:
        table = pd.read_csv(content, keep_default_na=False, **form)  # an option may be called NA
    except ValueError as error:  # no table, or not UTF-8
        raise BadData(f"{path}: cannot be read as tab-separated text: {error}") from error
    if missing := [column for column in COLUMNS if column not in table]:
        raise BadData(f"{path}: the column(s) {', '.join(missing)} of MMBench are missing")
    if table.empty or not isinstance(table.index, pd.RangeIndex):
        raise BadData(f"{path}: holds no row, or rows with more cells than the first line has")
    table = table[list(COLUMNS)].fillna("").apply(lambda column: column.str.strip())
    cells, kept = dict(zip(table["index"], table["image"], strict=True)), {}
    for row in table.to_dict("records"):
        number = row["index"]
        try:
            if not number.isdecimal():
                raise BadData("the index should be a whole number")
            if int(number) >= ROLLED and str(int(number) % ROLLED) in cells:
                continue
            if number in kept:
                raise BadData("the same index as in a row before")
            row["image"] = cells.get(row["image"], row["image"])
            _check(row)
        except BadData as reason:
            raise BadData(f"{path}, index {number!r}: {reason}") from reason
        kept[number] = row
    return pd.DataFrame(list(kept.values()), columns=list(COLUMNS))


def picture(cell: str) -> Image.Image:
    """The picture in a cell of the column `image`, as RGB. BadData with the reason alone."""
    try:
        data = base64.b64decode(cell)
    except ValueError as error:
        raise BadData(f"the picture is not in base64 ({error})") from error
    try:
        return dataset.decode(io.BytesIO(data))
    except BadData as error:
        raise BadData(f"the picture {error}") from error


def _check(row: Mapping[str, str]) -> None:
    for column in ("question", "answer", "category"):
        if not row[column]:
            hint = "; MMBench's test split has none, use dev" if column == "answer" else ""
            raise BadData(f"{column} is empty{hint}")
    there = "".join(letter for letter in LETTERS if row[letter])
    if len(there) < 2 or not LETTERS.startswith(there):
        raise BadData(f"options are filled from A on, at least two; here {there or 'none'}")
    if row["answer"] not in list(there):
        raise BadData(f"the answer {row['answer']!r} is not among the options {', '.join(there)}")
    picture(row["image"])


def _bytes(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadData(
            f"experiments.ability.source: {path} ({error.strerror}), and nothing is downloaded "
            "here. Fetch MMBench_DEV_EN.tsv (github.com/open-compass/MMBench says where; 1,164 "
            "questions, 40 to 140 MB) and name that file there, or use source: drawn"
        ) from error


def rotations(table: pd.DataFrame, instruction: str = "") -> pd.DataFrame:
    """Each question once per option, the options moved up by one each time (MMBench's circular
    evaluation): index, category, rotation (0: as it stands), image (the index again), question
    (all that the network reads), options (texts in order), answer (the right letter)."""
    rows = []
    for row in table.to_dict("records"):
        options = [row[letter] for letter in LETTERS if row[letter]]
        for turn in range(len(options)):
            turned = options[turn:] + options[:turn]
            lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, turned, strict=False)]
            asked = "\n".join(filter(None, [row["hint"], row["question"], *lines, instruction]))
            right = LETTERS[(LETTERS.index(row["answer"]) - turn) % len(options)]
            rows.append((row["index"], row["category"], turn, row["index"], asked, turned, right))
    names = ["index", "category", "rotation", "image", "question", "options", "answer"]
    return pd.DataFrame(rows, columns=names)


_LETTER = re.compile(
    r"\s*((the )?((correct|right) )?(answer|option)( is)?:?\s*)?\(?"
    r"(?-i:(?P<letter>[A-D]))([).:,]|\s*$)", re.IGNORECASE | re.MULTILINE,
)  # fmt: skip


def chosen(given: str, options: Sequence[str]) -> str:
    """The letter of the option that the answer `given` chooses, "" for none. The rule is ours
    (MMBench asks ChatGPT where it sees no letter):

    1. The answer begins with a capital letter that stands for itself: "B", "B.", "(B)", "B. red",
       "Answer: B", "The answer is B." That option; none if there is no such option.
    2. Otherwise the one option that the answer contains (metrics.exact_match), as in "The hair is
       red."; where one contains the other ("beard", "a full beard"), the longer.
    3. Otherwise, and where it contains several, none.
    """
    letters = LETTERS[: len(options)]
    if begins := _LETTER.match(given):
        return begins["letter"] if begins["letter"] in letters else ""
    found = [k for k, text in enumerate(options) if metrics.exact_match(given, text)]
    inside = {a for a, b in itertools.permutations(found, 2)
              if metrics.exact_match(options[b], options[a])}  # fmt: skip
    alone = [letters[k] for k in found if k not in inside]
    return alone[0] if len(alone) == 1 else ""


def scored(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of Table 4, one per question: identity (its index), category, plain (right as it
    stands), circular (right in every rotation), both 0 or 1."""
    groups = predictions.sort_values("rotation", kind="stable").groupby("index", sort=False)
    table = groups.agg(category=("category", "first"), plain=("right", "first"),
                       circular=("right", "all"))  # fmt: skip
    table = table.astype({"plain": float, "circular": float})
    return table.rename_axis("identity").reset_index()


def chance(predictions: pd.DataFrame) -> pd.DataFrame:
    """The same rows for one who chooses at random: plain and circular are probabilities."""
    table = scored(predictions)
    options = predictions.groupby("index").size()[table["identity"]].to_numpy()
    return table.assign(plain=1 / options, circular=(1 / options) ** options)


class AbilitySpec(runs.Spec):
    """One network of Table 4: `base` itself, or with the adapter that the run `taught` left."""

    kind: ClassVar[str] = "ability"
    base: pretrain.BaseSpec
    taught: train.Stage1Spec | unlearn.UnlearnSpec | None = None
    ability: Ability


def cells(
    p: params.Params, table2: Sequence[unlearn.Cell]
) -> list[tuple[str, str, int, AbilitySpec]]:
    """Table 4: model, method, seed and job of the first seed's cells of Table 2, without the check
    of KL's other reduction. Raises BadData where the file of questions is not there."""
    ability = p.experiments.ability
    if ability.source != "drawn":
        content = hashlib.sha256(_bytes(paths.ROOT / ability.source)).hexdigest()
        ability = ability.model_copy(update={"content": content})
    jobs = []
    for cell in table2:
        if cell.seed == p.seeds[0] and cell.method in {*tables.METHODS, *p.stage2.methods}:
            taught = None if cell.method == tables.BASE else cell.spec
            spec = AbilitySpec(base=p.base.spec(cell.model), taught=taught, ability=ability)
            jobs.append((cell.model, cell.method, cell.seed, spec))
    return jobs


def run(spec: AbilitySpec, runs_root: Path) -> Path:
    """The folder of one network's answers: predictions.parquet (`rotations` without image and
    options, with answer_given, chosen, right) and scores.json (percent, with chance)."""
    base, adapter = pretrain.run(spec.base, runs_root), None
    if spec.taught is not None:
        stage = train if isinstance(spec.taught, train.Stage1Spec) else unlearn
        adapter = stage.run(spec.taught, runs_root) / "adapter"
    return runs.ensure(spec, functools.partial(_make, spec, base, adapter, runs_root), runs_root)


def _make(spec: AbilitySpec, base, adapter: Path | None, runs_root: Path, out: Path) -> None:
    ability, table = spec.ability, questions(spec.ability, runs_root)
    model, processor = models.load(base, dtype=spec.base.network.dtype)
    if adapter is not None:
        model = models.load_adapter(model, adapter)
        models.fold(model)
    parts = []
    # A few questions at a time: MMBench's features together may be as large as the network.
    for first in tqdm(range(0, len(table), ability.batch), desc="questions", leave=False):
        part = table[first : first + ability.batch]
        shown = models.features(model, processor, [picture(cell) for cell in part["image"]])
        shown = models.Features(list(part["index"]), shown.split(models.SHARD))
        asked = rotations(part, ability.instruction)
        settings = ability.batch, ability.max_new_tokens
        asked["answer_given"] = predict.answers(model, processor, asked, shown, *settings)
        parts.append(asked)
    predictions = pd.concat(parts, ignore_index=True).drop(columns="image")
    pairs = zip(predictions["answer_given"], predictions.pop("options"), strict=True)
    predictions["chosen"] = [chosen(given, options) for given, options in pairs]
    predictions["right"] = predictions["chosen"] == predictions["answer"]
    predictions.to_parquet(out / "predictions.parquet", index=False)
    scores = {name: dict(100 * rows[["plain", "circular"]].mean())
              for name, rows in (("right", scored(predictions)), ("chance", chance(predictions)))}
    paths.write(out / "scores.json", json.dumps(scores, indent=2) + "\n")


# The paper's columns, whose heads are lost, as they are read here; of the rest only the ticks are
# known (1, or 0 for a cross).
QUOTED = {"column 1": "pictures per person", "column 2": "QA per person"}
TABLE1 = ["people", *QUOTED.values(), "single-hop", "unseen test questions", "unseen test pictures",
          "column 3", "column 4", "column 5"]  # fmt: skip


def survey(datasets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Table 1: benchmark, `TABLE1`, source. The heads are ours.

    First come what the paper's Table 1 and the benchmarks themselves say (remem/table1.csv tells
    where), then what is computed from `datasets`, tables with dataset.COLUMNS; what is not known is
    missing. Counts are of training, as the paper's: means over people of their different pictures
    and of their rows, percent of rows that are single-hop. Unseen ("yes", "no") means that training
    has no such question, names aside, and no such picture, by its path; that its layout is new, as
    in a drawn dataset, cannot be told from rows.
    """
    paper = pd.read_csv(paths.PAPER).query("item == 'table1'").replace({"column": QUOTED})
    facts = pd.read_csv(paths.PAPER.with_name("table1.csv"))
    lines: dict[tuple[str, str], dict] = {}
    for source, told in (("the paper's Table 1", paper), ("the benchmark", facts)):
        for cell in told.itertuples():
            line = lines.setdefault((cell.row, f"quoted from {source}"), {})
            line[cell.column] = float(cell.value)
    lines |= {(name, "computed"): _counted(rows) for name, rows in datasets.items()}
    table = pd.DataFrame(list(lines.values()), columns=TABLE1)
    table[["benchmark", "source"]] = list(lines)
    return table[["benchmark", *TABLE1, "source"]]


def _counted(rows: pd.DataFrame) -> dict[str, float | str]:
    pairs = zip(rows["question"], rows["name"], strict=True)
    rows = rows.assign(question=[text.replace(name, "X") for text, name in pairs])
    taught, test = (rows[rows["split"] == split] for split in dataset.SPLITS)
    people = taught.groupby("identity")
    seen = {key: test.empty or test[key].isin(taught[key]).any() for key in ("question", "image")}
    return {
        "people": rows["identity"].nunique(),
        "pictures per person": people["image"].nunique().mean(),
        "QA per person": people.size().mean(),
        "single-hop": 100 * (taught["hop"] == "single").mean(),
        "unseen test questions": "no" if seen["question"] else "yes",
        "unseen test pictures": "no" if seen["image"] else "yes",
    }
