import dataclasses

import numpy as np
import pytest
from PIL import ImageColor

from remem.synthetic import faces


def pixels(appearance, scene, size=64):
    return np.asarray(faces.draw(appearance, scene, size)).astype(int)


def a_scene(seed, pool="train"):
    return faces.sample_scene(np.random.default_rng(seed), pool)


def test_the_same_seeds_draw_the_same_picture_and_others_do_not():
    appearance, scene = faces.sample_appearance(3), a_scene(1)
    assert (pixels(appearance, scene) == pixels(faces.sample_appearance(3), a_scene(1))).all()
    assert faces.sample_appearance(4) != appearance and a_scene(2) != scene
    assert (pixels(faces.sample_appearance(4), scene) != pixels(appearance, scene)).any()
    assert (pixels(appearance, a_scene(2)) != pixels(appearance, scene)).any()


@pytest.mark.parametrize("size", [32, 64, 336])
def test_a_picture_is_rgb_and_of_the_size_asked_for(size):
    picture = faces.draw(faces.sample_appearance(0), a_scene(0), size)
    assert picture.mode == "RGB" and picture.size == (size, size)


def test_test_layouts_share_neither_backdrop_nor_garment_with_training():
    train, test, tower = (faces.POOLS[name] for name in ("train", "test", "pretrain"))
    for part in ("backdrop", "back", "garment"):
        assert not set(train[part]) & set(test[part])
    assert not set(train["cloth"]) & set(test["cloth"])
    for part in ("backdrop", "back", "garment", "cloth"):  # new even to the vision tower
        assert set(test[part]) - set(tower[part])


def test_scenes_come_from_their_pool():
    for pool, options in faces.POOLS.items():
        for seed in range(40):
            scene = a_scene(seed, pool)
            assert scene.backdrop in options["backdrop"] and scene.garment in options["garment"]
            assert set(scene.back) <= set(options["back"])
            assert set(scene.cloth) <= set(options["cloth"])
    with pytest.raises(KeyError):
        a_scene(0, "holiday")


def test_a_background_said_to_be_red_is_red():
    """Facts are what a visual question asks for, so they must be what is drawn."""
    for seed in range(30):
        scene = a_scene(seed, "train")
        if scene.backdrop != "plain" or abs(scene.light - 1) > 0.1:
            continue
        corner = pixels(faces.sample_appearance(seed), scene)[2, 2]
        colours = {name: np.array(ImageColor.getrgb(code)) for name, code in faces.COLOURS.items()}
        nearest = min(colours, key=lambda name: np.abs(colours[name] - corner).sum())
        assert nearest == scene.facts()["back"]


def test_every_trait_shows():
    """No trait may be lost in the drawing: each changes pixels, all else being equal."""
    appearance, scene = faces.sample_appearance(1), a_scene(0)
    appearance = dataclasses.replace(
        appearance, style="short", glasses="round", mole=1, hair="brown"
    )
    other = {
        "skin": (appearance.skin + 1) % 8,
        "hair": "green",
        "style": "bun",
        "eye": (appearance.eye + 1) % 6,
        "nose": (appearance.nose + 1) % 3,
        "lips": (appearance.lips + 1) % 4,
        "glasses": "square",
        "frame": (appearance.frame + 1) % 3,
        "beard": "a goatee",
        "mole": 4,
        "blush": not appearance.blush,
        "earrings": not appearance.earrings,
        "width": appearance.width + 0.02,
        "eye_gap": appearance.eye_gap + 0.02,
    }
    if appearance.beard == "a goatee":
        other["beard"] = "a full beard"
    for trait, value in other.items():
        changed = dataclasses.replace(appearance, **{trait: value})
        assert (pixels(changed, scene) != pixels(appearance, scene)).any(), trait
    for expression in set(faces.EXPRESSIONS) - {scene.expression}:
        changed = dataclasses.replace(scene, expression=expression)
        assert (pixels(appearance, changed) != pixels(appearance, scene)).any()
