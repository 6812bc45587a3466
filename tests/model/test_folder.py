"""The folder of a network: what is there is told before anything is loaded."""

import json
import shutil

import pytest

from remem.model import folder as folders
from remem.model.folder import CannotLoad


@pytest.fixture
def copy(small, tmp_path):
    """A copy of the small network's folder, to be spoilt."""
    return shutil.copytree(small.base, tmp_path / "llava")


def told(folder) -> str:
    with pytest.raises(CannotLoad) as error:
        folders.find(folder)
    assert str(error.value).startswith(f"{folder}: ")
    return str(error.value)


@pytest.mark.parametrize("where", ["a\0b", "x" * 300, "\ud800", "/no/such/folder", "a/b/c", ""])
def test_a_folder_that_is_not_there_is_told(where):
    with pytest.raises(CannotLoad, match=r"there is no such folder|are not on this machine"):
        folders.find(where)


def test_a_folder_is_found_and_its_weights_counted(small):
    assert folders.find(small.base) == small.base
    size = (small.base / "model.safetensors").stat().st_size
    assert 0.9 * size < 4 * folders.parameters(small.base, small.base) < size


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "should hold keys and values"),
        ('{"model_type": ', "is not valid JSON"),
        ("{}", "model_type None"),
        ('{"model_type": "bert"}', "model_type 'bert'.*AutoModelForImageTextToText"),
        ('{"model_type": ["llava"]}', r"model_type \['llava'\]"),
        (
            '{"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"]}',
            r"\['LlavaLlamaForCausalLM'\].*Hub's format, as llava-hf/llava-1.5-7b-hf",
        ),
    ],
)
def test_what_is_no_vision_language_model_is_told(copy, content, reason):
    (copy / "config.json").write_text(content)
    with pytest.raises(CannotLoad, match=reason):
        folders.find(copy)


def test_an_adapter_and_a_folder_of_something_else_are_no_network(tmp_path):
    assert "no config.json" in told(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "it is an adapter; merge it into its base" in told(tmp_path)


def test_an_adapter_beside_a_network_is_not_followed(copy, small):
    """transformers would load the base that it names in the network's place."""
    named = {"peft_type": "LORA", "base_model_name_or_path": str(small.base)}
    (copy / "adapter_config.json").write_text(json.dumps(named))
    assert "an adapter_config.json lies beside the config.json" in told(copy)


@pytest.mark.parametrize("name", ["../other/model.safetensors", "/etc/passwd", "a/b", "..", ""])
def test_weights_lie_in_their_folder(copy, name):
    (copy / "model.safetensors").rename(copy / "part.safetensors")
    index = {"weight_map": {"a": "part.safetensors", "b": name}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert f"names {name!r}, which is no file of {copy}" in told(copy)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("text_config", "num_hidden_layers", 10**9),
        ("text_config", "vocab_size", 0),
        ("text_config", "hidden_size", None),
        ("vision_config", "patch_size", 0),
        ("vision_config", "image_size", 10**6),
        ("vision_config", "image_size", "32"),
    ],
)
def test_a_size_that_cannot_be_is_told(copy, part, name, value):
    known = json.loads((copy / "config.json").read_text())
    known[part][name] = value
    (copy / "config.json").write_text(json.dumps(known))
    with pytest.raises(CannotLoad, match=r"config\.json"):
        folders.config(copy, copy)


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "fp8", "a new one"])
def test_quantised_weights_are_told(copy, method):
    content = json.loads((copy / "config.json").read_text())
    content["quantization_config"] = {"quant_method": method}
    (copy / "config.json").write_text(json.dumps(content))
    assert "config.json has a quantization_config" in told(copy)


def test_weights_that_could_run_code_are_not_read(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "no model.safetensors" in told(copy) and "pytorch_model.bin could run code" in told(copy)


def test_a_part_of_the_weights_that_is_missing_is_named(copy):
    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (copy / "model.safetensors").rename(copy / parts[0])
    assert f"{parts[0]} would be read by a model.safetensors.index.json" in told(copy)
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": parts[0], "b": parts[1], "c": parts[1]}}))
    assert f"1 of 2 files of weights are missing in {copy}, the first is {parts[1]}" in told(copy)
    shutil.copyfile(copy / parts[0], copy / parts[1])
    assert folders.find(copy) == copy
    one = folders.parameters(copy, copy) // 2
    shutil.copyfile(copy / parts[0], copy / "model.safetensors")  # which is loaded in their place
    assert folders.parameters(copy, copy) == one
    (copy / "model.safetensors").unlink()
    index.write_text("{}")
    assert "should hold a weight_map" in told(copy)


def test_a_commit_of_the_hub_is_asked_for_and_known_again(copy, tmp_path, monkeypatch):
    commit, asked = "0123456789" * 4, []
    snapshot = tmp_path / "models--a--llava" / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    copy.rename(snapshot)

    def download(name, revision, local_files_only, **_):
        asked.append((name, revision, local_files_only))
        if revision not in (None, commit):
            raise OSError("not here")
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert folders.find("a/llava") == folders.find(f"a/llava@{commit}") == snapshot
    assert asked == [("a/llava", None, True), ("a/llava", commit, True)]
    assert folders.commit("a/llava") == commit
    assert folders.commit("a/llava@" + "b" * 40) is None
    assert folders.commit(str(snapshot)) == commit
    assert f"a/llava@{'b' * 40}: its weights are not on this machine" in told("a/llava@" + "b" * 40)
