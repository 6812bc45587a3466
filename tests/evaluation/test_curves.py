import pandas as pd
import pytest
from pydantic import ValidationError

from remem import metrics, runs
from remem.data import splits
from remem.evaluation.answers import AnswerRun, EvalRows
from remem.evaluation.curves import PROBE, CurveRun, probe
from remem.training import stage1, stage2
from remem.training.methods import GA
from remem.training.stage2 import Stage2Run


@pytest.fixture
def unlearned(small):
    """Two epochs of unlearning, which forget one person of four."""
    forget = splits.forget_set(small.rows, 0.25, seed=1)
    optimiser = small.optimiser.model_copy(update={"lr": 1e-2, "epochs": 2, "warmup": 0.0})
    return Stage2Run(
        start=small.stage1,
        method=GA(),
        forget=forget,
        optimiser=optimiser,
        checkpoints=True,
        seed=1,
    )


def test_the_curve_asks_as_many_retained_as_forgotten():
    def table(people, each):
        return pd.DataFrame(
            [
                (f"p{i}", hop)
                for i in range(people)
                for hop in ("single", "multi")
                for _ in range(each)
            ],
            columns=["identity", "hop"],
        )

    views = {"forget": table(2, 50), "retain_eval": table(16, 14)}
    asked = probe(views, 2, seed=1)
    sizes = asked.groupby(["view", "hop"]).size()
    assert sizes.tolist() == [2 * PROBE] * 4  # 7 rows a hop of each forgotten person
    per_person = asked[asked["view"] == "forget"].groupby("identity").size()
    assert per_person.tolist() == [2 * PROBE, 2 * PROBE]
    pd.testing.assert_frame_equal(probe(views, 2, seed=1), asked)


def test_a_curve_goes_from_the_start_to_the_last_adapter(small, unlearned, monkeypatch):
    run = CurveRun(of=unlearned, max_new_tokens=6, batch=40)
    folder = runs.get_or_create(run, small.runs)
    curve = run.read(folder)
    assert list(curve.columns) == ["epoch", "view", "hop", "identity", "em"]
    assert set(curve["epoch"]) == {0, 1, 2} and set(curve["view"]) == {"forget", "retain_eval"}
    people = curve[curve["view"] == "forget"]["identity"].unique()
    assert tuple(people) == unlearned.forget and curve["em"].between(0, 1).all()

    kept = pd.read_parquet(folder / "answers.parquet")
    sample = probe(splits.views(small.rows, unlearned.forget), 1, seed=1)
    by_epoch = [part.set_index("id")["answer_given"] for _, part in kept.groupby("epoch")]
    assert all(set(part.index) == set(sample["id"]) for part in by_epoch)
    rows = EvalRows(forget=unlearned.forget)
    for of, epoch in ((small.stage1, 0), (unlearned, 2)):
        asked = AnswerRun(of=of, rows=rows, max_new_tokens=6, exposure=False, batch=40)
        answers = asked.read(runs.get_or_create(asked, small.runs)).set_index("id")["answer_given"]
        pd.testing.assert_series_equal(by_epoch[epoch], answers[by_epoch[epoch].index])
    assert not by_epoch[0].equals(by_epoch[1]) and not by_epoch[0].equals(by_epoch[2])
    monkeypatch.setattr(metrics, "exact_match", lambda given, target, longer=(): True)
    assert run.read(folder)["em"].eq(1).all()  # computed when it is read


def test_a_curve_retrains_nothing(small, unlearned, monkeypatch):
    runs.get_or_create(unlearned, small.runs)
    monkeypatch.setattr(stage1, "fit", None)
    monkeypatch.setattr(stage2, "fit", None)
    runs.get_or_create(CurveRun(of=unlearned, max_new_tokens=2, batch=40), small.runs)
    other = CurveRun(of=unlearned, max_new_tokens=2, batch=7)
    assert runs.folder(other, small.runs).is_dir()  # a batch is memory
    assert other.trained == unlearned


@pytest.mark.parametrize("changes", [{"checkpoints": False}, {"updates": 3}])
def test_a_curve_needs_the_adapter_after_each_epoch(unlearned, changes):
    with pytest.raises(ValidationError, match="keeps checkpoints, and goes by epochs"):
        CurveRun(of=unlearned.model_copy(update=changes), max_new_tokens=6, batch=40)
