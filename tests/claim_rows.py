"""Scored rows with numbers of no meaning, for the tests of claims."""

from itertools import product

import numpy as np
import pandas as pd

MEASURES = (
    "em",
    "rouge",
    "judge",
    "plain",
    "circular",
    "exposure",
    "perplexity",
    "min_k",
    "inverse_perplexity",
)


def frame(people=2, seed=0, **columns):
    """Every combination of the columns' values, for some people, with numbers of no meaning."""
    columns = {"model": ["tiny-7b"], **columns, "seed": [1], "identity": range(people)}
    rows = pd.DataFrame(list(product(*columns.values())), columns=list(columns))
    rows["identity"] = rows.identity.map("p{:02d}".format)
    numbers = np.random.default_rng(seed).random((len(rows), len(MEASURES)))
    return rows.assign(**dict(zip(MEASURES, numbers.T, strict=True)), judged_by="gemini")


def traced(effects, total=0.5, people=8, layers=8):
    """Traces of the sets: name -> {(state, layer, position): effect}, 0 everywhere else."""
    rows = frame(
        people,
        set=list(effects),
        asked=["name", "fact"],
        corruption=["entity", "noise", "image"],
        state=["mlp", "attention", "residual"],
        layer=range(layers),
        position=["image", "subject", "last"],
    )
    found = [
        effects[row.set].get((row.state, row.layer, row.position), 0.0) for row in rows.itertuples()
    ]
    return rows.assign(total=total, effect=found)


SETS = ["Real Set", "FIUBench", "MLLMU-Bench", "ReMem"]
