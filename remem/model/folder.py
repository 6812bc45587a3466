"""The folder of a network: found, and looked at before anything in it is loaded."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from remem import paths, runs

WEIGHTS = ".safetensors"

KINDS = ("*.json", "*.jinja", "*.model", f"*{WEIGHTS}")  # the files that a network is made of


HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(@\w[\w./-]*)?")  # and of which revision

# The numbers of a configuration that are reckoned with before its weights are read, and the most
# that each may be: a network is built, and memory taken, as they say. Of a tower's, those that it
# has: some towers take pictures of any size, and some name both sides.
SIZES = {
    "text_config": {
        "vocab_size": 2**24,
        "hidden_size": 2**17,
        "intermediate_size": 2**20,
        "num_hidden_layers": 1000,
        "num_attention_heads": 2**14,
        "num_key_value_heads": 2**14,
    },
    "vision_config": {"image_size": 2**13, "patch_size": 2**13},
}


class CannotLoad(ValueError):
    """The weights, or the memory to hold them, are not there; the message says which and how."""


def find(where: str | Path) -> Path:
    """The local folder of a network: `where` itself, or that of a Hub id, or of its revision ("id",
    "id@commit"), which is not downloaded unless HF_HUB_OFFLINE=0. Raises CannotLoad where it is not
    there, is of no kind that is read here, is not whole, or lacks files of its weights."""
    if os.path.isdir(where):
        folder = Path(where)
    elif not HUB_ID.fullmatch(str(where)):
        raise CannotLoad(f"{where}: there is no such folder, and the Hub has no such names")
    else:
        from huggingface_hub import snapshot_download

        offline = os.environ.get("HF_HUB_OFFLINE", "1") != "0"
        kinds, (name, _, commit) = [*KINDS, "*.txt"], str(where).partition("@")
        try:
            found = snapshot_download(
                name, revision=commit or None, allow_patterns=kinds, local_files_only=offline
            )
        except (OSError, ValueError) as error:
            raise CannotLoad(
                f"{where}: its weights are not on this machine. Set HF_HUB_OFFLINE=0 to have them "
                "downloaded (a 7B needs about 16 GiB of disk and a GPU with at least 24 GiB, a 13B "
                "twice that, a smaller one less), or use scale: tiny, which needs neither."
            ) from error
        folder = Path(found)
    adapter = (folder / "adapter_config.json").is_file()
    if not (folder / "config.json").is_file():
        hint = ": it is an adapter; merge it into its base, and save that" if adapter else ""
        raise CannotLoad(f"{where}: no config.json in {folder}; it is not a saved model{hint}")
    if adapter:  # transformers would load the base that it names instead, wherever that lies
        raise CannotLoad(
            f"{where}: an adapter_config.json lies beside the config.json in {folder}; merge the "
            "adapter into its base and save that, or take the adapter's files out"
        )
    _check_kind(where, folder)
    files = _weights(where, folder)
    if missing := [file.name for file in files if not file.is_file()]:
        raise CannotLoad(
            f"{where}: {len(missing)} of {len(files)} files of weights are missing in {folder}, "
            f"the first is {missing[0]}; fetch or save it again"
        )
    if not files:
        raise CannotLoad(
            f"{where}: no model{WEIGHTS} in {folder}; it is not a saved model{_instead(folder)}"
        )
    return folder


def commit(where: str) -> str | None:
    """The revision of a Hub id that is on this machine and would be loaded; None where there is
    none, or nothing says which."""
    try:
        folder = find(where)
    except CannotLoad:  # whoever loads it is told why
        return None
    known = folder.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", folder.name)
    return folder.name if known else None


def config(where: str | Path, folder: Path) -> Any:
    """The configuration of a folder, such as a `LlavaConfig`. No code of the folder's is run.
    Raises CannotLoad."""
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # what a library makes of anybody's values is anything
        raise CannotLoad(f"{where}: config.json cannot be used: {reason(error)}") from error
    for part, most in SIZES.items():
        for name, bound in most.items():
            size = getattr(getattr(found, part, None), name, None)
            if part == "vision_config" and hasattr(found, part) and size is None:
                continue
            sides = size if isinstance(size, list | tuple) and size else [size]
            if not all(isinstance(side, int) and 0 < side <= bound for side in sides):
                raise CannotLoad(
                    f"{where}: config.json: {part}.{name} is {size!r:.60}, and should be a whole "
                    f"number from 1 to {bound:,}"
                )
    return found


def reason(error: Exception) -> str:
    """Why a folder cannot be loaded, without the advice to run what lies in it."""
    if "trust_remote_code" in str(error):
        return (
            "it brings code of its own (auto_map), which is never run here; save it again with "
            "the classes of transformers"
        )
    return str(error)


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
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    known = read(where, folder / "config.json")
    kind, classes = known.get("model_type"), known.get("architectures")
    wanted = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(kind) if isinstance(kind, str) else None
    if wanted is None or wanted not in (classes or [wanted]):
        raise CannotLoad(
            f"{where}: config.json says model_type {kind!r}, architectures {classes}. What is read "
            "here are vision-language models that transformers loads with "
            "AutoModelForImageTextToText, in the Hub's format, as llava-hf/llava-1.5-7b-hf has it"
        )
    if known.get("quantization_config"):
        raise CannotLoad(
            f"{where}: config.json has a quantization_config, and adapters are trained here on "
            "whole weights: name the model that it was made from (dtype: nf4 holds that in 4 bits)"
        )


def _instead(folder: Path) -> str:
    """What there is in place of weights, and the way out."""
    if others := sorted(file.name for file in folder.glob(f"*{WEIGHTS}")):
        return (
            f": {others[0]} would be read by a model{WEIGHTS}.index.json, which is not there; "
            f"fetch that too, or call a file that holds all weights model{WEIGHTS}"
        )
    if others := sorted(file.name for file in folder.glob("*.bin")):
        return (
            f": {others[0]} could run code when it is read; load it where you trust it, and save "
            "it again with save_pretrained"
        )
    return ""


def _weights(where: str | Path, folder: Path) -> list[Path]:
    """The files that the weights are loaded from, there or not; none without model.safetensors, or
    an index of several."""
    whole, index = folder / f"model{WEIGHTS}", folder / f"model{WEIGHTS}.index.json"
    if whole.exists() or not index.is_file():
        return [whole] if whole.exists() else []
    names = read(where, index).get("weight_map")
    if not isinstance(names, dict):
        raise CannotLoad(f"{where}: {index} should hold a weight_map")
    files = sorted(set(map(str, names.values())))
    if outside := [name for name in files if not paths.is_plain_name(name)]:
        raise CannotLoad(f"{where}: {index} names {outside[0]!r:.90}, which is no file of {folder}")
    return [folder / name for name in files]


def read(where: str | Path, file: Path) -> dict[str, Any]:
    """A JSON file of a network's folder. Raises CannotLoad where it holds no keys and values."""
    try:
        found = runs.read_json(file)
    except (OSError, ValueError) as error:
        raise CannotLoad(f"{where}: {error}") from error
    if not isinstance(found, dict):
        raise CannotLoad(f"{where}: {file} should hold keys and values")
    return found
