"""The usual way of doing what the experiments do, as a script around a Trainer does it.

Pictures go through the vision tower in every step and for every question, rows in the order in
which they come, with logits at every position; a question is asked, and a candidate scored, one at
a time; the reference is asked anew in every step. The results are those of the package's own way
but for rounding, which the tests hold them to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from remem.bench.subject import Subject
from remem.config.sections import Optimiser
from remem.model import adapters, inference
from remem.model.loading import Network

IGNORED = -100  # a label that carries no loss


def stage1_step(
    subject: Subject, network: Network, rows: pd.DataFrame, optimiser: Optimiser
) -> float:
    """One optimiser step of stage 1 on `rows`; returns its loss."""
    weights, adamw = _adamw(network, optimiser)
    batches = [_batch(subject, network, part) for part in _parts(rows, optimiser.micro_batch)]
    tokens = sum(int((batch["labels"] != IGNORED).sum()) for batch in batches)
    value = 0.0
    for batch in batches:
        loss = -_logps(network, batch).sum() / tokens
        loss.backward()
        value += loss.item()
    _step(weights, adamw, optimiser)
    return value


def npo_step(
    subject: Subject, network: Network, rows: pd.DataFrame, optimiser: Optimiser, beta: float
) -> float:
    """One optimiser step of NPO on `rows`; the network has a reference. Returns the loss."""
    weights, adamw = _adamw(network, optimiser)
    value = 0.0
    for part in _parts(rows, optimiser.micro_batch):
        batch = _batch(subject, network, part)
        with adapters.as_reference(network):
            reference = _logps(network, batch).sum(1)
        ratio = _logps(network, batch).sum(1) - reference
        loss = -2 / beta * logsigmoid(-beta * ratio).sum() / len(rows)
        loss.backward()
        value += loss.item()
    _step(weights, adamw, optimiser)
    return value


@torch.inference_mode()
def answers(
    subject: Subject, network: Network, rows: pd.DataFrame, max_new_tokens: int
) -> list[str]:
    """The greedy answer to each row's question, one at a time."""
    tokenizer, found = network.processor.tokenizer, []
    for k in range(len(rows)):
        inputs = _inputs(subject, network, rows.iloc[[k]], [None])
        out = network.llava.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        new = out[0, inputs["input_ids"].shape[1] :]
        found.append(tokenizer.decode(new, skip_special_tokens=True).strip())
    return found


@torch.inference_mode()
def candidate_logps(
    subject: Subject,
    network: Network,
    rows: pd.DataFrame,
    candidates: Mapping[str, Sequence[str]],
    prefix_template: str,
) -> list[np.ndarray]:
    """For each row the mean log-probability per token of each candidate, one at a time."""
    found = []
    starts = inference.prefixes(rows, prefix_template)
    for k, start in enumerate(starts):
        row = rows.iloc[[k]].assign(question="")
        head = _inputs(subject, network, row, [start])["input_ids"].shape[1]
        means = []
        for value in candidates[rows["attribute"].iloc[k]]:
            inputs = _inputs(subject, network, row, [f"{start} {value}"])
            logps = _of_tokens(network.llava(**inputs).logits, inputs["input_ids"])
            means.append(logps[0, head - 1 :].mean().item())
        found.append(np.array(means))
    return found


def _adamw(network: Network, optimiser: Optimiser) -> tuple[list[Tensor], torch.optim.AdamW]:
    weights = [each for each in network.model.parameters() if each.requires_grad]
    network.model.train()
    decay = optimiser.weight_decay
    return weights, torch.optim.AdamW(weights, lr=optimiser.lr, weight_decay=decay)


def _step(weights: list[Tensor], adamw: torch.optim.AdamW, optimiser: Optimiser) -> None:
    if optimiser.clip is not None:
        torch.nn.utils.clip_grad_norm_(weights, optimiser.clip)
    adamw.step()
    adamw.zero_grad()


def _parts(rows: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    return [rows.iloc[first : first + size] for first in range(0, len(rows), size)]


def _inputs(
    subject: Subject, network: Network, rows: pd.DataFrame, replies: Sequence[str | None]
) -> Any:
    """What a processor makes of pictures and text, on the network's device: the question, and what
    the assistant has said."""
    processor, texts = network.processor, []
    for question, reply in zip(rows["question"], replies, strict=True):
        content = [{"type": "image"}] + [{"type": "text", "text": question}] * bool(question)
        turn = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        texts.append(turn if reply is None else f"{turn} {reply}")
    pictures = subject.pictures(list(rows["image"]))
    made = processor(text=texts, images=pictures, return_tensors="pt", padding=True)
    made = {key: made[key] for key in ("input_ids", "attention_mask", "pixel_values")}
    llava = network.llava
    made["pixel_values"] = made["pixel_values"].to(llava.dtype)
    return {key: value.to(llava.device) for key, value in made.items()}


def _batch(subject: Subject, network: Network, rows: pd.DataFrame) -> Any:
    """Inputs with labels at the answers and the ends of sequence."""
    end = network.processor.tokenizer.eos_token
    wholes = [f"{answer}{end}" for answer in rows["answer"]]
    prompts = _inputs(subject, network, rows, [None] * len(rows))["attention_mask"].sum(1)
    made = _inputs(subject, network, rows, wholes)
    padding = made["attention_mask"].shape[1] - made["attention_mask"].sum(1)
    place = torch.arange(made["input_ids"].shape[1], device=prompts.device)
    said = place >= (padding + prompts)[:, None]  # padding is on the left
    return made | {"labels": made["input_ids"].where(said, IGNORED)}


def _logps(network: Network, batch: Mapping[str, Tensor]) -> Tensor:
    """The log-probability of each labelled token, 0 elsewhere (B, T - 1)."""
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    logps = _of_tokens(network.model(**inputs).logits, batch["input_ids"])
    return logps.where(batch["labels"][:, 1:] != IGNORED, 0)


def _of_tokens(logits: Tensor, ids: Tensor) -> Tensor:
    """The log-probability of each token but the first (B, T - 1), from logits (B, T, V)."""
    logp = logits[:, :-1].float().log_softmax(-1)
    return logp.gather(-1, ids[:, 1:, None])[..., 0]
