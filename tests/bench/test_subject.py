import pytest
import torch

from remem.bench import subject
from remem.bench.subject import SHAPES, Shape, Source
from remem.config import load_config
from remem.model import tokens


@pytest.fixture(scope="module")
def random():
    """A network in LLaVA-1.5's shape, with widths that a test carries."""
    texts = ["Given that this is Anika Holt, what is their job?", "The job is baker."]
    return subject.random_network(SHAPES["narrow"], texts, "cpu", torch.bfloat16)


def test_a_random_network_has_the_shape_of_llava(random):
    assert random.image_tokens == 576 and random.llava.config.text_config.vocab_size == 32_064
    assert {weight.dtype for weight in random.model.parameters()} == {torch.bfloat16}
    assert not any(weight.requires_grad for weight in random.model.parameters())
    said = tokens.encode(random.processor, "Who is this?", "Ann.", random.image_tokens)
    assert (said.ids == random.processor.image_token_id).sum() == 576


@pytest.mark.parametrize(
    ("size", "billions"),  # as the Hub's cards count them
    [("7b", 7.06), ("13b", 13.35)],
)
def test_the_shapes_are_those_of_the_paper(size, billions):
    assert parameters(SHAPES[size]) / 1e9 == pytest.approx(billions, abs=0.01)


def parameters(shape: Shape) -> int:
    """How many numbers a LLaVA-1.5 of that shape is made of, counted by hand."""
    width, mlp = shape.width, shape.mlp
    layer = 4 * width**2 + 3 * width * mlp + 2 * width
    language = shape.layers * layer + 2 * 32_064 * width + width
    seen, inner = shape.tower_width, shape.tower_mlp
    block = 4 * (seen**2 + seen) + 2 * seen * inner + seen + inner + 4 * seen
    tower = shape.tower_layers * block + (3 * 14**2 + 1 + 577 + 4) * seen
    projector = seen * width + width + width**2 + width
    return language + tower + projector


def test_the_parameters_of_a_random_network_are_those_counted(random):
    counted = parameters(SHAPES["narrow"])
    assert sum(weight.numel() for weight in random.model.parameters()) == counted


def test_random_weights_stand_for_the_model_of_that_size():
    config = load_config("paper")
    assert Source(config, "13b").model == "llava-1.5-13b"
    assert Source(config, "7b").model == "llava-1.5-7b" == Source(config).model
