import pandas as pd
import pytest
import torch
from tiny_base import TOWER

from remem import runs
from remem.synthetic import faces
from remem.training import vision_tower
from remem.training.vision_tower import TowerRun


@pytest.fixture
def folder(tiny_runs):
    return runs.get_or_create(TowerRun(tower=TOWER), tiny_runs)


def test_training_lowers_the_loss(folder):
    history = TowerRun(tower=TOWER).read(folder)
    assert list(history.epoch) == [1, 2, 3]
    assert history.described.iloc[-1] < history.described.iloc[0]


def test_the_same_spec_gives_the_same_weights(folder, tmp_path):
    again = runs.get_or_create(TowerRun(tower=TOWER), tmp_path)
    for file in ("tower.safetensors", "history.csv"):
        assert (again / file).read_bytes() == (folder / file).read_bytes()
    assert (
        folder.name == again.name != runs.name(TowerRun(tower=TOWER.model_copy(update={"seed": 1})))
    )


def test_what_is_learnt_is_what_a_picture_shows():
    pixels, people, choices, lengths = vision_tower._drawn(TOWER)
    assert pixels.shape == (40, 3, 32, 32) and pixels.dtype == torch.uint8
    assert people.tolist() == sorted([*range(20), *range(20)])
    appearance = faces.sample_appearance(faces.TOWER_FACES + 19)
    assert list(vision_tower.CHOICES["hair"])[choices[-1, 1]] == appearance.hair
    assert lengths.shape == (40, len(vision_tower.LENGTHS))
    torch.testing.assert_close(lengths.mean(0), torch.zeros(lengths.shape[1]), atol=1e-5, rtol=0)
    frame = pd.DataFrame(lengths.numpy()).groupby(people.numpy()).nunique()
    assert (frame == 1).all(axis=None)  # lengths belong to the person, not to the scene
