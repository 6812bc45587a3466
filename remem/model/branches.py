"""Candidates as the branches of a tree: what a network reads of a prefix, and of them after it.

A token of a branch sees the prefix and what leads to it, and nothing else; it stands at the
position that it would have if its branch were alone.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from remem.model.network import Network
from remem.model.scores import image_inputs
from remem.model.tokens import Batch

WINDOWED = "sliding_attention"  # what configurations call layers that see a window only
WHOLE = "full_attention"


Spelled = tuple[tuple[int, ...], ...]  # the tokens of candidates


@functools.lru_cache(64)
def tree(values: Spelled) -> tuple[tuple[int, ...], ...]:
    """Whatever comes before a token of one of the `values`, once, the beginnings first; the first
    is nothing, the end of what they all stand after."""
    return tuple(dict.fromkeys(((), *(v[:k] for v in values for k in range(1, len(v))))))


def mean_logps(network: Network, prefix: Batch, values: Spelled) -> Tensor:
    """(R, K): after prefixes of R rows, equally long, the mean log-probability per token, in nats,
    of each of K candidates.

    After the prefix stand the candidates as a tree: what several begin with is there once.
    """
    rows, width = prefix.input_ids.shape
    place = {before: width - 1 + number for number, before in enumerate(tree(values))}
    nodes = list(place)[1:]
    total = width + len(nodes)
    sees = torch.ones(total, total, dtype=torch.bool).tril()
    sees[width:, width:] = False
    for node in nodes:
        sees[place[node], [place[node[:k]] for k in range(1, len(node) + 1)]] = True
    last = torch.tensor([node[-1] for node in nodes], dtype=prefix.input_ids.dtype)
    position = torch.tensor([*range(width), *(width - 1 + len(node) for node in nodes)])
    read = in_one_pass if is_plain(network, total) else after_prefix
    state = read(network, prefix, last.expand(rows, -1), position, sees)
    logp = network.head(state).float().log_softmax(-1)  # (R, 1 + nodes, V)
    before = [place[value[:k]] - width + 1 for value in values for k in range(len(value))]
    each = logp[:, before, [token for value in values for token in value]]
    return torch.stack([part.mean(1) for part in each.split([*map(len, values)], dim=1)], 1)


def is_plain(network: Network, length: int) -> bool:
    """Whether a sequence of `length` tokens is numbered from 0 on and a token sees all before it,
    in every layer: then prefix and branches are read in one pass."""
    kind = network.kind
    return kind.types is None and _window(network, length) is None


def in_one_pass(
    network: Network, prefix: Batch, nodes: Tensor, position: Tensor, sees: Tensor
) -> Tensor:
    """The states (R, 1 + N, H) of the last token of each prefix (R, T) and of the `nodes` of a tree
    (R, N). `position` (T + N,) is that of all of them; `sees` (T + N, T + N) which see which."""
    device, width = network.llava.device, prefix.input_ids.shape[1]
    prefix = prefix.to(device)
    ids = torch.cat([prefix.input_ids, nodes.to(device)], 1)
    return network.llava.model(
        input_ids=ids,
        attention_mask=sees[None, None].to(device),
        position_ids=position[None].to(device),
        use_cache=False,
        **image_inputs(network, ids, prefix.features, prefix.inputs),
    ).last_hidden_state[:, width - 1 :]


def after_prefix(
    network: Network, prefix: Batch, nodes: Tensor, position: Tensor, sees: Tensor
) -> Tensor:
    """As `in_one_pass`, for kinds that number a picture's tokens in rows and columns (Qwen's), let
    them see each other (Gemma), or have layers that see a window: the network reads the prefix as
    it reads any conversation, and goes on from there."""
    from transformers import DynamicCache

    llava, width = network.llava, prefix.input_ids.shape[1]
    device = llava.device
    prefix = prefix.to(device)
    cache = DynamicCache()  # without a configuration: windows are cut by the masks below
    state = llava.model(
        input_ids=prefix.input_ids,
        past_key_values=cache,
        use_cache=True,
        **image_inputs(network, prefix.input_ids, prefix.features, prefix.inputs),
    ).last_hidden_state[:, -1:]
    if nodes.shape[1] == 0:
        return state
    where = position[width:].expand(len(nodes), -1).to(device)
    shift = getattr(llava.model, "rope_deltas", None)  # rows and columns are fewer than tokens
    if shift is not None:
        where = (where + shift.to(device)).expand(3, -1, -1)
    reads = network.language_model(
        inputs_embeds=llava.get_input_embeddings()(nodes.to(device)),
        attention_mask=_masks(network, sees[width:], position),
        position_ids=where,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return torch.cat([state, reads], 1)


def _masks(network: Network, sees: Tensor, position: Tensor) -> Any:
    """What the language model takes as its mask: `sees` (N, T + N), and in layers with a window no
    more than that."""
    whole = sees[None, None].to(network.llava.device)
    window = _window(network, sees.shape[1])
    if window is None:
        return whole
    far = position[-len(sees) :, None] - position[None] >= window
    near = (sees & ~far)[None, None].to(whole.device)
    kinds = getattr(network.llava.config.get_text_config(), "layer_types", None)
    return {WHOLE: whole, WINDOWED: near} if kinds else near


def _window(network: Network, length: int) -> int | None:
    """How many tokens some layers see at most, where that is less than `length`."""
    text = network.llava.config.get_text_config()
    window, kinds = getattr(text, "sliding_window", None), getattr(text, "layer_types", None)
    if window is None or window >= length or (kinds is not None and WINDOWED not in kinds):
        return None
    return window
