"""Configs for experiments: the two scales, and one whose network and people are the small ones."""

import pytest

from remem.config import load_config
from remem.config.sections import Dataset


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Where a config's outputs go: a folder of the test's own."""
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


@pytest.fixture
def tiny(outputs):
    """The config of tiny, with outputs of the test's own."""
    return load_config("tiny")


@pytest.fixture
def smoke(outputs):
    """The config of smoke, with outputs of the test's own."""
    return load_config("smoke")


@pytest.fixture
def small_config(small, outputs):
    """A function that gives a config for the small network, with overrides; its runs are those of
    the whole session."""

    def load(**overrides):
        root = outputs / "smoke"
        if not root.exists():
            root.mkdir(parents=True)
            (root / "runs").symlink_to(small.runs)
        people = {name: getattr(small.data, name) for name in Dataset.model_fields}
        network = {"hub": str(small.base), "dtype": "float32"}
        return load_config(
            "smoke",
            {
                "models": ["small"],
                "dataset": people,
                "base": {"networks": {"small": network}},
                "stage1": small.optimiser.model_dump(),
                "evaluate": {"batch": 40, "max_new_tokens": 6},
                "experiments": {"diagnosis": {"real": None}},
                **overrides,
            },
        )

    return load


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    """No network is loaded, and nothing trained or asked, from here on."""
    from remem.model import loading
    from remem.training import stage1, stage2

    def fail(*_, **__):
        raise AssertionError("a network was asked for")

    monkeypatch.setattr(loading, "load", fail)
    monkeypatch.setattr(stage1, "fit", fail)
    monkeypatch.setattr(stage2, "fit", fail)
