import pandas as pd

from remem import params, paths, runs, tuning


def test_the_aim_is_the_papers_number():
    assert tuning.target() == 27.14


def test_the_rate_nearest_to_the_aim_is_chosen_and_every_rate_is_kept(small):
    settings = params.load("smoke")
    hub = small.stage1.base.network
    p = settings.model_copy(update={
        "dataset": small.stage1.dataset, "evaluate": small.stage1.evaluate,
        "base": settings.base.model_copy(update={"networks": {"smoke": hub}}),
    })  # fmt: skip
    table = tuning.search(p, (1e-4, 1e-2), small.runs)
    assert list(table.lr) == [1e-4, 1e-2] and (table.seed == 0).all()
    assert table.chosen.sum() == 1
    gap = (table["EM_f single"] - tuning.target()).abs()
    assert gap[table.chosen].item() == gap.min()


def test_the_log_holds_the_rate_that_tiny_uses():
    p = params.load("tiny")
    log = pd.read_csv(paths.PARAMS / "tuning.csv")
    tiny = log[log.scale == "tiny"]
    assert tiny.chosen.sum() == 1 and (tiny.seed == tuning.SEED).all()
    chosen = tiny[tiny.chosen].iloc[0]
    assert chosen.lr == p.stage2.lr
    # ... for the base and the stage 1 that tiny has now, not for some earlier ones
    assert chosen.start == runs.digest(p.start(p.models[0], tuning.SEED))
