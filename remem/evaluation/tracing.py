"""Causal tracing: which states of the network carry a name or a fact (Section 4, A.2; Fig 2, 5).

As in Meng et al. (2022) and Basu et al. (2024), a clean run answers; a corrupted run is given the
same with one thing changed; then one state at a time is set to what it was in the clean run, and
what this recovers of the answer's probability is the state's indirect effect.

The subject is mentioned twice, in the question and in the beginning of the answer that stands
before what is scored. A corruption that leaves one of them whole leaves the network what it needs,
so both are changed: to a wrong `entity` of the same kind and as many tokens, or by `noise` on their
embeddings (Meng et al.'s). The third corruption is another person's `image`. The network is causal:
before the first token that was changed nothing can be recovered.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from remem.config import sections
from remem.data import splits, subset
from remem.model import tokens
from remem.model.features import Features
from remem.model.loading import Network
from remem.model.pictures import Layout
from remem.model.scores import entering
from remem.model.tokens import Encoded
from remem.paper import STATES
from remem.synthetic import questions
from remem.training.inputs import inputs
from remem.training.trained import ModelRun, lend_trained

NAME = "What is the name of {} in the image?"  # Section 4

PERSON = ("this person", "the person")  # how it calls the subject, and how its answer does

# What may stand in the person's place: the first that is as many tokens. LLaVA takes the river; a
# tiny tokenizer has few words whole. A word of another question (house, home) would ask that.
ENTITIES = ("river", "flag", "dog", "lamp", "background", "clothes", "hair", "picture")


class TraceRun(ModelRun):
    """The trace of a model, over the people that it was trained on (of an untrained one, the people
    of its training rows): trace.parquet, the rows of `table`."""

    kind: ClassVar[str] = "trace"
    revision: ClassVar[int] = 2
    trace: sections.Trace

    def make(self, out: Path, runs_root: Path) -> None:
        """Trace. Raises ValueError if there are fewer than two people."""
        _, rows, features = inputs(self.of.base, self.of.data, runs_root, self.of.subset)
        people = people_in(self.of.train_rows(rows))
        if len(people) < 2:
            raise ValueError(
                "tracing needs two people at least: the picture of one corrupts the other"
            )
        with lend_trained(self.of, runs_root) as network:
            found = table(network, people, features, self.trace)
        found.to_parquet(out / "trace.parquet", index=False)

    def read(self, folder: Path) -> pd.DataFrame:
        """identity, asked, corruption, state, layer, position, and probabilities of the answer:
        clean, corrupted, restored, total (clean - corrupted), effect (restored - corrupted)."""
        return pd.read_parquet(folder / "trace.parquet")


class Person(NamedTuple):
    """Somebody's name, facts (attribute -> value), and the pictures with which the name is asked
    (all, where it is not)."""

    name: str
    facts: dict[str, str]
    images: list[str]


def people_in(rows: pd.DataFrame) -> dict[str, Person]:
    """The people of training rows, by identity. An answer with no name of its own is no fact, nor
    is a value that holds a part of the name (an e-mail address may): that is copied."""
    found = {}
    for identity, own in rows.groupby("identity", sort=False):
        name = own["name"].iloc[0]
        values = own.drop_duplicates("attribute").set_index("attribute")["target"]
        parts = name.casefold().split()
        facts = {
            attribute: value
            for attribute, value in sorted(values.items())
            if attribute != "name"
            and not re.fullmatch(rf"{splits.UNNAMED}(_\d+)?", attribute)
            and not any(part in value.casefold() for part in parts)
        }
        shown = subset.asking_the_name(own)["image"].unique()
        found[str(identity)] = Person(name, facts, list(shown))
    return found


class Query(NamedTuple):
    """A question and the beginning of its answer, each with a {} for the subject; how either
    mentions it; the answer itself; and what may stand for the two mentions, the best first."""

    question: str
    prefill: str
    mentions: tuple[str, str]
    answer: str
    entities: Sequence[tuple[str, str]]


def name_query(name: str) -> Query:
    """Section 4's question, who is in the picture."""
    prefill = questions.prefix("name", "multi", name).replace(PERSON[1], "{}")
    entities = [(f"this {entity}", f"the {entity}") for entity in ENTITIES]
    return Query(NAME, prefill, PERSON, name, entities)


def fact_query(attribute: str, person: Person, others: Sequence[str]) -> Query:
    """A fact about somebody who is named; wrong are the names `others` that share no word."""
    words = set(person.name.split())
    wrong = [(other, other) for other in others if not words & set(other.split())]
    question = f"What is the {attribute.replace('_', ' ')} of {{}}?"
    prefill = questions.prefix(attribute, "single", "{}")
    return Query(question, prefill, (person.name, person.name), person.facts[attribute], wrong)


class Prompt(NamedTuple):
    """A query with its answer: clean; with a wrong entity, equally long (None: there was none of
    as many tokens); and which tokens (T,) belong to each of paper.POSITIONS. Those of the answer
    count as "last": there the rest of it is predicted, and answers of different lengths could not
    be compared without them."""

    clean: Encoded
    wrong: Encoded | None
    groups: dict[str, np.ndarray]


class NotWhole(ValueError):
    """A tokenizer merges a mention of the subject with what stands around it."""


def prompt(network: Network, query: Query, layout: int | Layout | None = None) -> Prompt:
    """The tokens of a query about a picture of that layout, or of a small square one. Raises
    NotWhole where a mention is not made of whole tokens."""
    shown = network.kind.blank if layout is None else layout

    def written(mentions: tuple[str, str]) -> tuple[Encoded, list[slice]]:
        ask, prefill = (
            text.format(mention)
            for text, mention in zip((query.question, query.prefill), mentions, strict=True)
        )
        found = tokens.encode(network.processor, ask, query.answer, shown, prefill)
        found = found._replace(ids=found.ids[:-1])  # end-of-sequence is no part of the answer
        first, second = (_said(network, found, mention) for mention in mentions)
        return found, [first[0], second[-1]] if first and second else []

    clean, places = written(query.mentions)
    if not places:
        raise NotWhole(
            f"{query.mentions} are not whole tokens in {query.question!r} and {query.prefill!r}: "
            "this tokenizer merges them with what stands around them"
        )
    wrong = None
    for entity in query.entities:
        candidate, there = written(entity)
        if there == places and len(candidate.ids) == len(clean.ids):
            wrong = candidate
            break
    first, second = places
    at, last = np.arange(len(clean.ids)), clean.n_prompt - 1
    image = clean.ids == network.kind.token
    groups = {
        "image": image,
        "before": (at < first.start) & ~image,
        "subject": (at >= first.start) & (at < first.stop),
        "between": (at >= first.stop) & (at < second.start),
        "subject again": (at >= second.start) & (at < second.stop),
        "after": (at >= second.stop) & (at < last),
        "last": at >= last,
    }
    return Prompt(clean, wrong, groups)


def _said(network: Network, encoded: Encoded, words: str) -> list[slice]:
    """Where the prompt's tokens spell `words`, and nothing more."""
    spell, ids = network.processor.tokenizer.decode, encoded.ids[: encoded.n_prompt]
    found = []
    for start in np.flatnonzero(ids != network.kind.token):
        if not spell(ids[start : start + 1]).strip():
            continue  # a space by itself belongs to what stands before
        for stop in range(start + 1, min(start + len(words), len(ids)) + 1):
            if spell(ids[start:stop]).strip() == words:
                found.append(slice(int(start), stop))
                break
    return found


@torch.inference_mode()
def embedded(network: Network, encoded: Encoded, picture: Tensor) -> Tensor:
    """What enters the language model (T, H): the tokens' embeddings, and at the image's tokens the
    features `picture` (P, H)."""
    return entering(network, tokens.collate([encoded], [picture], 0))["inputs_embeds"][0]


def noised(
    network: Network, clean: Tensor, mask: np.ndarray, sigmas: float, generator: torch.Generator
) -> Tensor:
    """`clean` (T, H) with Gaussian noise where `mask` (T,) is true, `sigmas` times the standard
    deviation of the embeddings' numbers (Meng et al. 2022, who take 3)."""
    embed = network.llava.get_input_embeddings()
    sigma = embed.weight.float().std() * getattr(embed, "embed_scale", 1.0)  # Gemma's has one
    noise = torch.randn(clean.shape, generator=generator).to(clean.device) * sigmas * sigma
    where = torch.from_numpy(mask).to(clean.device)
    return torch.where(where[:, None], clean + noise.to(clean.dtype), clean)


@contextlib.contextmanager
def restored(network: Network, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, a forward pass over two rows, the clean run and the corrupted one, gives R more: the
    corrupted run with the clean one's states put in, where `masks` says for some of STATES (R,
    layers, T). A row begins at its first such layer: below it is the corrupted run. The hooks go
    when the block ends, however it ends."""
    layers = network.language_model.layers
    touched = torch.stack([mask.any(-1) for mask in masks.values()]).any(0)
    starts = torch.where(touched.any(-1), touched.int().argmax(-1), len(layers) - 1)
    if (starts.diff() < 0).any():
        raise ValueError("rows begin in the order of their layers: sort the masks by it")
    hooks = []

    def put_in(state: str, number: int, found: Tensor) -> Tensor:
        if state not in masks or not masks[state][:, number].any():
            return found
        mask = masks[state][: len(found) - 2, number, :, None].to(found.device)
        return torch.cat([found[:2], torch.where(mask, found[:1], found[2:])])

    def enter(number: int) -> Any:
        def hook(module: nn.Module, given: Any) -> Any:
            state, *rest = given
            state = torch.cat([state, state[1:2].expand(int((starts == number).sum()), -1, -1)])
            return (put_in("residual", number, state), *rest)

        return hook

    def leave(state: str, number: int) -> Any:
        def hook(module: nn.Module, given: Any, found: Any) -> Any:
            if isinstance(found, tuple):
                return (put_in(state, number, found[0]), *found[1:])
            return put_in(state, number, found)

        return hook

    try:
        for number, layer in enumerate(layers):
            hooks.append(layer.register_forward_pre_hook(enter(number)))
            hooks.append(layer.mlp.register_forward_hook(leave("mlp", number)))
            hooks.append(layer.self_attn.register_forward_hook(leave("attention", number)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def probabilities(
    network: Network, asked: Encoded, clean: Tensor, corrupted: Tensor, masks: Mapping[str, Tensor]
) -> np.ndarray:
    """exp(mean log p) of the answer's tokens of `asked`, by row (2 + R,): of the clean run, of the
    corrupted one (both as they are `embedded`), and of those that `masks` restore."""
    nothing = clean.new_zeros(int((asked.ids == network.kind.token).sum()), clean.shape[-1])
    around = entering(network, tokens.collate([asked], [nothing], 0))
    around = {name: value for name, value in around.items() if name != "inputs_embeds"}
    with restored(network, masks):
        hidden = network.language_model(
            inputs_embeds=torch.stack([clean, corrupted]), use_cache=False, **around
        ).last_hidden_state
    labels = torch.from_numpy(asked.ids[asked.n_prompt :]).to(hidden.device)
    logits = network.head(hidden[:, asked.n_prompt - 1 : -1]).float()
    logp = -F.cross_entropy(logits.mT, labels.expand(len(logits), -1), reduction="none")
    return logp.mean(-1).exp().double().cpu().numpy()


def effects(
    network: Network, asked: Prompt, clean: Tensor, corrupted: Tensor, window: int, batch: int
) -> pd.DataFrame:
    """One corruption of one prompt: state, layer, position, and the probabilities clean, corrupted
    and restored, a line for each state of each layer at each position that has tokens. A forward
    pass takes the clean run, the corrupted one and up to `batch` cells."""
    layers = len(network.language_model.layers)
    first = int((clean != corrupted).any(-1).int().argmax())
    groups = {position: group for position, group in asked.groups.items() if group.any()}
    same = [position for position, group in groups.items() if not group[first:].any()]
    cells = [
        cell
        for cell in itertools.product(range(layers), STATES, groups)
        if cell[2] not in same  # in both runs alike: nothing to restore
    ]
    found = []
    for start in range(0, len(cells), batch):
        block = cells[start : start + batch]
        shape = (len(block), layers, len(asked.clean.ids))
        masks = {state: torch.zeros(shape, dtype=torch.bool) for state in STATES}
        for row, (layer, state, position) in enumerate(block):
            near = slice(max(0, layer - window // 2), layer + window // 2 + 1)
            masks[state][row, near] = torch.from_numpy(groups[position])
        before, after, *each = probabilities(network, asked.clean, clean, corrupted, masks)
        # A cell stands beside the two runs of its own pass: passes differ in their rounding.
        found += [
            (state, layer, position, before, after, one)
            for (layer, state, position), one in zip(block, each, strict=True)
        ]
    found += [
        (*cell, before, after, after) for cell in itertools.product(STATES, range(layers), same)
    ]
    columns = ["state", "layer", "position", "clean", "corrupted", "restored"]
    return pd.DataFrame(found, columns=columns)


def _layouts(features: Features, images: Sequence[str]) -> list[int | Layout]:
    """The layout of each picture, as `tokens.encode` takes it."""
    found = features.layouts(images)
    return [found] * len(images) if isinstance(found, int) else [*found]


def table(
    network: Network, people: Mapping[str, Person], features: Features, settings: sections.Trace
) -> pd.DataFrame:
    """The first `settings.people` traced: identity, asked ("name": who is in the picture; "fact":
    one fact about somebody who is named, another one from person to person), corruption, the
    columns of `effects` (means over pictures and samples of noise), total = clean - corrupted and
    effect = restored - corrupted.

    The wrong picture and the wrong name are those of the next person whose answer is another. Of
    a person whose name is not made of whole tokens no fact is traced.
    """
    parts, identities = [], list(people)
    traced = identities[: settings.people]
    for number, identity in enumerate(tqdm(traced, desc="tracing", unit="person")):
        person = people[identity]
        others = [people[who] for who in (*identities[number + 1 :], *identities[:number])]
        asked = {"name": (name_query(person.name), others)}
        if person.facts:
            attribute = list(person.facts)[number % len(person.facts)]
            value = person.facts[attribute]
            different = [one for one in others if one.facts.get(attribute) != value]
            if different:
                names = [one.name for one in different]
                asked["fact"] = fact_query(attribute, person, names), different
        generator = torch.Generator().manual_seed(number)
        for kind, (query, different) in asked.items():
            for k, image in enumerate(person.images[: settings.pictures]):
                another = different[0].images[k % len(different[0].images)]
                layout, wrong = _layouts(features, [image, another])
                try:
                    texts = prompt(network, query, layout)
                except NotWhole:
                    if kind == "name":  # the words of the question, and so everybody's
                        raise
                    break
                subject = texts.groups["subject"] | texts.groups["subject again"]
                own, other = features[[image, another]]
                clean = embedded(network, texts.clean, own)
                corrupted = []
                if wrong == layout:  # one picture can stand where the other did
                    corrupted.append(("image", embedded(network, texts.clean, other)))
                if texts.wrong is not None:
                    corrupted.append(("entity", embedded(network, texts.wrong, own)))
                for _ in range(settings.samples):
                    noise = noised(network, clean, subject, settings.noise, generator)
                    corrupted.append(("noise", noise))
                for corruption, changed in corrupted:
                    part = effects(network, texts, clean, changed, settings.window, settings.batch)
                    labels = {"identity": identity, "asked": kind, "corruption": corruption}
                    parts.append(part.assign(**labels))
    cell = ["identity", "asked", "corruption", "state", "layer", "position"]
    means: Any = pd.concat(parts).groupby(cell, sort=False, as_index=False).mean()
    return means.assign(
        total=means["clean"] - means["corrupted"], effect=means["restored"] - means["corrupted"]
    )
