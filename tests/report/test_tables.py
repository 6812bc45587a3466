import numpy as np
import pandas as pd
import pytest

from remem import metrics
from remem.report import show, tables

VIEWS = {"retain_eval": 0.8, "forget": 0.25, "test_forget": 0.5, "test_retain": 0.6}


def _rows(models=("tiny-13b", "tiny-7b"), methods=("retrained", "mine", "NPO", "GA")):
    """Scored rows: ten people, EM of a view as above (half the people 0.1 above, half below)."""
    return pd.DataFrame(
        [
            {
                "model": model,
                "method": method,
                "hop": hop,
                "view": view,
                "seed": 1,
                "identity": f"p{i:02d}",
                "attribute": attribute,
                "em": em + (0.1 if i % 2 else -0.1),
                "rouge": 0.9,
                "judge": 0.3,
                "judged_by": "rule",
                "exposure": 40.0,
                "exposure_linear": 70.0,
                "logp": -2.0,
                "logp_sum": -8.0,
                "value_tokens": 4,
                "candidates": 20 if attribute == "job" else 4,
            }
            for model in models
            for method in methods
            for hop in ("multi", "single")
            for view, em in VIEWS.items()
            for attribute in ("job", "name")
            for i in range(10)
        ]
    )


def test_table2_by_hand():
    table = tables.table2(_rows())
    assert list(table.model.unique()) == ["tiny-7b", "tiny-13b"]
    assert list(table.method.unique()) == ["chance", "GA", "NPO", "retrained", "mine"]
    assert list(table.hop[:2]) == ["single", "multi"]
    first = table[table.method == "GA"].iloc[0]
    ours = [first[name] for name in ("ROUGE", "EM_r", "judge", "EM_f", "Exposure", "EM_t")]
    assert ours == pytest.approx([90, 80, 30, 25, 40, 50])
    assert first.EM_t_retain == pytest.approx(60)
    assert 70 < first.EM_r_lo < 80 < first.EM_r_hi < 90
    assert (first.paper_EM_f, first.paper_judge) == (27.14, 25.54)  # GA, 7B, single-hop
    assert table.loc[table.method.isin(["retrained", "mine"]), "paper_EM_f"].isna().all()
    assert "paper_EM_t_retain" not in table
    others = tables.table2(_rows(), resamples=10, paper=False)  # people who are not ReMem's
    assert list(others) == list(table) and others.filter(like="paper_").isna().all(axis=None)
    order = ["model", "method", "hop", "ROUGE", "ROUGE_lo", "ROUGE_hi", "paper_ROUGE", "EM_r"]
    assert list(table)[:8] == order


def test_chance_is_a_guess_among_the_candidates():
    table = tables.table2(_rows(["tiny-7b"], ["mine", "base"]))
    assert table.method.tolist() == ["base", "base", "chance", "chance", "mine", "mine"]
    chance = table[table.method == "chance"]
    for column in ("EM_r", "EM_f", "EM_t", "EM_t_retain"):
        assert chance[column].tolist() == pytest.approx([(5 + 25) / 2] * 2)
    expected = (metrics.exposure_chance(20) + metrics.exposure_chance(4)) / 2
    assert chance.Exposure.tolist() == pytest.approx([expected] * 2)
    assert chance[["ROUGE", "judge", "EM_f_lo", "Exposure_hi", "paper_EM_f"]].isna().all(axis=None)
    assert chance.Exposure_linear.tolist() == pytest.approx([50] * 2)
    with pytest.raises(ValueError, match="candidates"):
        tables.table2(_rows(["tiny-7b"], ["mine"]).drop(columns="candidates"))


def test_a_metric_of_ones_own_stands_after_the_papers():
    rows = _rows(["tiny-7b"], ["GA", "base"])
    rows["long"] = np.where(rows["view"] == "forget", 0.7, 0.1)
    table = tables.table2(rows, resamples=100, more={"long_f": ("forget", "long")})
    usual = tables.table2(rows, resamples=100)
    own = ["long_f", "long_f_lo", "long_f_hi"]
    assert list(table.drop(columns=own)) == list(usual)
    pd.testing.assert_frame_equal(table.drop(columns=own), usual)
    assert list(table)[-6:] == [*own, "units", "units_retain", "not_learned"]
    ours = table[table.method != "chance"]
    assert {*ours.units} == {*ours.units_retain} and ours.units.min() > 7
    assert ours[own].to_numpy().ravel().tolist() == pytest.approx([70] * 12)
    assert table[table.method == "chance"].long_f.isna().all()


@pytest.mark.parametrize(
    "more, message",
    [
        ({"mine": ("forgotten", "em")}, "the view 'forgotten'; there are retain_eval, forget, "),
        ({"mine": ("forget", "brevity")}, r"the column 'brevity'.*rows.assign\(brevity="),
        ({"EM_f": ("forget", "em")}, "'EM_f' is taken"),
        ({"model": ("forget", "em")}, "'model' is taken"),
    ],
)
def test_a_metric_of_ones_own_that_cannot_be_shown_is_refused(more, message):
    with pytest.raises(ValueError, match=message):
        tables.table2(_rows(["tiny-7b"], ["GA"]), more=more)


def test_a_view_that_was_not_run_is_empty_not_left_out():
    rows = _rows(["tiny-7b"], ["GA"])
    table = tables.table2(rows[rows["view"] != "test_retain"])
    assert table.method.tolist() == ["chance", "chance", "GA", "GA"]
    assert table.EM_t_retain.isna().all()


def test_few_units_have_no_interval():
    rows = _rows(["tiny-7b"], ["GA"])
    table = tables.table2(rows[rows.identity < "p07"])
    assert table[["EM_f_lo", "EM_f_hi"]].isna().all(axis=None)
    assert table.EM_f.notna().all()


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="em, exposure"):
        tables.table2(_rows().drop(columns=["em", "exposure"]))


def test_table3_by_hand():
    rows = _rows(["llava-1.5-7b"], ["base", "stage 1"]).rename(columns={"method": "stage"})
    rows = rows[rows["view"].isin(["forget", "test_forget"])]
    rows["split"] = rows["view"].map({"forget": "train", "test_forget": "test"})
    table = tables.table3(rows)
    assert table.stage.tolist() == ["base", "stage 1"]
    assert table.EM.tolist() == pytest.approx([25, 25])
    assert table.EM_t.tolist() == pytest.approx([50, 50])
    assert table.paper_EM.tolist() == [13.33, 91.50]
    assert table.paper_ROUGE.tolist() == [27.07, 97.19]


def _stage1(name, values, models=("tiny-7b",), people=10):
    """Scored rows in which EM on training rows is values[label], on held-out rows half of it."""
    return pd.DataFrame(
        [
            {
                "model": model,
                name: label,
                "split": split,
                "seed": 1,
                "identity": f"p{i:02d}",
                "em": em / (1 if split == "train" else 2),
                "rouge": 0.9,
                "judge": 0.3,
                "judged_by": "gemini-2.5-flash",
            }
            for model in models
            for label, em in values.items()
            for split in ("train", "test")
            for i in range(people)
        ]
    )


def test_fig1_has_the_papers_numbers_for_remem_alone():
    values = {"ReMem": 1.0, "FIUBench": 0.2, "MLLMU-Bench": 0.1}
    table = tables.fig1(_stage1("benchmark", values, ("tiny-13b", "tiny-7b")))
    assert table.model.tolist() == ["tiny-7b"] * 3 + ["tiny-13b"] * 3
    assert table.benchmark.tolist() == ["FIUBench", "MLLMU-Bench", "ReMem"] * 2
    assert table.EM.tolist() == pytest.approx([20, 10, 100] * 2)
    assert table.EM_t.tolist() == pytest.approx([10, 5, 50] * 2)
    np.testing.assert_array_equal(table.paper_EM, [np.nan, np.nan, 91.5, np.nan, np.nan, 96.37])
    assert set(table.judged_by) == {"gemini-2.5-flash"}
    assert "Gemini (gemini-2.5-flash)" in show.show(table).to_html()


def test_causes_keep_their_order():
    changes = {"none (ReMem)": 1.0, "20 QA": 0.5, "1 picture": 0.75}
    table = tables.causes(_stage1("change", changes))
    assert table.change.tolist() == list(changes)
    assert table.EM.tolist() == pytest.approx([100, 50, 75])
    assert not [name for name in table if name.startswith("paper_")]


def test_one_table_has_one_judge_and_one_model():
    rows = _stage1("benchmark", {"ReMem": 1.0})
    rows.loc[0, "judged_by"] = "rule"
    with pytest.raises(ValueError, match="judged_by is rule and gemini"):
        tables.fig1(rows)
    rows = pd.DataFrame(
        {
            "samples": 20,
            "control": "five epochs",
            "seed": 1,
            "identity": "p1",
            "rouge": 1.0,
            "em": 1.0,
            "perplexity": 2.0,
            "model": ["a", "b"],
        }
    )
    with pytest.raises(ValueError, match="model is a and b"):
        tables.scaling(rows)


def test_signatures_by_hand():
    rows = pd.DataFrame(
        [
            {
                "set": name,
                "model": "tiny-7b",
                "seed": 1,
                "identity": f"p{i:02d}",
                "min_k": k + i % 2,
                "inverse_perplexity": 10 * k,
                "mean_probability": 50.0,
                "tokens": 4 + 2 * (i % 2),
            }
            for name, k in (("ReMem", 8.0), ("FIUBench", 0.5), ("Real Set", 20.0))
            for i in range(10)
        ]
    )
    table = tables.signatures(rows)
    assert table.set.tolist() == ["Real Set", "FIUBench", "ReMem"]
    assert table.min_k.tolist() == pytest.approx([20.5, 1.0, 8.5])
    assert table.tokens.tolist() == [5] * 3 and table.people.tolist() == [10] * 3
    np.testing.assert_array_equal(table.paper_inverse_perplexity, [np.nan, 4.25, 33.65])
    assert "paper_mean_probability" not in table and "tokens_lo" not in table
    assert 20 < table.min_k_lo[0] < 20.5 < table.min_k_hi[0] < 21


@pytest.fixture
def traced():
    """Ten people; restoring the subject at layer 1 recovers half, at layer 0 nothing."""
    return pd.DataFrame(
        [
            {
                "set": name,
                "seed": 1,
                "identity": f"p{i:02d}",
                "asked": "name",
                "corruption": corruption,
                "state": "mlp",
                "layer": layer,
                "position": position,
                "clean": total + 0.1,
                "corrupted": 0.1,
                "total": total,
                "effect": total * 0.5 * (layer == 1 and position == "subject"),
            }
            for name, scale in (("ReMem", 0.4), ("FIUBench", 0.002))
            for corruption in ("image", "entity")
            for layer in (1, 0)
            for position in ("last", "subject")
            for i in range(10)
            for total in [scale * (1 + i % 2)]
        ]
    )


def test_traces_are_shares_of_the_total_or_cannot_be_told(traced):
    table = tables.traces(traced, floor=0.05)
    assert list(table) == [
        "set",
        "asked",
        "corruption",
        "state",
        "layer",
        "position",
        "effect",
        "effect_lo",
        "effect_hi",
        "share",
        "share_lo",
        "share_hi",
        "clean",
        "corrupted",
        "total",
        "people",
        "measurable",
    ]
    assert len(table) == 2 * 2 * 2 * 2 and table.people.eq(10).all()
    assert table.set[0] == "FIUBench" and table.layer[:4].tolist() == [0, 0, 1, 1]
    assert table.position[:2].tolist() == ["subject", "last"]
    assert table.corruption.tolist() == (["entity"] * 4 + ["image"] * 4) * 2
    assert table.measurable.tolist() == [False] * 8 + [True] * 8
    assert table.loc[~table.measurable, ["share", "share_lo", "share_hi"]].isna().all(axis=None)
    found = table[(table.set == "ReMem") & (table.layer == 1) & (table.position == "subject")]
    assert found.total.tolist() == pytest.approx([60, 60])
    assert found.effect.tolist() == pytest.approx([30, 30])
    assert found[["share", "share_lo", "share_hi"]].to_numpy().ravel() == pytest.approx([50] * 6)
    assert (found.effect_lo < 30).all() and (found.effect_hi > 30).all()
    rest = table[table.measurable & ((table.layer == 0) | (table.position == "last"))]
    assert rest[["share", "share_lo", "share_hi", "effect"]].eq(0).all(axis=None)
    html = tables.show(table.tail(1)).to_html()
    assert ">yes<" in html and "nan" not in html


def test_traces_of_few_people_have_no_interval(traced):
    table = tables.traces(traced[traced.identity < "p07"], floor=0.05)
    assert table[["effect_lo", "share_hi"]].isna().all(axis=None)
    assert table.share[table.measurable].notna().all()


def test_peaks_of_traces_are_found_by_others(traced):
    noise = np.random.default_rng(0).normal(0, 0.001, len(traced))
    rows = traced.assign(effect=traced.effect + noise, asked="fact")
    control = rows.assign(state="residual")
    table = tables.trace_peaks(pd.concat([traced, rows, control]), floor=0.05)
    assert table.asked.tolist() == (["name"] * 2 + ["fact"] * 2) * 2
    assert set(table.state) == {"mlp"} and table.people.eq(10).all()
    real = table[table.set == "ReMem"]
    assert real.peak.tolist() == pytest.approx([30] * 4, abs=0.2)
    assert real.share.tolist() == pytest.approx([50] * 4, abs=0.5)
    assert (real.peak_lo < 30).all() and (real.peak_hi > 30).all()
    assert real["found at"].eq("1, subject").all()
    below = table[table.set == "FIUBench"]
    assert below.share.isna().all() and below.peak.abs().max() < 0.3


def test_scaling_and_hops_by_hand():
    rows = pd.DataFrame(
        [
            {
                "samples": n,
                "control": control,
                "setting": "one person",
                "share": n // 2,
                "hop": "multi",
                "seed": seed,
                "identity": f"p{i}",
                "em": n / 100 - 0.1 * seed,
                "rouge": 1.0,
                "perplexity": 3.0 * seed,
            }
            for control in ("equal updates", "five epochs")
            for n in (100, 20)
            for seed in (0, 1)
            for i in range(5)
        ]
    )
    table = tables.scaling(rows)
    assert table.control.tolist() == ["five epochs"] * 2 + ["equal updates"] * 2
    assert table.samples.tolist() == [20, 100] * 2 and table.units.tolist() == [10] * 4
    assert table.EM.tolist() == pytest.approx([15, 95] * 2)
    assert table.perplexity.tolist() == pytest.approx([1.5] * 4)  # no share, so not times 100
    table = tables.hops(rows)
    assert table.share.tolist() == [10, 50] and table.EM.tolist() == pytest.approx([15, 95])


def test_peaks_are_found_with_an_interval():
    curves = {0: [0.2] * 10, 50: [0.9] * 9 + [0.0], 70: [0.8] * 10, 100: [0.5] * 10}
    rows = pd.DataFrame(
        [
            {
                "setting": setting,
                "hop": hop,
                "share": share,
                "seed": 1,
                "identity": f"p{i}",
                "em": em,
            }
            for setting in ("20 people", "one person")
            for hop in ("multi", "single")
            for share, ems in curves.items()
            for i, em in enumerate(ems)
        ]
    )
    table = tables.peaks(rows)
    assert table[["setting", "hop"]].to_numpy().tolist() == [
        ["one person", "single"],
        ["one person", "multi"],
        ["20 people", "single"],
        ["20 people", "multi"],
    ]
    assert table.peak.tolist() == [50] * 4 and table.units.tolist() == [10] * 4  # 81 against 80
    assert table.peak_lo.tolist() == [50] * 4 and table.peak_hi.tolist() == [70] * 4
    np.testing.assert_array_equal(table.paper_peak, [70, 70, np.nan, np.nan])
    rows.loc[rows.share == 70, "em"] = rows.loc[rows.share == 50, "em"].to_numpy()
    assert tables.peaks(rows).peak.tolist() == [60] * 4  # two are equally good: the middle
    few = tables.peaks(rows[rows.identity < "p5"])
    assert few.peak_lo.isna().all() and few.peak.notna().all()


def test_table4_by_hand():
    rows = pd.DataFrame(
        [
            {
                "model": model,
                "method": method,
                "seed": 1,
                "identity": str(i),
                "category": "hair",
                "plain": float(i < 6),
                "generated": float(i < 4) if i < 8 else np.nan,
                "circular": float(i < 2) if i < 8 else np.nan,
            }
            for model in ("tiny-13b", "tiny-7b")
            for method in ("retrained", "NPO", "before unlearning", "base")
            for i in range(12)
        ]
    )
    table = tables.table4(rows)
    assert table.method[:4].tolist() == ["base", "before unlearning", "NPO", "retrained"]
    assert table.MMBench.tolist() == [50] * 8 and table.MMBench_circular.tolist() == [25] * 8
    assert table.MMBench_generated.tolist() == [50] * 8  # of the eight that were asked
    np.testing.assert_array_equal(table.paper_MMBench[:4], [71.30, np.nan, 68.72, np.nan])
    assert "paper_MMBench_circular" not in table and "questions" not in table
    table = tables.table4(rows.assign(questions="my own"))
    assert table.questions.tolist() == ["my own"] * 8


def test_ratios_have_the_papers_numbers_at_20_percent_only():
    rows = pd.concat(
        _rows(["tiny-7b"], ["NPO", "GA"]).assign(ratio=ratio, control=control)
        for control in ("equal updates", "five epochs")
        for ratio in (20, 5)
    )
    table = tables.ratios(rows)
    assert len(table) == 2 * 2 * 2 * 2
    assert list(table)[:5] == ["model", "method", "ratio", "control", "hop"]
    assert table[["control", "method", "hop", "ratio"]].to_numpy()[:3].tolist() == [
        ["five epochs", "GA", "single", 5],
        ["five epochs", "GA", "single", 20],
        ["five epochs", "GA", "multi", 5],
    ]
    printed = table[table.paper_EM_f.notna()]
    assert set(zip(printed.ratio, printed.control, strict=True)) == {(20, "five epochs")}
    assert printed.paper_EM_f.tolist() == [27.14, 28.33, 21.79, 20.83]
    assert set(metrics.TABLE2) <= set(table)


def test_who_was_not_memorised_is_named_before_a_table():
    rows = pd.DataFrame(
        {
            "model": ["a", "a", "b"],
            "seed": 1,
            "identity": ["p00", "p01", "p00"],
            "name": "Ada",
            "split": "test",
            "em": [1.0, 0.0, 0.4],
        }
    )
    told = tables.warning(rows)
    assert told.startswith("WARNING: 2 of 3") and told.endswith("a: p01; b: p00")
    assert "WARNING" not in tables.warning(rows[rows.em > 0.5])
