import shutil
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from remem.model import loading


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
