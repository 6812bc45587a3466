"""Image features: what vision tower and projector say of a picture, computed once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from remem import runs
from remem.model import kinds, pictures
from remem.model.network import Network
from remem.model.pictures import Layout, Prepared, fitted, prepare

SHARD = 512  # images per file of cached features

AT_ONCE = 64 * 3 * 336 * 336  # numbers of pixels that a tower reads at once: 64 of LLaVA-1.5's

LAYOUTS = "layouts.json"  # only where pictures take more than some image tokens, all as many

T = TypeVar("T")
R = TypeVar("R")


class Seen(NamedTuple):
    """Pictures as a network reads them: the features of each, (P, H) on the CPU, and what stands
    for it in a conversation."""

    features: list[Tensor]
    layouts: list[Layout]


def look(network: Network, images: Sequence[Image.Image], batch: int = 64) -> Seen:
    """What the network reads of `images`, at most `batch` of them in memory at once, and as many
    that are read meanwhile. Tower and projector are never trained in stages 1 and 2, so this is
    computed once a picture. Raises ValueError where network and processor do not belong together.
    """
    kind, found = network.kind, Seen([], [])
    if not len(images):
        return found
    # Some kinds cut a picture into many, each as large as LLaVA's whole one.
    one = prepare(network.processor, kind.token, images[:1]).pixels["pixel_values"].numel()
    batch = max(1, min(batch, AT_ONCE // one))

    def read(start: int) -> Prepared:
        shown = images[start : start + batch]
        return prepare(network.processor, kind.token, shown, kind.told)

    for prepared in ahead(read, range(0, len(images), batch)):
        flat = kinds.features(network.llava, kind, prepared.pixels).cpu()
        layouts = fitted(prepared.layouts, len(flat))
        found.features.extend(flat.split([each.count for each in layouts]))
        found.layouts.extend(layouts)
    return found


def image_features(network: Network, images: Sequence[Image.Image], batch: int = 64) -> Tensor:
    """Projected image features (images, P, H) of pictures that have equally many, as `look`."""
    return torch.stack(look(network, images, batch).features)


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
    """Image features by the picture's path, and the layout of each. Read from a folder, they stay
    on disk until they are touched."""

    def __init__(
        self, paths: Sequence[str], shards: Sequence[Any], layouts: Sequence[Layout] | None = None
    ):
        """`shards` are those of SHARD or fewer of the pictures at `paths`, in order: a tensor
        (pictures, P, H), or where they have not equally many a list of (P, H). Without `layouts`
        a picture takes as many image tokens as it has features, and nothing else."""
        self.shards = shards
        self.place = {path: divmod(i, SHARD) for i, path in enumerate(paths)}
        self._layouts = None if layouts is None else dict(zip(paths, layouts, strict=True))

    @classmethod
    def read(cls, folder: Path) -> Features:
        """From a folder of `features-*.safetensors`, SHARD images each, `images.json`, their paths
        in that order, and `layouts.json`, which is there as `write` says."""
        folder, shards, layouts = Path(folder), [], None
        if (folder / LAYOUTS).is_file():
            layouts = pictures.from_json(runs.read_json(folder / LAYOUTS))
        for number, file in enumerate(sorted(folder.glob("features-*.safetensors"))):
            with safe_open(file, "pt") as tensors:
                shard = tensors.get_tensor("features")
            if shard.ndim == 2 and layouts is not None:
                own = layouts[number * SHARD : (number + 1) * SHARD]
                shard = shard.split([each.count for each in own])
            shards.append(shard)
        return cls(json.loads((folder / "images.json").read_text("utf-8")), shards, layouts)

    @classmethod
    def of(
        cls,
        paths: Sequence[str],
        features: Tensor | Sequence[Tensor],
        layouts: Sequence[Layout] | None = None,
    ) -> Features:
        """Of features in memory, each (P, H), by picture."""
        shards = [features[k : k + SHARD] for k in range(0, len(paths), SHARD)]
        return cls(paths, shards, layouts)

    def layouts(self, paths: Sequence[str]) -> int | list[Layout]:
        """What stands for several pictures in conversations, as `tokens.encode_all` takes it."""
        if self._layouts is None:
            return len(self.shards[0][0])
        return [self._layouts[path] for path in paths]

    def prepare(self, paths: Sequence[str]) -> None:
        """They are there."""

    def __getitem__(self, paths: Sequence[str]) -> Tensor | list[Tensor]:
        """Those of several pictures, (len(paths), P, H), or a list of (P, H) where they have not
        equally many. Raises KeyError, naming one that has none."""
        try:
            places = [self.place[path] for path in paths]
        except KeyError as error:
            raise KeyError(f"no cached features of the image {error.args[0]!r}") from error
        return together([self.shards[shard][i] for shard, i in places])


def write_shard(folder: Path, number: int, features: Sequence[Tensor]) -> None:
    """Write the features of SHARD or fewer pictures, as `Features.read` wants them."""
    shard = together(features)
    shard = torch.cat(shard) if isinstance(shard, list) else shard
    save_file({"features": shard}, folder / f"features-{number:04d}.safetensors")


def write_layouts(folder: Path, network: Network, layouts: Sequence[Layout]) -> None:
    """Write the layouts of all pictures, unless there is nothing to say: LLaVA-1.5's pictures take
    as many image tokens as they have features."""
    plain = Layout(network.processor.image_token, network.kind.token, layouts[0].runs[:1])
    if set(layouts) != {plain}:
        kept = json.dumps(pictures.as_json(layouts))
        (folder / LAYOUTS).write_text(kept, "utf-8")


def together(features: Sequence[Tensor]) -> Tensor | list[Tensor]:
    """Features (P, H) of pictures as one tensor (pictures, P, H), where they have equally many."""
    alike = len({each.shape for each in features}) == 1
    return torch.stack(list(features)) if alike else list(features)
