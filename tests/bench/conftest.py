import functools

import pytest

from remem.bench.subject import Subject
from remem.config import load_config
from remem.data import validation


@pytest.fixture
def subject(small, llava, features, adapter):
    """The small network and its data, as something to be measured."""
    stages = {"batch": 8, "micro_batch": 4}
    config = load_config("smoke", {"stage1": stages, "stage2": stages | {"epochs": 2}})
    pictures = functools.partial(validation.load_images, small.folder)
    return Subject(config, llava, small.rows, features, pictures, adapter, small.base)
