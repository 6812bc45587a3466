import functools
import shutil

import pytest
import torch

from remem.data import validation
from remem.model import computed_features, resident
from remem.model.computed_features import ComputedFeatures
from remem.model.features import image_features


@pytest.fixture
def computed(small, monkeypatch):
    """A function that gives those of a folder's pictures, with nothing kept; and what was read."""
    resident.release()
    monkeypatch.setattr(computed_features, "_kept", {})
    read = []

    def make(folder=small.folder):
        def pictures(names):
            read.append(list(names))
            return validation.Pictures(folder, names)

        network = functools.partial(resident.lent, small.base, "float32")
        return ComputedFeatures(network, "llava", folder, pictures)

    make.read = read
    yield make
    resident.release()


def test_they_are_those_that_are_stored_and_are_computed_once(small, llava, features, computed):
    names, found = sorted(small.rows["image"])[:70], computed()
    wanted = [names[3], names[0], names[3]]
    torch.testing.assert_close(found[wanted], features[wanted])
    assert found[wanted].shape == (3, 4, 32) and len(computed.read) == 1
    found.prepare(names)
    assert torch.equal(found[names], found[names])
    assert [len({*each}) for each in computed.read] == [2, 68]
    # always as many at once: a picture's features are the same to the last bit whatever comes too
    assert [len(each) for each in computed.read] == [64, 128]
    torch.testing.assert_close(found[names], image_features(llava, small_pictures(small, names)))


def small_pictures(small, names):
    return validation.load_images(small.folder, names)


def test_the_same_picture_in_another_folder_is_the_same(small, computed, tmp_path):
    names = sorted(small.rows["image"])[:3]
    first = computed()[names]
    copy = shutil.copytree(small.folder, tmp_path / "copy")
    shutil.copy(copy / names[0], copy / names[2])
    other = computed(copy)
    assert torch.equal(other[names[:2]], first[:2]) and len(computed.read) == 1
    assert torch.equal(other[names[2:]], first[:1]) and len(computed.read) == 1


def test_no_more_is_kept_than_there_is_room_for(small, computed, monkeypatch):
    names, found = sorted(small.rows["image"])[:6], computed()
    whole = found[names]
    monkeypatch.setattr(computed_features, "MOST", 3 * whole[0].nbytes)
    seventh = sorted(small.rows["image"])[6:7]
    found.prepare(seventh)
    assert len(computed_features._kept) == 3 and len(computed.read) == 2
    assert torch.equal(found[names[4:]], whole[4:]) and len(computed.read) == 2
    assert torch.equal(found[names], whole) and len(computed.read) == 3
    assert sum(each.untyped_storage().nbytes() for each in computed_features._kept.values()) == (
        3 * whole[0].nbytes
    )


def test_the_network_that_is_lent_computes_them(small, computed, monkeypatch):
    name, calls = sorted(small.rows["image"])[:1], []
    load = resident.loading.load
    monkeypatch.setattr(
        resident.loading, "load", lambda *a, **k: (calls.append(a), load(*a, **k))[1]
    )
    with resident.lend(small.base) as network:
        computed()[name]
        with resident.lent(small.base, "float32") as same:
            assert same.model is network.model
    with resident.lent(small.base, "float32"):
        pass
    assert len(calls) == 1


def test_a_picture_that_is_not_there_is_told(computed):
    with pytest.raises(FileNotFoundError, match=r"x\.png"):
        computed()[["train/x.png"]]
