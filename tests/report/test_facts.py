import numpy as np
import pandas as pd
import pytest

from remem.report import facts, tables


def _unlearned(people=10, em=(1.0, 0.25, 0.0)):
    """Answers before unlearning, of one method and retrained: forget rows and a held-out one of a
    fact each; p00 was never learned."""
    named = dict(zip(("before unlearning", "GA", "retrained"), em, strict=True))
    lines = []
    for method, value in named.items():
        for i in range(people):
            known = method != "before unlearning" or i > 0
            line = {"model": "tiny-7b", "method": method, "hop": "single", "seed": 1}
            line |= {"identity": f"p{i:02d}", "attribute": "job", "em": value * known}
            line |= {"exposure": 100 * value, "exposure_linear": 50.0, "logp": -1 - (1 - value)}
            line |= {"logp_sum": -4.0, "value_tokens": 4, "candidates": 20}
            ranked = {"view": "forget", "split": "train", "candidate_rank": 1.0 if known else 3.0}
            held_out = {"view": "test_forget", "split": "test", "candidate_rank": np.nan}
            lines += [line | ranked, line | ranked, line | held_out]
            lines += [line | {"view": view, "split": "train"} for view in ("retain_eval",)]
            lines += [line | {"view": "test_retain", "split": "test"}]
    return pd.DataFrame(lines)


def test_taught_facts_are_those_answered_right_held_out_and_ranked_first():
    rows = facts.mark_taught(_unlearned())
    assert rows[~rows["taught"]].identity.unique().tolist() == ["p00"]
    table = facts.table2_taught(rows)
    assert table.method.tolist() == ["before unlearning", "GA", "retrained"]
    assert table.EM_f.tolist() == pytest.approx([100, 25, 0])  # p00 counts nowhere
    assert table.taught.tolist() == [9] * 3 and table.facts.tolist() == [10] * 3
    assert "ROUGE" not in table and "judge" not in table
    assert list(tables.main(table)) == [
        name for name in table if not name.startswith(("Exposure_linear", "logp"))
    ]


def test_where_nothing_was_taught_the_rows_are_there_and_empty():
    rows = facts.mark_taught(_unlearned().assign(candidate_rank=np.nan))
    table = facts.table2_taught(rows)
    assert table.taught.eq(0).all() and len(table) == 3 and table.EM_f.isna().all()


def test_the_erased_share_is_0_before_and_100_retrained():
    table = facts.erased(_unlearned(em=(0.9, 0.3, 0.1))).set_index("method")
    shares = table[["Exposure_erased", "Exposure_erased_lo", "Exposure_erased_hi"]].to_numpy()
    np.testing.assert_allclose(shares, [[0] * 3, [75] * 3, [100] * 3], atol=1e-9)
    assert table.EM_f["GA"] == pytest.approx(30) and table.logp["GA"] == pytest.approx(-1.7)
    lo, share, hi = table.loc["GA", ["EM_f_erased_lo", "EM_f_erased", "EM_f_erased_hi"]]
    assert share == pytest.approx(100 * (81 - 30) / (81 - 10)) and lo < share < hi  # p00: 0, 30, 10
    assert table.Exposure_linear_erased.isna().all() and (table.units == 10).all()
    assert set(table.note) == {"before and retrained do not differ: Exposure_linear"}


def test_the_erased_share_of_few_people_has_no_interval():
    table = facts.erased(_unlearned(people=5, em=(0.9, 0.3, 0.1)))
    assert table.Exposure_erased.tolist() == pytest.approx([0, 75, 100])
    assert table.Exposure_erased_lo.isna().all()


def test_a_difference_that_may_be_nothing_has_no_share():
    rows = _unlearned()
    rows["em"] = rows.identity.str[1:].astype(int) % 2 * (rows["method"] != "GA")
    rows.loc[(rows["method"] == "retrained") & (rows.identity == "p01"), "em"] = 0
    table = facts.erased(rows)
    assert table.EM_f_erased.isna().all() and "EM_f" in table.note[0]


def test_sensitivity_reads_the_same_answers_by_other_rules():
    rows = _unlearned().assign(
        answer_given="It is A nurse.", answer="The job is a nurse.", target="a nurse"
    )
    rows.loc[rows["method"] == "retrained", "method"] = "KL, all positions"  # no row of its own
    varied = rows[rows["method"] == "GA"].assign(method="NPO", varied="beta", setting="0.5")
    table = facts.sensitivity(rows, varied)
    assert list(table) == [
        *("varied", "setting", "method", "hop"),
        *("EM_r", "EM_f", "Exposure", "Exposure_linear"),
    ]
    assert set(table.method) == {"NPO", "GA", "before unlearning"}
    ours = table[table.varied == "EM rule"].groupby("setting", sort=False).EM_f.unique()
    assert [list(each) for each in ours] == [[100], [0], [0]]
    assert table[table.varied == "beta"].EM_f.tolist() == pytest.approx([25])


def test_by_attribute_each_fact_stands_alone_with_the_length_of_its_value():
    rows = _unlearned()
    names = rows.assign(attribute="name", em=0.0, value_tokens=6, rouge=0.9)
    rows = pd.concat([rows.assign(rouge=0.9), names]).assign(judge=0.3, judged_by="rule")
    table = facts.by_attribute(rows)
    ga = table[table.method == "GA"]
    assert ga.attribute.tolist() == ["job", "name"]
    assert ga.value_tokens.tolist() == [4, 6]
    assert ga.EM_f.tolist() == pytest.approx([25, 0]) and ga.logp.tolist() == [-1.75] * 2
