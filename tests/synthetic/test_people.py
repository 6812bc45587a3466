from itertools import combinations

import pytest

from remem.synthetic.people import ATTRIBUTES, write


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
        assert person.email.endswith(("@example.com", "@example.org", "@example.net"))
        assert not [part for part in person.name.lower().split() if part in person.email]
        assert person.annual_income[0] == "$" and person.annual_income[3] == ","


def test_a_name_is_no_word_of_another_value():
    people = write(160, seed=2, distinct=False)
    names = {part.casefold() for person in people for part in person.name.split()}
    words = {
        word.casefold()
        for person in people
        for value in values(person)[1:]
        for word in value.split()
    }
    assert not names & words


def test_many_people_share_values_but_neither_names_nor_parts_of_values():
    taken = write(20, seed=0)
    many = write(160, seed=1, taken=taken, distinct=False)
    names = [part for person in (*taken, *many) for part in person.name.split()]
    assert len(set(names)) == len(names) == 360
    assert len({person.job for person in many}) < 160
    jobs = sorted({person.job for person in many})
    assert not [(a, b) for a, b in combinations(jobs, 2) if a in b or b in a]


def test_too_many_distinct_people_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"no further bank for person 41 of 60.*distinct=False"):
        write(60, seed=0)
    with pytest.raises(ValueError, match="0 people"):
        write(0, seed=0)
