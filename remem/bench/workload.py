"""What an experiment takes: its steps, rows and answers, counted, and the hours that follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from remem import paper, runs
from remem.evaluation.answers import AnswerRun
from remem.jobs import Jobs
from remem.preflight.counts import Counter
from remem.runs import Run
from remem.training.stage1 import Stage1Run
from remem.training.stage2 import Stage2Run

COLUMNS = ("part", "runs", "steps", "rows", "answers", "ranked", "pictures")


class Rates(NamedTuple):
    """Seconds: of a row in stage 1, of a row and epoch in stage 2 by the name of its part, of an
    answer where its draft is wrong and where it is right, of a row whose candidates are ranked, of
    a picture, and from one run to the next. None: not measured."""

    stage1: float | None
    stage2: Mapping[str, float]
    answer: float | None
    answer_drafted: float | None
    ranked: float | None
    picture: float | None
    between: float | None


def counted(jobs: Jobs) -> pd.DataFrame:
    """COLUMNS: of each part (the stages, of stage 2 each method; answers; features) how many runs
    there are, their optimiser steps, the rows that these read (each as often as it is read),
    questions answered, rows whose candidates are ranked, and pictures, each seen once by each
    network: as preflight.counts has it. Runs that are done count as well."""
    specs: dict[str, Run] = {}
    for job in jobs:
        for spec in (*job.spec.needs(), job.spec):
            specs.setdefault(runs.name(spec), spec)
    counter, lines = Counter(jobs.runs_root), []
    for spec in specs.values():
        work = counter.work(spec)
        if work.pictures:
            lines.append({"part": "features", "pictures": work.pictures})
        if isinstance(spec, Stage1Run | Stage2Run | AnswerRun):
            part = work.part.removeprefix("stage 2, ")
            line = {name: getattr(work, name) for name in ("steps", "rows", "answers", "ranked")}
            lines.append({"part": part, "runs": 1} | line)
    found = pd.DataFrame(lines, columns=list(COLUMNS)).fillna(0)
    return found.groupby("part", sort=False, as_index=False).sum().astype({"runs": int})


def hours(counts: pd.DataFrame, rates: Rates) -> pd.DataFrame:
    """part, hours, and hours_drafted, where every draft of an answer is what the network says; the
    last line is the sum. NaN where a rate was not measured."""
    none = float("nan")
    lines = []
    for line in counts.to_dict("records"):
        part, between = line["part"], line["runs"] * (rates.between or 0)
        if part == "answers":
            ranked = _times(line["ranked"], rates.ranked) + between
            each = (rates.answer, rates.answer_drafted)
            least, most = (_times(line["answers"], rate) + ranked for rate in reversed(each))
        elif part == "features":
            least = most = _times(line["pictures"], rates.picture) + between
        else:
            rate = rates.stage1 if part in STAGES else rates.stage2.get(part)
            least = most = _times(line["rows"], rate) + between
        lines.append({"part": part, "hours": most / 3600, "hours_drafted": least / 3600})
    table = pd.DataFrame(lines, columns=["part", "hours", "hours_drafted"])
    whole: dict[str, Any] = {"part": "together"}
    for column in ("hours", "hours_drafted"):
        whole[column] = table[column].sum(skipna=False) if len(table) else none
    return pd.concat([table, pd.DataFrame([whole])], ignore_index=True)


STAGES = ("stage 1", paper.RETRAINED)  # parts that are trained as stage 1 is


def _times(count: float, rate: float | None) -> float:
    return float("nan") if rate is None and count else count * (rate or 0.0)
