"""Whether a network can be used here: told when it is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from remem.model import branches, folder, kinds, pictures, scores, tokens
from remem.model.folder import CannotLoad
from remem.model.network import Network

# What tests/model/test_families.py tries on networks with random weights: of these nothing is tried
# when one is loaded but that its processor and its tower agree.
TESTED = frozenset(
    (
        "gemma3",
        "idefics3",
        "internvl",
        "llava",
        "llava_next",
        "llava_onevision",
        "qwen2_5_vl",
        "smolvlm",
    )
)

# The mean error of numbers as a share of their mean size: what rounding makes, and no more.
ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.05, torch.float16: 0.02}


def outline(where: str | Path, place: Path) -> Any:
    """The network of a folder without weights. Raises CannotLoad where its kind cannot be trained
    or asked here, with all that is in the way."""
    from transformers import AutoModelForImageTextToText

    config = folder.config(where, place)
    try:
        with torch.device("meta"):
            empty = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    except Exception as error:  # what a library makes of anybody's values is anything
        raise CannotLoad(f"{where}: config.json cannot be used: {folder.reason(error)}") from error
    if lacking := [*_lacking(empty)]:
        raise CannotLoad(
            f"{where}: {type(empty).__name__} cannot be used here: {'; '.join(lacking)}"
        )
    return empty


def run(where: str | Path, network: Network) -> None:
    """Hand a network a blank picture; one of a kind that is not TESTED, a conversation too. Raises
    CannotLoad where what it makes of them is not what is counted on here."""
    try:
        kind = network.kind
        wrong = [] if network.llava.config.model_type in TESTED else [*_wrong(network, kind)]
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError) as error:
        raise CannotLoad(
            f"{where}: a picture cannot be handed to its {type(network.llava).__name__}: {error}"
        ) from error
    if wrong:
        raise CannotLoad(
            f"{where}: {type(network.llava).__name__} cannot be used here: {'; '.join(wrong)}"
        )


def _lacking(empty: Any) -> Iterator[str]:
    if empty.config.is_encoder_decoder:
        yield "it is an encoder with a decoder, and answers are scored after their prompt here"
        return
    if not hasattr(empty, "get_image_features") or not hasattr(empty.config, "image_token_id"):
        yield "it has no get_image_features, or no token that stands for a picture's features"
        return
    if "mm_encoder_outputs" not in inspect.signature(empty.model.forward).parameters:
        yield (
            "its forward takes pixels only (no mm_encoder_outputs), and a picture's features are "
            "computed once here"
        )
    try:
        kinds.targets(empty)
    except ValueError as error:
        yield str(error)


@torch.no_grad()
def _wrong(network: Network, kind: kinds.Kind) -> Iterator[str]:
    picture = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    prepared = pictures.prepare(network.processor, kind.token, [picture], kind.told)
    flat = kinds.features(network.llava, kind, prepared.pixels)
    [layout] = pictures.fitted(prepared.layouts, len(flat))
    question, values = "Who is it?", ["Ann Bell of Oslo", "Ann Bell of Rome", "a judge"]
    ask = [tokens.encode(network.processor, question, value, layout) for value in values]
    made = _in_the_usual_way(network.processor, picture, question, values[0])
    if made["input_ids"][0].tolist() != ask[0].ids[:-1].tolist():  # without end-of-sequence
        yield "its processor writes a conversation in other tokens than are written here"
        return
    taken = {*inspect.signature(network.llava.forward).parameters} - {"attention_mask"}
    whole = network.llava(**kinds.placed(network.llava, made, taken)).logits[0]
    found = scores.score(network, tokens.collate(ask[:1], [flat], 0), "all").logits
    if not _alike(found, whole, network):
        yield (
            "its logits for a picture are not those that its own forward gives of the pixels: it "
            "takes more from its tower than features, or changes what its head says"
        )
    start = ask[0]._replace(ids=ask[0].ids[: ask[0].n_prompt])
    spelled = tuple(tuple(each.ids[each.n_prompt :].tolist()) for each in ask)
    together = branches.mean_logps(network, tokens.collate([start], [flat], 0), spelled)[0]
    alone = [scores.score(network, tokens.collate([each], [flat], 0)).logp.mean() for each in ask]
    if not _alike(together, torch.stack(alone), network):
        yield (
            "Exposure's candidates, read together, are not read as each is alone: some of its "
            "layers pass over the mask of attention"
        )


def _in_the_usual_way(processor: Any, picture: Image.Image, question: str, answer: str) -> Any:
    """What a processor makes of a conversation, with the picture in it."""
    content = [{"type": "image"}, {"type": "text", "text": question}]
    turns = [{"role": "user", "content": content}]
    text = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    text = tokens.after(text, answer)
    more = {"add_special_tokens": False} if tokens.begun(processor.tokenizer, text) else {}
    return dict(processor(images=[[picture]], text=[text], return_tensors="pt", **more))


def _alike(found: Tensor, wanted: Tensor, network: Network) -> bool:
    error = (found.float() - wanted.float()).abs().mean() / wanted.float().abs().mean()
    return error.item() < ROUNDING[network.llava.dtype]  # and NaN is not
