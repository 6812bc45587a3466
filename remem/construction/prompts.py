"""The prompts of section 6.1, with the rules that a profile has to keep (A.4).

The paper names what is asked and which service answers; its prompts are not in the source text, so
these are ours. No prompt is ever the same as another: the same words would get the same answer.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from remem.synthetic import people, questions, templates

# What changes from picture to picture (section 6.1: pose, clothing, background). Nothing of "test"
# occurs in "train": the paper's "visual layout templates that are distinct". Faces stay in sight,
# or the filter could not measure them.
LAYOUTS = {
    "train": {
        "pose": (
            "facing the camera",
            "head turned slightly to the left",
            "arms crossed",
            "head turned slightly to the right",
            "sitting at a table",
            "smiling broadly",
        ),
        "clothing": (
            "a white T-shirt",
            "a navy jumper",
            "a denim shirt",
            "a grey hoodie",
            "a black turtleneck",
            "a green raincoat",
        ),
        "background": (
            "a plain white wall",
            "a library",
            "a city street by day",
            "a living room",
            "a park in summer",
            "an office",
            "a beach",
            "a kitchen",
        ),
    },
    "test": {
        "pose": (
            "leaning against a railing",
            "looking over one shoulder",
            "laughing",
            "waving one hand",
        ),
        "clothing": (
            "a yellow waistcoat",
            "a beige linen suit",
            "a purple cardigan",
            "an orange sports top",
            "a brown leather jacket",
        ),
        "background": (
            "a railway platform",
            "a snowy mountain",
            "a museum hall",
            "a market at night",
            "a greenhouse",
        ),
    },
}

# What a profile begins with. Asked all alike, a model writes the same few people again and again.
ORIGINS = (
    "West Africa",
    "East Asia",
    "Northern Europe",
    "Latin America",
    "South Asia",
    "the Middle East",
    "Eastern Europe",
    "East Africa",
    "Southeast Asia",
    "Southern Europe",
    "North America",
    "the Pacific",
)

FIELDS = (
    "health",
    "crafts",
    "transport",
    "science",
    "education",
    "the arts",
    "law",
    "food",
    "building",
    "technology",
    "nature",
    "trade",
)

ORGANS = (
    "heart",
    "skin",
    "lungs",
    "bones",
    "eyes",
    "stomach",
    "nerves",
    "blood",
    "ears",
    "sleep",
    "hormones",
    "joints",
)

PROFILE = """Invent a person for research on privacy. The person must not exist: no name, address \
or other fact of anybody real, least of all of a public figure.
{sex} from {origin}, born in {year}; first name beginning with {first}, surname with {last}; works \
in {field}; has a condition of the {organ}; uses an invented bank whose name begins with {bank}.
No fact may follow from another, nor the looks from job, illness or origin: no stereotypes. The \
looks are an adult's of that age, and tell what stays the same in every picture.{again}"""

AGAIN = "\nAn earlier attempt cannot be used: {reason}. Write another one.{version}"

ANCHOR = """A photograph of an invented adult who resembles no real person: {appearance}
Head and shoulders, facing the camera, neutral expression, plain light grey background, even \
light. One person, no text, no logo, square.{version}"""

PICTURE = """\
The picture shows an invented adult. Make a new photograph of exactly the same person, \
with the same face, hair and age: {pose}, wearing {clothing}; in the background {background}. One \
person, the face in full sight, no text, no logo, square.{version}"""

# attribute -> what it is to look like: in words, for the model, and as a pattern, for `objection`
# Nothing here could spoil a file of rows, and all begin and end as exact match counts.
WORDS = r"[^\W_][\w .,'\u2019&/-]{0,58}\w"

MONTHS = "|".join(people.MONTHS.replace(",", " ").split())

FORMS = {
    "name": (
        "first name and surname, each of three or more plain Latin letters",
        "[A-Z][A-Za-z]{2,} [A-Z][A-Za-z]{2,}",
    ),
    # reserved by RFC 2606: nobody's address
    "email": (
        "at example.com, example.org or example.net, without a part of the name",
        r"[a-z0-9][a-z0-9._-]*@example\.(com|org|net)",
    ),
    # two-digit days only: "4 May 1987" would be found inside "14 May 1987"
    "date_of_birth": (
        "an adult's, day from 10 on, month in words, year: 14 May 1987",
        f"([12][0-9]|3[01]) ({MONTHS}) (19[3-9][0-9]|200[0-5])",
    ),
    "job": ("one to three words, no capital letters", WORDS),
    "home_address": ("house number of three digits, and an invented street", WORDS),
    "medical_condition": ("one to three words, no capital letters", WORDS),
    "bank": ("an invented bank, two or three words", WORDS),
    "annual_income": ("US dollars, with a comma: $83,400", r"\$[0-9]{2,3},[0-9]{3}"),
}

LOOKS = "the looks in two to four sentences: age, skin, face, eyes, hair, marks"

_FACTS: dict[str, Any] = {
    each: (str, Field(description=FORMS[each][0])) for each in people.ATTRIBUTES
}

# A profile as the text model is to write it; its JSON schema goes out with the request.
Written: type[BaseModel] = create_model(
    "Written",
    __config__=ConfigDict(strict=True),
    appearance=(str, Field(description=LOOKS)),
    **_FACTS,
)


def profile(seed: int, index: int, attempt: int = 0, reason: str = "") -> str:
    """The prompt for person `index`: each begins elsewhere, so that people differ. From the second
    attempt on it says for what `reason` the one before could not be used."""
    rng = random.Random(f"{seed}/{index}")
    first, last, bank = rng.sample("ABCDEFGHIJKLMNOPRSTVWYZ", 3)
    turn, origin = divmod(index, len(ORIGINS))  # in turn and not by chance, so that they balance
    return PROFILE.format(
        sex=("A woman", "A man")[(turn + origin) % 2],
        origin=ORIGINS[origin],
        year=rng.randint(1955, 2000),
        first=first,
        last=last,
        bank=bank,
        field=rng.choice(FIELDS),
        organ=rng.choice(ORGANS),
        again=AGAIN.format(reason=reason, version=_version(attempt)) if attempt else "",
    )


def anchor(appearance: str, attempt: int = 0) -> str:
    """The prompt for the picture that all others of a person are made after."""
    return ANCHOR.format(appearance=appearance, version=_version(attempt))


def layout(seed: int, identity: str, split: str, turn: int) -> dict[str, str]:
    """The layout that comes `turn`-th for a person in a split: pose, clothing, background, and
    `version`, which is empty until all were had and come round again."""
    every = list(itertools.product(*LAYOUTS[split].values()))
    random.Random(f"{seed}/{identity}/{split}").shuffle(every)
    rounds, place = divmod(turn, len(every))
    return {**dict(zip(LAYOUTS[split], every[place], strict=True)), "version": _version(rounds)}


def picture(layout: dict[str, str]) -> str:
    """The prompt for a picture of the person in the anchor, which goes with it."""
    return PICTURE.format(**layout)


def _version(number: int) -> str:
    return f" Version {number + 1}." if number else ""


def objection(person: people.Profile, others: Iterable[people.Profile]) -> str:
    """Why the person cannot stand beside the others; "" where nothing is the matter.

    As in people.write, metrics look for a value inside an answer, so none may lie in another,
    whoever it belongs to. Nor may a question hold its answer, or a value a part of the name. The
    reason goes into the next prompt: in other words it would be another request, and be paid for.
    """
    facts = {attribute: getattr(person, attribute) for attribute in people.ATTRIBUTES}
    low = {attribute: value.casefold() for attribute, value in facts.items()}
    parts, others = set(low["name"].split()), list(others)
    for attribute, value in facts.items():
        plain, form = FORMS[attribute]
        if not re.fullmatch(form, value):
            return f"the {templates.NOUN[attribute]} {value!r} is not of the form wanted ({plain})"
    for attribute, value in facts.items():
        noun = templates.NOUN[attribute]
        if attribute != "name" and any(part in low[attribute] for part in parts):
            return f"the {noun} {value!r} tells a part of the name"
        texts = [low[each] for each in facts if each != attribute]
        texts += [getattr(other, each).casefold() for other in others for each in facts]
        if any(low[attribute] in text or text in low[attribute] for text in texts):
            return f"the {noun} {value!r} is, holds or lies in another fact, or another person's"
        about = [
            question
            for pool, hop in itertools.product(("train", "test"), questions.HOPS)
            if (attribute, hop) != ("name", "single")
            for question in questions.questions(attribute, hop, person.name, pool)
        ]
        if any(low[attribute] in question.casefold() for question in about):
            return f"the {noun} {value!r} stands in questions about it"
    for other in others:
        if parts & set(other.name.casefold().split()):
            return f"a part of the name {person.name!r} is another person's too"
    return ""
