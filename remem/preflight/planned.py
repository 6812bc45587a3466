"""The runs that a notebook would make, read from the notebook itself.

What it hands to `collect` and `sweep` is planned: those expressions, and whatever statements above
them they need, are run as a module of their own. Nothing else of the notebook is, so that nothing
is trained, asked, drawn or written. There is no second list of a notebook's experiments.
"""

from __future__ import annotations

import ast
import builtins
import importlib.abc
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from remem.config.sections import Config
from remem.jobs import Jobs

SINKS = ("collect", "sweep")
STARTS = (*SINKS, "begin")  # calls that make, read or write something: none is made here
GIVEN = ("config", "scale", "overrides")  # not taken from the notebook
FOUND = "_planned_{}"  # the name of each of the expressions


class Planned(NamedTuple):
    """The jobs of a notebook, and of those that cannot be told before others are done, the line."""

    jobs: list[Jobs]
    untold: list[int]


class _Loader(importlib.abc.InspectLoader):
    """Runs some statements of a file, with its name and line numbers: a method that is defined
    among them is known by its source."""

    def __init__(self, tree: ast.Module, file: Path):
        self._code = compile(ast.fix_missing_locations(tree), str(file), "exec")

    def get_code(self, fullname: str) -> Any:
        """The code."""
        return self._code

    def get_source(self, fullname: str) -> None:
        """It is part of a file."""


def planned(notebook: Path, config: Config) -> Planned:
    """The jobs of a notebook with these parameters. Raises whatever its experiments raise."""
    statements = ast.parse(notebook.read_text(encoding="utf-8"), str(notebook)).body
    wanted: set[int] = set()
    asked: list[ast.stmt] = []
    untold = []
    for number, statement in enumerate(statements):
        for call in _sinks(statement):
            needed = _needed(statements[:number], call.args[0])
            if needed is None or any(_sinks(statements[n], STARTS) for n in needed):
                untold.append(call.lineno)
                continue
            wanted |= needed
            name = ast.Name(FOUND.format(len(asked)), ast.Store())
            asked.append(ast.copy_location(ast.Assign([name], call.args[0]), call))
    body = [statements[number] for number in sorted(wanted)] + asked
    module = types.ModuleType(f"planned.{notebook.stem}")
    vars(module).update(config=config, scale=config.scale, overrides={}, __file__=str(notebook))
    sys.modules[module.__name__] = module  # where a class that it defines is looked for
    _Loader(ast.Module(body, []), notebook).exec_module(module)
    return Planned([getattr(module, FOUND.format(n)) for n in range(len(asked))], untold)


def _sinks(node: ast.AST, names: Sequence[str] = SINKS) -> list[ast.Call]:
    """The calls of functions so named in a statement, that are given something."""
    found = []
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and each.args:
            name = each.func.attr if isinstance(each.func, ast.Attribute) else None
            name = each.func.id if isinstance(each.func, ast.Name) else name
            found += [each] if name in names else []
    return found


def _needed(above: Sequence[ast.stmt], wanted: ast.expr) -> set[int] | None:
    """Which of the statements `above` an expression needs, one through the other; None where it
    needs something of the statement that it stands in, such as the variable of a loop."""
    names, found = _read(wanted) - {*GIVEN}, set[int]()
    for number in range(len(above) - 1, -1, -1):
        if _bound(above[number]) & names:
            found.add(number)
            names |= _read(above[number]) - {*GIVEN}
    known = set[str]().union(*(_bound(above[number]) for number in found), GIVEN, dir(builtins))
    return found if _read(wanted) <= known else None


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value."""
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(each.asname or each.name).split(".")[0] for each in node.names}
    return found - {*GIVEN}


def _read(node: ast.AST) -> set[str]:
    """The names whose value it takes, but for those that comprehensions in it bring."""
    own = set()
    for each in ast.walk(node):
        if isinstance(each, ast.comprehension):
            own |= {name.id for name in ast.walk(each.target) if isinstance(name, ast.Name)}
    names = (each for each in ast.walk(node) if isinstance(each, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Load)} - own
