"""Inference: greedy answers, and the log-probabilities of answers and of candidates.

Tables of rows go in, and a list with one entry for each row, in their order, comes out. Of a table
the columns are read that `remem.data.validation.COLUMNS` names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from remem.model import tokens
from remem.model.features import Features, image_features
from remem.model.loading import Network
from remem.model.scores import image_inputs, score
from remem.model.tokens import Encoded
from remem.synthetic import questions


@torch.inference_mode()
def answers(
    network: Network, rows: pd.DataFrame, features: Features, batch: int, max_new_tokens: int
) -> list[str]:
    """The greedy answer to each row's `question` about its `image`, special tokens left out.
    `batch` prompts are in memory at once."""
    llava, tokenizer = network.llava, network.processor.tokenizer
    prompts = tokens.encode_all(
        network.processor, list(rows["question"]), [None] * len(rows), network.image_tokens
    )
    images, given = list(rows["image"]), [""] * len(rows)
    # Prompts of like length together, so that little is spent on padding.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        ids, mask = _left_padded([prompts[i] for i in chosen], tokenizer.pad_token_id)
        shown = features[[images[i] for i in chosen]].to(llava.device)
        out = llava.generate(
            input_ids=ids.to(llava.device),
            attention_mask=mask.to(llava.device),
            **image_inputs(shown),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        texts = tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
        for i, text in zip(chosen, texts, strict=True):
            given[i] = text.strip()
    return given


def _left_padded(prompts: Sequence[Encoded], pad_id: int) -> tuple[Tensor, Tensor]:
    width = max(len(p.ids) for p in prompts)
    real = np.arange(width) >= width - np.array([len(p.ids) for p in prompts])[:, None]
    ids = np.full(real.shape, pad_id, dtype=np.int64)
    ids[real] = np.concatenate([p.ids for p in prompts])
    return torch.from_numpy(ids), torch.from_numpy(real.astype(np.int64))


def answer_pictures(
    network: Network, pictures: Sequence[Image.Image], prompts: Sequence[str]
) -> list[str]:
    """The greedy answer to each question about the picture in the same place."""
    names = [str(number) for number in range(len(pictures))]
    features = Features.of(names, image_features(network, pictures, batch=256))
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
    prompts = list(rows["question"]) if prefixes is None else [""] * len(rows)
    scored = list(rows["answer"] if prefixes is None else rows["target"])
    encoded = tokens.encode_all(network.processor, prompts, scored, network.image_tokens, prefixes)
    if prefixes is not None:
        encoded = [Encoded(each.ids[:-1], each.n_prompt) for each in encoded]
    images, result = list(rows["image"]), [np.empty(0)] * len(rows)
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        shown = features[[images[i] for i in chosen]]
        pad_id = network.processor.tokenizer.pad_token_id
        part = tokens.collate([encoded[i] for i in chosen], shown, pad_id)
        scores = score(network, part)
        lengths = scores.lengths().tolist()
        for i, logps in zip(chosen, scores.logp.double().cpu().split(lengths), strict=True):
            result[i] = logps.numpy()
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
    end-of-sequence; at most `batch` sequences are in memory at once.
    """
    attributes, images = list(rows["attribute"]), list(rows["image"])
    prefills = prefixes(rows, prefix_template)
    starts = tokens.encode_all(
        network.processor, [""] * len(rows), [None] * len(rows), network.image_tokens, prefills
    )
    # Rows whose prefixes are equally long need no padding, and then no attention mask.
    groups: dict[tuple[str, int], list[int]] = {}
    for i, start in enumerate(starts):
        groups.setdefault((attributes[i], len(start.ids)), []).append(i)
    spelled = _spell(network.processor, zip(attributes, prefills, strict=True), candidates)
    result: list[np.ndarray] = [np.empty(0)] * len(rows)
    for (attribute, _), members in groups.items():
        step = max(1, batch // len(candidates[attribute]))
        for first in range(0, len(members), step):
            chosen = members[first : first + step]
            parts = [
                _mean_logps(
                    network.llava,
                    torch.from_numpy(np.stack([starts[i].ids for i in chosen])),
                    features[[images[i] for i in chosen]],
                    [spelled[attributes[i], prefills[i]][k : k + batch] for i in chosen],
                )
                for k in range(0, len(candidates[attribute]), batch)
            ]
            means = torch.cat(parts, dim=1)
            for i, row in zip(chosen, means.double().cpu().numpy(), strict=True):
                result[i] = row
    return result


def _spell(
    processor: Any, places: Iterable[tuple[str, str]], candidates: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], list[np.ndarray]]:
    """The tokens of each candidate in the place where it stands, per (attribute, prefix)."""
    wanted = list(dict.fromkeys(places))
    flat = [(prefill, value) for attribute, prefill in wanted for value in candidates[attribute]]
    prefills, values = [p for p, _ in flat], [v for _, v in flat]
    encoded = tokens.encode_all(processor, [""] * len(flat), values, 0, prefills)
    tails = iter(e.ids[e.n_prompt : -1] for e in encoded)  # without end-of-sequence
    return {(a, p): [next(tails) for _ in candidates[a]] for a, p in wanted}


@torch.inference_mode()
def _mean_logps(
    llava: Any, prefix: Tensor, shown: Tensor, values: list[list[np.ndarray]]
) -> Tensor:
    """(R, K) from prefixes (R, T), features (R, P, H) and the tokens of R x K candidates. Image
    and prefix pass the network once a row, however many candidates follow them."""
    from transformers import DynamicCache

    rows, count = len(values), len(values[0])
    batch = tokens.collate([Encoded(v, 0) for row in values for v in row], None, pad_id=0)
    batch = batch.to(llava.device)
    ids, real = batch.input_ids, batch.answer
    cache = DynamicCache(config=llava.config.get_text_config())
    state = llava.model(
        input_ids=prefix.to(llava.device),
        past_key_values=cache,
        use_cache=True,
        **image_inputs(shown),
    ).last_hidden_state
    first = llava.lm_head(state[:, -1]).float().log_softmax(-1)
    total = first.gather(1, ids[:, 0].view(rows, count)).flatten()
    if ids.shape[1] > 1:
        cache.batch_repeat_interleave(count)
        state = llava.model(
            input_ids=ids[:, :-1], past_key_values=cache, use_cache=True
        ).last_hidden_state
        wanted = real[:, 1:]
        logits = llava.lm_head(state[wanted]).float()
        logp = -F.cross_entropy(logits, ids[:, 1:][wanted], reduction="none")
        total = total.index_add(0, wanted.nonzero()[:, 0], logp)
    return (total / real.sum(1)).view(rows, count)
