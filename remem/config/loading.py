"""Reading parameters: a scale's YAML with what was changed laid over it, validated whole.

Nothing is read but the YAML: no data, no network, and torch is not imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from remem import paths, runs
from remem.config import core_yaml, explain
from remem.config.core_yaml import NotYaml
from remem.config.explain import BadParameter
from remem.config.sections import SCALES, Config


def load_config(scale: str | Path = "tiny", overrides: Mapping[str, Any] | None = None) -> Config:
    """The parameters of a scale (its name, or the path of a YAML file of your own), with
    `overrides` laid over them: {"seeds": [1], "stage2": {"lr": 1e-4}}, or {"stage2.lr": 1e-4}.

    A mapping is merged into the file's mapping key by key; anything else replaces it.
    Raises BadParameter, which names file and key, and what is allowed.
    """
    file = _file(scale)
    try:
        given = _whole_names(nested(overrides or {}), Config)
        if "scale" in given and str(scale) in SCALES:
            raise BadParameter("scale: it is chosen by `scale`, not by an override")
        # as JSON: there a list may stand for a tuple, and everything else stays strict
        text = json.dumps(_merge(read_yaml(file), given))
    except RecursionError:
        raise BadParameter(f"{file}: overrides: something is nested without end") from None
    except BadParameter:
        raise
    except (TypeError, ValueError) as error:
        raise BadParameter(f"{file}: {error}; use plain text, numbers, lists and keys") from error
    try:
        return Config.model_validate_json(text)
    except ValidationError as error:
        raise BadParameter(explain.in_plain_words(error, file, given)) from None


def changes(config: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (value, the standard one), where `config` is not what params/<scale>.yaml
    says; None stands for a key that is not there."""
    ours, standard = (
        runs.flat(each.model_dump(mode="json")) for each in (config, load_config(config.scale))
    )
    keys = [*ours, *(key for key in standard if key not in ours)]
    return {
        key: (ours.get(key), standard.get(key))
        for key in keys
        if ours.get(key) != standard.get(key)
    }


def assignments(given: Sequence[str]) -> dict[str, Any]:
    """Overrides from a command line, each "key=value" with the value read as YAML.

    A key is dotted; a part that itself holds dots may stand in quotes, which a shell takes away:
    base.networks."my.net".hub=x. `load_config` knows a name without them too.
    """
    found: dict[str, Any] = {}
    for assignment in given:
        key, equals, value = _cut(assignment)
        if not equals or not key:
            raise BadParameter(f"--set {assignment}: should be KEY=VALUE, such as stage1.epochs=3")
        try:
            parsed = core_yaml.read(value) if value.strip() else ""
        except NotYaml as error:
            raise BadParameter(f"--set {assignment:.100}: the value: {error}") from error
        _put(found, steps(key), parsed, f"--set {assignment:.100}")
    return found


def with_section(assignment: str, *sections: str) -> str:
    """A "key=value" with its section, where it has none of `sections`: that of these which knows
    the key, or the first."""
    first = re.split(r"[.=]", assignment)[0]
    if first in sections:
        return assignment
    kinds = {section: Config.model_fields[section].annotation for section in sections}
    known = [name for name, kind in kinds.items() if first in getattr(kind, "model_fields", ())]
    return f"{(known or sections)[0]}.{assignment}"


def nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides with their dotted keys taken apart."""
    if not isinstance(overrides, Mapping):  # as a notebook's file may say
        shown = explain.shortened(repr(overrides))
        raise BadParameter(f"overrides: they should be keys with values, not {shown}")
    found: dict[str, Any] = {}
    for key, value in overrides.items():
        if not isinstance(key, str):
            raise BadParameter(f"overrides: the key {key!r} should be text")
        _put(found, steps(key), value, f"overrides: {key}")
    return found


def steps(key: str) -> list[str]:
    """The parts of a dotted key; those in quotes may hold dots themselves."""
    found = re.findall(r"""(?:^|\.)(?:"([^"]*)"|'([^']*)'|([^."']+))(?=\.|$)""", key)
    parts = [a or b or c for a, b, c in found]
    if not all(parts) or sum(map(len, parts)) + len(parts) - 1 != len(re.sub(r"[\"']", "", key)):
        raise BadParameter(f"{key}: not a dotted key such as stage1.epochs")
    return parts


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML file's mapping, read as YAML 1.2 (`core_yaml`). Raises BadParameter."""
    try:
        content = core_yaml.read(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadParameter(f"{file}: cannot be read ({error.strerror})") from error
    except NotYaml as error:
        raise BadParameter(f"{file}: {error}") from error
    except ValueError as error:
        raise BadParameter(f"{file}: not valid YAML: it is not in UTF-8 ({error})") from error
    if not isinstance(content, dict):
        raise BadParameter(f"{file}: should hold keys and values, such as 'scale: tiny'")
    return content


def _file(scale: str | Path) -> Path:
    if str(scale) in SCALES:
        return paths.PARAMS / f"{scale}.yaml"
    if str(scale).endswith((".yaml", ".yml")):
        return Path(paths.expanded(scale))
    known = ", ".join(SCALES)
    raise BadParameter(
        f"scale: {str(scale)!r}{explain.meant(str(scale), SCALES)} is not one of {known}, nor a "
        "YAML file"
    )


def _cut(assignment: str) -> tuple[str, str, str]:
    """At the first = outside quotes."""
    found = re.match(r"""((?:"[^"]*"|'[^']*'|[^="'])*)(=?)(.*)""", assignment, re.DOTALL)
    assert found
    return found[1], found[2], found[3]


def _put(found: dict[str, Any], parts: list[str], value: Any, what: str) -> None:
    place = found
    for part in parts[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise BadParameter(f"{what}: {part} was already set to a value")
    last = parts[-1]
    if isinstance(place.get(last), dict) != isinstance(value, Mapping) and last in place:
        raise BadParameter(f"{what}: {last} was already set otherwise")
    place[last] = _merge(place.get(last), value)


def _whole_names(given: Any, kind: Any) -> Any:
    """`given` with names that hold dots, such as llava-1.5-7b, in one: where `kind` has things by
    name, one ends before the first field of such a thing."""
    if not isinstance(given, Mapping):
        return given
    found = {}
    for key, value in given.items():
        info = kind.model_fields.get(key)
        inner = list(_models(info.annotation)) if info else []
        if inner and get_origin(info.annotation) is dict and isinstance(value, Mapping):
            fields = {field for each in inner for field in each.model_fields}
            named: dict[str, Any] = {}
            for name, content in _named(value, fields):
                named[name] = _merge(named.get(name), content)
            value = named
        elif inner:
            value = _whole_names(value, inner[0])
        found[key] = value
    return found


def _named(
    given: Mapping[str, Any], fields: set[str], above: str = ""
) -> Iterator[tuple[str, Any]]:
    for part, value in given.items():
        name = f"{above}{part}"
        inside = isinstance(value, Mapping) and value and not fields & {*value}
        if inside and all(isinstance(each, Mapping) for each in value.values()):
            yield from _named(value, fields, f"{name}.")
        else:
            yield name, value


def _models(annotation: Any) -> Iterator[Any]:
    """The schemas in an annotation, such as both kinds of a network's."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)


def _merge(below: Any, above: Any) -> Any:
    if not isinstance(above, Mapping):
        return above
    below = below if isinstance(below, Mapping) else {}
    return {**below, **{key: _merge(below.get(key), value) for key, value in above.items()}}
