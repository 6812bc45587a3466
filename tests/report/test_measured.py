import numpy as np
import pandas as pd
import pytest

from remem import paths
from remem.report import measured
from remem.report.preconditions import aims


def _people(**columns) -> pd.DataFrame:
    """Ten people, one row each."""
    rows = {"identity": [f"p{k}" for k in range(10)], "seed": 1, "model": "tiny-7b"}
    return pd.DataFrame(rows | columns)


def _asked(hop, picture, em, em_pictured=np.nan, whose="retained", method="before unlearning"):
    return _people(
        hop=hop, picture=picture, em=em, em_pictured=em_pictured, whose=whose, method=method
    )


def test_what_is_left_of_em_when_something_is_exchanged():
    rows = pd.concat(
        [
            _asked("single", "own", [1.0] * 8 + [0.0] * 2),
            _asked("single", "another's", [1.0] * 6 + [0.0] * 4, 0.0),
            _asked("single", "none", 0.8),
            _asked("multi", "own", 0.5),
            _asked("multi", "another's", 0.0, 0.25),
        ]
    )
    answers = _people(em=0.915, split="train")
    ability = pd.concat(
        [
            _people(identity=[str(k) for k in range(10)], method=method, plain=plain)
            for method, plain in (
                ("base", [1.0] * 9 + [0.0]),
                ("before unlearning", [1.0] * 8 + [0.0] * 2),
            )
        ]
    )
    found = measured.of_stage1(
        rows.assign(likeliest=np.nan, stage1_value=np.nan), answers, ability, "none"
    )
    value = {each["what"]: each for each in found}

    def of(key, after=""):
        return value[aims()[key].what.format(after)]

    assert of("name-swap")["value"] == pytest.approx(75) and of("name-swap")["met"] == "no"
    assert of("name-swap")["value_lo"] < 75 < of("name-swap")["value_hi"]
    assert of("no-picture")["value"] == pytest.approx(100)
    assert of("picture-swap")["value"] == pytest.approx(50)
    assert of("hops")["value"] == pytest.approx(30) and of("hops")["met"] == "yes"
    assert of("training-em")["value"] == pytest.approx(91.5)
    lost = of("ability", "after stage 1")
    assert lost["value"] == pytest.approx(-10) and lost["met"] == "no" and lost["value_lo"] <= -10


def test_the_base_guesses_or_refuses():
    answers = _people(em=[0.0] * 9 + [1.0], split="train", answer_given="It is 3.")
    answers.loc[:3, "answer_given"] = "I do not know that."
    seen = {"ability": "recognising an unseen face", "model": "tiny-7b"}
    abilities = pd.DataFrame([seen | {"percent": 85.0, "n": 1400}])
    controls = _asked("single", "own", 1.0, whose="Real Set", method="base")
    found = measured.of_base(controls, answers, abilities)
    met = {each["what"]: (each["value"], each["met"]) for each in found}
    assert met[aims()["refusals"].what] == (40.0, "no")
    assert met[aims()["base-em"].what] == (10.0, "yes")
    assert met[aims()["one-shot"].what] == (85.0, "yes")
    assert met[aims()["base-picture-swap"].what][1] == "not measured"


def test_a_trace_takes_the_corruption_that_loses_most():
    rows = pd.concat(
        [
            _people(set="Real Set", corruption=corruption, total=total)
            for corruption, total in (("subject", 0.05), ("image", 0.3))
        ]
    )
    [found] = measured.of_traces(rows)
    assert found["value"] == pytest.approx(30) and found["met"] == "yes"
    [found] = measured.of_traces(rows.assign(set="ReMem"))
    assert found["met"] == "not measured"


@pytest.mark.parametrize("rates, met", [((1e-4, 2e-4, 3e-4), "yes"), ((2e-4, 3e-4), "no")])
def test_a_rate_is_bracketed_by_others_from_the_same_start(tmp_path, monkeypatch, rates, met):
    monkeypatch.setattr(paths, "PARAMS", tmp_path)
    table = pd.DataFrame(
        {"scale": "tiny", "model": "tiny-7b", "start": "new", "lr": rates, "chosen": False}
    )
    table["EM_f single"] = 50 - table.lr * 1e5
    table.loc[table.lr == 2e-4, "chosen"] = True
    old = table.assign(start="old", chosen=False, lr=table.lr / 2)
    pd.concat([old, table]).assign(aim=31.2).to_csv(tmp_path / "tuning.csv", index=False)
    [found] = measured.of_rate("tiny")
    assert found["met"] == met and found["value"] == pytest.approx(30)
    assert found["aim"].startswith("nearest to 31.2; beside it")
    assert "20.0 at 0.0003" in found["aim"] and "0.00015" not in found["aim"]
    assert measured.of_rate("smoke")[0]["met"] == "not measured"


def test_training_em_is_the_tuning_seeds_where_the_log_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PARAMS", tmp_path)
    tried = {"scale": "tiny", "model": "tiny-7b", "base": "b", "lr": [1e-3], "EM_t": [90.0]}
    pd.DataFrame(tried | {"chosen": True}).to_csv(tmp_path / "tuning_stage1.csv", index=False)
    answers = pd.concat([_people(em=0.8, split="train"), _people(em=0.9, split="train", model="b")])
    controls = _asked("single", "own", 1.0).assign(likeliest=np.nan, stage1_value=np.nan)
    found = measured.of_stage1(controls, answers, pd.DataFrame(columns=["model", "method"]), "tiny")
    em = [(each["model"], each["value"], each["met"]) for each in found if "P5" in each.values()]
    assert em == [
        ("tiny-7b", 90.0, "yes"),
        ("tiny-7b", pytest.approx(80), "reported"),
        ("b", pytest.approx(90), "reported"),
    ]
