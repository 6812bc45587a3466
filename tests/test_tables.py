import numpy as np
import pandas as pd
import pytest

from remem import metrics, tables

VIEWS = {"retain_eval": 0.8, "forget": 0.25, "test_forget": 0.5, "test_retain": 0.6}


def _rows(models=("tiny-13b", "tiny-7b"), methods=("retrained", "mine", "NPO", "GA")):
    """Scored rows: ten people, EM of a view as above (half the people 0.1 above, half below)."""
    return pd.DataFrame(
        [
            {"model": model, "method": method, "hop": hop, "view": view, "seed": 1,
             "identity": f"p{i:02d}", "attribute": attribute,
             "em": em + (0.1 if i % 2 else -0.1), "rouge": 0.9, "judge_rule": 0.3,
             "exposure": 40.0, "candidates": 20 if attribute == "job" else 4}
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
    linear = tables.table2(_rows(["tiny-7b"], ["mine"]), form="linear")
    assert linear.Exposure[0] == pytest.approx(50)
    with pytest.raises(ValueError, match="candidates"):
        tables.table2(_rows(["tiny-7b"], ["mine"]).drop(columns="candidates"))


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


def test_by_attribute():
    rows = _rows(["tiny-7b"], ["GA"])
    rows.loc[rows.attribute == "job", "em"] = 0.0
    table = tables.by_attribute(rows)
    assert table.groupby("attribute").EM_f.mean().to_dict() == pytest.approx({"job": 0, "name": 25})
    assert set(metrics.TABLE2) <= set(table) and set(table.method) == {"GA"}


def test_what_is_assumed_is_what_is_done():
    from remem import params, qa

    table = tables.assumptions()
    assert list(table) == ["topic", "ours", "reason"]
    assert table.topic.is_unique and not table.isna().any(axis=None)
    ours = table.set_index("topic").ours
    assert f"One of {len(qa.REFUSALS)} short sentences" in ours["Refusals for DPO"]
    tiny, paper = (params.load(scale) for scale in ("tiny", "paper"))
    rank = "{}, with alpha {}; at paper scale the paper's {} and {}"
    ranks = tiny.stage1.rank, tiny.stage1.alpha, paper.stage1.rank, paper.stage1.alpha
    assert ours["LoRA's rank at tiny"] == rank.format(*ranks)
    for p in (tiny, paper):
        assert f"beta {p.stage2.beta:g}," in ours["NPO and DPO"]
        assert f"Seeds {', '.join(map(str, p.seeds))};" in ours["Seeds and folds"]
        for stage in (p.stage1, p.stage2):
            assert ours["Schedule"].startswith(stage.schedule.capitalize())
            assert f"{stage.warmup:.0%}".replace("%", " %") in ours["Schedule"]
            assert ours["Weight decay"] == f"{stage.weight_decay:g}"
            assert ours["Clipping"].endswith(f"at most {stage.clip:g}")


def test_show_sets_the_papers_number_beside_ours_and_escapes():
    table = pd.DataFrame(
        {"method": ["<b>mine</b>"], "EM_f": [27.25], "EM_f_lo": [20.04], "EM_f_hi": [33.0],
         "paper_EM_f": [27.14], "judge": [np.nan], "judge_lo": [np.nan], "judge_hi": [np.nan],
         "n": [3]}
    )
    html = tables.show(table).to_html()
    assert "27.2 <small>[20.0, 33.0]</small><br><small>paper 27.14</small>" in html
    assert "&lt;b&gt;mine&lt;/b&gt;" in html and "<b>mine" not in html
    assert "rule judge (ours, not Gemini)" in html
    assert "nan" not in html and "paper_EM_f" not in html and "EM_f_lo" not in html
