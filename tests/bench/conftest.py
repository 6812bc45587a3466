import functools

import pytest

from remem.bench.subject import Subject
from remem.config import load_config
from remem.data import validation


@pytest.fixture
def subject(small, llava, features, adapter):
    """The small network and its data, as something to be measured."""
    few = {"batch": 8, "micro_batch": 4}
    config = load_config("smoke", {"stage1": few, "stage2": few | {"epochs": 2}})
    pictures = functools.partial(validation.load_images, small.folder)
    stages = config.stage1.optimiser, config.stage2.optimiser
    return Subject(config, *stages, llava, small.rows, features, pictures, adapter, small.base)
