import functools

import pytest
import torch
from torch import nn

from remem.model import kinds
from remem.model.loading import Network


def test_llava_takes_as_many_image_tokens_as_there_are_features_and_nothing_else(llava):
    kind = llava.kind
    assert kind.blank.count == (32 // 16) ** 2 and kind.blank.text == "<image>"
    assert kind.listed and kind.types is None and not kind.told
    assert kinds.marks(kind, torch.tensor([[3, 4]])) == {}


def test_a_kind_is_found_out_once_without_a_random_number(llava, monkeypatch):
    network = Network(llava.model, llava.processor)
    kinds._KINDS.pop(llava.llava, None)
    before, asked = torch.get_rng_state(), []
    real = llava.llava.get_image_features

    @functools.wraps(real)
    def asking(**given):
        asked.append(given)
        return real(**given)

    monkeypatch.setattr(llava.llava, "get_image_features", asking)
    assert network.kind is network.kind is llava.kind and len(asked) == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_marks_are_on_the_tokens_of_pictures(llava):
    marked = llava.kind._replace(types="token_type_ids", marked=(3, 9))
    found = kinds.marks(marked, torch.tensor([[3, 4], [9, 3]]))
    assert found["token_type_ids"].tolist() == [[1, 0], [1, 1]]


def test_lora_goes_where_it_went(llava):
    """Adapters name it: it may not change for LLaVA."""
    assert kinds.targets(llava.llava) == (
        r".*language_model\.layers\.\d+\."
        r"(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
    )


class Reader(nn.Module):
    def __init__(self, **layer):
        super().__init__()
        self.layers = nn.ModuleList([nn.ModuleDict(layer) for _ in range(2)])


class Whole(nn.Module):
    def __init__(self, **layer):
        super().__init__()
        self.words, self.head = Reader(**layer), nn.Linear(2, 2)

    def get_decoder(self):
        return self.words


def test_projections_of_other_names_are_found_and_none_is_told():
    found = kinds.targets(Whole(qkv=nn.Linear(2, 2), norm=nn.LayerNorm(2)))
    assert found == r".*words\.layers\.\d+\.(qkv)"
    with pytest.raises(ValueError, match=r"Whole has no linear projections .*\(words\), and LoRA"):
        kinds.targets(Whole(norm=nn.LayerNorm(2)))
