"""Loading a network: from a folder or from the Hub's cache, checked before memory is spent."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import torch

from remem import runs
from remem.model import folder as folders
from remem.model import memory, precision, processors, trial
from remem.model.folder import CannotLoad
from remem.model.network import Network

ALLOWANCE = 0.1  # memory that activations need at the least, as a share of the weights'

# PEFT asks transformers by a name that transformers 6 drops; nothing here depends on it.
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


def load(where: str | Path, device: str | None = None, dtype: str = "float32") -> Network:
    """The network of `folders.find`: eval mode, every weight frozen, padding left; a tokenizer
    without a padding token pads with end-of-sequence.

    Nothing is downloaded unless HF_HUB_OFFLINE=0. Raises CannotLoad when the weights are missing,
    incomplete, or with an allowance for activations larger than the free memory of the device;
    when tokenizer, chat template or pictures do not go with the network; and when it is of a kind
    that cannot be trained or asked here. `dtype` is one of precision.BYTES.
    """
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar of its own per load, in the midst of those of the runs
    device = device or _device()
    folder = folders.find(where)
    _check_memory(where, folder, device, dtype)
    processor = processors.load(where, folder)
    outline = _outline(where, folder)
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder,
            **precision.settings(where, outline, dtype, device),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # anybody's files, read by several libraries
        reason = folders.reason(error)
        raise CannotLoad(f"{where}: cannot be loaded: {reason}") from error
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
    model = model.requires_grad_(False).eval()
    network = Network(model if dtype == precision.NF4 else model.to(device), processor)
    trial.run(where, network)
    return network


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
        lambda: processors.load(where, folder),
        lambda: _outline(where, folder),
        lambda: precision.check(where, dtype),
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


def _outline(where: str | Path, folder: Path) -> Any:
    """The network without weights. Raises CannotLoad where config.json describes more weights than
    the files hold: the library would draw the others by chance, and a network of that size, before
    it says so."""
    empty = trial.outline(where, folder)
    there, described = folders.parameters(where, folder), empty.num_parameters()
    if there < described:
        raise CannotLoad(
            f"{where}: its files hold {there:,} weights, and config.json describes {described:,}: "
            "they do not belong together; fetch or save it again"
        )
    return empty


def _check_memory(
    where: str | Path, folder: Path, device: str, dtype: str, copies: int = 1
) -> None:
    numbers = folders.parameters(where, folder)
    free = memory.free(device)
    need = numbers * precision.BYTES[dtype]
    if copies * need * (1 + ALLOWANCE) > free:
        each = f" for each of {copies} workers" if copies > 1 else ""
        raise CannotLoad(
            f"{where}: its {numbers / 1e9:.1f} billion weights need {need / 2**30:.1f} GiB in "
            f"{dtype}{each}, and {device} has {free / 2**30:.1f} GiB free. "
            f"Only the weights are counted here, and {ALLOWANCE:.0%} of them allowed for "
            "activations, which grow with the batch. "
            f"Use a GPU with at least {math.ceil(1.5 * copies * need / 2**30)} GiB, or scale: tiny."
        )
