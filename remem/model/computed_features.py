"""Image features that lie on no disk: computed when they are wanted, kept in memory meanwhile."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from PIL import Image
from torch import Tensor

from remem.model.features import SHARD, Features, look, together
from remem.model.loading import Network
from remem.model.pictures import Layout

BATCH = 64  # pictures; always as many, so that a picture's features do not depend on the others
MOST = 2**34  # bytes kept, by each process: LLaVA's features take 5 MB a picture

Key = tuple[str, str]  # the network's name, and the SHA-256 of the picture's file

# The least recent first. The same picture in two datasets, as drawn people have it, is one. Layouts
# are small: none is dropped.
_kept: dict[Key, Tensor] = {}
_layouts: dict[Key, Layout] = {}


class ComputedFeatures(Features):
    """Image features by the picture's path, as `Features` gives them, of a dataset's folder under
    one network."""

    def __init__(
        self,
        network: Callable[[], AbstractContextManager[Network]],
        name: str,
        folder: Path,
        pictures: Callable[[Sequence[str]], Sequence[Image.Image]],
    ):
        """`network` lends the network, and `name` changes when its weights do; `pictures` gives
        those of paths relative to `folder`, each when it is asked for."""
        self.network, self.name, self.folder, self.pictures = network, name, folder, pictures
        self._key = functools.cache(self._key_of)

    def prepare(self, paths: Sequence[str]) -> None:
        """Compute those that are wanted, as far as they are not there."""
        self._computed({self._key(path): path for path in paths})

    def layouts(self, paths: Sequence[str]) -> list[Layout]:
        """What stands for several pictures in conversations."""
        keys = {path: self._key(path) for path in paths}
        self._computed({key: path for path, key in keys.items() if key not in _layouts})
        return [_layouts[keys[path]] for path in paths]

    def __getitem__(self, paths: Sequence[str]) -> Tensor | list[Tensor]:
        """Those of several pictures, as `Features` gives them."""
        keys = [self._key(path) for path in paths]
        found = self._computed(dict(zip(keys, paths, strict=True)))
        return together([found[key] for key in keys])

    def _computed(self, wanted: dict[Key, str]) -> dict[Key, Tensor]:
        found = {key: _kept.pop(key) for key in wanted if key in _kept}
        missing = [key for key in wanted if key not in found]
        if missing:
            names = [wanted[key] for key in missing]
            names += names[-1:] * (-len(names) % BATCH)
            with self.network() as network:
                for first in range(0, len(names), SHARD):
                    shown = self.pictures(names[first : first + SHARD])
                    seen, own = look(network, shown, BATCH), missing[first:]
                    # A copy each, or the last of a batch would keep all of it.
                    found |= {k: v.clone() for k, v in zip(own, seen.features, strict=False)}
                    _layouts.update(zip(own, seen.layouts, strict=False))
        _kept.update(found)  # behind the others
        if missing:
            size = sum(each.nbytes for each in _kept.values())
            for key in [*_kept]:
                if size <= MOST:
                    break
                size -= _kept.pop(key).nbytes
        return found

    def _key_of(self, path: str) -> Key:
        return self.name, hashlib.sha256((self.folder / path).read_bytes()).hexdigest()
