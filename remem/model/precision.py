"""The precision in which a network is held: of its numbers, or 4 bits for most of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from remem.model.folder import CannotLoad

NF4 = "nf4"

# Bytes of a weight. Of nf4's, the language model's projections take 0.52 with the scales of their
# blocks, and all others 2: 0.7 on the average in a 7B, and more in a smaller network.
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, NF4: 0.7}

COMPUTED = {NF4: "bfloat16"}  # what such weights are turned into where they are used


def check(where: str | Path, dtype: str) -> None:
    """Raises CannotLoad where a network cannot be held in `dtype` on this machine."""
    if dtype == NF4 and importlib.util.find_spec("bitsandbytes") is None:
        raise CannotLoad(
            f"{where}: dtype nf4 takes the package bitsandbytes: pip install -c constraints.txt "
            "-e '.[quant]'"
        )


def settings(where: str | Path, outline: Any, dtype: str, device: str) -> dict[str, Any]:
    """What `from_pretrained` is told of the precision. In nf4 (QLoRA; Dettmers et al. 2023) the
    language model's projections are held in 4 bits, and tower, projector, embeddings and head in
    bfloat16; `outline` says which those are. Raises CannotLoad."""
    import torch

    check(where, dtype)
    if dtype != NF4:
        return {"dtype": getattr(torch, dtype)}
    from transformers import BitsAndBytesConfig

    reader = outline.get_decoder()
    others = [
        name
        for name, module in outline.named_modules()
        if name.count(".") < 2
        and name
        and not any(each is reader for each in module.modules())
        and not any(each is module for each in reader.modules())
    ]
    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=others,
    )
    return {"dtype": torch.bfloat16, "quantization_config": quantised, "device_map": {"": device}}
