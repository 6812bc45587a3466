"""How many bytes the runs of a network take on a disk, told before there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from remem.config.networks import Hub, TinyLlava, VisionTower
from remem.model import folder as folders
from remem.model.precision import COMPUTED

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

ADAPTER = BYTES | {"float16": 4}  # that of a network in float16 is kept in single precision


class Sizes(NamedTuple):
    """Bytes: the image features of a picture, and an adapter."""

    picture: int
    adapter: int


def of_network(
    network: Hub | TinyLlava, tower: VisionTower | None, rank: int, side: int = 336
) -> Sizes:
    """Those of a network, a little less than they are: without a class token, and without the heads
    of files. `tower` is that of a tiny one; `side` is that of square pictures, in pixels, for
    networks of which a larger one has more features. Raises CannotLoad."""
    if isinstance(network, TinyLlava):
        assert tower is not None
        patches = (tower.image_size // tower.patch) ** 2
        layers, width, mlp, dtype = network.layers, network.width, network.mlp, network.dtype
        queries = keys = width
    else:
        folder = folders.find(network.hub)
        config = folders.config(network.hub, folder)
        text, patches = config.get_text_config(), _features(network.hub, folder, config, side)
        layers, width, mlp, dtype = (
            text.num_hidden_layers,
            text.hidden_size,
            text.intermediate_size,
            COMPUTED.get(network.dtype, network.dtype),
        )
        head = getattr(text, "head_dim", None) or width // text.num_attention_heads
        queries, keys = head * text.num_attention_heads, head * text.num_key_value_heads
    # kinds.targets of most: q and o, k and v; gate, up and down. Each has a matrix for either side.
    sides = 2 * (width + queries) + 2 * (width + keys) + 3 * (width + mlp)
    return Sizes(patches * width * BYTES[dtype], layers * sides * rank * ADAPTER[dtype])


def _features(where: str | Path, folder: Path, config: Any, side: int) -> int:
    """How many features a picture has: LLaVA-1.5's by its tower, others by their processor."""
    if config.model_type == "llava" and isinstance(config.vision_config.image_size, int):
        return (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    from PIL import Image

    from remem.model import pictures, processors  # with torch, which takes seconds

    processor, blank = processors.load(where, folder), Image.new("RGB", (side, side))
    prepared = pictures.prepare(processor, config.image_token_id, [blank])
    return prepared.layouts[0].count
