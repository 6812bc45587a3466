"""The paper's own names, and the numbers that it prints (remem/paper.csv).

One item, "pava", is of another paper: a second source of forget EM beside Exposure.
"""

from __future__ import annotations

from functools import cache

import pandas as pd

from remem import paths

MODELS = ("llava-1.5-7b", "llava-1.5-13b")

METHODS = ("GA", "GD", "KL", "DPO", "NPO")

HOPS = ("single", "multi")

BEFORE, RETRAINED = "before unlearning", "retrained"  # the ceiling and the floor of Table 2

EPOCHS, UPDATES = "five epochs", "equal updates"  # the paper's protocol, and the control beside it

BASE, CHANCE = "base", "chance"  # an untrained model, and a guess among the candidates

STAGES = (BASE, "stage 1")

REMEM = "ReMem"

SETS = ("Real Set", "FIUBench", "MLLMU-Bench", REMEM)

STATES = ("mlp", "attention", "residual")

# As they are read; the subject is mentioned in the question and in the answer's beginning.
POSITIONS = ("image", "before", "subject", "between", "subject again", "after", "last")

CORRUPTIONS = ("entity", "noise", "image")  # what is changed in a causal trace

ASKED = ("name", "fact")  # who is in the picture; a fact about somebody who is named

CONTROLS = (EPOCHS, UPDATES)

SETTINGS = ("one person", "20 people")

RULE = "rule"  # judged_by, where it is not a model's name


@cache
def _paper() -> pd.DataFrame:
    return pd.read_csv(paths.PAPER, dtype={"value": float})


def paper(item: str) -> pd.DataFrame:
    """The paper's numbers of one item ("table2", "table5", "setup", ...), as printed.

    Columns item, row (such as "llava-1.5-7b/GD/single"), column, value, where. Unknown: ValueError.
    """
    found = _paper()[_paper().item == item]
    if found.empty:
        raise ValueError(f"paper.csv has no item {item!r}; it has {sorted(set(_paper().item))}")
    return found.reset_index(drop=True)


@cache
def paper_table(item: str) -> pd.DataFrame:
    """The numbers of `paper(item)` as a table: a line for each `row`, a column for each `column`;
    NaN where the paper prints none."""
    table = paper(item)
    return table.pivot(index="row", columns="column", values="value").reindex(table.row.unique())


def counterpart(model: str) -> str:
    """The paper's model that `model` stands for, by the end of its name: "llava-1.5-7b" for
    "tiny-7b". A name with another end is given back."""
    return next((name for name in MODELS if model.endswith(name[name.rindex("-") :])), model)


def assumptions() -> pd.DataFrame:
    """What the paper leaves open: topic, what is done here (ours), and why (reason)."""
    return pd.read_csv(paths.PAPER.with_name("assumptions.csv"), dtype=str)
