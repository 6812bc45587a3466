import pandas as pd

from remem import paths, runs
from remem.config import load_config
from remem.experiments import setup, tuning
from remem.training import stage2


def test_the_aim_is_the_papers_number():
    assert tuning.target() == 27.14


def test_the_rate_nearest_to_the_aim_is_chosen_and_every_rate_is_kept(
    small_config, tmp_path, monkeypatch
):
    config = small_config(stage2={"forget_ratio": 0.25})
    table = tuning.search(config, (1e-4, 1e-2))
    assert list(table.lr) == [1e-4, 1e-2] and (table.seed == 0).all()
    assert table.chosen.sum() == 1
    gap = (table["EM_f single"] - tuning.target()).abs()
    assert gap[table.chosen].item() == gap.min()
    assert set(table.start) == {runs.digest(setup.stage1_run(config, "small", 0))}

    earlier = pd.DataFrame(
        {"scale": ["smoke", "tiny"], "start": ["old", "other"], "lr": [1.0, 1.0], "chosen": True}
    )
    monkeypatch.setattr(paths, "PARAMS", tmp_path)
    earlier.to_csv(tmp_path / "tuning.csv", index=False)
    monkeypatch.setattr(stage2, "fit", None)  # what was tried is not trained again
    pd.testing.assert_frame_equal(tuning.tune(config, (1e-4, 1e-2)), table)
    log = pd.read_csv(tmp_path / "tuning.csv")
    assert list(log.scale) == ["smoke", "tiny", "smoke", "smoke"]
    assert log[log.chosen].scale.tolist() == ["tiny", "smoke"]  # one of each scale
    tuning.tune(config, (1e-4, 1e-2))
    assert len(pd.read_csv(tmp_path / "tuning.csv")) == 4


def test_the_log_holds_the_rate_that_tiny_uses():
    config = load_config("tiny")
    log = pd.read_csv(paths.PARAMS / "tuning.csv")
    tiny = log[log.scale == "tiny"]
    assert tiny.chosen.sum() == 1 and (tiny.seed == tuning.SEED).all()
    chosen = tiny[tiny.chosen].iloc[0]
    assert chosen.lr == config.stage2.lr
    # ... for the base and the stage 1 that tiny has now, not for some earlier ones
    start = setup.stage1_run(config, config.models[0], tuning.SEED)
    assert chosen.start == runs.digest(start)
