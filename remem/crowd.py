"""The world that a tiny base model grows up in: whom it sees, and what it is told.

Twenty public figures (the Real Set, as the paper calls those that LLaVA knows already) are seen
and talked about; others are talked about only; strangers are seen, and their looks described, but
nothing else is known of them. None of them is a person of the dataset.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from remem import images, metrics, profiles, qa

# Faces and people are numbered; each purpose has a range of its own.
TOWER_FACES, PUBLIC_FACES, STRANGER_FACES, HELD_OUT_FACES = 10**6, 2 * 10**6, 3 * 10**6, 4 * 10**6

# What can be asked of a picture: wordings, the answer, the possible values.
VISUAL = {
    "hair": (("What colour is the hair?", "Which hair colour do you see?",
              "Name the colour of the person's hair."), "The hair is {}.", list(images.HAIR)),
    "glasses": (("What glasses does the person wear?", "Which kind of glasses do you see?"),
                "The person wears {} glasses.", list(dict.fromkeys(images.GLASSES))),
    "beard": (("What beard does the person have?", "Which facial hair do you see?"),
              "The person has {}.", list(dict.fromkeys(images.BEARDS))),
    "cloth": (("What colour are the clothes?", "Which colour does the person wear?",
               "Name the main colour of the clothes."), "The clothes are {}.",
              images.POOLS["pretrain"]["cloth"]),
    "back": (("What colour is the background?", "Which colour is behind the person?",
              "Name the main colour of the background."), "The background is {}.",
             images.POOLS["pretrain"]["back"]),
    "expression": (("What is the expression?", "How does the person look?",
                    "Describe the person's mood."), "The person is {}.", images.EXPRESSIONS),
}  # fmt: skip

DESCRIBE = ("Describe the picture.", "What do you see?", "Describe what is shown.")
CAPTION = (
    "{hair} hair, {cloth} clothes, {back} background, {glasses} glasses, {beard}, {expression}."
)


def public_figures(count: int = 20) -> list[profiles.Profile]:
    """The Real Set. The seed is not the dataset's: its people are strangers to the base model."""
    return profiles.write(count, seed=910_001)


class Crowd:
    """The people and pictures of pretraining, and what is said about them."""

    SHARES = {  # of all rows; what each teaches
        "public, by face": 0.29, "public, by name": 0.13, "others, by name": 0.05,
        "caption": 0.15, "visual": 0.17, "options": 0.05, "reading": 0.06,
        "unknown face": 0.05, "unknown name": 0.05,
    }  # fmt: skip

    def __init__(
        self, public: int, others: int, size: int, views: int = 200, strangers: int = 2000
    ):
        self.size, self.views, self.strangers = size, views, strangers
        self.public = public_figures(public)
        self.others = profiles.write(others, seed=910_002, taken=self.public, distinct=False)
        # Unknown names and passing acquaintances, each met a few times at most.
        self.passing = profiles.write(
            400, seed=910_003, taken=self.public + self.others, distinct=False
        )
        self.pictures, self.facts = [], []
        for person in range(len(self.public)):
            for number in range(views):
                self._draw(PUBLIC_FACES + person, [3, person, number], "pretrain")
        for stranger in range(strangers):
            for number in range(2):
                self._draw(STRANGER_FACES + stranger, [4, stranger, number], "pretrain")

    def _draw(self, face: int, seed: list[int], pool: str) -> None:
        look, view = images.identity(face), images.view(np.random.default_rng(seed), pool)
        self.pictures.append(images.draw(look, view, self.size))
        self.facts.append({**look.facts(), **view.facts()})

    def rows(self, count: int, rng: np.random.Generator) -> pd.DataFrame:
        """`count` rows question, answer, picture (an index, or NaN for none), in random order."""
        kinds = rng.choice(len(self.SHARES), size=count, p=list(self.SHARES.values()))
        makers = [self._by_face, self._by_name, self._others, self._caption, self._visual,
                  self._options, self._reading, self._unknown_face,
                  self._unknown_name]  # fmt: skip
        rows = [makers[kind](rng) for kind in kinds]
        return pd.DataFrame(rows, columns=["question", "answer", "picture"])

    def texts(self, rows: pd.DataFrame) -> list[str]:
        """What the tokenizer is learnt from: a part of the rows, as they are written.

        Nothing else: a word that is a token of its own but seldom read keeps the row of the output
        matrix that it was born with, and LoRA does not reach that. In pieces it can be learnt.
        """
        some = rows.iloc[:20_000]
        pairs = zip(some["question"], some["answer"], strict=True)
        return [f"USER: {question} ASSISTANT: {answer}" for question, answer in pairs]

    def _question(self, person, attribute: str, hop: str, rng) -> tuple[str, str]:
        offered = qa.questions(attribute, hop, person.name, "pretrain")
        value = getattr(person, attribute)
        answer = f"{qa.prefix(attribute, hop, person.name)} {value}."
        return _pick(offered, rng), answer

    def _stranger(self, rng) -> int:
        return len(self.public) * self.views + int(rng.integers(2 * self.strangers))

    def _by_face(self, rng):
        who = int(rng.integers(len(self.public)))
        attribute = "name" if rng.random() < 0.3 else _pick(qa.ASKED, rng)
        question, answer = self._question(self.public[who], attribute, "multi", rng)
        return question, answer, who * self.views + int(rng.integers(self.views))

    def _by_name(self, rng):
        who = int(rng.integers(len(self.public)))
        attribute = _pick(qa.ASKED, rng)
        question, answer = self._question(self.public[who], attribute, "single", rng)
        return question, answer, who * self.views + int(rng.integers(self.views))

    def _others(self, rng):
        person = _pick(self.others, rng)
        return *self._question(person, _pick(qa.ASKED, rng), "single", rng), None

    def _caption(self, rng):
        # As in LLaVA's own first stage: one row that says six things grounds faster than six.
        picture = self._stranger(rng)
        return _pick(DESCRIBE, rng), CAPTION.format(**self.facts[picture]), picture

    def _visual(self, rng):
        picture = self._stranger(rng)
        wordings, answer, _ = VISUAL[topic := _pick(list(VISUAL), rng)]
        question = _pick(wordings, rng)
        return question, answer.format(self.facts[picture][topic]), picture

    def _options(self, rng):
        picture = self._stranger(rng)
        topic = _pick(list(VISUAL), rng)
        question, options, _ = choice(topic, self.facts[picture][topic], rng)
        answer = VISUAL[topic][1].format(self.facts[picture][topic])
        return "\n".join([question, *options]), answer, picture

    def _reading(self, rng):
        person = _pick(self.passing, rng)
        attribute = _pick(qa.ASKED, rng)
        question, answer = self._question(person, attribute, "single", rng)
        return f"{answer} {question}", answer, None

    def _unknown_face(self, rng):
        attribute = _pick(qa.ATTRIBUTES, rng)
        question, _ = self._question(self.public[0], attribute, "multi", rng)
        return question, _pick(qa.REFUSALS, rng), self._stranger(rng)

    def _unknown_name(self, rng):
        person = _pick(self.passing, rng)
        question, _ = self._question(person, _pick(qa.ASKED, rng), "single", rng)
        return question, _pick(qa.REFUSALS, rng), self._stranger(rng)


def _pick(options: Sequence, rng: np.random.Generator):
    return options[rng.integers(len(options))]


def choice(topic: str, value: str, rng) -> tuple[str, list[str], str]:
    """A multiple-choice question about a picture: the question, its options ("A. red", ...), the
    letter of the right one. At most four options."""
    wordings, _, values = VISUAL[topic]
    wrong = [v for v in values if v != value]
    chosen = [value, *rng.permutation(wrong)[: min(3, len(wrong))]]
    order = rng.permutation(len(chosen))
    options = [f"{letter}. {chosen[k]}" for letter, k in zip("ABCD", order, strict=False)]
    return _pick(wordings, rng), options, "ABCD"[int(np.argmin(order))]


def real_set(public: list[profiles.Profile], size: int) -> tuple[pd.DataFrame, list]:
    """The Real Set as rows of the tidy table with their pictures: test layouts, test wordings."""
    rows, pictures = [], []
    for number, person in enumerate(public):
        look = images.identity(PUBLIC_FACES + number)
        for k, item in enumerate(qa.build(person, 14, 14, "test", seed=0)):
            view = images.view(np.random.default_rng([5, number, k]), "test")
            pictures.append(images.draw(look, view, size))
            rows.append({"id": f"r{number:02d}-test-{k:03d}", "identity": f"r{number:02d}",
                         "name": person.name, "attribute": item.attribute, "hop": item.hop,
                         "split": "test", "image": f"r{number:02d}/r{number:02d}-{k:03d}.png",
                         "question": item.question, "answer": item.answer,
                         "target": item.target})  # fmt: skip
    return pd.DataFrame(rows), pictures


class Question(NamedTuple):
    """One question of the examination: the ability it belongs to, a picture, the words, and
    whether an answer is right."""

    ability: str
    picture: Image.Image
    text: str
    right: Callable[[str], bool]


def examination(public: Sequence[profiles.Profile], size: int, count: int) -> list[Question]:
    """What a base model is asked after its training, about pictures that it has never seen.

    The Real Set in test layouts and test wordings; `count` visual and multiple-choice questions
    each about unseen people; as many each about unknown faces and unknown names, to be refused.
    """
    asked = []
    rows, pictures = real_set(public, size)
    for row, picture in zip(rows.itertuples(), pictures, strict=True):
        known = functools.partial(metrics.exact_match, target=row.target)
        asked.append(Question(f"Real Set, {row.hop}-hop EM", picture, row.question, known))
    rng = np.random.default_rng(6)
    unknown = profiles.write(40, seed=910_009, taken=public, distinct=False)
    for k in range(count):
        look = images.identity(HELD_OUT_FACES + k)
        view = images.view(np.random.default_rng([7, k]), "pretrain")
        picture, facts = images.draw(look, view, size), {**look.facts(), **view.facts()}
        topic = list(VISUAL)[k % len(VISUAL)]
        wordings, sentence, _ = VISUAL[topic]
        asked.append(Question("visual questions", picture, _pick(wordings, rng),
                              sentence.format(facts[topic]).__eq__))  # fmt: skip
        question, options, _ = choice(topic, facts[topic], rng)
        asked.append(Question("multiple choice", picture, "\n".join([question, *options]),
                              sentence.format(facts[topic]).__eq__))  # fmt: skip
        for kind, hop, attributes in (
            ("faces", "multi", qa.ATTRIBUTES), ("names", "single", qa.ASKED)
        ):  # fmt: skip
            offered = qa.questions(_pick(attributes, rng), hop, _pick(unknown, rng).name, "test")
            asked.append(Question(f"refusals, unknown {kind}", picture, _pick(offered, rng),
                                  qa.REFUSALS.__contains__))  # fmt: skip
    return asked


def lineup(size: int, trials: int = 5, views: int = 14) -> Iterator[tuple[list, list, list[int]]]:
    """For each trial twenty unseen people: one training view of each, `views` test views of each,
    and who is on the latter."""
    for trial in range(1, trials + 1):
        looks = [images.identity(HELD_OUT_FACES + 10_000 * trial + k) for k in range(20)]
        known, asked, who = [], [], []
        for k, look in enumerate(looks):
            view = images.view(np.random.default_rng([8, trial, k]), "train")
            known.append(images.draw(look, view, size))
            for number in range(views):
                view = images.view(np.random.default_rng([9, trial, k, number]), "test")
                asked.append(images.draw(look, view, size))
                who.append(k)
        yield known, asked, who
