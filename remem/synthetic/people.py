"""Fictitious people: a name and seven facts each (section 6.1, "Fictitious Profile Generation").

The paper had Gemini 2.5 write its profiles; here a seeded writer does, offline, from the lists
below.

Names are put together from common first and last names, each of which a tiny base model reads
often, in names of people that it never meets again, so that it knows each as one token and can
copy it, as LLaVA can. So every name is as long as any other. Which combinations a dataset may
use, and which the base models may read, is fixed beforehand (`_half`): a dataset's people are
strangers to every base model.

An e-mail address is made from the name: it can be guessed by who never learnt it, as a seventh of
the answers to the paper's questions can (untrained LLaVA scores 11 to 13 % in Table 3).

Metrics look a value up inside an answer, so values must not be found by accident: no two values
are so made that one lies within the other, and where people are few no two of them share one.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

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

# Four to seven letters; none lies within another, nor within a word of the lists below.
FIRST_NAMES = """Aaron, Adam, Alan, Alexis, Alicia, Alyssa, Amanda, Andrea, Andrew, Angela, Anna,
Antonio, Barbara, Beth, Brandon, Brenda, Brett, Brian, Brooke, Carlos, Carol, Carrie, Chad,
Chelsea, Cheryl, Cindy, Cody, Corey, Crystal, Cynthia, Dana, Dawn, Deborah, Debra, Denise, Derek,
Diana, Diane, Donald, Donna, Dustin, Dylan, Edward, Emily, Eric, Gary, Gina, Heidi, Holly, Jacob,
Jamie, Janet, Jared, Jasmine, Jason, Jeffery, Jeffrey, Jeremy, Jerry, Jesse, Jessica, Jill, Joel,
John, Jose, Joshua, Juan, Julia, Julie, Justin, Karen, Kathryn, Kathy, Katie, Kayla, Kelsey,
Kenneth, Kevin, Kristen, Kristin, Kyle, Larry, Laura, Lauren, Laurie, Leslie, Linda, Lisa, Luis,
Marcus, Maria, Mark, Matthew, Megan, Melanie, Melissa, Michele, Monica, Nancy, Natalie, Nathan,
Nicole, Pamela, Paula, Peter, Philip, Phillip, Rachel, Randy, Rebecca, Renee, Rhonda, Robert,
Robin, Ronald, Samuel, Sandra, Sarah, Sean, Shane, Sharon, Shawn, Sheila, Sherry, Stacey, Stacy,
Stephen, Steven, Susan, Tammy, Teresa, Theresa, Tiffany, Timothy, Tina, Tony, Tracy, Troy,
Valerie, Vanessa, Victor, Wendy, William, Zachary"""

LAST_NAMES = """Aguilar, Alvarez, Arnold, Baker, Barnes, Bell, Bennett, Bishop, Boyd, Brooks,
Bryant, Burke, Burns, Butler, Carlson, Carroll, Carter, Castro, Chapman, Chavez, Clark, Coleman,
Collins, Cook, Cooper, Cruz, Daniels, Davis, Diaz, Dixon, Duncan, Dunn, Elliott, Ellis, Evans,
Fisher, Flores, Ford, Foster, Freeman, Garcia, Gardner, Garza, Gibson, Gomez, Graham, Gray,
Greene, Griffin, Guzman, Hall, Hansen, Harper, Harris, Hart, Harvey, Hawkins, Hayes, Herrera,
Hicks, Hoffman, Holmes, Howell, Hudson, Hughes, Hunt, Jenkins, Jensen, Jimenez, Jones, Kelley,
Kennedy, Knight, Larson, Lawson, Lewis, Lopez, Lynch, Medina, Mendez, Mendoza, Meyer, Miller,
Mills, Moore, Morales, Moreno, Morris, Munoz, Murphy, Murray, Myers, Nelson, Nguyen, Nichols,
Obrien, Oliver, Olson, Ortiz, Owens, Palmer, Patel, Payne, Perez, Perkins, Pierce, Powell, Price,
Ramirez, Ramos, Reed, Reyes, Rivera, Rogers, Romero, Ruiz, Salazar, Sanchez, Sanders, Schmidt,
Silva, Simmons, Simpson, Snyder, Stewart, Torres, Tucker, Turner, Vargas, Vasquez, Wagner, Walker,
Wallace, Watkins, Watson, Weaver, Webb, Wells, Wheeler, Willis, Wilson, Wood, Wright, Young"""

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
PUBLIC = 20  # the public figures whose first and last names nobody else bears


def write(n: int, seed: int, distinct: bool = True) -> list[Profile]:
    """`n` people, the same for the same `seed`; the first k of them do not depend on `n`.

    No two have the same name, and no one a first or last name of a public figure. With `distinct`
    no two share any value, nor a first or a last name; without it they may, but for the whole
    name: for more people than the lists have values (`DISTINCT`).

    Raises ValueError when `n` is not positive or the lists hold too few values.
    """
    return _write(n, seed, distinct, of_a_dataset=True)


def public_figures(count: int = PUBLIC) -> list[Profile]:
    """The people of the Real Set (section 4), on whom the tiny base models are trained."""
    return _write(count, 910_001, distinct=True, of_a_dataset=False)


def acquaintances(n: int, seed: int) -> list[Profile]:
    """`n` people whom the tiny base models may read about: never one of a dataset, nor a public
    figure, though a first or a last name may be borne by either."""
    return _write(n, seed, distinct=False, of_a_dataset=False, taken=public_figures())


def passer_by(rng: random.Random) -> Profile:
    """One more of whom the base models may read, never to be met again: a name and facts drawn
    by `rng` alone."""
    name = _name(rng)
    while _half(name) or name in _public_names():
        name = _name(rng)
    return Profile(identity="", **_facts(name, rng))


def _write(
    n: int, seed: int, distinct: bool, of_a_dataset: bool, taken: Iterable[Profile] = ()
) -> list[Profile]:
    if n < 1:
        raise ValueError(f"{n} people were asked for; ask for at least one")
    rng = random.Random(seed)
    names = {person.name for person in taken}
    reserved = {part for name in _public_names() for part in name.split()} if of_a_dataset else ()
    used: set[str] = set(reserved)
    people: list[Profile] = []
    for index in range(n):
        for _ in range(5_000):
            name = _name(rng)
            if name not in names and _half(name) == of_a_dataset and not used & set(name.split()):
                break
        else:
            raise ValueError(_used_up("name", index, n))
        names.add(name)
        values = _facts(name, rng)
        if distinct:
            used |= set(name.split())
            for attribute, value in values.items():
                for _ in range(2_000):
                    if value not in used:
                        break
                    value = _WRITERS[attribute](rng)
                else:
                    raise ValueError(_used_up(attribute, index, n))
                values[attribute] = value
                used.add(value)
        people.append(Profile(identity=f"p{index:02d}", **values))
    return people


def _facts(name: str, rng: random.Random) -> dict[str, str]:
    """Of who bears `name` a value for each of ATTRIBUTES."""
    drawn = {attribute: writer(rng) for attribute, writer in _WRITERS.items()}
    return {"name": name, "email": email(name), **drawn}


def _used_up(attribute: str, index: int, n: int) -> str:
    return (
        f"no further {attribute} for person {index + 1} of {n}: the lists in "
        "remem/synthetic/people.py are used up; ask for fewer people or distinct=False"
    )


def email(name: str) -> str:
    """The e-mail address of who bears `name`, at a host of nobody (RFC 2606)."""
    return f"{name.replace(' ', '.')}@example.com"


def _half(name: str) -> bool:
    """Whether this combination is one that a dataset may use; the base models read the others."""
    return zlib.crc32(name.encode()) % 2 == 0


@cache
def _public_names() -> frozenset[str]:
    return frozenset(person.name for person in public_figures())


def _pool(text: str) -> tuple[str, ...]:
    return tuple(" ".join(item.split()) for item in text.split(","))


_FIRST, _LAST = _pool(FIRST_NAMES), _pool(LAST_NAMES)

_JOBS, _CONDITIONS, _BANKS = _pool(JOBS), _pool(CONDITIONS), _pool(BANKS)

_STREETS, _KINDS, _MONTHS = _pool(STREETS), _pool(STREET_KINDS), _pool(MONTHS)


def _name(rng: random.Random) -> str:
    return f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"


def _date(rng: random.Random) -> str:
    # Two-digit days only: "4 May 1987" would be found inside "14 May 1987".
    return f"{rng.randint(10, 28)} {rng.choice(_MONTHS)} {rng.randint(1950, 2003)}"


def _address(rng: random.Random) -> str:
    return f"{rng.randint(100, 999)} {rng.choice(_STREETS)} {rng.choice(_KINDS)}"


_WRITERS: dict[str, Callable[[random.Random], str]] = {
    "date_of_birth": _date,
    "job": lambda rng: rng.choice(_JOBS),
    "home_address": _address,
    "medical_condition": lambda rng: rng.choice(_CONDITIONS),
    "bank": lambda rng: rng.choice(_BANKS),
    "annual_income": lambda rng: f"${rng.randint(210, 999) * 100:,}",
}
