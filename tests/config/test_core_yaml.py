"""config.core_yaml: YAML 1.2 and nothing else, and no more of it than parameters need."""

import math
import time

import pytest

from remem.config import core_yaml
from remem.config.core_yaml import NotYaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("-010", -10),
        ("0o10", 8),
        ("0x1F", 31),
        ("+1", 1),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("2001-02-31", "2001-02-31"),
        ("yes", "yes"),
        ("off", "off"),
        ("n", "n"),
        ("True", True),
        ("tRue", "tRue"),
        ("5e-5", 5e-5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-.INF", -math.inf),
        ("~", None),
        ("NULL", None),
        ("", None),
        ("# nothing", None),
        ("=", "="),
        ('"010"', "010"),
        ("!!str 010", "010"),
        ("!!float 5", 5.0),
        ("!!int 0o10", 8),
        ("'<<': 1", {"<<": 1}),
        ("[a: 1, ~]", [{"a": 1}, None]),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_a_value_is_what_the_core_schema_says(text, value):
    for version in ("", "%YAML 1.1\n---\n", "%YAML 1.2\n---\n"):
        if version and text.startswith("\ufeff"):
            continue  # a byte order mark begins a text
        found = core_yaml.read(version + text)
        assert found == value and type(found) is type(value)
    assert math.isnan(core_yaml.read(".nan"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: !!bool 5", r"'5' cannot be read as bool \(line 2\)"),
        ("!!int x", "'x' cannot be read as int"),
        ("!!null x", "cannot be read as null"),
        ("9" * 5_000, "cannot be read as int"),
        ("!!timestamp 2020-01-01", "the tag !!timestamp is not read, but !!null"),
        ("!!binary xx", "the tag !!binary"),
        ("!!set {a}", "the tag !!set"),
        ("!!omap [a: 1]", "the tag !!omap"),
        ("!!seq {}", "the tag !!seq"),
        ("!!map 5", "the tag !!map"),
        ("!mine 5", "the tag !mine"),
        ("!!python/object/apply:os.getpid []", "the tag !!python/object"),
        ("%TAG ! tag:x,2000:\n---\n!foo 1", "the tag tag:x,2000:foo"),
        ("{a: 1, a: 2}", 'not valid YAML: found duplicate key "a"'),
        ("{a: 1, 'a': 2}", 'not valid YAML: found duplicate key "a"'),
        ("a: {b: 1}\nc:\n  <<: {b: 2}", r"no merge \(<<\); write the keys out \(line 3\)"),
        ("a: 1\n7: 2", r"the key 7 should be plain text \(line 2\)"),
        ("~: 2", "the key None should be plain text"),
        ("? [a]\n: 2", r"the key \['a'\] should be plain text"),
        ("&a [*a]", "an anchor stands inside what it names"),
        ("a: &a {b: {c: *a}}", "an anchor stands inside what it names"),
        ("*a", "not valid YAML: found undefined alias"),
        ("---\na\n---\nb", "not valid YAML: expected a single document"),
        ("a: b: c", "not valid YAML"),
        ("\0", "not valid YAML"),
        ("\ud800", "not valid YAML"),
        ("{a: " * 2_000, "nested without end"),
        ("- " * 20_000, "nested without end"),
    ],
)
def test_what_is_not_read_is_told(text, told):
    with pytest.raises(NotYaml, match=told) as refusal:
        core_yaml.read(text)
    assert len(str(refusal.value)) < 1_000


def bomb(levels: int, width: int) -> str:
    """A few hundred bytes that stand for width ** levels values."""
    lines = [f"a0: &a0 [{', '.join('x' * width)}]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (bomb(9, 9), "more than 20,000 values, with what its aliases repeat"),
        (bomb(40, 2), "more than 20,000 values"),
        ("- a\n" * 20_001, "more than 20,000 values"),
        ("#" * 2**18 + " ", "has 262,145 characters, and more than 262,144 are not read"),
        ("[" * 2_000, "nested without end"),
        ("[ {\n" * 50_000, "nested without end"),
    ],
)
def test_a_bomb_is_refused_in_little_time(text, told):
    began = time.process_time()
    with pytest.raises(NotYaml, match=told):
        core_yaml.read(text)
    assert time.process_time() - began < 10  # 20,001 lines take one or two


def test_aliases_within_the_bound_are_obeyed():
    found = core_yaml.read(bomb(4, 4))
    assert found["a3"][0] is not found["a3"][1]  # each its own: to change one changes no other
    assert len(found["a3"][3][3]) == 4


def test_the_place_of_each_key_is_known():
    text = "a:\n  b: 1\n  'c d': {e: 2, f: 3}\ng: [h: 1]"
    assert core_yaml.places(text) == {
        "a": (0, 0),
        "a.b": (1, 2),
        "a.c d": (2, 2),
        "a.c d.e": (2, 10),
        "a.c d.f": (2, 16),
        "g": (3, 0),
    }
    assert core_yaml.places("") == core_yaml.places("- a") == {}
