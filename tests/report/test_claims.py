import time

import numpy as np
import pandas as pd
import pytest
from claim_rows import SETS, frame, traced

from remem import paper, paths
from remem.paper import HOPS, METHODS, MODELS
from remem.report import claims
from remem.report.cells import ITEMS
from remem.report.claims import CLAIMS, Claim
from remem.report.contrasts import Contrast, Side, above

CLAIM = {claim.id: claim for claim in CLAIMS}
TINY = "in the tiny world: "


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
        ((0.0, 60.0), "holds"),  # silent, and still ranked higher
        ((7.0, 60.0), "holds"),  # what it still says does not count
        ((0.0, 31.0), "smaller than the margin"),
        ((0.0, 15.0), "reversed"),  # erased, and more
        ((95.0, 96.0), "cannot be told"),  # the model before unlearning: hardly anything is silent
    ],
)
def test_npo_masks_where_it_is_silent_and_still_knows(npo, word):
    numbers = {paper.BEFORE: (95, 96), "NPO": npo, paper.RETRAINED: (3, 31)}
    rows = _table2(numbers)
    rng = np.random.default_rng(0)  # an answer holds the value or not
    rows = pd.concat([rows.assign(id=rows["view"] + str(i)) for i in range(2)], ignore_index=True)
    rows["em"] = (rng.random(len(rows)) < rows.em).astype(float)
    rows["id"] += rows.identity + rows.hop
    rows.loc[rows.em == 1, "exposure"] = 100.0  # these are right in any case
    if word == "cannot be told":
        rows.loc[rows.method == "NPO", "em"] = 1.0
    line = claims.check([CLAIM["npo-surface"]], rows, "tiny").iloc[0]
    assert line.verdict == TINY + word
    assert line.measured == ("0 of 4" if word == "cannot be told" else "4 of 4")


def test_only_facts_that_were_taught_can_be_forgotten():
    numbers = {"GA": (10, 40), "GD": (20, 40), "KL": (30, 40), "DPO": (40, 40), "NPO": (50, 40)}
    rows = _table2(numbers)
    both = pd.concat([rows.assign(taught=True), rows.assign(taught=False, em=0.0)])
    told = claims.check(claims.of("table2"), both, "tiny").set_index("claim")
    assert told.ours["scale-resists"] == told.ours["scale-resists-taught"] == 0
    assert told.ours["dpo-forgets-least"] == pytest.approx(-5)
    assert told.ours["dpo-forgets-least-taught"] == pytest.approx(-10)  # NPO has more
    without = claims.check([CLAIM["scale-resists-taught"]], rows, "tiny").iloc[0]
    assert without.note == "no row says whether stage 1 had taught it"


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
        "paper cells",
        "ours",
        "lo",
        "hi",
        "p",
        "rule",
        "margin",
        "unit",
        "units",
        "people",
        "runs",
        "comparison",
        "measured",
        "cells",
        "every cell",
        "needs",
        "remark",
        "note",
    ]
    assert set(table.unit.drop("trade-off")) == {"points"}
    assert table.loc["trade-off", "unit"] == "correlation r"
    assert table.loc["trade-off", "ours"] == pytest.approx(1)
    gd = table.loc["gd-utility"]  # NPO retains most here, and is the rival
    assert gd.comparison == "GD - NPO (EM_r, ROUGE; mean of 8)"
    assert gd.ours == pytest.approx(-15) and gd.cells == "4 of 32"  # GA, in EM_r alone
    assert gd["paper cells"] == "32 of 32" and gd.paper == pytest.approx(9.9375)
    hops = table.loc["hop-forgetting"]
    assert hops.verdict == TINY + "holds" and hops.cells == "10 of 10" and hops.ours == 0


def test_all_cells_had_to_hold_under_the_old_rule():
    numbers = {"GA": (10, 40), "GD": (60, 40), "KL": (30, 40), "DPO": (40, 40), "NPO": (50, 40)}
    rows = _table2(numbers).assign(rouge=lambda table: table.em)
    odd = (rows.model == "tiny-7b") & (rows.hop == "multi") & (rows.method == "NPO")
    rows.loc[odd & (rows["view"] == "retain_eval"), "rouge"] = 0.7
    line = claims.check([CLAIM["gd-utility"]], rows, "tiny").iloc[0]
    assert line.verdict == TINY + "holds" and line.cells == "31 of 32"
    assert line["every cell"] == "does not hold"


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


def test_check_tells_the_mean_over_sizes():
    table = claims.check(claims.of("table3"), _rows(EM), "tiny").set_index("claim")
    learns = table.loc["stage1-learns"]  # by 60 and by 40
    assert learns.ours == pytest.approx(50) and learns.cells == "1 of 2"
    assert learns.paper == pytest.approx((91.50 - 13.33 + 96.37 - 11.25) / 2)
    assert table.loc["stage1-scale", "ours"] == pytest.approx(-20)
    assert table.loc["stage1-scale", "paper bears out"] == "yes"
    assert table.loc["stage1-scale", "verdict"] == TINY + "reversed"


def test_a_claim_about_two_sizes_is_not_settled_by_one():
    table = claims.check(claims.of("table3"), _rows(EM, ["tiny-7b"]), "tiny").set_index("claim")
    assert table.loc["stage1-learns", "measured"] == "1 of 2"
    assert np.isnan(table.loc["stage1-learns", "ours"])
    assert table.verdict.unique().tolist() == [TINY + "cannot be told"]
    assert table.loc["stage1-scale", "measured"] == "0 of 1"


def test_only_the_papers_models_reproduce():
    rows = _rows({**EM, ("13b", "stage 1"): 0.9})
    tiny = claims.check(claims.of("table3"), rows, "tiny")
    assert tiny.verdict.tolist() == [TINY + "holds"] * 3
    assert claims.check(claims.of("table3"), rows, "paper").verdict[0] == "with other models: holds"
    real = rows.assign(model=rows.model.str.replace("tiny", "llava-1.5"))
    assert claims.check(claims.of("table3"), real, "paper").verdict.tolist() == ["reproduced"] * 3
    worse = real.assign(em=0.0)
    told = claims.check(claims.of("table3"), worse, "paper").verdict
    assert told.tolist() == ["smaller than the margin"] * 3


def test_units_are_people_under_runs():
    rows = _rows(EM, seeds=(1, 2, 3))
    rng = np.random.default_rng(0)
    rows["em"] += np.where(rows.stage == "stage 1", rng.normal(0, 0.01, len(rows)), 0)
    table = claims.check(claims.of("table3"), rows, "tiny").set_index("claim")
    assert table[["units", "people", "runs"]].drop_duplicates().to_numpy().tolist() == [[30, 10, 3]]
    once = rows[(rows.stage == "stage 1") | (rows.seed == 1)]  # the base was asked for one seed
    table = claims.check(claims.of("table3"), once, "tiny").set_index("claim")
    assert table.units.to_dict() == {
        "stage1-learns": 10,
        "stage1-generalises": 10,
        "stage1-scale": 30,
    }
    fewer = rows.assign(stage1_seed=rows.seed.map({1: 1, 2: 2, 3: 1}))
    assert set(claims.check(claims.of("table3"), fewer, "tiny").runs) == {2}
    shared = rows.assign(stage1_seed=1)  # one stage 1: what the seeds did apart still counts
    assert set(claims.check(claims.of("table3"), shared, "tiny").runs) == {3}


def test_one_person_at_a_time_is_a_run_of_its_own():
    rows = frame(4, samples=range(20, 201, 20), control=["five epochs"])
    rows = pd.concat([rows, rows.assign(seed=2, em=rows.em / 2)])
    told = claims.check([CLAIM["samples-grow"]], rows, "tiny").iloc[0]
    assert (told.units, told.people, told.runs) == (8, 4, 8)
    mixed = frame(9, setting=["one person", "20 people"], share=range(0, 101, 10), hop=HOPS)
    told = claims.check(claims.of("fig3c"), mixed, "tiny").set_index("claim")
    assert told.runs.to_dict() == {
        "mix-peak": 9,
        "mix-extremes": 9,
        "mix-peak-20": 1,
        "mix-extremes-20": 1,
    }


def test_two_models_of_one_size_are_refused():
    rows = _rows(EM)
    both = pd.concat([rows, rows.assign(model="llava-1.5-7b")])
    with pytest.raises(ValueError, match="stand for one"):
        claims.check(claims.of("table3"), both, "tiny")


def test_the_least_rival_decides():
    stage = [f"{MODELS[0]}/{name}" for name in ("stage 1", "base")]
    up, down = Contrast("EM", stage[0], (stage[1],)), Contrast("EM", stage[1], (stage[0],))
    both = Claim("both", "table3", "", "", above(Side("up", (up,)), Side("down", (down,))))
    one = Claim("one", "table3", "", "", above(Side("up", (up,))))
    told = claims.check([both, one], _rows(EM), "tiny")
    assert told.verdict.tolist() == [TINY + "reversed", TINY + "holds"]
    assert told.comparison.tolist() == ["down (EM)", "up (EM)"]


BOTH = ["tiny-7b", "tiny-13b"]


FRAMES = {
    "fig1": lambda: frame(benchmark=SETS[1:], split=["train", "test"]),
    "fig2a": lambda: frame(set=SETS),
    "table5": lambda: frame(set=SETS),
    "fig3a": lambda: frame(samples=range(20, 201, 20), control=["five epochs", "equal updates"]),
    "fig3b": lambda: frame(samples=range(20, 201, 20), control=["five epochs", "equal updates"]),
    "fig3c": lambda: frame(setting=["one person", "20 people"], share=range(0, 101, 10), hop=HOPS),
    "table2": lambda: (
        frame(
            model=BOTH,
            method=[*METHODS, paper.BEFORE, paper.RETRAINED],
            hop=HOPS,
            view=["retain_eval", "forget", "test_forget", "test_retain"],
        )
        .assign(taught=True, em=0.0)
        .pipe(lambda rows: rows.assign(id=rows.hop + rows["view"] + rows.identity))
    ),
    "table2_curves": lambda: frame(
        model=BOTH, method=METHODS, epoch=range(4), view=["forget", "retain_eval"]
    ),
    "table3": lambda: frame(model=BOTH, stage=["base", "stage 1"], split=["train", "test"]),
    "table4": lambda: frame(model=BOTH, method=["base", paper.BEFORE, *METHODS, paper.RETRAINED]),
    "fig6": lambda: frame(
        model=BOTH,
        method=METHODS,
        hop=HOPS,
        ratio=[5, 10, 15, 20],
        view=["retain_eval", "forget", "test_forget"],
        control=["five epochs", "equal updates"],
    ),
    "fig2b": lambda: traced({name: {("mlp", 0, "subject"): 0.1} for name in SETS}, people=2),
    "fig5": lambda: traced({name: {("mlp", 0, "subject"): 0.1} for name in SETS}, people=2),
}


def test_every_claim_has_its_item_and_its_own_name():
    assert set(FRAMES) == set(ITEMS) == {claim.item for claim in CLAIMS}
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
    if item == "table2":  # a constant has no correlation
        rows.loc[rows["view"] != "forget", "em"] = np.random.default_rng(0).random(
            (rows["view"] != "forget").sum()
        )
        rows = pd.concat([rows, rows.assign(id=rows.id + "b", em=0.5 + rows.index % 7 / 20)])
    table = claims.check(claims.of(item), rows, "tiny")
    for line in table.itertuples():
        count = len(CLAIM[line.claim].parts)
        assert line.measured == f"{count} of {count}", line.claim
    assert set(table.verdict) == {TINY + "cannot be told"}  # two people
    assert set(table.note) == {""}


@pytest.mark.parametrize("item", FRAMES)
def test_a_frame_that_lacks_a_column_is_refused(item):
    with pytest.raises(ValueError, match=f"claims about {item} need the column.*seed"):
        claims.check(claims.of(item), FRAMES[item]().drop(columns="seed"), "tiny")


def test_the_rule_decides_no_claim_about_the_gpt_score():
    numbers = {"GA": 50, "GD": 50, "KL": 50, "DPO": 50, "NPO": 10}
    rows = _table2({name: (level, 40) for name, level in numbers.items()})
    rows["judge"] = rows.em
    asked = [CLAIM["npo-forgets-most"], CLAIM["npo-judge"]]
    gemini, rule = (
        claims.check(asked, rows.assign(judged_by=who), "tiny") for who in ("gemini", "rule")
    )
    assert gemini.verdict.tolist() == [TINY + "holds"] * 2 and set(gemini.note) == {""}
    assert rule.verdict.tolist() == [TINY + "holds", TINY + "cannot be told"]
    assert rule.measured[1] == "0 of 16" and "only the rule" in rule.note[1]


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
        frame(8, samples=range(20, 201, 20), control=["five epochs", "equal updates"]),
        em=lambda row: row.samples / 200 if row.control == "five epochs" else 0.5,
        rouge=lambda row: row.samples / 400 if row.control == "five epochs" else 0.5,
        perplexity=lambda row: 3.0 if row.samples >= 180 else 2 - row.samples / 200,
    )
    told = claims.check(claims.of("fig3a"), rows, "tiny").set_index("claim")
    assert told.verdict.str.removeprefix(TINY).to_dict() == {
        "samples-grow": "holds",
        "samples-correlate": "holds",
        "samples-grow-equal": "smaller than the margin",
    }
    assert told.ours["samples-grow"] == pytest.approx((90 + 45) / 2)
    assert told.unit["samples-correlate"] == "rank correlation"
    spike = claims.check(claims.of("fig3b"), rows, "tiny").verdict
    assert spike.tolist() == [TINY + "holds"] * 2
    flat = claims.check(claims.of("fig3b"), rows.assign(perplexity=1.5), "tiny").verdict
    assert flat.tolist() == [TINY + "smaller than the margin"] * 2


def test_the_peak_of_the_mix():
    rows = frame(8, setting=["one person", "20 people"], share=range(0, 101, 10), hop=HOPS)
    top = {"one person": 70, "20 people": 30}
    rows = _world(rows, em=lambda row: 0.9 - abs(row.share - top[row.setting]) / 200)
    told = claims.check(claims.of("fig3c"), rows, "tiny").set_index("claim").verdict
    assert told.str.removeprefix(TINY).to_dict() == {
        "mix-peak": "holds",
        "mix-extremes": "holds",
        "mix-peak-20": "reversed",
        "mix-extremes-20": "reversed",
    }


def test_flatter_curves_and_the_steepest():
    steep = {"GA": 4, "GD": 2, "KL": 4, "DPO": 4, "NPO": 6}
    rows = frame(
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
    assert told.loc["ratio-forgets", "measured"] == "0 of 20"
    assert told.loc["ratio-scale", "ours"] == pytest.approx(3)


def test_where_effects_are():
    early = {("mlp", layer, "subject"): 0.2 for layer in (0, 1)}  # one kind of state is enough
    late = {("attention", 7, "last"): 0.2}
    rows = traced({"Real Set": early, "FIUBench": {}, "MLLMU-Bench": late, "ReMem": early})
    both = claims.of("fig2b") + claims.of("fig5")
    word = claims.check(both, rows, "tiny").set_index("claim").verdict
    assert word.str.removeprefix(TINY).to_dict() == {
        "trace-real": "holds",
        "trace-real-early": "holds",
        "trace-real-facts": "holds",
        "trace-fiubench": "holds",
        "trace-mllmu": "reversed",
        "trace-mllmu-image": "reversed",
        "trace-remem": "holds",
        "trace-remem-early": "holds",
        "trace-remem-image": "holds",
    }


def test_a_total_effect_below_the_floor_tells_nothing():
    rows = traced({"FIUBench": {}, "ReMem": {}})
    rows.loc[rows.set == "FIUBench", "total"] = 0.01
    both = claims.of("fig2b") + claims.of("fig5")
    told = claims.check(both, rows, "tiny").set_index("claim")
    assert told.verdict["trace-fiubench"].endswith("cannot be told")
    assert (
        told.note["trace-fiubench"] == "nothing to trace: swapping the subject changes too little"
    )
    assert told.verdict["trace-remem"].endswith("smaller than the margin")
    lower = claims.check(both, rows, "tiny", floor=0.001).set_index("claim")
    assert lower.verdict["trace-fiubench"].endswith(" holds")


def test_the_scorecard_has_every_claim_in_the_papers_order():
    verdicts = claims.check(claims.of("table3"), _rows(EM), "tiny").iloc[::-1]
    table = claims.scorecard({"06_stage1": verdicts})
    assert table.claim.tolist() == [claim.id for claim in CLAIMS]
    sections = table.section.str.removeprefix("ours, ").drop_duplicates().tolist()
    assert sections == ["§1", "§4", "§5", "§7.2", "§7.3", "A.1", "A.2", "A.3"]
    more = {"notebook", "p_adjusted", "without_preconditions", "preconditions"}
    assert set(verdicts) | more == set(table)
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
    direct, read = (claims.scorecard({"06": each}) for each in (verdicts, written))
    pd.testing.assert_frame_equal(direct, read)
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


def test_p_is_adjusted_over_the_whole_scorecard():
    told = claims.check(claims.of("table3"), _rows(EM), "tiny")
    told["p"] = [0.01, 0.02, 0.9]
    table = claims.scorecard({"06": told}).set_index("claim")
    assert table.p_adjusted[told.claim].tolist() == pytest.approx([0.03, 0.03, 0.9])
    assert table.p_adjusted.notna().sum() == 3


# ---------------------------------------------------------------- preconditions


def _preconditions(*lines):
    return pd.DataFrame(lines, columns=["precondition", "model", "what", "met"])


def _gated(*lines, em=EM):
    told = claims.check(claims.of("table3"), _rows({**em, ("13b", "stage 1"): 0.9}), "tiny")
    return claims.gate(told, _preconditions(*lines) if lines else None).set_index("claim")


def test_a_missed_precondition_takes_the_verdict_back():
    table = _gated(
        ("P5", "tiny-7b", "training EM", "yes"),
        ("P5", "tiny-13b", "training EM", "no"),
        ("P4", "", "the base guesses", "yes"),
        ("P1", "tiny-7b", "the name is used", "no"),
    )
    told = table.loc["stage1-scale"]
    assert told.verdict == TINY + "cannot be told: P5 training EM"
    assert told.without_preconditions == TINY + "holds"
    assert told.preconditions == "missed: P5"  # P1 is not needed


def test_what_is_not_measured_or_only_reported_takes_nothing_back():
    table = _gated(("P5", "tiny-7b", "reported", ""), ("P5", "tiny-7b", "rate", "yes"))
    assert set(table.verdict) == {TINY + "holds"}
    assert table.preconditions.to_dict() == {
        "stage1-learns": "not measured: P4",
        "stage1-generalises": "not measured: P4",
        "stage1-scale": "met",
    }
    assert set(_gated().preconditions) == {"not measured: P4, P5", "not measured: P5"}


def test_a_precondition_of_another_model_does_not_count():
    line = ("P6", "tiny-13b", "ability", "no")
    told = claims.check([CLAIM["mmbench-gd"], CLAIM["mmbench-drop"]], FRAMES["table4"](), "tiny")
    gd, drop = claims.gate(told, _preconditions(line)).verdict  # the first is on 7B alone
    assert gd == TINY + "cannot be told" and drop == TINY + "cannot be told: P6 ability"


def test_gating_twice_is_gating_once():
    table = _gated(("P5", "tiny-13b", "training EM", "no")).reset_index()
    pd.testing.assert_frame_equal(claims.gate(table, None), table)
    other = pd.DataFrame({"claim": ["a"], "verdict": ["holds"]})
    assert claims.gate(other, None) is other


# ---------------------------------------------------------------- beside 0.2


def test_each_change_has_its_reason():
    told = claims.check(claims.of("table3"), _rows({**EM, ("13b", "stage 1"): 0.9}), "tiny")
    missed = _preconditions(("P4", "", "the base guesses", "no"))
    table = claims.changes(claims.scorecard({"06": told}, missed)).set_index("claim")
    assert table.index.tolist() == [claim.id for claim in CLAIMS]
    assert table.old["stage1-learns"] == "holds"
    assert table.reason["stage1-learns"] == "precondition missed: P4"
    assert table.old["stage1-scale"] == "cannot be told"
    assert table.reason["stage1-scale"].startswith("world: 0.2's rule would now say holds")
    assert table.reason["gd-utility-matched"] == "new: 0.2 had no such claim"
    assert table.reason["gd-utility"] == "not run"
    assert table.part_of["npo-judge"] == "npo-forgets-most" and table.part_of["npo-drop"] == ""
    was = {claim.was for claim in CLAIMS} - {""}
    old = pd.read_csv(paths.PAPER.with_name("verdicts_0.2.csv"))
    assert was == set(old.claim) and len(old) == 58


def test_a_verdict_that_the_rule_changed_says_so():
    numbers = {"GA": (10, 40), "GD": (60, 40), "KL": (30, 40), "DPO": (40, 40), "NPO": (50, 40)}
    told = claims.check([CLAIM["gd-utility"]], _table2(numbers), "tiny")
    told["every cell"] = "cannot be told"  # as in 0.2
    line = claims.changes(claims.scorecard({"07": told})).set_index("claim").loc["gd-utility"]
    assert line.new.endswith("holds") and line.reason.startswith("rule: each cell had to hold")
    assert told.cells[0] in line.reason


def test_the_scorecard_takes_seconds():
    rows = pd.concat(
        [
            FRAMES["table2"]().assign(seed=seed, identity=lambda t, s=seed: t.identity + str(s % 3))
            for seed in range(1, 6)
        ]
    )
    began = time.process_time()
    claims.check(claims.of("table2"), rows, "tiny")
    assert time.process_time() - began < 10
