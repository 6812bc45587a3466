"""The command `remem judge`: its arguments, and what it prints."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from remem import paths
from remem.arguments import add_scale, add_set
from remem.config import BadParameter, load_config, loading

CUT = 90  # characters of a text, in what is printed


def add(commands: Any) -> None:
    """Declare it among the commands of a parser."""
    what = "set the judges against answers that a reader graded by hand"
    command = commands.add_parser(
        "judge",
        help=what,
        description=f"{what[0].upper()}{what[1:]}: how often they agree, how far apart they are, "
        "and where. The rule and exact match are asked; Gemini too, where judge.model names one "
        "and a key or its scores are there.",
        epilog="example: remem judge --set model=gemini-3.5-flash",
    )
    command.set_defaults(run=_judge)
    add_scale(command)
    add_set(command, "model=gemini-3.5-flash, a key of the section `judge`, or budget=5")
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "file",
        nargs="?",
        type=paths.written,
        metavar="FILE",
        help="a CSV file of answers that you graded; default: the 200 of this project",
    )
    which.add_argument(
        "--draw",
        type=paths.written,
        metavar="FILE",
        help="write 200 answers of your finished runs of Table 2 to this CSV file, to be graded",
    )
    command.add_argument(
        "--out", type=paths.written, metavar="FOLDER", help="write the tables there, as CSV files"
    )


def _judge(given: argparse.Namespace) -> int:
    from remem.evaluation import graded
    from remem.report import calibration

    assignments = [loading.with_section(each, "judge", "services") for each in given.set]
    config = load_config(given.params or given.scale, loading.assignments(assignments))
    if given.draw is not None:
        return _draw(config, given.draw)
    rows = graded.read(given.file or graded.OURS)
    scored = calibration.judged(rows, config.judge, config.account)
    tables = {
        "judge_calibration": calibration.table(scored),
        "judge_confusion": calibration.confusion(scored),
        "judge_disagreements": calibration.disagreements(scored),
    }
    measured = tables["judge_calibration"]
    shown = [name for name in measured if not name.endswith(("_lo", "_hi"))]
    print(measured[shown].round(2).to_string(index=False))
    print(calibration.in_words(measured).replace("**", "").replace("points. ", "points.\n"))
    apart = tables["judge_disagreements"]
    print(f"\nWhere they disagree with the reader ({len(apart)}):")
    for line in apart.to_dict("records"):
        said = f"{line['target']!r:.{CUT}}: {line['answer_given']!r:.{CUT}}"
        print(f"  {line['judged_by']} {line['score']:.2f}, reader {line['grade']:.2f}  {said}")
    for name, table in tables.items() if given.out else ():
        paths.write(given.out / f"{name}.csv", table.to_csv(index=False))
    return 0


def _draw(config: Any, file: Path) -> int:
    from remem import runs
    from remem.evaluation import graded, judge
    from remem.experiments import unlearning
    from remem.jobs import collect

    if file.exists():
        raise BadParameter(f"{file} is there already; draw into a file of another name")
    jobs = unlearning(config, methods=config.stage2.methods)
    done = tuple(job for job in jobs if runs.is_done(job.spec, jobs.runs_root))
    if not done:
        raise BadParameter(
            f"{jobs.runs_root} has no answers of Table 2's models yet; "
            f"make them with: remem reproduce 07 --scale {config.scale}"
        )
    drawn = graded.draw(collect(dataclasses.replace(jobs, jobs=done)))
    paths.write(file, drawn.to_csv(index=False))
    print(
        f"{file} holds {len(drawn)} answers of {len(done)} of {len(jobs)} models. Fill in the "
        f"column grade by this scale, before you see any judge's scores:\n\n{judge.SCALE}"
    )
    return 0
