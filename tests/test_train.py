import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from remem import models, predict, runs, train


def examples_of(rows, processor, features):
    return train.Examples(
        processor, rows["question"], rows["answer"], rows["image"], features, patches=4
    )


def settings_of(small, **changes):
    return train.Stage1(rank=4, alpha=8, **{**small.settings, **changes})


def test_alpha_is_twice_the_rank(small):
    with pytest.raises(ValidationError, match="twice the rank"):
        train.Stage1(rank=4, alpha=4, **small.settings)


def test_every_epoch_shows_every_row_once_in_a_new_order(small):
    settings = settings_of(small, epochs=3)
    epochs = train.shuffled(50, settings, np.random.default_rng(0))
    assert [[len(batch) for batch in epoch] for epoch in epochs] == [[16, 16, 16, 2]] * 3
    orders = [np.concatenate(epoch).tolist() for epoch in epochs]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1]
    again = train.shuffled(50, settings, np.random.default_rng(0))
    assert np.concatenate(again[2]).tolist() == orders[2]


def test_the_paper_takes_160_steps(small):
    settings = settings_of(small, epochs=5, batch=64, micro_batch=64)
    epochs = train.shuffled(2000, settings, np.random.default_rng(1))
    assert sum(map(len, epochs)) == 160  # §7.1: 2,000 samples, batch 64, 5 epochs


def fitted(small, features, rows, **changes):
    model, processor = models.load(small.base)
    model = models.add_adapter(model, 4, 8, seed=1)
    settings = settings_of(small, **changes)
    plan = [[{"train": b} for b in epoch]
            for epoch in train.shuffled(len(rows), settings, np.random.default_rng(2))]  # fmt: skip
    examples = {"train": examples_of(rows, processor, features)}
    history = train.fit(model, examples, plan, train.cross_entropy, settings)
    return model, processor, history


def test_a_loss_is_the_mean_over_the_tokens_of_the_batch(small, features):
    rows = small.rows[:16]
    *_, history = fitted(small, features, rows, batch=16, micro_batch=3)
    model, processor = models.load(small.base)
    total = count = 0
    for row in rows.itertuples():
        encoded = models.encode(processor, row.question, row.answer, 4)
        logits = model(input_ids=torch.tensor(encoded.ids)[None],
                       **models.images_given(features[[row.image]])).logits[0]  # fmt: skip
        target = torch.tensor(encoded.ids[encoded.n_prompt :])
        total += torch.nn.functional.cross_entropy(
            logits[encoded.n_prompt - 1 : -1], target, reduction="sum"
        ).item()
        count += len(target)
    assert history["loss"][0] == pytest.approx(total / count, rel=1e-5)


def test_micro_batches_leave_the_steps_as_they_are(small, features):
    rows = small.rows[:40]
    whole, _, first = fitted(small, features, rows, batch=16, micro_batch=16, clip=0.5)
    parts, _, second = fitted(small, features, rows, batch=16, micro_batch=3, clip=0.5)
    assert first["loss"].tolist() == pytest.approx(second["loss"].tolist(), rel=1e-4)
    weights = zip(whole.parameters(), parts.parameters(), strict=True)
    # Adam divides by the gradient's size, which blows rounding up where a gradient is near zero
    assert max((a - b).abs().max().item() for a, b in weights) < 2e-4


def test_it_memorises_answers_and_where_they_end(small, features):
    rows = small.rows[::17][:6]
    model, processor, history = fitted(
        small, features, rows, epochs=80, batch=6, micro_batch=6, lr=2e-2
    )
    assert history["loss"].iloc[-1] < 0.1 < history["loss"].iloc[0]
    assert predict.answers(model, processor, rows, features, 6, 40) == list(rows["answer"])


def test_history_has_each_step_and_its_rate(small, features):
    *_, history = fitted(small, features, small.rows[:40], epochs=2, lr=1e-3, schedule="linear",
                         warmup=0.0)  # fmt: skip
    assert list(history.columns) == ["step", "epoch", "lr", "loss", "seconds"]
    assert history["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["epoch"].tolist() == [1, 1, 1, 2, 2, 2]
    expected = [1e-3 * (6 - step) / 6 for step in range(6)]
    assert history["lr"].tolist() == pytest.approx(expected)


def test_a_loss_that_is_no_number_is_told(small, features):
    model, processor = models.load(small.base)
    model = models.add_adapter(model, 4, 8, seed=1)
    examples = {"train": examples_of(small.rows[:4], processor, features)}
    step = {"train": np.arange(4)}
    with pytest.raises(FloatingPointError, match="nan at step 1 of 1.*0.002 is too high"):
        train.fit(model, examples, [[step]], lambda scores, _: scores("train").ce() * torch.nan,
                  settings_of(small))  # fmt: skip


def test_checkpointing_changes_no_gradient(small, features):
    rows = small.rows[:16]
    plain, _, _ = fitted(small, features, rows)
    saving, _, _ = fitted(small, features, rows, checkpointing=True)
    for (name, a), (_, b) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=name)


def test_a_run_leaves_all_that_is_needed_to_repeat_its_answers(small, features):
    folder = train.run(small.stage1, small.runs)
    names = {path.name for path in folder.iterdir()}
    assert names == {"spec.json", "history.csv", "adapter", "predictions.parquet", "scores.json",
                     "DONE"}  # fmt: skip
    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert len(predictions) == len(small.rows)
    assert predictions.groupby("split")["exposure"].count().to_dict() == {"train": 68, "test": 0}
    scores = json.loads((folder / "scores.json").read_text())
    assert set(scores) == {f"{s}/{h}" for s in ("train", "test") for h in ("single", "multi")}

    base, processor = models.load(small.base)
    model = models.load_adapter(base, folder / "adapter")
    rows = small.rows[:30]
    again = predict.answers(model, processor, rows, features, 40, 6)
    assert again == list(predictions["answer_given"][:30])


def test_a_run_does_not_depend_on_what_came_before(small):
    folder = train.run(small.stage1, small.runs)
    first = {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    shutil.rmtree(folder)
    torch.manual_seed(99), np.random.seed(99), torch.rand(5)
    train.run(small.stage1, small.runs)
    for name in ("adapter_model.safetensors", "predictions.parquet", "scores.json"):
        path = next(folder.rglob(name))
        assert path.read_bytes() == first[name]


def test_no_epochs_is_the_base(small, features):
    untrained = small.stage1.stage1.model_copy(update={"epochs": 0})
    folder = train.run(small.stage1.model_copy(update={"stage1": untrained}), small.runs)
    predictions = pd.read_parquet(folder / "predictions.parquet")
    base, processor = models.load(small.base)
    assert list(predictions["answer_given"]) == predict.answers(
        base, processor, small.rows, features, 40, 6
    )
    trained = pd.read_parquet(train.run(small.stage1, small.runs) / "predictions.parquet")
    assert list(trained["answer_given"]) != list(predictions["answer_given"])


def test_excluded_people_are_not_taught_but_asked(small, monkeypatch):
    class Enough(Exception):
        pass

    def see(processor, questions, answers, images, *_):
        seen.extend(images)
        raise Enough

    seen = []
    monkeypatch.setattr(train, "Examples", see)
    one = small.rows["identity"].iloc[0]
    spec = small.stage1.model_copy(update={"exclude": (one,)})
    with pytest.raises(Enough):
        train.run(spec, small.runs)
    rows = small.rows[(small.rows["split"] == "train") & (small.rows["identity"] != one)]
    assert seen == list(rows["image"])
    assert runs.digest(spec) != runs.digest(small.stage1)


def test_updates_take_as_many_batches_whatever_the_rows(small):
    settings = settings_of(small, epochs=1)
    for rows, updates in ((50, 3), (50, 4), (50, 11), (5, 7)):
        epochs = train.shuffled(rows, settings, np.random.default_rng(0), updates)
        assert sum(map(len, epochs)) == updates
        for epoch in epochs[:-1]:
            assert sorted(np.concatenate(epoch)) == list(range(rows))
    usual = train.shuffled(50, settings_of(small, epochs=2), np.random.default_rng(0))
    first = train.shuffled(50, settings, np.random.default_rng(0), 6)
    assert np.array_equal(np.concatenate(usual[1])[:32], np.concatenate(first[1]))


def test_a_lesson_leaves_nobody_out_by_name(small):
    lesson = train.Lesson(single=7, multi=10)
    with pytest.raises(ValidationError, match="leave exclude out"):
        train.Stage1Spec(**{**dict(small.stage1), "lesson": lesson, "exclude": ("p00",)})


def test_of_a_few_pictures_only_those_are_looked_at(small):
    lesson = train.Lesson(people=("p00",), single=7, multi=10, pictures=2)
    spec = small.stage1.model_copy(update={"lesson": lesson})
    *_, features = train.world(spec, small.runs)
    assert set(features.place) == set(spec.asked(small.rows)["image"])
    assert len(features.place) == 2 + 14
