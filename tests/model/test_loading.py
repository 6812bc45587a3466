import json
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

from remem.model import inference, loading, tokens
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
    other = loading.content_of(base)
    (base / "chat_template.jinja").write_text("{{ messages }}")
    assert len({before, changed, other, loading.content_of(base)}) == 4


# ---------------------------------------------------------------- tokenizer, template, pictures


@pytest.fixture
def folder(small, tmp_path):
    """A copy of the small network's folder."""
    return shutil.copytree(small.base, tmp_path / "llava")


def change(file, **keys):
    """Keys of a JSON file, which is made where it is not there; None takes one out."""
    content = json.loads(file.read_text()) if file.exists() else {}
    content = {key: value for key, value in (content | keys).items() if value is not None}
    file.write_text(json.dumps(content))


def says(network) -> str:
    ids = tokens.encode(network.processor, "Who?", "Ann.", network.image_tokens).ids
    return network.processor.tokenizer.decode(ids)


def test_a_tokenizer_without_padding_pads_with_end_of_sequence(folder, small, features):
    change(folder / "tokenizer_config.json", pad_token=None)
    network, plain = loading.load(folder), loading.load(small.base)
    tokenizer = network.processor.tokenizer
    assert (
        tokenizer.pad_token_id == tokenizer.eos_token_id != plain.processor.tokenizer.pad_token_id
    )
    rows = small.rows[:6]  # of different lengths: what fills them up is never read
    given = [inference.answers(each, rows, features, 6, 8) for each in (network, plain)]
    assert given[0] == given[1]


def in_json(folder, template):
    change(folder / "chat_template.json", chat_template=template)


def with_the_processor(folder, template):
    change(folder / "processor_config.json", chat_template=template)


def with_the_tokenizer(folder, template):
    change(folder / "tokenizer_config.json", chat_template=template)


def with_the_tokenizer_by_name(folder, template):
    named = [{"name": "tool", "template": "no"}, {"name": "default", "template": template}]
    change(folder / "tokenizer_config.json", chat_template=named)


def alone_under_another_name(folder, template):
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "vicuna.jinja").write_text(template)


@pytest.mark.parametrize(
    "kept",
    [
        in_json,
        with_the_processor,
        with_the_tokenizer,
        with_the_tokenizer_by_name,
        alone_under_another_name,
    ],
)
def test_a_chat_template_is_found_where_older_releases_kept_it(folder, llava, kept):
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    kept(folder, template)
    assert says(loading.load(folder)) == says(llava)


REPR = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, r"no chat template in chat_template\.jinja, nor where .* llava-hf/llava-1\.5-7b-hf"),
        ("{% for m in messages %}{{ m }", "chat template or tokenizer: unexpected"),
        ("{{ messages[0]['content'] + '' }}", "chat template or tokenizer: .* list"),
        (REPR, "its chat template writes 0 image tokens for a picture"),
        ("<image><image>{{ messages[0]['content'][1]['text'] }}", "writes 2 image tokens"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_told(folder, template, reason):
    file = folder / "chat_template.jinja"
    file.unlink() if template is None else file.write_text(template)
    with pytest.raises(loading.CannotLoad, match=reason):
        loading.load(folder)
    [fault] = loading.faults(folder)
    assert str(fault).startswith(f"{folder}: ")


def without_end(folder):
    change(folder / "tokenizer_config.json", eos_token=None, pad_token=None)


def without_image_token(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    known = [each for each in content["added_tokens"] if each["content"] != "<image>"]
    change(folder / "tokenizer.json", added_tokens=known)
    change(folder / "tokenizer_config.json", image_token=None)


def of_another_number(folder):
    change(folder / "config.json", image_token_index=7)


def larger_than_the_network(folder):
    text = json.loads((folder / "config.json").read_text())["text_config"]
    change(folder / "config.json", text_config=text | {"vocab_size": 100})


def of_other_pictures(folder):
    vision = json.loads((folder / "config.json").read_text())["vision_config"]
    change(folder / "config.json", vision_config=vision | {"image_size": 64})


def without_a_processor(folder):
    (folder / "processor_config.json").unlink()


def of_half_a_tokenizer(folder):
    file = folder / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without_end, "no eos_token, with which every answer ends: name it in tokenizer_config"),
        (without_image_token, r"the image token '<image>' as number \d+, and config.json has 3"),
        (of_another_number, "'<image>' as number 3, and config.json has 7 for it"),
        (larger_than_the_network, "its tokenizer knows 400 tokens, and the network 100"),
        (of_other_pictures, "makes pictures of 32 x 32 pixels, and its tower takes 64 x 64"),
        (without_a_processor, "its processor cannot be loaded: .*copy them from the model"),
        (of_half_a_tokenizer, "its processor cannot be loaded"),
    ],
)
def test_what_does_not_belong_to_the_network_is_told_before_its_weights_are_read(
    folder, spoil, reason, monkeypatch
):
    spoil(folder)
    monkeypatch.setattr("transformers.AutoModelForImageTextToText.from_pretrained", None)
    with pytest.raises(loading.CannotLoad, match=f"(?s){reason}"):
        loading.load(folder)


# ---------------------------------------------------------------- a folder with code of its own

EVIL = """
from pathlib import Path
Path(__file__).with_name("it-ran").touch()
from transformers import (
    CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor,
    PreTrainedTokenizerFast,
)
class Config(LlavaConfig): pass
class Model(LlavaForConditionalGeneration): pass
class Processor(LlavaProcessor): pass
class Tokenizer(PreTrainedTokenizerFast): pass
class Pictures(CLIPImageProcessor): pass
def generate(model, *args, **kwargs): raise SystemExit
"""


def in_the_config(folder):
    classes = {"AutoConfig": "evil.Config", "AutoProcessor": "evil.Processor"}
    classes |= {"AutoModelForImageTextToText": "evil.Model"}
    change(folder / "config.json", auto_map=classes)


def in_the_processor(folder):
    change(
        folder / "processor_config.json",
        processor_class="Processor",
        auto_map={"AutoProcessor": "evil.Processor"},
    )


def in_the_tokenizer(folder):
    change(
        folder / "tokenizer_config.json",
        tokenizer_class="Tokenizer",
        auto_map={"AutoTokenizer": [None, "evil.Tokenizer"]},
    )


def in_the_tokenizer_of_a_processor_without_a_name(folder):
    in_the_tokenizer(folder)
    for name in ("processor_config.json", "tokenizer_config.json"):
        change(folder / name, processor_class=None)


def in_the_pictures(folder):
    known = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    known |= {
        "image_processor_type": "Pictures",
        "auto_map": {"AutoImageProcessor": "evil.Pictures"},
    }
    change(folder / "processor_config.json", image_processor=known)


def in_pictures_of_older_releases(folder):
    in_the_pictures(folder)
    known = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    change(folder / "processor_config.json", image_processor=None)
    change(folder / "preprocessor_config.json", **known)


def in_the_generation(folder):
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(EVIL)


@pytest.mark.parametrize(
    "hidden",
    [
        in_the_config,
        in_the_processor,
        in_the_tokenizer,
        in_the_tokenizer_of_a_processor_without_a_name,
        in_the_pictures,
        in_pictures_of_older_releases,
        in_the_generation,
    ],
)
def test_code_that_a_folder_brings_is_not_run_and_nobody_is_asked(folder, hidden, monkeypatch):
    (folder / "evil.py").write_text(EVIL)
    hidden(folder)
    asked = []
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "y")
    try:
        network = loading.load(folder)
    except loading.CannotLoad as refusal:
        assert "it brings code of its own (auto_map), which is never run here" in str(refusal)
        assert "=True" not in str(refusal)  # the advice of transformers
        assert loading.faults(folder)
    else:  # with the classes of transformers
        parts = (network.llava, network.processor, network.processor.image_processor)
        assert all(type(part).__module__.startswith("transformers.") for part in parts)
        says(network)
    assert not asked and not [*folder.rglob("it-ran")]


def test_all_faults_of_a_folder_are_told_at_once(folder, small, monkeypatch):
    assert loading.faults(small.base) == []
    without_end(folder)
    (folder / "chat_template.jinja").unlink()
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=9))
    memory, processor = map(str, loading.faults(folder, "float32", copies=3))
    assert "GiB in float32 for each of 3 workers, and cpu has 0.0 GiB free" in memory
    assert "no eos_token" in processor and "no chat template" in processor
    [missing] = loading.faults("llava-hf/llava-1.5-7b-hf-not-here")
    assert "HF_HUB_OFFLINE=0" in str(missing)
