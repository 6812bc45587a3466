import shutil

import pytest
from outside_helpers import COMMIT, change, rekey


@pytest.fixture
def published(adapter, tmp_path):
    """An adapter's folder as older releases of transformers and PEFT left it."""
    folder = shutil.copytree(adapter, tmp_path / "published")
    layers = ("model.language_model.layers", "language_model.model.layers")
    rekey(folder / "adapter_model.safetensors", layers=layers)
    change(folder / "adapter_config.json", target_modules=["q_proj", "v_proj"], revision=None)
    return folder


@pytest.fixture
def hub(published, tmp_path, monkeypatch):
    """The Hub's cache, with the repository someone/memorised in it: its adapter is in lora/."""
    cache = tmp_path / "cache"
    repository = cache / "models--someone--memorised"
    shutil.copytree(published, repository / "snapshots" / COMMIT / "lora")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return repository
