import shutil

import pytest
import torch
from outside_helpers import COMMIT, change, rekey
from safetensors.torch import load_file, save_file

from remem.model import adapters, inference
from remem.model.folder import CannotLoad
from remem.outside import adapter as outside


def test_an_adapter_of_the_hub_is_known_by_its_commit(hub):
    for revision in (None, COMMIT):
        found = outside.find("someone/memorised", revision)
        assert found.commit == COMMIT and found.folder.name == "lora"
    shutil.copytree(found.folder, found.folder.with_name("other"))
    with pytest.raises(CannotLoad, match=r"several adapters; choose one: lora, other"):
        outside.find("someone/memorised")
    assert outside.find("someone/memorised", inside="other").folder.name == "other"
    with pytest.raises(CannotLoad, match=r"no adapter in \.\./x; there are: lora, other"):
        outside.find("someone/memorised", inside="../x")


def test_what_is_not_there_says_how_to_get_it(hub, tmp_path):
    with pytest.raises(CannotLoad, match=r"someone/else: .* HF_HUB_OFFLINE=0"):
        outside.find("someone/else")
    with pytest.raises(CannotLoad, match="memorised at fedcba"):
        outside.find("someone/memorised", "fedcba9876543210fedcba9876543210fedcba98")
    with pytest.raises(CannotLoad, match=r"no adapter_config\.json in it"):
        outside.find(str(tmp_path / "cache" / "models--someone--memorised" / "refs"))


def test_a_folder_is_known_by_its_content(published):
    before = outside.find(str(published)).commit
    (published / "README.md").write_text("nothing of the adapter")
    assert outside.find(str(published)).commit == before
    change(published / "adapter_config.json", lora_alpha=3)
    assert outside.find(str(published)).commit != before


def test_pickled_weights_are_not_read(published):
    tensors = load_file(published / "adapter_model.safetensors")
    torch.save(tensors, published / "adapter_model.bin")
    (published / "adapter_model.safetensors").unlink()
    with pytest.raises(CannotLoad, match=r"no adapter_model\.safetensors .* can run code"):
        outside.find(str(published))


def test_under_todays_names_it_is_the_same_adapter(
    published, adapter, llava, small, features, tmp_path
):
    found = outside.find(str(published))
    assert outside.rewritten(found, llava, tmp_path / "today") == []
    theirs = load_file(tmp_path / "today" / "adapter_model.safetensors")
    ours = load_file(adapter / "adapter_model.safetensors")
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(tensor, ours[key]) for key, tensor in theirs.items())
    network = adapters.load_adapter(llava, tmp_path / "today")
    given = inference.answers(network, small.rows[:4], features, 4, 6)
    network.model.unload()
    network = adapters.load_adapter(llava, adapter)
    assert given == inference.answers(network, small.rows[:4], features, 4, 6)
    with network.model.disable_adapter():
        assert given != inference.answers(network, small.rows[:4], features, 4, 6)


def test_ranks_may_differ_and_alpha_counts_by_the_root_where_it_says_so(published, llava, tmp_path):
    file = published / "adapter_model.safetensors"
    tensors = load_file(file)
    key = next(key for key in tensors if "layers.1" in key and "q_proj.lora_A" in key)
    other = key.replace("lora_A", "lora_B")
    tensors[key], tensors[other] = tensors[key][:2].clone(), tensors[other][:, :2].clone()
    save_file(tensors, file, {"format": "pt"})
    change(published / "adapter_config.json", use_rslora=True)
    outside.rewritten(outside.find(str(published)), llava, tmp_path / "today")
    model = adapters.load_adapter(llava, tmp_path / "today").llava
    layers = [layer.self_attn.q_proj for layer in model.model.language_model.layers]
    assert [layer.r["default"] for layer in layers] == [4, 2]
    assert [layer.scaling["default"] for layer in layers] == pytest.approx([8 / 2, 8 / 2**0.5])


def test_what_it_changes_besides_the_language_model_is_told(published, llava, tmp_path):
    file = published / "adapter_model.safetensors"
    layer = llava.llava.model.vision_tower.encoder.layers[0].self_attn.q_proj
    old = "base_model.model.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.lora_"
    into, out = layer.in_features, layer.out_features
    more = {f"{old}A.weight": torch.ones(4, into), f"{old}B.weight": torch.ones(out, 4)}
    save_file(load_file(file) | more, file, {"format": "pt"})
    found = outside.rewritten(outside.find(str(published)), llava, tmp_path / "today")
    assert found == ["model.vision_tower.encoder.layers.0.self_attn.q_proj"]
    adapters.load_adapter(llava, tmp_path / "today")


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"use_dora": True}, "only plain LoRA is read, and this one has use_dora"),
        ({"modules_to_save": ["lm_head"]}, "has modules_to_save"),
        ({"alpha_pattern": {"q_proj": 3}}, "has alpha_pattern"),
        ({"megatron_config": {"a": 1}}, "has megatron_config"),
        ({"of_a_release_to_come": 1}, "has of_a_release_to_come"),
        ({"bias": "all"}, "has biases"),
        ({"init_lora_weights": "pissa"}, "'pissa': such an adapter belongs to a changed base"),
        ({"peft_type": "IA3"}, "only adapters of the type LORA"),
        ({"r": "64"}, "r is '64', and should be a number above 0"),
        ({"lora_alpha": None}, "lora_alpha is None"),
    ],
)
def test_other_than_plain_lora_is_refused(published, llava, tmp_path, keys, reason):
    change(published / "adapter_config.json", **keys)
    with pytest.raises(CannotLoad, match=reason):
        outside.rewritten(outside.find(str(published)), llava, tmp_path / "today")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("q_proj.lora_A", "q_proj.lora_magnitude"), "is no matrix of a LoRA"),
        (("layers.1", "layers.7"), "is of a module that the network lacks"),
        (("q_proj.lora_A", "o_proj.lora_A"), r"q_proj are of the shapes \{'B'"),
    ],
)
def test_matrices_that_are_not_the_networks_are_refused(published, llava, tmp_path, names, reason):
    rekey(published / "adapter_model.safetensors", names=names)
    with pytest.raises(CannotLoad, match=reason):
        outside.rewritten(outside.find(str(published)), llava, tmp_path / "today")


def test_a_configuration_that_is_no_json_is_refused_by_whoever_asks(published, llava, tmp_path):
    (published / "adapter_config.json").write_text('{"r": 4,')
    found = outside.find(str(published))
    with pytest.raises(CannotLoad, match=r"adapter_config\.json cannot be read"):
        _ = found.base
    with pytest.raises(CannotLoad, match=r"adapter_config\.json cannot be read"):
        outside.rewritten(found, llava, tmp_path / "today")


def test_a_cut_file_is_refused(published, llava, tmp_path):
    file = published / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CannotLoad, match="cannot be read"):
        outside.rewritten(outside.find(str(published)), llava, tmp_path / "today")
