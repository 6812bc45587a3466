"""The command line: `remem COMMAND`, the same as `python -m remem COMMAND`."""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

# What a command needs is imported when it runs: `remem --help` should take no second.
from remem import paths
from remem.arguments import SCALE_HELP, add, add_folder, add_scale, add_set
from remem.bench import command as bench
from remem.config import SCALES, BadParameter, explain, load_config, loading, numbers
from remem.config.sections import BENCHMARKS
from remem.outside import command as outside
from remem.report import command as judged
from remem.site import commands as site


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (left out: those of the shell) ask for.

    Returns the exit status: 0 when it did its work, 1 when what it looked at or ran was not in
    order (an exception's `exit_status`), 2 when an argument or the machine did not let it begin or
    go on, 130 when it was interrupted, 141 when whoever reads left, as `| head -1` does. What was
    wrong is a line that begins with "error:".
    """
    streams = [each for each in (sys.stdout, sys.stderr) if each]
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):  # names in any script, whatever the locale
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _obey(arguments)
        finally:  # also where argparse leaves, by SystemExit
            for stream in streams:
                stream.flush()
    except OSError as error:
        if not paths.silenced(*streams):
            raise
        if isinstance(error, BrokenPipeError):
            return 141
        print(f"error: what is to be shown cannot be written: {error}", file=sys.stderr)
        return 2


def _obey(arguments: Sequence[str] | None) -> int:
    given = (parser := _parser()).parse_args(arguments)
    if "run" not in given:
        parser.print_help()
        return 0
    try:
        return given.run(given)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "remem":
            raise  # a fault of the program's: whoever reports it needs to see where
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_status", 2)


def _reproduce(given: argparse.Namespace) -> int:
    from remem.reproduce import reproduce

    overrides = loading.assignments(given.set)
    if given.out is not None:
        overrides["outputs"] = given.out
    return reproduce(given.params or given.scale, overrides, given.notebooks, given.dry_run)


def _reference(given: argparse.Namespace) -> int:
    from remem import reference

    print(reference.make(load_config(given.scale).folders))
    return 0


def _params(given: argparse.Namespace) -> int:
    file = given.params or paths.PARAMS / f"{given.scale}.yaml"
    load_config(given.params or given.scale)  # a key with a mistake is said, not listed
    listed = list(explain.listed(file))
    left, middle = (max(len(line[column]) for line in listed) for column in (0, 1))
    for key, value, comment in listed:
        print(f"{key:<{left}}  {value:<{min(middle, 24)}}  {comment}".rstrip())
    return 0


def _check(given: argparse.Namespace) -> int:
    from remem.data.doubts import check

    faults, doubts, summary = check(_folder(given.folder))
    for line in faults:
        print(line)
    if doubts:
        print("Doubts: these rows can be used, but look at them first.")
    for line in doubts:
        print(f"- {line}")
    print(f"{summary}: {f'{len(faults):,}' if faults else 'no'} fault{'s' * (len(faults) > 1)}")
    return int(bool(faults))


def _export(given: argparse.Namespace) -> int:
    from remem.data import publish

    if _check(given):
        return 1
    out = publish.export(given.folder, given.out, given.licence, given.name, given.made)
    upload = f"hf upload NAME {shlex.quote(str(out))} --repo-type dataset"
    print(f"{out} is ready. Read its README.md first; then: {upload}")
    return 0


def _fetch(given: argparse.Namespace) -> int:
    from remem.data.readers import files

    print(files.fetch(given.name, given.folder or paths.DATA / given.name))
    return 0


def _convert(given: argparse.Namespace) -> int:
    from remem import runs
    from remem.data.readers import convert

    if wrong := [each for each in given.columns if not re.fullmatch(r"\w+=.+", each)]:
        raise BadParameter(f"{wrong[0]!r} is no column; write OURS=THEIRS, such as image=photo")
    columns = dict(each.split("=", 1) for each in given.columns)
    out = convert.convert(given.name, _folder(given.folder), given.out, columns)
    source = runs.read_json(out / "source.json")
    said = "".join(f", {n} questions left out as {why}" for why, n in source["left_out"].items())
    for note in source["notes"]:
        print(f"note: {note}", file=sys.stderr)
    print(f"{out} is ready{said}; look at it with: remem dataset check {shlex.quote(str(out))}")
    return 0


def _construct(given: argparse.Namespace) -> int:
    from remem.construction import pipeline
    from remem.services import ledger

    assignments = [loading.with_section(each, "construction", "services") for each in given.set]
    config = load_config(given.params or given.scale, loading.assignments(assignments))
    settings, account = config.construction, config.account
    out = (given.out or config.folders.root / "construction").absolute()
    if out / "answers" not in account.older:  # where earlier versions kept them
        account = account._replace(older=(*account.older, out / "answers"))
    table, spent = pipeline.plan(settings), ledger.calls(account).dollars.sum()
    print(table.round(2).to_string(index=False))
    limit = "none is set" if account.budget is None else f"${account.budget:.2f}"
    print(
        f"Estimated by construction.prices: ${table.dollars.sum():.2f} where each first answer is "
        f"good, ${table.dollars_at_most.sum():.2f} where every attempt is used up. It stops at "
        f"services.budget ({limit}). Spent so far: ${spent:.2f}, for what is in {account.folder}."
    )
    if given.dry_run:
        print("Nothing was asked.")
        return 0
    folder = pipeline.construct(settings, out, account)
    draft, made = shlex.quote(str(out / "draft")), shlex.quote(f"benchmark={folder}")
    print(
        f"the dataset: {folder}\nto review it: remem review {draft}, then the same command again\n"
        f"to train on it and unlearn it: remem reproduce --scale {config.scale} --set {made}"
    )
    return 0


def _review(given: argparse.Namespace) -> int:
    from remem.construction import review

    for line in review.write_pages(_folder(given.folder)):
        print(line)
    return 0


def _tune(given: argparse.Namespace) -> int:
    from remem.experiments import tuning

    print(tuning.tune(load_config(given.scale), given.stage, given.rates).to_string(index=False))
    return 0


def _base(given: argparse.Namespace) -> int:
    from remem.experiments import bases

    print(bases.rebuild(load_config(given.scale)).to_string(index=False))
    if given.ship:
        for folder in bases.ship(load_config(given.scale)):
            print(f"now in the repository: {folder}")
    return 0


def _folder(folder: Path) -> Path:
    if not os.path.isdir(folder):  # also where no folder can be called so
        raise BadParameter(f"there is no folder {explain.shortened(str(folder))}")
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remem",
        description="Memorisation measured before unlearning: the companion of the ReMem paper.",
        epilog="remem COMMAND --help explains each argument of a command.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    command = add(
        commands,
        "reproduce",
        _reproduce,
        "run the notebooks: every table, figure and verdict, and the pages that show them",
        "remem reproduce 07 --set seeds=[1] --set stage2.methods='[NPO, GD]' --out npo",
    )
    add_scale(command)
    add_set(command, "stage1.epochs=3; a part that holds dots is quoted")
    command.add_argument(
        "--out",
        metavar="NAME",
        help="write to outputs/NAME, beside the reproduction and not over it; the runs are shared: "
        "--out my_people (default: the scale's name, or `outputs` in your YAML)",
    )
    what = "say how many runs, hours and gigabytes it takes, and make nothing"
    command.add_argument("--dry-run", action="store_true", help=what)
    command.add_argument(
        "notebooks",
        nargs="*",
        metavar="NOTEBOOK",
        help="which, in this order: 07, 07_stage2 or a path; default: all",
    )

    site.declare(commands)

    command = add(
        commands,
        "reference",
        _reference,
        "put a whole run in the place of the reference run that the repository keeps",
        "remem reference --scale tiny",
    )
    command.add_argument("--scale", choices=SCALES, default="tiny", help=SCALE_HELP)

    command = add(
        commands,
        "params",
        _params,
        "list every parameter: its dotted key, its value, and what it is",
        "remem params --scale paper",
    )
    add_scale(command)

    command = commands.add_parser("dataset", help="check a dataset folder, or export it")
    command.set_defaults(run=lambda _, command=command: command.print_help() or 0)
    dataset = command.add_subparsers(metavar="COMMAND", title="commands")
    command = add(
        dataset,
        "check",
        _check,
        "say all that is wrong with a dataset folder, row by row",
        "remem dataset check my_people",
    )
    add_folder(command)
    command = add(
        dataset,
        "export",
        _export,
        "write a copy of a dataset folder with a card, as the Hub reads it",
        "remem dataset export my_people to_publish --licence cc-by-4.0",
    )
    add_folder(command)
    command.add_argument("out", type=paths.written, metavar="OUT", help="a new folder: to_publish")
    licence = "an identifier of the Hub's list: cc-by-4.0; default: %(default)s"
    command.add_argument("--licence", default="unknown", help=licence)
    command.add_argument("--name", help="what the card calls it; default: the name of OUT")
    made = "how it was made, in a sentence or two: 'Photographs by the authors, 2025.'"
    command.add_argument("--made", metavar="TEXT", help=made)

    names = (*BENCHMARKS, "clear_real")  # CLEAR's public figures: a Real Set
    command = add(
        commands,
        "fetch",
        _fetch,
        "download what is read of another benchmark (the one command that does)",
        "remem fetch fiubench",
    )
    command.add_argument("name", choices=names, help="which benchmark: fiubench")
    command.add_argument(
        "folder",
        type=paths.written,
        nargs="?",
        metavar="FOLDER",
        help="where its files go; default: data/NAME, where `benchmark: NAME` looks for them",
    )

    command = add(
        commands,
        "convert",
        _convert,
        "write another benchmark's files as a dataset folder",
        "remem convert remem data/remem converted image=photo",
    )
    command.add_argument("name", choices=names, help="which benchmark: remem")
    command.add_argument(
        "folder", type=paths.written, metavar="FOLDER", help="where its files are: data/remem"
    )
    command.add_argument("out", type=paths.written, metavar="OUT", help="a new folder: converted")
    command.add_argument(
        "columns",
        nargs="*",
        metavar="OURS=THEIRS",
        help="how ReMem's files name our columns: image=photo question=q",
    )

    command = add(
        commands,
        "construct",
        _construct,
        "make a dataset of invented people with the services of section 6.1",
        "remem construct --dry-run --set people=5",
    )
    add_scale(command, default="paper")
    add_set(command, "people=5, a key of the section `construction`, or budget=20")
    command.add_argument(
        "--dry-run", action="store_true", help="show calls and prices, and ask nothing"
    )
    command.add_argument(
        "--out",
        type=paths.written,
        metavar="FOLDER",
        help="where answers, draft and dataset go; default: construction/ in the outputs",
    )

    command = add(
        commands,
        "review",
        _review,
        "write pages on which a person keeps or drops each picture",
        "remem review outputs/paper/construction/draft",
    )
    command.add_argument(
        "folder",
        type=paths.written,
        metavar="FOLDER",
        help="a construction's draft, or a dataset folder",
    )

    command = add(
        commands,
        "tune",
        _tune,
        "find the learning rate of a stage by its rule, kept in params/tuning*.csv",
        "remem tune 2 --rates 1e-4 2e-4",
    )
    command.add_argument("stage", type=int, choices=(1, 2), help="1, memorising; 2, unlearning")
    command.add_argument("--scale", choices=SCALES, default="tiny", help=SCALE_HELP)
    command.add_argument(
        "--rates", type=numbers.rate, nargs="+", metavar="RATE", help="the rates tried: 1e-4 2e-4"
    )

    command = add(
        commands,
        "base",
        _base,
        "train the tiny base models from nothing, and compare them with those of the repository",
        "remem base --scale tiny",
    )
    command.add_argument("--scale", choices=SCALES, default="tiny", help=SCALE_HELP)
    ship = "put them in the repository, in place of what is there"
    command.add_argument("--ship", action="store_true", help=ship)
    bench.add(commands)
    outside.add(commands)
    judged.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
