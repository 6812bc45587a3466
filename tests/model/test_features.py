import json
import threading

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from remem.model import features
from remem.model.features import SHARD, Features, ahead, image_features


def numbered(count):
    """Paths in no alphabetical order, and features that hold their picture's number."""
    paths = [f"train/{count - k:06d}.png" for k in range(count)]
    return paths, torch.arange(count, dtype=torch.float32)[:, None, None].expand(count, 2, 3)


def written(folder, paths, shards):
    for number, shard in enumerate(shards):
        save_file({"features": shard.contiguous()}, folder / f"features-{number:04d}.safetensors")
    (folder / "images.json").write_text(json.dumps(paths))
    return folder


@pytest.mark.parametrize("count", [1, SHARD, SHARD + 1, 2 * SHARD + 5])
def test_those_in_memory_and_those_on_disk_are_found_by_path(tmp_path, count):
    paths, tensor = numbered(count)
    held = Features.of(paths, tensor)
    assert [len(shard) for shard in held.shards][:-1] == [SHARD] * ((count - 1) // SHARD)
    kept = Features.read(written(tmp_path, paths, held.shards))
    for found in (held, kept):
        assert torch.equal(found[paths], tensor)
        edges = [k for k in (count - 1, 0, SHARD, SHARD - 1) if k < count]
        wanted = [*edges, edges[0]]  # in the order that is asked for, and one of them twice
        assert found[[paths[k] for k in wanted]][:, 0, 0].tolist() == wanted
        assert found[paths[:1]].shape == (1, 2, 3)


def test_more_than_ten_files_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "SHARD", 2)
    paths, tensor = numbered(23)
    found = Features.read(written(tmp_path, paths, tensor.split(2)))
    assert len(found.shards) == 12 and torch.equal(found[paths], tensor)


def test_a_picture_without_features_is_named():
    found = Features.of(*numbered(3))
    with pytest.raises(KeyError, match=r"no cached features of the image 'test/x\.png'"):
        found[["train/000003.png", "test/x.png"]]


def test_the_features_of_a_picture_do_not_depend_on_its_batch(llava):
    pictures = [Image.effect_noise((20 + 9 * k, 40), 20 + 40 * k).convert("RGB") for k in range(5)]
    found = image_features(llava, pictures)
    assert found.shape == (5, 4, 32)  # (32 / 16)^2 patches, as wide as the language model
    assert found.device.type == "cpu" and not found.requires_grad
    torch.testing.assert_close(image_features(llava, pictures, batch=2), found)
    torch.testing.assert_close(image_features(llava, pictures[::-1], batch=3), found.flip(0))
    assert all(not torch.allclose(found[0], other) for other in found[1:])


def test_they_are_what_the_language_model_reads_in_the_places_of_the_picture(llava):
    picture = Image.effect_noise((32, 32), 90).convert("RGB")
    asked = llava.processor(images=[picture], text=["who is <image>"], return_tensors="pt")
    read = []
    llava.llava.model.language_model.register_forward_pre_hook(
        lambda module, given, named: read.append(named["inputs_embeds"]), with_kwargs=True
    )
    with torch.no_grad():
        llava.model(**asked)
    [[embedded]] = read
    places = asked["input_ids"][0] == llava.llava.config.image_token_id
    assert 4 == places.sum() < len(embedded)
    torch.testing.assert_close(image_features(llava, [picture])[0], embedded[places])


def test_the_next_is_read_while_one_is_used_and_no_more():
    begun, used = [], []
    ready = [threading.Event() for _ in range(5)]

    def read(item):
        begun.append(item)
        ready[item].set()
        return item * 10

    for number, found in enumerate(ahead(read, range(5))):
        if number + 1 < 5:
            assert ready[number + 1].wait(60)  # with nobody asking for it yet
        used.append(found)
        assert max(begun) <= number + 2
    assert used == [0, 10, 20, 30, 40] and begun == [0, 1, 2, 3, 4]
    assert list(ahead(read, [])) == []


def test_a_picture_that_cannot_be_read_is_told_in_its_turn():
    def read(item):
        if item == 2:
            raise ValueError("picture 2")
        return item

    used = []
    with pytest.raises(ValueError, match="picture 2"):
        used.extend(ahead(read, range(5)))
    assert used == [0, 1]
