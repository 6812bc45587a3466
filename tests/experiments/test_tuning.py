import pandas as pd
import pytest

from remem import paths, runs
from remem.config import load_config
from remem.experiments import setup, tuning
from remem.training import stage2


def test_the_aims_are_the_papers_numbers():
    assert tuning.memorised() == 91.5
    assert tuning.kept() == pytest.approx((27.14 - 13.33) / (91.5 - 13.33))


@pytest.mark.parametrize(("stage", "start"), [(1, "base"), (2, "start")])
def test_the_rate_nearest_to_the_aim_is_chosen_and_every_rate_is_kept(
    stage, start, small_config, tmp_path, monkeypatch
):
    config = small_config(stage2={"forget_ratio": 0.25})
    search, name, _ = tuning.LOGS[stage]
    table = search(config, (1e-4, 1e-2))
    assert list(table.lr) == [1e-4, 1e-2] and (table.seed == 0).all()
    measured = next(column for column in table if column.startswith("EM"))
    gap = (table[measured] - table.aim).abs()
    assert table.chosen.sum() == 1 and gap[table.chosen].item() == gap.min()
    usual = setup.stage1_run(config, "small", 0)
    assert set(table[start]) == {runs.digest(usual if stage == 2 else usual.base)}

    earlier = pd.DataFrame(
        {
            "scale": ["smoke", "tiny"],
            start: ["old", "other"],
            "lr": [1.0, 1.0],
            "chosen": True,
            "seed": 0,
        }
    )
    monkeypatch.setattr(paths, "PARAMS", tmp_path)
    earlier.to_csv(tmp_path / name, index=False)
    monkeypatch.setattr(stage2, "fit", None)  # what was tried is not trained again
    found = tuning.tune(config, stage, (1e-4, 1e-2))
    pd.testing.assert_frame_equal(found[list(table)], table, check_dtype=False)
    log = pd.read_csv(tmp_path / name)
    assert sorted(log.scale) == ["smoke", "smoke", "smoke", "tiny"]
    assert log[log.chosen].scale.tolist() == ["smoke", "tiny"]  # one of each scale
    tuning.tune(config, stage, (1e-4, 1e-2))
    assert len(pd.read_csv(tmp_path / name)) == 4


def test_a_rate_found_later_may_be_the_nearer_one(small_config, tmp_path, monkeypatch):
    config = small_config()
    monkeypatch.setattr(paths, "PARAMS", tmp_path)
    monkeypatch.setattr(tuning, "memorised", lambda: 100.0)
    found = iter([40.0, 90.0, 95.0])

    def search(config, rates):
        measured = {"EM_t": pd.Series(next(found), index=rates)}
        return tuning._table(config, rates, {"base": "b"}, measured, pd.Series(100.0, index=rates))

    monkeypatch.setitem(tuning.LOGS, 1, (search, "tuning_stage1.csv", "base"))
    assert tuning.tune(config, 1, (1e-2,)).chosen.all()
    both = tuning.tune(config, 1, (1e-3,))
    assert list(both.lr) == [1e-3, 1e-2] and list(both.chosen) == [True, False]
    again = tuning.tune(config, 1, (1e-2,))  # tried once more: the later number counts
    assert len(again) == 2 and list(again.chosen) == [False, True]


@pytest.mark.parametrize("stage", [1, 2])
def test_the_log_holds_the_rate_that_tiny_uses_and_one_on_either_side(stage):
    config = load_config("tiny")
    log = pd.read_csv(tuning.log(stage))
    tiny = log[(log.scale == "tiny") & (log.seed == tuning.SEED)]
    chosen = tiny[tiny.chosen].squeeze()
    settings = config.stage1 if stage == 1 else config.stage2
    assert chosen.lr == settings.lr
    # ... for the base and the stage 1 that tiny has now, not for some earlier ones
    usual = setup.stage1_run(config, config.models[0], tuning.SEED)
    same = (
        tiny[tiny.base == runs.digest(usual.base)]
        if stage == 1
        else tiny[tiny.start == runs.digest(usual)]
    )
    assert same.lr.min() < chosen.lr < same.lr.max()
