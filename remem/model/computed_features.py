"""Image features that lie on no disk: computed when they are wanted, kept in memory meanwhile."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from remem.model import resident
from remem.model.features import Features, look, together
from remem.model.pictures import Layout

BATCH = 64  # pictures; always as many, so that a picture's features do not depend on the others
MOST = 2**34  # bytes kept, by each process: LLaVA's features take 5 MB a picture

# (place, dtype, SHA-256 of the picture's file) -> features (P, H), the least recent first: the same
# picture in two datasets, as drawn people have it, is one. Layouts are small: none is dropped.
_kept: dict[tuple[str, str, str], Tensor] = {}
_layouts: dict[tuple[str, str, str], Layout] = {}


class ComputedFeatures(Features):
    """Image features by the picture's path, as `Features` gives them, of a dataset's folder under
    one network."""

    def __init__(
        self,
        where: str | Path,
        dtype: str,
        folder: Path,
        read: Callable[[Sequence[str]], Sequence[Image.Image]],
    ):
        """`where` and `dtype` as in `resident.lend`; `read` gives the pictures of paths relative to
        `folder`, each when it is asked for."""
        self.where, self.dtype, self.folder, self.read = str(where), dtype, folder, read
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

    def _computed(self, wanted: dict[tuple[str, str, str], str]) -> dict:
        found = {key: _kept.pop(key) for key in wanted if key in _kept}
        missing = [key for key in wanted if key not in found]
        if missing:
            names = [wanted[key] for key in missing]
            names += names[-1:] * (-len(names) % BATCH)
            with resident.lent(self.where, self.dtype) as network:
                seen = look(network, self.read(names), BATCH)
            # A copy each, or the last of a batch would keep all of it.
            new = [each.clone() for each in seen.features]
            found |= dict(zip(missing, new, strict=False))
            _layouts.update(zip(missing, seen.layouts, strict=False))
        _kept.update(found)  # behind the others
        held = sum(each.nbytes for each in _kept.values())
        for key in [*_kept]:
            if held <= MOST:
                break
            held -= _kept.pop(key).nbytes
        return found

    def _key_of(self, path: str) -> tuple[str, str, str]:
        content = hashlib.sha256((self.folder / path).read_bytes()).hexdigest()
        return self.where, self.dtype, content
