import shutil
import weakref

import pytest
import torch

from remem.model import adapters, inference, loading, resident


@pytest.fixture(autouse=True)
def _fresh():
    resident.release()
    yield
    resident.release()


@pytest.fixture
def loads(monkeypatch):
    """How often a network was read, as a list."""
    load, found = loading.load, []
    monkeypatch.setattr(
        loading, "load", lambda *args, **kwargs: (found.append(args), load(*args, **kwargs))[1]
    )
    return found


def alike(one, other):
    """Whether two networks hold the same numbers under the same names."""
    one, other = one.model.state_dict(), other.model.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def changed(network, adapter):
    """All that a run does to a network."""
    network = adapters.load_adapter(network, adapter, trainable=True, reference=True)
    network.llava.activation_checkpointing_enable()
    network.model.enable_input_require_grads()
    network.model.train()
    ids = torch.tensor([[5, 6, 7]])
    network.llava(input_ids=ids).logits.square().mean().backward()
    adapters.merge_adapter(network)
    network.llava.config_of_mine = 1


def test_it_is_read_once_and_comes_back_as_it_was(small, adapter, features, loads):
    rows, said = small.rows[::9], []
    with resident.lend(small.base) as network:
        first = network.model
        changed(network, adapter)
        assert any("lora_" in name for name in network.model.state_dict())
    with resident.lend(small.base) as network:
        assert network.model is first and len(loads) == 1
        fresh = loading.load(small.base)
        assert alike(network, fresh)
        states = [
            {name: (vars(m).keys(), m.training, len(m._forward_hooks)) for name, m in each}
            for each in (network.model.named_modules(), fresh.model.named_modules())
        ]
        assert states[0] == states[1]
        assert not network.model.is_gradient_checkpointing
        for name, weight in network.model.named_parameters():
            assert not weight.requires_grad and weight.grad is None, name
        for each in (network, fresh):
            each = adapters.load_adapter(each, adapter)
            adapters.merge_adapter(each)
            said.append(inference.token_logps(each, rows, features, 20))
    assert all((a == b).all() for a, b in zip(*said, strict=True))  # to the last bit


def test_the_adapter_goes_with_the_block(small, adapter):
    with resident.lend(small.base) as network:
        network = adapters.load_adapter(network, adapter)
        lora = weakref.ref(next(w for n, w in network.model.named_parameters() if "lora_A" in n))
    assert lora() is None


def test_another_network_finds_the_memory_free(small, tmp_path, monkeypatch):
    with resident.lend(small.base) as network:
        first = weakref.ref(network.model)
        del network
    assert first() is not None  # it stays
    other = shutil.copytree(small.base, tmp_path / "llava")
    load, alive = loading.load, []

    def watched(*args, **kwargs):
        alive.append(first())
        return load(*args, **kwargs)

    monkeypatch.setattr(loading, "load", watched)
    with resident.lend(other):
        assert alive == [None]
    with resident.lend(other, dtype="bfloat16") as network:
        assert len(alive) == 2 and network.model.dtype == torch.bfloat16


def test_a_network_that_was_changed_on_the_disk_is_read_again(small, tmp_path, loads):
    where = shutil.copytree(small.base, tmp_path / "llava")
    for _ in range(2):
        with resident.lend(where):
            pass
    assert len(loads) == 1
    (where / "model.safetensors").touch()
    with resident.lend(where):
        assert len(loads) == 2


def test_after_an_error_it_is_as_it_was(small, adapter, loads):
    with pytest.raises(ZeroDivisionError), resident.lend(small.base) as network:
        first = network.model
        changed(network, adapter)
        raise ZeroDivisionError
    with resident.lend(small.base) as network:
        assert network.model is first and len(loads) == 1
        assert alike(network, loading.load(small.base))


def test_whoever_asks_while_it_is_lent_gets_one_of_his_own(small, adapter, loads):
    with resident.lend(small.base) as outer:
        adapters.load_adapter(outer, adapter)
        with resident.lend(small.base) as inner:
            assert inner.model is not outer.model and len(loads) == 2
            assert not any("lora_" in name for name in inner.model.state_dict())
        assert any("lora_" in name for name in outer.model.state_dict())
    with resident.lend(small.base) as again:
        assert again.model is outer.model and len(loads) == 2
