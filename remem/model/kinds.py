"""Kinds of networks: how each takes pictures, found out by handing it one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from PIL import Image
from torch import Tensor, nn

from remem.model import pictures
from remem.model.pictures import Layout

SIDE = 64  # pixels of the blank picture that is tried

LAYER = re.compile(r"layers\.\d+\.")
PROJECTIONS = r"self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj"  # of Llama and its kin


class Kind(NamedTuple):
    """How a network takes pictures: what differs between LLaVA-1.5, Qwen2.5-VL and the others."""

    token: int  # the number of the token that stands for a feature of a picture
    told: tuple[str, ...]  # what forward takes about each picture: Layout.inputs
    types: str | None  # what forward calls the marks of a picture's tokens, if it wants them
    marked: tuple[int, ...]  # the tokens that such marks are on
    listed: bool  # whether features are handed on one tensor a picture, or all in one
    takes: frozenset[str]  # what get_image_features takes
    blank: Layout  # of a small blank picture


def of(llava: Any, processor: Any) -> Kind:
    """The kind of a network. Its tower reads one blank picture, once. Raises ValueError where
    network and processor do not belong together."""
    if llava not in _KINDS:
        _KINDS[llava] = _tried(llava, processor)
    return _KINDS[llava]


_KINDS: WeakKeyDictionary[Any, Kind] = WeakKeyDictionary()


@torch.no_grad()
def features(llava: Any, kind: Kind, pixels: dict[str, Tensor]) -> Tensor:
    """What tower and projector say of pictures that a processor has prepared, one after the other
    (features in all, H), on the network's device."""
    found = _pooled(llava, kind.takes, pixels)
    parts = found if not isinstance(found, Tensor) else [found]
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def placed(llava: Any, pixels: dict[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Those of `pixels` that are named, as the network takes them: on its device, in its precision
    where they are no whole numbers."""
    return {
        name: values.to(llava.device, llava.dtype if values.is_floating_point() else None)
        for name, values in pixels.items()
        if name in names
    }


def marks(kind: Kind, ids: Tensor) -> dict[str, Tensor]:
    """What forward wants for each token of `ids` (B, T): which are a picture's; {} if it wants
    nothing."""
    if kind.types is None:
        return {}
    marked = torch.tensor(kind.marked, device=ids.device)
    return {kind.types: torch.isin(ids, marked).long()}


def targets(llava: Any) -> str:
    """Where LoRA goes: the language model's attention and MLP projections and nowhere else, as a
    pattern of module names. A list of bare suffixes ("q_proj") would also match inside the vision
    tower, as it does in other benchmarks. Raises ValueError where there are none."""
    reader = llava.get_decoder()
    [own] = [name for name, module in llava.named_modules() if module is reader]
    linear = [name for name, module in reader.named_modules() if isinstance(module, nn.Linear)]
    inside = {re.sub(r"^layers\.\d+\.", "", name) for name in linear if LAYER.match(name)}
    if not inside:
        raise ValueError(
            f"{type(llava).__name__} has no linear projections in numbered layers of its language "
            f"model ({own}), and LoRA goes there"
        )
    usual = all(re.fullmatch(PROJECTIONS, name) for name in inside)
    each = PROJECTIONS if usual else "|".join(map(re.escape, sorted(inside)))
    return rf".*{re.escape(own.rpartition('.')[2])}\.layers\.\d+\.({each})"


def _tried(llava: Any, processor: Any) -> Kind:
    token = llava.config.image_token_id
    takes = frozenset(inspect.signature(llava.get_image_features).parameters)
    forward = inspect.signature(llava.model.forward).parameters
    made = processor(
        images=[[Image.new("RGB", (SIDE, SIDE))]],
        text=[processor.image_token],
        return_tensors="pt",
    )
    shape = made["input_ids"].shape
    own = {name for name in ("input_ids", "attention_mask") if name in made}
    types = [name for name, v in made.items() if name in {*forward} - own and v.shape == shape]
    told = [
        name
        for name, values in made.items()
        if name in forward and name not in own and name not in types
        # a row of numbers; pixels are no numbers about a picture
        if values.ndim == 2 and not values.is_floating_point() and len(values) == 1
    ]
    marked = made["input_ids"][made[types[0]] == 1].unique().tolist() if types else ()
    blank = [Image.new("RGB", (SIDE, SIDE))]
    prepared = pictures.prepare(processor, token, blank, told)
    pooled = _pooled(llava, takes, prepared.pixels)
    count = sum(each.numel() // each.shape[-1] for each in pooled)
    [layout] = pictures.fitted(prepared.layouts, count)
    return Kind(
        token,
        tuple(told),
        types[0] if types else None,
        tuple(marked),
        not isinstance(pooled, Tensor),
        takes,
        layout,
    )


@torch.no_grad()
def _pooled(llava: Any, takes: frozenset[str], pixels: dict[str, Tensor]) -> Any:
    return llava.get_image_features(**placed(llava, pixels, takes)).pooler_output
