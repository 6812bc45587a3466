import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from remem import crowd, models, pretrain, runs

TOWER = pretrain.Tower(image_size=32, layers=1, width=32, heads=2, faces=20, views=2, epochs=3,
                       batch=20)  # fmt: skip
NETWORK = pretrain.Drawn(layers=2, width=32, mlp=64, heads=2, vocabulary=400, public=2, others=2,
                         steps=60, batch=16, examined=6)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def base(root):
    return pretrain.run(pretrain.BaseSpec(network=NETWORK, tower=TOWER), root)


def test_the_folder_loads_with_the_libraries_own_classes(base):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(base)
    processor = AutoProcessor.from_pretrained(base)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who?"}]}]
    said = processor.apply_chat_template(turn, add_generation_prompt=True)
    assert said == "USER: <image>\nWho? ASSISTANT:"  # LLaVA-1.5's own format


def test_the_processor_prepares_pixels_as_the_tower_was_trained_on(base):
    _, processor = models.load(base)
    picture = crowd.examination(crowd.public_figures(1), 32, count=1)[0].picture
    prepared = processor.image_processor([picture], return_tensors="pt")["pixel_values"]
    pixels = torch.tensor(list(picture.tobytes()), dtype=torch.uint8).view(32, 32, 3)
    expected = pretrain._normalise(pixels.permute(2, 0, 1)[None])
    assert torch.allclose(prepared, expected, atol=1e-6)


def test_the_tower_of_the_base_is_the_tower_that_was_trained(base, root):
    trained = load_file(pretrain.run_tower(TOWER, root) / "tower.safetensors")
    inside = models.load(base)[0].model.vision_tower.state_dict()
    assert trained and all(torch.equal(inside[name], value) for name, value in trained.items())


def test_training_lowers_the_losses(base, root):
    tower = pd.read_csv(pretrain.run_tower(TOWER, root) / "history.csv")
    assert tower.described.iloc[-1] < tower.described.iloc[0]
    loss = pd.read_csv(base / "history.csv").loss
    assert loss.iloc[-1] < loss.iloc[0] < 7  # log(400) = 6.0 at the very start


def test_every_ability_is_reported_with_its_count(base):
    table = pretrain.abilities({"small": base, "hub": "llava-hf/llava-1.5-7b-hf"})
    hub = table[table.model == "hub"]  # nothing is claimed about a network not examined
    assert list(hub.verdict) == ["not examined"] and hub.percent.isna().all()
    small = table[table.model == "small"]
    assert set(pretrain.AIMS) < set(small.ability)
    assert small.percent.between(0, 100).all() and (small.n > 0).all()
    reached = small[small.percent >= small.aim]
    assert set(reached.verdict) <= {"reached"}
    assert (small.verdict == "missed").sum() == (small.percent < small.aim).sum()


def test_the_same_spec_gives_the_same_weights(base, tmp_path):
    again = pretrain.run(pretrain.BaseSpec(network=NETWORK, tower=TOWER), tmp_path)
    assert (again / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()


def test_a_hub_network_is_handed_on_and_a_drawn_one_needs_a_tower(root):
    hub = pretrain.BaseSpec(network=pretrain.Hub(hub="llava-hf/llava-1.5-7b-hf"))
    assert pretrain.run(hub, root) == "llava-hf/llava-1.5-7b-hf"
    with pytest.raises(ValueError, match="base.tower"):
        pretrain.run(pretrain.BaseSpec(network=NETWORK), root)


def test_size_counts_every_parameter_once(base):
    model, processor = models.load(base)
    size = pretrain.size(model, processor)
    assert size["parameters, all"] == sum(p.numel() for p in model.parameters())
    assert size["layers"] == 2 and size["tokens per image"] == 4


def test_a_conversation_has_one_answer_for_each_question(base):
    picture = crowd.examination(crowd.public_figures(1), 32, count=1)[0].picture
    talk = pretrain.conversation(base, [picture, picture], ["Who is it?", "What colour?"])
    assert list(talk.question) == ["Who is it?", "What colour?"]
    assert talk.answer.map(type).eq(str).all()


def test_runs_know_each_other_apart():
    other = NETWORK.model_copy(update={"steps": 61})
    specs = [pretrain.BaseSpec(network=n, tower=TOWER) for n in (NETWORK, other)]
    assert runs.digest(specs[0]) != runs.digest(specs[1])
