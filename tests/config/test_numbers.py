"""config.numbers: no parameter is a number without a least and a most."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from remem.config import BadParameter, load_config
from remem.config import numbers as numbers_of_config
from remem.config.sections import Config


def numbers(schema: Mapping[str, Any], kinds: Mapping[str, Any], key: str = "") -> Iterator:
    """(key, its schema) of each number in a JSON schema; `[]` stands for any name or place."""
    if "$ref" in schema:
        schema = kinds[schema["$ref"].rpartition("/")[2]]
    for either in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from numbers(either, kinds, key)
    if schema.get("type") in ("integer", "number"):
        yield key, schema
    for name, inner in schema.get("properties", {}).items():
        yield from numbers(inner, kinds, f"{key}.{name}".lstrip("."))
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, Mapping):
            yield from numbers(inner, kinds, f"{key}[]")


SCHEMA = Config.model_json_schema()
NUMBERS = list(numbers(SCHEMA, SCHEMA["$defs"]))


def test_every_number_has_a_least_and_a_most():
    assert len(NUMBERS) > 110
    unbounded = [
        key
        for key, schema in NUMBERS
        if not schema.keys() & {"minimum", "exclusiveMinimum"}
        or not schema.keys() & {"maximum", "exclusiveMaximum"}
    ]
    assert not unbounded


@pytest.mark.parametrize("value", [10**30, -(10**30), 10**400, 1e300, -1e300, 2**63])
def test_what_is_beyond_is_refused_wherever_it_is_given(value):
    """A number in YAML's file, too, has no bound of its own."""
    keys = {key for key, _ in NUMBERS if "[]" not in key}
    with pytest.raises(BadParameter) as refusal:
        load_config("smoke", dict.fromkeys(keys, value) | {"cluster.address": "auto"})
    told = str(refusal.value).splitlines()
    assert len(told) == len(keys) > 90 and max(map(len, told)) < 300
    for key in keys:
        assert any(f" {key}: " in line and "was given; it should be " in line for line in told), key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seeds", [1, 2**31]),
        ("experiments.scaling.samples", [10, 10**9]),
        ("experiments.sensitivity.betas", [0.1, -1.0]),
        ("experiments.ratios.first.draws", [1, 10**9]),
        ("stage2.hyperparameters.NPO.beta", 1e30),
        ("stage2.hyperparameters.NPO.beta", 10**30),
        ("base.networks.smoke.width", 10**6),
        ("construction.face_similarity.det_sizes", [32_000]),
    ],
)
def test_so_is_a_number_in_a_list_or_under_a_name(key, value):
    with pytest.raises(BadParameter, match=f"{key}.*should be"):
        load_config("smoke", {key: value})


def test_one_mistake_in_a_list_is_one_line():
    with pytest.raises(BadParameter) as refusal:
        load_config("tiny", {"experiments.sensitivity.betas": [0]})
    assert "\n" not in str(refusal.value)


def test_a_rate_of_the_command_line_has_the_same_bounds():
    assert numbers_of_config.rate("1e-4") == 1e-4
    for text in ("0", "-1", "nan", "inf", "11", "1e400", "x", ""):
        with pytest.raises(ValueError, match=""):
            numbers_of_config.rate(text)
