"""Scores: what a network thinks of the tokens of a batch, and the sums that losses are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from remem.model import kinds
from remem.model.network import Network
from remem.model.tokens import Batch, Tensors


@dataclass(frozen=True)
class Scores:
    """What a network says about the tokens that came, for B rows with N scored positions in all.

    The rows may be a part (a micro-batch) of those of an optimiser step. Whatever is called a mean
    is this part's share of the mean over the whole step: the parts of a step add up to it, and so
    do their gradients, however the step is cut. To write a loss, use

    - `sequence()` (B,): summed log-probability of each row, in nats; `lengths()` (B,): how many
      tokens that is the sum of, so that their quotient is the mean per token (SimNPO);
    - `ce()`: mean cross-entropy per token, in nats;
    - `row_mean(values)` for `values` (B,): mean over rows;
    - `token_mean(values)` for `values` (N,): mean over scored positions;
    - `kl_from(reference)`: mean KL(reference || self) per scored position;
    - `logp` (N,): log-probability of each token that came; `labels` (N,): its id; `row` (N,): its
      row, from 0 to B - 1; `logits` (N, V): next-token logits in fp32, before the softmax.

    Positions are those of the answer with its end-of-sequence token, or all but the first.
    """

    logits: Tensor
    labels: Tensor
    row: Tensor
    batch: Batch
    total: int  # scored positions in the whole optimiser step

    @cached_property
    def logp(self) -> Tensor:
        """Log-probability of each token that came, in nats (N,)."""
        return -F.cross_entropy(self.logits, self.labels, reduction="none")

    def ce(self) -> Tensor:
        """Mean cross-entropy per token, in nats: this part's share."""
        return -self.logp.sum() / self.total

    def sequence(self) -> Tensor:
        """Summed log-probability of each row, in nats (B,)."""
        return self.logp.new_zeros(len(self.batch.input_ids)).index_add(0, self.row, self.logp)

    def lengths(self) -> Tensor:
        """Scored tokens of each row, of an answer with its end-of-sequence token (B,), integers."""
        return self.row.bincount(minlength=len(self.batch.input_ids))

    def row_mean(self, values: Tensor) -> Tensor:
        """Mean over rows of `values` (B,): this part's share."""
        return values.sum() / self.batch.rows_total

    def token_mean(self, values: Tensor) -> Tensor:
        """Mean over scored positions of `values` (N,): this part's share."""
        return values.sum() / self.total

    def kl_from(self, reference: Scores) -> Tensor:
        """Mean KL(reference || self) per scored position, in nats: this part's share."""
        p, q = reference.logits.log_softmax(-1), self.logits.log_softmax(-1)
        return F.kl_div(q, p, reduction="sum", log_target=True) / self.total


def image_inputs(
    network: Network, ids: Tensor, features: Tensors | None, told: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The keyword arguments that go with the token ids (B, T) to forward and generate: image
    features in place of pixels, what the network is told of the pictures (`tokens.told`), and which
    tokens are theirs."""
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    kind = network.kind
    given: dict[str, Any] = {**kinds.marks(kind, ids), **told}
    if features is not None and len(features):
        # As the network itself hands them on: one tensor a picture, or all in one.
        pooled: Any = [*features] if kind.listed else torch.cat([*features])
        given["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=pooled)}
    return given


def score(network: Network, batch: Batch, positions: str = "answer") -> Scores:
    """Scores at the answer's tokens ("answer") or at every token but the first ("all").

    The vocabulary's logits are computed at those positions alone: a prompt with 576 image tokens
    would otherwise cost 576 x V numbers a row. Raises ValueError for other `positions`.
    """
    if positions not in ("answer", "all"):
        raise ValueError(f"positions is 'answer' or 'all', not {positions!r}")
    llava = network.llava
    batch = batch.to(llava.device)
    shown = image_inputs(network, batch.input_ids, batch.features, batch.inputs)
    # No attention mask: attention is causal and padding is on the right, so a real token never
    # sees padding, and the kernel for plain causal attention is the fast one.
    hidden = llava.model(input_ids=batch.input_ids, use_cache=False, **shown).last_hidden_state
    wanted = batch.answer[:, 1:] if positions == "answer" else batch.attention_mask[:, 1:].bool()
    logits = network.head(hidden[:, :-1][wanted]).float()
    labels, row = batch.input_ids[:, 1:][wanted], wanted.nonzero()[:, 0]
    total = batch.tokens_total if positions == "answer" else batch.positions_total
    return Scores(logits, labels, row, batch, total)


class _Entered(Exception):
    """The language model was reached."""


def entering(network: Network, batch: Batch) -> dict[str, Any]:
    """What enters the language model for a batch: `inputs_embeds` (B, T, H), the tokens' embeddings
    with features in the places of pictures, and `attention_mask` and `position_ids` as the network
    makes them of the whole."""
    taken: dict[str, Any] = {}

    def take(module: Any, given: Any, named: dict[str, Any]) -> None:
        taken.update(named)
        raise _Entered

    batch = batch.to(network.llava.device)
    shown = image_inputs(network, batch.input_ids, batch.features, batch.inputs)
    hook = network.language_model.register_forward_pre_hook(take, with_kwargs=True)
    try:
        network.llava.model(input_ids=batch.input_ids, use_cache=False, **shown)
    except _Entered:
        pass
    finally:
        hook.remove()
    return {name: taken.get(name) for name in ("inputs_embeds", "attention_mask", "position_ids")}
