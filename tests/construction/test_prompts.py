"""What is asked for, and which profiles are refused."""

import dataclasses
import json
import random
import re

import pytest

from remem.construction import prompts
from remem.data import validation
from remem.synthetic import people, questions

# A service is asked for addresses that do not give the name away.
PEOPLE = [
    dataclasses.replace(person, email=f"amber.otter{number}7@example.com")
    for number, person in enumerate(people.write(8, seed=5))
]


def test_what_is_asked_for_names_every_field_and_people_differ():
    assert set(prompts.Written.model_fields) == {*people.ATTRIBUTES, "appearance"}
    texts = [prompts.profile(0, index) for index in range(40)]
    assert len(set(texts)) == 40
    women = ["A woman" in text for text in texts]
    assert sum(women[:12]) == 6 and women[0] != women[12], "each origin, and each sex of each"


def test_train_and_test_layouts_have_nothing_in_common_and_enough_of_them():
    train, test = prompts.LAYOUTS["train"], prompts.LAYOUTS["test"]
    assert all(set(train[aspect]).isdisjoint(test[aspect]) for aspect in train)
    for split, wanted in (("train", 100), ("test", 28)):
        many = [prompts.layout(0, "p00", split, turn) for turn in range(1000)]
        assert len({tuple(each.values()) for each in many}) == 1000
        assert not any(each["version"] for each in many[: 2 * wanted])
        assert many != [prompts.layout(0, "p01", split, turn) for turn in range(1000)]


@pytest.mark.parametrize(
    "field, value, reason",
    [
        ("name", "Madonna", "form"),
        ("name", "Jo Li", "form"),
        ("email", "someone@gmail.com", "form"),
        ("email", "{first}42@example.com", "part of the name"),
        ("date_of_birth", "4 May 1987", "form"),
        ("date_of_birth", "1987-05-14", "form"),
        ("date_of_birth", "14 May 2012", "form"),
        ("date_of_birth", "39 May 1987", "form"),
        ("annual_income", "83400", "form"),
        ("job", "nurse.", "form"),
        ("job", "", "form"),
        ("job", "two\nlines", "form"),
        ("job", "bell\x07ringer", "form"),
        ("job", "line\u2028keeper", "form"),
        ("job", "--", "form"),
        ("bank", "The Bank™", "form"),
        ("job", "job", "questions"),
        ("bank", "{last} Bank", "part of the name"),
        ("medical_condition", "{other_job} elbow", "another"),
        ("home_address", "{job} street", "another fact"),
        ("name", "{other_first} Brandnew", "another person's"),
    ],
)
def test_a_profile_that_would_spoil_a_metric_is_refused(field, value, reason):
    person, other = PEOPLE[:2]
    first, last = person.name.lower().split()
    value = value.format(
        first=first,
        last=last,
        job=person.job,
        other_job=other.job,
        other_first=other.name.split()[0],
    )
    assert reason in prompts.objection(dataclasses.replace(person, **{field: value}), [other])


def test_profiles_of_our_own_lists_pass():
    for index, person in enumerate(PEOPLE):
        assert not prompts.objection(person, PEOPLE[:index])


@pytest.mark.parametrize(
    "field, value",
    [
        ("medical_condition", "Crohn's disease"),
        ("medical_condition", "type 2 diabetes"),
        ("home_address", "417 Rua São Bento, Apt. 4"),
        ("home_address", "417 Ulica Żółta 12/3"),
        ("email", "quiet-otter_7@example.org"),
        ("bank", "Kestrel & Daughters-Trust"),
    ],
)
def test_what_real_facts_look_like_passes(field, value):
    person, other = PEOPLE[:2]
    assert not prompts.objection(dataclasses.replace(person, **{field: value}), [other])


def test_no_value_that_passes_spoils_a_row():
    """What is found only when the rows are read back has cost a hundred dollars by then."""
    letters = "aZ9é中 .,'\u2019&/-_$\"(™\x07\x85\u2028\u00a0"
    rng, passed = random.Random(0), 0
    for _ in range(10_000):
        value = "".join(rng.choices(letters, k=rng.randint(1, 6)))
        if re.fullmatch(prompts.WORDS, value):
            passed += 1
            person = dataclasses.replace(PEOPLE[0], job=value)
            for item in questions.build(person, 7, 0, "train", 0):
                if item.attribute == "job":
                    row = {
                        "file_name": "x.png",
                        "id": "x",
                        "identity": "p00",
                        "name": person.name,
                        "split": "train",
                        **dataclasses.asdict(item),
                    }
                    assert not validation.parse_row(json.dumps(row).encode(), "train")[1], value
    assert passed > 100
