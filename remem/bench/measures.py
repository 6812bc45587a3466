"""Measures, each a function of a subject: steps of training, answers, ranks, the way between.

A measure yields (quantity, value, unit). Its name is that of the thing, with a setting where the
same thing is done in several ways.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from remem.bench import products, states, usual
from remem.bench.clock import Clock, Memory
from remem.bench.subject import Subject
from remem.config.sections import Config
from remem.data import splits
from remem.experiments import setup
from remem.model import adapters, inference, resident, tokens
from remem.model.features import image_features
from remem.model.loading import Network
from remem.training.loop import Examples, Step, fit
from remem.training.methods import KL, NPO, Ask, Method
from remem.training.stage1 import cross_entropy

Found = Iterator[tuple[str, float, str]]
Measure = Callable[[Subject], Found]

MICRO_BATCHES = (1, 2, 4, 8, 16)
ASKED = 64  # rows that are asked, and that are ranked
FEW = 8  # rows that are asked one by one
GIB = 2**30


def measures(config: Config) -> dict[str, Measure]:
    """All there are, by name; those that are most wanted first."""
    batch = config.evaluate.batch
    fewer = max(1, batch // 4)
    found: dict[str, Measure] = {"matrix products": matrix_products, "stage 1": stage1}
    for size in MICRO_BATCHES:
        found[f"stage 1, micro-batch {size}"] = functools.partial(
            stage1, micro_batch=size, rows=max(MICRO_BATCHES)
        )
    compared = {**setup.methods(config)}
    first = {name: compared.pop(name) for name in ("NPO", "GD") if name in compared}
    kl = compared.get("KL")
    if isinstance(kl, KL) and kl.positions == "answer":
        compared["KL, all positions"] = dataclasses.replace(kl, positions="all")
    for name, method in first.items():
        found[f"stage 2, {name}"] = functools.partial(stage2, method=method)
    found["answers"] = functools.partial(answers, batch=batch)
    found["Exposure"] = functools.partial(exposure, batch=batch)
    found["Exposure, the usual way"] = exposure_usual
    for name, method in compared.items():
        found[f"stage 2, {name}"] = functools.partial(stage2, method=method)
    found |= {
        "between runs, adapter": adapter_files,
        f"answers, batch {fewer}": functools.partial(answers, batch=fewer),
        f"Exposure, batch {fewer}": functools.partial(exposure, batch=fewer),
        "features": features,
        "stage 1, the usual way": stage1_usual,
        "stage 2, NPO, the usual way": npo_usual,
        "answers, the usual way": answers_usual,
        "between runs, base": between_runs,
    }
    return found


def matrix_products(subject: Subject) -> Found:
    """What the device does at the most."""
    clock, dtype = _clock(subject), subject.network.llava.dtype
    yield "operations a second", products.peak(clock, dtype) / 1e12, f"TFLOP/s in {dtype}"


def stage1(subject: Subject, micro_batch: int | None = None, rows: int | None = None) -> Found:
    """An optimiser step of stage 1 as `fit` takes it, of the usual batch or of so many rows."""
    clock, optimiser = _clock(subject), subject.stage1
    chosen, micro_batch = (
        states.train_rows(subject, rows or optimiser.batch),
        micro_batch or optimiser.micro_batch,
    )
    optimiser = optimiser.model_copy(update={"micro_batch": micro_batch})
    with states.fresh(subject) as network:
        examples = {"train": Examples(network, chosen, subject.features)}
        lengths, loss = examples["train"].lengths, Counted(cross_entropy)

        def work(some: int) -> None:
            loss.parts = 0
            fit(network, examples, [[{"train": np.arange(some)}]], loss, optimiser)
            if loss.parts > math.ceil(some / micro_batch):  # `fit` went on with less
                raise torch.OutOfMemoryError(f"a micro-batch of {micro_batch}")

        work(min(micro_batch, len(chosen)))
        seconds, memory = _both(clock, lambda: work(len(chosen)))
        yield "tokens a second", lengths.sum() / seconds, "tokens/s"
        yield "seconds a row", seconds / len(chosen), "s"
        yield "tokens a row", float(lengths.mean()), "tokens"
        yield "peak", memory.peak / GIB, "GiB"
        yield "peak above the network", memory.added / GIB, "GiB"
        if rows is not None:
            return
        most = products.peak(clock, network.llava.dtype)
        language = sum(
            weight.numel()
            for name, weight in network.llava.named_parameters()
            if ".layers." in name and "language_model" in name and "lora_" not in name
        )
        # The frozen weights forward, and the gradient of what goes into them: 4 a weight and token.
        needed = 4 * language * lengths.sum()
        yield "share of the peak", needed / seconds / most, "at 4 operations a weight and token"
        few = min(2 * micro_batch, len(chosen))
        with products.Products() as found:
            work(few)
        yield (
            "operations of its products",
            found.operations / (needed * few / len(chosen)),
            "times those 4",
        )
        alone = found.seconds(clock) / few
        yield "seconds a row of its products alone", alone, "s"
        yield "step over its products", seconds / len(chosen) / alone, "times"


def stage2(subject: Subject, method: Method) -> Found:
    """Two micro-batches of rows unlearned by a method in all epochs, as `fit` does it: the
    reference's part is that of a whole run."""
    clock, optimiser = _clock(subject), subject.stage2
    with states.continued(subject) as network:
        examples = _examples(subject, network, method)
        count = len(examples["forget"].lengths)
        step: Step = {name: np.arange(count) for name in examples}
        plan = [[step] for _ in range(optimiser.epochs)]
        fit(network, examples, [[step]], method.loss, optimiser)
        for each in examples.values():
            each.cached_logps[:] = np.nan  # the reference is asked anew
        work = functools.partial(fit, network, examples, plan, method.loss, optimiser)
        seconds, memory = _both(clock, work)
        yield "seconds a row and epoch", seconds / (count * optimiser.epochs), "s"
        yield "peak", memory.peak / GIB, "GiB"
        yield "peak above the network", memory.added / GIB, "GiB"


def answers(subject: Subject, batch: int) -> Found:
    """Held-out questions, answered token by token after the draft was read, and the reading alone:
    what lies between the two depends on how often the draft is what the network says."""
    clock, rows = _clock(subject), states.held_out_rows(subject, ASKED)
    with states.asked(subject) as network:
        longest = _longest(network, rows)

        def work(some: pd.DataFrame, tokens: int) -> None:
            drafts = list(some["answer"])
            inference.answers(network, some, subject.features, batch, tokens, drafts=drafts)

        work(rows[:batch], 2)
        seconds, memory = _both(clock, lambda: work(rows, longest))
        yield "answers a second", len(rows) / seconds, "answers/s"
        yield "seconds an answer", seconds / len(rows), "s"
        reading = clock.seconds(
            lambda: inference.token_logps(network, rows, subject.features, batch)
        )
        yield "seconds an answer, all of its draft right", reading / len(rows), "s"
        yield "tokens at most", longest, "tokens"
        yield "peak", memory.peak / GIB, "GiB"


def exposure(subject: Subject, batch: int) -> Found:
    """Candidates ranked, as many of them in memory as the batch says."""
    clock, candidates = _clock(subject), splits.candidates(subject.rows)
    rows = states.ranked_rows(subject, ASKED)
    template = subject.config.evaluate.prefix_template
    with states.asked(subject) as network:

        def work(some: pd.DataFrame) -> None:
            inference.candidate_logps(network, some, subject.features, candidates, template, batch)

        work(rows[:FEW])
        seconds, memory = _both(clock, lambda: work(rows))
        yield "rows a second", len(rows) / seconds, "rows/s"
        yield "seconds a row", seconds / len(rows), "s"
        yield "candidates a row", float(np.mean([len(candidates[a]) for a in rows.attribute])), ""
        yield "peak", memory.peak / GIB, "GiB"


def features(subject: Subject) -> Found:
    """Pictures through the tower and the projector."""
    clock, pictures = _clock(subject), subject.pictures(list(subject.rows["image"][:ASKED]))
    image_features(subject.network, pictures[:FEW])
    seconds = clock.seconds(lambda: image_features(subject.network, pictures))
    yield "pictures a second", len(pictures) / seconds, "pictures/s"
    yield "seconds a picture", seconds / len(pictures), "s"


def adapter_files(subject: Subject) -> Found:
    """An adapter written, and one taken up by a network that is there."""
    clock = _clock(subject)
    with states.fresh(subject) as network, _scratch() as folder:
        yield "adapter saved", clock.seconds(lambda: adapters.save_adapter(network, folder)), "s"
        size = sum(file.stat().st_size for file in folder.iterdir())
        yield "adapter on disk", size / 1e6, "MB"
    loaded: list[Network] = []
    seconds = clock.seconds(
        lambda: loaded.append(adapters.load_adapter(subject.network, subject.adapter))
    )
    loaded[0].model.unload()
    yield "adapter loaded", seconds, "s"


def between_runs(subject: Subject) -> Found:
    """The base loaded from its folder, which the system has just read or written; and the way from
    one run to the next, for which it stays."""
    clock, dtype = _clock(subject), str(subject.network.llava.dtype).removeprefix("torch.")
    with _scratch() as scratch:
        place = subject.base
        if place is None:
            place = scratch
            subject.network.model.save_pretrained(scratch)
            subject.network.processor.save_pretrained(scratch)

        def run() -> None:
            with resident.lend(place, dtype) as network:
                adapters.load_adapter(network, subject.adapter)

        resident.release()
        first = clock.seconds(run)
        yield "first run", first, "s"
        yield "next run", clock.seconds(run), "s"
        resident.release()


# ---------------------------------------------------------------- the usual way


def stage1_usual(subject: Subject) -> Found:
    """An optimiser step of stage 1 on a few rows: see `usual`."""
    clock, optimiser = _clock(subject), subject.stage1
    rows = states.train_rows(subject, max(MICRO_BATCHES))
    with states.fresh(subject) as network:
        step = functools.partial(usual.stage1_step, subject, network, optimiser=optimiser)
        step(rows=rows[: optimiser.micro_batch])
        seconds, memory = _both(clock, lambda: step(rows=rows))
        yield "seconds a row", seconds / len(rows), "s"
        yield "peak above the network", memory.added / GIB, "GiB"


def npo_usual(subject: Subject) -> Found:
    """An optimiser step of NPO on a few rows: see `usual`."""
    clock, optimiser = _clock(subject), subject.stage2
    rows, beta = states.train_rows(subject, 2 * optimiser.micro_batch), NPO().beta
    with states.continued(subject) as network:
        step = functools.partial(
            usual.npo_step, subject, network, rows, optimiser=optimiser, beta=beta
        )
        step()
        seconds, memory = _both(clock, step)
        yield "seconds a row and epoch", seconds / len(rows), "s"
        yield "peak above the network", memory.added / GIB, "GiB"


def answers_usual(subject: Subject) -> Found:
    """Questions answered one by one: see `usual`."""
    clock, rows = _clock(subject), states.held_out_rows(subject, ASKED)[:FEW]
    with states.asked(subject, merge=False) as network:
        longest = _longest(network, rows)
        usual.answers(subject, network, rows[:1], 2)
        seconds = clock.seconds(lambda: usual.answers(subject, network, rows, longest))
    yield "answers a second", len(rows) / seconds, "answers/s"
    yield "seconds an answer", seconds / len(rows), "s"


def exposure_usual(subject: Subject) -> Found:
    """Candidates scored one by one: see `usual`."""
    clock, candidates = _clock(subject), splits.candidates(subject.rows)
    rows, template = states.ranked_rows(subject, FEW // 2), subject.config.evaluate.prefix_template
    ranked = functools.partial(usual.candidate_logps, subject)
    with states.asked(subject, merge=False) as network:
        two = {name: values[:2] for name, values in candidates.items()}
        ranked(network, rows[:1], two, template)
        seconds = clock.seconds(lambda: ranked(network, rows, candidates, template))
    yield "rows a second", len(rows) / seconds, "rows/s"
    yield "seconds a row", seconds / len(rows), "s"


# ---------------------------------------------------------------- what they share


class Counted:
    """A loss that counts how often it is asked for: once for each micro-batch."""

    def __init__(self, loss: Callable[[Ask], Tensor]):
        self.loss, self.parts = loss, 0

    def __call__(self, scores: Ask) -> Tensor:
        """The loss."""
        self.parts += 1
        return self.loss(scores)


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="remem-bench-") as folder:
        yield Path(folder)


def _clock(subject: Subject) -> Clock:
    return Clock(subject.network.llava.device)


def _both(clock: Clock, work: Callable[[], object]) -> tuple[float, Memory]:
    """Seconds and bytes of one and the same go."""
    seconds: list[float] = []
    memory = clock.memory(lambda: seconds.append(clock.seconds(work)))
    return seconds[0], memory


def _examples(subject: Subject, network: Network, method: Method) -> dict[str, Examples]:
    """Rows of two micro-batches of stage 2, as its step has them."""
    rows = states.train_rows(subject, 4 * subject.stage2.micro_batch)
    half = len(rows) // 2
    forget, retain = rows[:half], rows[half : 2 * half]
    refusals: Sequence[str] = np.resize(list(method.refusal_pool), half).tolist()
    return {
        "forget": Examples(network, forget, subject.features),
        "refusal": Examples(network, forget, subject.features, refusals),
        "retain": Examples(network, retain, subject.features),
    }


def _longest(network: Network, rows: pd.DataFrame) -> int:
    """Tokens of the longest reference answer, and its end."""
    found = tokens.encode_all(network.processor, list(rows["question"]), list(rows["answer"]), 0)
    return max(len(each.ids) - each.n_prompt for each in found)
