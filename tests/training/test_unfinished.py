"""A killed training goes on from its last epoch, to the byte."""

import os
import signal

import pandas as pd
import pytest
import torch
from safetensors.torch import save

from remem import runs
from remem.training import loop, unfinished
from remem.training.loss_scale import LossScale
from remem.training.unfinished import Unfinished

SCALE = LossScale(torch.float32)


@pytest.fixture(autouse=True)
def each_epoch_is_worth_it(monkeypatch):
    monkeypatch.setattr(unfinished, "WORTH", 0.0)


@pytest.fixture
def stage1(small):
    optimiser = small.optimiser.model_copy(update={"epochs": 3, "batch": 32})
    return small.stage1.model_copy(update={"optimiser": optimiser, "seed": 9})


def killed(run, root, after: int) -> None:
    """Make `run` in a process that is killed as soon as the state after an epoch is kept."""
    child = os.fork()
    if child == 0:
        try:
            keep = Unfinished.keep

            def keep_and_die(self, epoch, *others):
                keep(self, epoch, *others)
                if epoch == after:
                    os.kill(os.getpid(), signal.SIGKILL)

            Unfinished.keep = keep_and_die
            runs.get_or_create(run, root)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def steps_from_here(monkeypatch) -> list[int]:
    """Filled with a number for each step that is trained in this process."""
    seen, before = [], loop._add_gradients

    def counted(*arguments, **named):
        seen.append(len(seen))
        return before(*arguments, **named)

    monkeypatch.setattr(loop, "_add_gradients", counted)
    return seen


def result(run, root) -> tuple[bytes, pd.DataFrame]:
    folder = runs.get_or_create(run, root)
    weights = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    return weights, run.read(folder).drop(columns="seconds")


@pytest.mark.parametrize(
    ("after", "dtype"),
    [(1, "float32"), (2, "float32"), (3, "float32"), (2, "bfloat16"), (1, "float16")],
)
def test_killed_after_an_epoch_it_ends_as_if_it_had_not_been(
    small, stage1, tmp_path, monkeypatch, capsys, after, dtype
):
    network = small.base_run.network.model_copy(update={"dtype": dtype})
    base = small.base_run.model_copy(update={"network": network})
    stage1 = stage1.model_copy(update={"seed": 10 + after, "base": base})
    runs.get_or_create(stage1.data, tmp_path)
    killed(stage1, tmp_path, after)
    state = Unfinished(stage1, tmp_path)
    assert [*(tmp_path / ".unfinished").iterdir()] == [state.file]
    assert not runs.folder(stage1, tmp_path).exists()
    with monkeypatch.context() as patch:
        steps = steps_from_here(patch)
        weights, history = result(stage1, tmp_path)
    each = len(history) // 3
    assert len(steps) == (3 - after) * each > -1
    assert f"goes on after epoch {after}" in capsys.readouterr().err
    assert not state.file.exists()
    whole, steps_of_it = result(stage1, small.runs)
    assert weights == whole
    pd.testing.assert_frame_equal(history, steps_of_it, check_exact=True)


def test_an_epoch_that_took_less_than_a_minute_is_not_kept(stage1, small, monkeypatch):
    monkeypatch.setattr(unfinished, "WORTH", 60.0)
    wrote = []
    monkeypatch.setattr(unfinished.paths, "write", lambda path, *_: wrote.append(path))
    adamw = torch.optim.AdamW([torch.ones(2, requires_grad=True)])
    state = Unfinished(stage1, small.runs)
    state.keep(1, adamw, SCALE, [])
    assert wrote == []
    later = unfinished.time.monotonic() + 61
    monkeypatch.setattr(unfinished.time, "monotonic", lambda: later)
    state.keep(2, adamw, SCALE, [])
    state.keep(3, adamw, SCALE, [])  # not a minute after that
    assert wrote == [state.file]


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, save({"0": torch.ones(2)})])
def test_what_cannot_be_gone_on_with_is_told_and_begun_anew(
    stage1, tmp_path, capsys, monkeypatch, content
):
    state = Unfinished(stage1, tmp_path)
    weight = torch.ones(2, requires_grad=True)
    adamw = torch.optim.AdamW([weight])
    schedule = torch.optim.lr_scheduler.LambdaLR(adamw, lambda step: 1.0)
    assert state.take_up(adamw, schedule, SCALE) == (0, []) and capsys.readouterr().err == ""
    state.keep(1, adamw, SCALE, [(1, 1, 0.5, 2.0, 0.1)])
    assert state.take_up(adamw, schedule, SCALE) == (1, [(1, 1, 0.5, 2.0, 0.1)])
    capsys.readouterr()
    other = runs.circumstances() | {"device": "another GPU"}
    with monkeypatch.context() as patch:
        patch.setattr(runs, "circumstances", lambda: other)
        assert state.take_up(adamw, schedule, SCALE) == (0, [])
    assert "begins anew" in capsys.readouterr().err
    whole = state.file.read_bytes()
    state.file.write_bytes(content)
    assert state.take_up(adamw, schedule, SCALE) == (0, [])
    assert "cannot be read" in capsys.readouterr().err
    for at in range(0, len(whole), 97):  # in what is said of it, in a weight, in the random state
        changed = bytes([*whole[:at], whole[at] ^ 1, *whole[at + 1 :]])
        state.file.write_bytes(changed)
        assert state.take_up(adamw, schedule, SCALE) == (0, [])
        assert "cannot be read" in capsys.readouterr().err
    assert weight.tolist() == [1, 1]


def test_the_factor_on_the_loss_goes_on_as_well(stage1, tmp_path):
    adamw = torch.optim.AdamW([torch.ones(2, requires_grad=True)])
    schedule = torch.optim.lr_scheduler.LambdaLR(adamw, lambda step: 1.0)
    reached, fresh = LossScale(torch.float16), LossScale(torch.float16)
    reached.factor, reached.since = reached.factor / 4, 7
    state = Unfinished(stage1, tmp_path)
    state.keep(1, adamw, reached, [])
    state.take_up(adamw, schedule, fresh)
    assert vars(fresh) == vars(reached)
