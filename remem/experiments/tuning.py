"""The one learning rate of stage 2, chosen by a rule that looks at no claim.

The paper gives all five methods the same rate. Its 2e-5 means nothing to a network of another
size, so the rate is taken at which GA, on the first model and on the tuning seed 0, leaves a
single-hop forget EM nearest to the paper's. Every rate tried is kept in `params/tuning.csv`; the
one chosen is written into the scale's YAML by hand, where a reader looks for it. Reported seeds
start at 1.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pandas as pd

from remem import jobs, paper, paths, runs
from remem.config.sections import Config
from remem.data import splits
from remem.evaluation.answers import EvalRows
from remem.experiments import setup
from remem.jobs import Job
from remem.training.methods import method
from remem.training.stage2 import Stage2Run

SEED = 0
RATES = (6e-5, 1e-4, 1.5e-4, 2e-4, 2.3e-4, 2.6e-4, 3e-4)


def target() -> float:
    """GA's single-hop forget EM at 7B in Table 2, percent."""
    return float(paper.paper_table("table2").EM_f["llava-1.5-7b/GA/single"])


def search(config: Config, rates: Sequence[float] = RATES) -> pd.DataFrame:
    """scale, model, start (stage 1's digest), seed, lr, EM_f single, EM_f multi, EM_r, chosen:
    one line per rate, percent."""
    model = config.models[0]
    start = setup.stage1_run(config, model, SEED)
    forget = splits.forget_set(setup.dataset(config).rows, config.stage2.forget_ratio, SEED)
    found = []
    for rate in rates:
        run = Stage2Run(
            start=start,
            method=method("GA"),
            forget=forget,
            optimiser=config.stage2.optimiser.model_copy(update={"lr": rate}),
            checkpoints=True,
            seed=SEED,
        )
        select = functools.partial(splits.evaluated, forget=forget)
        answers = setup.answers(config, run, EvalRows(forget=forget))
        found.append(Job(answers, {"lr": rate}, select))
    rows = jobs.collect(setup.jobs(config, found), "GA")
    em = 100 * rows.groupby(["lr", "view", "hop"]).em.mean()
    retained = 100 * rows[rows["view"] == "retain_eval"].groupby("lr").em.mean()
    table = pd.DataFrame(
        {
            "scale": config.scale,
            "model": model,
            "start": runs.digest(start),
            "seed": SEED,
            "lr": rate,
            "EM_f single": em[rate, "forget", "single"],
            "EM_f multi": em[rate, "forget", "multi"],
            "EM_r": retained[rate],
        }
        for rate in rates
    )
    table["chosen"] = table.index == (table["EM_f single"] - target()).abs().idxmin()
    return table


def tune(config: Config, rates: Sequence[float] = RATES) -> pd.DataFrame:
    """`search`, kept in params/tuning.csv beside what was tried before; returns this search."""
    table = search(config, rates)
    log, kept = paths.PARAMS / "tuning.csv", table
    if log.exists():
        earlier = pd.read_csv(log)
        earlier = earlier.assign(chosen=earlier.chosen & (earlier.scale != config.scale))
        kept = pd.concat([earlier, table]).drop_duplicates(["start", "lr"], keep="last")
    paths.write(log, kept.to_csv(index=False))
    return table
