"""How the arguments of the command line are declared, the same for all commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from remem import paths
from remem.config import SCALES

SCALE_HELP = (
    "whose parameters: smoke, quick, tiny (a laptop), small, paper (GPUs); default: %(default)s"
)
SET_HELP = "change one parameter, its value read as YAML, as often as you like: --set {}"


def add(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], what: str, example: str
) -> argparse.ArgumentParser:
    """A command of `commands` that does `run`, with what it does in words, and an example."""
    command = commands.add_parser(
        name, help=what, description=f"{what[0].upper()}{what[1:]}.", epilog=f"example: {example}"
    )
    command.set_defaults(run=run)
    return command


def add_scale(command: argparse.ArgumentParser, default: str = "tiny") -> None:
    """Whose parameters: a scale's, or a file's."""
    which = command.add_mutually_exclusive_group()
    which.add_argument("--scale", choices=SCALES, default=default, help=SCALE_HELP)
    which.add_argument(
        "--params",
        type=paths.written,
        metavar="FILE",
        help="a YAML file of your own in place of a scale's: --params mine.yaml",
    )


def add_set(command: argparse.ArgumentParser, example: str) -> None:
    """Single parameters, such as those of `example`."""
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help=SET_HELP.format(example)
    )


def add_out(command: argparse.ArgumentParser) -> None:
    """Which outputs folder is read."""
    command.add_argument(
        "--out",
        metavar="NAME",
        help="of outputs/NAME, such as an experiment, or reference: --out my_people (default: the "
        "scale's name, or `outputs` in your YAML)",
    )


def add_folder(command: argparse.ArgumentParser) -> None:
    """A dataset folder."""
    command.add_argument(
        "folder",
        type=paths.written,
        metavar="FOLDER",
        help="with train/, test/ and a metadata.jsonl in each: my_people",
    )
