"""The training loop that both stages share: a plan of steps, one loss, AdamW (§7.2)."""

from __future__ import annotations

import functools
import math
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from remem import runs
from remem.config.sections import Optimiser
from remem.model import memory, scores, tokens
from remem.model.adapters import EffectiveWeights
from remem.model.features import Features
from remem.model.loading import Network
from remem.model.scores import Scores
from remem.model.tokens import Batch
from remem.training.divergence import Diverged, Unlikely
from remem.training.loss_scale import LossScale
from remem.training.master_weights import MasterWeights
from remem.training.methods import Ask, BadMethod
from remem.training.unfinished import Unfinished

LESS = (
    "set checkpointing to true (for one network, in base.networks.<name>.<stage>, beside "
    "micro_batch), or take a network in half precision, or a smaller one"
)

Step = Mapping[str, np.ndarray]  # name of the examples -> indices of its rows, equally many each


class Examples:
    """A table of rows as tokens, made once, with the features of their images."""

    def __init__(
        self,
        network: Network,
        rows: pd.DataFrame,
        features: Features,
        answers: Sequence[str] | None = None,
    ):
        """rows: with question, image, and answer unless `answers` are given in its place."""
        given = list(rows["answer"] if answers is None else answers)
        self.encoded = tokens.encode_all(
            network.processor, list(rows["question"]), given, features.layouts(list(rows["image"]))
        )
        self.ids = list(rows["id"])
        self.images, self.features = list(rows["image"]), features
        features.prepare(self.images)
        self.pad_id = network.processor.tokenizer.pad_token_id
        self.lengths = np.array([len(e.ids) for e in self.encoded])
        self.prompts = np.array([e.n_prompt for e in self.encoded])
        self.cached_logps = np.full(len(self.encoded), np.nan, dtype=np.float32)  # see Reference

    def batch(self, chosen: np.ndarray, whole: np.ndarray) -> Batch:
        """The rows `chosen`, with the totals of the optimiser batch `whole` that they belong to."""
        return tokens.collate(
            [self.encoded[i] for i in chosen],
            self.features[[self.images[i] for i in chosen]],
            self.pad_id,
            tokens_total=int((self.lengths[whole] - self.prompts[whole]).sum()),
            rows_total=len(whole),
            positions_total=int((self.lengths[whole] - 1).sum()),
        )


class Reference:
    """The Scores that the frozen copy of stage 1 gives to some rows of `examples`, computed when
    they are first used. The sum of a row is the same in every epoch, and so is computed once."""

    def __init__(self, ask: Callable[[], Scores], examples: Examples, rows: np.ndarray, device):
        """ask: gives the Scores. rows: which of `examples` they are of (B,)."""
        self._ask = functools.cache(ask)  # once, whatever is wanted of it
        self._examples, self._rows, self._device = examples, rows, device

    def __getattr__(self, name: str):
        """Whatever Scores has."""
        return getattr(self._ask(), name)

    def sequence(self) -> Tensor:
        """Summed log-probability of each row (B,)."""
        cached = self._examples.cached_logps
        if np.isnan(cached[self._rows]).any():
            sums = self._ask().sequence()
            cached[self._rows] = sums.cpu().numpy()
            return sums
        return torch.from_numpy(cached[self._rows]).to(self._device)


def shuffled(
    rows: int, optimiser: Optimiser, rng: np.random.Generator, updates: int | None = None
) -> list[list[np.ndarray]]:
    """For each epoch the batches of a fresh permutation of `rows` rows; the last may be short.
    With `updates`, as many epochs as that many batches take, the last of them cut off."""
    per_epoch = math.ceil(rows / optimiser.batch)
    steps = optimiser.steps(rows) if updates is None else updates
    epochs = []
    for first in range(0, steps, per_epoch):
        order = rng.permutation(rows)
        batches = [order[i : i + optimiser.batch] for i in range(0, rows, optimiser.batch)]
        epochs.append(batches[: steps - first])
    return epochs


def rate(step: int, steps: int, optimiser: Optimiser) -> float:
    """The learning rate of a step (from 0 on) as a share of the peak; above 0 in each of `steps`.

    It rises over the first `warmup` steps, from 1/n of the peak at the first to the peak at the
    nth, so that a fit of few steps, whose warm-up is of one step, begins at the peak.
    """
    warmup = max(1, math.ceil(optimiser.warmup * steps))
    if step < warmup:
        return (step + 1) / warmup
    left = (steps - step) / (steps + 1 - warmup)  # of the way from the peak to zero
    return {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[
        optimiser.schedule
    ]


def fit(
    network: Network,
    examples: Mapping[str, Examples],
    plan: Sequence[Sequence[Step]],
    loss: Callable[[Ask], Tensor],
    optimiser: Optimiser,
    after_epoch: Callable[[int], None] | None = None,
    name: str = "the loss",
    note: Callable[[str], None] = runs.say,
    unfinished: Unfinished | None = None,
) -> pd.DataFrame:
    """Train what is trainable in the network on the steps of `plan` (epochs of steps).

    `loss(scores)` asks `scores(name, positions="answer", reference=False)` for what it needs and
    returns a sum that is divided by totals of the whole step, so that the gradients of
    micro-batches add up to those of the step exactly. Where a micro-batch does not fit into memory,
    the step begins anew with half of it, and so do those that follow. `after_epoch(epoch)` is
    called after each epoch, counted from 1; `note` is told in words what a reader of the results
    should know. With `unfinished`, an earlier process's work is gone on with, and that of this one
    kept. Returns step, epoch, lr, loss, seconds per step.

    Raises BadMethod where the loss gives no single number that depends on the network, Diverged
    where it or its gradient is NaN or infinite, and OutOfMemory where one row is too much for the
    memory; `name` is how messages call the loss.
    """
    model, effective = network.model, EffectiveWeights(network)
    steps, micro_batch = sum(map(len, plan)), optimiser.micro_batch
    masters = MasterWeights([p for p in model.parameters() if p.requires_grad])
    weights = masters.weights
    adamw = torch.optim.AdamW(
        weights, lr=optimiser.lr, weight_decay=optimiser.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        adamw, functools.partial(rate, steps=steps, optimiser=optimiser)
    )
    if optimiser.checkpointing:
        llava = network.llava  # whose releases of transformers 5 have the one name or both
        name_now = "activation_checkpointing_enable"
        getattr(llava, name_now, llava.gradient_checkpointing_enable)()
        model.enable_input_require_grads()
    unlikely, scale = Unlikely(len(network.processor.tokenizer)), LossScale(network.llava.dtype)
    done, history = (0, []) if unfinished is None else unfinished.take_up(adamw, schedule, scale)
    if done:
        masters.round()

    def gradients(step: Step) -> tuple[float, dict[str, float]]:
        nonlocal micro_batch
        add = functools.partial(_add_gradients, effective, examples, step, loss, name, scale)
        while (found := memory.tried(functools.partial(add, micro_batch))) is None:
            adamw.zero_grad()
            rows = min(micro_batch, max(map(len, step.values())))
            what = f"step {len(history) + 1} of {steps}, rows (micro_batch)"
            micro_batch = memory.half(rows, what, LESS, note)
        return found

    def table() -> pd.DataFrame:
        return pd.DataFrame(history, columns=["step", "epoch", "lr", "loss", "seconds"])

    quiet = multiprocessing.parent_process() is not None  # a worker: the sweep has the bar
    try:
        with tqdm(
            total=steps,
            initial=len(history),
            desc="training",
            unit="step",
            disable=quiet or not steps,
        ) as bar:
            for epoch, epoch_steps in enumerate(plan[done:], start=done + 1):
                model.train()
                for step in epoch_steps:
                    started = time.perf_counter()
                    value, nats = gradients(step)
                    while not scale.fits(weights):
                        adamw.zero_grad()
                        value, nats = gradients(step)
                    norm = torch.nn.utils.clip_grad_norm_(weights, optimiser.clip or math.inf)
                    if not torch.isfinite(norm):
                        raise _NotFinite(f"the gradient of {name} has the norm {norm.item()}")
                    lr = adamw.param_groups[0]["lr"]
                    adamw.step()
                    masters.round()
                    schedule.step()
                    adamw.zero_grad()
                    seconds = round(time.perf_counter() - started, 4)
                    history.append((len(history) + 1, epoch, lr, value, seconds))
                    unlikely.saw(len(history), nats)
                    bar.set_postfix(loss=f"{value:.3f}", refresh=False)
                    bar.update()
                model.eval()
                if after_epoch is not None:
                    after_epoch(epoch)
                if unfinished is not None:
                    unfinished.keep(epoch, adamw, scale, history)
    except _NotFinite as error:
        what, *rows = error.args
        raise Diverged(
            f"{what} at step {len(history) + 1} of {steps}{''.join(rows)}: the learning rate "
            f"{optimiser.lr:g} is too high, or the loss divides by zero or takes the logarithm "
            "of it",
            table(),
        ) from None
    finally:
        masters.close()
    model.eval()
    for line in unlikely.lines(steps):
        note(line)
    return table()


class _NotFinite(FloatingPointError):
    """A number of a step is not finite: which, and of which rows."""


def _add_gradients(
    effective: EffectiveWeights,
    examples: Mapping[str, Examples],
    step: Step,
    loss: Callable[[Ask], Tensor],
    name: str,
    scale: LossScale,
    micro_batch: int,
) -> tuple[float, dict[str, float]]:
    """Add up the gradients of one step, micro-batch by micro-batch, each times the factor of
    `scale`; returns the step's loss, and of the kinds of rows whose answers it scored the mean
    negative log-probability per token, in nats."""
    # Rows of like length in a micro-batch: less padding, and the sums stay the same.
    lengths = next(examples[key].lengths[chosen] for key, chosen in step.items())
    order, value = lengths.argsort(kind="stable"), 0.0
    step = {key: chosen[order] for key, chosen in step.items()}
    nats: dict[str, float] = {}
    with effective.step():
        for first in range(0, len(lengths), micro_batch):
            part = slice(first, first + micro_batch)
            seen: dict[str, Scores] = {}
            share = loss(functools.partial(_scores, effective, examples, step, part, seen=seen))
            _check(share, name)
            (share if scale.factor == 1 else share * scale.factor).backward()
            found = share.item()
            if not math.isfinite(found):
                ids = [examples[key].ids[row] for key in step for row in step[key][part]]
                raise _NotFinite(f"{name} is {found}", f" (rows {_few(ids)})")
            value += found
            for key, scored in seen.items():
                if "logp" in vars(scored):  # the loss has looked at it
                    nats[key] = nats.get(key, 0.0) + scored.ce().item()
    return value, nats


def _few(ids: Sequence[str], shown: int = 5) -> str:
    """Names of rows for a message."""
    ids = list(dict.fromkeys(ids))
    more = f" and {len(ids) - shown} more" if len(ids) > shown else ""
    return f"{', '.join(ids[:shown])}{more}"


def _check(share: object, name: str) -> None:
    if not isinstance(share, Tensor):
        raise BadMethod(f"{name} is {type(share).__name__}, and a tensor is wanted: return it")
    if share.ndim:
        raise BadMethod(
            f"{name} has the shape {tuple(share.shape)}, and one number is wanted: take the mean "
            "over rows with answer.row_mean(...), or over tokens with answer.token_mean(...)"
        )
    if not share.requires_grad:
        raise BadMethod(
            f"{name} does not depend on the network that is trained: ask scores(...) without "
            "reference=True for at least one part of it"
        )


def _scores(
    effective: EffectiveWeights,
    examples: Mapping[str, Examples],
    step: Step,
    part: slice,
    rows: str,
    positions: Literal["answer", "all"] = "answer",
    reference: bool = False,
    seen: dict[str, Scores] | None = None,
) -> Scores:
    """What a loss asks for; answers that the trained network gives are put into `seen`."""
    if rows not in step:
        raise BadMethod(
            f"scores({rows!r}): there are no such rows; there are {', '.join(map(repr, step))}"
        )
    chosen = step[rows][part]
    batch = examples[rows].batch(chosen, step[rows])
    if not reference:
        found = scores.score(effective.network, batch, positions)
        if seen is not None and positions == "answer":
            seen[rows] = found
        return found

    def ask() -> Scores:
        with effective.as_reference():
            return scores.score(effective.network, batch, positions)

    frozen: Any = Reference(ask, examples[rows], chosen, effective.network.llava.device)
    return frozen  # it has whatever Scores has
