import math

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from remem import runs
from remem.data.subset import TrainSubset
from remem.evaluation.answers import AnswerRun
from remem.model import resident
from remem.training import stage1
from remem.training.divergence import Diverged
from remem.training.inputs import inputs
from remem.training.loop import Examples
from remem.training.stage1 import Stage1Run, Untrained


def test_a_run_leaves_adapter_and_history(small):
    folder = runs.get_or_create(small.stage1, small.runs)
    assert {path.name for path in folder.iterdir()} == {
        "spec.json",
        "history.csv",
        "adapter",
        "DONE",
    }
    assert small.stage1.adapter(small.runs) == folder / "adapter"
    history = small.stage1.read(folder)
    assert len(history) == -(-len(small.stage1.train_rows(small.rows)) // 16)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_what_moves_memory_or_time_alone_is_the_same_run(small):
    optimiser = small.optimiser.model_copy(update={"micro_batch": 3, "checkpointing": True})
    assert runs.name(small.stage1.model_copy(update={"optimiser": optimiser})) == runs.name(
        small.stage1
    )
    changes = [
        {"seed": 2},
        {"rank": 8},
        {"updates": 3},
        {"exclude": ("p00",)},
        {"subset": TrainSubset(single=7, multi=10)},
        {"optimiser": small.optimiser.model_copy(update={"lr": 1e-3})},
    ]
    names = {runs.name(small.stage1.model_copy(update=change)) for change in changes}
    assert len(names) == len(changes) and runs.name(small.stage1) not in names


class Enough(Exception):
    """Stops a run where a test has seen what it wants."""


def test_excluded_people_are_not_trained_on(small, monkeypatch):
    seen = []

    class Seen(Examples):
        def __init__(self, network, rows, features, answers=None):
            seen.append(rows)
            raise Enough

    monkeypatch.setattr(stage1, "Examples", Seen)
    one = small.rows["identity"].iloc[0]
    run = small.stage1.model_copy(update={"exclude": (one,)})
    with pytest.raises(Enough):
        runs.get_or_create(run, small.runs)
    rows = small.rows[(small.rows["split"] == "train") & (small.rows["identity"] != one)]
    pd.testing.assert_frame_equal(seen[0], rows)
    assert not runs.folder(run, small.runs).exists()
    assert runs.digest(run) != runs.digest(small.stage1)


def test_what_is_trained_on(small):
    train = small.rows[small.rows["split"] == "train"]
    pd.testing.assert_frame_equal(small.stage1.train_rows(small.rows), train)
    untrained = Untrained(base=small.base_run, data=small.data)
    pd.testing.assert_frame_equal(untrained.train_rows(small.rows), train)
    assert untrained.adapter(small.runs) is None and untrained.trained is None
    subset = TrainSubset(people=("p01",), single=2, multi=3)
    run = small.stage1.model_copy(update={"subset": subset})
    pd.testing.assert_frame_equal(run.train_rows(small.rows), subset.of(small.rows))
    assert run.trained == run


def test_a_subset_leaves_nobody_out_by_name(small):
    subset = TrainSubset(single=7, multi=10)
    with pytest.raises(ValidationError, match="leave exclude out"):
        Stage1Run(**{**dict(small.stage1), "subset": subset, "exclude": ("p00",)})


def test_of_a_few_pictures_only_those_are_looked_at(small):
    subset = TrainSubset(people=("p00",), single=7, multi=10, pictures=2)
    run = small.stage1.model_copy(update={"subset": subset})
    *_, features = inputs(run.base, run.data, small.runs, run.subset)
    asked = subset.eval_rows(small.rows, ("train", "test"))
    assert set(features.place) == set(asked["image"])
    assert len(features.place) == 2 + 14


def test_a_subset_is_trained_on_for_as_many_updates_as_are_asked(small, monkeypatch):
    subset = TrainSubset(people=("p01", "p02"), single=7, multi=10, pictures=2)
    run = small.stage1.model_copy(update={"subset": subset, "updates": 3})
    history = run.read(runs.get_or_create(run, small.runs))
    assert history["step"].tolist() == [1, 2, 3] and history["epoch"].tolist() == [1, 1, 1]


def test_a_run_that_fails_leaves_nothing_and_the_next_makes_it(small, monkeypatch):
    run = small.stage1.model_copy(update={"updates": 2})
    with monkeypatch.context() as patch:

        def fail(*_, **__):
            raise FloatingPointError("the loss is nan")

        patch.setattr(stage1, "fit", fail)
        with pytest.raises(FloatingPointError):
            runs.get_or_create(run, small.runs)
    assert not runs.folder(run, small.runs).exists()
    assert len(run.read(runs.get_or_create(run, small.runs))) == 2


def test_a_run_that_diverges_leaves_its_history_beside_the_runs(small, monkeypatch):
    run = small.stage1.model_copy(update={"updates": 3})
    steps = []

    def lost(scores):
        steps.append(scores("train").ce())
        return steps[-1] * (math.inf if len(steps) == 3 else 1)

    monkeypatch.setattr(stage1, "cross_entropy", lost)
    reason = r"the loss is inf at step 3 of 3 \(rows .*\. The steps before: "
    with pytest.raises(Diverged, match=reason) as told:
        runs.get_or_create(run, small.runs)
    file = small.runs / "diverged" / f"{runs.name(run)}.csv"
    assert str(told.value).endswith(str(file))
    assert pd.read_csv(file)["step"].tolist() == [1, 2]
    assert not runs.folder(run, small.runs).exists()


def test_what_is_noted_is_said_and_kept_in_the_run(small, tmp_path, capsys):
    run = small.stage1.model_copy(update={"updates": 2})
    assert run.notes(tmp_path) == []
    folder = runs.folder(run, tmp_path)
    folder.mkdir()
    note = run.noting(folder)
    note("memory was short")
    note("it diverged")
    assert run.notes(tmp_path) == ["memory was short", "it diverged"]
    assert f"remem: {runs.name(run)}: memory was short\n" in capsys.readouterr().err


def test_a_network_that_stays_gives_the_run_that_a_fresh_one_gives(small, tmp_path):
    first, other = (small.stage1.model_copy(update={"updates": 3, "seed": n}) for n in (11, 12))
    resident.release()
    alone = runs.get_or_create(first, tmp_path / "alone")
    runs.get_or_create(other, tmp_path / "after")
    asked = AnswerRun(of=other, max_new_tokens=6, exposure=True, batch=40)
    runs.get_or_create(asked, tmp_path / "after")  # which merges the adapter
    after = runs.get_or_create(first, tmp_path / "after")
    name = "adapter/adapter_model.safetensors"
    assert (alone / name).read_bytes() == (after / name).read_bytes()
    histories = [first.read(each).drop(columns="seconds") for each in (alone, after)]
    pd.testing.assert_frame_equal(*histories)


def test_an_adapter_that_is_not_kept_goes_with_its_answers_and_can_be_had_again(small, tmp_path):
    kept = small.stage1.model_copy(update={"updates": 3, "seed": 21})
    passing = kept.model_copy(update={"kept": False})
    assert runs.digest(kept) == runs.digest(passing)
    adapter = runs.get_or_create(kept, tmp_path / "kept") / "adapter" / "adapter_model.safetensors"
    folder = runs.get_or_create(passing, tmp_path / "not")
    assert {path.name for path in folder.iterdir()} == {"spec.json", "history.csv", "DONE"}
    beside = passing.adapter(tmp_path / "not")
    assert beside.parent.name == "adapters"
    assert (beside / adapter.name).read_bytes() == adapter.read_bytes()
    answers = {"max_new_tokens": 6, "exposure": False, "batch": 40}
    given = [
        AnswerRun(of=of, **answers).read(
            runs.get_or_create(AnswerRun(of=of, **answers), tmp_path / place)
        )
        for of, place in ((kept, "kept"), (passing, "not"))
    ]
    pd.testing.assert_frame_equal(*given)
    assert not beside.exists() and adapter.is_file()
    # asked otherwise, by whoever would have kept it too: it is trained once more
    runs.get_or_create(AnswerRun(of=kept, **answers | {"max_new_tokens": 3}), tmp_path / "not")
    assert (beside / adapter.name).read_bytes() == adapter.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["DONE", "history.csv", "spec.json"]


def test_no_epochs_say_what_the_base_says(small):
    optimiser = small.optimiser.model_copy(update={"epochs": 0})
    none = small.stage1.model_copy(update={"optimiser": optimiser})
    untrained = Untrained(base=small.base_run, data=small.data)
    given = []
    for of in (none, untrained, small.stage1):
        run = AnswerRun(of=of, max_new_tokens=6, exposure=False, batch=40)
        given.append(run.read(runs.get_or_create(run, small.runs))["answer_given"].tolist())
    assert given[0] == given[1] != given[2]
    assert none.read(runs.folder(none, small.runs)).empty


def test_a_run_repeats_itself_to_the_byte(small, tmp_path):
    run = small.stage1.model_copy(update={"updates": 2, "seed": 5})
    folders = []
    for root in (small.runs, tmp_path):
        np.random.rand(3)  # whatever was drawn before
        folders.append(runs.get_or_create(run, root))
    first, second = (folder / "adapter" / "adapter_model.safetensors" for folder in folders)
    assert first.read_bytes() == second.read_bytes()
