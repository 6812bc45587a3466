"""What a method's source is to a run: a digest that changes with what its loss does."""

from __future__ import annotations

import ast
import contextlib
import copyreg
import dis
import functools
import hashlib
import importlib.util
import linecache
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from typing import Any

LIBRARIES = ("site-packages", "dist-packages", sysconfig.get_paths()["stdlib"])
BEHIND = {  # kinds of members, and where each has the function that a person wrote
    property: "fget",
    staticmethod: "__func__",
    classmethod: "__func__",
    types.MethodType: "__func__",
    functools.partial: "func",
    functools.partialmethod: "func",
    functools.cached_property: "func",
}
OF_LIBRARIES = (  # kinds of values that stand where they are defined, and are told by their names
    types.ModuleType,
    type,
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
IGNORED = ("_abc_impl",)  # of an abstract class, where Python keeps its cache


class BadMethod(ValueError):
    """A method that cannot be used; the message names it and says what to change."""


def source_digest(kind: type, root: type = object) -> str:
    """Twelve hex digits of the source of a class, normalised: its functions and plain values, those
    of the classes between it and `root`, and whatever functions, classes and values of the author's
    own files they use; of libraries, the names alone. Comments, docstrings, types of arguments and
    layout do not count, nor do the defaults of the fields of a dataclass, whose values a run names
    anyway. What a function reads from elsewhere (a file, the environment) is not seen.

    Raises BadMethod where the source cannot be read or is not what was loaded, or where it uses a
    value that cannot be told from others.
    """
    reader = _Reader(kind, root)
    reader.add_class(kind)
    return hashlib.sha256(repr(sorted(reader.seen)).encode()).hexdigest()[:12]


def is_plain(value: Any) -> bool:
    """Whether it is a number, a text, a boolean or None."""
    return value is None or isinstance(value, bool | int | float | str)


def _is_value(value: Any) -> bool:
    """Whether it is plain, or a tuple, list or dictionary of what is."""
    if isinstance(value, dict):
        return all(map(_is_value, [*value, *value.values()]))
    return is_plain(value) or (isinstance(value, tuple | list) and all(map(_is_value, value)))


class _Reader:
    """What the loss of `kind` is made of, gathered in `seen` as (name, text)."""

    def __init__(self, kind: type, root: type):
        self.kind, self.root = kind, root
        self.seen: set[tuple[str, str]] = set()
        self.visited: dict[int, Any] = {}

    def add_class(self, cls: type) -> None:
        """The functions and values of `cls`, and of what it is derived from."""
        if not self.is_new(cls):
            return
        fields = getattr(self.kind, "__dataclass_fields__", ())
        for ancestor in cls.__mro__:
            if ancestor in self.root.__mro__ or not self.is_own(ancestor):
                continue
            for name, value in vars(ancestor).items():
                is_field = name in fields and issubclass(self.kind, ancestor)
                if _function(value) or not (name.startswith("__") or name in IGNORED or is_field):
                    self.add(f"{ancestor.__name__}.{name}", value)

    def add(self, name: str, value: Any) -> None:
        """What stands for `value`, and what it uses in turn."""
        if isinstance(value, functools.partial):
            self.add(f"{name}()", [*value.args, value.keywords])
        if isinstance(value, types.MethodType | types.BuiltinMethodType):  # of whom it is a method
            self.add(f"{name}()", value.__self__)
        function = _function(value)
        if function and self.is_own(function):
            self.add_function(name, function)
        elif isinstance(value, type) and self.is_own(value):
            self.seen.add((name, value.__qualname__))
            self.add_class(value)
        elif _is_value(value) or isinstance(value, bytes | complex):
            self.seen.add((name, repr(value)))
        elif function or isinstance(value, OF_LIBRARIES):
            self.add_name(name, function or value)
        elif isinstance(value, dict | list | tuple | set | frozenset):
            self.add_items(name, value)
        else:
            self.add_object(name, value)

    def add_name(self, name: str, value: Any) -> None:
        """What is called where it is defined: of a library, or a module of the author's, of which
        `used` finds what counts."""
        if not (isinstance(value, types.ModuleType) and self.is_own(value)):
            module, inside = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
            self.seen.add((name, f"{module}.{inside or value.__name__}"))

    def add_items(self, name: str, value: Any) -> None:
        """The items of a container."""
        if self.is_new(value):
            named: Iterable[tuple[Any, Any]] = [
                ("", each) for each in value
            ]  # a set's, in no order
            if isinstance(value, dict):
                named = [*named, *((k if is_plain(k) else "", v) for k, v in value.items())]
            elif isinstance(value, list | tuple):
                named = enumerate(value)
            for key, item in named:
                self.add(f"{name}[{key!r}]", item)

    def add_object(self, name: str, value: Any) -> None:
        """Any other object, as what it would be pickled to."""
        if not self.is_new(value):
            return
        try:
            if hasattr(value, "dtype") and hasattr(value, "tolist"):  # a tensor or an array
                parts = f"{value.dtype} {tuple(value.shape)}", value.tolist()
            else:
                known = copyreg.dispatch_table.get(type(value))
                parts = known(value) if known else value.__reduce_ex__(4)
        except Exception as error:
            raise BadMethod(
                f"{self.kind.__name__} uses {name}, a {type(value).__name__}, which cannot stand "
                f"in the name of a run ({error}): make it inside the loss, or use a number instead"
            ) from error
        if isinstance(parts, tuple):  # of which some are iterators
            parts = [list(part) if isinstance(part, Iterator) else part for part in parts]
        self.add(f"{name}.", parts)

    def is_new(self, value: Any) -> bool:
        """Whether `value` is met for the first time. It is kept, so that no other has its id."""
        known = id(value) in self.visited
        self.visited[id(value)] = value
        return not known

    def add_function(self, name: str, function: types.FunctionType) -> None:
        """The text of a function, and what it uses."""
        generated = function.__code__.co_filename == "<string>" and function.__name__[:2] == "__"
        if generated or not self.is_new(function):  # generated by `dataclass`
            return
        try:
            self.seen.add((name, _text(function)))
        except (OSError, SyntaxError) as error:
            raise BadMethod(
                f"the source of {self.kind.__name__} ({name}) cannot be read: {error}. A changed "
                "loss would go unnoticed: define it in a file, or in a notebook's cell that has no "
                "magic such as %%time"
            ) from error
        for used, value in self.used(function):
            self.add(used, value)

    def used(self, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
        """What a function names: globals, values of the author's modules (also of those that it
        imports itself), values that enclose it, defaults."""
        code, around = function.__code__, function.__globals__
        names = sorted({name for each in _codes(code) for name in each.co_names})
        found = [(name, around[name]) for name in names if name in around]
        modules = [value for _, value in found] + _imported(code, around.get("__package__"))
        looked_into: set[int] = set()
        for module in modules:  # which grows: a package's module may hold another
            is_module = isinstance(module, types.ModuleType) and id(module) not in looked_into
            if is_module and self.is_own(module):
                looked_into.add(id(module))
                inside = [(name, vars(module)[name]) for name in names if name in vars(module)]
                modules += [value for _, value in inside]
                found += inside
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # not bound yet
                found.append((name, cell.cell_contents))
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        found += [(f"a default of {function.__name__}", default) for default in defaults]
        yield from found

    def is_own(self, value: Any) -> bool:
        """Whether a function, class or module is of the author's files, and not of a library or of
        the rest of this package."""
        is_module = isinstance(value, types.ModuleType)
        module = value.__name__ if is_module else value.__module__ or ""
        top = module.partition(".")[0]
        if top == "remem":
            return module == self.root.__module__
        if top in ("__main__", self.kind.__module__.partition(".")[0]):
            return True
        code = getattr(value, "__code__", None)
        file = code.co_filename if code else getattr(sys.modules.get(module), "__file__", None)
        return bool(file) and not _is_library(file)


def _function(value: Any) -> types.FunctionType | None:
    """The function that a person wrote behind a function, property, partial or cached function."""
    value = getattr(value, BEHIND[type(value)]) if type(value) in BEHIND else value
    while (
        callable(value)
        and not isinstance(value, type)
        and not (
            isinstance(value, types.FunctionType) and not _is_library(value.__code__.co_filename)
        )
        and hasattr(value, "__wrapped__")
    ):
        value = value.__wrapped__
    return value if isinstance(value, types.FunctionType) else None


def _is_library(file: str) -> bool:
    return any(part in file for part in LIBRARIES)


def _imported(code: types.CodeType, package: str | None) -> list[Any]:
    """The modules that a function imports when it runs, but for those of libraries."""
    found = []
    for each in _codes(code):
        steps = list(dis.get_instructions(each))
        for place, step in enumerate(steps):
            if step.opname == "IMPORT_NAME":
                name = "." * int(steps[place - 2].argval) + step.argval
                with contextlib.suppress(ImportError, ValueError):  # then the loss will say so
                    full = importlib.util.resolve_name(name, package)
                    top = full.partition(".")[0]
                    spec = None if top == "remem" else importlib.util.find_spec(top)
                    if spec and spec.has_location and not _is_library(spec.origin or ""):
                        found += [importlib.import_module(full), sys.modules[top]]
    return found


# ---------------------------------------------------------------- from a function to its text


def _text(function: types.FunctionType) -> str:
    """The function as it stands in its file, normalised. Raises OSError where there is none, or
    where it was edited after it was loaded: what is read would not be what runs."""
    code = function.__code__
    linecache.checkcache(code.co_filename)
    found = _parsed("".join(linecache.getlines(code.co_filename, function.__globals__)))
    same = found.get(_essence(code))
    if not same:
        raise OSError(
            f"{code.co_filename} was edited after it was loaded; restart the kernel"
            if found
            else f"there is no file {code.co_filename}"
        )
    return same[min(same, key=lambda line: abs(line - code.co_firstlineno))]


@functools.lru_cache(16)
def _parsed(text: str) -> dict[tuple, dict[int, str]]:
    """The functions of a file: essence -> first line -> text, normalised."""
    tree = ast.parse(text)
    texts: dict[int, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            texts[_line(node)] = texts.get(_line(node), "") + ast.unparse(node)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # as in a notebook's cells
    _, *codes = _codes(compile(text, "", "exec", flags, dont_inherit=True))
    found: dict[tuple, dict[int, str]] = {}
    for code in codes:
        if written := texts.get(code.co_firstlineno):
            found.setdefault(_essence(code), {})[code.co_firstlineno] = written
    return found


def _line(node: ast.FunctionDef | ast.Lambda) -> int:
    """As in its code: that of the first decorator, if there is one."""
    return min(each.lineno for each in (node, *getattr(node, "decorator_list", ())))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """`code`, and all code inside it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _codes(each)


def _essence(code: types.CodeType) -> tuple:
    """What runs, without lines, file and docstring (which is a function's first constant)."""
    constants = code.co_consts if code.co_name.startswith("<") else code.co_consts[1:]
    inner = tuple(_essence(c) if isinstance(c, types.CodeType) else repr(c) for c in constants)
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_qualname, code.co_code, names, inner
