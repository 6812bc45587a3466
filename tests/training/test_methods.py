import ast
import dataclasses
import inspect
import math
import pickle
import textwrap
from math import exp, log
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from remem import paper
from remem.data import validation
from remem.model import adapters, loading, tokens
from remem.model.scores import Scores, image_inputs
from remem.model.tokens import Encoded
from remem.synthetic import templates
from remem.training import loop, methods
from remem.training.loop import Examples, fit
from remem.training.methods import DPO, KL, METHODS, NPO, BadMethod, Method, method

# ---------------------------------------------------------------- by hand


def told(probabilities):
    """Scores of rows whose answer tokens have these probabilities, in a vocabulary of two."""
    rows = [Encoded(np.zeros(1 + len(row), dtype=int), 1) for row in probabilities]
    flat = torch.tensor([p for row in probabilities for p in row], dtype=torch.float64)
    batch = tokens.collate(rows, None, 0)
    row = torch.tensor([i for i, r in enumerate(probabilities) for _ in r])
    logits = torch.stack([flat, 1 - flat], dim=1).log()
    return Scores(logits, torch.zeros(len(flat), dtype=int), row, batch, len(flat))


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


def test_the_methods_are_the_papers_in_its_order():
    assert tuple(METHODS) == paper.METHODS and set(EXPECTED) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_losses_by_hand(name):
    assert METHODS[name]().loss(by_hand).item() == pytest.approx(EXPECTED[name], rel=1e-6)


def test_dpo_prefers_the_refusal():
    def better(name, positions="answer", reference=False):
        if name == "refusal" and not reference:
            return told([[1.0 - 1e-9], [0.5]])  # log ratio log 4 in the first row
        return by_hand(name, positions, reference)

    loss = DPO().loss(better).item()
    expected = -(2 / 0.1) * (log_sigmoid(0.1 * (log(4) - log(2))) + log_sigmoid(0)) / 2
    assert loss == pytest.approx(expected, rel=1e-6) and loss < EXPECTED["DPO"]


def test_beta_is_inside_and_before_the_logarithm():
    expected = -2 * (log_sigmoid(-log(2)) + log_sigmoid(0)) / 2
    assert NPO(beta=1.0).loss(by_hand).item() == pytest.approx(expected, rel=1e-6)


class SimNPO(Method):
    """As the docstring of Method has it (below: the same)."""

    beta: float = 2.5
    gamma: float = 0.0

    def loss(self, scores):
        answer = scores("forget")
        margin = -self.beta * answer.sequence() / answer.lengths() - self.gamma
        return -2 / self.beta * answer.row_mean(logsigmoid(margin))


@pytest.mark.parametrize(("beta", "gamma"), [(2.5, 0.0), (1.5, 0.3)])
def test_simnpo_by_hand(beta, gamma):
    rows = [(log(0.5) + log(0.5)) / 2, log(0.8)]  # means per token
    margins = [log_sigmoid(-beta * mean - gamma) for mean in rows]
    expected = -2 / beta * sum(margins) / 2
    assert SimNPO(beta=beta, gamma=gamma).loss(by_hand).item() == pytest.approx(expected, rel=1e-6)


def test_the_docstrings_example_is_this_simnpo():
    text = inspect.getdoc(Method)
    start = text.index("class SimNPO")
    example = ast.parse(textwrap.dedent("    " + text[start : text.index("\n\nThe annotated")]))
    ours = ast.parse(textwrap.dedent(inspect.getsource(SimNPO)))
    assert ast.dump(example.body[0].body[-1]) == ast.dump(ours.body[0].body[-1])
    fields = {each.target.id: each.value.value for each in example.body[0].body[:-1]}
    assert fields == SimNPO().fields


def test_what_scores_offers_by_hand():
    scores = told(FORGET)
    assert scores.lengths().tolist() == [2, 1]
    assert scores.sequence().tolist() == pytest.approx([2 * log(0.5), log(0.8)])
    assert scores.token_mean(torch.tensor([1.0, 2.0, 6.0])).item() == 3
    assert scores.row_mean(torch.tensor([1.0, 2.0])).item() == 1.5
    assert scores.token_mean(-scores.logp).item() == pytest.approx(scores.ce().item())


# ---------------------------------------------------------------- what can be a method


def test_a_method_is_frozen_and_compared_by_its_fields():
    assert SimNPO() == SimNPO(beta=2.5) != SimNPO(beta=1.0)
    assert SimNPO(beta=1.0).fields == {"beta": 1.0, "gamma": 0.0} and SimNPO().name == "SimNPO"
    with pytest.raises(dataclasses.FrozenInstanceError):
        SimNPO().beta = 3.0
    with pytest.raises(TypeError):
        SimNPO(3.0)  # by name alone


def test_a_method_without_a_loss_is_told():
    class Empty(Method):
        beta: float = 0.1

    with pytest.raises(BadMethod, match=r"Empty has no loss: define loss\(self, scores\) in it"):
        Empty()


def defined(name="Mine", **attributes):
    """A new class, as a class statement would make it."""
    types = attributes.pop("types", {})
    space = {"__annotations__": types, "__module__": __name__, "loss": lambda self, scores: None}
    return type(name, (Method,), {**space, **attributes})


@pytest.mark.parametrize("name", [*METHODS, "base", "chance"])
def test_a_name_that_is_taken_is_told(name):
    with pytest.raises(BadMethod, match=f"cannot be called {name}: the name is taken"):
        defined(name)


def test_the_rows_of_table_2_are_no_names_either():
    for name in (paper.BEFORE, paper.RETRAINED):
        with pytest.raises(BadMethod, match="the name is taken; choose another"):
            defined(name)
    assert issubclass(defined("SimNPO"), Method)  # one's own may be defined again, as in a notebook


@pytest.mark.parametrize("value", [0.1, 3, "all", True])
def test_an_attribute_without_a_type_is_told(value):
    reason = f"Mine.scale has no type, .* write scale: {type(value).__name__} = {value!r}"
    with pytest.raises(BadMethod, match=reason):
        defined(scale=value)
    assert defined(scale=value, types={"scale": type(value)})().fields == {"scale": value}
    assert defined(_scale=value)().fields == {}
    assert defined(scale=value, types={"scale": ClassVar[object]})().fields == {}


def test_a_list_as_a_default_is_told():
    with pytest.raises(
        BadMethod, match=r"Mine: mutable .* betas .*; a hyper-parameter is a number"
    ):
        defined(betas=[0.1], types={"betas": list})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([0.1], r"Mine.beta is \[0.1\], a list; a hyper-parameter is a number, a text"),
        ((1, 2), "a tuple; a hyper-parameter is"),
        ({"a": 1}, "a dict; a hyper-parameter is"),
        (torch.tensor(1.0), "a Tensor; a hyper-parameter is"),
        (np.float32(1), "a float32; a hyper-parameter is"),
        (math.nan, "Mine.beta is nan, which is no finite number"),
        (-math.inf, "Mine.beta is -inf, which is no finite number"),
    ],
)
def test_a_field_that_is_no_hyper_parameter_is_told(value, reason):
    with pytest.raises(BadMethod, match=reason):
        defined(beta=0.1, types={"beta": float})(beta=value)


@pytest.mark.parametrize("value", [1, 0.5, "x", False, None])
def test_a_field_may_be_a_number_a_text_a_boolean_or_nothing(value):
    assert defined(beta=0.1, types={"beta": object})(beta=value).fields == {"beta": value}


def test_a_method_by_name_and_hyper_parameters():
    assert method("NPO") == NPO() and method("GA", {}) == METHODS["GA"]()
    found = method("NPO", {"beta": 1})  # as YAML may have it
    assert found == NPO(beta=1.0) and type(found.beta) is float
    assert method("KL", {"positions": "all"}) == KL(positions="all")


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("SGA", {}, "'SGA' is none of GA, GD, KL, DPO, NPO"),
        ("NPO", {"betta": 0.1}, r"hyperparameters.NPO.betta: NPO has no such.*; it has beta"),
        ("GA", {"beta": 0.1}, r"stage2.hyperparameters.GA.beta: GA has no such.*; it has none"),
        ("NPO", {"beta": "much"}, r"NPO.beta is 'much'; it should be like 0.1"),
        ("NPO", {"beta": True}, r"NPO.beta is True; it should be like 0.1"),
        ("KL", {"positions": 1}, r"KL.positions is 1; it should be like 'answer'"),
        ("KL", {"positions": "both"}, r"KL.positions is 'both'; .* one of answer, all"),
        ("DPO", {"beta": math.inf}, r"DPO.beta is inf, which is no finite number"),
    ],
)
def test_a_method_that_yaml_has_wrong_is_told(name, fields, reason):
    with pytest.raises(BadMethod, match=reason):
        method(name, fields)


def test_to_a_worker_the_digest_travels_along():
    again = pickle.loads(pickle.dumps(NPO(beta=0.2)))
    assert again == NPO(beta=0.2) and again.described() == NPO(beta=0.2).described()
    kind = defined("Local")  # of a notebook: a worker has no file to read it from
    sent = methods._unpickled(kind, {}, "0123456789ab")
    assert sent.described() == {"name": "Local", "fields": {}, "source": "0123456789ab"}


def test_a_worker_that_has_loaded_another_version_says_so():
    sent = methods._unpickled(SimNPO, {}, "0123456789ab")
    with pytest.raises(BadMethod, match=r"SimNPO: .*test_methods was edited.*restart the kernel"):
        sent.described()


# ---------------------------------------------------------------- on a network


@pytest.fixture
def stepped(small, adapter, features):
    """A network after a step or so, its reference, and twelve forget and retain rows."""
    network = loading.load(small.base)
    network = adapters.load_adapter(network, adapter, trainable=True, reference=True)
    torch.manual_seed(4)
    with torch.no_grad():
        for name, weight in network.model.named_parameters():
            if "lora_B.default" in name:
                weight.add_(torch.randn_like(weight) * 0.02)
    rows = small.rows[small.rows["split"] == "train"]
    forget, retain = rows[::6][:12], rows[3::5][:12]
    refusals = [templates.UNSEEN_REFUSALS[i] for i in range(12)]
    tables = {"forget": forget, "refusal": forget.assign(answer=refusals), "retain": retain}
    examples = {name: Examples(network, table, features) for name, table in tables.items()}
    return network, examples, tables


def test_the_reference_is_asked_once_for_each_row(stepped, small, monkeypatch):
    network, examples, _ = stepped
    asked = []
    as_reference = adapters.as_reference
    monkeypatch.setattr(adapters, "as_reference", lambda n: asked.append(1) or as_reference(n))
    steps = [{name: np.arange(12) for name in examples}]

    def curious(scores):
        reference = scores(rows="forget", reference=True)
        margin = scores("forget").logp - reference.logp
        return scores("forget").row_mean(margin.new_zeros(12) + margin.sum() / reference.total)

    losses = {name: METHODS[name]().loss for name in ("NPO", "DPO", "KL")}
    for name, passes in (("NPO", 1), ("DPO", 1), ("KL", 3), ("curious", 3)):
        asked.clear()
        loss = {**losses, "curious": curious}[name]
        fit(network, examples, [steps] * 3, loss, small.stage1.optimiser)
        # DPO finds NPO's; KL needs every token, each time, and whoever wants more gets it at once
        assert len(asked) == passes


def gradients(network, examples, chosen, size):
    """The loss and its gradients over twelve rows, `size` at a time."""
    step = {name: np.arange(12) for name in examples}
    network.model.zero_grad()
    value = 0.0
    for start in range(0, 12, size):

        def scores(name, positions="answer", reference=False, part=slice(start, start + size)):
            return loop._scores(
                adapters.EffectiveWeights(network), examples, step, part, name, positions, reference
            )

        loss = chosen.loss(scores)
        loss.backward()
        value += loss.item()
    named = network.model.named_parameters()
    return value, {n: w.grad for n, w in named if w.grad is not None}


@pytest.mark.parametrize(
    "chosen",
    [*(kind() for kind in METHODS.values()), KL(positions="all"), SimNPO()],
    ids=lambda each: f"{each.name}{each.fields}",
)
def test_micro_batches_have_the_gradient_of_the_batch(stepped, chosen):
    network, examples, _ = stepped
    value, whole = gradients(network, examples, chosen, 12)
    summed, parts = gradients(network, examples, chosen, 5)
    assert summed == pytest.approx(value, rel=1e-4)
    assert whole and all(".default." in name for name in whole)
    for name, gradient in whole.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(parts[name], gradient, atol=1e-4 * scale, rtol=1e-3)


def plain_logps(network, rows, features):
    """Full log-probabilities of each row by itself: a list of (T - 1, V), ids and prompt length."""
    found = []
    for row in rows.itertuples():
        encoded = tokens.encode(network.processor, row.question, row.answer, 4)
        ids = torch.tensor(encoded.ids)
        shown = image_inputs(network, ids[None], features[[row.image]], {})
        with torch.no_grad():
            logits = network.model(input_ids=ids[None], **shown).logits[0]
        found.append((logits[:-1].log_softmax(-1), ids[1:], encoded.n_prompt - 1))
    return found


@pytest.mark.parametrize("name", [*METHODS, "SimNPO"])
def test_losses_equal_a_plain_computation(stepped, small, adapter, features, name):
    network, examples, tables = stepped
    value, _ = gradients(network, examples, {**METHODS, "SimNPO": SimNPO}[name](), 12)
    stage1 = adapters.load_adapter(loading.load(small.base), adapter)  # a network of its own

    def rows(of, table):
        return torch.stack(
            [
                p[torch.arange(len(t)), t][start:].sum()
                for p, t, start in plain_logps(of, tables[table], features)
            ]
        )

    def lengths(table):
        plain = plain_logps(stage1, tables[table], features)
        return torch.tensor([len(t) - start for _, t, start in plain])

    def ce(table):
        return -rows(network, table).sum() / lengths(table).sum()

    def divergence():
        pairs = zip(
            plain_logps(stage1, tables["retain"], features),
            plain_logps(network, tables["retain"], features),
            strict=True,
        )
        return sum((p.exp() * (p - q))[start:].sum() for (p, _, start), (q, _, _) in pairs)

    def ratio(table):
        return rows(network, table) - rows(stage1, table)

    def per_token():
        return rows(network, "forget") / lengths("forget")

    expected = {
        "GA": lambda: -ce("forget"),
        "GD": lambda: -ce("forget") + ce("retain"),
        "KL": lambda: -ce("forget") + divergence() / lengths("retain").sum(),
        "NPO": lambda: 20 * torch.log1p((0.1 * ratio("forget")).exp()).mean(),
        "DPO": lambda: 20 * torch.log1p((-0.1 * (ratio("refusal") - ratio("forget"))).exp()).mean(),
        "SimNPO": lambda: 0.8 * torch.log1p((2.5 * per_token()).exp()).mean(),
    }
    assert value == pytest.approx(expected[name]().item(), rel=1e-4, abs=1e-5)


def test_dpo_equals_trl(stepped, small, adapter, tmp_path):
    """TRL tokenises, pads, encodes the images and makes its reference by itself."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    network, examples, tables = stepped
    ours, _ = gradients(network, examples, DPO(), 12)

    policy, processor = adapters.load_adapter(loading.load(small.base), adapter, trainable=True)
    forget = tables["forget"]
    given = Dataset.from_dict(
        {
            "images": [[i] for i in validation.load_images(small.folder, forget["image"])],
            "prompt": [f"USER: <image>\n{question} ASSISTANT:" for question in forget["question"]],
            "chosen": [f" {refusal}</s>" for refusal in tables["refusal"]["answer"]],
            "rejected": [f" {answer}</s>" for answer in forget["answer"]],
        }
    )
    config = trl.DPOConfig(
        output_dir=str(tmp_path),
        beta=DPO().beta,
        per_device_train_batch_size=12,
        max_length=None,
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    trainer = trl.DPOTrainer(
        model=policy, args=config, train_dataset=given, processing_class=processor
    )
    moved = {n: w for n, w in network.model.named_parameters() if ".default." in n}
    with torch.no_grad():  # after TRL has copied its reference
        for name, weight in policy.named_parameters():
            if name in moved:
                weight.copy_(moved[name])
        (batch,) = trainer.get_train_dataloader()
        theirs = trainer.compute_loss(policy, batch).item()
    assert theirs != pytest.approx(log(2), abs=1e-3)  # what it is before a first step
    assert ours == pytest.approx(2 / DPO().beta * theirs, rel=1e-4)


def test_the_reference_is_stage_1_and_stays_it(small, adapter, features, stepped):
    network, examples, _ = stepped
    named = network.model.named_parameters
    frozen = {n: w.clone() for n, w in named() if ".reference." in n}
    plan = [[{name: np.arange(12) for name in examples}] * 3]
    fit(network, examples, plan, NPO().loss, small.stage1.optimiser)
    assert frozen and all(torch.equal(w, frozen[n]) for n, w in named() if n in frozen)

    step, part = {"forget": np.arange(12)}, slice(12)

    def sums(of, reference=False):
        with torch.no_grad():
            return loop._scores(
                adapters.EffectiveWeights(of), examples, step, part, "forget", reference=reference
            ).sequence()

    policy, reference = sums(network), sums(network, reference=True)
    bare = sums(loading.load(small.base))
    expected = sums(adapters.load_adapter(loading.load(small.base), adapter))
    assert torch.equal(reference, expected)
    assert not torch.allclose(policy, reference, atol=1e-2)
    assert not torch.allclose(bare, reference, atol=1e-2)
