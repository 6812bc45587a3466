"""A very small LLaVA with random weights, a small dataset, and what a test needs around them."""

import os
from types import SimpleNamespace

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything of Hugging Face is imported


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Specs of a small world, its rows, and the folder of its untrained network."""
    import torch

    from remem import dataset, predict, pretrain, runs, train

    root = tmp_path_factory.mktemp("small")
    spec = dataset.DatasetSpec(
        identities=4, image_size=32, single=7, multi=10, test_single=7, test_multi=7
    )
    folder = dataset.make(spec, root / "runs")
    rows = dataset.read(folder)
    tower = pretrain.Tower(image_size=32, patch=16, layers=1, width=32, heads=2)
    network = pretrain.Drawn(layers=2, width=32, mlp=64, heads=2, vocabulary=400)
    processor = pretrain.build_processor(network, tower, [*rows["question"], *rows["answer"]])
    runs.seed_everything(0)
    model = pretrain.build_model(network, tower, processor)
    with torch.no_grad():
        # Fresh weights are so small that every prompt gets the same answer: make them matter.
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and ("proj" in name or "lm_head" in name):
                weight.mul_(30 if "lm_head" in name else 6)
    base = root / "llava"
    model.save_pretrained(base)
    processor.save_pretrained(base)
    settings = dict(epochs=1, batch=16, micro_batch=16, lr=2e-3, schedule="cosine", warmup=0.1,
                    weight_decay=0.0, clip=1.0)  # fmt: skip
    stage1 = train.Stage1Spec(
        base=pretrain.BaseSpec(network=pretrain.Hub(hub=str(base), dtype="float32")),
        dataset=spec,
        stage1=train.Stage1(rank=4, alpha=8, **settings),
        evaluate=predict.Evaluate(batch=40, max_new_tokens=6),
        seed=1,
    )
    return SimpleNamespace(
        runs=root / "runs", folder=folder, rows=rows, base=base, stage1=stage1, settings=settings
    )


@pytest.fixture
def llava(small):
    """(model, processor) as models.load gives them, fresh for each test."""
    from remem import models

    return models.load(small.base)


@pytest.fixture(scope="session")
def features(small):
    """The small dataset's image features under the untrained network."""
    from remem import models

    return models.features_run(str(small.base), small.folder, small.rows["image"], small.runs)


@pytest.fixture(scope="session")
def adapter(small, tmp_path_factory):
    """The folder of an adapter that changes what the network says, as stage 1 would leave it."""
    import torch

    from remem import models

    model, _ = models.load(small.base)
    model = models.add_adapter(model, rank=4, alpha=8, seed=3)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    folder = tmp_path_factory.mktemp("adapter")
    models.save_adapter(model, folder)
    return folder
