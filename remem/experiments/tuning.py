"""The two learning rates, each chosen by a rule that looks at no claim.

The paper's 5e-5 and 2e-5 mean nothing to networks of another size. Both rates are found on the
first model and on the tuning seed 0, and taken for all models; reported seeds start at 1.

- Stage 1: the rate at which the EM on the training questions is nearest to the paper's (Table 3).
- Stage 2: the rate at which GA leaves as large a share of what was learnt as in the paper (Table
  2, single-hop): of the way from the base model's EM up to that before unlearning.

Each rate tried is kept in `params/tuning_stage1.csv` and `params/tuning.csv`; those chosen are
written into the scale's YAML by hand, where a reader looks for them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from remem import jobs, paper, paths, runs
from remem.config.sections import Config
from remem.data import chosen, splits
from remem.evaluation.answers import EvalRows
from remem.experiments import setup
from remem.jobs import Job
from remem.training.methods import method
from remem.training.stage2 import Stage2Run

SEED = 0
STAGE1_RATES = (7e-4, 1e-3, 1.4e-3, 2e-3)
STAGE2_RATES = (8e-5, 1.1e-4, 1.4e-4, 1.6e-4, 1.8e-4)


def memorised() -> float:
    """The training EM after stage 1 at 7B in Table 3, percent."""
    return float(paper.paper_table("table3").EM["llava-1.5-7b/stage 1"])


def kept() -> float:
    """The share of what stage 1 had taught that GA leaves at 7B, single-hop: of 0 to 1."""
    stage1, forgotten = paper.paper_table("table3").EM, paper.paper_table("table2").EM_f
    base = float(stage1["llava-1.5-7b/base"])
    left = float(forgotten["llava-1.5-7b/GA/single"])
    return (left - base) / (memorised() - base)


def stage1(config: Config, rates: Sequence[float] = STAGE1_RATES) -> pd.DataFrame:
    """scale, model, base (its digest), seed, rank, lr, EM_t (all training rows), EM_t single, EM_t
    multi, EM held out, chosen: one line per rate, percent."""
    model, found = config.models[0], []
    usual = setup.stage1_run(config, model, SEED)
    for rate in rates:
        optimiser = usual.optimiser.model_copy(update={"lr": rate})
        run = usual.model_copy(update={"optimiser": optimiser})
        found.append(Job(setup.answers(config, run, exposure=False), {"lr": rate}))
    rows = jobs.collect(setup.jobs(config, found), "stage 1")
    em = 100 * rows.groupby(["lr", "split"]).em.mean()
    hops = 100 * rows[rows["split"] == "train"].groupby(["lr", "hop"]).em.mean()
    return _table(
        config,
        rates,
        {"base": runs.digest(usual.base), "rank": usual.rank},
        {
            "EM_t": em.xs("train", level="split"),
            "EM_t single": hops.xs("single", level="hop"),
            "EM_t multi": hops.xs("multi", level="hop"),
            "EM held out": em.xs("test", level="split"),
        },
        pd.Series(memorised(), index=list(rates)),
    )


def stage2(config: Config, rates: Sequence[float] = STAGE2_RATES) -> pd.DataFrame:
    """scale, model, start (stage 1's digest), seed, lr, EM_f single, EM_f multi, EM_r, aim (of
    EM_f single), chosen: one line per rate, percent."""
    model = config.models[0]
    start = setup.stage1_run(config, model, SEED)
    usual = setup.optimiser(config, model, "stage2")
    forget = splits.forget_set(chosen.dataset(config).rows, config.stage2.forget_ratio, SEED)
    select = functools.partial(splits.evaluated, forget=forget)
    asked = EvalRows(forget=forget)
    found = [
        Job(setup.answers(config, of, asked, exposure=False), {"lr": label}, select)
        for label, of in ((-1.0, setup.untrained(config, model)), (0.0, start))
    ]
    for rate in rates:
        run = Stage2Run(
            start=start,
            method=method("GA"),
            forget=forget,
            optimiser=usual.model_copy(update={"lr": rate}),
            seed=SEED,
        )
        found.append(Job(setup.answers(config, run, asked, exposure=False), {"lr": rate}, select))
    rows = jobs.collect(setup.jobs(config, found), "GA")
    em = 100 * rows.groupby(["view", "hop", "lr"]).em.mean()
    single = em["forget", "single"]
    return _table(
        config,
        rates,
        {"start": runs.digest(start)},
        {
            "EM_f single": single,
            "EM_f multi": em["forget", "multi"],
            "EM_r": 100 * rows[rows["view"] == "retain_eval"].groupby("lr").em.mean(),
        },
        pd.Series(single[-1.0] + kept() * (single[0.0] - single[-1.0]), index=list(rates)),
    )


def _table(
    config: Config,
    rates: Sequence[float],
    of: Mapping[str, Any],
    measured: Mapping[str, pd.Series],
    aims: pd.Series,
) -> pd.DataFrame:
    """A line per rate; the first of the `measured` is to be near to its aim."""
    labels = {"scale": config.scale, "model": config.models[0], "seed": SEED}
    table = pd.DataFrame(
        {
            **labels,
            **of,
            "lr": rate,
            **{name: values[rate] for name, values in measured.items()},
            "aim": aims[rate],
        }
        for rate in rates
    )
    gap = (table[next(iter(measured))] - table["aim"]).abs()
    return table.assign(chosen=table.index == gap.idxmin())


LOGS = {1: (stage1, "tuning_stage1.csv", "base"), 2: (stage2, "tuning.csv", "start")}


def log(stage: int) -> Path:
    """The file of all rates tried for a stage, 1 or 2."""
    return paths.PARAMS / LOGS[stage][1]


def tune(config: Config, stage: int, rates: Sequence[float] | None = None) -> pd.DataFrame:
    """The search of a stage (1 or 2), kept in its log beside what was tried before; returns all
    that was tried from the same start. The nearest of them is the chosen one."""
    search, _, start = LOGS[stage]
    kept = table = search(config, rates) if rates else search(config)
    if log(stage).exists():
        earlier = pd.read_csv(log(stage))
        kept = pd.concat([earlier, table]).drop_duplicates([start, "lr"], keep="last")
    kept = kept.sort_values(["scale", start, "lr"], kind="stable", ignore_index=True)
    same = kept[start] == table[start].iloc[0]
    first = next(name for name in table if name.startswith("EM"))
    gap = (kept[first] - kept["aim"]).abs()[same]
    of_others = kept["chosen"] & (kept["scale"] != config.scale)
    kept["chosen"] = of_others | (kept.index == gap.idxmin())
    paths.write(log(stage), kept.to_csv(index=False))
    return kept[same].reset_index(drop=True)
