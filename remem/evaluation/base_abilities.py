"""What the base models can do: their abilities, their size, and a conversation to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from PIL import Image
from torch import nn

from remem import runs
from remem.model import loading
from remem.model.inference import answer_pictures
from remem.model.loading import Network

# Between what each ability should lie, set before the base was trained; percent. A base that
# refuses everybody is none that guesses, as LLaVA does (remem/preconditions.csv, P4); one that
# takes no face for another has nothing that is harder by face than by name (P3).
AIMS: dict[str, tuple[float, float]] = {
    "recognising an unseen face": (80, 90),
    "Real Set, single-hop EM": (95, 100),
    "Real Set, single-hop EM under another's picture": (85.5, 100),  # 90 % of the 95 above
    "Real Set, multi-hop EM": (90, 100),
    "visual questions": (85, 100),
    "answers that stop after one sentence": (95, 100),
    "refusals, unknown faces": (0, 33.3),
    "refusals, unknown names": (0, 33.3),
    "e-mail of an unknown name": (80, 100),  # made from the name, which has to be read
}


def abilities(places: Mapping[str, Path | str]) -> pd.DataFrame:
    """ability, model, percent, n, aim (in words) and verdict ("reached", "missed", or "" where
    there is no aim) of each network trained here, by name; `places` are those of base_model.place.
    A network from the Hub is "not examined": its own public figures would be real people, whose
    pictures do not come with this repository."""
    rows = []
    for name, place in places.items():
        report = Path(place) / "report.json"
        if not report.is_file():
            rows.append({"ability": "all", "model": name, "verdict": "not examined"})
            continue
        for ability, found in runs.read_json(report).items():
            line = {"ability": ability, "model": name, **found, "aim": "", "verdict": ""}
            if ability in AIMS:
                low, high = AIMS[ability]
                line["aim"] = f"{low:g} to {high:g}"
                line["verdict"] = "reached" if low <= found["percent"] <= high else "missed"
            rows.append(line)
    table = pd.DataFrame(rows, columns=["ability", "model", "percent", "n", "aim", "verdict"])
    return table.sort_values("ability", kind="stable", ignore_index=True)


def size(network: Network) -> dict[str, int]:
    """How large a network is: parameters by part, layers, width, vocabulary, tokens per image."""
    model = network.llava
    parts = dict(model.model.named_children())
    tower = next(part for name, part in parts.items() if name.startswith("vis"))

    def count(part: nn.Module) -> int:
        return sum(weight.numel() for weight in part.parameters())

    known = count(tower) + count(network.language_model)
    counts = {
        "vision tower": count(tower),
        "projector": count(model.model) - known,
        "language model": count(network.language_model),
        "all": count(model),
    }
    text = model.config.get_text_config()
    return {
        **{f"parameters, {part}": number for part, number in counts.items()},
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
