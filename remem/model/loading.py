"""Loading a network: from a folder or from the Hub's cache, checked before memory is spent."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open

from remem import runs

ALLOWANCE = 0.1  # memory that activations need at the least, as a share of the weights'

# PEFT asks transformers by a name that transformers 6 drops; nothing here depends on it.
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


class CannotLoad(ValueError):
    """The weights, or the memory to hold them, are not there; the message says which and how."""


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
    """The network in a folder or behind a Hub id: eval mode, every weight frozen, padding left.

    Nothing is downloaded unless HF_HUB_OFFLINE=0. Raises CannotLoad when the weights are missing,
    incomplete, or with an allowance for activations larger than the free memory of the device.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar of its own per load, in the midst of those of the runs
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    folder = _folder(where)
    _check_memory(where, folder, device, getattr(torch, dtype))
    try:
        # backend="pil": with torchvision installed the default would be another preprocessor,
        # and two machines would see different pixels.
        processor = AutoProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise CannotLoad(f"{where}: cannot be loaded as a LLaVA: {error}") from error
    model, report = loaded
    if report["missing_keys"] or report["mismatched_keys"]:
        missing = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))
        raise CannotLoad(
            f"{where}: {len(missing)} weights are missing or of a wrong shape, "
            f"the first is {missing[0]}"
        )
    processor.tokenizer.padding_side = "left"
    # PEFT writes this name into an adapter's files: a folder's name, not its place on a disk.
    name = folder.name if Path(where).is_dir() else str(where)
    model.name_or_path = model.config.name_or_path = name
    return Network(model.requires_grad_(False).eval().to(device), processor)


def content_of(folder: str | Path) -> str:
    """SHA-256 over the configuration, tokenizer and weights (JSON and safetensors files) of a
    network's folder: it changes when the network does."""
    files = [*Path(folder).glob("*.json"), *Path(folder).glob("*.safetensors")]
    names = sorted(file.name for file in files)
    return runs.content(Path(folder), [name for name in names if not name.startswith(".")])


def _folder(where: str | Path) -> Path:
    """The local folder that holds the weights of `where`."""
    if Path(where).is_dir():
        folder = Path(where)
    else:
        from huggingface_hub import snapshot_download

        offline = os.environ.get("HF_HUB_OFFLINE", "1") != "0"
        kinds = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
        try:
            found = snapshot_download(str(where), allow_patterns=kinds, local_files_only=offline)
        except (OSError, ValueError) as error:
            raise CannotLoad(
                f"{where}: its weights are not on this machine. Set HF_HUB_OFFLINE=0 to have them "
                "downloaded (a 7B needs about 16 GiB of disk and a GPU with at least 24 GiB, a 13B "
                "twice that), or use scale: tiny, which needs neither."
            ) from error
        folder = Path(found)
    for name in ("config.json", "*.safetensors"):
        if not any(folder.glob(name)):
            raise CannotLoad(f"{where}: no {name} in {folder}; it is not a saved model")
    return folder


def _check_memory(where: str | Path, folder: Path, device: str, dtype: torch.dtype) -> None:
    numbers = 0
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, "pt") as tensors:
                names = tensors.keys()
                numbers += sum(math.prod(tensors.get_slice(k).get_shape()) for k in names)
        except (SafetensorError, OSError) as error:
            raise CannotLoad(
                f"{where}: {file} cannot be read ({error}): it is cut short or damaged; fetch or "
                "save it again"
            ) from error
    if torch.device(device).type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        import psutil

        free = psutil.virtual_memory().available
    need = numbers * dtype.itemsize
    if need * (1 + ALLOWANCE) > free:
        raise CannotLoad(
            f"{where}: its {numbers / 1e9:.1f} billion weights need {need / 2**30:.1f} GiB in "
            f"{str(dtype).removeprefix('torch.')}, and {device} has {free / 2**30:.1f} GiB free. "
            f"Only the weights are counted here, and {ALLOWANCE:.0%} of them allowed for "
            "activations, which grow with the batch. "
            f"Use a GPU with at least {math.ceil(1.5 * need / 2**30)} GiB, or scale: tiny."
        )
