import numpy as np
import pytest

from remem import images


def pixels(look, view, size=64):
    return np.asarray(images.draw(look, view, size)).astype(int)


def a_view(seed, pool="train"):
    return images.view(np.random.default_rng(seed), pool)


def test_the_same_seeds_draw_the_same_picture_and_others_do_not():
    look, view = images.identity(3), a_view(1)
    assert (pixels(look, view) == pixels(images.identity(3), a_view(1))).all()
    assert images.identity(4) != look and a_view(2) != view
    assert (pixels(images.identity(4), view) != pixels(look, view)).any()
    assert (pixels(look, a_view(2)) != pixels(look, view)).any()


@pytest.mark.parametrize("size", [32, 64, 336])
def test_a_picture_is_rgb_and_of_the_size_asked_for(size):
    picture = images.draw(images.identity(0), a_view(0), size)
    assert picture.mode == "RGB" and picture.size == (size, size)


def test_test_layouts_share_neither_backdrop_nor_garment_with_training():
    train, test, tower = (images.POOLS[name] for name in ("train", "test", "pretrain"))
    for part in ("backdrop", "back", "garment"):
        assert not set(train[part]) & set(test[part])
    assert not set(train["cloth"]) & set(test["cloth"])
    for part in ("backdrop", "back", "garment", "cloth"):  # new even to the vision tower
        assert set(test[part]) - set(tower[part])


def test_views_come_from_their_pool():
    for pool, options in images.POOLS.items():
        for seed in range(40):
            view = a_view(seed, pool)
            assert view.backdrop in options["backdrop"] and view.garment in options["garment"]
            assert set(view.back) <= set(options["back"])
            assert set(view.cloth) <= set(options["cloth"])
    with pytest.raises(KeyError):
        a_view(0, "holiday")


def test_a_background_said_to_be_red_is_red():
    """Facts are what a visual question asks for, so they must be what is drawn."""
    for seed in range(30):
        view = a_view(seed, "train")
        if view.backdrop != "plain" or abs(view.light - 1) > 0.1:
            continue
        corner = pixels(images.identity(seed), view)[2, 2]
        colours = {name: np.array(images._rgb(code)) for name, code in images.COLOURS.items()}
        nearest = min(colours, key=lambda name: np.abs(colours[name] - corner).sum())
        assert nearest == view.facts()["back"]


def test_every_trait_shows():
    """No trait may be lost in the drawing: each changes pixels, all else being equal."""
    import dataclasses

    look, view = images.identity(1), a_view(0)
    look = dataclasses.replace(look, style="short", glasses="round", mole=1, hair="brown")
    other = {"skin": (look.skin + 1) % 8, "hair": "green", "style": "bun",
             "eye": (look.eye + 1) % 6,
             "nose": (look.nose + 1) % 3, "lips": (look.lips + 1) % 4, "glasses": "square",
             "frame": (look.frame + 1) % 3, "beard": "a goatee", "mole": 4,
             "blush": not look.blush, "earrings": not look.earrings,
             "width": look.width + 0.02, "eye_gap": look.eye_gap + 0.02}  # fmt: skip
    if look.beard == "a goatee":
        other["beard"] = "a full beard"
    for trait, value in other.items():
        changed = dataclasses.replace(look, **{trait: value})
        assert (pixels(changed, view) != pixels(look, view)).any(), trait
    for expression in set(images.EXPRESSIONS) - {view.expression}:
        changed = dataclasses.replace(view, expression=expression)
        assert (pixels(look, changed) != pixels(look, view)).any()
