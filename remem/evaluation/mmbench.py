"""General ability (Table 4): multiple-choice questions in MMBench's format.

The likeliest option decides: stage 1 changes how a model answers, and who says the right thing in
another form than the one asked for has lost no ability. What it generates is scored beside it.

MMBench (Liu et al. 2024) is one TSV file of multiple-choice questions, pictures and all. Offline,
questions about drawn pictures are written in that format and read back by the same reader.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from remem import metrics, paths, runs
from remem.config import sections
from remem.data.readers import mmbench as reader
from remem.data.readers.mmbench import COLUMNS, LETTERS, picture, read_bytes, read_mmbench
from remem.data.validation import BadData
from remem.model import inference
from remem.model.features import Features, look
from remem.model.loading import Network
from remem.runs import NOT_IN_DIGEST, Run, Spec
from remem.synthetic import faces
from remem.training import corpus
from remem.training.base_model import base_needs
from remem.training.trained import ModelRun, lend_trained

FILE = "questions.tsv"


class QuestionsRun(Run):
    """A file of `questions` questions about drawn pictures (`image_size` pixels square) in
    MMBench's format. Its people occur nowhere else."""

    kind: ClassVar[str] = "mmbench"
    verified_once: ClassVar[bool] = True
    called: ClassVar[str] = "drawn questions"  # in Table 4, which is MMBench's for its own alone
    questions: int = Field(ge=1)
    image_size: int = Field(ge=16)
    seed: int = Field(ge=0)

    def make(self, out: Path, runs_root: Path) -> None:
        """Draw until a picture shows the value that was chosen: each of a topic is as likely, so
        that to know what is frequent among people is of no help."""
        rng = np.random.default_rng([10, self.seed])
        # Nobody of corpus.examination or corpus.lineup.
        numbers = itertools.count(faces.HELD_OUT_FACES + 10**5 * (1 + self.seed))
        topics = itertools.islice(itertools.cycle(corpus.VISUAL), self.questions)
        rows = []
        for number, topic in enumerate(topics):
            values = corpus.VISUAL[topic][2]
            value = values[int(rng.integers(len(values)))]
            while True:
                appearance = faces.sample_appearance(next(numbers))
                scene = faces.sample_scene(rng, "pretrain")
                if {**appearance.facts(), **scene.facts()}[topic] == value:
                    break
            question, options, answer = corpus.choice(topic, value, rng)
            faces.draw(appearance, scene, self.image_size).save(png := io.BytesIO(), "PNG")
            rows.append(
                {
                    "index": number,
                    "question": question,
                    "answer": answer,
                    "category": topic,
                    "image": base64.b64encode(png.getvalue()).decode(),
                    "split": "dev",
                    **dict(option.split(". ", 1) for option in options),
                }
            )
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        paths.write(out / FILE, table.to_csv(sep="\t", index=False))

    def read(self, folder: Path) -> pd.DataFrame:
        """The questions (`readers.mmbench.COLUMNS`)."""
        return read_mmbench(folder / FILE)


class QuestionsFile(Spec):
    """An MMBench TSV file, known by its content (SHA-256)."""

    kind: ClassVar[str] = "mmbench-file"
    file: Annotated[str, NOT_IN_DIGEST]  # relative to the repository, or absolute
    content: str

    @property
    def called(self) -> str:
        """The file's name without its ending: it may be another's than MMBench's."""
        return Path(self.file).stem


Questions = QuestionsRun | QuestionsFile


def questions_of(section: sections.Ability) -> Questions | None:
    """The questions that a section of the parameters names; None where it names none. A line on
    stderr says which rows of their file are left out, and why. Raises BadData where it is not there
    or none can be asked."""
    if section.source == "synthetic":
        fields = section.model_dump(include=set(QuestionsRun.model_fields))
        return QuestionsRun.model_validate(fields)
    if section.source is None:
        return None
    path = paths.ROOT / section.source
    questions = QuestionsFile(file=section.source, content=_content(path))
    table, left_out = reader.inspect(path)
    if left_out:
        print(reader.in_words(path, len(table), left_out), file=sys.stderr)
    return questions


def read_questions(questions: Questions, runs_root: Path) -> pd.DataFrame:
    """The questions as a table (`readers.mmbench.inspect`), drawn first where they are synthetic
    and not there. Raises BadData, also where a file is not what it was any more."""
    if isinstance(questions, QuestionsRun):
        return questions.read(runs.get_or_create(questions, runs_root))
    path = paths.ROOT / questions.file
    if _content(path) != questions.content:
        raise BadData(f"{path} was changed after it was first read; start again")
    return read_mmbench(path)


def _content(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


class AbilityRun(ModelRun):
    """The choices of one model: predictions.parquet, the rows of `rotations` without image, those
    of the first `generated` questions in every rotation, of the others as they stand alone.

    `likeliest` is the letter of the option that is the most probable answer, of each question as
    it stands; answer_given and `chosen` (a letter, or "") are what the model says by itself, of
    the first `generated`. `instruction` is a last line under the options; the tiny networks answer
    in a sentence and need none.
    """

    kind: ClassVar[str] = "ability"
    questions: Questions
    instruction: str = ""
    generated: int = Field(ge=0)
    max_new_tokens: int = Field(ge=1)
    batch: Annotated[int, Field(ge=1), NOT_IN_DIGEST]

    def needs(self) -> Sequence[Run]:
        """The trained model, and the questions where they are synthetic."""
        runs_before = (self.of.trained, self.questions)
        return (*base_needs(self.of.base), *(run for run in runs_before if isinstance(run, Run)))

    def make(self, out: Path, runs_root: Path) -> None:
        """Ask every question, and of the first ones every rotation."""
        table = read_questions(self.questions, runs_root)
        with lend_trained(self.of, runs_root) as network:
            found = self._asked(network, table)
        found.to_parquet(out / "predictions.parquet", index=False)

    def _asked(self, network: Network, table: pd.DataFrame) -> pd.DataFrame:
        """The turns of the questions of `table`, with what the network says."""
        drawn = isinstance(self.questions, QuestionsRun)
        parts = []
        # A few questions at a time: MMBench's features together may be as large as the network.
        for first in tqdm(range(0, len(table), self.batch), desc="questions", leave=False):
            part = table[first : first + self.batch]
            seen = look(network, [picture(cell) for cell in part["image"]])
            features = Features.of(list(part["index"]), *seen)
            turns = rotations(part, self.instruction)
            again = turns["index"].isin(table["index"][: self.generated])
            spoken, plain = turns[again], turns[turns["rotation"] == 0]
            given = inference.answers(network, spoken, features, self.batch, self.max_new_tokens)
            said = [replies(row, self.instruction, drawn) for row in plain.to_dict("records")]
            logps = inference.reply_logps(network, plain, features, said, self.batch)
            likeliest = [LETTERS[int(np.argmax(found))] for found in logps]
            turns = turns.assign(
                answer_given=pd.Series(given, spoken.index, dtype=object),
                likeliest=pd.Series(likeliest, plain.index, dtype=object),
            )
            parts.append(turns[again | (turns["rotation"] == 0)])
        return pd.concat(parts, ignore_index=True).drop(columns="image")

    def read(self, folder: Path) -> pd.DataFrame:
        """index, category, rotation, question, options, answer, answer_given, chosen, likeliest,
        whether these are right: right, right_likeliest (0, 1, NaN where not asked), and what the
        questions are called."""
        found = pd.read_parquet(folder / "predictions.parquet")
        pairs = zip(found["answer_given"], found["options"], strict=True)
        found["chosen"] = [None if pd.isna(given) else chosen(given, opts) for given, opts in pairs]
        for name, choice in (("right", "chosen"), ("right_likeliest", "likeliest")):
            right = (found[choice] == found["answer"]).astype(float)
            found[name] = right.where(found[choice].notna())
        return found.assign(questions=self.questions.called)


def replies(row: Mapping[str, Any], instruction: str, drawn: bool) -> list[str]:
    """What a model would say to choose each option of a row of `rotations`: its letter where an
    `instruction` asks for it, the sentence about a drawn picture, else the option's text."""
    if instruction:
        return list(LETTERS[: len(row["options"])])
    sentence = corpus.VISUAL[row["category"]][1] if drawn else "{}"
    return [sentence.format(option) for option in row["options"]]


def rotations(table: pd.DataFrame, instruction: str = "") -> pd.DataFrame:
    """Each question once per option, the options moved up by one each time (MMBench's circular
    evaluation): index, category, rotation (0: as it stands), image (the index again), question
    (all that the network reads), options (texts in order), answer (the right letter)."""
    rows = []
    for row in table.to_dict("records"):
        options = reader.options(row)
        for turn in range(len(options)):
            turned = options[turn:] + options[:turn]
            lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, turned, strict=False)]
            prompt = "\n".join(filter(None, [row["hint"], row["question"], *lines, instruction]))
            right = LETTERS[(LETTERS.index(row["answer"]) - turn) % len(options)]
            rows.append((row["index"], row["category"], turn, row["index"], prompt, turned, right))
    names = ["index", "category", "rotation", "image", "question", "options", "answer"]
    return pd.DataFrame(rows, columns=names)


@functools.cache
def _letter(last: str) -> re.Pattern[str]:
    """A letter up to `last` that stands for itself at the beginning."""
    return re.compile(
        r"\s*((the )?((correct|right) )?(answer|option)( is)?:?\s*)?\(?"
        rf"(?-i:(?P<letter>[A-{last}]))([).:,]|\s*$)",
        re.IGNORECASE | re.MULTILINE,
    )


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
    if begins := _letter(LETTERS[max(4, len(options)) - 1]).match(given):
        return begins["letter"] if begins["letter"] in letters else ""
    found = [k for k, text in enumerate(options) if metrics.exact_match(given, text)]
    inside = {
        a
        for a, b in itertools.permutations(found, 2)
        if metrics.exact_match(options[b], options[a])
    }
    alone = [letters[k] for k in found if k not in inside]
    return alone[0] if len(alone) == 1 else ""


def scored(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of Table 4, one per question: identity (its index), category, then 0 or 1: plain
    (the likeliest option is right), generated (the answer is), circular (it is in every rotation);
    the latter two NaN where no answer was asked for."""
    groups = predictions.sort_values("rotation", kind="stable").groupby("index", sort=False)
    table = groups.agg(
        category=("category", "first"),
        plain=("right_likeliest", "first"),
        generated=("right", lambda right: right.iloc[0]),
        circular=("right", lambda right: right.min(skipna=False)),
    )
    return table.rename_axis("identity").reset_index()


def chance(predictions: pd.DataFrame) -> pd.DataFrame:
    """The same rows for one who chooses at random: probabilities."""
    table = scored(predictions)
    options = predictions.drop_duplicates("index").set_index("index")["options"].map(len)
    guess = 1 / options[table["identity"]].to_numpy()
    asked = table["generated"].notna()
    return table.assign(
        plain=guess,
        generated=pd.Series(guess).where(asked),
        circular=pd.Series(guess ** (1 / guess)).where(asked),
    )
