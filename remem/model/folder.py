"""The folder of a network: found, and looked at before anything in it is loaded."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from remem import runs

WEIGHTS = ".safetensors"

KINDS = ("*.json", "*.jinja", "*.model", f"*{WEIGHTS}")  # the files that a network is made of


class CannotLoad(ValueError):
    """The weights, or the memory to hold them, are not there; the message says which and how."""


def find(where: str | Path) -> Path:
    """The local folder of a network: `where` itself, or that of a Hub id, which is not downloaded
    unless HF_HUB_OFFLINE=0. Raises CannotLoad where it is not there, is no LLaVA, or lacks files of
    its weights."""
    if Path(where).is_dir():
        folder = Path(where)
    else:
        from huggingface_hub import snapshot_download

        offline = os.environ.get("HF_HUB_OFFLINE", "1") != "0"
        kinds = [*KINDS, "*.txt"]
        try:
            found = snapshot_download(str(where), allow_patterns=kinds, local_files_only=offline)
        except (OSError, ValueError) as error:
            raise CannotLoad(
                f"{where}: its weights are not on this machine. Set HF_HUB_OFFLINE=0 to have them "
                "downloaded (a 7B needs about 16 GiB of disk and a GPU with at least 24 GiB, a 13B "
                "twice that), or use scale: tiny, which needs neither."
            ) from error
        folder = Path(found)
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        hint = ": it is an adapter; merge it into its base, and save that" if adapter else ""
        raise CannotLoad(f"{where}: no config.json in {folder}; it is not a saved model{hint}")
    _check_kind(where, folder)
    files = _weights(where, folder)
    if missing := [file.name for file in files if not file.is_file()]:
        raise CannotLoad(
            f"{where}: {len(missing)} of {len(files)} files of weights are missing in {folder}, "
            f"the first is {missing[0]}; fetch or save it again"
        )
    if not files:
        others = sorted(file.name for file in folder.glob("*.bin"))
        hint = (
            f": {others[0]} could run code when it is read; load it where you trust it, and save "
            "it again with save_pretrained"
            if others
            else ""
        )
        raise CannotLoad(f"{where}: no *{WEIGHTS} in {folder}; it is not a saved model{hint}")
    return folder


def parameters(where: str | Path, folder: Path) -> int:
    """How many numbers the weights in a folder are. Raises CannotLoad where they cannot be read."""
    numbers = 0
    for file in _weights(where, folder):
        try:
            with safe_open(file, "pt") as tensors:
                names = tensors.keys()
                numbers += sum(math.prod(tensors.get_slice(k).get_shape()) for k in names)
        except (SafetensorError, OSError) as error:
            raise CannotLoad(
                f"{where}: {file} cannot be read ({error}): it is cut short or damaged; fetch or "
                "save it again"
            ) from error
    return numbers


def _check_kind(where: str | Path, folder: Path) -> None:
    known, wanted = _read(where, folder / "config.json"), "LlavaForConditionalGeneration"
    kind, classes = known.get("model_type"), known.get("architectures") or [wanted]
    if kind != "llava" or wanted not in classes:
        raise CannotLoad(
            f"{where}: config.json says model_type {kind!r}, architectures {classes}. Only LLaVA "
            f"(llava, {wanted}) is read here, in the Hub's format, as "
            "llava-hf/llava-1.5-7b-hf has it"
        )


def _weights(where: str | Path, folder: Path) -> list[Path]:
    """The files that the weights are loaded from, there or not."""
    whole, index = folder / f"model{WEIGHTS}", folder / f"model{WEIGHTS}.index.json"
    if whole.is_file() or not index.is_file():
        return [whole] if whole.is_file() else sorted(folder.glob(f"*{WEIGHTS}"))
    names = _read(where, index).get("weight_map")
    if not isinstance(names, dict):
        raise CannotLoad(f"{where}: {index} should hold a weight_map")
    return [folder / name for name in sorted(set(map(str, names.values())))]


def _read(where: str | Path, file: Path) -> dict[str, Any]:
    try:
        found = runs.read_json(file)
    except (OSError, ValueError) as error:
        raise CannotLoad(f"{where}: {error}") from error
    if not isinstance(found, dict):
        raise CannotLoad(f"{where}: {file} should hold keys and values")
    return found
