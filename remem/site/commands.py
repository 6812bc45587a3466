"""What the command line does with a finished run: pages of it, and a look beside the reference."""

from __future__ import annotations

import argparse
from typing import Any

from remem import paths, site
from remem.arguments import add, add_out, add_scale
from remem.config import BadParameter, load_config


def declare(commands: Any) -> None:
    """`remem site` and `remem check`, among other `commands`."""
    command = add(
        commands,
        "site",
        build,
        "build the pages that show what is in an outputs folder",
        "remem site --scale tiny --out my_people",
    )
    add_scale(command)
    add_out(command)
    command = add(
        commands,
        "check",
        check,
        "compare a run with the reference run: tables, cells, machines and conclusions (exit "
        "status 0: the conclusions are the same)",
        "remem check --scale tiny",
    )
    add_scale(command)
    add_out(command)


def build(given: argparse.Namespace) -> int:
    """Build the site; what is printed is its first page."""
    print(site.build(_folders(given)))
    return 0


def check(given: argparse.Namespace) -> int:
    """Say how a run differs from the reference run; 0 where no conclusion does, else 1."""
    from remem.site import agreement

    folders = _folders(given)
    reference = paths.Folders(paths.REFERENCE, folders.runs)
    if not reference.tables.is_dir():
        raise BadParameter(
            f"there is no reference run in {reference.root}; remem reference makes it"
        )
    found = agreement.compare(folders, reference)
    print(f"{folders.root} beside the reference run, {reference.root}")
    for line in agreement.sentences(found):
        print(line)
    return int(not found.same)


def _folders(given: argparse.Namespace) -> paths.Folders:
    overrides = {"outputs": given.out} if given.out else None
    folders = load_config(given.params or given.scale, overrides).folders
    if not folders.root.is_dir():
        raise BadParameter(f"there is no folder {folders.root}; remem reproduce makes it")
    return folders
