"""Answers that a reader grades: which are drawn, and what a file of them has to hold."""

import itertools

import numpy as np
import pandas as pd
import pytest

from remem import paper, paths
from remem.evaluation import graded, judge
from remem.report import calibration

METHODS = [paper.BASE, paper.BEFORE, paper.RETRAINED, *paper.METHODS]


@pytest.fixture(scope="module")
def rows():
    """3 methods x 2 hops x 4 attributes x 20 values: right, near, reworded and other answers."""
    lines = []
    for method, hop, attribute, k in itertools.product(
        ("base", "GA", "NPO"), paper.HOPS, ("job", "bank", "name", "email"), range(20)
    ):
        value = f"{attribute} {k} of many letters"
        said = {0: value, 1: f"{attribute} {k} of other things", 2: f"zzz{method}{hop}{k}"}[k % 3]
        lines.append(
            {
                "model": "tiny-7b",
                "method": method,
                "seed": 1,
                "view": "forget",
                "hop": hop,
                "attribute": attribute,
                "question": f"What {attribute}, {hop}?",
                "answer": f"It is {value}.",
                "target": value,
                "answer_given": said,
                "rouge": 0.2 if k % 3 == 2 else 0.9,
            }
        )
    return pd.DataFrame(lines)


def test_a_piece_of_a_value():
    assert graded.piece("482 Maple Street", "She lives at 482 maple street, I think") == 1
    assert graded.piece("482 Maple Street", "9 Maple Street") == 13 / 16  # " Maple Street"
    assert graded.piece("abc", "xyz") == 0 == graded.piece("abc", "")


def test_three_parts_are_drawn_and_no_text_twice(rows):
    drawn = graded.draw(rows, 100)
    assert list(drawn) == [
        *["answer_id", "part", "model", "method", "seed", "view", "hop", "attribute"],
        *["question", "answer", "target", "answer_given", "grade", "reason"],
    ]
    assert drawn.part.value_counts().to_dict() == {"even": 60, "near": 24, "wording": 16}
    assert not drawn.duplicated(graded.TEXTS).any()
    assert drawn.answer_id.tolist() == [*range(1, 101)]
    assert set(drawn.grade) == {""} == set(drawn.reason)
    assert drawn.part.ne(drawn.part.shift()).sum() > 20, "whose part it is shows in no order"

    even = drawn[drawn.part == "even"]
    cells = even.groupby(["method", "hop", "attribute"]).size()
    assert len(cells) == 24 and cells.max() <= 3  # fewer where another method said the same
    near = drawn[drawn.part == "near"]
    pieces = near.apply(lambda row: graded.piece(row.target, row.answer_given), axis=1)
    assert pieces.ge(1 / 3).all() and pieces.lt(1).all()
    assert near.answer_given.str.endswith("other things").all()
    wording = drawn[drawn.part == "wording"]
    assert wording.answer_given.str.startswith("zzz").all()
    for part in (near, wording):
        counts = part.groupby(["method", "hop"]).size()
        assert len(counts) == 6 and counts.max() - counts.min() <= 2


def test_the_draw_is_the_seeds_and_no_judges(rows):
    judged = rows.assign(judge_rule=np.arange(len(rows)) % 2, em=0.0)
    pd.testing.assert_frame_equal(graded.draw(rows, 50), graded.draw(judged, 50))
    assert not graded.draw(rows, 50).equals(graded.draw(rows, 50, seed=1))


def test_where_there_are_few_answers_all_of_them_are_drawn_once(rows):
    few = pd.concat([rows[:6]] * 3, ignore_index=True)  # the same thing, said three times
    drawn = graded.draw(few, 200)
    assert sorted(drawn.answer_given) == sorted(rows.answer_given[:6])
    assert graded.draw(rows[:0], 200).empty


def test_a_drawn_file_that_is_filled_in_is_read_as_it_was(rows, tmp_path):
    texts = {"target": "007", "answer_given": 'None, "NA"\nor nan \u202e看護師'}
    file = tmp_path / "mine.csv"
    drawn = graded.draw(rows, 10).assign(**texts, grade="0.25")
    drawn.to_csv(file, index=False, encoding="utf-8-sig")  # as a spreadsheet saves it
    found = graded.read(file)
    assert found.grade.tolist() == [0.25] * 10
    assert found[["target", "answer_given"]].drop_duplicates().to_dict("records") == [texts]
    assert found.question.tolist() == drawn.question.tolist()


GOOD = {"question": "Who?", "answer": "It is Ann.", "target": "Ann", "answer_given": "", "grade": 1}


@pytest.mark.parametrize(
    "change, said",
    [
        ({"grade": ""}, "row 3: the grade is ''; write a number from 0 to 1, or delete the row"),
        ({"grade": "good"}, "row 3: the grade is 'good'"),
        ({"grade": "1.5"}, "row 3: the grade is '1.5'"),
        ({"grade": "nan"}, "row 3: the grade is 'nan'"),
        ({"grade": "-0.25"}, "row 3: the grade is '-0.25'"),
        ({"target": "..."}, "row 3: the target holds no word or number"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path, change, said):
    pd.DataFrame([GOOD, {**GOOD, **change}]).to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(graded.BadGrades) as caught:
        graded.read(tmp_path / "mine.csv")
    assert f"{tmp_path / 'mine.csv'}, {said}" in str(caught.value)


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    file = tmp_path / "mine.csv"
    for content, said in (
        (None, "cannot be read as a table of graded answers"),
        (b"", "cannot be read as a table of graded answers"),
        (b"\xff\xfe\x00", "cannot be read as a table of graded answers"),
        (b"question,answer_given\nWho?,Ann\n", "has no column answer, target, grade"),
        (b"question,answer,target,answer_given,grade\n", "holds no answers"),
    ):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(graded.BadGrades, match=said) as caught:
            graded.read(file)
        assert str(file) in str(caught.value)
    with pytest.raises(graded.BadGrades, match="cannot be read"):
        graded.read(tmp_path)


# ---------------------------------------------------------------- ours


def test_ours_are_200_answers_of_every_model_graded_by_the_steps_of_the_scale():
    ours = graded.read()
    assert len(ours) == 200 and not ours.duplicated(graded.TEXTS).any()
    assert ours.answer_id.astype(int).tolist() == [*range(1, 201)]
    assert ours.part.value_counts().to_dict() == {"even": 120, "near": 48, "wording": 32}
    assert set(ours.grade) == set(calibration.STEPS)
    assert set(ours.method) == set(METHODS) and set(ours.hop) == set(paper.HOPS)
    assert ours.attribute.nunique() == 8 and ours["view"].nunique() == 4
    assert ours.model.nunique() == 2 and ours.seed.nunique() == 5
    even = ours[ours.part == "even"].groupby(["method", "hop"]).size()
    assert even.min() >= 6 and even.max() <= 8
    between = ours[ours.grade.between(0, 1, inclusive="neither")]
    assert between.reason.ne("").all(), "why not all or nothing"


def test_the_scale_of_the_reader_is_the_judges():
    assert judge.SCALE in judge.PROMPT
    found = [float(line.split()[0]) for line in judge.SCALE.splitlines() if line[:1].isdigit()]
    assert sorted(found) == [*calibration.STEPS]
    said = (paths.ROOT / "docs" / "metric.md").read_text(encoding="utf-8")
    for name in ("an AI model", "not a person", "second time", "it knew the rule's text"):
        assert name in said, "who graded them"
