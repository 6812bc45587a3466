"""Table 1: what each benchmark holds, as the paper states it and as it is counted here."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from remem import paper, paths

# The paper's columns, whose heads are lost, as they are read here; of the rest only the ticks are
# known (1, or 0 for a cross).
QUOTED = {"column 1": "pictures per person", "column 2": "QA per person"}

TABLE1 = [
    "people",
    *QUOTED.values(),
    "single-hop",
    "unseen test questions",
    "unseen test pictures",
    "column 3",
    "column 4",
    "column 5",
]


def survey(datasets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Table 1: benchmark, the columns of TABLE1 (their heads are ours), source.

    datasets: name -> rows (identity, name, split, hop, question, image). First comes what the
    paper's Table 1 and the benchmarks themselves say (remem/table1.csv says where), then what is
    counted in `datasets`; what is not known is missing. Counts are of training, as the paper's:
    means over people of their different pictures and of their rows, percent of rows that are
    single-hop. Unseen ("yes", "no") means that training has no such question, names aside, and no
    such picture, by its path; whether its layout is new cannot be seen in rows.
    """
    printed = paper.paper("table1").replace({"column": QUOTED})
    facts = pd.read_csv(paths.PAPER.with_name("table1.csv"))
    lines: dict[tuple[str, str], dict] = {}
    for source, stated in (("the paper's Table 1", printed), ("the benchmark", facts)):
        for cell in stated.itertuples():
            line = lines.setdefault((cell.row, f"quoted from {source}"), {})
            line[cell.column] = float(cell.value)
    lines |= {(name, "computed"): _counted(rows) for name, rows in datasets.items()}
    table = pd.DataFrame(list(lines.values()), columns=TABLE1)
    table[["benchmark", "source"]] = list(lines)
    return table[["benchmark", *TABLE1, "source"]]


def _counted(rows: pd.DataFrame) -> dict[str, float | str]:
    pairs = zip(rows["question"], rows["name"], strict=True)
    rows = rows.assign(question=[text.replace(name, "X") for text, name in pairs])
    train, test = (rows[rows["split"] == split] for split in ("train", "test"))
    people = train.groupby("identity")
    seen = {key: test.empty or test[key].isin(train[key]).any() for key in ("question", "image")}
    return {
        "people": rows["identity"].nunique(),
        "pictures per person": people["image"].nunique().mean(),
        "QA per person": people.size().mean(),
        "single-hop": 100 * (train["hop"] == "single").mean(),
        "unseen test questions": "no" if seen["question"] else "yes",
        "unseen test pictures": "no" if seen["image"] else "yes",
    }
