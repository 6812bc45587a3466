"""Causal tracing: which states of the network carry a person's name (Section 4, A.2; Fig 2, Fig 5).

As in Meng et al. (2022) and Basu et al. (2024), a clean run is asked for the name; a corrupted run
is asked the same with one thing changed; then one state at a time is set to what it was in the
clean run, and what this recovers of the name's probability is the state's indirect effect.

The network is causal, so before the first token that was changed both runs are the same, and
restoring there does nothing: replacing the subject can say nothing about the image before it. So
there is a second corruption, the picture of another person. MLP and attention outputs are traced.
The residual stream (what enters a layer) is a control: where the change was made it recovers
everything in layer 0 by construction.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from remem.config import sections
from remem.data import subset
from remem.model import scores, tokens
from remem.model.loading import Network
from remem.model.tokens import Encoded
from remem.paper import POSITIONS, STATES
from remem.synthetic import questions
from remem.training.inputs import inputs
from remem.training.trained import ModelRun, load_trained

QUESTION = "What is the name of {} in the image?"  # Section 4

SUBJECT = "this person"

# What may stand in the subject's place: the first that is as many tokens. LLaVA takes the river;
# a tiny tokenizer has few words whole, and keeps house or home among them.
ENTITIES = ("that river", "the old lamp", "that house", "the home")

CORRUPTIONS = ("subject", "image")


class TraceRun(ModelRun):
    """The trace of a model, over the people that it was trained on (of an untrained one, the people
    of its training rows): trace.parquet, the rows of `table`."""

    kind: ClassVar[str] = "trace"
    trace: sections.Trace

    def make(self, out: Path, runs_root: Path) -> None:
        """Trace. Raises ValueError if there are fewer than two people."""
        _, rows, features = inputs(self.of.base, self.of.data, runs_root, self.of.subset)
        eval_rows = _first(subset.asking_the_name(self.of.train_rows(rows)), self.trace)
        shown = features[list(eval_rows["image"])]
        people = {
            str(identity): (eval_rows["name"].iloc[places[0]], shown[places])
            for identity, places in eval_rows.groupby("identity", sort=False).indices.items()
        }
        if len(people) < 2:
            raise ValueError(
                "tracing needs two people at least: the picture of one corrupts the other"
            )
        network = load_trained(self.of, runs_root)
        found = table(network, people, self.trace.window, self.trace.batch)
        found.to_parquet(out / "trace.parquet", index=False)

    def read(self, folder: Path) -> pd.DataFrame:
        """identity, corruption, state, layer, position, and probabilities of the name: clean,
        corrupted, restored, total (clean - corrupted), effect (restored - corrupted)."""
        return pd.read_parquet(folder / "trace.parquet")


class Prompts(NamedTuple):
    """The question with the name after it, clean and with the subject replaced, equally long, and
    which tokens (T,) belong to each of POSITIONS. Those of the name count as "last": there the rest
    of it is predicted, and names of different lengths could not be compared without them."""

    clean: Encoded
    corrupted: Encoded
    groups: dict[str, np.ndarray]


def prompts(network: Network, name: str) -> Prompts:
    """The prompts about the person called `name`. Raises ValueError if no entity is as many
    tokens as the subject."""
    texts = [*map(QUESTION.format, (SUBJECT, *ENTITIES)), "Who"]
    many, prefill = len(texts), questions.prefix("name", "multi", name)
    encoded = tokens.encode_all(
        network.processor, texts, [name] * many, network.image_tokens, [prefill] * many
    )
    # End-of-sequence is no part of the name.
    clean, *others, bare = (item._replace(ids=item.ids[:-1]) for item in encoded)
    spell = network.processor.tokenizer.decode
    for entity, other in zip(ENTITIES, others, strict=True):
        if len(other.ids) == len(clean.ids):
            changed = np.flatnonzero(clean.ids != other.ids)
            subject = slice(changed[0], changed[-1] + 1)
            # Nothing merged with what stands around it, or these tokens would spell more.
            if [spell(x.ids[subject]).strip() for x in (clean, other)] == [SUBJECT, entity]:
                break
    else:
        raise ValueError(
            f"none of {', '.join(map(repr, ENTITIES))} has as many tokens as {SUBJECT!r} with this "
            "tokenizer; add one that has to tracing.ENTITIES"
        )
    # What follows the question is what it shares with any other, counted from the end.
    width = min(len(clean.ids), len(bare.ids))
    shared = width - 1 - np.flatnonzero(clean.ids[-width:] != bare.ids[-width:])[-1]
    at, end, last = np.arange(len(clean.ids)), len(clean.ids) - shared, clean.n_prompt - 1
    image = clean.ids == network.processor.image_token_id
    groups = {
        "image": image,
        "before": (at < subject.start) & ~image,
        "subject": (at >= subject.start) & (at < subject.stop),
        "after": (at >= subject.stop) & (at < end),
        "prefix": (at >= end) & (at < last),
        "last": at >= last,
    }
    return Prompts(clean, other, groups)


@contextlib.contextmanager
def restored(network: Network, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, the first row of every batch is the clean run, and hands its states on: `masks` says
    for some of STATES where (rows, layers, T) the other rows get them. The hooks go when the block
    ends, however it ends."""
    hooks = []

    def hand_on(mask: Tensor, module: nn.Module, *given: Any) -> Any:
        found = given[-1]  # what the module gives, or before it ran what it is given
        state, *rest = found if isinstance(found, tuple) else (found,)
        state = torch.where(mask[..., None], state[:1], state)
        return (state, *rest) if isinstance(found, tuple) else state

    try:
        for number, layer in enumerate(network.llava.model.language_model.layers):
            places = {
                "mlp": layer.mlp.register_forward_hook,
                "attention": layer.self_attn.register_forward_hook,
                "residual": layer.register_forward_pre_hook,
            }
            for state, mask in masks.items():
                if mask[:, number].any():
                    hooks.append(places[state](functools.partial(hand_on, mask[:, number])))
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def probabilities(
    network: Network,
    clean: Encoded,
    corrupted: Encoded,
    features: Tensor,
    masks: Mapping[str, Tensor],
) -> np.ndarray:
    """exp(mean log p) of the answer's tokens, by row (rows,): the clean run with the first of
    `features` (2, P, H), then corrupted runs with the second, of which `masks` restore parts."""
    rows = len(next(iter(masks.values())))
    which = torch.ones(rows, dtype=torch.long)
    which[0] = 0
    encoded = [clean, *[corrupted] * (rows - 1)]
    batch = tokens.collate(encoded, features[which], pad_id=0)
    device = network.llava.device
    with restored(network, {state: mask.to(device) for state, mask in masks.items()}):
        total = scores.score(network, batch).sequence()
    return (total / (len(clean.ids) - clean.n_prompt)).exp().double().cpu().numpy()


def effects(
    network: Network, texts: Prompts, own: Tensor, other: Tensor, window: int, batch: int
) -> pd.DataFrame:
    """One picture: corruption, state, layer, position, clean, corrupted, restored.

    `own` and `other` (P, H) are the features of the person's picture and of another person's. One
    forward pass takes a clean run, a corrupted one and up to `batch` cells, whichever they are.
    """
    layers = len(network.llava.model.language_model.layers)
    cells = list(itertools.product(STATES, range(layers), POSITIONS))
    found = []
    for corruption in CORRUPTIONS:
        changed = texts.corrupted if corruption == "subject" else texts.clean
        features = torch.stack([own, other if corruption == "image" else own])
        for start in range(0, len(cells), batch):
            block = cells[start : start + batch]
            shape = (2 + len(block), layers, len(texts.clean.ids))
            masks = {state: torch.zeros(shape, dtype=torch.bool) for state in STATES}
            for row, (state, layer, position) in enumerate(block, start=2):
                near = slice(max(0, layer - window // 2), layer + window // 2 + 1)
                masks[state][row, near] = torch.from_numpy(texts.groups[position])
            clean, corrupted, *each = probabilities(network, texts.clean, changed, features, masks)
            # A cell stands beside the two runs of its own pass: passes differ in their rounding.
            found += [
                (corruption, *cell, clean, corrupted, one)
                for cell, one in zip(block, each, strict=True)
            ]
    columns = ["corruption", "state", "layer", "position", "clean", "corrupted", "restored"]
    return pd.DataFrame(found, columns=columns)


def table(
    network: Network, people: Mapping[str, tuple[str, Tensor]], window: int, batch: int
) -> pd.DataFrame:
    """identity, the columns of `effects` (means over pictures), total = clean - corrupted and
    effect = restored - corrupted. `people` maps identity to name and features (pictures, P, H);
    the other picture is that of who comes next."""
    parts, identities = [], list(people)
    for number, identity in enumerate(tqdm(identities, desc="tracing", unit="person")):
        name, own = people[identity]
        _, others = people[identities[(number + 1) % len(identities)]]
        texts = prompts(network, name)
        for k, one in enumerate(own):
            part = effects(network, texts, one, others[k % len(others)], window, batch)
            parts.append(part.assign(identity=identity))
    cell = ["identity", "corruption", "state", "layer", "position"]
    means: Any = pd.concat(parts).groupby(cell, sort=False, as_index=False).mean()
    return means.assign(
        total=means["clean"] - means["corrupted"], effect=means["restored"] - means["corrupted"]
    )


def _first(rows: pd.DataFrame, settings: sections.Trace) -> pd.DataFrame:
    """One row for each of the first pictures of the first people."""
    rows = rows.drop_duplicates(["identity", "image"])
    people = rows["identity"].drop_duplicates()[: settings.people]
    return rows[rows["identity"].isin(people)].groupby("identity").head(settings.pictures)
