import numpy as np
import pandas as pd
import pytest

from remem import metrics
from remem.report import show


def test_show_sets_the_papers_number_beside_ours_and_escapes():
    table = pd.DataFrame(
        {
            "method": ["<b>mine</b>"],
            "EM_f": [27.25],
            "EM_f_lo": [20.04],
            "EM_f_hi": [33.0],
            "paper_EM_f": [27.14],
            "judge": [np.nan],
            "judge_lo": [np.nan],
            "judge_hi": [np.nan],
            "n": [3],
        }
    )
    html = show.show(table).to_html()
    assert "27.2 <small>[20.0, 33.0]</small><br><small>paper 27.14</small>" in html
    assert "&lt;b&gt;mine&lt;/b&gt;" in html and "<b>mine" not in html
    assert "rule judge (ours, not Gemini)" in html
    assert "nan" not in html and "paper_EM_f" not in html and "EM_f_lo" not in html


def test_show_keeps_whole_numbers_and_gives_small_columns_a_digit_more():
    table = pd.DataFrame({"samples": [20, 40], "min_k": [0.05, np.nan], "EM": [5.25, 50.0]})
    html = show.show(table).to_html()
    assert ">20<" in html and ">0.05<" in html and ">5.2<" in html and "nan" not in html


def test_show_says_which_gemini_judged():
    table = pd.DataFrame({"judge": [50.0], "judged_by": ["gemini-2.5-pro"]})
    html = show.show(table).to_html()
    assert "Gemini (gemini-2.5-pro)" in html and "judged_by" not in html and "rule" not in html


@pytest.mark.parametrize("gap", [np.nan, None, ""])
def test_a_row_that_nobody_judged_names_no_gemini(gap):
    table = pd.DataFrame({"judge": [50.0, np.nan], "judged_by": ["rule", gap]})
    assert show.judged_by(table) == show.RULE_JUDGE
    table["judged_by"] = ["gemini-2.5-pro", gap]
    assert show.judged_by(table) == "Gemini (gemini-2.5-pro)"


def test_table_4_says_which_questions_were_asked():
    table = pd.DataFrame({name: [50.0] for name in (*show.ABILITY, "paper_MMBench")})
    assert list(show.show(table).data) == [*show.ABILITY]
    table["questions"] = "drawn questions"
    shown = show.show(table)
    names = ["drawn questions", "drawn questions, generated", "drawn questions, circular"]
    assert list(shown.data) == names and "MMBench" not in shown.to_html()
    assert "paper 50.00" in shown.to_html()


def cells(table: pd.DataFrame, **options) -> list[list[str]]:
    return show.show(table, **options).data.to_numpy().tolist()


def test_no_minus_stands_before_a_zero():
    values = {"EM": [-0.04], "EM_lo": [-0.049], "EM_hi": [-0.0], "paper_EM": [-0.001]}
    [[cell]] = cells(pd.DataFrame(values | {"EM": [-0.04]}), digits=0)
    assert "-" not in cell and cell.startswith("0.0 <small>[0.0, 0.0]</small>")
    assert cells(pd.DataFrame({"EM": [-0.04, 50.0], "n": [-0.0, 3.0]})) == [
        ["0.0", "0"],
        ["50.0", "3"],
    ]
    assert cells(pd.DataFrame({"EM": [-0.06, 50.0]})) == [["-0.1"], ["50.0"]]


def test_a_claim_with_a_small_margin_has_the_digits_that_it_needs():
    table = pd.DataFrame(
        {
            "ours": [-0.005, 12.34, -0.005],
            "lo": [-0.011, 10.0, -0.2],
            "hi": [-0.0004, 15.06, 0.0],
            "paper": [np.nan, 20.5, 1.0],
            "margin": [0.05, 5.0, np.nan],
            "p": [0.04, 0.5, 20.0],
        }
    )
    assert cells(table) == [
        ["-0.005", "-0.011", "0.000", "", "0.05", "0.0"],
        ["12.3", "10.0", "15.1", "20.5", "5.00", "0.5"],
        ["0.0", "-0.2", "0.0", "1.0", "", "20.0"],
    ]


@pytest.mark.parametrize(
    "columns, caption",
    [
        ({"ROUGE": [1.0], "EM_f": [2.0]}, "Versions of the metrics: rouge 2, em 7."),
        ({"Exposure": [1.0], "perplexity": [2.0]}, "exposure 1, perplexity 1."),
        ({"judge": [1.0]}, "judge_rule 2."),
        ({"judge": [1.0], "judged_by": ["rule"]}, "judge_rule 2."),
        ({"judge": [1.0], "judged_by": ["gemini-2.5-pro"]}, None),
        ({"samples": [20]}, None),
    ],
)
def test_show_states_the_versions_of_the_metrics(monkeypatch, columns, caption):
    monkeypatch.setitem(metrics.VERSIONS, "em", 7)
    html = show.show(pd.DataFrame(columns)).to_html()
    assert ("<caption>" in html) == (caption is not None)
    assert (caption or "") in html
    assert "<caption>" not in show.show(pd.DataFrame(columns), versions=False).to_html()


@pytest.mark.parametrize(
    "parts, said",
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_a_list_is_said_as_people_say_it(parts, said):
    assert show.listed(parts) == said
