import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

from remem.model import adapters, inference, loading, scores, tokens
from remem.model.memory import OutOfMemory
from remem.model.scores import image_inputs
from remem.training import loop
from remem.training.divergence import Diverged
from remem.training.loop import Examples, fit, shuffled
from remem.training.methods import BadMethod
from remem.training.stage1 import cross_entropy


def optimiser_of(small, **changes):
    return small.stage1.optimiser.model_copy(update=changes)


def test_every_epoch_shows_every_row_once_in_a_new_order(small):
    optimiser = optimiser_of(small, epochs=3)
    epochs = shuffled(50, optimiser, np.random.default_rng(0))
    assert [[len(batch) for batch in epoch] for epoch in epochs] == [[16, 16, 16, 2]] * 3
    orders = [np.concatenate(epoch).tolist() for epoch in epochs]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1]
    again = shuffled(50, optimiser, np.random.default_rng(0))
    assert np.concatenate(again[2]).tolist() == orders[2]


def test_the_paper_takes_160_steps(small):
    optimiser = optimiser_of(small, epochs=5, batch=64, micro_batch=64)
    epochs = shuffled(2000, optimiser, np.random.default_rng(1))
    assert sum(map(len, epochs)) == 160  # §7.1: 2,000 samples, batch 64, 5 epochs
    assert optimiser.steps(2000) == 160


def test_updates_take_as_many_batches_whatever_the_rows(small):
    optimiser = optimiser_of(small, epochs=1)
    for rows, updates in ((50, 3), (50, 4), (50, 11), (5, 7)):
        epochs = shuffled(rows, optimiser, np.random.default_rng(0), updates)
        assert sum(map(len, epochs)) == updates
        for epoch in epochs[:-1]:
            assert sorted(np.concatenate(epoch)) == list(range(rows))
    usual = shuffled(50, optimiser_of(small, epochs=2), np.random.default_rng(0))
    first = shuffled(50, optimiser, np.random.default_rng(0), 6)
    assert np.array_equal(np.concatenate(usual[1])[:32], np.concatenate(first[1]))


def fitted(small, features, rows, **changes):
    network = adapters.add_adapter(loading.load(small.base), 4, 8, seed=1)
    optimiser = optimiser_of(small, **changes)
    epochs = shuffled(len(rows), optimiser, np.random.default_rng(2))
    plan = [[{"train": batch} for batch in epoch] for epoch in epochs]
    examples = {"train": Examples(network, rows, features)}
    return network, fit(network, examples, plan, cross_entropy, optimiser)


def test_a_loss_is_the_mean_over_the_tokens_of_the_batch(small, llava, features):
    rows = small.rows[:16]
    _, history = fitted(small, features, rows, batch=16, micro_batch=3)
    total = count = 0
    for row in rows.itertuples():
        encoded = tokens.encode(llava.processor, row.question, row.answer, 4)
        ids = torch.tensor(encoded.ids)[None]
        shown = image_inputs(llava, ids, features[[row.image]], {})
        logits = llava.model(input_ids=ids, **shown).logits[0]
        target = torch.tensor(encoded.ids[encoded.n_prompt :])
        total += torch.nn.functional.cross_entropy(
            logits[encoded.n_prompt - 1 : -1], target, reduction="sum"
        ).item()
        count += len(target)
    assert history["loss"][0] == pytest.approx(total / count, rel=1e-5)


def test_micro_batches_leave_the_steps_as_they_are(small, features):
    rows = small.rows[:40]
    whole, first = fitted(small, features, rows, batch=16, micro_batch=16, clip=0.5)
    parts, second = fitted(small, features, rows, batch=16, micro_batch=3, clip=0.5)
    assert first["loss"].tolist() == pytest.approx(second["loss"].tolist(), rel=1e-4)
    weights = zip(whole.model.parameters(), parts.model.parameters(), strict=True)
    # Adam divides by the gradient's size, which blows rounding up where a gradient is near zero
    assert max((a - b).abs().max().item() for a, b in weights) < 2e-4


def test_it_memorises_answers_and_where_they_end(small, features):
    rows = small.rows[::17][:6]
    network, history = fitted(small, features, rows, epochs=80, batch=6, micro_batch=6, lr=2e-2)
    assert history["loss"].iloc[-1] < 0.1 < history["loss"].iloc[0]
    answers = list(rows["answer"])
    assert inference.answers(network, rows, features, 6, 40) == answers
    network.llava.generate = None  # of a right draft no token is asked for
    assert inference.answers(network, rows, features, 6, 40, answers) == answers


def test_history_has_each_step_and_its_rate(small, features):
    rows = small.rows[:40]
    _, history = fitted(small, features, rows, epochs=2, lr=1e-3, schedule="linear", warmup=0.0)
    assert list(history.columns) == ["step", "epoch", "lr", "loss", "seconds"]
    assert history["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["epoch"].tolist() == [1, 1, 1, 2, 2, 2]
    expected = [1e-3 * (6 - step) / 6 for step in range(6)]
    assert history["lr"].tolist() == pytest.approx(expected)


def test_a_warm_up_begins_above_zero_and_few_steps_have_none(small):
    def rates(steps, **changes):
        optimiser = optimiser_of(small, **changes)
        return [loop.rate(step, steps, optimiser) for step in range(steps)]

    for schedule in ("cosine", "linear", "constant"):
        few = rates(5, warmup=0.03, schedule=schedule)
        assert few[0] == 1.0 and few == rates(5, warmup=0.0, schedule=schedule)
        long = rates(160, warmup=0.03, schedule=schedule)  # five steps of warm-up
        assert long[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
        assert min(long) > 0 and long.index(max(long)) == 4
        assert all(a >= b for a, b in itertools.pairwise(long[4:]))
    # without a warm-up it is the usual half cosine, from the peak to just above zero
    usual = [0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert rates(8, warmup=0.0, schedule="cosine") == pytest.approx(usual)
    assert rates(4, warmup=1.0, schedule="linear") == [0.25, 0.5, 0.75, 1.0]


def test_each_epoch_is_told_when_it_ends(small, features):
    rows, told = small.rows[:20], []
    network = adapters.add_adapter(loading.load(small.base), 4, 8, seed=1)
    optimiser = optimiser_of(small, epochs=3)
    plan = [[{"train": np.arange(4)}]] * 3
    examples = {"train": Examples(network, rows, features)}
    history = fit(network, examples, plan, cross_entropy, optimiser, told.append)
    assert told == [1, 2, 3] == history["epoch"].tolist()
    assert not network.model.training


def test_checkpointing_changes_no_gradient(small, features):
    rows = small.rows[:16]
    plain, _ = fitted(small, features, rows)
    saving, _ = fitted(small, features, rows, checkpointing=True)
    pairs = zip(plain.model.named_parameters(), saving.model.named_parameters(), strict=True)
    for (name, a), (_, b) in pairs:
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=name)


# ---------------------------------------------------------------- losses that are none


@pytest.fixture
def step(small, features):
    """A function that takes one step of twelve rows, four at a time, with a loss."""
    network = adapters.add_adapter(loading.load(small.base), 4, 8, seed=1)
    examples = {"train": Examples(network, small.rows[:12], features)}
    before = [weight.clone() for weight in network.model.parameters()]

    def take(loss):
        optimiser = optimiser_of(small, micro_batch=4, warmup=0.0)
        try:
            fit(network, examples, [[{"train": np.arange(12)}]], loss, optimiser, name="X's loss")
        finally:
            moved = zip(before, network.model.parameters(), strict=True)
            take.moved = not all(torch.equal(a, b) for a, b in moved)

    return take


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (lambda scores: None, "X's loss is NoneType, and a tensor is wanted: return it"),
        (lambda scores: scores("train").ce().item(), "X's loss is float, and a tensor is wanted"),
        (lambda scores: scores("train").sequence(), r"the shape \(4,\).*answer.row_mean\("),
        (lambda scores: scores("train").logp[None], r"the shape \(1, \d+\).*answer.token_mean\("),
        (lambda scores: scores("train").ce().detach(), "does not depend on the network"),
        (lambda scores: torch.tensor(1.0), "does not depend on the network that is trained"),
        (
            lambda scores: scores("forget").ce(),
            r"scores\('forget'\): there are no such rows.*'train'",
        ),
    ],
)
def test_a_loss_that_is_no_number_is_told(step, loss, reason):
    with pytest.raises(BadMethod, match=reason):
        step(loss)
    assert not step.moved


@pytest.mark.parametrize(("factor", "value"), [(torch.nan, "nan"), (torch.inf, "inf")])
def test_a_loss_that_is_not_finite_is_told(small, step, factor, value):
    with pytest.raises(
        FloatingPointError, match=f"X's loss is {value} at step 1 of 1.*0.002 is too high"
    ) as told:
        step(lambda scores: scores("train").ce() * factor)
    assert not step.moved
    named = re.search(r"\(rows (.*?)\)", str(told.value))[1].split(", ")
    assert len(named) == 4 and {*named} < {*small.rows["id"][:12]}  # of the part in which it was


def test_a_gradient_that_is_not_finite_is_told(step):
    def loss(scores):
        found = scores("train").ce()
        return found + (found.detach() - found).abs().sqrt()  # 0, with the slope of a root there

    with pytest.raises(Diverged, match="the gradient of X's loss has the norm nan at step 1 of 1"):
        step(loss)
    assert not step.moved


def test_the_steps_before_it_are_not_lost(small, features):
    network = adapters.add_adapter(loading.load(small.base), 4, 8, seed=1)
    examples, seen = {"train": Examples(network, small.rows[:12], features)}, []

    def loss(scores):
        seen.append(scores("train").ce())
        return seen[-1] * (torch.nan if len(seen) == 3 else 1)

    with pytest.raises(Diverged, match=r"nan at step 3 of 4 \(rows \S+, .* and 7 more\)") as told:
        fit(network, examples, [[{"train": np.arange(12)}] * 2] * 2, loss, optimiser_of(small))
    history = told.value.history
    assert history["step"].tolist() == [1, 2] and history["epoch"].tolist() == [1, 1]
    assert history["loss"].tolist() == [found.item() for found in seen[:2]]


# ---------------------------------------------------------------- little memory


@pytest.fixture
def memory_for(monkeypatch):
    """A function that makes more than so many rows too much for the memory."""
    score = scores.score

    def limit(rows):
        def limited(network, batch, positions="answer"):
            found = score(network, batch, positions)
            if len(batch.input_ids) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return found

        monkeypatch.setattr(scores, "score", limited)

    return limit


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_where_memory_is_short_the_step_is_taken_in_smaller_parts(
    small, features, memory_for, dtype
):
    def taken(micro_batch):
        said = []
        network = adapters.add_adapter(loading.load(small.base, dtype=dtype), 4, 8, seed=1)
        examples = {"train": Examples(network, small.rows[:40], features)}
        plan = [[{"train": np.arange(12)}, {"train": np.arange(12, 40)}, {"train": np.arange(2)}]]
        optimiser = optimiser_of(small, micro_batch=micro_batch)
        history = fit(network, examples, plan, cross_entropy, optimiser, note=said.append)
        weights = [w for _, w in network.model.named_parameters() if w.requires_grad]
        return history.drop(columns="seconds"), weights, said

    usual, weights, said = taken(3)
    assert said == []
    memory_for(4)
    short, others, said = taken(100)
    pd.testing.assert_frame_equal(short, usual)  # to the last bit: 100 -> 12 -> 6 -> 3
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))
    assert said == [
        f"step 1 of 3, rows (micro_batch): {n} at a time do not fit into memory; {n // 2} from "
        "here on"
        for n in (12, 6)
    ]


def test_one_row_that_is_too_much_names_what_takes_less(small, features, memory_for):
    memory_for(0)
    with pytest.raises(OutOfMemory, match=r"micro_batch\): one at .*; set checkpointing to true"):
        fitted(small, features, small.rows[:5])


# ---------------------------------------------------------------- in half precision


def test_a_network_in_half_precision_is_fitted_as_one_in_single_is(small, features):
    rows, found = small.rows[::17][:6], {}
    for dtype in ("float32", "bfloat16"):
        network = adapters.add_adapter(loading.load(small.base, dtype=dtype), 4, 8, seed=1)
        optimiser = optimiser_of(small, epochs=60, batch=6, micro_batch=3, lr=2e-2)
        epochs = shuffled(len(rows), optimiser, np.random.default_rng(2))
        plan = [[{"train": batch} for batch in epoch] for epoch in epochs]
        examples = {"train": Examples(network, rows, features)}
        history = fit(network, examples, plan, cross_entropy, optimiser)
        found[dtype] = history["loss"].to_numpy()
        lora = [w for _, w in network.model.named_parameters() if w.requires_grad]
        assert {str(w.dtype) for w in lora} == {f"torch.{dtype}"}
        assert all(w.grad is None for w in lora)
        assert inference.answers(network, rows, features, 6, 40) == list(rows["answer"])
    single, half = found.values()
    np.testing.assert_allclose(half[:5], single[:5], rtol=0.03)
    assert half[-1] < 0.1 and single[-1] < 0.1


def test_answers_below_chance_are_said(small, features):
    said = []
    network = adapters.add_adapter(loading.load(small.base), 4, 8, seed=1)
    examples = {"forget": Examples(network, small.rows[:6], features)}
    with torch.no_grad():
        network.llava.lm_head.weight.mul_(0.01)  # begins just above chance
    plan = [[{"forget": np.arange(6)}] * 30]
    down = optimiser_of(small, lr=5e-2, schedule="constant", warmup=0.0)
    fit(network, examples, plan, lambda s: s("forget").ce(), down, note=said.append)
    assert said == []
    fit(network, examples, plan, lambda s: -s("forget").ce(), down, note=said.append)
    [line] = said
    assert re.match(r"diverged: the answers of the forget rows are less likely .* of 30 \(", line)


def test_positions_are_those_of_scores(step):
    with pytest.raises(ValueError, match="positions is 'answer' or 'all', not 'image'"):
        step(lambda scores: scores("train", positions="image").ce())
    step(lambda scores: scores("train", positions="all").ce())
    assert step.moved


def test_the_rows_of_a_part_are_those_of_like_length(small, features):
    network = adapters.add_adapter(loading.load(small.base), 4, 8, seed=1)
    examples = {"train": Examples(network, small.rows[:12], features)}
    seen = []

    def loss(scores):
        found = scores("train")
        seen.append(found.lengths().tolist())
        return found.ce()

    fit(network, examples, [[{"train": np.arange(12)}]], loss, optimiser_of(small, micro_batch=4))
    answers = examples["train"].lengths - examples["train"].prompts
    order = examples["train"].lengths.argsort(kind="stable")
    assert seen == [part.tolist() for part in np.split(answers[order], 3)]


def test_what_a_part_is_asked_goes_to_the_scores_of_the_step(small, features):
    network = adapters.add_adapter(loading.load(small.base), 4, 8, seed=1)
    examples = {"train": Examples(network, small.rows[:12], features)}
    step = {"train": np.arange(12)}
    with torch.no_grad():
        whole = loop._scores(adapters.EffectiveWeights(network), examples, step, slice(12), "train")
        part = loop._scores(
            adapters.EffectiveWeights(network), examples, step, slice(4, 9), "train"
        )
    assert (whole.total, whole.batch.rows_total) == (part.total, part.batch.rows_total)
    assert whole.total == whole.lengths().sum() and part.lengths().sum() < part.total
    assert torch.equal(whole.lengths()[4:9], part.lengths())
    per_token = part.token_mean(torch.ones(len(part.logp))).item()
    assert per_token == pytest.approx(part.lengths().sum().item() / whole.total)
