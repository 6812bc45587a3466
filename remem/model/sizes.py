"""How many bytes the runs of a network take on a disk, told before there is one."""

from __future__ import annotations

from typing import NamedTuple

from remem.config.networks import Hub, TinyLlava, VisionTower
from remem.model import folder as folders

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

ADAPTER = BYTES | {"float16": 4}  # that of a network in float16 is kept in single precision


class Sizes(NamedTuple):
    """Bytes: the image features of a picture, and an adapter."""

    picture: int
    adapter: int


def of_network(network: Hub | TinyLlava, tower: VisionTower | None, rank: int) -> Sizes:
    """Those of a network, a little less than they are: without a class token, and without the heads
    of files. `tower` is that of a tiny one. Raises CannotLoad."""
    if isinstance(network, TinyLlava):
        assert tower is not None
        patches = (tower.image_size // tower.patch) ** 2
        layers, width, mlp, dtype = network.layers, network.width, network.mlp, network.dtype
        queries = keys = width
    else:
        config = folders.config(network.hub, folders.find(network.hub))
        text, vision = config.text_config, config.vision_config
        patches = (vision.image_size // vision.patch_size) ** 2
        layers, width, mlp, dtype = (
            text.num_hidden_layers,
            text.hidden_size,
            text.intermediate_size,
            network.dtype,
        )
        head = getattr(text, "head_dim", None) or width // text.num_attention_heads
        queries, keys = head * text.num_attention_heads, head * text.num_key_value_heads
    # adapters.TARGETS: q and o, k and v; gate, up and down. Each has a matrix for either side.
    sides = 2 * (width + queries) + 2 * (width + keys) + 3 * (width + mlp)
    return Sizes(patches * width * BYTES[dtype], layers * sides * rank * ADAPTER[dtype])
