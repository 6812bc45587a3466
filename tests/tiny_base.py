"""The smallest base model that is trained for a test."""

from remem.config.sections import TinyLlava, VisionTower
from remem.training.base_model import BaseRun

TOWER = VisionTower(
    image_size=32, layers=1, width=32, heads=2, faces=20, views=2, epochs=3, batch=20
)
NETWORK = TinyLlava(
    layers=2,
    width=32,
    mlp=64,
    heads=2,
    vocabulary=400,
    public=2,
    others=2,
    steps=60,
    batch=16,
    examined=6,
)
SPEC = BaseRun(network=NETWORK, tower=TOWER)
