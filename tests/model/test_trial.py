import pytest
import torch
from families import FAMILIES
from transformers import MllamaConfig

from remem.model import branches, kinds, loading, trial
from remem.model.folder import CannotLoad


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return FAMILIES["qwen2.5-vl"](tmp_path_factory.mktemp("qwen"))


@pytest.fixture
def untested(monkeypatch):
    monkeypatch.setattr(trial, "TESTED", frozenset())


def test_an_outline_has_no_weights_and_draws_no_number(small):
    before = torch.get_rng_state()
    found = trial.outline(small.base, small.base)
    assert {weight.device.type for weight in found.parameters()} == {"meta"}
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_that_takes_pixels_only_is_refused_before_its_weights_are_read(tmp_path):
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "cross_attention_layers": [1]}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "image_size": 32}
    vision |= {"num_global_layers": 1, "attention_heads": 2, "vision_output_dim": 64}
    vision |= {"patch_size": 8, "intermediate_layers_indices": [1], "max_num_tiles": 4}
    MllamaConfig(text_config=text, vision_config=vision).save_pretrained(tmp_path)
    with pytest.raises(CannotLoad, match=r"MllamaFor\w+ cannot be used here: .*get_image_features"):
        trial.outline(tmp_path, tmp_path)


def test_one_of_a_kind_that_is_not_tested_is_tried(qwen, untested):
    assert loading.load(qwen).kind.types == "mm_token_type_ids"


def test_one_that_is_not_told_enough_of_a_picture_is_refused(qwen, untested, monkeypatch):
    real = kinds._tried
    monkeypatch.setattr(kinds, "_tried", lambda *given: real(*given)._replace(told=(), types=None))
    with pytest.raises(CannotLoad, match=r"its logits for a picture are not those that its own"):
        loading.load(qwen)


def test_one_whose_layers_pass_over_the_mask_is_refused(qwen, untested, monkeypatch):
    real = branches._masks
    monkeypatch.setattr(branches, "_masks", lambda *given: torch.ones_like(real(*given)))
    with pytest.raises(CannotLoad, match=r"candidates, read together, are not read as each is"):
        loading.load(qwen)


def test_a_processor_that_does_not_go_with_the_tower_is_told(qwen, monkeypatch):
    real = kinds.pictures.prepare

    def one_more(*given):
        found = real(*given)
        layouts = [each._replace(text=each.text * 2, runs=each.runs * 2) for each in found.layouts]
        return found._replace(layouts=layouts)

    monkeypatch.setattr(kinds.pictures, "prepare", one_more)
    with pytest.raises(CannotLoad, match=r"writes 32 image tokens .* has 16 features of them"):
        loading.load(qwen)
