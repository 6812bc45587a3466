import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

from remem.model import inference, loading
from remem.model.features import Features, image_features


def test_missing_weights_say_what_to_do(tmp_path):
    with pytest.raises(loading.CannotLoad, match=r"HF_HUB_OFFLINE=0.*scale: tiny"):
        loading.load("llava-hf/llava-1.5-7b-hf-not-here")
    with pytest.raises(loading.CannotLoad, match=r"no config\.json"):
        loading.load(tmp_path)


def test_weights_that_lack_a_layer_are_refused(small, tmp_path):
    for file in small.base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(key for key in weights if "layers.1.mlp" in key)
    del weights[gone]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(loading.CannotLoad, match=r"1 weights are missing.*layers\.1\.mlp"):
        loading.load(tmp_path)


@pytest.mark.parametrize("left", [0, 5, -100])
def test_weights_that_are_cut_short_are_named(small, tmp_path, left):
    shutil.copytree(small.base, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(loading.CannotLoad, match=r"model\.safetensors cannot be read .*cut short"):
        loading.load(tmp_path)


def test_too_little_memory_is_told_before_loading(small, monkeypatch):
    weights = sum(w.numel() for w in load_file(small.base / "model.safetensors").values()) * 4

    def load(free):
        memory = SimpleNamespace(available=free)
        monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
        return loading.load(small.base, device="cpu")

    told = "GiB in float32, and cpu has 0.0 GiB free.*Only the weights .*10% .* activations"
    with pytest.raises(loading.CannotLoad, match=told):
        load(weights + 1000)  # they fit, and nothing else does
    load(1.2 * weights)


def test_a_network_knows_its_llava_and_its_tokens_per_image(llava, adapted):
    assert llava.llava is llava.model and llava.image_tokens == (32 // 16) ** 2
    assert type(adapted.llava).__name__ == "LlavaForConditionalGeneration"
    assert adapted.llava is not adapted.model and adapted.image_tokens == llava.image_tokens
    assert not any(weight.requires_grad for weight in llava.model.parameters())
    assert llava.processor.tokenizer.padding_side == "left"


@pytest.mark.parametrize(
    ("tower", "strategy", "wanted"),
    [("clip", "default", 4), ("clip", "full", 5), ("siglip", "full", 4), ("siglip", "default", 3)],
)
def test_a_picture_takes_as_many_tokens_as_its_tower_gives_features(llava, tower, strategy, wanted):
    clip = llava.llava.config.vision_config
    vision = (
        clip
        if tower == "clip"
        else SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=clip.image_size,
            patch_size=clip.patch_size,
        )
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=llava.llava.config.text_config,
        image_token_index=llava.processor.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy=strategy,
    )
    model = LlavaForConditionalGeneration(config).eval()
    network = loading.Network(model, llava.processor)
    before = torch.get_rng_state()
    assert network.image_tokens == wanted and torch.equal(torch.get_rng_state(), before)
    pictures = [Image.effect_noise((40, 32), 90).convert("RGB")]
    features = Features.of(["a.png"], image_features(network, pictures))
    assert features[["a.png"]].shape == (1, wanted, 32)
    row = pd.DataFrame({"question": ["Who?"], "image": ["a.png"]})
    [answer] = inference.answers(network, row, features, batch=1, max_new_tokens=3)
    assert isinstance(answer, str)


def test_the_content_of_a_folder_follows_what_is_loaded_from_it(small, tmp_path):
    base = shutil.copytree(small.base, tmp_path / "elsewhere")
    before = loading.content_of(small.base)
    (base / "notes.txt").write_text("nothing of the network")
    assert loading.content_of(base) == before  # another place, another file beside it
    weights = load_file(base / "model.safetensors")
    projector = next(key for key in weights if "projector" in key)
    save_file(
        weights | {projector: weights[projector] + 1}, base / "model.safetensors", {"format": "pt"}
    )
    changed = loading.content_of(base)
    (base / "config.json").write_text("{}")
    assert len({before, changed, loading.content_of(base)}) == 3
