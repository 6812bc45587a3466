"""Fictitious people: a name and seven facts each (section 6.1, "Fictitious Profile Generation").

The paper had Gemini 2.5 write its profiles; here a seeded writer does, offline. Names come from
Faker (pinned exactly: its lists change with its version), the rest from the short lists below.

Metrics look a value up inside an answer, so values must not be found by accident: none contains
another, whoever it belongs to, and no two people of a set share a first or a last name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from faker import Faker

# The first is the answer to "who is this?", the other seven are what is asked about a person.
# Bank and annual income are the paper's "financial tags"; the home address is section 2's example.
ATTRIBUTES = (
    "name",
    "email",
    "date_of_birth",
    "job",
    "home_address",
    "medical_condition",
    "bank",
    "annual_income",
)

JOBS = """actuary, air traffic controller, animator, archivist, astronomer, beekeeper, biologist,
bookbinder, bus driver, carpenter, cartographer, chemist, cinema manager, civil engineer, cleaner,
court reporter, dancer, dentist, dietitian, diver, ecologist, economist, electrician, farmhand,
firefighter, florist, geologist, glassblower, goldsmith, graphic designer, hairdresser, historian,
hotel porter, illustrator, judge, journalist, landscape architect, librarian, locksmith, machinist,
mathematician, midwife, music teacher, optician, paramedic, pharmacist, photographer,
physiotherapist, piano tuner, plumber, primary school teacher, private detective, radio presenter,
roofer, software tester, statistician, surgeon, surveyor, tax adviser, tour guide, translator,
truck mechanic, veterinarian, violin maker, web developer, welder, zookeeper"""

CONDITIONS = """acid reflux, allergic rhinitis, anxiety disorder, arthritis, asthma, astigmatism,
bronchitis, cataracts, chronic fatigue, coeliac disease, colour blindness, diabetes, eczema,
endometriosis, epilepsy, fibromyalgia, gallstones, glaucoma, gout, haemophilia, hearing loss,
hernia, high cholesterol, hypertension, insomnia, iron deficiency, kidney stones,
lactose intolerance, lupus, migraine, multiple sclerosis, narcolepsy, osteoporosis, peanut allergy,
pernicious anaemia, psoriasis, restless legs, rosacea, scoliosis, sinusitis, sleep apnoea,
stomach ulcer, tinnitus, tuberculosis, varicose veins, vertigo, vitiligo"""

BANKS = """Aldmoor Bank, Arvelle Trust, Belcastre Bank, Brightwater Savings, Calder Mutual,
Corvane Bank, Dunmarsh Trust, Eastvale Savings, Elmhurst Mutual, Fenwick Bank, Garrow Trust,
Goldmere Savings, Halden Mutual, Harbourline Bank, Ivorygate Trust, Juniper Savings, Kelstone Bank,
Kingsbrook Mutual, Larkfield Trust, Lindenau Bank, Marlowe Savings, Merrivale Mutual,
Northgate Bank, Oakhaven Trust, Orrin Savings, Pelham Mutual, Quayside Bank, Ravenhill Trust,
Redcliff Savings, Rosendale Mutual, Saltmarsh Bank, Silverton Trust, Stonebridge Savings,
Tamarin Mutual, Thornbury Bank, Umberfield Trust, Velmont Savings, Westerby Mutual, Wexcombe Bank,
Yarrow Trust"""

STREETS = """Acorn, Alder, Ash, Beech, Birch, Cedar, Chestnut, Clover, Cypress, Elm, Fern, Fig,
Hawthorn, Hazel, Heather, Hickory, Laurel, Lilac, Linden, Maple, Mulberry, Oak, Olive, Orchard,
Pine, Poplar, Primrose, Spruce, Sycamore, Tulip, Walnut, Willow"""

STREET_KINDS = "Avenue, Court, Drive, Lane, Road, Square, Street, Terrace"

MAIL_FIRST = """amber, blue, bold, brisk, calm, clear, copper, cosy, dusty, early, fuzzy, gentle,
giant, happy, hidden, humble, jolly, keen, lazy, lucky, mellow, misty, noisy, polar, proud, quiet,
rapid, rusty, shiny, silent, sleepy, sunny, tidy, tiny, velvet, witty"""

MAIL_SECOND = """anchor, badger, basket, beacon, biscuit, bottle, button, cactus, candle, canoe,
carrot, comet, cricket, dolphin, engine, falcon, garden, guitar, hammer, island, kettle, ladder,
lantern, lizard, magnet, marble, meteor, mitten, otter, paddle, pebble, pencil, penguin, pepper,
planet, pocket, puffin, rabbit, ribbon, rocket, saddle, teapot, ticket, tunnel, turtle, walrus"""

MAIL_HOSTS = "example.com, example.org, example.net"  # reserved by RFC 2606: nobody's address

MONTHS = """January, February, March, April, May, June, July, August, September, October, November,
December"""


@dataclass(frozen=True)
class Profile:
    """One fictitious person; every field is a plain, non-empty string.

    `identity` ("p07") is the label that rows and runs use; it counts from p00 in the order of
    writing. The other fields are `ATTRIBUTES`: read one by name with `getattr(profile, "job")`.
    """

    identity: str
    name: str
    email: str
    date_of_birth: str
    job: str
    home_address: str
    medical_condition: str
    bank: str
    annual_income: str


DISTINCT = 40  # the people for whom the lists hold values enough that no two need to share one


def write(n: int, seed: int, taken: Iterable[Profile] = (), distinct: bool = True) -> list[Profile]:
    """`n` people, the same for the same `seed`; the first k of them do not depend on `n`.

    No first or last name occurs twice, nor any that somebody in `taken` bears. No value of one
    person contains, or equals, a value of another. `distinct=False` lets values other than names
    be equal (never contained): for more people than the lists have values, such as those that the
    tiny base model is trained on.

    Raises ValueError when `n` is not positive or the lists hold too few distinct values.
    """
    if n < 1:
        raise ValueError(f"people.write was asked for {n} people; ask for at least one")
    fake = Faker("en_US")
    fake.seed_instance(seed)
    parts = {part.casefold() for person in taken for part in person.name.split()}
    used: list[tuple[str, str]] = []  # (attribute, case-folded value) of all so far
    people = []
    for index in range(n):
        values = {}
        for attribute in ATTRIBUTES:
            equal_allowed = not distinct and attribute != "name"
            for _ in range(2_000):
                value = _WRITERS[attribute](fake)
                if attribute == "name" and not _fresh(value, parts):
                    continue
                if not _clashes(attribute, value.casefold(), used, equal_allowed):
                    break
            else:
                raise ValueError(
                    f"no further {attribute} for person {index + 1} of {n}: the lists in "
                    "remem/synthetic/people.py are used up; ask for fewer people or distinct=False"
                )
            values[attribute] = value
            used.append((attribute, value.casefold()))
        parts |= {part.casefold() for part in values["name"].split()}
        people.append(Profile(identity=f"p{index:02d}", **values))
    return people


def _fresh(name: str, parts: set[str]) -> bool:
    """Short, plain, no word of the other lists ("Baker", "April"), no part borne by another."""
    first, last = (part.casefold() for part in name.split())
    plain = all(part.isascii() and part.isalpha() and 3 <= len(part) <= 8 for part in (first, last))
    return plain and first != last and not {first, last} & (parts | _WORDS)


def _clashes(attribute: str, value: str, used: list[tuple[str, str]], equal_allowed: bool) -> bool:
    return any(
        (value in other or other in value)
        and not (equal_allowed and other_attribute == attribute and other == value)
        for other_attribute, other in used
    )


def _pool(text: str) -> tuple[str, ...]:
    return tuple(" ".join(item.split()) for item in text.split(","))


_JOBS, _CONDITIONS, _BANKS = _pool(JOBS), _pool(CONDITIONS), _pool(BANKS)

_STREETS, _KINDS, _MONTHS = _pool(STREETS), _pool(STREET_KINDS), _pool(MONTHS)

_MAIL = tuple(_pool(text) for text in (MAIL_FIRST, MAIL_SECOND, MAIL_HOSTS))

_WORDS = {
    word.casefold()
    for pool in (_JOBS, _CONDITIONS, _BANKS, _STREETS, _KINDS, _MONTHS, *_MAIL)
    for item in pool
    for word in item.split()
}


def _email(fake: Faker) -> str:
    first, second, host = (fake.random.choice(words) for words in _MAIL)
    return f"{first}{second}{fake.random.randint(10, 99)}@{host}"


def _date(fake: Faker) -> str:
    # Two-digit days only: "4 May 1987" would be found inside "14 May 1987".
    day, year = fake.random.randint(10, 28), fake.random.randint(1950, 2003)
    return f"{day} {fake.random.choice(_MONTHS)} {year}"


def _address(fake: Faker) -> str:
    number = fake.random.randint(100, 999)
    return f"{number} {fake.random.choice(_STREETS)} {fake.random.choice(_KINDS)}"


_WRITERS: dict[str, Callable[[Faker], str]] = {
    "name": lambda fake: f"{fake.first_name()} {fake.last_name()}",
    "email": _email,
    "date_of_birth": _date,
    "job": lambda fake: fake.random.choice(_JOBS),
    "home_address": _address,
    "medical_condition": lambda fake: fake.random.choice(_CONDITIONS),
    "bank": lambda fake: fake.random.choice(_BANKS),
    "annual_income": lambda fake: f"${fake.random.randint(210, 999) * 100:,}",
}


def public_figures(count: int = 20) -> list[Profile]:
    """The people of the Real Set (section 4), on whom the tiny base models are trained. The seed is
    none that a dataset can have: a dataset's people are strangers to the base models."""
    return write(count, seed=910_001)
