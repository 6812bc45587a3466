"""The network that stays in memory from one run to the next: read once, lent to each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from remem.model import folder as folders
from remem.model import loading, memory
from remem.model.loading import Network


class _Resident(NamedTuple):
    key: tuple
    network: Network


_resident: list[_Resident] = []  # one at the most, and none while it is lent
_lent: list[_Resident] = []


@contextlib.contextmanager
def lend(where: str | Path, dtype: str = "float32") -> Iterator[Network]:
    """The network that `loading.load` gives, read once for all who ask for it in turn.

    Inside the block it may be given adapters, merged and trained: when the block ends all modules,
    weights, hooks and settings are those that it came with, so that every run starts from the very
    same. Numbers inside the base's own weights are nobody's to change. It is kept until another is
    asked for, or its files change, and freed before that is read. After an exception it is not
    kept. Who asks while it is lent gets one of his own. Raises CannotLoad.
    """
    key = (_files(folders.find(where)), str(dtype))
    if _resident and _resident[0].key == key:
        network = _resident.pop().network
    else:
        release()
        network = loading.load(where, dtype=dtype)
    before = _state(network.model)
    _lent.append(_Resident(key, network))
    try:
        yield network
    finally:
        _lent.pop()
        _put_back(network.model, before)
        if _resident:  # of one who asked meanwhile
            release()
        _resident.append(_Resident(key, network))
        memory.release()


@contextlib.contextmanager
def lent(where: str | Path, dtype: str) -> Iterator[Network]:
    """The network that is lent at the moment, with whatever adapters are beside it, for what does
    not depend on them; where it is not lent, as `lend`."""
    key = (_files(folders.find(where)), str(dtype))
    for each in _lent:
        if each.key == key:
            yield each.network
            return
    with lend(where, dtype) as network:
        yield network


def release() -> None:
    """Free the network that stays, if there is one."""
    _resident.clear()
    memory.release()


def _files(folder: Path) -> tuple:
    """A folder, and what changes when the network in it does."""
    files = sorted(file for kind in folders.KINDS for file in folder.glob(kind))
    stats = [(file.name, file.stat()) for file in files]
    each = tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
    return str(folder.resolve()), each


def _state(model: nn.Module) -> list[tuple[nn.Module, dict[str, Any]]]:
    """Every module with its attributes; of those that are collections, a copy."""
    return [
        (module, {name: _copied(value) for name, value in vars(module).items()})
        for module in model.modules()
    ]


def _copied(value: Any) -> Any:
    # Modules, parameters, buffers and hooks are all in dictionaries.
    return value.copy() if isinstance(value, dict | list | set) else value


def _put_back(model: nn.Module, before: list[tuple[nn.Module, dict[str, Any]]]) -> None:
    for module, attributes in before:
        vars(module).clear()
        vars(module).update(attributes)
    for weight in model.parameters():
        weight.requires_grad_(False).grad = None
