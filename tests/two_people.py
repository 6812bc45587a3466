"""A dataset folder of two people with two questions each, to be spoilt by the tests."""

import json

import pytest
from PIL import Image

from remem.data import validation

FILE = "train/metadata.jsonl"


def entry(number: int, where: str, /, **changes) -> dict:
    """Row `number` of a split, about one of two people; `changes` are keys of it."""
    who = number % 2
    name = ("Anika Holt", "Bruno Vidal")[who]
    row = {
        "file_name": f"{where}-{number}.png",
        "id": f"{where}-{number}",
        "identity": f"p{who}",
        "name": name,
        "attribute": "job",
        "hop": "single",
        "split": where,
        "question": f"What is {name}'s job? ({where})",
        "answer": f"{name} is a judge{who}.",
        "target": f"judge{who}",
    }
    return {**row, **changes}


def write(folder, split: str, entries) -> None:
    """Write the rows of a split."""
    (folder / split).mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(each, ensure_ascii=True) + "\n" for each in entries]
    (folder / split / "metadata.jsonl").write_text("".join(lines))


def make(folder) -> None:
    """Write both splits with their pictures."""
    for split in validation.SPLITS:
        write(folder, split, [entry(number, split) for number in range(2)])
        for number in range(2):
            shade = 40 * number + 20
            Image.new("RGB", (16, 16), (shade, 0, 9)).save(folder / split / f"{split}-{number}.png")


def change(folder, **changes) -> None:
    """Change keys of the second training row."""
    write(folder, "train", [entry(0, "train"), entry(1, "train", **changes)])


def reasons(folder) -> list[str]:
    """All faults, each "place: reason"; reading, too, has to refuse them."""
    _, faults = validation.inspect(folder)
    found = [f"{place}: {reason}" for place, why in faults.items() for reason in why]
    if found:
        with pytest.raises(validation.BadData) as refusal:
            validation.read(folder)
        assert str(refusal.value).startswith(f"{folder}/{found[0]}")
    else:
        validation.read(folder)
    return found
