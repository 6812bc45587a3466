"""The parameters in plain words: what is wrong with one, what each of them is."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from remem.config import core_yaml
from remem.config.networks import NETWORKS
from remem.config.sections import Config

# how pydantic says it, and how a person who edits YAML would
PLAIN_WORDS = {
    "Input should be": "it should be",
    "a valid integer": "a whole number",
    "a valid array": "a list",
    "a valid tuple": "a list",
    "an object": "keys with values",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid number": "a number",
}

# keys of earlier versions
MOVED = {f"{section}.budget": "services.budget" for section in ("judge", "construction")}

# a step of pydantic's into "int | str"
KIND = re.compile(r"(constrained-)?(float|int|bool|str|tuple\[.*\])$")


class BadParameter(ValueError):
    """A parameter that cannot be used; the message names file and key, and what is allowed."""


def in_plain_words(error: ValidationError, path: Path, given: Mapping[str, Any]) -> str:
    """One line for each fault: where the value came from, its key, and what is allowed."""
    reasons: dict[tuple[int | str, ...], list[str]] = {}
    problems = error.errors()
    above = {problem["loc"][:-1] for problem in problems}
    for problem in problems:
        if problem["type"] == "too_short" and problem["loc"] in above:
            continue  # pydantic counts those values of a list that are in order
        place = tuple(s for s in problem["loc"] if s not in NETWORKS and not KIND.match(str(s)))
        reasons.setdefault(place, []).append(_reason(problem))
    lines = []
    for place, (reason, *others) in reasons.items():  # others: where it may be of several kinds
        if any(other[: len(place)] == place != other for other in reasons):
            continue  # of a list that may be a text as well, the fault of its item says it all
        source = "given on top of the file" if _holds(given, place) else str(path)
        key = shortened(".".join(map(str, place))) or "the parameters"
        or_else = [f" or {other.partition('should be ')[2] or other}" for other in others]
        if not others and re.fullmatch(r"[\d.]+ was given; it should be text", reason):
            or_else = [", in quotes"]
        lines.append(f"{source}: {key}: {reason}{''.join(or_else)}")
    return "\n".join(lines)


def _reason(problem: Any) -> str:
    place, kind, value = problem["loc"], problem["type"], problem["input"]
    if kind == "extra_forbidden":
        if now := MOVED.get(".".join(map(str, place))):
            return f"unknown key; it is {now} now"
        allowed = sorted(_fields(place[:-1]))
        like = meant(str(place[-1])[:100], allowed)
        return f"unknown key{like}; allowed here: {', '.join(allowed)}"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return problem["msg"].removeprefix("Value error, ")
    reason = f"{shortened(json.dumps(value))} was given; {problem['msg']}"
    for words, plain in PLAIN_WORDS.items():
        reason = reason.replace(words, plain)
    return reason


def shortened(text: str) -> str:
    """What somebody gave, for a message: not without end."""
    return text if len(text) <= 100 else f"{text[:90]} ..."


def _fields(place: tuple[int | str, ...]) -> set[str]:
    """The keys that the model at `place` knows."""
    kind: Any = Config
    for step in place:
        if step in NETWORKS:
            kind = NETWORKS[step]
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            field = getattr(kind, "model_fields", {}).get(str(step))
            kind = field.annotation if field else None
        if get_origin(kind) in (Union, UnionType):  # such as "Tower | None"
            kind = get_args(kind)[0]
    return set(getattr(kind, "model_fields", ()))


def _holds(given: Any, place: tuple[int | str, ...]) -> bool:
    for step in place:
        if not isinstance(given, Mapping):
            return True  # a list, or a plain value where the file would have keys
        if step not in given:
            return False
        given = given[step]
    return bool(place or given)


def meant(word: str, known: Any) -> str:
    """ " (did you mean ...?)" where one of `known` is like `word`, else nothing."""
    folded = {str(each).casefold(): each for each in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""


def listed(file: Path) -> Iterator[tuple[str, str, str]]:
    """(dotted key, its value in `file` or its default, what it is) of every parameter.

    What it is: what the schema says, and the comment in the file, which may give a reason.
    """
    text = file.read_text(encoding="utf-8")
    content, lines = core_yaml.read(text), text.splitlines()
    comments = {key: _comment(lines, *place) for key, place in core_yaml.places(text).items()}
    yield from _listed(Config, content, "", comments)


def _listed(
    kind: Any, content: Any, above: str, comments: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    content = content if isinstance(content, Mapping) else {}
    for name, info in kind.model_fields.items():
        key = f"{above}.{name}" if above else name
        inner = _model(info.annotation)
        given = content.get(name)
        absent = given is None and (name in content or info.default is None)
        if inner is not None and not absent:
            yield from _listed(inner, given, key, comments)
        elif get_origin(info.annotation) is dict and isinstance(given, Mapping) and given:
            for each, value in given.items():
                kinds = _model(get_args(info.annotation)[1], value)
                if kinds is None:
                    yield f"{key}.{each}", _shown(value), info.description or ""
                else:
                    yield from _listed(kinds, value, f"{key}.{each}", comments)
        else:
            value = given if name in content else info.get_default(call_default_factory=True)
            said = (info.description or "", comments.get(key, ""))
            yield key, _shown(value), "; ".join(filter(None, said))


def _model(annotation: Any, value: Any = None) -> Any:
    """The schema inside an annotation such as "VisionTower | None", if there is one."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for each in get_args(annotation) if (kind := _model(each)) is not None]
        if isinstance(value, Mapping):
            kinds = [kind for kind in kinds if {*value} <= {*kind.model_fields}] or kinds
        return kinds[0] if kinds else None
    return (
        annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    )


def _comment(lines: Sequence[str], row: int, indent: int) -> str:
    """What the file says above a key, at its indent, and behind its value, on one line."""
    first = row
    while first and _comment_at(lines[first - 1], indent):
        first -= 1
    behind, last = re.search(r"(?<=\s)#", lines[row]), row
    said = lines[first:row]
    if behind and not lines[row][:indent].strip():  # {a: 1, b: 2}  # is about none of them alone
        said, last = [*said, lines[row][behind.start() :]], row + 1
        while last < len(lines) and _comment_at(lines[last], behind.start()):
            last += 1
    return " ".join(line.strip("# ") for line in [*said, *lines[row + 1 : last]])


def _comment_at(line: str, column: int) -> bool:
    return line[column : column + 1] == "#" and not line[:column].strip()


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, default=str)
