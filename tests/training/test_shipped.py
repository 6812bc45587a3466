from tiny_base import SPEC

from remem import paths
from remem.config import load_config
from remem.experiments import setup
from remem.training import shipped
from remem.training.vision_tower import TowerRun


def test_every_base_of_the_scales_that_are_reported_comes_with_the_repository():
    for scale in ("tiny", "quick"):
        config = load_config(scale)
        for name in config.models:
            folder = shipped.folder(setup.base(config, name))
            assert folder is not None, f"{scale}: {name}"
            assert {"model.safetensors", "report.json", "recipe.json"} <= {
                f.name for f in folder.iterdir()
            }
        assert shipped.folder(TowerRun(tower=config.base.tower)) is not None
    files = [file for file in paths.BASES.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 20e6


def test_what_does_not_come_with_the_repository_is_not_copied(tmp_path):
    assert shipped.folder(SPEC) is None and not shipped.copied(SPEC, tmp_path)
    assert not list(tmp_path.iterdir())
