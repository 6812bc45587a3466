import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from tiny_base import NETWORK, SPEC, TOWER

from remem import runs
from remem.config.sections import Hub
from remem.model import loading
from remem.synthetic.people import public_figures
from remem.training import base_model, corpus, vision_tower
from remem.training.base_model import BaseRun
from remem.training.vision_tower import TowerRun


@pytest.fixture
def base(tiny_runs):
    return base_model.place(SPEC, tiny_runs)


def test_the_folder_loads_with_the_libraries_own_classes(base):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(base)
    processor = AutoProcessor.from_pretrained(base)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who?"}]}]
    rendered = processor.apply_chat_template(turn, add_generation_prompt=True)
    assert rendered == "USER: <image>\nWho? ASSISTANT:"  # LLaVA-1.5's own format


def test_the_processor_prepares_pixels_as_the_tower_was_trained_on(base):
    picture = corpus.examination(public_figures(1), 32, count=1)[0].picture
    processor = loading.load(base).processor
    prepared = processor.image_processor([picture], return_tensors="pt")["pixel_values"]
    pixels = torch.tensor(list(picture.tobytes()), dtype=torch.uint8).view(32, 32, 3)
    expected = vision_tower.normalise(pixels.permute(2, 0, 1)[None])
    assert torch.allclose(prepared, expected, atol=1e-6)


def test_the_tower_of_the_base_is_the_tower_that_was_trained(base, tiny_runs):
    tower = runs.folder(TowerRun(tower=TOWER), tiny_runs)
    trained = load_file(tower / "tower.safetensors")
    inside = loading.load(base).llava.model.vision_tower.state_dict()
    assert trained and all(torch.equal(inside[name], value) for name, value in trained.items())


def test_training_lowers_the_loss(base):
    loss = SPEC.read(base).loss
    assert loss.iloc[-1] < loss.iloc[0] < 7  # log(400) = 6.0 at the very start
    assert list(pd.read_csv(base / "history.csv").step) == [20, 40, 60]


def test_the_same_spec_gives_the_same_weights(base, tmp_path):
    again = base_model.place(SPEC, tmp_path)
    assert (again / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()


def test_a_hub_network_is_handed_on_and_a_tiny_one_needs_a_tower(tmp_path):
    hub = BaseRun(network=Hub(hub="llava-hf/llava-1.5-7b-hf"))
    assert base_model.place(hub, tmp_path) == "llava-hf/llava-1.5-7b-hf"
    assert base_model.base_needs(hub) == hub.needs() == ()
    assert base_model.base_needs(SPEC) == (SPEC,) and SPEC.needs() == (TowerRun(tower=TOWER),)
    with pytest.raises(ValueError, match=r"llava-1\.5-7b-hf.* is not made here"):
        runs.get_or_create(hub, tmp_path)
    with pytest.raises(ValidationError, match=r"base\.tower"):
        BaseRun(network=NETWORK)


def test_runs_know_each_other_apart():
    other = NETWORK.model_copy(update={"steps": 61})
    hub = Hub(hub="llava-hf/llava-1.5-7b-hf")
    specs = [SPEC, BaseRun(network=other, tower=TOWER), BaseRun(network=hub)]
    specs.append(BaseRun(network=hub.model_copy(update={"content": "0" * 64})))
    assert len({runs.digest(spec) for spec in specs}) == 4
