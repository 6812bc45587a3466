from itertools import product

import numpy as np
import pandas as pd
import pytest

from remem import paper
from remem.paper import HOPS, METHODS, MODELS
from remem.report import claims
from remem.report.claims import CLAIMS, Claim
from remem.report.contrasts import Contrast

CLAIM = {claim.id: claim for claim in CLAIMS}


SHORT = [-2.0, -1.6, -1.3, -1.0, -0.8, -0.4, -0.1, 0.1, 0.5, 0.8]  # mean -0.58


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
        "in the tiny world: does not hold",
        "in the tiny world: cannot be told",
    )
    assert one.weakest == many.weakest and one.ours == many.ours
    assert one.hi <= one.margin < many.hi  # so that a reader can follow the verdict


def _table2(numbers, models=("tiny-7b", "tiny-13b")):
    """Table 2 rows of ten people; numbers: method -> (EM, Exposure), in percent, in every view."""
    return pd.DataFrame(
        [
            {
                "model": model,
                "method": method,
                "hop": hop,
                "view": view,
                "seed": 1,
                "identity": f"p{i:02d}",
                "em": em / 100,
                "exposure": exposure,
                "rouge": 0.5,
                "judge": 0.5,
                "judged_by": "gemini",
            }
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
    numbers = {paper.BEFORE: (95, 96), "NPO": npo, paper.RETRAINED: (3, 31)}
    line = claims.check([CLAIM["npo-surface"]], _table2(numbers), "tiny").iloc[0]
    assert line.verdict == f"in the tiny world: {word}"
    assert line.measured == "8 of 8"


def test_columns_of_the_verdict_and_their_unit():
    numbers = {"GA": (10, 40), "GD": (20, 40), "KL": (30, 40), "DPO": (40, 40), "NPO": (50, 40)}
    table = claims.check(claims.of("table2"), _table2(numbers), "tiny").set_index("claim")
    assert [table.index.name, *table] == [
        "claim",
        "section",
        "text",
        "verdict",
        "paper",
        "paper bears out",
        "ours",
        "lo",
        "hi",
        "margin",
        "unit",
        "units",
        "seeds",
        "weakest",
        "measured",
        "note",
    ]
    assert set(table.unit.drop("trade-off")) == {"points"}
    assert table.loc["trade-off", "unit"] == "correlation r"
    assert table.loc["trade-off", "ours"] == pytest.approx(1)


def _rows(em, models=("tiny-7b", "tiny-13b"), seeds=(1,)):
    """Table 3 rows: EM of each (model, stage) the same for ten people, but for one answer."""
    return pd.DataFrame(
        [
            {
                "model": model,
                "stage": stage,
                "split": split,
                "seed": seed,
                "identity": f"p{i:02d}",
                "em": em[model[5:], stage] + 0.01 * (i % 2),
                "rouge": 0.5,
                "judge": 0.5,
                "judged_by": "rule",
            }
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
    assert claims.check(claims.of("table3"), rows, "paper").verdict[0] == "with other models: holds"
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
        "stage1-learns": 10,
        "stage1-generalises": 10,
        "stage1-scale": 30,
    }


def test_two_models_of_one_size_are_refused():
    rows = _rows(EM)
    both = pd.concat([rows, rows.assign(model="llava-1.5-7b")])
    with pytest.raises(ValueError, match="stand for one"):
        claims.check(claims.of("table3"), both, "tiny")


def test_one_failing_contrast_fails_the_claim():
    parts = (
        Contrast("EM", "llava-1.5-7b/stage 1", ("llava-1.5-7b/base",)),
        Contrast("EM", "llava-1.5-7b/base", ("llava-1.5-7b/stage 1",)),
    )
    claim = Claim("both", "table3", "", "", parts)
    assert "does not hold" in claims.check([claim], _rows(EM), "tiny").verdict[0]
    assert (
        "holds"
        in claims.check([Claim("one", "table3", "", "", parts[:1])], _rows(EM), "tiny").verdict[0]
    )


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


def _frame(people=2, seed=0, **columns):
    """Every combination of the columns' values, for some people, with numbers of no meaning."""
    columns = {"model": ["tiny-7b"], **columns, "seed": [1], "identity": range(people)}
    rows = pd.DataFrame(list(product(*columns.values())), columns=list(columns))
    rows["identity"] = rows.identity.map("p{:02d}".format)
    numbers = np.random.default_rng(seed).random((len(rows), len(MEASURES)))
    return rows.assign(**dict(zip(MEASURES, numbers.T, strict=True)), judged_by="gemini")


def _traced(effects, total=0.5, people=8, layers=8):
    """Traces of the sets: name -> {(state, layer, position): effect}, 0 everywhere else."""
    rows = _frame(
        people,
        set=list(effects),
        corruption=["subject", "image"],
        state=["mlp", "attention", "residual"],
        layer=range(layers),
        position=["image", "subject", "last"],
    )
    found = [
        effects[row.set].get((row.state, row.layer, row.position), 0.0) for row in rows.itertuples()
    ]
    return rows.assign(total=total, effect=found)


BOTH = ["tiny-7b", "tiny-13b"]


SETS = ["Real Set", "FIUBench", "MLLMU-Bench", "ReMem"]


FRAMES = {
    "fig1": lambda: _frame(benchmark=SETS[1:], split=["train", "test"]),
    "fig2a": lambda: _frame(set=SETS),
    "table5": lambda: _frame(set=SETS),
    "fig3a": lambda: _frame(samples=range(20, 201, 20), control=["five epochs", "equal updates"]),
    "fig3b": lambda: _frame(samples=range(20, 201, 20), control=["five epochs", "equal updates"]),
    "fig3c": lambda: _frame(setting=["one person", "20 people"], share=range(0, 101, 10), hop=HOPS),
    "table2": lambda: _frame(
        model=BOTH,
        method=[*METHODS, paper.BEFORE, paper.RETRAINED],
        hop=HOPS,
        view=["retain_eval", "forget", "test_forget", "test_retain"],
    ),
    "table3": lambda: _frame(model=BOTH, stage=["base", "stage 1"], split=["train", "test"]),
    "table4": lambda: _frame(model=BOTH, method=["base", paper.BEFORE, *METHODS, paper.RETRAINED]),
    "fig6": lambda: _frame(
        model=BOTH,
        method=METHODS,
        hop=HOPS,
        ratio=[5, 10, 15, 20],
        view=["retain_eval", "forget", "test_forget"],
        control=["five epochs", "equal updates"],
    ),
    "fig2b": lambda: _traced({name: {("mlp", 0, "subject"): 0.1} for name in SETS}, people=2),
    "fig5": lambda: _traced({name: {("mlp", 0, "subject"): 0.1} for name in SETS}, people=2),
}


def test_every_claim_has_its_item_and_its_own_name():
    assert set(FRAMES) == set(claims.ITEMS) == {claim.item for claim in CLAIMS}
    assert len(CLAIM) == len(CLAIMS)
    assert {claim.section.removeprefix("ours, ") for claim in CLAIMS} == {
        "§1",
        "§4",
        "§5",
        "§7.2",
        "§7.3",
        "A.1",
        "A.2",
        "A.3",
    }
    with pytest.raises(ValueError, match=r"no claim is about 'fig4'.*fig3a"):
        claims.of("fig4")


@pytest.mark.parametrize("item", FRAMES)
def test_every_contrast_finds_its_rows_and_columns(item):
    rows = FRAMES[item]()
    table = claims.check(claims.of(item), rows, "tiny")
    for line in table.itertuples():
        count = len(CLAIM[line.claim].contrasts)
        assert line.measured == f"{count} of {count}"
    assert set(table.verdict) == {"in the tiny world: cannot be told"}  # two people
    assert set(table.note) == {""}


@pytest.mark.parametrize("item", FRAMES)
def test_a_frame_that_lacks_a_column_is_refused(item):
    with pytest.raises(ValueError, match=f"claims about {item} need the column.*seed"):
        claims.check(claims.of(item), FRAMES[item]().drop(columns="seed"), "tiny")


def test_the_rule_decides_no_claim_about_the_gpt_score():
    numbers = {"GA": 50, "GD": 50, "KL": 50, "DPO": 50, "NPO": 10}
    rows = _table2({name: (level, 40) for name, level in numbers.items()})
    rows["judge"] = rows.em
    gemini, rule = (
        claims.check([CLAIM["npo-forgets-most"]], rows.assign(judged_by=who), "tiny").iloc[0]
        for who in ("gemini", "rule")
    )
    assert gemini.verdict.endswith(" holds") and gemini.note == ""
    assert rule.verdict.endswith("cannot be told") and rule.measured == "16 of 32"
    assert "only the rule" in rule.note and rule.weakest.startswith("EM_f")
    rows.loc[rows.method == "NPO", "em"] = 0.9  # what EM says stands
    told = claims.check([CLAIM["npo-forgets-most"]], rows.assign(judged_by="rule"), "tiny").iloc[0]
    assert told.verdict.endswith("does not hold")


def test_a_missing_score_is_missing_and_not_zero():
    rows = _frame(people=9, benchmark=SETS[1:], split=["train"]).assign(judge=0.5)
    rows.loc[(rows.identity == "p00") & (rows.benchmark == "ReMem"), "judge"] = np.nan
    cells = claims._cells("fig1", rows, 0)["judge"]
    assert cells["ReMem"].dropna().tolist() == [50.0] * 8


def test_one_figure_shows_one_model():
    rows = FRAMES["fig1"]()
    other = rows.assign(model="tiny-13b", em=0.0)
    both = claims.check(claims.of("fig1"), pd.concat([other, rows]), "tiny")
    pd.testing.assert_frame_equal(both, claims.check(claims.of("fig1"), rows, "tiny"))
    alone = claims.check(claims.of("fig1"), other, "tiny").set_index("claim")
    assert alone.loc["fig1-fails", "ours"] == 50


def _world(rows, **numbers):
    """The same rows with numbers by their columns."""
    return rows.assign(
        **{name: [number(row) for row in rows.itertuples()] for name, number in numbers.items()}
    )


def test_samples_and_perplexity_as_the_paper_has_them():
    rows = _world(
        _frame(8, samples=range(20, 201, 20), control=["five epochs", "equal updates"]),
        em=lambda row: row.samples / 200 if row.control == "five epochs" else 0.5,
        rouge=lambda row: row.samples / 400,
        perplexity=lambda row: 3.0 if row.samples >= 180 else 2 - row.samples / 200,
    )
    told = claims.check(claims.of("fig3a"), rows, "tiny")
    assert told.verdict.tolist() == ["in the tiny world: holds", "in the tiny world: does not hold"]
    assert told.unit.tolist() == ["rank correlation", "points"]  # the weakest contrast's
    spike = claims.check(claims.of("fig3b"), rows, "tiny").iloc[0]
    assert spike.verdict.endswith(" holds")
    flat = claims.check(claims.of("fig3b"), rows.assign(perplexity=1.5), "tiny").iloc[0]
    assert flat.verdict.endswith("does not hold")


def test_the_peak_of_the_mix():
    rows = _frame(8, setting=["one person", "20 people"], share=range(0, 101, 10), hop=HOPS)
    top = {"one person": 70, "20 people": 40}
    rows = _world(rows, em=lambda row: 0.9 - abs(row.share - top[row.setting]) / 200)
    told = claims.check(claims.of("fig3c"), rows, "tiny").set_index("claim").verdict
    assert told.str.removeprefix("in the tiny world: ").to_dict() == {
        "mix-peak": "holds",
        "mix-extremes": "holds",
        "mix-peak-20": "does not hold",
        "mix-extremes-20": "holds",
    }


def test_flatter_curves_and_the_steepest():
    steep = {"GA": 4, "GD": 2, "KL": 4, "DPO": 4, "NPO": 6}
    rows = _frame(
        8,
        model=BOTH,
        method=METHODS,
        ratio=[5, 10, 15, 20],
        hop=["single"],
        view=["retain_eval"],
        control=["five epochs"],
    )
    rows = _world(rows, em=lambda row: 0.9 - row.ratio / 500 * steep[row.method])
    rows.loc[rows.model == "tiny-13b", "em"] += rows.ratio / 500  # each falls by 3 points less
    rows["rouge"] = rows.em
    told = claims.check(claims.of("fig6"), rows, "tiny").set_index("claim")
    word = told.verdict.str.removeprefix("in the tiny world: ")
    assert word[["ratio-costs", "ratio-gd", "ratio-npo-drop", "ratio-scale"]].eq("holds").all()
    assert word["ratio-forgets"] == word["ratio-costs-equal"] == "cannot be told"
    assert told.loc["ratio-forgets", "measured"] == "0 of 30"
    assert told.loc["ratio-scale", "ours"] == pytest.approx(3)


def test_where_effects_are():
    early = {(state, layer, "subject"): 0.2 for state in ("mlp", "attention") for layer in (0, 1)}
    late = {(state, 7, "last"): 0.2 for state in ("mlp", "attention")}
    rows = _traced({"Real Set": early, "FIUBench": {}, "MLLMU-Bench": late, "ReMem": early})
    both = claims.of("fig2b") + claims.of("fig5")
    word = claims.check(both, rows, "tiny").set_index("claim").verdict
    assert word.str.removeprefix("in the tiny world: ").to_dict() == {
        "trace-real": "holds",
        "trace-real-early": "holds",
        "trace-fiubench": "holds",
        "trace-mllmu": "does not hold",
        "trace-mllmu-image": "does not hold",
        "trace-remem": "holds",
        "trace-remem-image": "holds",
    }


def test_a_total_effect_below_the_floor_tells_nothing():
    rows = _traced({"FIUBench": {}, "ReMem": {}})
    rows.loc[rows.set == "FIUBench", "total"] = 0.01
    both = claims.of("fig2b") + claims.of("fig5")
    told = claims.check(both, rows, "tiny").set_index("claim")
    assert told.verdict["trace-fiubench"].endswith("cannot be told")
    assert told.note["trace-fiubench"] == "total effect below the floor"
    assert told.verdict["trace-remem"].endswith("does not hold")
    lower = claims.check(both, rows, "tiny", floor=0.001).set_index("claim")
    assert lower.verdict["trace-fiubench"].endswith(" holds")


def test_scattered_effects_have_no_peak():
    rows = _traced({"FIUBench": {}})
    # each person's whole effect sits in a cell of its own
    own = rows.layer == rows.identity.str[1:].astype(int)
    rows["effect"] = np.where(own & (rows.position == "last"), 0.5, 0.0)
    peaks = claims._cells("fig2b", rows, 0)["peak"]["FIUBench/subject/mlp"]
    assert peaks.tolist() == [0.0] * 8


def test_the_scorecard_has_every_claim_in_the_papers_order():
    verdicts = claims.check(claims.of("table3"), _rows(EM), "tiny").iloc[::-1]
    table = claims.scorecard({"06_stage1": verdicts})
    assert table.claim.tolist() == [claim.id for claim in CLAIMS]
    sections = table.section.str.removeprefix("ours, ").drop_duplicates().tolist()
    assert sections == ["§1", "§4", "§5", "§7.2", "§7.3", "A.1", "A.2", "A.3"]
    assert set(verdicts) | {"notebook"} == set(table)
    table = table.set_index("claim")
    ran = table[table.notebook == "06_stage1"]
    assert ran.index.tolist() == [claim.id for claim in claims.of("table3")]
    assert ran.verdict.tolist() == verdicts.set_index("claim").verdict[ran.index].tolist()
    others = table.drop(ran.index)
    assert set(others.verdict) == {"not run"} and set(others.units) == {0}
    assert others.loc["gd-utility", "paper bears out"] == "yes"


def test_the_scorecard_reads_what_check_wrote(tmp_path):
    verdicts = claims.check(claims.of("table3"), _rows(EM), "tiny")
    verdicts.to_csv(tmp_path / "06.csv", index=False)
    written = pd.read_csv(tmp_path / "06.csv")
    old = written.drop(columns="note")
    direct, read, older = (claims.scorecard({"06": each}) for each in (verdicts, written, old))
    pd.testing.assert_frame_equal(direct, read)
    pd.testing.assert_frame_equal(direct, older)
    assert claims.scorecard({}).verdict.eq("not run").all()


def test_two_verdicts_on_one_claim_are_refused():
    verdicts = claims.check(claims.of("table3"), _rows(EM), "tiny")
    with pytest.raises(ValueError, match="stage1-learns has a verdict from 06 and from old"):
        claims.scorecard({"06": verdicts, "old": verdicts})


def test_verdicts_on_other_matters_are_passed_over():
    others = {
        "00": pd.DataFrame({"ability": ["all"], "reached": [True]}),
        "04": pd.DataFrame({"claim": ["fig1-fails"], "verdict": ["holds"]}),
    }
    assert claims.scorecard(others).verdict.eq("not run").all()
