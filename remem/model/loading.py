"""Loading a network: from a folder or from the Hub's cache, checked before memory is spent."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from PIL import Image

from remem import runs
from remem.model import folder as folders
from remem.model import memory, tokens
from remem.model.folder import CannotLoad

PARTS = ("tokenizer", "image_processor", "image_token", "image_token_id")  # of a processor

ALLOWANCE = 0.1  # memory that activations need at the least, as a share of the weights'

# PEFT asks transformers by a name that transformers 6 drops; nothing here depends on it.
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


class Network(NamedTuple):
    """A LLaVA and its processor, which belong together.

    `model` is a `LlavaForConditionalGeneration`, or the `PeftModel` around one that has an
    adapter; `processor` is its `LlavaProcessor`.
    """

    model: Any
    processor: Any

    @property
    def llava(self) -> Any:
        """The `LlavaForConditionalGeneration`, whether or not an adapter is around it."""
        adapted = hasattr(self.model, "get_base_model")
        return self.model.get_base_model() if adapted else self.model

    @property
    def image_tokens(self) -> int:
        """Tokens that a picture takes: as many features as the tower gives of it. A blank one is
        tried, once: towers differ in what comes beside the patches (CLIP has a class token, SigLIP
        none), whatever the strategy then leaves out."""
        llava = self.llava
        if llava not in _IMAGE_TOKENS:
            blank = Image.new("RGB", (64, 64))
            pixels = self.processor.image_processor([blank], return_tensors="pt")["pixel_values"]
            with torch.no_grad():
                found = llava.get_image_features(pixels.to(llava.device, llava.dtype))
            _IMAGE_TOKENS[llava] = len(found.pooler_output[0])
        return _IMAGE_TOKENS[llava]


_IMAGE_TOKENS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # of each LLaVA that was asked


def load(where: str | Path, device: str | None = None, dtype: str = "float32") -> Network:
    """The network of `folders.find`: eval mode, every weight frozen, padding left; a tokenizer
    without a padding token pads with end-of-sequence.

    Nothing is downloaded unless HF_HUB_OFFLINE=0. Raises CannotLoad when the weights are missing,
    incomplete, or with an allowance for activations larger than the free memory of the device; and
    when tokenizer, chat template or pictures do not go with the network.
    """
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar of its own per load, in the midst of those of the runs
    device = device or _device()
    folder = folders.find(where)
    _check_memory(where, folder, device, dtype)
    processor = _processor(where, folder)
    _check_whole(where, folder)
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # anybody's files, read by several libraries
        reason = folders.reason(error)
        raise CannotLoad(f"{where}: cannot be loaded as a LLaVA: {reason}") from error
    model, report = loaded
    if report["missing_keys"] or report["mismatched_keys"]:
        missing = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))
        raise CannotLoad(
            f"{where}: {len(missing)} weights are missing or of a wrong shape, "
            f"the first is {missing[0]}"
        )
    # PEFT writes this name into an adapter's files: a folder's name, not its place on a disk.
    name = folder.name if Path(where).is_dir() else str(where).partition("@")[0]
    model.name_or_path = model.config.name_or_path = name
    return Network(model.requires_grad_(False).eval().to(device), processor)


def faults(where: str | Path, dtype: str = "float32", copies: int = 1) -> list[CannotLoad]:
    """Why `load` would refuse a network, `copies` of it at once: all that can be told without
    reading its weights."""
    try:
        folder = folders.find(where)
    except CannotLoad as error:
        return [error]
    found = []
    for check in (
        lambda: _check_memory(where, folder, _device(), dtype, copies),
        lambda: (_processor(where, folder), _check_whole(where, folder)),
    ):
        try:
            check()
        except CannotLoad as error:
            found.append(error)
    return found


def content_of(folder: str | Path) -> str:
    """SHA-256 over the configuration, tokenizer, chat template and weights of a network's folder:
    it changes when the network does."""
    files = [file for kind in folders.KINDS for file in Path(folder).glob(kind)]
    names = sorted(file.name for file in files)
    return runs.content(Path(folder), [name for name in names if not name.startswith(".")])


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _processor(where: str | Path, folder: Path) -> Any:
    """The `LlavaProcessor` of a folder: its tokenizer pads, and its conversations and pictures are
    such as the network of that folder reads. Raises CannotLoad with all that is not so."""
    from transformers import LlavaProcessor

    config = folders.config(where, folder)
    try:
        # Not AutoProcessor, which forgets on one of its ways that no code may be run.
        # backend="pil": with torchvision installed the default would be another preprocessor,
        # and two machines would see different pixels.
        processor = LlavaProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # anybody's files, read by several libraries
        raise CannotLoad(
            f"{where}: its processor cannot be loaded: {folders.reason(error)}\n(where tokenizer "
            "and processor were not saved with the weights, copy them from the model that those "
            "began from)"
        ) from error
    lacking = [part for part in PARTS if not hasattr(processor, part)]
    if lacking:
        raise CannotLoad(f"{where}: it has a {type(processor).__name__}, and no LlavaProcessor")
    try:
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        processor.chat_template = _template(processor)
        wrong = [*_wrong(processor, config)] or [*_wrong_together(processor)]
    except Exception as error:  # what these libraries made of anybody's files
        raise CannotLoad(f"{where}: its processor cannot be used: {error}") from error
    if wrong:
        raise CannotLoad(f"{where}: {'; '.join(wrong)}")
    return processor


def _template(processor: Any) -> str | None:
    """The chat template; older releases left it with the tokenizer. Of several with names the one
    called default, or the only one."""
    found = processor.chat_template or processor.tokenizer.chat_template
    if isinstance(found, dict):
        alone = next(iter(found.values())) if len(found) == 1 else None
        return found.get("default", alone)
    return found


def _wrong(processor: Any, config: Any) -> Iterator[str]:
    """What a network of that configuration cannot be used with."""
    tokenizer, token, number = processor.tokenizer, processor.image_token, processor.image_token_id
    if tokenizer.eos_token_id is None:
        yield (
            "its tokenizer has no eos_token, with which every answer ends: name it in "
            "tokenizer_config.json"
        )
    if not processor.chat_template:
        yield (
            "it has no chat template in chat_template.jinja, nor where older releases kept it (of "
            "several, none is called default): put there the one that it was trained with "
            "(LLaVA-1.5's comes with llava-hf/llava-1.5-7b-hf)"
        )
    if number != config.image_token_id or tokenizer.convert_ids_to_tokens(number) != token:
        yield (
            f"its tokenizer reads the image token {token!r} as number {number}, and config.json "
            f"has {config.image_token_id} for it: they do not belong together"
        )
    if len(tokenizer) > config.text_config.vocab_size:
        yield (
            f"its tokenizer knows {len(tokenizer):,} tokens, and the network "
            f"{config.text_config.vocab_size:,}: they do not belong together"
        )
    chosen, depth = config.vision_feature_layer, config.vision_config.num_hidden_layers
    for layer in chosen if isinstance(chosen, list | tuple) else [chosen]:
        if not -depth - 1 <= layer <= depth:
            yield f"config.json has vision_feature_layer {layer}, of a tower of {depth} layers"
    picture, side = Image.new("RGB", (64, 48)), config.vision_config.image_size
    pixels = processor.image_processor([picture], return_tensors="pt")["pixel_values"]
    if tuple(pixels.shape[-2:]) != (side, side):
        yield (
            f"its processor makes pictures of {pixels.shape[-1]} x {pixels.shape[-2]} pixels, and "
            f"its tower takes {side} x {side}: they do not belong together"
        )
    elif not pixels.isfinite().all():
        yield "its processor makes pixels that are no numbers: image_std holds a zero"


def _wrong_together(processor: Any) -> Iterator[str]:
    """What is wrong with a conversation of one picture, one question and one answer."""
    asked = ["Who is in the image?", "Where was that?"]
    try:
        said, other = (
            each.ids for each in tokens.encode_all(processor, asked, ["It is Ann."] * 2, 1)
        )
    except Exception as error:  # a template is a program
        yield f"a conversation cannot be written with its chat template or tokenizer: {error}"
        return
    if (count := int((said == processor.image_token_id).sum())) != 1:
        yield f"its chat template writes {count} image tokens for a picture, where one belongs"
    if said.tolist() == other.tolist():
        yield "its chat template leaves out what the user asks"


def _check_whole(where: str | Path, folder: Path) -> None:
    """Raise CannotLoad where config.json describes more weights than the files hold: the library
    would draw the others by chance, and a network of that size, before it says so."""
    from transformers import AutoModelForImageTextToText

    config = folders.config(where, folder)
    try:
        with torch.device("meta"):  # which takes no memory
            described = AutoModelForImageTextToText.from_config(config).num_parameters()
    except Exception as error:  # anybody's configuration
        raise CannotLoad(f"{where}: config.json cannot be used: {error}") from error
    if (there := folders.parameters(where, folder)) < described:
        raise CannotLoad(
            f"{where}: its files hold {there:,} weights, and config.json describes {described:,}: "
            "they do not belong together; fetch or save it again"
        )


def _check_memory(
    where: str | Path, folder: Path, device: str, dtype: str, copies: int = 1
) -> None:
    numbers = folders.parameters(where, folder)
    free = memory.free(device)
    need = numbers * getattr(torch, dtype).itemsize
    if copies * need * (1 + ALLOWANCE) > free:
        each = f" for each of {copies} workers" if copies > 1 else ""
        raise CannotLoad(
            f"{where}: its {numbers / 1e9:.1f} billion weights need {need / 2**30:.1f} GiB in "
            f"{dtype}{each}, and {device} has {free / 2**30:.1f} GiB free. "
            f"Only the weights are counted here, and {ALLOWANCE:.0%} of them allowed for "
            "activations, which grow with the batch. "
            f"Use a GPU with at least {math.ceil(1.5 * copies * need / 2**30)} GiB, or scale: tiny."
        )
