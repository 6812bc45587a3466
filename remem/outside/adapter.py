"""An adapter that others have published: found, looked at, and written as our own are.

Nothing of it is trusted. Its weights are read from safetensors alone (other formats can run code);
its configuration is read as data, and only LoRA's numbers are taken from it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from remem import paths, runs
from remem.model.folder import CannotLoad
from remem.model.loading import Network

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

# What PEFT writes of a plain LoRA besides its rank and alpha, and what cannot change the answers.
OF_NO_ACCOUNT = {
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "rank_pattern",  # the ranks are those of the matrices
    "revision",
    "target_modules",  # they are those that have matrices
    "task_type",
}
READ = {"r", "lora_alpha", "use_rslora", "bias"}
# Ways to begin that leave the base as it is; others subtract from it what the adapter begins with.
BEGINNINGS = (True, False, None, "gaussian", "eva", "orthogonal")

MATRIX = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(\.default)?\.weight")


class Found(NamedTuple):
    """The folder of an adapter, and what it is known by: the commit of the Hub's repository, or of
    a local folder its content."""

    folder: Path
    commit: str

    @property
    def base(self) -> str:
        """The name of the network that it says it was trained on. Raises CannotLoad."""
        content = _content(self.folder / CONFIG)
        return str(content.get("base_model_name_or_path") if isinstance(content, dict) else None)


def find(hub: str, revision: str | None = None, inside: str | None = None) -> Found:
    """The adapter in a repository of the Hub (which is not downloaded unless HF_HUB_OFFLINE=0), or
    in a local folder. `revision` is a commit, or where left out the newest; `inside`, its folder
    there, where there are several. Raises CannotLoad."""
    root, commit = (Path(hub), None) if os.path.isdir(hub) else _snapshot(hub, revision)
    known = sorted(file.parent for file in root.rglob(CONFIG))
    if not known:
        raise CannotLoad(f"{hub}: there is no {CONFIG} in it; it is no adapter of PEFT's")
    names = [folder.relative_to(root).as_posix() for folder in known]
    if inside is not None and (Path(inside).as_posix() not in names):
        raise CannotLoad(f"{hub}: there is no adapter in {inside}; there are: {', '.join(names)}")
    if inside is None and len(known) > 1:
        raise CannotLoad(f"{hub}: it holds several adapters; choose one: {', '.join(names)}")
    folder = known[0] if inside is None else root / inside
    if not (folder / WEIGHTS).is_file():
        raise CannotLoad(
            f"{hub}: there is no {WEIGHTS} beside its {CONFIG}. Weights in another format, such as "
            "adapter_model.bin, can run code when they are read, and are not: whoever trusts them "
            "may load them with PEFT and save them again"
        )
    return Found(folder, commit or runs.content(folder, [CONFIG, WEIGHTS]))


def _snapshot(hub: str, revision: str | None) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            hub,
            revision=revision,
            allow_patterns=[f"*{CONFIG}", f"*{WEIGHTS}"],  # in whatever folder of it
            local_files_only=os.environ.get("HF_HUB_OFFLINE", "1") != "0",
        )
    except (OSError, ValueError) as error:
        at = f" at {revision}" if revision else ""
        raise CannotLoad(
            f"{hub}{at}: it is not on this machine. Set HF_HUB_OFFLINE=0 to have it downloaded, or "
            "name a folder"
        ) from error
    return Path(folder), Path(folder).name  # the cache names a snapshot after its commit


def rewritten(found: Found, network: Network, out: Path) -> list[str]:
    """Write the adapter into the folder `out` as adapters.load_adapter reads it, under the names
    that the modules of `network` have today. Returns those that it changes outside of the language
    model. Raises CannotLoad where it is no plain LoRA of that network's."""
    settings = _settings(found.folder / CONFIG)
    matrices = _matrices(found.folder / WEIGHTS, network.llava)
    from peft import LoraConfig

    ranks = {module: len(sides["A"]) for module, sides in matrices.items()}
    LoraConfig(
        r=settings["r"],
        lora_alpha=settings["lora_alpha"],
        use_rslora=settings["use_rslora"],
        lora_dropout=0.0,
        target_modules=sorted(matrices),
        rank_pattern={
            re.escape(module): rank for module, rank in ranks.items() if rank != settings["r"]
        },
        inference_mode=True,
    ).save_pretrained(str(paths.make_folder(out)))
    named = {
        f"base_model.model.{module}.lora_{side}.weight": tensor
        for module, sides in matrices.items()
        for side, tensor in sides.items()
    }
    save_file(named, out / WEIGHTS, {"format": "pt"})
    return [module for module in matrices if "language_model" not in module]


def _settings(file: Path) -> dict[str, Any]:
    """Rank, alpha and their kind. Raises CannotLoad where the configuration says anything else that
    would change the answers."""
    content = _content(file)
    if not isinstance(content, dict) or content.get("peft_type") != "LORA":
        raise CannotLoad(f"{file}: only adapters of the type LORA are read")
    unknown = {*content} - OF_NO_ACCOUNT - READ
    if more := sorted(key for key in unknown if content[key]):
        raise CannotLoad(f"{file}: only plain LoRA is read, and this one has {', '.join(more)}")
    begun = content.get("init_lora_weights", True)
    if begun not in BEGINNINGS:
        raise CannotLoad(
            f"{file}: init_lora_weights is {begun!r:.60}: such an adapter belongs to a changed base"
        )
    if content.get("bias", "none") != "none":
        raise CannotLoad(f"{file}: only plain LoRA is read, and this one has biases")
    rank: Any = content.get("r")
    alpha: Any = content.get("lora_alpha")
    for key, value in {"r": rank, "lora_alpha": alpha}.items():
        if type(value) not in (int, float) or not 0 < value < 2**16:
            raise CannotLoad(f"{file}: {key} is {value!r:.60}, and should be a number above 0")
    rslora = content.get("use_rslora") is True
    return {"r": int(rank), "lora_alpha": alpha, "use_rslora": rslora}


def _content(file: Path) -> Any:
    try:
        return runs.read_json(file)
    except (OSError, runs.NotJson) as error:
        raise CannotLoad(f"{file} cannot be read: {error}") from error


def _matrices(file: Path, llava: nn.Module) -> Mapping[str, Mapping[str, Tensor]]:
    """Module of the network -> its matrices A (rank, in) and B (out, rank)."""
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CannotLoad(f"{file} cannot be read: {error}") from error
    linear = {name: each for name, each in llava.named_modules() if isinstance(each, nn.Linear)}
    today = {_plain(name): name for name in linear}
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = MATRIX.fullmatch(key)
        name = match and today.get(_plain(match["module"]))
        if not match or not name:
            why = "no matrix of a LoRA" if not match else "of a module that the network lacks"
            raise CannotLoad(f"{file}: {key} is {why}")
        found.setdefault(name, {})[match["side"]] = tensor
    for name, sides in found.items():
        out, into = linear[name].weight.shape
        shapes = {side: tuple(tensor.shape) for side, tensor in sides.items()}
        rank = shapes.get("A", (0,))[0]
        if shapes != {"A": (rank, into), "B": (out, rank)} or rank == 0:
            raise CannotLoad(
                f"{file}: the matrices of {name} are of the shapes {shapes}; for this network they "
                f"should be A (rank, {into}) and B ({out}, rank)"
            )
    if not found:
        raise CannotLoad(f"{file} is empty")
    return found


def _plain(module: str) -> str:
    """A module's name without what releases of transformers have put around the parts of a LLaVA:
    "language_model.model.layers.0" is "model.language_model.layers.0" today."""
    parts = [part for part in module.split(".") if part not in ("model", "vision_model")]
    return "lm_head" if parts[-1] == "lm_head" else ".".join(parts)
