"""answer: what Table 2 says to the first page's question, and nothing where it cannot tell."""

import pandas as pd
import pytest

from remem.site.answer import answer

ROWS = [
    # model, method, hop, EM_f, its interval, EM_r, its interval
    ("m", "before unlearning", "single", 100, 99, 100, 100, 99, 100),
    ("m", "GA", "single", 20, 17, 23, 60, 55, 65),
    ("m", "DPO", "single", 90, 85, 95, 99, 98, 100),
    ("m", "retrained", "single", 15, 13, 16, 98, 97, 99),
    ("m", "GA", "multi", 5, 2, 8, 40, 35, 45),
    ("m", "retrained", "multi", 2, 0, 4, 75, 70, 80),
    ("other", "GA", "single", 1, 0, 2, 1, 0, 2),
]
COLUMNS = ["model", "method", "hop", "EM_f", "EM_f_lo", "EM_f_hi", "EM_r", "EM_r_lo", "EM_r_hi"]


def table(**changed: tuple[float, ...]) -> pd.DataFrame:
    rows = [(*row[:3], *changed.get(f"{row[1]}_{row[2]}", row[3:])) for row in ROWS]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_what_forgets_most_and_what_keeps_most_stand_beside_the_retrained_model():
    assert answer(table()) == (
        "By these methods, not yet: none comes where a model lies that was trained again without "
        "those people.",
        "Where questions name the person, GA forgets most: 20 % of the questions about them are "
        "still answered right, and 60 % of those about everybody else; DPO keeps most: 90 and 99 "
        "%. The model trained again: 15 and 98 %.",
    )


@pytest.mark.parametrize(
    "changed, first",
    [
        ({"GA_single": (17, 14, 20, 96, 94, 98)}, "In places: GA comes where"),
        ({"GA_multi": (5, 2, 8, 72, 69, 75)}, "In places: GA comes where"),
        ({"GA_single": (17, 14, 20, 96, 94, 96.5)}, "By these methods, not yet"),
        ({"DPO_single": (10, 5, 14, 99, 98, 100)}, "In places: DPO comes where"),
    ],
)
def test_a_method_is_there_only_where_both_intervals_meet_the_retrained_models(changed, first):
    assert answer(table(**changed))[0].startswith(first)


def test_one_method_may_forget_most_and_keep_most():
    _, found = answer(table(DPO_single=(10, 5, 14, 99, 98, 100)))
    assert "DPO forgets most: 10 %" in found and "keeps most" not in found


@pytest.mark.parametrize("hops", [["multi"], ["single", "multi"]])
def test_without_a_retrained_model_nothing_is_said(hops):
    rows = table()
    rows = rows[rows["hop"].isin(hops)]
    assert answer(rows[rows["method"] != "retrained"]) == ()
    assert answer(rows.drop(columns="EM_r")) == ()
    assert answer(rows.assign(EM_r=float("nan"))) == ()
    assert ("Asked by the face" in answer(rows)[1]) == (hops == ["multi"])


def test_a_run_without_intervals_is_compared_by_its_means():
    bare = table(GA_single=(15, 0, 0, 98, 0, 0))[["model", "method", "hop", "EM_f", "EM_r"]]
    assert answer(bare)[0].startswith("In places: GA comes where")
