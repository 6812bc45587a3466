"""The command `remem bench`: its arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from remem import paths

SIZES = ("7b", "13b", "narrow")


def add(commands: Any) -> None:
    """Declare it among the commands of a parser."""
    what = "measure steps, answers and memory at LLaVA-1.5's true shape, with random weights"
    command = commands.add_parser(
        "bench",
        help=what,
        description=f"{what[0].upper()}{what[1:]}. Each number is printed and written when it is "
        "there, the most wanted first; then the hours of Table 2 that follow. Nothing is fetched.",
        epilog="example: remem bench --size 7b --minutes 8",
    )
    command.set_defaults(run=_bench)
    command.add_argument(
        "--size",
        choices=SIZES,
        required=True,
        help="7b and 13b want a GPU; narrow: the same at small widths, to try it on any machine",
    )
    command.add_argument(
        "--minutes",
        type=float,
        default=8.0,
        help="after which no further measure is begun; default: %(default)g",
    )
    command.add_argument(
        "--out",
        type=paths.written,
        metavar="FOLDER",
        help="where bench_SIZE.csv goes; default: outputs/bench",
    )


def _bench(given: argparse.Namespace) -> int:
    from remem.bench import session

    out: Path = given.out or paths.outputs("bench").root
    return session.bench(given.size, 60 * given.minutes, out)
