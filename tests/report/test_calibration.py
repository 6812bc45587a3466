"""A judge against a reader, by hand; and what the rule comes to on the answers of this project."""

import json

import loopback
import numpy as np
import pandas as pd
import pytest

from remem import paths
from remem.config.services import Account, Judge
from remem.evaluation import graded
from remem.report import calibration

KEY = "not-a-real-key-5417"


def scored(grades, scores, **columns) -> pd.DataFrame:
    """A judge's scores of answers about as many values."""
    table = pd.DataFrame({"grade": grades, "score": scores}).astype(float)
    texts = {name: [f"{name} {k}" for k in range(len(table))] for name in graded.TEXTS}
    return table.assign(judged_by="rule", reason="", **(texts | columns))


def measures(rows: pd.DataFrame) -> dict:
    [line, *_] = calibration.table(rows).to_dict("records")
    return line


def by_counts(reader: np.ndarray, machine: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights as it is defined: by tables of counts."""
    steps = [*calibration.STEPS]
    seen = np.zeros((5, 5))
    for one, other in zip(reader, machine, strict=True):
        seen[steps.index(one), steps.index(other)] += 1
    expected = np.outer(seen.sum(1), seen.sum(0)) / seen.sum()
    weights = (np.subtract.outer(range(5), range(5)) / 4) ** 2
    return 1 - (weights * seen).sum() / (weights * expected).sum()


def test_by_hand():
    """Two of four alike; 0, 1/4, 1/2, 3/4 apart; weights 0, 1/16, 1/4, 9/16."""
    line = measures(scored([0, 0.25, 0.5, 1], [0, 0.5, 0.5, 0.25]))
    assert (line["judged_by"], line["answers"], line["n"]) == ("rule", "all", 4)
    assert line["agreement"] == 50
    assert line["difference"] == 25 and line["bias"] == -12.5  # (1/4 + 3/4) / 4, (1/4 - 3/4) / 4
    # Seen apart (1/16 + 9/16) / 4 = 10/64. By chance: reader's variance 35/256, the judge's 11/256,
    # and (7/16 - 5/16)^2 = 4/256: 50/256.
    assert line["kappa"] == pytest.approx(1 - (10 / 64) / (50 / 256))
    assert np.isnan([line["agreement_lo"], line["kappa_hi"]]).all(), "four values are too few"


def test_kappa_is_cohens_with_quadratic_weights():
    drawn = np.random.default_rng(3)
    reader = drawn.choice(calibration.STEPS, 300)
    machine = np.where(drawn.random(300) < 0.6, reader, drawn.choice(calibration.STEPS, 300))
    assert measures(scored(reader, machine))["kappa"] == pytest.approx(by_counts(reader, machine))


def test_a_score_between_two_steps_is_at_the_nearest_and_its_distance_stays():
    assert calibration.step(
        [0, 0.124, 0.125, 1 / 6, 1 / 3, 0.374, 0.375, 0.87, 0.88, 1]
    ).tolist() == [*[0, 0, 0.25, 0.25, 0.25, 0.25, 0.5, 0.75, 1, 1]]
    line = measures(scored([0.25, 0.25], [1 / 6, 1 / 3]))
    assert line["agreement"] == 100 and line["difference"] == pytest.approx(100 / 12)
    assert line["bias"] == pytest.approx(0)


def test_at_the_ends():
    grades = [0, 0.25, 0.5, 0.75, 1] * 4
    same = measures(scored(grades, grades))
    for measure, value in {"agreement": 100, "kappa": 1, "difference": 0, "bias": 0}.items():
        found = [same[f"{measure}{end}"] for end in ("", "_lo", "_hi")]
        assert found == pytest.approx([value] * 3)
    turned = measures(scored([0, 1] * 5, [1, 0] * 5))
    assert (turned["agreement"], turned["kappa"], turned["difference"]) == (0, -1, 100)
    nothing = measures(scored([0.0] * 9, [0.0] * 9))
    assert nothing["agreement"] == 100 and np.isnan(nothing["kappa"])
    assert measures(scored([0.5, 1] * 5, [0.5] * 10))["kappa"] == 0  # a constant knows nothing


def test_intervals_are_over_values_and_hold_what_was_found():
    grades = np.tile([0, 0, 0.25, 1], 10)
    rows = scored(grades, np.tile([0, 0.5, 0.25, 1], 10))
    line = measures(rows)
    for measure in calibration.MEASURES:
        assert line[f"{measure}_lo"] < line[measure] < line[f"{measure}_hi"], measure
    again = pd.concat([rows] * 4)  # what is said of one value counts once, however often it is
    assert measures(again) == pytest.approx(
        line | {"n": 160, "judged_by": "rule", "answers": "all"}
    )


def test_a_line_for_all_and_for_each_part_hop_and_attribute():
    rows = scored([0, 1, 1, 0], [0, 1, 0, 0], part=["near", "even", "even", "near"])
    rows = rows.assign(hop=["single", "multi"] * 2, attribute="job")
    table = calibration.table(rows).set_index("answers")
    assert table.index.tolist() == ["all", "even", "near", "multi", "single", "job"]
    assert table.agreement.to_dict() == {
        "all": 75, "even": 50, "near": 100, "multi": 100, "single": 50, "job": 75
    }  # fmt: skip
    assert table.n.tolist() == [4, 2, 2, 2, 2, 4]


def test_what_was_not_scored_counts_nowhere():
    rows = scored([0, 1, 0.5], [0, np.nan, 1])
    assert measures(rows)["n"] == 2 and measures(rows)["agreement"] == 50
    assert calibration.confusion(rows)[["0", "0.25", "0.5", "0.75", "1"]].to_numpy().sum() == 2
    assert calibration.disagreements(rows).score.tolist() == [1]
    assert calibration.table(rows.assign(score=np.nan)).empty
    assert calibration.in_words(calibration.table(rows)).startswith("**rule**: the reader's grade")


def test_confusion_counts_grades_by_scores():
    rows = scored([0, 0, 0, 0.25, 1, 0.9], [0, 0.1, 1, 1 / 3, 1, 1])
    table = calibration.confusion(pd.concat([rows, rows.assign(judged_by="other", score=0.5)]))
    assert list(table) == ["judged_by", "grade", "0", "0.25", "0.5", "0.75", "1"]
    assert table.judged_by.tolist() == ["rule"] * 5 + ["other"] * 5
    assert table.iloc[:5, 2:].to_numpy().tolist() == [
        [2, 0, 0, 0, 1],
        [0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 2],
    ]
    assert table.iloc[5:]["0.5"].tolist() == [3, 1, 0, 0, 2]


def test_disagreements_are_those_of_another_step_the_farthest_first():
    rows = scored([0, 0.25, 1, 0.75, 0], [0.1, 1 / 3, 0, 0.5, 0.25], hop="single")
    rows = pd.concat([rows, rows.assign(judged_by="a second judge", score=rows.grade)])
    table = calibration.disagreements(rows)
    assert list(table)[:8] == ["judged_by", "grade", "score", "reason", *graded.TEXTS]
    assert list(table)[8:] == ["hop"] and set(table.judged_by) == {"rule"}
    assert table.target.tolist() == ["target 2", "target 3", "target 4"]


# ---------------------------------------------------------------- who judges


@pytest.fixture
def service(monkeypatch):
    def subject(request):
        [content] = request["contents"]
        return json.loads(content["parts"][0]["text"].splitlines()[1])["answer"]

    with loopback.serving(monkeypatch, KEY, subject) as server:
        server.reply = lambda given, times: loopback.answered(
            {"text": json.dumps({"reason": "It says so.", "score": 0.75 if "Ann" in given else 0})}
        )
        yield server


ANSWERS = pd.DataFrame(
    {
        "question": "Who is this?",
        "answer": "It is Ann Lee.",
        "target": "Ann Lee",
        "answer_given": ["Ann Lee", "It is Ann Ray.", "Bob", "I do not know."],
        "grade": [1, 0.5, 0, 0],
    }
)
GEMINI = Judge(model="gemini-test")


def test_the_rule_and_exact_match_need_nobody(service, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("GEMINI_API_KEY")
    for settings in (Judge(), GEMINI):
        rows = calibration.judged(ANSWERS, settings, Account(tmp_path))
        scores = rows.groupby("judged_by", sort=False).score.agg(list).to_dict()
        assert scores == {"rule": [1, 0.25, 0, 0], "exact match": [1, 0, 0, 0]}
    assert "judge gemini-test: the rule judges: no key for Gemini" in capsys.readouterr().err
    assert not service.requests and not list(tmp_path.iterdir())


def test_gemini_is_asked_once_and_needs_no_key_then(service, tmp_path, monkeypatch):
    for key in (KEY, ""):
        monkeypatch.setenv("GEMINI_API_KEY", key)
        rows = calibration.judged(ANSWERS, GEMINI, Account(tmp_path))
        assert list(dict.fromkeys(rows.judged_by)) == ["rule", "gemini-test", "exact match"]
        table = calibration.table(rows).set_index("judged_by")
        assert table.agreement["gemini-test"] == 50
        assert table.bias["gemini-test"] == pytest.approx(0)
    assert service.times == dict.fromkeys(ANSWERS.answer_given, 1)


def test_what_the_budget_does_not_reach_is_missing_and_said(service, tmp_path, capsys):
    settings = GEMINI.model_copy(update={"concurrency": 1})
    rows = calibration.judged(ANSWERS, settings, Account(tmp_path, 0.012))  # two calls
    table = calibration.table(rows).set_index("judged_by")
    assert table.n.to_dict() == {"rule": 4, "gemini-test": 2, "exact match": 4}
    assert "2 of 4 scores are missing: the budget of $0.01" in capsys.readouterr().err


# ---------------------------------------------------------------- what was found


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The rule and exact match on the answers of this project."""
    account = Account(tmp_path_factory.mktemp("none"))
    return calibration.judged(graded.read(), Judge(), account)


def test_docs_say_what_the_rule_comes_to(found):
    """Whoever changes the rule, or a grade, says in docs/metric.md what it comes to now."""
    table = calibration.table(found).set_index(["judged_by", "answers"])
    rule, exact = table.loc["rule"], table.loc["exact match"]
    said = " ".join((paths.ROOT / "docs" / "metric.md").read_text(encoding="utf-8").split())
    parts = [f"{rule.agreement[part]:.0f}" for part in graded.PARTS]
    for sentence in (
        f"the reader's step for {rule.agreement['all']:.0f} % of the answers "
        f"({parts[0]}, {parts[1]} and {parts[2]} % of the three parts), "
        f"kappa {rule.kappa['all']:.2f}, bias {rule.bias['all']:.1f} points",
        f"Exact match agrees on {exact.agreement['all']:.0f} %, with the same kappa and a bias of "
        f"{exact.bias['all']:.1f}",
    ):
        assert sentence in said, sentence
    assert f"{exact.kappa['all']:.2f}" == f"{rule.kappa['all']:.2f}"

    others = (found.attribute == "email") & (found.grade == 0)
    domain = others & found.answer_given.str.contains("@example")
    otherwise = calibration.table(found.assign(grade=found.grade.mask(domain, 0.25)))
    [one, other] = otherwise[otherwise.answers == "all"].agreement
    assert (
        f"a hint, 0.25, the rule would agree on {one:.0f} % and exact match on {other:.0f} %"
        in said
    )


def test_where_the_rule_is_wrong_it_is_so_in_classes(found):
    apart = calibration.disagreements(found[found.judged_by == "rule"])
    kinds = (
        apart.assign(too_much=apart.score > apart.grade).groupby(["attribute", "too_much"]).size()
    )
    assert set(kinds.index) == {
        ("annual_income", False),  # digits
        ("date_of_birth", False),
        ("email", True),  # the domain, and the name in the sentence
        ("home_address", False),
        ("name", False),
    }
    assert kinds["annual_income", False] == 8 and kinds["email", True] == 11
    # Beyond those classes: told and not told are never taken for each other.
    told = apart[(apart.grade == 0) & (apart.score == 1)]
    assert set(told.hop) <= {"single"} and set(told.attribute) <= {"email"}
