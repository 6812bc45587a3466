"""What is said of all that is shown: remem/site/captions.yaml, the one place for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from remem import paths
from remem.config import loading

FIRST, PAPER, OURS = GROUPS = ("first", "paper", "ours")


class Caption(NamedTuple):
    """What is said of one table or figure, or of both where they have one name.

    `title` completes its label ("Table 2: ..."), `notebook` makes it, `shows` says what bars, bands
    and hollow marks are, `measured` how the numbers came about, `runs` which functions of
    remem.experiments give the runs behind it. `group` is one of GROUPS.
    """

    title: str = ""
    notebook: str = ""
    shows: str = ""
    measured: str = ""
    runs: Sequence[str] = ()
    group: str = OURS


@cache
def captions() -> Mapping[str, Caption]:
    """All captions by the name of the table or figure, in the order in which they are shown."""
    return {
        name: Caption(**each, group=group)
        for group in GROUPS
        for name, each in _content()[group].items()
    }


def words() -> Mapping[str, str]:
    """The words that a reader meets, and what each means."""
    return _content()["words"]


@cache
def _content() -> dict[str, Any]:
    return loading.read_yaml(paths.SITE / "captions.yaml")
