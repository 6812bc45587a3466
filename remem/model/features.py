"""Image features: what vision tower and projector say of a picture, computed once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from remem.model.loading import Network

SHARD = 512  # images per file of cached features

T = TypeVar("T")
R = TypeVar("R")


@torch.no_grad()
def image_features(network: Network, images: Sequence[Image.Image], batch: int = 64) -> Tensor:
    """Projected image features (images, P, H) on the CPU, `batch` images in memory at once, and as
    many that are read meanwhile. Tower and projector are never trained in stages 1 and 2, so this
    is computed once a picture."""
    llava, parts = network.llava, []

    def pixels(start: int) -> Tensor:
        shown = list(images[start : start + batch])
        return network.processor.image_processor(shown, return_tensors="pt")["pixel_values"]

    for read in ahead(pixels, range(0, len(images), batch)):
        found = llava.get_image_features(read.to(llava.device, llava.dtype))
        parts.append(torch.stack(list(found.pooler_output)).cpu())
    return torch.cat(parts)


def ahead(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """`work(item)` for each item in order, the next of them under way while one is being used: a
    GPU does not wait for the CPU's pictures."""
    with ThreadPoolExecutor(1) as pool:
        following = None
        for item in items:
            ready, following = following, pool.submit(work, item)
            if ready is not None:
                yield ready.result()
        if following is not None:
            yield following.result()


class Features:
    """Image features by the picture's path. Read from a folder, they stay on disk until they are
    touched."""

    def __init__(self, paths: Sequence[str], shards: Sequence[Tensor]):
        """`shards` are tensors (SHARD or fewer, P, H) of the pictures at `paths`, in order."""
        self.shards = shards
        self.place = {path: divmod(i, SHARD) for i, path in enumerate(paths)}

    @classmethod
    def read(cls, folder: Path) -> Features:
        """From a folder of `features-*.safetensors`, SHARD images each, and `images.json`, their
        paths in that order."""
        shards = []
        for file in sorted(Path(folder).glob("features-*.safetensors")):
            with safe_open(file, "pt") as tensors:
                shards.append(tensors.get_tensor("features"))
        return cls(json.loads((Path(folder) / "images.json").read_text("utf-8")), shards)

    @classmethod
    def of(cls, paths: Sequence[str], features: Tensor) -> Features:
        """Of a tensor (len(paths), P, H) in memory."""
        return cls(paths, features.split(SHARD))

    def prepare(self, paths: Sequence[str]) -> None:
        """They are there."""

    def __getitem__(self, paths: Sequence[str]) -> Tensor:
        """Those of several pictures, (len(paths), P, H). Raises KeyError, naming one that has
        none."""
        try:
            places = [self.place[path] for path in paths]
        except KeyError as error:
            raise KeyError(f"no cached features of the image {error.args[0]!r}") from error
        return torch.stack([self.shards[shard][i] for shard, i in places])
