"""A very small LLaVA with random weights, a small dataset, and what a test needs around them.

Imports stand inside the fixtures: most tests need no torch.
"""

import contextlib
import os
import signal
from types import SimpleNamespace

import pytest

pytest_plugins = ["browser", "mmbench_file"]  # fixtures that several files share

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything of Hugging Face is imported
# One thread each: the tests run side by side, and many threads on few cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell has what it starts in the background ignore Ctrl-C, and all below inherits that: tests of
# interruption would wait in vain.
with contextlib.suppress(ValueError):  # not the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Where everything small lies, and the specs that tests vary.

    runs: the runs' root; data, folder, rows: a dataset's spec, folder and rows; base: the folder
    of an untrained network; base_run: its spec; optimiser, stage1: specs of a short training.
    """
    import torch

    from remem import runs
    from remem.config.sections import Hub, Optimiser, TinyLlava, VisionTower
    from remem.data import dataset
    from remem.training import base_model
    from remem.training.stage1 import Stage1Run

    root = tmp_path_factory.mktemp("small")
    data = dataset.SyntheticData(
        identities=4, image_size=32, single=7, multi=10, test_single=7, test_multi=7
    )
    folder = dataset.folder_of(data, root / "runs")
    rows = dataset.rows_of(data, root / "runs")
    tower = VisionTower(image_size=32, patch=16, layers=1, width=32, heads=2)
    network = TinyLlava(layers=2, width=32, mlp=64, heads=2, vocabulary=400)
    processor = base_model.build_processor(network, tower, [*rows["question"], *rows["answer"]])
    runs.seed_everything(0)
    model = base_model.build_model(network, tower, processor)
    with torch.no_grad():
        # Fresh weights are so small that every prompt gets the same answer: make them matter.
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and ("proj" in name or "lm_head" in name):
                weight.mul_(30 if "lm_head" in name else 6)
    base = root / "llava"
    model.save_pretrained(base)
    processor.save_pretrained(base)
    base_run = base_model.BaseRun(network=Hub(hub=str(base), dtype="float32"))
    optimiser = Optimiser(
        epochs=1,
        batch=16,
        micro_batch=16,
        lr=2e-3,
        schedule="cosine",
        warmup=0.1,
        weight_decay=0.0,
        clip=1.0,
    )
    stage1 = Stage1Run(base=base_run, data=data, rank=4, alpha=8, optimiser=optimiser, seed=1)
    return SimpleNamespace(
        runs=root / "runs",
        data=data,
        folder=folder,
        rows=rows,
        base=base,
        base_run=base_run,
        optimiser=optimiser,
        stage1=stage1,
    )


@pytest.fixture
def llava(small):
    """The untrained network, fresh for each test."""
    from remem.model import loading

    return loading.load(small.base)


@pytest.fixture(scope="session")
def features(small):
    """The small dataset's image features under the untrained network."""
    from remem.training.inputs import inputs

    return inputs(small.base_run, small.data, small.runs).features


@pytest.fixture(scope="session")
def adapter(small, tmp_path_factory):
    """The folder of an adapter that changes what the network says, as stage 1 would leave it."""
    import torch

    from remem.model import adapters, loading

    network = adapters.add_adapter(loading.load(small.base), rank=4, alpha=8, seed=3)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in network.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    folder = tmp_path_factory.mktemp("adapter")
    adapters.save_adapter(network, folder)
    return folder


@pytest.fixture
def adapted(llava, adapter):
    """The network with that adapter, fresh for each test."""
    from remem.model import adapters

    return adapters.load_adapter(llava, adapter)


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory):
    """The runs' root below which the base model `tiny_base.SPEC` is trained."""
    from tiny_base import SPEC

    from remem import runs

    root = tmp_path_factory.mktemp("tiny")
    runs.get_or_create(SPEC, root)
    return root


def pytest_collection_modifyitems(items):
    """The notebooks first: they are the longest. `make test` gives each file to one worker, in
    this order."""
    items.sort(key=lambda item: item.get_closest_marker("smoke") is None)
