"""YAML as its version 1.2 reads it (the core schema), within bounds.

`010` is 10, `1:30` and `yes` are text, a day is text, and there are no merges (`<<`), whatever a
`%YAML` line says. An alias counts as often as it stands there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.resolver import BaseResolver

MAX_TEXT = 2**18  # characters: thirty times the longest file of ours

MAX_VALUES = 20_000  # each counted as often as an alias repeats it

ENDLESS = re.compile(r"[\[{](?:\s*[\[{]){99}")  # which the scanner takes seconds to give up on


class NotYaml(ValueError):
    """A text that is no YAML, or is not to be used; the message says why, and in which line."""


# Kind of a scalar -> how it is written (YAML 1.2.2, section 10.3.2), with which characters it may
# begin, and what it then is.
_SCALARS = {
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""], lambda text: None),
    "bool": ("true|True|TRUE|false|False|FALSE", [*"tTfF"], lambda text: text.lower() == "true"),
    "int": (
        "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
        [*"-+0123456789"],
        lambda text: int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)),
    ),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        [*"-+.0123456789"],
        lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
    ),
}

_TAG = "tag:yaml.org,2002:"


class _Core(BaseResolver):
    """What a scalar without quotes is."""

    def __init__(self, version: Any = None, loader: Any = None) -> None:
        super().__init__(loader)
        self._loader_version = version  # of a %YAML line, which changes nothing

    @property
    def processing_version(self) -> tuple[int, int]:
        return 1, 2


for _kind, (_pattern, _first, _) in _SCALARS.items():
    _Core.add_implicit_resolver_base(f"{_TAG}{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)


def read(text: str) -> Any:
    """What a YAML text holds: None, bool, int, float, str, lists of those, and dictionaries whose
    keys are text. Raises NotYaml."""
    node = _composed(text)
    return None if node is None else _Values().of(node)


def places(text: str) -> dict[str, tuple[int, int]]:
    """Dotted key -> (row, column) in a text that `read` takes, from 0."""
    return dict(_places(_composed(text), ""))


def _places(node: Any, above: str) -> Iterator[tuple[str, tuple[int, int]]]:
    for key, value in node.value if isinstance(node, MappingNode) else ():
        name = f"{above}.{key.value}" if above else key.value
        yield name, (key.start_mark.line, key.start_mark.column)
        yield from _places(value, name)


def _composed(text: str) -> Any:
    """The nodes of a text, with the kinds that its scalars have; None where there is nothing."""
    if len(text) > MAX_TEXT:
        raise NotYaml(f"has {len(text):,} characters, and more than {MAX_TEXT:,} are not read")
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _Core
    try:
        if ENDLESS.search(text):
            raise RecursionError
        return yaml.compose(text)
    except RecursionError:
        raise NotYaml("it is nested without end") from None
    except (YAMLError, ValueError) as error:
        raise NotYaml(f"not valid YAML: {error}") from error


class _Values:
    """The values of nodes, counted."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, node: Node, above: frozenset[int] = frozenset()) -> Any:
        """The value of a node that stands inside those of `above`."""
        self.count += 1
        if self.count > MAX_VALUES:
            raise NotYaml(f"has more than {MAX_VALUES:,} values, with what its aliases repeat")
        if id(node) in above:
            raise NotYaml(f"an anchor stands inside what it names{_line(node)}")
        tag, inside = str(node.tag), above | {id(node)}
        match node:
            case ScalarNode():
                return _scalar(node)
            case SequenceNode() if tag == f"{_TAG}seq":
                return [self.of(each, inside) for each in node.value]
            case MappingNode() if tag == f"{_TAG}map":
                return self._mapping(node, inside)
        raise _unknown(node)

    def _mapping(self, node: Node, inside: frozenset[int]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = self.of(key, inside)
            if not isinstance(name, str):
                raise NotYaml(f"the key {name!r:.60} should be plain text{_line(key)}")
            if name == "<<" and not key.style:
                raise NotYaml(f"YAML 1.2 has no merge (<<); write the keys out{_line(key)}")
            if name in found:
                raise NotYaml(f'not valid YAML: found duplicate key "{name:.60}"{_line(key)}')
            found[name] = self.of(value, inside)
        return found


def _scalar(node: Any) -> Any:
    kind = str(node.tag).removeprefix(_TAG)
    if kind == "str":
        return node.value
    if kind not in _SCALARS:
        raise _unknown(node)
    pattern, _, make = _SCALARS[kind]
    try:
        if re.fullmatch(pattern, node.value):
            return make(node.value)
    except ValueError:  # more digits than Python reads
        pass
    raise NotYaml(f"{node.value!r:.60} cannot be read as {kind}{_line(node)}")


def _unknown(node: Node) -> NotYaml:
    tag = str(node.tag).replace(_TAG, "!!")
    known = ", ".join(f"!!{kind}" for kind in (*_SCALARS, "str", "seq", "map"))
    return NotYaml(f"not valid YAML: the tag {tag:.60} is not read, but {known}{_line(node)}")


def _line(node: Node) -> str:
    return f" (line {node.start_mark.line + 1})"
