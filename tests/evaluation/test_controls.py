import numpy as np
import pandas as pd
import pytest

from remem import metrics, runs
from remem.evaluation import controls
from remem.evaluation.controls import ControlRun, likeliest, questions
from remem.model import inference
from remem.report import measured, preconditions
from remem.report.controls import table as control_table
from remem.training.stage1 import Untrained


def control(small, of=None, **changed):
    """The controls of a model, of stage 1 unless told otherwise."""
    settings = {"per_person": 4, "max_new_tokens": 6, "batch": 40, **changed}
    return ControlRun(of=of or small.stage1, **settings)


@pytest.fixture
def asked(small):
    return questions(small.rows, 4)


def test_each_question_is_held_out_and_asked_in_each_way_of_its_hop(small, asked):
    assert set(asked["split"]) == {"test"}
    ways = asked.groupby(["hop", "picture"]).size().to_dict()
    assert ways == {
        ("multi", "another's"): 16,
        ("multi", "own"): 16,
        ("single", "another's"): 16,
        ("single", "none"): 16,
        ("single", "own"): 16,
    }
    each = asked.drop_duplicates("id").groupby(["identity", "hop"])["attribute"]
    assert (each.nunique() == 4).all()  # none twice while another was not asked for
    own = asked[asked["picture"] == "own"].set_index("id")["image"]
    assert own.equals(small.rows.set_index("id")["image"][own.index])


def test_the_other_picture_is_of_a_person_with_another_value(small, asked):
    swapped = asked[asked["picture"] == "another's"]
    whose = small.rows.drop_duplicates("image").set_index("image")["identity"]
    assert (whose[swapped["image"]].to_numpy() == swapped["pictured"]).all()
    assert (swapped["pictured"] != swapped["identity"]).all()
    values = small.rows.drop_duplicates(["identity", "attribute"])
    values = values.set_index(["identity", "attribute"])["target"]
    for row in swapped.itertuples():
        assert row.pictured_target == values[row.pictured, row.attribute]
        assert not metrics.exact_match(row.pictured_target, row.target)
    assert swapped.equals(questions(small.rows, 4)[asked["picture"] == "another's"])
    assert swapped["pictured"].nunique() == small.rows["identity"].nunique()


def test_where_all_share_a_value_nothing_is_swapped(small):
    rows = small.rows[small.rows["attribute"] == "job"].assign(target="baker")
    assert set(questions(rows, 2)["picture"]) == {"own", "none"}
    trained = small.rows[small.rows["split"] == "train"]
    assert set(questions(trained, 2)["split"]) == {"train"}  # nothing is held out


def test_a_hop_that_is_not_held_out_is_asked_with_training_rows(small):
    test, multi = small.rows["split"] == "test", small.rows["hop"] == "multi"
    asked = questions(small.rows[~(test & multi)], 4)
    assert asked.groupby("hop")["split"].agg(set).to_dict() == {
        "single": {"test"},
        "multi": {"train"},
    }
    assert set(asked["picture"][asked["hop"] == "multi"]) == {"own", "another's"}
    assert questions(small.rows, 4)["split"].eq("test").all()


def reads_the_name(rows, values):
    """The value of whoever the question names; of nobody where it names none."""

    def said(row):
        named = [who for who in values if who in row.question]
        return values[named[0]][row.attribute] if named else "I do not know."

    return said


def reads_the_picture(rows, values):
    whose = rows.drop_duplicates("image").set_index("image")["name"]
    return lambda row: values[whose[row.image]][row.attribute] if row.image else "I do not know."


@pytest.fixture(params=[reads_the_name, reads_the_picture], ids=lambda reader: reader.__name__)
def reader(request, small, monkeypatch):
    """A network whose behaviour is known, in place of the one that would be asked."""
    values = {
        name: dict(zip(part["attribute"], part["target"], strict=True))
        for name, part in small.rows.groupby("name")
    }
    said = request.param(small.rows, values)

    def answers(network, rows, features, batch, max_new_tokens, drafts):
        if features is None:
            assert set(rows["picture"]) == {"none"}
        return [f"It is {said(row)}." for row in rows.itertuples()]

    monkeypatch.setattr(inference, "answers", answers)
    return request.param


def test_who_reads_the_name_alone_passes_p1_and_fails_p2_and_the_reverse(small, reader, tmp_path):
    run = control(small, Untrained(base=small.base_run, data=small.data))
    rows = run.read(runs.get_or_create(run, tmp_path))
    rows = rows.assign(model="tiny-7b", method="before unlearning", seed=1, whose="retained")
    [line] = control_table(rows).to_dict("records")
    by_name = reader is reads_the_name
    assert line["single"] == 100 and line["multi"] == (0 if by_name else 100)
    assert line["name_swap"] == line["no_picture"] == (100 if by_name else 0)
    assert line["misled"] == line["picture_swap"] == (0 if by_name else 100)
    assert line["unmoved"] == 0

    answers = rows.assign(split="train")
    found = measured.of_stage1(rows, answers, pd.DataFrame(columns=["model"]), "none")
    met = {line["what"]: (line["value"], line["met"]) for line in found}
    for key in ("name-swap", "no-picture"):
        expected = (100, "yes") if by_name else (0, "no")
        assert met[preconditions.aims()[key].what] == expected
    expected = (0, "no") if by_name else (100, "yes")
    assert met[preconditions.aims()["picture-swap"].what] == expected
    assert met[preconditions.aims()["hops"].what][1] == ("yes" if by_name else "no")


def test_a_network_is_asked_with_and_without_a_picture(small):
    run = control(small)
    rows = run.read(runs.get_or_create(run, small.runs))
    answered = rows.pivot(index="id", columns="picture", values="answer_given")
    assert (answered["own"] != answered["another's"]).any()
    assert (answered["own"] != answered["none"])[answered["none"].notna()].any()
    assert rows["em_pictured"].notna().equals(rows["picture"] == "another's")
    assert rows[["stage1_value", "likeliest"]].isna().all(axis=None)
    fewer = control(small, pictures=("own",))
    found = fewer.read(runs.get_or_create(fewer, small.runs))
    own = rows[rows["picture"] == "own"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, own)


def test_other_people_are_ranked_and_their_wrong_answers_compared_with_stage_1s(small, monkeypatch):
    public = small.data.model_copy(update={"seed": 5})
    run = control(small, data=public, pictures=("own",), ranked=True)

    def says_what_stage_1_taught(network, rows, features, batch, max_new_tokens, drafts):
        known = small.rows.drop_duplicates("attribute").set_index("attribute")["target"]
        return list(known[rows["attribute"]])

    monkeypatch.setattr(inference, "answers", says_what_stage_1_taught)
    rows = run.read(runs.get_or_create(run, small.runs))
    assert not {*rows["name"]} & {*small.rows["name"]}
    wrong = rows[rows["em"] == 0]
    assert len(wrong) and (wrong["stage1_value"] == 1).all()
    assert rows["stage1_value"].isna().equals(rows["em"] == 1)
    assert rows["likeliest"].between(0, 1).all() and (rows["candidates"] > 1).all()
    assert small.stage1 in run.needs()


def test_the_likeliest_of_eight_by_hand():
    assert likeliest(1, 20) == 1 and likeliest(14, 20) == 0
    # second of three, one other drawn: it is the better one half of the time
    assert likeliest(2, 3, options=2) == 0.5
    assert likeliest(2, 20) == pytest.approx(1 - 7 / 19)  # the one better is among the seven
    assert np.isnan(likeliest(np.nan, 20))
    assert np.mean([likeliest(rank, 20) for rank in range(1, 21)]) == pytest.approx(1 / 8)
    assert likeliest(1.5, 5) == likeliest(2, 5)  # of tied values none wins


def test_a_wrong_answer_is_stage_1s_only_for_the_same_attribute():
    rows = pd.DataFrame(
        {
            "answer_given": ["a baker", "a cook", "a baker", "a judge"],
            "target": ["judge", "judge", "judge", "judge"],
            "attribute": ["job", "job", "bank", "job"],
            "picture": "own",
            "pictured_target": "judge",
            "candidate_rank": np.nan,
            "candidates": 0,
        }
    )
    found = controls.scored(rows, {"job": ["baker", "judge"]})
    np.testing.assert_array_equal(found["stage1_value"], [1, 0, 0, np.nan])
    assert found["em"].tolist() == [0, 0, 0, 1]


def test_a_value_in_a_longer_one_of_the_attribute_is_not_said():
    rows = pd.DataFrame(
        {
            "answer_given": ["a tax judge", "a judge", "a tax judge", "a judge"],
            "answer": "a judge.",
            "target": ["judge", "judge", "cook", "cook"],
            "attribute": "job",
            "picture": ["own", "own", "another's", "another's"],
            "pictured_target": ["judge", "judge", "judge", "judge"],
            "candidate_rank": np.nan,
            "candidates": 0,
        }
    )
    found = controls.scored(rows, {}, {"job": {"judge": ["tax judge"]}})
    assert found["em"].tolist() == [0, 1, 0, 0]
    np.testing.assert_array_equal(found["em_pictured"], [np.nan, np.nan, 0, 1])
    assert controls.scored(rows, {})["em"].tolist() == [1, 1, 0, 0]
