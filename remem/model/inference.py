"""Inference: greedy answers, and the log-probabilities of answers and of candidates.

Tables of rows go in, and a list with one entry for each row, in their order, comes out. Of a table
the columns are read that `remem.data.validation.COLUMNS` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from remem.model import branches, memory, tokens
from remem.model.branches import Spelled
from remem.model.features import Features, look
from remem.model.loading import Network
from remem.model.scores import Scores, image_inputs, score
from remem.model.tokens import Encoded
from remem.synthetic import questions

LESS = "a network in half precision takes half as much, or take a smaller one"


@torch.inference_mode()
def answers(
    network: Network,
    rows: pd.DataFrame,
    features: Features | None,
    batch: int,
    max_new_tokens: int,
    drafts: Sequence[str] | None = None,
) -> list[str]:
    """The greedy answer to each row's `question` about its `image`, or without `features` to the
    question alone; special tokens left out. `batch` prompts are in memory at once.

    `drafts`, a text for each row, save time and change nothing: what the network would have said
    itself of a draft is seen in one pass over the whole, and it is asked token by token from there
    on (speculative decoding; Leviathan et al. 2023).
    """
    processor, tokenizer = network.processor, network.processor.tokenizer
    asked, images = list(rows["question"]), list(rows["image"])
    layouts = 0
    if features is not None:
        features.prepare(images)
        layouts = features.layouts(images)
    prompts = tokens.encode_all(processor, asked, [None] * len(asked), layouts)
    said = [np.empty(0, dtype=np.int64)] * len(asked)
    if drafts is not None:
        whole = tokens.encode_all(processor, asked, drafts, layouts)
        cut = [each._replace(ids=each.ids[: each.n_prompt + max_new_tokens]) for each in whole]
        said = _agreed(network, cut, images, features, batch)
    ends = _ends(network)
    going_on = [
        i
        for i, ids in enumerate(said)
        if len(ids) < max_new_tokens and not np.isin(ids, ends).any()
    ]
    begun = [np.concatenate([prompts[i].ids, said[i]]) for i in going_on]

    def go_on(part: Sequence[int]) -> None:
        chosen = [going_on[k] for k in part]
        ids, mask = _left_padded([begun[k] for k in part], tokenizer.pad_token_id)
        device = network.llava.device
        shown = None if features is None else features[[images[i] for i in chosen]]
        told = tokens.told([prompts[i] for i in chosen])
        ids, mask, shown, told = tokens.on(device, (ids, mask, shown, told))
        out = network.llava.generate(
            input_ids=ids,
            attention_mask=mask,
            **image_inputs(network, ids, shown, told),
            do_sample=False,
            max_new_tokens=max_new_tokens - min(len(said[i]) for i in chosen),
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )
        for i, new in zip(chosen, out[:, ids.shape[1] :].cpu().numpy(), strict=True):
            said[i] = np.concatenate([said[i], new])[:max_new_tokens]

    memory.in_parts(_by_length(begun), batch, go_on, "sequences (batch)", LESS)
    return [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in said]


def _ends(network: Network) -> list[int]:
    """The tokens that end an answer: end-of-sequence, which training teaches, and what else the
    network was made to end its turn with, such as Gemma's <end_of_turn>."""
    own = network.llava.generation_config.eos_token_id
    own = own if isinstance(own, list) else [] if own is None else [own]
    return list(dict.fromkeys([network.processor.tokenizer.eos_token_id, *own]))


def _agreed(
    network: Network,
    drafts: Sequence[Encoded],
    images: Sequence[str],
    features: Features | None,
    batch: int,
) -> list[np.ndarray]:
    """Of each draft the tokens that the network would have said itself, and what it says next."""
    said = [np.empty(0, dtype=np.int64)] * len(drafts)

    def compare(part: Sequence[int], scores: Scores) -> None:
        lengths = scores.lengths().tolist()
        own = scores.logits.argmax(-1)
        alike = (own == scores.labels).cpu().split(lengths)
        for i, mine, same in zip(part, own.cpu().split(lengths), alike, strict=True):
            own = mine[: int(same.cumprod(0).sum()) + 1].numpy()
            # What stands for a picture cannot be read again as something that was said.
            said[i] = own[: next(iter(np.flatnonzero(own == network.kind.token)), None)]

    _score_all(network, drafts, images, features, batch, compare)
    return said


def _score_all(
    network: Network,
    encoded: Sequence[Encoded],
    images: Sequence[str],
    features: Features | None,
    batch: int,
    use: Callable[[Sequence[int], Scores], None],
) -> None:
    """Hand the scores of all conversations to `use`, `batch` at a time, with their numbers."""
    pad_id = network.processor.tokenizer.pad_token_id

    def ask(part: Sequence[int]) -> None:
        shown = None if features is None else features[[images[i] for i in part]]
        use(part, score(network, tokens.collate([encoded[i] for i in part], shown, pad_id)))

    order = _by_length([each.ids for each in encoded])
    memory.in_parts(order, batch, ask, "sequences (batch)", LESS)


def _by_length(sequences: Sequence[np.ndarray]) -> list[int]:
    """Their numbers, the short ones first: with those of like length together, little is spent on
    padding."""
    return sorted(range(len(sequences)), key=lambda i: len(sequences[i]))


def _left_padded(sequences: Sequence[np.ndarray], pad_id: int) -> tuple[Tensor, Tensor]:
    lengths = np.array([len(ids) for ids in sequences])
    real = np.arange(lengths.max()) >= lengths.max() - lengths[:, None]
    ids = np.full(real.shape, pad_id, dtype=np.int64)
    ids[real] = np.concatenate(sequences)
    return torch.from_numpy(ids), torch.from_numpy(real.astype(np.int64))


def answer_pictures(
    network: Network, pictures: Sequence[Image.Image], prompts: Sequence[str]
) -> list[str]:
    """The greedy answer to each question about the picture in the same place."""
    names = [str(number) for number in range(len(pictures))]
    features = Features.of(names, *look(network, pictures, batch=256))
    rows = pd.DataFrame({"image": names, "question": list(prompts)})
    return answers(network, rows, features, batch=256, max_new_tokens=40)


@torch.inference_mode()
def token_logps(
    network: Network,
    rows: pd.DataFrame,
    features: Features,
    batch: int,
    prefixes: Sequence[str] | None = None,
) -> list[np.ndarray]:
    """For each row the log-probabilities, in nats, of the tokens of its `answer` and of the
    end-of-sequence token (T,); or with `prefixes`, one for each row, of its `target` alone after
    the image and that prefix of the assistant's."""
    features.prepare(list(rows["image"]))
    prompts = list(rows["question"]) if prefixes is None else [""] * len(rows)
    wanted = list(rows["answer"] if prefixes is None else rows["target"])
    layouts = features.layouts(list(rows["image"]))
    encoded = tokens.encode_all(network.processor, prompts, wanted, layouts, prefixes)
    if prefixes is not None:
        encoded = [each._replace(ids=each.ids[:-1]) for each in encoded]
    result = [np.empty(0)] * len(rows)

    def keep(part: Sequence[int], scores: Scores) -> None:
        lengths = scores.lengths().tolist()
        for i, logps in zip(part, scores.logp.double().cpu().split(lengths), strict=True):
            result[i] = logps.numpy()

    _score_all(network, encoded, list(rows["image"]), features, batch, keep)
    return result


def prefixes(rows: pd.DataFrame, template: str) -> list[str]:
    """What the assistant has said before the value, for each row: its own `cloze_prompt`, where the
    dataset has them and `template` is "plain", or `questions.prefix` with that template."""
    if template == "plain" and "cloze_prompt" in rows:
        return list(rows["cloze_prompt"])
    return [
        questions.prefix(attribute, hop, name, template)
        for attribute, hop, name in zip(rows["attribute"], rows["hop"], rows["name"], strict=True)
    ]


def target_tokens(network: Network, rows: pd.DataFrame, prefix_template: str) -> list[int]:
    """How many tokens each row's `target` has where `candidate_logps` scores it."""
    places = list(zip(prefixes(rows, prefix_template), rows["target"], strict=True))
    wanted = list(dict.fromkeys(places))
    starts, values = [start for start, _ in wanted], [value for _, value in wanted]
    encoded = tokens.encode_all(network.processor, [""] * len(wanted), values, 0, starts)
    lengths = [len(each.ids) - each.n_prompt - 1 for each in encoded]  # no end-of-sequence
    return [dict(zip(wanted, lengths, strict=True))[place] for place in places]


@torch.inference_mode()
def candidate_logps(
    network: Network,
    rows: pd.DataFrame,
    features: Features,
    candidates: Mapping[str, Sequence[str]],
    prefix_template: str,
    batch: int,
) -> list[np.ndarray]:
    """For each row the mean log-probability per token, in nats, of each of the K candidates for its
    attribute (K,), after the image alone and the assistant's prefix (`prefixes`).

    `candidates` are lists by attribute. A candidate is tokenised after a space, without
    end-of-sequence. What stands before the candidates is read once a row, whatever the `batch`: as
    many rows are in memory at once as make no more tokens than `batch` times that.
    """
    attributes, images = list(rows["attribute"]), list(rows["image"])
    prefills = prefixes(rows, prefix_template)
    layouts = features.layouts(images)
    starts = tokens.encode_all(
        network.processor, [""] * len(rows), [None] * len(rows), layouts, prefills
    )
    spelled = _spell(network.processor, zip(attributes, prefills, strict=True), candidates)
    values = [spelled[place] for place in zip(attributes, prefills, strict=True)]
    return _means(network, starts, values, images, features, batch)


@torch.inference_mode()
def reply_logps(
    network: Network,
    rows: pd.DataFrame,
    features: Features,
    replies: Sequence[Sequence[str]],
    batch: int,
) -> list[np.ndarray]:
    """For each row the log-probability, in nats, of each of its `replies` as the whole answer to
    its `question` about its `image`, end-of-sequence included (as many numbers as replies). `batch`
    as in `candidate_logps`."""
    asked = [question for question, own in zip(rows["question"], replies, strict=True) for _ in own]
    said = [reply for own in replies for reply in own]
    shown = [image for image, own in zip(rows["image"], replies, strict=True) for _ in own]
    layouts = features.layouts(shown)
    encoded = iter(tokens.encode_all(network.processor, asked, said, layouts))
    wholes = [[next(encoded) for _ in own] for own in replies]
    tails = [[tuple(each.ids[each.n_prompt :].tolist()) for each in own] for own in wholes]
    starts = [own[0]._replace(ids=own[0].ids[: own[0].n_prompt]) for own in wholes]
    # In an order of their own, so that the same replies are one tree however they stand.
    values = [tuple(sorted(own)) for own in tails]
    found = _means(network, starts, values, list(rows["image"]), features, batch)
    result = []
    for own, alike, means in zip(tails, values, found, strict=True):
        sums = dict(zip(alike, means * [*map(len, alike)], strict=True))
        result.append(np.array([sums[tail] for tail in own]))
    return result


def _means(
    network: Network,
    starts: Sequence[Encoded],
    values: Sequence[Spelled],
    images: Sequence[str],
    features: Features,
    batch: int,
) -> list[np.ndarray]:
    """For each row the mean log-probability per token, in nats, of each of its `values` (K,) after
    the tokens in `starts`; `batch` as in `candidate_logps`."""
    features.prepare(images)
    # Equally long starts before the same values need no padding, and one tree.
    groups: dict[tuple[int, Spelled], list[int]] = {}
    for i, (start, own) in enumerate(zip(starts, values, strict=True)):
        groups.setdefault((len(start.ids), own), []).append(i)
    result: list[np.ndarray] = [np.empty(0)] * len(starts)

    def weigh(chosen: Sequence[int]) -> None:
        shown = features[[images[i] for i in chosen]]
        prefix = tokens.collate([starts[i] for i in chosen], shown, pad_id=0)
        means = branches.mean_logps(network, prefix, values[chosen[0]])
        for i, row in zip(chosen, means.double().cpu().numpy(), strict=True):
            result[i] = row

    for (width, own), members in groups.items():
        together = max(1, batch * width // (width + len(branches.tree(own)) - 1))
        memory.in_parts(members, together, weigh, "rows with all their candidates (batch)", LESS)
    return result


def _spell(
    processor: Any, places: Iterable[tuple[str, str]], candidates: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], Spelled]:
    """The tokens of each candidate in the place where it stands, per (attribute, prefix)."""
    wanted = list(dict.fromkeys(places))
    flat = [(prefill, value) for attribute, prefill in wanted for value in candidates[attribute]]
    prefills, values = [p for p, _ in flat], [v for _, v in flat]
    encoded = tokens.encode_all(processor, [""] * len(flat), values, 0, prefills)
    tails = iter(tuple(e.ids[e.n_prompt : -1].tolist()) for e in encoded)  # no end-of-sequence
    return {(a, p): tuple(next(tails) for _ in candidates[a]) for a, p in wanted}
