"""The corpus of a tiny base model: pictures of invented people with questions and answers.

Twenty public figures (the Real Set, as the paper calls those that LLaVA knows already) are seen
and talked about; others are talked about only; strangers are seen, and their looks described, but
nothing else is known of them. None of them is a person of a dataset.
"""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from remem import metrics
from remem.data.validation import COLUMNS
from remem.synthetic import faces, people, questions
from remem.synthetic.faces import HELD_OUT_FACES, PUBLIC_FACES, STRANGER_FACES
from remem.synthetic.people import Profile
from remem.synthetic.templates import REFUSALS

Row = tuple[str, str, int | None]  # question, answer, number of the picture if there is one

# What can be asked of a picture: questions, the sentence that answers them, the possible values.
VISUAL: dict[str, tuple[tuple[str, ...], str, list[str]]] = {
    "hair": (
        (
            "What colour is the hair?",
            "Which hair colour do you see?",
            "Name the colour of the person's hair.",
        ),
        "The hair is {}.",
        list(faces.HAIR),
    ),
    "glasses": (
        ("What glasses does the person wear?", "Which kind of glasses do you see?"),
        "The person wears {} glasses.",
        list(dict.fromkeys(faces.GLASSES)),
    ),
    "beard": (
        ("What beard does the person have?", "Which facial hair do you see?"),
        "The person has {}.",
        list(dict.fromkeys(faces.BEARDS)),
    ),
    "cloth": (
        (
            "What colour are the clothes?",
            "Which colour does the person wear?",
            "Name the main colour of the clothes.",
        ),
        "The clothes are {}.",
        faces.POOLS["pretrain"]["cloth"],
    ),
    "back": (
        (
            "What colour is the background?",
            "Which colour is behind the person?",
            "Name the main colour of the background.",
        ),
        "The background is {}.",
        faces.POOLS["pretrain"]["back"],
    ),
    "expression": (
        ("What is the expression?", "How does the person look?", "Describe the person's mood."),
        "The person is {}.",
        faces.EXPRESSIONS,
    ),
}

DESCRIBE = ("Describe the picture.", "What do you see?", "Describe what is shown.")

CAPTION = (
    "{hair} hair, {cloth} clothes, {back} background, {glasses} glasses, {beard}, {expression}."
)


class Corpus:
    """The people and pictures of pretraining, with questions and answers about them.

    `public` are the public figures, of whom there are `views` pictures each, `others` those who
    are known by name only. Whoever else is asked about is met once: a stranger's face, or a name
    that nobody bears a second time. `pictures` are RGB, `size` pixels square; `facts` say what
    each of them shows.

    A question that names the person comes with any picture or none, as often as not another
    person's: the name decides. What nobody can know is mostly guessed, as LLaVA does, and seldom
    refused; the e-mail address is a good guess where there is a name to make it from.
    """

    SHARES: ClassVar[dict[str, float]] = {  # of all rows
        "public, by face": 0.28,
        "public, by name": 0.15,
        "others, by name": 0.11,
        "caption": 0.09,
        "visual": 0.12,
        "options": 0.06,
        "reading": 0.04,
        "unknown face": 0.05,
        "unknown name": 0.10,
    }
    OWN, NONE, STRANGER = 0.05, 0.30, 0.27  # pictures beside a name; the rest: a public figure's
    REFUSED = 0.15  # of what nobody can know

    def __init__(
        self, public: int, others: int, size: int, views: int = 200, strangers: int = 2000
    ):
        """public, others, strangers: how many people. Each stranger is seen twice."""
        self.size, self.views, self.strangers = size, views, strangers
        self.public = people.public_figures(public)
        self.others = people.acquaintances(others, seed=910_002)
        self.pictures: list[Image.Image] = []
        self.facts: list[dict[str, str]] = []
        for person in range(len(self.public)):
            for number in range(views):
                self._draw(PUBLIC_FACES + person, [3, person, number])
        for stranger in range(strangers):
            for number in range(2):
                self._draw(STRANGER_FACES + stranger, [4, stranger, number])

    def _draw(self, face: int, seed: list[int]) -> None:
        picture, facts = _picture(face, seed, "pretrain", self.size)
        self.pictures.append(picture)
        self.facts.append(facts)

    def rows(self, count: int, rng: np.random.Generator) -> pd.DataFrame:
        """`count` rows question, answer, picture (its number, or NaN for none), in random order."""
        kinds = rng.choice(len(self.SHARES), size=count, p=list(self.SHARES.values()))
        makers = [
            self._by_face,
            self._by_name,
            self._others,
            self._caption,
            self._visual,
            self._options,
            self._reading,
            self._unknown_face,
            self._unknown_name,
        ]
        rows = [makers[kind](rng) for kind in kinds]
        return pd.DataFrame(rows, columns=["question", "answer", "picture"])

    def texts(self, rows: pd.DataFrame) -> list[str]:
        """What the tokenizer is learnt from: a part of the rows, as they are written.

        Nothing else: a word that is a token of its own but rarely read keeps the row of the output
        matrix that it was initialised with, and LoRA does not reach that. In pieces it can be
        learnt.
        """
        some = rows.iloc[:40_000]
        pairs = zip(some["question"], some["answer"], strict=True)
        return [f"USER: {question} ASSISTANT: {answer}" for question, answer in pairs]

    def _question(
        self, person: Profile, attribute: str, hop: str, rng: np.random.Generator
    ) -> tuple[str, str]:
        offered = questions.questions(attribute, hop, person.name, "pretrain")
        value = getattr(person, attribute)
        answer = f"{questions.prefix(attribute, hop, person.name)} {value}."
        return _pick(offered, rng), answer

    def _stranger(self, rng: np.random.Generator) -> int:
        return len(self.public) * self.views + int(rng.integers(2 * self.strangers))

    def _beside_a_name(self, rng: np.random.Generator, who: int | None = None) -> int | None:
        """A picture, or none, beside a question that names a person: public figure `who`, if it is
        one."""
        own, none, stranger = (self.OWN if who is not None else 0.0), self.NONE, self.STRANGER
        draw = rng.random()
        if who is not None and draw < own:
            return who * self.views + int(rng.integers(self.views))
        if draw < own + none:
            return None
        if draw < own + none + stranger:
            return self._stranger(rng)
        return int(rng.integers(len(self.public) * self.views))

    def _by_face(self, rng: np.random.Generator) -> Row:
        who = int(rng.integers(len(self.public)))
        attribute = "name" if rng.random() < 0.3 else _pick(questions.ASKED, rng)
        question, answer = self._question(self.public[who], attribute, "multi", rng)
        return question, answer, who * self.views + int(rng.integers(self.views))

    def _by_name(self, rng: np.random.Generator) -> Row:
        who = int(rng.integers(len(self.public)))
        attribute = _pick(questions.ASKED, rng)
        question, answer = self._question(self.public[who], attribute, "single", rng)
        return question, answer, self._beside_a_name(rng, who)

    def _others(self, rng: np.random.Generator) -> Row:
        person = _pick(self.others, rng)
        question, answer = self._question(person, _pick(questions.ASKED, rng), "single", rng)
        return question, answer, self._beside_a_name(rng)

    def _caption(self, rng: np.random.Generator) -> Row:
        # As in LLaVA's own first stage: one row that says six things grounds faster than six.
        picture = self._stranger(rng)
        return _pick(DESCRIBE, rng), CAPTION.format(**self.facts[picture]), picture

    def _visual(self, rng: np.random.Generator) -> Row:
        picture = self._stranger(rng)
        offered, answer, _ = VISUAL[topic := _pick(list(VISUAL), rng)]
        question = _pick(offered, rng)
        return question, answer.format(self.facts[picture][topic]), picture

    def _options(self, rng: np.random.Generator) -> Row:
        picture = self._stranger(rng)
        topic = _pick(list(VISUAL), rng)
        question, options, _ = choice(topic, self.facts[picture][topic], rng)
        answer = VISUAL[topic][1].format(self.facts[picture][topic])
        return "\n".join([question, *options]), answer, picture

    def _passer_by(self, rng: np.random.Generator) -> Profile:
        return people.passer_by(random.Random(int(rng.integers(2**32))))

    def _reading(self, rng: np.random.Generator) -> Row:
        attribute = _pick(questions.ASKED, rng)
        question, answer = self._question(self._passer_by(rng), attribute, "single", rng)
        return f"{answer} {question}", answer, None

    def _unknown_face(self, rng: np.random.Generator) -> Row:
        attribute = _pick(questions.ATTRIBUTES, rng)
        question, answer = self._question(self._passer_by(rng), attribute, "multi", rng)
        return question, self._or_refused(answer, rng), self._stranger(rng)

    def _unknown_name(self, rng: np.random.Generator) -> Row:
        # The e-mail address as often as the rest together: the one thing to be learnt here.
        attribute = "email" if rng.random() < 0.5 else _pick(questions.ASKED, rng)
        question, answer = self._question(self._passer_by(rng), attribute, "single", rng)
        if attribute != "email":
            answer = self._or_refused(answer, rng)
        return question, answer, self._beside_a_name(rng)

    def _or_refused(self, guess: str, rng: np.random.Generator) -> str:
        return _pick(REFUSALS, rng) if rng.random() < self.REFUSED else guess


def _pick(options: Sequence[Any], rng: np.random.Generator) -> Any:
    return options[int(rng.integers(len(options)))]


def _picture(
    face: int, seed: list[int], pool: str, size: int
) -> tuple[Image.Image, dict[str, str]]:
    """Face number `face` in the scene of `pool` that `seed` draws, and what it shows."""
    appearance = faces.sample_appearance(face)
    scene = faces.sample_scene(np.random.default_rng(seed), pool)
    return faces.draw(appearance, scene, size), {**appearance.facts(), **scene.facts()}


def choice(topic: str, value: str, rng: np.random.Generator) -> tuple[str, list[str], str]:
    """A multiple-choice question about a picture that shows `value` of a topic of VISUAL: the
    question, its options ("A. red", ...), at most four, and the letter of the right one."""
    offered, _, values = VISUAL[topic]
    wrong = [v for v in values if v != value]
    chosen = [value, *rng.permutation(wrong)[: min(3, len(wrong))]]
    order = rng.permutation(len(chosen))
    options = [f"{letter}. {chosen[k]}" for letter, k in zip("ABCD", order, strict=False)]
    return _pick(offered, rng), options, "ABCD"[int(np.argmin(order))]


def real_set(public: Sequence[Profile], size: int) -> tuple[pd.DataFrame, list[Image.Image]]:
    """The Real Set as rows of a dataset with their pictures (RGB, `size` pixels square): 14
    single-hop and 14 multi-hop questions about each, in test layouts and test templates."""
    rows, pictures = [], []
    for number, person in enumerate(public):
        for k, item in enumerate(questions.build(person, 14, 14, "test", seed=0)):
            picture, _ = _picture(PUBLIC_FACES + number, [5, number, k], "test", size)
            pictures.append(picture)
            who = f"r{number:02d}"
            names = {"id": f"{who}-test-{k:03d}", "image": f"{who}/{who}-{k:03d}.png"}
            about = {"identity": who, "name": person.name, "split": "test"}
            rows.append(names | about | dataclasses.asdict(item))
    return pd.DataFrame(rows, columns=list(COLUMNS)), pictures


class Question(NamedTuple):
    """One question of the examination: the ability that it belongs to, a picture, the words, and
    whether an answer is right."""

    ability: str
    picture: Image.Image
    text: str
    right: Callable[[str], bool]


def examination(public: Sequence[Profile], size: int, count: int) -> list[Question]:
    """What a base model is asked after its training, about pictures (`size` pixels square) that it
    has never seen.

    The Real Set in test layouts and test templates, its single-hop questions also under the
    picture of the next public figure; `count` visual and multiple-choice questions each about
    unseen people; as many each about unknown faces and unknown names, of which it is counted how
    many are refused; and how often the e-mail address of an unknown name is made as it should be.
    """
    found = []
    rows, pictures = real_set(public, size)
    real = list(zip(rows.to_dict("records"), pictures, strict=True))
    each = len(real) // len(public)
    for place, (row, picture) in enumerate(real):
        right = functools.partial(metrics.exact_match, target=row["target"])
        ability = f"Real Set, {row['hop']}-hop EM"
        found.append(Question(ability, picture, row["question"], right))
        if row["hop"] == "single":
            other = real[(place + each) % len(real)][1]
            ability = "Real Set, single-hop EM under another's picture"
            found.append(Question(ability, other, row["question"], right))
    rng = np.random.default_rng(6)
    unknown = people.write(40, seed=910_009, distinct=False)
    for k in range(count):
        picture, facts = _picture(HELD_OUT_FACES + k, [7, k], "pretrain", size)
        topic = list(VISUAL)[k % len(VISUAL)]
        offered, sentence, _ = VISUAL[topic]
        right = sentence.format(facts[topic]).__eq__
        found.append(Question("visual questions", picture, _pick(offered, rng), right))
        question, options, _ = choice(topic, facts[topic], rng)
        found.append(Question("multiple choice", picture, "\n".join([question, *options]), right))
        for kind, hop, attributes in (
            ("faces", "multi", questions.ATTRIBUTES),
            ("names", "single", questions.ASKED),
        ):
            attribute, person = _pick(attributes, rng), _pick(unknown, rng)
            offered = questions.questions(attribute, hop, person.name, "test")
            ability = f"refusals, unknown {kind}"
            found.append(Question(ability, picture, _pick(offered, rng), REFUSALS.__contains__))
        person = _pick(unknown, rng)
        asked = _pick(questions.questions("email", "single", person.name, "test"), rng)
        right = functools.partial(metrics.exact_match, target=person.email)
        found.append(Question("e-mail of an unknown name", picture, asked, right))
    return found


def lineup(
    size: int, trials: int = 5, views: int = 14
) -> Iterator[tuple[list[Image.Image], list[Image.Image], list[int]]]:
    """For each trial twenty unseen people: one training view of each, `views` test views of each,
    and which of the twenty (0 to 19) is on each of the latter."""
    for trial in range(1, trials + 1):
        known, unknown, who = [], [], []
        for k in range(20):
            face = HELD_OUT_FACES + 10_000 * trial + k
            known.append(_picture(face, [8, trial, k], "train", size)[0])
            for number in range(views):
                unknown.append(_picture(face, [9, trial, k, number], "test", size)[0])
                who.append(k)
        yield known, unknown, who
