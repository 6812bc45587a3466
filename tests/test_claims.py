import csv
from itertools import product

import numpy as np
import pandas as pd
import pytest

from remem import claims, paths
from remem.claims import CLAIMS, HOPS, METHODS, MODELS, Claim, Contrast, Correlation

CLAIM = {claim.id: claim for claim in CLAIMS}


def test_paper_csv_is_whole():
    with open(paths.PAPER, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["item", "row", "column", "value", "where"]
    keys = [(line["item"], line["row"], line["column"]) for line in lines if line["item"] != "text"]
    assert len(set(keys)) == len(keys)
    assert all(line["where"] for line in lines)
    sizes = {"table2": 120, "table3": 16, "table4": 12, "table5": 6}
    assert {item: len(claims.paper(item)) for item in sizes} == sizes


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
        ("table4", "llava-1.5-7b/before unlearning", "MMBench", 71.30),
        ("table4", "llava-1.5-13b/KL", "MMBench", 73.64),
        ("table5", "FIUBench", "min_k", 0.05),
        ("table5", "ReMem", "inverse_perplexity", 33.65),
    ],
)
def test_paper_numbers(item, row, column, value):
    assert claims.paper_table(item).loc[row, column] == value


def test_em_of_table_2_are_counts_of_its_denominators():
    # one reading of the splits fits all 60: 16 x 14, 4 x 70, 4 x 30, 4 x 14 (design.md, section 2)
    table = claims.paper_table("table2")
    for row, values in table.iterrows():
        forget = 280 if row.endswith("single") else 120
        for column, n in (("EM_r", 224), ("EM_f", forget), ("EM_t", 56)):
            count = round(values[column] * n / 100)
            assert abs(100 * count / n - values[column]) <= 0.0051, (row, column)


def test_the_text_quotes_its_tables():
    tables = pd.concat([claims.paper(f"table{n}") for n in (2, 4, 5)])
    printed = tables.set_index(["row", "column"]).value
    for line in claims.paper("text").itertuples():
        assert printed[line.row, line.column] == line.value


def test_an_unknown_item_is_named():
    with pytest.raises(ValueError, match="no item 'table9'.*table2"):
        claims.paper("table9")


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
    assert claims.counterpart(model) == papers


def test_every_contrast_names_rows_and_columns_that_exist():
    for claim in CLAIMS:
        names = {
            "table2": {"/".join(key) for key in product(
                MODELS, (*METHODS, claims.BEFORE, claims.RETRAINED), HOPS)},
            "table3": {"/".join(key) for key in product(MODELS, ("base", "stage 1"))},
        }[claim.item]
        for part in claim.contrasts:
            if isinstance(part, Contrast):
                assert {part.left, *part.right} <= names
                assert part.column in claims.paper_table(claim.item)
            else:
                assert set(part.rows) <= names
    assert len(CLAIM) == len(CLAIMS)


@pytest.mark.parametrize(
    "claim, borne_out, weakest",
    [
        ("stage1-learns", "yes", 91.50 - 13.33),
        ("stage1-scale", "yes", 96.37 - 91.50),
        ("gd-utility", "yes", 95.98 - 93.10),
        ("dpo-utility", "no", 70.71 - 83.80),  # DPO's ROUGE is the worst at 7B multi-hop
        ("dpo-forgets-least", "yes", 44.64 - 40.71),
        ("npo-forgets-most", "yes", 37.50 - 35.83),
        ("npo-exposure", "no", 51.52 - (55.12 + 55.78 + 56.16 + 66.05) / 4),
        ("npo-utility", "yes", 61.61 - 61.16),
        ("hop-utility", "no", 0),  # KL at 13B: 67.86 twice
        ("hop-forgetting", "no", 44.64 - 54.17),
        ("scale-retains", "no", 64.73 - 71.43),  # DPO
        ("scale-resists", "yes", 44.64 - 42.14),
        ("npo-surface", "not in the paper", np.nan),
        ("npo-drop", "not in the paper", np.nan),
    ],
)
def test_whether_the_papers_own_numbers_bear_it_out(claim, borne_out, weakest):
    word, gap = CLAIM[claim].paper_bears_out()
    assert word == borne_out
    assert gap == pytest.approx(weakest, nan_ok=True)


def test_verdict():
    high, low, mixed = [6.0, 7, 8, 9] * 2, [-6.0, -7, -8, -9] * 2, [-9.0, 9] * 4
    assert claims.verdict(high, 5).word == "holds"
    assert claims.verdict(high, 7).word == "cannot be told"  # the interval spans the margin
    assert claims.verdict(high, 9).word == "does not hold"
    assert claims.verdict(low, 0).word == "does not hold"
    assert claims.verdict(low, -10).word == "holds"
    assert claims.verdict(mixed, 0).word == "cannot be told"
    assert claims.verdict([0.0] * 8, 0).word == "does not hold"  # no difference is not above 0
    few = claims.verdict(high[:7], 0)
    assert (few.word, few.units) == ("cannot be told", 7)
    assert np.isnan([few.lo, few.hi]).all()
    assert claims.verdict([], 0).word == "cannot be told"


SHORT = [-2.0, -1.6, -1.3, -1.0, -0.8, -0.4, -0.1, 0.1, 0.5, 0.8]  # mean -0.58


def test_one_of_many_contrasts_may_fall_short_by_chance():
    alone, among = (claims.verdict(SHORT, 0, contrasts=m) for m in (1, 32))
    assert (alone.word, among.word) == ("does not hold", "cannot be told")
    assert among.lo == alone.lo and among.hi > 0 >= alone.hi
    assert claims.verdict(SHORT, 2, contrasts=32).word == "does not hold"  # short beyond chance
    # but all of many have to hold, which takes no correction
    assert claims.verdict([-x for x in SHORT], 0, contrasts=32).word == "holds"


def test_the_correction_reaches_the_claim():
    rows = _rows(EM)
    short = (rows.model == "tiny-13b") & (rows.stage == "base") & (rows.split == "train")
    rows.loc[short, "em"] += [x / 100 for x in SHORT]
    part = Contrast("EM", f"{MODELS[1]}/base", (f"{MODELS[0]}/base",))
    others = [Contrast("EM", f"{MODELS[1]}/stage 1", (f"{MODELS[1]}/base",), -k) for k in range(31)]
    one, many = (
        claims.check([Claim("", "table3", "", "", parts)], rows, "tiny").iloc[0]
        for parts in ((part,), (part, *others))
    )
    assert (one.verdict, many.verdict) == (
        "in the tiny world: does not hold", "in the tiny world: cannot be told"
    )  # fmt: skip
    assert one.weakest == many.weakest and one.ours == many.ours
    assert one.hi <= one.margin < many.hi  # so that a reader can follow the verdict


def _table2(numbers, models=("tiny-7b", "tiny-13b")):
    """Table 2 rows of ten people; numbers: method -> (EM, Exposure), in percent, in every view."""
    return pd.DataFrame(
        [
            {"model": model, "method": method, "hop": hop, "view": view, "seed": 1,
             "identity": f"p{i:02d}", "em": em / 100, "exposure": exposure, "rouge": 0.5,
             "judge_rule": 0.5}
            for model in models
            for method, (em, exposure) in numbers.items()
            for hop in HOPS
            for view in ("retain_eval", "forget", "test_forget", "test_retain")
            for i in range(10)
        ]
    )


@pytest.mark.parametrize(
    "npo, word",
    [
        ((7.0, 60.0), "holds"),  # within the 5 points, and ranked higher
        ((0.0, 60.0), "holds"),
        ((9.0, 60.0), "does not hold"),  # it still tells what it knows: nothing is masked
        ((0.0, 30.0), "does not hold"),  # erased
        ((95.0, 96.0), "does not hold"),  # the model before unlearning, passed off as NPO
    ],
)
def test_npo_masks_only_if_it_is_silent_and_still_knows(npo, word):
    numbers = {claims.BEFORE: (95, 96), "NPO": npo, claims.RETRAINED: (3, 31)}
    line = claims.check([CLAIM["npo-surface"]], _table2(numbers), "tiny").iloc[0]
    assert line.verdict == f"in the tiny world: {word}"
    assert line.measured == "8 of 8"


def test_columns_of_the_verdict_and_their_unit():
    numbers = {"GA": (10, 40), "GD": (20, 40), "KL": (30, 40), "DPO": (40, 40), "NPO": (50, 40)}
    table = claims.check(claims.of("table2"), _table2(numbers), "tiny").set_index("claim")
    assert [table.index.name, *table] == [
        "claim", "section", "text", "paper", "paper bears out", "ours", "lo", "hi", "margin",
        "unit", "units", "weakest", "measured", "verdict",
    ]  # fmt: skip
    assert set(table.unit.drop("trade-off")) == {"points"}
    assert table.loc["trade-off", "unit"] == "correlation r"
    assert table.loc["trade-off", "ours"] == pytest.approx(1)


def _rows(em, models=("tiny-7b", "tiny-13b"), seeds=(1,)):
    """Table 3 rows: EM of each (model, stage) the same for ten people, but for one answer."""
    return pd.DataFrame(
        [
            {"model": model, "stage": stage, "split": split, "seed": seed, "identity": f"p{i:02d}",
             "em": em[model[5:], stage] + 0.01 * (i % 2), "rouge": 0.5, "judge_rule": 0.5}
            for seed in seeds
            for model in models
            for stage in ("base", "stage 1")
            for split in ("train", "test")
            for i in range(10)
        ]
    )


EM = {("7b", "base"): 0.1, ("7b", "stage 1"): 0.7, ("13b", "base"): 0.1, ("13b", "stage 1"): 0.5}


def test_check_tells_the_weakest_contrast():
    table = claims.check(claims.of("table3"), _rows(EM), "tiny").set_index("claim")
    learns = table.loc["stage1-learns"]  # 13B rises by 40 of the 50 points asked for
    assert learns.ours == pytest.approx(40)
    assert (learns.lo, learns.hi) == pytest.approx((40, 40))
    assert learns.weakest == "EM: tiny-13b/stage 1 - tiny-13b/base"
    assert learns.paper == pytest.approx(96.37 - 11.25)
    assert learns.verdict == "in the tiny world: does not hold"
    assert table.loc["stage1-scale", "ours"] == pytest.approx(-20)
    assert table.loc["stage1-scale", "paper bears out"] == "yes"


def test_a_claim_about_two_sizes_is_not_settled_by_one():
    table = claims.check(claims.of("table3"), _rows(EM, ["tiny-7b"]), "tiny").set_index("claim")
    assert table.loc["stage1-learns", "measured"] == "1 of 2"
    assert table.loc["stage1-learns", "ours"] == pytest.approx(60)
    assert table.verdict.unique().tolist() == ["in the tiny world: cannot be told"]
    assert table.loc["stage1-scale", "measured"] == "0 of 1"


def test_only_the_papers_models_reproduce():
    em = {**EM, ("13b", "stage 1"): 0.9}
    rows = _rows(em)
    tiny = claims.check(claims.of("table3"), rows, "tiny")
    assert tiny.verdict.tolist() == ["in the tiny world: holds"] * 3
    assert "with other models: holds" == claims.check(claims.of("table3"), rows, "paper").verdict[0]
    real = rows.assign(model=rows.model.str.replace("tiny", "llava-1.5"))
    assert claims.check(claims.of("table3"), real, "paper").verdict.tolist() == ["reproduced"] * 3
    worse = real.assign(em=0.0)
    assert claims.check(claims.of("table3"), worse, "paper").verdict[0] == "not reproduced"


def test_units_of_table_3_are_seeds_times_people():
    rows = _rows(EM, seeds=(1, 2, 3))
    assert set(claims.check(claims.of("table3"), rows, "tiny").units) == {3 * 10}
    once = rows[(rows.stage == "stage 1") | (rows.seed == 1)]  # the base was asked for one seed
    table = claims.check(claims.of("table3"), once, "tiny").set_index("claim")
    assert table.units.to_dict() == {
        "stage1-learns": 10, "stage1-generalises": 10, "stage1-scale": 30,
    }  # fmt: skip


def test_two_models_of_one_size_are_refused():
    rows = _rows(EM)
    both = pd.concat([rows, rows.assign(model="llava-1.5-7b")])
    with pytest.raises(ValueError, match="stand for one"):
        claims.check(claims.of("table3"), both, "tiny")


def test_differences_are_paired_within_units():
    index = pd.MultiIndex.from_tuples([(1, "p0"), (1, "p1"), (2, "p0")], names=["seed", "identity"])
    table = {"a": [9.0, 5, 7], "b": [1.0, 2, np.nan], "c": [3.0, 4, 5]}
    cells = {"EM_f": pd.DataFrame(table, index)}
    assert Contrast("EM_f", "a", ("b",)).units(cells).tolist() == [8, 3]
    assert Contrast("EM_f", "a", ("b", "c")).units(cells).tolist() == [7, 2]
    assert Contrast("EM_f", "a", ("never run",)).units(cells).empty


def test_correlation_meets_a_seeds_mean():
    kept = pd.MultiIndex.from_tuples([(1, "p8"), (1, "p9")], names=["seed", "identity"])
    lost = pd.MultiIndex.from_tuples([(1, "p0"), (1, "p1"), (1, "p2")], names=["seed", "identity"])
    cells = {
        "EM_r": pd.DataFrame([[0.0, 30, 40], [20.0, 10, 20]], kept, list("abc")),  # 10, 20, 30
        "EM_f": pd.DataFrame([[1.0, 2, 3], [3.0, 2, 1], [5.0, 5, 5]], lost, list("abc")),
    }
    found = Correlation("EM_r", "EM_f", tuple("abc")).units(cells)
    assert found.tolist() == pytest.approx([1, -1])  # the third is constant: no correlation
    assert Correlation("EM_r", "EM_f", tuple("abd")).units(cells).empty


def test_correlation_of_the_paper():
    table = claims.paper_table("table2")
    rows = tuple(f"llava-1.5-7b/{method}/single" for method in METHODS)
    by_hand = np.corrcoef([56.70, 74.55, 56.70, 71.43, 50.45], [27.14, 28.57, 27.14, 42.14, 21.79])
    assert Correlation("EM_r", "EM_f", rows).paper(table) == pytest.approx(by_hand[0, 1])


def test_one_failing_contrast_fails_the_claim():
    parts = (Contrast("EM", "llava-1.5-7b/stage 1", ("llava-1.5-7b/base",)),
             Contrast("EM", "llava-1.5-7b/base", ("llava-1.5-7b/stage 1",)))
    claim = Claim("both", "table3", "", "", parts)
    assert "does not hold" in claims.check([claim], _rows(EM), "tiny").verdict[0]
    assert "holds" in claims.check([Claim("one", "table3", "", "", parts[:1])], _rows(EM),
                                   "tiny").verdict[0]
