import csv

import pandas as pd
import pytest

from remem import config, paper, paths
from remem.paper import MODELS
from remem.synthetic import templates


def test_paper_csv_is_whole():
    with open(paths.PAPER, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["item", "row", "column", "value", "where"]
    keys = [(line["item"], line["row"], line["column"]) for line in lines if line["item"] != "text"]
    assert len(set(keys)) == len(keys)
    assert all(line["where"] for line in lines)
    sizes = {"table1": 20, "table2": 120, "table3": 16, "table4": 12, "table5": 6, "pava": 10}
    assert {item: len(paper.paper(item)) for item in sizes} == sizes


@pytest.mark.parametrize(
    "item, row, column, value",
    [
        ("table2", "llava-1.5-7b/GA/single", "ROUGE", 89.10),
        ("table2", "llava-1.5-7b/DPO/multi", "ROUGE", 70.71),
        ("table2", "llava-1.5-7b/NPO/multi", "EM_t", 21.43),
        ("table2", "llava-1.5-13b/GD/multi", "EM_r", 77.68),
        ("table2", "llava-1.5-13b/DPO/multi", "judge", 62.69),
        ("table2", "llava-1.5-13b/NPO/single", "Exposure", 50.02),
        ("table3", "llava-1.5-7b/base", "EM", 13.33),
        ("table3", "llava-1.5-13b/stage 1", "EM_t", 87.98),
        ("table4", "llava-1.5-7b/base", "MMBench", 71.30),
        ("table4", "llava-1.5-13b/KL", "MMBench", 73.64),
        ("table5", "FIUBench", "min_k", 0.05),
        ("table5", "ReMem", "inverse_perplexity", 33.65),
        ("pava", "llava-1.5-7b/before unlearning/multi", "Exposure", 57),
        ("table1", "ReMem", "column 3", 1),
        ("table1", "CLEAR", "column 4", 0),
    ],
)
def test_paper_numbers(item, row, column, value):
    assert paper.paper_table(item).loc[row, column] == value


def test_em_of_table_2_are_counts_of_its_denominators():
    # one reading of the splits fits all 60: 16 x 14, 4 x 70, 4 x 30, 4 x 14 (design.md, section 2)
    table = paper.paper_table("table2")
    for row, values in table.iterrows():
        forget = 280 if row.endswith("single") else 120
        for column, n in (("EM_r", 224), ("EM_f", forget), ("EM_t", 56)):
            count = round(values[column] * n / 100)
            assert abs(100 * count / n - values[column]) <= 0.0051, (row, column)


def test_the_text_quotes_its_tables():
    tables = pd.concat([paper.paper(f"table{n}") for n in (2, 4, 5)])
    printed = tables.set_index(["row", "column"]).value
    for line in paper.paper("text").itertuples():
        assert printed[line.row, line.column] == line.value


def test_an_unknown_item_is_named():
    with pytest.raises(ValueError, match=r"no item 'table9'.*table2"):
        paper.paper("table9")


@pytest.mark.parametrize(
    "model, papers",
    [
        ("tiny-7b", MODELS[0]),
        ("tiny-13b", MODELS[1]),
        (MODELS[1], MODELS[1]),
        ("llava-17b", "llava-17b"),
    ],
)
def test_counterpart(model, papers):
    assert paper.counterpart(model) == papers


def test_what_is_assumed_is_what_is_done():
    table = paper.assumptions()
    assert list(table) == ["topic", "ours", "reason"]
    assert table.topic.is_unique and not table.isna().any(axis=None)
    ours = table.set_index("topic").ours
    refusals = ours["Refusals for DPO"]
    assert refusals.startswith(f"One of {len(templates.UNSEEN_REFUSALS)} short sentences")
    assert f"of the {len(templates.REFUSALS)} that they have read" in refusals
    tiny, large = (config.load_config(scale) for scale in ("tiny", "paper"))
    rank = "{}, with alpha {}; at paper scale the paper's {} and {}"
    ranks = tiny.stage1.rank, tiny.stage1.alpha, large.stage1.rank, large.stage1.alpha
    assert ours["LoRA's rank at tiny"] == rank.format(*ranks)
    for p in (tiny, large):
        for method in ("NPO", "DPO"):
            beta = p.stage2.hyperparameters[method]["beta"]
            assert f"beta {beta:g}," in ours["NPO and DPO"]
        assert f"Seeds {p.seeds[0]} to {p.seeds[-1]};" in ours["Seeds and folds"]
        assert list(p.seeds) == list(range(p.seeds[0], p.seeds[-1] + 1))
        for stage in (p.stage1, p.stage2):
            assert ours["Schedule"].startswith(stage.schedule.capitalize())
            assert f"{stage.warmup:.0%}".replace("%", " %") in ours["Schedule"]
            assert ours["Weight decay"] == f"{stage.weight_decay:g}"
            assert ours["Clipping"].endswith(f"at most {stage.clip:g}")
