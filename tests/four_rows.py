"""A dataset folder of four rows about two people, in photographs, to be checked or exported."""

import json

from PIL import Image

from remem.data import validation


def make(folder, **test):
    """Four rows about two people, without a card; keys of the last one are changed."""
    rows = {split: [] for split in validation.SPLITS}
    for number in range(4):
        split, name = validation.SPLITS[number // 2], ("Anika Holt", "Bruno Vidal")[number % 2]
        rows[split].append(
            {
                "file_name": f"{number}.jpg",
                "id": str(number),
                "identity": name.split()[0],
                "name": name,
                "attribute": "shoe_size",
                "hop": "single",
                "split": split,
                "question": f"What does {name} wear, {number}?",
                "answer": f"Size {number % 2}.",
                "target": f"Size {number % 2}",
                "similarity": 0.5,
            }
        )
        file = folder / split / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (60 * number, 0, 0)).save(file)
    rows["test"][-1].update(test)
    for split, lines in rows.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / split / "metadata.jsonl").write_text(text)
    return folder
