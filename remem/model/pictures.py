"""What a processor makes of pictures: what stands for each in a conversation, and its pixels."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor


class Layout(NamedTuple):
    """What stands for a picture in a conversation, and what the network has to be told of it.

    `text` takes the place of the chat template's mark of a picture. It has one image token where
    the processor has a row of them, and `runs` says how many each stands for; `token` is its
    number. `inputs` are numbers about the picture that the network's forward takes, by name: the
    grid of its patches, from which Qwen's networks compute positions.
    """

    text: str
    token: int
    runs: tuple[int, ...]
    inputs: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def count(self) -> int:
        """Image tokens in all, and so features."""
        return sum(self.runs)


class Prepared(NamedTuple):
    """Pictures as a processor makes them: their layouts, in order, and what `get_image_features`
    may be given of all of them together."""

    layouts: list[Layout]
    pixels: dict[str, Tensor]


def prepare(
    processor: Any, token: int, images: Sequence[Image.Image], told: Collection[str] = ()
) -> Prepared:
    """`images` as `processor` makes them; `token` is the image token's number in the network's
    configuration, `told` names what goes into Layout.inputs."""
    made = dict(
        processor(
            images=[[image] for image in images],
            text=[processor.image_token] * len(images),
            padding=True,
            return_tensors="pt",
            return_text_replacement_offsets=True,
        )
    )
    texts = [one["replacement"] for [one] in made.pop("text_replacement_offsets")]
    named = {name: made[name] for name in told if name in made and len(made[name]) == len(images)}
    word = processor.tokenizer.convert_ids_to_tokens(token)
    layouts = []
    for number, text in enumerate(texts):
        rows = {name: tuple(values[number].tolist()) for name, values in sorted(named.items())}
        layouts.append(Layout(*_short(text, word, token), tuple(rows.items())))
    return Prepared(layouts, {name: v for name, v in made.items() if isinstance(v, Tensor)})


def fitted(layouts: Sequence[Layout], count: int) -> list[Layout]:
    """`layouts` for pictures that have `count` features in all. Older processors miscount the one
    row of tokens that LLaVA has, and there the features are right. Raises ValueError where the two
    do not fit."""
    written = sum(each.count for each in layouts)
    if written == count:
        return list(layouts)
    share, rest = divmod(count, len(layouts))
    if rest or any(len(each.runs) != 1 for each in layouts):
        raise ValueError(
            f"its processor writes {written} image tokens for {len(layouts)} pictures, and the "
            f"network has {count} features of them: they do not belong together"
        )
    return [each._replace(runs=(share,)) for each in layouts]


def as_json(layouts: Sequence[Layout]) -> dict[str, Any]:
    """Layouts as JSON keeps them: `layouts`, those that differ, and `of`, which one each has."""
    different = list(dict.fromkeys(layouts))
    place = {each: number for number, each in enumerate(different)}
    return {"layouts": [each._asdict() for each in different], "of": [place[x] for x in layouts]}


def from_json(kept: Mapping[str, Any]) -> list[Layout]:
    """The layouts that `as_json` wrote, one for each picture."""
    different = [
        Layout(
            each["text"],
            each["token"],
            tuple(each["runs"]),
            tuple((name, tuple(values)) for name, values in each["inputs"]),
        )
        for each in kept["layouts"]
    ]
    return [different[number] for number in kept["of"]]


def _short(text: str, word: str, token: int) -> tuple[str, int, tuple[int, ...]]:
    """Layout's first three fields, of what a processor writes for a picture."""
    rows = re.compile(f"(?:{re.escape(word)})+")
    runs = tuple(len(row) // len(word) for row in rows.findall(text))
    return rows.sub(lambda _: word, text), token, runs
