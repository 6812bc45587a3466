import pytest
from tiny_base import NETWORK, SPEC, TOWER

from remem import paths, runs
from remem.config import load_config
from remem.experiments import bases
from remem.training import base_model, shipped
from remem.training.base_model import BaseRun
from remem.training.vision_tower import TowerRun


@pytest.fixture
def config(outputs, tmp_path, monkeypatch):
    """A scale whose only network is the tests' own, and a repository without bases."""
    monkeypatch.setattr(paths, "BASES", tmp_path / "base")
    base = {"tower": TOWER.model_dump(), "networks": {"one": NETWORK.model_dump()}}
    return load_config("smoke", {"base": base, "models": ["one"]})


def test_what_comes_with_the_repository_is_copied_and_nothing_is_trained(
    config, tmp_path, monkeypatch
):
    table = bases.rebuild(config)
    assert table["in the repository"].isna().all() and table["rebuilt"].notna().all()
    folders = bases.ship(config)
    assert [folder.name for folder in folders] == [
        runs.name(TowerRun(tower=TOWER)),
        runs.name(SPEC),
    ]
    monkeypatch.setattr(BaseRun, "build", None)
    monkeypatch.setattr(TowerRun, "build", None)
    assert SPEC.needs() == ()
    root = tmp_path / "runs"
    folder = base_model.place(SPEC, root)
    weights = (folder / "model.safetensors").read_bytes()
    assert weights == (shipped.folder(SPEC) / "model.safetensors").read_bytes()
    assert (folder / "recipe.json").is_file() and not (shipped.folder(SPEC) / "DONE").exists()
    runs.get_or_create(TowerRun(tower=TOWER), root)

    again = bases.rebuild(config)  # what was rebuilt is kept
    apart = again[again.what == "weights, difference"]
    assert apart.rebuilt.item() == 0
    abilities = again[again.what != "weights, difference"]
    assert (abilities["in the repository"] == abilities.rebuilt).all()


def test_shipping_again_drops_what_no_scale_wants_any_more(config):
    old = paths.BASES / "base-of-earlier"
    old.mkdir(parents=True)
    bases.rebuild(config)
    bases.ship(config)
    assert not old.exists() and len(list(paths.BASES.iterdir())) == 2
