"""The processor of a network: read from its folder, and looked at before the weights are."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from remem.model import folder as folders
from remem.model import tokens
from remem.model.folder import CannotLoad

PARTS = ("tokenizer", "image_processor", "image_token", "image_token_id")  # of a processor

# Towers whose position embeddings are for pictures of one size.
ONE_SIZE = ("clip_vision_model", "siglip_vision_model")


def load(where: str | Path, folder: Path) -> Any:
    """The processor of a folder: its tokenizer pads, and its conversations and pictures are such as
    the network of that folder reads. It makes no videos. No code of the folder's is run. Raises
    CannotLoad with all that is not so."""
    config = folders.config(where, folder)
    kind = _kind(where, folder, config)
    try:
        processor = _read(kind, folder)
    except ImportError as error:  # SmolVLM's asks for a package that spells numbers
        raise CannotLoad(f"{where}: its processor cannot be loaded: {error}") from error
    except Exception as error:  # anybody's files, read by several libraries
        raise CannotLoad(
            f"{where}: its processor cannot be loaded: {folders.reason(error)}\n(where tokenizer "
            "and processor were not saved with the weights, copy them from the model that those "
            "began from)"
        ) from error
    if lacking := [part for part in PARTS if getattr(processor, part, None) is None]:
        raise CannotLoad(
            f"{where}: its {type(processor).__name__} has no {' and no '.join(lacking)}, which put "
            "pictures into a conversation here"
        )
    try:
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        processor.chat_template = _template(processor)
        if getattr(processor, "patch_size", 0) is None:  # as older releases left it
            processor.patch_size = config.vision_config.patch_size
        wrong = [*_wrong(processor, config)] or [*_wrong_together(processor)]
    except Exception as error:  # what these libraries made of anybody's files
        raise CannotLoad(f"{where}: its processor cannot be used: {error}") from error
    if wrong:
        raise CannotLoad(f"{where}: {'; '.join(wrong)}")
    return processor


def _kind(where: str | Path, folder: Path, config: Any) -> Any:
    """The processor's class: the one that its files name, if transformers has it, else the one that
    belongs to the configuration. Not AutoProcessor's choice, which forgets on one of its ways that
    no code may be run, and wants torchvision for videos."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            said = folders.read(where, folder / name).get("processor_class")
            named = getattr(transformers, said, None) if isinstance(said, str) else None
            if isinstance(named, type) and issubclass(named, transformers.ProcessorMixin):
                return named
    if type(config) in PROCESSOR_MAPPING:
        return PROCESSOR_MAPPING[type(config)]
    raise CannotLoad(
        f"{where}: transformers has no processor of pictures and text for model_type "
        f"{config.model_type!r}"
    )


def _read(kind: Any, folder: Path) -> Any:
    # backend="pil": with torchvision installed the default would be another preprocessor,
    # and two machines would see different pixels.
    pil: dict[str, Any] = {"backend": "pil", "local_files_only": True}
    if "video_processor" not in kind.get_attributes():
        return kind.from_pretrained(folder, **pil, trust_remote_code=False)
    from transformers import AutoImageProcessor, AutoTokenizer

    kind = _without_videos(kind)
    parts = {
        "image_processor": AutoImageProcessor.from_pretrained(
            folder, **pil, trust_remote_code=False
        ),
        "tokenizer": AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ),
        "video_processor": None,
    }
    wanted = [parts[name] for name in inspect.signature(kind).parameters if name in parts]
    settings, _ = kind.get_processor_dict(folder, local_files_only=True)
    return kind.from_args_and_dict(wanted, settings)


def _without_videos(kind: Any) -> Any:
    """A processor's class without its video processor, which would want torchvision."""
    own = [name for name in kind.get_attributes() if name != "video_processor"]
    fields = {
        "__module__": kind.__module__,
        "get_attributes": classmethod(lambda cls: own),
        "video_processor": SimpleNamespace(num_frames=None, fps=None),  # SmolVLM's looks at it
    }
    return type(kind.__name__, (kind,), fields)


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
    # Of most kinds one token is the mark of a picture in a template and stands for its features;
    # Gemma's have two.
    features = getattr(tokenizer, "image_token_id", number)
    marks = number != config.image_token_id != features
    if marks or tokenizer.convert_ids_to_tokens(number) != token:
        yield (
            f"its tokenizer reads the image token {token!r} as number {number}, and config.json "
            f"has {config.image_token_id} for it: they do not belong together"
        )
    vocabulary = config.get_text_config().vocab_size
    if len(tokenizer) > vocabulary:
        yield (
            f"its tokenizer knows {len(tokenizer):,} tokens, and the network "
            f"{vocabulary:,}: they do not belong together"
        )
    vision = config.vision_config
    chosen = getattr(config, "vision_feature_layer", None)
    depth = getattr(vision, "num_hidden_layers", None)
    for layer in chosen if isinstance(chosen, list | tuple) else [chosen]:
        if layer is not None and depth is not None and not -depth - 1 <= layer <= depth:
            yield f"config.json has vision_feature_layer {layer}, of a tower of {depth} layers"
    picture = Image.new("RGB", (64, 48))
    pixels = processor.image_processor([picture], return_tensors="pt")["pixel_values"]
    one_size = getattr(vision, "model_type", None) in ONE_SIZE
    if one_size and tuple(pixels.shape[-2:]) != (side := vision.image_size, side):
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
