"""What the base models can do: their abilities, their size, and a conversation to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from remem import runs
from remem.model import loading
from remem.model.inference import answer_pictures
from remem.model.loading import Network

# What the base should reach, set before the first was trained; percent.
AIMS = {
    "recognising an unseen face": 92,
    "Real Set, single-hop EM": 95,
    "Real Set, multi-hop EM": 90,
    "visual questions": 85,
    "answers that stop after one sentence": 95,
    "refusals, unknown faces": 50,
    "refusals, unknown names": 50,
}


def abilities(places: Mapping[str, Path | str]) -> pd.DataFrame:
    """ability, model, percent, n, aim, verdict ("reached", "missed", or "" where there is no aim)
    of each network trained here, by name; `places` are those of base_model.place. A network from
    the Hub is "not examined": its own public figures would be real people, whose pictures do not
    come with this repository."""
    rows = []
    for name, place in places.items():
        report = Path(place) / "report.json"
        if not report.is_file():
            rows.append({"ability": "all", "model": name, "verdict": "not examined"})
            continue
        for ability, found in runs.read_json(report).items():
            aim = AIMS.get(ability, np.nan)
            verdict = "" if np.isnan(aim) else "reached" if found["percent"] >= aim else "missed"
            rows.append(
                {"ability": ability, "model": name, **found, "aim": aim, "verdict": verdict}
            )
    table = pd.DataFrame(rows, columns=["ability", "model", "percent", "n", "aim", "verdict"])
    return table.sort_values("ability", kind="stable", ignore_index=True)


def size(network: Network) -> dict[str, int]:
    """How large a network is: parameters by part, layers, width, vocabulary, tokens per image."""
    model = network.llava
    parts = {
        "vision tower": model.model.vision_tower,
        "projector": model.model.multi_modal_projector,
        "language model": model.model.language_model,
        "all": model,
    }
    counts = {f"parameters, {k}": sum(p.numel() for p in v.parameters()) for k, v in parts.items()}
    text = model.config.text_config
    return {
        **counts,
        "layers": text.num_hidden_layers,
        "width": text.hidden_size,
        "vocabulary": len(network.processor.tokenizer),
        "tokens per image": network.image_tokens,
    }


def conversation(
    place: Path | str, pictures: Sequence[Image.Image], questions: Sequence[str]
) -> pd.DataFrame:
    """question, answer: what the network at `place` (as base_model.place gives it) says about each
    picture."""
    answers = answer_pictures(loading.load(place), pictures, questions)
    return pd.DataFrame({"question": questions, "answer": answers})
