from remem.config.sections import Hub, TinyLlava, VisionTower
from remem.model import adapters, sizes


def test_sizes_are_those_of_the_files(small, llava, tmp_path):
    network = adapters.add_adapter(llava, rank=4, alpha=8, seed=0)
    adapters.save_adapter(network, tmp_path)
    size = sizes.of_network(Hub(hub=str(small.base), dtype="float32"), None, rank=4)
    there = (tmp_path / "adapter_model.safetensors").stat().st_size
    assert 0 < there - size.adapter < 8000  # the head of the file
    assert size.picture == llava.image_tokens * 32 * 4
    half = sizes.of_network(Hub(hub=str(small.base), dtype="bfloat16"), None, rank=8)
    assert half == (size.picture // 2, size.adapter)  # twice the rank, half the bytes


def test_those_of_a_network_that_is_trained_here_need_no_network(small):
    tower = VisionTower(image_size=32, patch=16, layers=1, width=32, heads=2)
    network = TinyLlava(layers=2, width=32, mlp=64, heads=2, vocabulary=400)
    same = sizes.of_network(Hub(hub=str(small.base), dtype="float32"), None, rank=4)
    assert sizes.of_network(network, tower, rank=4) == same
