import json
from math import exp, log

import numpy as np
import pandas as pd
import pytest
import torch

from remem import claims, dataset, models, params, qa, train, unlearn
from remem.models import Encoded


@pytest.fixture
def settings(small):
    return unlearn.Update(**small.settings)


# ---------------------------------------------------------------- by hand


def told(probabilities):
    """Scores of rows whose answer tokens have these probabilities, in a vocabulary of two."""
    rows = [Encoded(np.zeros(1 + len(row), dtype=int), 1) for row in probabilities]
    flat = torch.tensor([p for row in probabilities for p in row], dtype=torch.float64)
    batch = models.collate(rows, None, 0)
    row = torch.tensor([i for i, r in enumerate(probabilities) for _ in r])
    logits = torch.stack([flat, 1 - flat], dim=1).log()
    return models.Scores(logits, torch.zeros(len(flat), dtype=int), row, batch, len(flat))


# two forget rows of two and one token, as the network and as the reference see them
FORGET, FORGET_REF = [[0.5, 0.5], [0.8]], [[0.5, 0.25], [0.8]]
REFUSAL, REFUSAL_REF = [[0.5], [0.5]], [[0.25], [0.5]]
RETAIN, RETAIN_REF = [[0.9], [0.5]], [[0.5], [0.5]]


def by_hand(name, positions="answer", reference=False):
    plain = {"forget": FORGET, "refusal": REFUSAL, "retain": RETAIN}
    frozen = {"forget": FORGET_REF, "refusal": REFUSAL_REF, "retain": RETAIN_REF}
    return told((frozen if reference else plain)[name])


def log_sigmoid(x):
    return -log(1 + exp(-x))


CE_FORGET = -(2 * log(0.5) + log(0.8)) / 3
EXPECTED = {
    "GA": -CE_FORGET,
    "GD": -CE_FORGET - (log(0.9) + log(0.5)) / 2,
    # KL((1/2, 1/2) || (9/10, 1/10)) at one of two positions, none at the other
    "KL": -CE_FORGET + (0.5 * log(0.5 / 0.9) + 0.5 * log(0.5 / 0.1)) / 2,
    # log ratios of the rows: log 2 and 0
    "NPO": -(2 / 0.1) * (log_sigmoid(-0.1 * log(2)) + log_sigmoid(0)) / 2,
    # refusal's log ratios less the answer's: log 2 - log 2, and 0 - 0; moved apart below
    "DPO": -(2 / 0.1) * (log_sigmoid(0) + log_sigmoid(0)) / 2,
}


@pytest.mark.parametrize("method", unlearn.METHODS)
def test_losses_by_hand(method, settings):
    loss = unlearn.METHODS[method](by_hand, settings)
    assert loss.item() == pytest.approx(EXPECTED[method], rel=1e-6)


def test_dpo_prefers_the_refusal(settings):
    def better(name, positions="answer", reference=False):
        if name == "refusal" and not reference:
            return told([[1.0 - 1e-9], [0.5]])  # log ratio log 4 in the first row
        return by_hand(name, positions, reference)

    loss = unlearn.dpo(better, settings).item()
    expected = -(2 / 0.1) * (log_sigmoid(0.1 * (log(4) - log(2))) + log_sigmoid(0)) / 2
    assert loss == pytest.approx(expected, rel=1e-6) and loss < EXPECTED["DPO"]


def test_beta_is_inside_and_before_the_logarithm(small):
    strong = unlearn.Update(**small.settings, beta=1.0)
    expected = -2 * (log_sigmoid(-log(2)) + log_sigmoid(0)) / 2
    assert unlearn.npo(by_hand, strong).item() == pytest.approx(expected, rel=1e-6)


# ---------------------------------------------------------------- on a network


@pytest.fixture
def world(small, adapter, features):
    """A network after a step or so, its reference, and twelve forget and retain rows."""
    model, processor = models.load(small.base)
    model = models.load_adapter(model, adapter, trainable=True, reference=True)
    torch.manual_seed(4)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B.default" in name:
                weight.add_(torch.randn_like(weight) * 0.02)
    rows = small.rows[small.rows["split"] == "train"]
    forget, retain = rows[::6][:12], rows[3::5][:12]
    refusals = [qa.REFUSALS[i % len(qa.REFUSALS)] for i in range(12)]
    tables = {
        "forget": forget, "refusal": forget.assign(answer=refusals), "retain": retain,
    }  # fmt: skip
    examples = {
        name: train.Examples(processor, t["question"], t["answer"], t["image"], features, 4)
        for name, t in tables.items()
    }
    return model, examples, tables


def test_the_reference_is_asked_once_for_each_row(world, small, settings, monkeypatch):
    model, examples, _ = world
    asked = []
    as_reference = models.as_reference
    monkeypatch.setattr(models, "as_reference", lambda m: asked.append(1) or as_reference(m))
    steps = [{name: np.arange(12) for name in examples}]
    for method, passes in (("NPO", 1), ("DPO", 1), ("KL", 3)):
        asked.clear()
        train.fit(model, examples, [steps] * 3, unlearn.METHODS[method], settings)
        assert len(asked) == passes  # DPO finds NPO's; KL needs every token, each time


def gradients(model, examples, method, settings, size):
    """The loss and its gradients over twelve rows, `size` at a time."""
    step = {name: np.arange(12) for name in examples}
    model.zero_grad()
    value = 0.0
    for start in range(0, 12, size):

        def scores(name, positions="answer", reference=False, part=slice(start, start + size)):
            return train._scores(model, examples, step, part, name, positions, reference)

        loss = unlearn.METHODS[method](scores, settings)
        loss.backward()
        value += loss.item()
    return value, {n: w.grad for n, w in model.named_parameters() if w.grad is not None}


@pytest.mark.parametrize(
    ("method", "kl_reduction"), [*((m, "answer") for m in unlearn.METHODS), ("KL", "all")]
)
def test_micro_batches_have_the_gradient_of_the_batch(world, small, method, kl_reduction):
    model, examples, _ = world
    settings = unlearn.Update(**small.settings, kl_reduction=kl_reduction)
    value, whole = gradients(model, examples, method, settings, 12)
    summed, parts = gradients(model, examples, method, settings, 5)
    assert summed == pytest.approx(value, rel=1e-4)
    assert whole and all(".default." in name for name in whole)
    for name, gradient in whole.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(parts[name], gradient, atol=1e-4 * scale, rtol=1e-3)


def plain_logps(model, processor, rows, features):
    """Full log-probabilities of each row by itself: a list of (T - 1, V), ids and prompt length."""
    found = []
    for row in rows.itertuples():
        ids, n_prompt = models.encode(processor, row.question, row.answer, 4)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor(ids)[None],
                           **models.images_given(features[[row.image]])).logits[0]  # fmt: skip
        found.append((logits[:-1].log_softmax(-1), torch.tensor(ids[1:]), n_prompt - 1))
    return found


@pytest.mark.parametrize("method", unlearn.METHODS)
def test_losses_equal_a_plain_computation(world, small, adapter, features, method, settings):
    model, examples, tables = world
    value, _ = gradients(model, examples, method, settings, 12)
    processor = models.load(small.base)[1]
    stage1 = models.load_adapter(models.load(small.base)[0], adapter)  # a network of its own

    def sums(network, name):
        return torch.stack([
            p[torch.arange(len(t)), t][start:].sum()
            for p, t, start in plain_logps(network, processor, tables[name], features)
        ])  # fmt: skip

    def tokens(name):
        plain = plain_logps(stage1, processor, tables[name], features)
        return sum(len(t) - start for _, t, start in plain)

    def ce(name):
        return -sums(model, name).sum() / tokens(name)

    def divergence():
        pairs = zip(
            plain_logps(stage1, processor, tables["retain"], features),
            plain_logps(model, processor, tables["retain"], features),
            strict=True,
        )
        return sum((p.exp() * (p - q))[start:].sum() for (p, _, start), (q, _, _) in pairs)

    def ratio(name):
        return sums(model, name) - sums(stage1, name)

    expected = {
        "GA": lambda: -ce("forget"),
        "GD": lambda: -ce("forget") + ce("retain"),
        "KL": lambda: -ce("forget") + divergence() / tokens("retain"),
        "NPO": lambda: 20 * torch.log1p((0.1 * ratio("forget")).exp()).mean(),
        "DPO": lambda: 20 * torch.log1p((-0.1 * (ratio("refusal") - ratio("forget"))).exp()).mean(),
    }
    assert value == pytest.approx(expected[method]().item(), rel=1e-4, abs=1e-5)


def test_dpo_equals_trl(world, small, adapter, settings, tmp_path):
    """TRL tokenises, pads, encodes the images and makes its reference by itself."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    model, examples, tables = world
    ours, _ = gradients(model, examples, "DPO", settings, 12)

    base, processor = models.load(small.base)
    policy = models.load_adapter(base, adapter, trainable=True)
    forget = tables["forget"]
    given = Dataset.from_dict({
        "images": [[i] for i in dataset.load_images(small.folder, forget["image"])],
        "prompt": [f"USER: <image>\n{question} ASSISTANT:" for question in forget["question"]],
        "chosen": [f" {refusal}</s>" for refusal in tables["refusal"]["answer"]],
        "rejected": [f" {answer}</s>" for answer in forget["answer"]],
    })  # fmt: skip
    config = trl.DPOConfig(
        output_dir=str(tmp_path), beta=settings.beta, per_device_train_batch_size=12,
        max_length=None, report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False,
        remove_unused_columns=False, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = trl.DPOTrainer(
        model=policy, args=config, train_dataset=given, processing_class=processor
    )
    moved = {n: w for n, w in model.named_parameters() if ".default." in n}
    with torch.no_grad():  # after TRL has copied its reference
        for name, weight in policy.named_parameters():
            if name in moved:
                weight.copy_(moved[name])
        (batch,) = trainer.get_train_dataloader()
        theirs = trainer.compute_loss(policy, batch).item()
    assert theirs != pytest.approx(log(2), abs=1e-3)  # what it is before a first step
    assert ours == pytest.approx(2 / settings.beta * theirs, rel=1e-4)


def test_the_reference_is_stage_1_and_stays_it(small, adapter, features, world, settings):
    model, examples, tables = world
    frozen = {n: w.clone() for n, w in model.named_parameters() if ".reference." in n}
    plan = [[{name: np.arange(12) for name in examples}] * 3]
    train.fit(model, examples, plan, unlearn.npo, settings)
    assert all(torch.equal(w, frozen[n]) for n, w in model.named_parameters() if n in frozen)

    step, part = {"forget": np.arange(12)}, slice(12)
    with torch.no_grad():
        policy = train._scores(model, examples, step, part, "forget").sequence()
        reference = train._scores(model, examples, step, part, "forget", reference=True).sequence()
        base = models.load(small.base)[0]
        bare = train._scores(base, examples, step, part, "forget").sequence()
        stage1 = models.load_adapter(base, adapter)
        expected = train._scores(stage1, examples, step, part, "forget").sequence()
    assert torch.equal(reference, expected)
    assert not torch.allclose(policy, reference, atol=1e-2)
    assert not torch.allclose(bare, reference, atol=1e-2)


# ---------------------------------------------------------------- the plan and the run


def test_each_forget_row_has_a_refusal_and_a_retain_row(settings):
    settings = settings.model_copy(update={"epochs": 2})
    epochs = unlearn.plan(20, 100, settings, np.random.default_rng(0))
    for epoch in epochs:
        assert [len(step["forget"]) for step in epoch] == [16, 4]
        assert sorted(np.concatenate([s["forget"] for s in epoch])) == list(range(20))
        partners = np.concatenate([s["retain"] for s in epoch])
        assert len(set(partners)) == 20 and max(partners) > 20
        for step in epoch:
            assert step["refusal"].tolist() == step["forget"].tolist()
            assert len(step["retain"]) == len(step["forget"])
    again, other = (unlearn.plan(20, 100, settings, np.random.default_rng(s)) for s in (0, 1))
    assert again[1][0]["retain"].tolist() == epochs[1][0]["retain"].tolist()
    assert other[0][0]["retain"].tolist() != epochs[0][0]["retain"].tolist()
    few = unlearn.plan(20, 3, settings, np.random.default_rng(0))  # fewer to retain than to forget
    assert set(np.concatenate([s["retain"] for s in few[0]])) <= {0, 1, 2}


def jobs(small, **changes):
    given = {**small.settings, "lr": 1e-2, **changes}
    stage2 = unlearn.Stage2(methods=("GA", "DPO"), forget_ratio=0.25, **given)
    forget = dataset.forget_set(small.rows, 0.25, seed=1)
    return stage2.jobs(small.stage1, forget, small.stage1.evaluate, seed=1)


def test_a_job_per_method_that_differs_in_nothing_else(small):
    first, second = jobs(small)
    assert (first.method, second.method) == ("GA", "DPO")
    assert first.model_copy(update={"method": "DPO"}) == second
    assert first.start == small.stage1 and first.lr == 1e-2


def test_refusals_are_drawn_per_row_and_seeded(small, monkeypatch):
    class Enough(Exception):
        pass

    def stop(model, examples, *_):
        raise Enough

    class Seen(train.Examples):
        def __init__(self, processor, questions, answers, *rest):
            tables.append((list(questions), list(answers)))
            super().__init__(processor, questions, answers, *rest)

    train.run(small.stage1, small.runs)
    monkeypatch.setattr(train, "Examples", Seen)
    monkeypatch.setattr(train, "fit", stop)
    drawn = []
    for seed in (7, 7, 8):
        tables = []
        with pytest.raises(Enough):
            unlearn.run(jobs(small)[1].model_copy(update={"seed": seed}), small.runs)
        forget, refusal, _ = tables
        assert refusal[0] == forget[0] and refusal[1] != forget[1]
        assert set(refusal[1]) <= set(qa.REFUSALS) and len(set(refusal[1])) > 3
        drawn.append(refusal[1])
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_curve_asks_as_many_retained_as_forgotten():
    def table(people, each):
        return pd.DataFrame([(f"p{i}", hop) for i in range(people) for hop in ("single", "multi")
                             for _ in range(each)], columns=["identity", "hop"])  # fmt: skip

    probe = unlearn._probe({"forget": table(2, 50), "retain_eval": table(16, 14)}, 2, seed=1)
    sizes = probe.groupby(["view", "hop"]).size()
    assert sizes.tolist() == [14] * 4  # 14 rows of each forgotten person, as many retained
    assert probe[probe["view"] == "forget"].groupby("identity").size().tolist() == [14, 14]


def test_a_run_forgets_and_says_what_it_did(small):
    spec = jobs(small)[0]
    folder = unlearn.run(spec, small.runs)
    names = {path.name for path in folder.iterdir()}
    assert names == {"spec.json", "history.csv", "curve.csv", "adapter", "predictions.parquet",
                     "scores.json", "DONE"}  # fmt: skip
    predictions = pd.read_parquet(folder / "predictions.parquet")
    views = dataset.views(small.rows, spec.forget)
    assert predictions.groupby("view").size().to_dict() == {
        view: len(views[view]) for view in ("forget", "retain_eval", "test_forget", "test_retain")
    }
    forgotten = predictions["view"] == "forget"
    assert set(predictions.loc[forgotten, "identity"]) == set(spec.forget)
    assert (predictions["exposure"].notna() == forgotten).all()
    curve = pd.read_csv(folder / "curve.csv")
    assert list(curve.columns) == ["epoch", "view", "hop", "em"]
    assert set(curve["epoch"]) == {0, 1} and set(curve["view"]) == {"forget", "retain_eval"}
    history = pd.read_csv(folder / "history.csv")
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert "forget/single" in json.loads((folder / "scores.json").read_text())


def test_no_epochs_are_stage_1(small):
    folder = unlearn.run(jobs(small, epochs=0)[1], small.runs)
    after = pd.read_parquet(folder / "predictions.parquet").set_index("id")["answer_given"]
    stage1 = pd.read_parquet(train.run(small.stage1, small.runs) / "predictions.parquet")
    before = stage1.set_index("id")["answer_given"]
    assert (after == before[after.index]).all()


def test_methods_share_their_draws_and_a_run_repeats_itself(small, tmp_path):
    spec = jobs(small)[1]
    first = unlearn.run(spec, small.runs)
    spare = tmp_path / "runs"
    spare.mkdir()
    start = train.run(spec.start, small.runs)
    (spare / start.name).symlink_to(start)
    torch.rand(3)
    second = unlearn.run(spec, spare)
    for name in ("adapter/adapter_model.safetensors", "predictions.parquet", "curve.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_grid_of_table_2_has_ceiling_methods_and_floor(small):
    p = params.load("smoke", seeds=[1, 2])
    cells = unlearn.cells(p, small.rows)
    for seed in (1, 2):
        mine = {cell.method: cell for cell in cells if cell.seed == seed}
        rows = {"base", claims.BEFORE, claims.RETRAINED, *claims.METHODS}
        assert set(mine) == rows | ({"KL, all positions"} if seed == 1 else set())
        forget = dataset.forget_set(small.rows, 0.2, seed)
        assert {cell.forget for cell in mine.values()} == {forget}
        assert mine[claims.RETRAINED].spec.exclude == forget
        assert mine["GA"].spec.start == mine[claims.BEFORE].spec
        assert mine[claims.BEFORE].target == "remem.train:run"
        assert mine["DPO"].target == "remem.unlearn:run"
        assert mine["base"].spec.stage1.epochs == 0
    other = next(cell for cell in cells if cell.method == "KL, all positions")
    assert (mine["KL"].spec.kl_reduction, other.spec.kl_reduction) == ("answer", "all")


def test_without_a_curve_and_with_updates(small):
    spec = jobs(small)[0].model_copy(update={"curve": False, "updates": 2})
    folder = unlearn.run(spec, small.runs)
    assert not (folder / "curve.csv").exists()
    assert len(pd.read_csv(folder / "history.csv")) == 2


def test_ratios_share_table_2s_run_and_have_a_control_with_equal_updates():
    p = params.load("tiny")
    rows = pd.DataFrame([(f"p{k:02d}", "train") for k in range(20) for _ in range(100)],
                        columns=["identity", "split"])  # fmt: skip
    grid = unlearn.ratio_cells(p, rows)
    table2 = {cell.spec for cell in unlearn.cells(p, rows)}
    for ratio, control, cell in grid:
        assert len(cell.forget) == ratio * 20 / 100
        if cell.method == claims.BEFORE:
            assert cell.spec == p.start(cell.model, 1)
        else:
            assert (cell.spec in table2) == (ratio == 20)
            steps = cell.spec.updates or -(-100 * len(cell.forget) // 64) * 5
            equal = control == claims.UPDATES or ratio == 20
            assert steps == (35 if equal else {5: 10, 10: 20, 15: 25}[ratio])
    smaller, larger = ({c.forget for r, _, c in grid if r == ratio} for ratio in (5, 20))
    assert {p for people in smaller for p in people} <= {p for people in larger for p in people}
    equal = {cell.model for _, control, cell in grid if control == claims.UPDATES}
    assert equal == {"tiny-7b"}
    assert {cell.seed for *_, cell in grid} == {1}
