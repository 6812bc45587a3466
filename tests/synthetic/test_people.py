import random
from itertools import combinations

import pytest

from remem.synthetic import people
from remem.synthetic.people import (
    ATTRIBUTES,
    acquaintances,
    passer_by,
    public_figures,
    write,
)


def values(person):
    return [getattr(person, attribute) for attribute in ATTRIBUTES]


def test_the_same_seed_writes_the_same_people_and_another_others():
    assert write(5, seed=3) == write(5, seed=3)
    assert write(5, seed=3) != write(5, seed=4)


def test_the_first_people_do_not_depend_on_how_many_follow():
    assert write(20, seed=0)[:4] == write(4, seed=0)


@pytest.mark.parametrize("seed", range(6))
def test_no_value_holds_another_and_every_attribute_is_distinct(seed):
    people = write(20, seed=seed)
    assert [person.identity for person in people] == [f"p{i:02d}" for i in range(20)]
    for attribute in ATTRIBUTES:
        assert len({getattr(person, attribute) for person in people}) == 20
    everything = [value.casefold() for person in people for value in values(person)]
    assert not [(a, b) for a, b in combinations(everything, 2) if a in b or b in a]
    parts = [part for person in people for part in person.name.split()]
    assert len(set(parts)) == 40


def test_values_are_short_and_have_one_form():
    for person in write(20, seed=1):
        assert len(person.job.split()) <= 3 and "," not in person.job
        number, *street = person.home_address.split()
        assert number.isdigit() and len(street) == 2
        day, month, year = person.date_of_birth.split()
        assert 10 <= int(day) <= 28 and month.isalpha() and len(year) == 4
        assert person.email == person.name.replace(" ", ".") + "@example.com"
        assert person.annual_income[0] == "$" and person.annual_income[3] == ","


def test_no_value_anybody_could_have_lies_within_another():
    """Metrics look for a value in an answer: of any two they find the one that is there."""
    many = [*write(500, seed=2, distinct=False), *acquaintances(200, seed=1), *public_figures()]
    everything = sorted({value.casefold() for person in many for value in values(person)})
    text = "\n".join(everything)  # a value within another is found there more than once
    assert not [value for value in everything if text.count(value) > 1]


def test_no_first_or_last_name_lies_within_a_word_that_is_read():
    parts = [part.casefold() for part in (*people._FIRST, *people._LAST)]
    assert not [(a, b) for a in parts for b in parts if a != b and a in b]
    lists = (people._JOBS, people._CONDITIONS, people._BANKS, people._STREETS, people._MONTHS)
    words = {word.casefold() for pool in lists for value in pool for word in value.split()}
    assert not [(part, word) for part in parts for word in words if part in word]


def test_many_people_share_values_but_no_whole_name():
    many = write(500, seed=1, distinct=False)
    assert len({person.name for person in many}) == 500
    assert len({person.job for person in many}) < 500
    assert len({person.name.split()[0] for person in many}) < 500


def test_a_dataset_and_what_the_base_models_read_have_no_name_in_common():
    public, known = public_figures(), acquaintances(300, seed=3)
    rng = random.Random(0)
    met = {person.name for person in (*public, *known)}
    met |= {passer_by(rng).name for _ in range(2_000)}
    for seed in range(5):
        people_of_it = write(500, seed=seed, distinct=False)
        assert not met & {person.name for person in people_of_it}
        parts = {part for person in people_of_it for part in person.name.split()}
        assert not parts & {part for person in public for part in person.name.split()}


def test_too_many_distinct_people_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"no further bank for person 41 of 60.*distinct=False"):
        write(60, seed=0)
    with pytest.raises(ValueError, match="0 people"):
        write(0, seed=0)
