"""How large a network is, and what its runs take on a disk: told before there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from remem.config.networks import Hub, TinyLlava, VisionTower
from remem.model import folder as folders
from remem.model.folder import CannotLoad
from remem.model.precision import BYTES, COMPUTED

# Bytes of a number of an adapter; that of a network in float16 is kept in single precision.
ADAPTER = {"float32": 4, "bfloat16": 2, "float16": 4}


class Tower(NamedTuple):
    """The shape of a vision tower."""

    layers: int
    width: int
    mlp: int

    @property
    def weights(self) -> int:
        """In its layers."""
        return self.layers * (4 * self.width**2 + 2 * self.width * self.mlp)


class Shape(NamedTuple):
    """The shape of a network: of its language model, the tokens of a picture, and the tower.
    `queries` and `keys` are the widths of all heads together."""

    layers: int
    width: int
    mlp: int
    queries: int
    keys: int
    vocabulary: int
    patches: int
    tower: Tower
    dtype: str  # of activations, and of an adapter
    weight: float  # bytes of each, where the network lies in memory

    @property
    def block(self) -> int:
        """Weights in a layer of the language model: q and o, k and v; gate, up and down."""
        return 2 * self.width * (self.queries + self.keys) + 3 * self.width * self.mlp

    @property
    def weights(self) -> int:
        """All, but for norms, biases, positions and the projector."""
        return self.layers * self.block + 2 * self.vocabulary * self.width + self.tower.weights

    def adapter(self, rank: int) -> int:
        """Numbers in an adapter (kinds.targets of most): a matrix for either side of a weight."""
        sides = 2 * (self.width + self.queries) + 2 * (self.width + self.keys)
        return self.layers * rank * (sides + 3 * (self.width + self.mlp))

    @property
    def held(self) -> int:
        """Bytes of a number, as layers hand it on."""
        return int(BYTES[self.dtype])

    @property
    def loaded(self) -> float:
        """Bytes of the network in memory."""
        return self.weights * self.weight


_CLIP = Tower(24, 1024, 4096)
# Of networks that are not here yet, so that what they will take can be told before.
KNOWN = {
    "llava-hf/llava-1.5-7b-hf": (32, 4096, 11008, 4096, 4096, 32_064, 576, _CLIP),
    "llava-hf/llava-1.5-13b-hf": (40, 5120, 13824, 5120, 5120, 32_064, 576, _CLIP),
}


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
    shape = shape_of(network, tower, side)
    return Sizes(
        shape.patches * shape.width * shape.held, shape.adapter(rank) * ADAPTER[shape.dtype]
    )


def shape_of(network: Hub | TinyLlava, tower: VisionTower | None, side: int = 336) -> Shape:
    """The shape of a network; of one that is not here, where it is KNOWN. Raises CannotLoad."""
    precision = COMPUTED.get(network.dtype, network.dtype), BYTES[network.dtype]
    if isinstance(network, TinyLlava):
        assert tower is not None
        patches, width = (tower.image_size // tower.patch) ** 2, network.width
        seen = Tower(tower.layers, tower.width, 4 * tower.width)
        words = network.vocabulary
        sides = (network.layers, width, network.mlp, width, width, words, patches, seen)
        return Shape(*sides, *precision)
    try:
        folder = folders.find(network.where)
        config = folders.config(network.where, folder)
    except CannotLoad:
        if network.hub not in KNOWN:
            raise
        return Shape(*KNOWN[network.hub], *precision)
    text, vision = config.get_text_config(), config.vision_config
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Shape(
        text.num_hidden_layers,
        text.hidden_size,
        text.intermediate_size,
        head * text.num_attention_heads,
        head * text.num_key_value_heads,
        text.vocab_size,
        _features(network.where, folder, config, side),
        Tower(
            vision.depth if hasattr(vision, "depth") else vision.num_hidden_layers,  # Qwen's
            vision.hidden_size,
            vision.intermediate_size,
        ),
        *precision,
    )


def _features(where: str | Path, folder: Path, config: Any, side: int) -> int:
    """How many features a picture has: LLaVA-1.5's by its tower, others by their processor."""
    if config.model_type == "llava" and isinstance(config.vision_config.image_size, int):
        return (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    from PIL import Image

    from remem.model import pictures, processors  # with torch, which takes seconds

    processor, blank = processors.load(where, folder), Image.new("RGB", (side, side))
    prepared = pictures.prepare(processor, config.image_token_id, [blank])
    return prepared.layouts[0].count
