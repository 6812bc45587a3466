import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scoring import scored
from torch.utils._python_dispatch import TorchDispatchMode

from remem.model import adapters, inference, loading


def weights(network, trainable=False):
    """(name, weight) of all, or of what is trained."""
    named = network.model.named_parameters()
    return [(name, weight) for name, weight in named if weight.requires_grad or not trainable]


def merged(network):
    return [module for module in network.model.modules() if getattr(module, "merged", False)]


def test_lora_is_on_the_language_model_only_and_starts_as_nothing(small, llava, features):
    with torch.no_grad():
        _, before = scored(small, llava, features)
    network = adapters.add_adapter(llava, rank=4, alpha=8, seed=0)
    named = [name for name, _ in weights(network, trainable=True)]
    assert len(named) == 2 * 7 * 2  # A and B, of seven projections, in two layers
    assert all("lora_" in n and "language_model.layers" in n for n in named)
    lora = [name for name, _ in weights(network) if "lora_" in name]
    assert not any("vision" in n or "projector" in n for n in lora)
    _, after = scored(small, network, features)
    assert torch.equal(before.logits, after.logits)
    after.ce().backward()
    touched = [name for name, weight in weights(network) if weight.grad is not None]
    assert touched == named


def test_the_seed_makes_the_adapter(small):
    def first(seed):
        torch.rand(7)
        network = adapters.add_adapter(loading.load(small.base), 4, 8, seed)
        return next(weight for name, weight in weights(network) if "lora_A" in name)

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


def test_a_saved_adapter_reloads_bit_for_bit(small, llava, adapter, features, tmp_path):
    with torch.no_grad():
        _, plain = scored(small, llava, features)
        network = adapters.load_adapter(llava, adapter, trainable=True, reference=True)
        _, first = scored(small, network, features)
        adapters.save_adapter(network, tmp_path)
        again = adapters.load_adapter(loading.load(small.base), tmp_path)
        _, second = scored(small, again, features)
    assert torch.equal(first.logits, second.logits)
    assert not torch.allclose(first.logits, plain.logits, atol=1e-2)
    assert {f.name for f in tmp_path.iterdir()} >= {"adapter_model.safetensors"}
    assert not (tmp_path / "reference").exists()
    assert not weights(again, trainable=True)
    # nothing of this machine's folders in what is handed on
    for name in ("adapter_config.json", "README.md"):
        assert str(small.base.parent) not in (tmp_path / name).read_text()


def test_an_adapter_that_is_not_taken_up_is_refused(llava, adapter, tmp_path):
    saved = load_file(adapter / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    strange = {key.replace("layers.1", "layers.9"): weight for key, weight in saved.items()}
    save_file(strange, tmp_path / "adapter_model.safetensors")
    with pytest.warns(UserWarning), pytest.raises(loading.CannotLoad, match=r"layers\.9"):
        adapters.load_adapter(llava, tmp_path)


def test_the_reference_stays_frozen_and_the_policy_comes_back(small, llava, adapter, features):
    network = adapters.load_adapter(llava, adapter, trainable=True, reference=True)
    trainable = {name for name, _ in weights(network, trainable=True)}
    assert trainable and all(".default." in name for name in trainable)
    with torch.no_grad():
        for _, weight in weights(network, trainable=True):
            weight.zero_()
    with adapters.as_reference(network):
        _, reference = scored(small, network, features)
        assert not any(".reference." in name for name, _ in weights(network, trainable=True))
    assert not reference.logits.requires_grad
    _, policy = scored(small, network, features)
    assert {name for name, _ in weights(network, trainable=True)} == trainable
    assert not torch.allclose(policy.logits, reference.logits, atol=1e-2)
    with torch.no_grad():
        stage1 = adapters.load_adapter(loading.load(small.base), adapter)
        _, expected = scored(small, stage1, features)
    assert torch.equal(reference.logits, expected.logits)


def test_a_merged_adapter_says_the_same_without_its_own_products(small, adapter, features):
    rows, found = small.rows[::6], []
    for merge in (False, True):
        network = adapters.load_adapter(loading.load(small.base), adapter)
        if merge:
            adapters.merge_adapter(network)
        assert bool(merged(network)) == merge
        found.append(inference.token_logps(network, rows, features, 20))
    for beside, inside in zip(*found, strict=True):
        np.testing.assert_allclose(beside, inside, atol=1e-4)


def test_merging_leaves_the_weights_of_the_base_as_they_are(small, adapter):
    network = adapters.load_adapter(loading.load(small.base), adapter)
    layer = adapters._lora_layers(network)[0]
    plain, delta = layer.base_layer.weight, layer.get_delta_weight("default")
    before = plain.detach().clone()
    adapters.merge_adapter(network)
    assert torch.equal(plain, before) and not torch.equal(layer.base_layer.weight, plain)
    assert torch.equal(layer.base_layer.weight, before + delta)


# ---------------------------------------------------------------- beside a network in bfloat16


@pytest.fixture
def half(small, adapter):
    """A function that gives the network in bfloat16 with the adapter of a folder."""

    def load(folder=adapter, **how):
        return adapters.load_adapter(loading.load(small.base, dtype="bfloat16"), folder, **how)

    return load


def test_in_half_precision_nothing_is_merged(half):
    network = half()
    adapters.merge_adapter(network)
    assert not merged(network)


def test_an_adapter_is_in_the_precision_of_its_network(small, half, tmp_path):
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        network = loading.load(small.base, dtype=str(dtype).removeprefix("torch."))
        network = adapters.add_adapter(network, rank=4, alpha=8, seed=0)
        found = {weight.dtype for name, weight in weights(network) if "lora_" in name}
        assert found == {torch.bfloat16 if dtype == torch.bfloat16 else torch.float32}
    network = half(trainable=True, reference=True)
    lora = [weight for name, weight in weights(network) if "lora_" in name]
    assert len(lora) == 56 and {weight.dtype for weight in lora} == {torch.bfloat16}
    adapters.save_adapter(network, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.bfloat16}
    before, again = dict(weights(network)), dict(weights(half(tmp_path)))
    assert all(torch.equal(before[name], weight) for name, weight in again.items())


def projected(layer, x):
    """What a layer gives for `x`, computed in double precision, and its gradients."""
    w, a, b = (
        each.weight.detach().double()
        for each in (layer.base_layer, layer.lora_A["default"], layer.lora_B["default"])
    )
    a, b, x = (each.double().requires_grad_() for each in (a, b, x))
    found = x @ w.T + layer.scaling["default"] * (x @ a.T @ b.T)
    found.square().sum().backward()
    return found, (x.grad, a.grad, b.grad)


def test_the_adapters_few_products_are_those_that_they_should_be(half):
    network = half(trainable=True)
    torch.manual_seed(0)
    for layer in adapters._lora_layers(network):
        x = torch.randn(2, 5, layer.in_features).bfloat16()
        expected, gradients = projected(layer, x)
        x.requires_grad_()
        found = layer(x)
        found.float().square().sum().backward()
        assert found.shape == (2, 5, layer.out_features) and found.dtype == torch.bfloat16
        torch.testing.assert_close(found.double(), expected, atol=0.02, rtol=0.02)
        own = (x, layer.lora_A["default"].weight, layer.lora_B["default"].weight)
        for each, wanted in zip(own, gradients, strict=True):
            apart = (each.grad.double() - wanted).norm() / wanted.norm()
            assert apart < 0.02


def test_whatever_else_is_asked_of_a_layer_is_left_to_peft(small, half, features):
    network = half(trainable=True, reference=True)
    with torch.no_grad():
        _, plain = scored(small, loading.load(small.base, dtype="bfloat16"), features)
        with network.model.disable_adapter():
            _, without = scored(small, network, features)
        for name, weight in weights(network):
            if "lora_B.default" in name:
                weight.zero_()
        _, nothing = scored(small, network, features)
        with adapters.as_reference(network):
            _, reference = scored(small, network, features)
        _, alone = scored(small, half(), features)
    assert torch.equal(without.logits, plain.logits) and torch.equal(nothing.logits, plain.logits)
    assert torch.equal(reference.logits, alone.logits)
    assert not torch.equal(reference.logits, plain.logits)


class Counted(TorchDispatchMode):
    """Counts the kernels that write a tensor of their own, and the bytes in another precision."""

    def __init__(self):
        super().__init__()
        self.kernels, self.wide = 0, 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        found = op(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and not op.is_view:
            self.kernels += 1
            self.wide += found.numel() * 4 if found.dtype == torch.float32 else 0
        return found


def test_a_projection_takes_two_kernels_more_and_nothing_in_single_precision(half):
    network = half(trainable=True)
    layer = adapters._lora_layers(network)[0]
    x = torch.randn(2, 5, layer.in_features).bfloat16()
    kept = []
    with Counted() as bare:
        layer.base_layer(x.flatten(0, 1))
    with (
        Counted() as ours,
        torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t), t)[1], lambda t: t),
    ):
        layer(x)
    assert (ours.kernels, ours.wide) == (bare.kernels + 2, 0)
    # of the input nothing is kept but itself, which q, k and v share, and of the output nothing
    own = [t for t in kept if t.data_ptr() != x.data_ptr() and t.numel() >= x.numel()]
    weight = {w.data_ptr() for _, w in weights(network)}
    assert all(t.data_ptr() in weight for t in own)


@pytest.fixture
def wide(small, tmp_path):
    """A function that gives a network with an adapter of a rank, and a reference that differs."""

    def make(rank, dtype="float32"):
        network = adapters.add_adapter(loading.load(small.base, dtype=dtype), rank, 2 * rank, 3)
        for name, weight in network.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        adapters.save_adapter(network, tmp_path)
        network = loading.load(small.base, dtype=dtype)
        network = adapters.load_adapter(network, tmp_path, trainable=True, reference=True)
        for _, weight in weights(network, trainable=True):
            weight.data.mul_(0.8)
        return network

    return make


def test_one_weight_for_three_products_gives_the_same_scores_and_gradients(small, wide, features):
    network = wide(rank=16)
    before = {name: weight.clone() for name, weight in network.model.state_dict().items()}
    effective = adapters.EffectiveWeights(network)

    def parts(as_reference):
        for count in (3, 5):
            with as_reference():
                _, reference = scored(small, network, features, count)
            _, policy = scored(small, network, features, count)
            (policy.ce() + policy.kl_from(reference)).backward()
            yield policy.logits.detach(), reference.logits

    def gradients():
        found = {name: weight.grad for name, weight in weights(network) if weight.grad is not None}
        network.model.zero_grad()
        return found

    plain = list(parts(lambda: adapters.as_reference(network)))
    expected = gradients()
    with effective.step():
        assert len(merged(network)) == 14
        found = list(parts(effective.as_reference))
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)
    assert len(expected) == 28 and all(".default." in name for name in expected)
    torch.testing.assert_close(gradients(), expected, atol=1e-5, rtol=1e-4)
    after = network.model.state_dict()  # the base as it was, to the last bit
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert not merged(network) and after.keys() == before.keys()


def test_a_step_that_fails_leaves_the_base_as_it_was(wide):
    network = wide(rank=16)
    before = {name: weight.clone() for name, weight in network.model.state_dict().items()}
    with pytest.raises(ZeroDivisionError), adapters.EffectiveWeights(network).step():
        raise ZeroDivisionError
    after = network.model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert not merged(network)


@pytest.mark.parametrize(("rank", "dtype"), [(4, "float32"), (16, "bfloat16")])
def test_where_three_products_are_better_they_stay(wide, rank, dtype):
    network = wide(rank, dtype)
    with adapters.EffectiveWeights(network).step():
        assert not merged(network)
