"""Tokens: conversations as token ids, and rows of them as a padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Encoded(NamedTuple):
    """One conversation: its token ids (T,), of which the first `n_prompt` carry no loss."""

    ids: np.ndarray
    n_prompt: int


def encode(
    processor: Any, question: str, answer: str | None, image_tokens: int, prefill: str | None = None
) -> Encoded:
    """One conversation as `encode_all` writes it."""
    return encode_all(processor, [question], [answer], image_tokens, [prefill])[0]


def encode_all(
    processor: Any,
    questions: Sequence[str],
    answers: Sequence[str | None],
    image_tokens: int,
    prefills: Sequence[str | None] | None = None,
) -> list[Encoded]:
    """Conversations as token ids, a whole table at once.

    The user's turn is the image (left out where `image_tokens` is 0) and the question ("" leaves
    the image alone); then come the assistant's `prefill`, which counts as prompt, and the answer
    with an end-of-sequence token, both after one space. An answer of None ends with the prompt.
    Prompt and answer are tokenised jointly; ValueError if the prompt's tokens are not a prefix of
    the whole. `<image>` is repeated `image_tokens` times, as the processor does it.
    """
    tokenizer, image = processor.tokenizer, processor.image_token
    if not len(questions):
        return []  # the chat template does not take none
    turns = dict.fromkeys(questions)
    for question in turns:
        if image in question:
            raise ValueError(f"the question {question!r} contains the image token {image!r}")
    contents = [
        [{"type": "image"}] * (image_tokens > 0) + [{"type": "text", "text": q}] * bool(q)
        for q in turns
    ]
    rendered = processor.apply_chat_template(
        [[{"role": "user", "content": content}] for content in contents],
        add_generation_prompt=True,
        tokenize=False,
    )
    turns = dict(zip(turns, rendered, strict=True))
    prefills = prefills if prefills is not None else [None] * len(questions)
    prompts = [turns[q] + (f" {p}" if p else "") for q, p in zip(questions, prefills, strict=True)]
    wholes = [p if a is None else f"{p} {a}" for p, a in zip(prompts, answers, strict=True)]
    lookup = dict.fromkeys(prompts + wholes)
    lookup = dict(zip(lookup, tokenizer(list(lookup))["input_ids"], strict=True))
    encoded = []
    for prompt, whole, answer in zip(prompts, wholes, answers, strict=True):
        head, ids = lookup[prompt], lookup[whole]
        if ids[: len(head)] != head:
            raise ValueError(
                f"the tokens of {prompt!r} are not a prefix of those of {whole!r}: this tokenizer "
                "merges across the start of the answer, so the loss cannot be cut there"
            )
        ids = np.array(ids if answer is None else [*ids, tokenizer.eos_token_id], dtype=np.int64)
        if image_tokens:
            repeats = np.where(ids == processor.image_token_id, image_tokens, 1)
            encoded.append(Encoded(ids.repeat(repeats), int(repeats[: len(head)].sum())))
        else:
            encoded.append(Encoded(ids, len(head)))
    return encoded


@dataclass(frozen=True)
class Batch:
    """B right-padded rows of T tokens: `input_ids`, `attention_mask` and `answer` (B, T), of which
    the last marks answer tokens and end-of-sequence; `features` (images, P, H) of those that show
    an image. The totals are those of the whole optimiser step, of which this may be a part: a sum
    over a part, divided by the total, is its exact share of the step's mean."""

    input_ids: Tensor
    attention_mask: Tensor
    answer: Tensor
    features: Tensor | None
    tokens_total: int
    rows_total: int
    positions_total: int

    def to(self, device: Any) -> Batch:
        """The same batch on a torch device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def collate(
    encoded: Sequence[Encoded],
    features: Tensor | None,
    pad_id: int,
    tokens_total: int | None = None,
    rows_total: int | None = None,
    positions_total: int | None = None,
    pad_to: int = 0,
) -> Batch:
    """Rows as one Batch, padded with `pad_id`. `features` (images, P, H) are those of the rows that
    show an image, in order. Totals left out are the batch's own; `pad_to` is a least width in
    tokens."""
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
    )
