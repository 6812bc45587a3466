import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from remem import jobs, paths, runs
from remem.data import splits
from remem.evaluation.answers import AnswerRun, EvalRows
from remem.jobs import FailedRuns, Job, Jobs
from remem.synthetic.templates import REFUSALS, UNSEEN_REFUSALS
from remem.training import stage2
from remem.training.loop import Examples
from remem.training.methods import DPO, GA, METHODS, NPO, BadMethod, Method
from remem.training.stage2 import Stage2Run, plan


def run_of(small, method, seed=1, optimiser=None, **changes):
    """One run of unlearning with a high rate, which forgets one person of four."""
    optimiser = {"lr": 1e-2, "warmup": 0.0, **(optimiser or {})}
    return Stage2Run(
        start=small.stage1,
        method=method,
        forget=splits.forget_set(small.rows, 0.25, seed=1),
        optimiser=small.optimiser.model_copy(update=optimiser),
        seed=seed,
        **changes,
    )


def folders(small, kind):
    return {path.name for path in small.runs.iterdir() if path.name.startswith(f"{kind}-")}


LOG = []


class Logs(Method):
    def loss(self, scores):
        LOG.append(scores)
        return scores


def test_a_loss_that_changes_a_value_outside_of_it_is_refused():
    with pytest.raises(BadMethod, match="the loss of Logs changes a value outside of it"):
        stage2._unchanging(Logs())(1)
    loss = stage2._unchanging(Scaled())
    assert [loss(2), loss(3)] == [4, 6]


class Scaled(Method):
    def loss(self, scores):
        return 2 * scores


# ---------------------------------------------------------------- the plan


def test_each_forget_row_has_a_refusal_and_a_retain_row(small):
    optimiser = small.optimiser.model_copy(update={"epochs": 2})
    epochs = plan(20, 100, optimiser, np.random.default_rng(0))
    assert len(epochs) == 2
    for epoch in epochs:
        assert [len(step["forget"]) for step in epoch] == [16, 4]
        assert sorted(np.concatenate([s["forget"] for s in epoch])) == list(range(20))
        partners = np.concatenate([s["retain"] for s in epoch])
        assert len(set(partners)) == 20 and max(partners) > 20
        for step in epoch:
            assert step["refusal"].tolist() == step["forget"].tolist()
            assert len(step["retain"]) == len(step["forget"])
    again, other = (plan(20, 100, optimiser, np.random.default_rng(s)) for s in (0, 1))
    assert again[1][0]["retain"].tolist() == epochs[1][0]["retain"].tolist()
    assert other[0][0]["retain"].tolist() != epochs[0][0]["retain"].tolist()
    few = plan(20, 3, optimiser, np.random.default_rng(0))  # fewer to retain than to forget
    assert set(np.concatenate([s["retain"] for s in few[0]])) <= {0, 1, 2}


def test_methods_differ_in_nothing_else(small):
    first, second = run_of(small, GA()), run_of(small, DPO())
    assert first.model_copy(update={"method": DPO()}) == second
    assert runs.digest(first) != runs.digest(second)
    assert first.start == small.stage1 and first.optimiser.lr == 1e-2
    with pytest.raises(ValidationError, match="forget"):
        Stage2Run(**{**dict(first), "forget": ()})


def test_what_moves_memory_or_time_alone_is_the_same_run(small):
    parts = {"micro_batch": 3, "checkpointing": True}
    assert runs.name(run_of(small, GA(), optimiser=parts)) == runs.name(run_of(small, GA()))


def test_refusals_are_drawn_per_row_and_seeded(small, monkeypatch):
    class Enough(Exception):
        pass

    class Seen(Examples):
        def __init__(self, network, rows, features, answers=None):
            tables.append((list(rows["question"]), list(answers or rows["answer"])))
            super().__init__(network, rows, features, answers)

    def stop(*_, **__):
        raise Enough

    runs.get_or_create(small.stage1, small.runs)
    monkeypatch.setattr(stage2, "Examples", Seen)
    monkeypatch.setattr(stage2, "fit", stop)
    drawn = []
    asked = [(DPO(), 7), (DPO(), 7), (DPO(), 8), (DPO(refusals="base"), 7), (GA(), 7)]
    for method, seed in asked:
        tables = []
        with pytest.raises(Enough):
            runs.get_or_create(run_of(small, method, seed), small.runs)
        forget, refusal, _ = tables
        assert refusal[0] == forget[0] and refusal[1] != forget[1]
        known = method == DPO(refusals="base")
        assert set(refusal[1]) <= set(REFUSALS if known else UNSEEN_REFUSALS)
        assert len(set(refusal[1])) > 3
        drawn.append(refusal[1])
    assert drawn[0] == drawn[1] == drawn[4] != drawn[2]


# ---------------------------------------------------------------- the run


def test_a_run_forgets_and_says_what_it_did(small):
    run = run_of(small, GA(), optimiser={"epochs": 2}, checkpoints=True)
    folder = runs.get_or_create(run, small.runs)
    assert {path.name for path in folder.iterdir()} == {
        "spec.json",
        "history.csv",
        "adapter",
        "checkpoints",
        "DONE",
    }
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["1"]
    assert run.checkpoint(small.runs, 0) == small.stage1.adapter(small.runs)
    assert run.checkpoint(small.runs, 1) == folder / "checkpoints" / "1"
    assert run.checkpoint(small.runs, 2) == folder / "adapter" == run.adapter(small.runs)
    weights = {
        (run.checkpoint(small.runs, epoch) / "adapter_model.safetensors").read_bytes()
        for epoch in range(3)
    }
    assert len(weights) == 3
    history = run.read(folder)
    assert list(history.columns) == ["step", "epoch", "lr", "loss", "seconds"]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] < 0  # -CE
    recorded = json.loads((folder / "spec.json").read_text())["spec"]
    assert recorded["method"] == {"name": "GA", "fields": {}, **GA().described()}


def test_without_checkpoints_and_with_updates(small):
    run = run_of(small, GA(), updates=3)
    folder = runs.get_or_create(run, small.runs)
    assert not (folder / "checkpoints").exists()
    assert run.read(folder)["epoch"].tolist() == [1, 1, 2]  # 17 rows by 16


def test_no_epochs_are_stage_1(small):
    run = run_of(small, DPO(), optimiser={"epochs": 0})
    runs.get_or_create(run, small.runs)
    saved = [of.adapter(small.runs) / "adapter_model.safetensors" for of in (run, small.stage1)]
    assert saved[0].read_bytes() == saved[1].read_bytes()


def test_a_run_repeats_itself_to_the_byte(small, tmp_path):
    run = run_of(small, DPO(), checkpoints=True)
    first = runs.get_or_create(run, small.runs)
    for need in run.needs():
        (tmp_path / runs.name(need)).symlink_to(runs.folder(need, small.runs))
    torch.rand(3)
    second = runs.get_or_create(run, tmp_path)
    name = "adapter/adapter_model.safetensors"
    assert (first / name).read_bytes() == (second / name).read_bytes()
    losses = [run.read(folder)["loss"].tolist() for folder in (first, second)]
    assert losses[0] == losses[1]


# ---------------------------------------------------------------- methods of one's own

FIRST = '''
from remem.training.methods import Method


class Mine(Method):
    factor: float = 1.0

    def loss(self, scores):
        """Minus its factor times the cross-entropy."""
        return -self.factor * scores("forget").ce()
'''


def loaded(file, source):
    """The method of a source text, as a notebook's cell or a script has it."""
    file.write_text(source)
    space = {"__name__": "__main__"}
    exec(compile(source, str(file), "exec"), space)
    return space["Mine"]()


def test_an_edited_loss_has_another_result_and_an_edited_comment_none(small, tmp_path):
    texts = {
        "first": FIRST,
        "comment": FIRST.replace("Minus its", "-").replace("return", "# as GA\n        return"),
        "edited": FIRST.replace("-self.factor", "-2 * self.factor"),
    }
    before = folders(small, "stage2")
    losses = {}
    for name, text in texts.items():
        run = run_of(small, loaded(tmp_path / f"{name}.py", text))
        losses[name] = run.read(runs.get_or_create(run, small.runs))["loss"].tolist()
    assert len(folders(small, "stage2") - before) == 2
    assert losses["comment"] == losses["first"]
    assert losses["edited"][0] == pytest.approx(2 * losses["first"][0], rel=1e-5)
    ga = run_of(small, GA())
    assert losses["first"] == ga.read(runs.get_or_create(ga, small.runs))["loss"].tolist()


SCRIPT = """
import sys
from pathlib import Path

from remem import jobs, runs
from remem.jobs import Job, Jobs
from remem.training.methods import Method
from remem.training.stage1 import Stage1Run
from remem.training.stage2 import Stage2Run

FACTOR = 3.0


def scaled(loss, factor):
    return FACTOR * factor * loss


class Mine(Method):
    factor: float = 0.5

    def loss(self, scores):
        return -scaled(scores("forget").ce(), self.factor)


if __name__ == "__main__":
    start = Stage1Run.model_validate_json(sys.argv[1])
    same = {"start": start, "forget": ("p00",), "optimiser": start.optimiser, "seed": 1}
    found = [Stage2Run(method=Mine(factor=factor), **same) for factor in (0.5, 1.0)]
    made = jobs.sweep(Jobs(tuple(map(Job, found)), Path(sys.argv[2]), workers=2))
    assert made == [runs.folder(run, Path(sys.argv[2])) for run in found]
    for run, folder in zip(found, made):
        print(folder, run.method.described()["source"])
"""


def test_a_method_of_a_script_runs_in_workers_under_its_own_digest(small, tmp_path):
    runs.get_or_create(small.stage1, small.runs)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    given = [small.stage1.model_dump_json(), str(small.runs)]
    environment = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), *given],
        capture_output=True,
        text=True,
        env=environment,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    losses = []
    for line in done.stdout.splitlines():
        folder, source = line.rsplit(" ", 1)
        record = runs.read_json(paths.Path(folder) / "spec.json")
        assert record["spec"]["method"]["source"] == source  # of the worker, and of the parent
        assert record["spec"]["method"]["name"] == "Mine" and record["threads"] == 1
        losses.append(run_of(small, GA()).read(paths.Path(folder))["loss"][0])
    ga = Stage2Run(
        start=small.stage1, method=GA(), forget=("p00",), optimiser=small.optimiser, seed=1
    )
    expected = ga.read(runs.get_or_create(ga, small.runs))["loss"][0]
    assert losses == pytest.approx([1.5 * expected, 3 * expected], rel=1e-4)


class Vector(Method):
    """Forgets to take the mean."""

    def loss(self, scores):
        """No number."""
        return scores("forget").sequence()


class Number(Method):
    """Gives a float."""

    def loss(self, scores):
        """No tensor."""
        return scores("forget").ce().item()


class Undefined(Method):
    """The logarithm of nothing."""

    def loss(self, scores):
        """NaN."""
        return (scores("forget").ce() - 1e9).log()


class Frozen(Method):
    """Asks the reference alone."""

    def loss(self, scores):
        """Depends on nothing that is trained."""
        return scores("forget", reference=True).ce()


class Lost(Method):
    """Asks for rows that there are not."""

    def loss(self, scores):
        """An unknown name."""
        return scores("forgot").ce()


BAD = {
    Vector: (BadMethod, r"the loss of Vector has the shape \(16,\), and one number is wanted"),
    Number: (BadMethod, "the loss of Number is float, and a tensor is wanted"),
    Undefined: (FloatingPointError, "the loss of Undefined is nan at step 1 of 2"),
    Frozen: (BadMethod, "the loss of Frozen does not depend on the network that is trained"),
    Lost: (BadMethod, r"scores\('forgot'\): there are no such rows; there are 'forget', 'refusal'"),
}


@pytest.mark.parametrize("kind", BAD, ids=lambda kind: kind.__name__)
def test_a_bad_loss_is_told_and_nothing_is_lost(small, kind):
    stage1 = runs.get_or_create(small.stage1, small.runs)
    before = folders(small, "")
    error, reason = BAD[kind]
    run = run_of(small, kind())
    with pytest.raises(error, match=reason):
        runs.get_or_create(run, small.runs)
    assert folders(small, "") == before and runs.verify(stage1)
    assert not list(small.runs.glob(".*.part"))


def test_a_sweep_names_the_bad_method_and_finishes_the_others(small):
    found = [run_of(small, Frozen()), run_of(small, NPO())]
    with pytest.raises(FailedRuns, match=r"Frozen(.|\n)*1 of \d runs failed; the others are done"):
        jobs.sweep(Jobs(tuple(map(Job, found)), small.runs))
    assert runs.folder(found[1], small.runs).is_dir()
    assert not runs.folder(found[0], small.runs).exists()


def test_all_five_run_and_say_something_else(small):
    given = {}
    for name, kind in METHODS.items():
        run = run_of(small, kind())
        asked = AnswerRun(
            of=run,
            rows=EvalRows(forget=run.forget, views=("forget",)),
            max_new_tokens=6,
            exposure=False,
            batch=40,
        )
        given[name] = tuple(asked.read(runs.get_or_create(asked, small.runs))["answer_given"])
    assert len(set(given.values())) >= 4
