"""What is measured: a network with rows, pictures, an adapter; of a config, or in a true shape."""

from __future__ import annotations

import functools
import gc
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from remem import runs
from remem.config import load_config
from remem.config.networks import TinyLlava, VisionTower
from remem.config.sections import Config, Optimiser
from remem.data import chosen, validation
from remem.experiments import setup
from remem.model import adapters, loading
from remem.model.features import Features
from remem.model.loading import Network
from remem.synthetic import faces
from remem.training import base_model
from remem.training.inputs import inputs

PICTURES = 16  # different ones, where weights are random and what they show does not matter


class Shape(NamedTuple):
    """The size of a LLaVA: of its language model, and of its CLIP tower."""

    width: int
    layers: int
    heads: int
    mlp: int
    tower_width: int = 1024
    tower_layers: int = 24
    tower_heads: int = 16
    tower_mlp: int = 4096


# LLaVA-1.5's: 336 pixels in patches of 14, so 576 image tokens, and 32,064 tokens to choose from.
# "narrow" is the same at widths that any machine carries, to try the bench itself.
SHAPES = {
    "7b": Shape(4096, 32, 32, 11008),
    "13b": Shape(5120, 40, 40, 13824),
    "narrow": Shape(64, 2, 4, 128, tower_width=32, tower_layers=3, tower_heads=4, tower_mlp=64),
}
VOCABULARY, PIXELS, PATCH = 32_064, 336, 14


class Source(NamedTuple):
    """Where the subject comes from: the first model of `config`, with its stage 1; or with a `size`
    of SHAPES, random weights in that shape, which take as long as trained ones."""

    config: Config
    size: str | None = None

    @property
    def model(self) -> str:
        """The name of the model that is measured, or that random weights stand for."""
        names = self.config.models
        return next((name for name in names if name.endswith(f"-{self.size}")), names[0])


class Subject(NamedTuple):
    """A frozen network without an adapter, how its stages are fitted, all rows of the data, the
    features of their pictures, the pictures themselves by name, the folder of an adapter, and that
    of the base's weights, which random ones do not have."""

    config: Config
    stage1: Optimiser
    stage2: Optimiser
    network: Network
    rows: pd.DataFrame
    features: Features
    pictures: Callable[[Sequence[str]], list[Image.Image]]
    adapter: Path
    base: Path | str | None
    scratch: tempfile.TemporaryDirectory | None = None  # gone when the subject is


def made(source: Source) -> Subject:
    """The subject of a source, made once in a process. Raises CannotLoad and BadData."""
    return _made(source.config.model_dump_json(), source.size)


@functools.lru_cache(1)
def _made(config: str, size: str | None) -> Subject:
    source = Source(Config.model_validate_json(config), size)
    return _random(source) if size else _of_config(source)


def _of_config(source: Source) -> Subject:
    config, root = source.config, source.config.folders.runs
    stage1 = setup.stage1_run(config, source.model, config.seeds[0])
    runs.get_or_create(stage1, root)
    place, rows, features = inputs(stage1.base, stage1.data, root)
    folder = chosen.dataset(config).folder
    return Subject(
        config,
        *_optimisers(source),
        loading.load(place, dtype=stage1.base.network.dtype),
        rows,
        features,
        functools.partial(validation.load_images, folder),
        stage1.adapter(root),
        place,
    )


def _optimisers(source: Source) -> tuple[Optimiser, Optimiser]:
    config, model = source.config, source.model
    return setup.optimiser(config, model, "stage1"), setup.optimiser(config, model, "stage2")


def _random(source: Source) -> Subject:
    config, shape = source.config, SHAPES[source.size or ""]
    rows, _ = chosen.planned(config)
    runs.seed_everything(0)
    texts = [*rows["question"], *rows["answer"]]
    on_gpu = torch.cuda.is_available()
    where = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    network = random_network(shape, texts, *where)
    names = [f"picture {number}" for number in range(PICTURES)]
    rows = rows.assign(image=[names[k % PICTURES] for k in range(len(rows))])
    seen = torch.randn(PICTURES, network.image_tokens, shape.width).to(network.llava.dtype)
    look = faces.sample_appearance(faces.STRANGER_FACES)
    picture = faces.draw(look, faces.sample_scene(np.random.default_rng(0), "train"), PIXELS)
    scratch = tempfile.TemporaryDirectory(prefix="remem-bench-")
    adapter = Path(scratch.name) / "adapter"
    adapted = adapters.add_adapter(network, config.stage1.rank, config.stage1.alpha, 0)
    adapters.save_adapter(adapted, adapter)
    adapted.model.unload()
    return Subject(
        config,
        *_optimisers(source),
        network,
        rows,
        Features.of(names, seen),
        lambda shown: [picture for _ in shown],
        adapter,
        None,
        scratch,
    )


def forget() -> None:
    """Free the subject that was made last, and delete what was written for it."""
    _made.cache_clear()
    gc.collect()


def random_network(
    shape: Shape, texts: Sequence[str], device: str | torch.device, dtype: torch.dtype
) -> Network:
    """A LLaVA-1.5 of that shape with random weights, frozen, made on its device and never on a
    disk, and its processor, whose tokenizer is learnt from `texts` (so that nothing is fetched)."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    tiny = TinyLlava.model_validate({"layers": 1, "width": 4, "mlp": 4, "heads": 1})
    tower = VisionTower.model_validate({"image_size": PIXELS, "patch": PATCH})
    processor = base_model.build_processor(tiny, tower, texts)
    tokenizer = processor.tokenizer
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=shape.tower_width,
            intermediate_size=shape.tower_mlp,
            num_hidden_layers=shape.tower_layers,
            num_attention_heads=shape.tower_heads,
            image_size=PIXELS,
            patch_size=PATCH,
        ),
        text_config=LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=shape.width,
            intermediate_size=shape.mlp,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=4096,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_index=processor.image_token_id,
        image_seq_length=(PIXELS // PATCH) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    with torch.device(device):
        model: Any = LlavaForConditionalGeneration._from_config(config, dtype=dtype)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return Network(model.requires_grad_(False).eval(), processor)


def paper_scale(size: str) -> Source:
    """Random weights of a size at scale paper."""
    return Source(load_config("paper"), size)
