"""Tokens: conversations as token ids, and rows of them as a padded batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from remem.model.pictures import Layout


class Encoded(NamedTuple):
    """One conversation: its token ids (T,), of which the first `n_prompt` carry no loss; and what
    the network is told of its picture beside features (`Layout.inputs`)."""

    ids: np.ndarray
    n_prompt: int
    inputs: tuple[tuple[str, tuple[int, ...]], ...] = ()


Shown = int | Sequence[Layout]  # how many image tokens each picture takes, or each one's layout


def encode(
    processor: Any,
    question: str,
    answer: str | None,
    shown: int | Layout,
    prefill: str | None = None,
) -> Encoded:
    """One conversation as `encode_all` writes it."""
    one = shown if isinstance(shown, int) else [shown]
    return encode_all(processor, [question], [answer], one, [prefill])[0]


def encode_all(
    processor: Any,
    questions: Sequence[str],
    answers: Sequence[str | None],
    shown: Shown,
    prefills: Sequence[str | None] | None = None,
) -> list[Encoded]:
    """Conversations as token ids, a whole table at once.

    The user's turn is the image (left out where `shown` is 0) and the question ("" leaves the image
    alone); then come the assistant's `prefill`, which counts as prompt, and the answer with an
    end-of-sequence token, both after white space: the prompt's own, or one space. An answer of None
    ends with the prompt. Prompt and answer are tokenised jointly; ValueError if the prompt's tokens
    are not a prefix of the whole. In the place of the chat template's image token stands what the
    processor writes there for a picture: the layout in `shown`, or that many image tokens.
    """
    tokenizer, image = processor.tokenizer, processor.image_token
    if not len(questions):
        return []  # the chat template does not take none
    turns = dict.fromkeys(questions)
    for question in turns:
        if image in question:
            raise ValueError(f"the question {question!r} contains the image token {image!r}")
    layouts: Sequence[Layout | None] = (
        [Layout(image, processor.image_token_id, (shown,)) if shown else None] * len(questions)
        if isinstance(shown, int)
        else shown
    )
    picture = [{"type": "image"}] * (shown != 0)
    contents = [
        # a turn is not left empty: some templates look at its first part
        [*picture, *([{"type": "text", "text": q}] if q or not picture else [])]
        for q in turns
    ]
    rendered = processor.apply_chat_template(
        [[{"role": "user", "content": content}] for content in contents],
        add_generation_prompt=True,
        tokenize=False,
    )
    turns = dict(zip(turns, rendered, strict=True))
    prefills = prefills if prefills is not None else [None] * len(questions)
    prompts = [
        after(turns[q] if each is None else turns[q].replace(image, each.text), prefill or None)
        for q, prefill, each in zip(questions, prefills, layouts, strict=True)
    ]
    wholes = [after(p, a) for p, a in zip(prompts, answers, strict=True)]
    lookup = _tokenised(tokenizer, dict.fromkeys(prompts + wholes))
    encoded = []
    for question, prompt, whole, answer, each in zip(
        questions, prompts, wholes, answers, layouts, strict=True
    ):
        head, ids = lookup[prompt], lookup[whole]
        if ids[: len(head)] != head:
            raise ValueError(
                f"the tokens of {prompt!r} are not a prefix of those of {whole!r}: this tokenizer "
                "merges across the start of the answer, so the loss cannot be cut there"
            )
        ids = np.array(ids if answer is None else [*ids, tokenizer.eos_token_id], dtype=np.int64)
        if each is None:
            encoded.append(Encoded(ids, len(head)))
        else:
            rows = ids == each.token
            if len(each.runs) > 1 and rows.sum() != len(each.runs):
                raise ValueError(
                    f"{question!r} or {answer!r} holds a token that stands for pictures"
                )
            repeats = np.ones(len(ids), dtype=np.int64)
            repeats[rows] = each.runs
            here = int(repeats[: len(head)].sum())
            encoded.append(Encoded(ids.repeat(repeats), here, each.inputs))
    return encoded


def after(text: str, more: str | None) -> str:
    """`text` and `more`, with white space between the two; `text` alone where `more` is None."""
    if more is None:
        return text
    return f"{text}{more}" if text[-1:].isspace() else f"{text} {more}"


def begun(tokenizer: Any, text: str) -> bool:
    """Whether a chat template has written the first token of a sequence itself: the tokenizer then
    does not write it again."""
    first = getattr(tokenizer, "bos_token", None)
    return bool(first) and text.startswith(first)


def _tokenised(tokenizer: Any, texts: Iterable[str]) -> dict[str, list[int]]:
    """The ids of each text."""
    texts = list(texts)
    more = {"add_special_tokens": False} if begun(tokenizer, texts[0]) else {}
    return dict(zip(texts, tokenizer(texts, **more)["input_ids"], strict=True))


@dataclass(frozen=True)
class Batch:
    """B right-padded rows of T tokens: `input_ids`, `attention_mask` and `answer` (B, T), of which
    the last marks answer tokens and end-of-sequence; `features` of those that show an image, each
    (P, H), one tensor (images, P, H) where all have as many; `inputs`, what else the network is
    told of them. The totals are those of the whole optimiser step, of which this may be a part: a
    sum over a part, divided by the total, is its exact share of the step's mean."""

    input_ids: Tensor
    attention_mask: Tensor
    answer: Tensor
    features: Tensors | None
    tokens_total: int
    rows_total: int
    positions_total: int
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: Any) -> Batch:
        """The same batch on a torch device."""
        moved = {k: on(device, v) for k, v in vars(self).items()}
        return replace(self, **moved)


Tensors = Tensor | Sequence[Tensor]  # (P, H) of each picture; one tensor where all have as many


def on(device: Any, value: Any) -> Any:
    """`value` with the tensors in it on a torch device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: on(device, each) for key, each in value.items()}
    return [on(device, each) for each in value] if isinstance(value, list | tuple) else value


def collate(
    encoded: Sequence[Encoded],
    features: Tensors | None,
    pad_id: int,
    tokens_total: int | None = None,
    rows_total: int | None = None,
    positions_total: int | None = None,
    pad_to: int = 0,
) -> Batch:
    """Rows as one Batch, padded with `pad_id`. `features` are those of the rows that show an image,
    in order. Totals left out are the batch's own; `pad_to` is a least width in tokens."""
    lengths = np.array([len(e.ids) for e in encoded])
    prompts = np.array([e.n_prompt for e in encoded])
    column = np.arange(max(pad_to, lengths.max()))
    real = column < lengths[:, None]
    ids = np.full(real.shape, pad_id, dtype=np.int64)
    ids[real] = np.concatenate([e.ids for e in encoded])
    # The mask comes from lengths, never from ids != pad: eos may be the padding token as well.
    answer = real & (column >= prompts[:, None])
    return Batch(
        torch.from_numpy(ids),
        torch.from_numpy(real.astype(np.int64)),
        torch.from_numpy(answer),
        features,
        int(answer.sum()) if tokens_total is None else tokens_total,
        len(encoded) if rows_total is None else rows_total,
        int((lengths - 1).sum()) if positions_total is None else positions_total,
        told(encoded),
    )


def told(encoded: Sequence[Encoded]) -> dict[str, Tensor]:
    """What the network is told of the pictures of some conversations, by name: a row for each."""
    found: dict[str, list[tuple[int, ...]]] = {}
    for each in encoded:
        for name, values in each.inputs:
            found.setdefault(name, []).append(values)
    return {name: torch.tensor(rows) for name, rows in found.items()}
