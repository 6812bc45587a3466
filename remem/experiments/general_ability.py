"""General ability as jobs: Table 4 (§7.3)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from remem import paper
from remem.config.sections import Config
from remem.evaluation import mmbench
from remem.evaluation.mmbench import AbilityRun
from remem.experiments import setup, stage2
from remem.jobs import Job, Jobs
from remem.training.methods import Method

SCORES = ("identity", "category", "plain", "generated", "circular")  # of mmbench.scored
SCORES += ("model", "method", "seed", "questions")


def ability(
    config: Config,
    methods: Sequence[Method | str] | None = None,
    only: Sequence[str] | None = None,
) -> Jobs:
    """Table 4: what the models of Table 2's first seed choose, labelled model, method, seed;
    without the check of KL's other positions, or `only` the rows named. No jobs where the
    parameters name no questions. Raises BadData where their file is not there."""
    section, seed = config.experiments.ability, config.seeds[0]
    questions = mmbench.questions_of(section)
    if questions is None:
        return setup.jobs(config, ())
    rows = (paper.BASE, paper.BEFORE, paper.RETRAINED, *paper.METHODS)
    shown = {*rows, *setup.methods(config, methods)} if only is None else {*only}
    return setup.jobs(
        config,
        (
            Job(
                AbilityRun(
                    of=of,
                    questions=questions,
                    instruction=section.instruction,
                    generated=section.generated,
                    max_new_tokens=section.max_new_tokens,
                    batch=section.batch,
                ),
                {"model": model, "method": label, "seed": seed},
            )
            for model in config.models
            for label, of in stage2.compared(config, model, seed, methods).items()
            if label in shown
        ),
    )


def ability_scores(chosen: pd.DataFrame) -> pd.DataFrame:
    """The rows of Table 4 from what the models chose (`collect` of `ability`): model, method, seed
    and one row per question (mmbench.scored), with the method "chance" for each model, and what
    the questions are called. No rows where nobody was asked."""
    if chosen.empty:
        return pd.DataFrame(columns=[*SCORES])
    labels = ["model", "method", "seed"]
    parts = []
    for key, rows in chosen.groupby(labels, sort=False):
        parts.append(mmbench.scored(rows).assign(**dict(zip(labels, key, strict=True))))
    for (model, seed), rows in chosen.groupby(["model", "seed"], sort=False):
        first = rows[rows["method"] == rows["method"].iloc[0]]
        guess = mmbench.chance(first)
        parts.append(guess.assign(model=model, method=paper.CHANCE, seed=seed))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(questions=chosen["questions"].iloc[0])
