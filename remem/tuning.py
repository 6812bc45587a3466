"""The one learning rate of stage 2, chosen by a rule that looks at no claim.

    python -m remem.tuning [--scale tiny] [--rates 5.0e-5 1.0e-4 ...]

The paper gives all five methods the same rate. Its 2e-5 means nothing to a network of another
size, so the rate is taken at which GA, on the first model and on the tuning seed 0, leaves a
single-hop forget EM nearest to the paper's. Every rate tried is kept in `params/tuning.csv`; the
one chosen is written into the scale's YAML by hand, where a reader looks for it. Reported seeds
start at 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from remem import claims, dataset, params, paths, runs

SEED = 0
RATES = (6e-5, 1e-4, 1.5e-4, 2e-4, 2.3e-4, 2.6e-4, 3e-4)


def target() -> float:
    """GA's single-hop forget EM at 7B in Table 2, percent."""
    return float(claims.paper_table("table2").EM_f["llava-1.5-7b/GA/single"])


def search(p: params.Params, rates: Sequence[float], runs_root: Path) -> pd.DataFrame:
    """scale, model, start (stage 1's digest), seed, lr, EM_f single, EM_f multi, EM_r, chosen:
    one line per rate, percent."""
    model = p.models[0]
    start = p.start(model, SEED)
    rows = dataset.read(dataset.make(p.dataset, runs_root))
    forget = dataset.forget_set(rows, p.stage2.forget_ratio, SEED)
    jobs = []
    for rate in rates:
        stage2 = p.stage2.model_copy(update={"lr": rate, "methods": ("GA",)})
        jobs += stage2.jobs(start, forget, p.evaluate, SEED)
    runs.sweep([("remem.train:run", start)], runs_root, 1, "stage 1", threads=1)
    done = runs.sweep([("remem.unlearn:run", job) for job in jobs], runs_root, p.workers, "GA")
    lines = []
    for rate, folder in zip(rates, done, strict=True):
        answers = pd.read_parquet(folder / "predictions.parquet")
        em = 100 * answers.groupby(["view", "hop"]).em.mean()
        lines.append({
            "scale": p.scale, "model": model, "start": runs.digest(start), "seed": SEED, "lr": rate,
            "EM_f single": em["forget", "single"], "EM_f multi": em["forget", "multi"],
            "EM_r": 100 * answers[answers["view"] == "retain_eval"].em.mean(),
        })  # fmt: skip
    table = pd.DataFrame(lines)
    table["chosen"] = table.index == (table["EM_f single"] - target()).abs().idxmin()
    return table


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m remem.tuning", description=__doc__)
    parser.add_argument("--scale", choices=params.SCALES, default="tiny")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    given = parser.parse_args(argv)
    p = params.load(given.scale)
    table = search(p, given.rates, paths.outputs(p.scale).runs)
    log = paths.PARAMS / "tuning.csv"
    if log.exists():
        earlier = pd.read_csv(log).assign(chosen=lambda old: old.chosen & (old.scale != p.scale))
        table = pd.concat([earlier, table]).drop_duplicates(["start", "lr"], keep="last")
    paths.write(log, table.to_csv(index=False))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
