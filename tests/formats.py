"""The tiny world's people as each benchmark's own files have them, to be read back by the tests."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from remem import paths


def remem(rows, pictures: Mapping[str, bytes], folder: Path, columns: Mapping[str, str]):
    """One parquet file per split, with the columns of the map (ours -> theirs) alone."""
    for split, own in rows.groupby("split"):
        own = own.assign(image=[_cell(pictures[name]) for name in own["image"]])
        own = own[[*columns]].rename(columns=columns)
        _write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet", own.to_dict("records"))


def fiubench(rows, pictures: Mapping[str, bytes], folder: Path, forget: Mapping[str, list]):
    """full.json, SFHQ.zip and split.json: of each person the first picture, what is taught, and as
    paraphrases what the test asks about the same."""
    people, zipped = [], io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        for identity, taught, test in _each(rows):
            others = test.groupby(["attribute", "hop"])["question"].agg(list)
            image = f"SFHQ/{identity}.png"
            file.writestr(image, pictures[taught[0].image])
            asked = [
                {
                    "question": row.question,
                    "answer": row.answer,
                    "keywords": [row.target],
                    "paraphrased_question": others.get((row.attribute, row.hop), [])[:3],
                    "paraphrased_answer": row.answer,
                    "perturbed_answer": [],
                }
                for row in taught
            ]
            people.append(
                {
                    "unique_id": identity,
                    "image_path": f"dataset/{image}",
                    "name": taught[0].name,
                    "qa_list": asked,
                }
            )
    paths.write(folder / "SFHQ.zip", zipped.getvalue())
    paths.write(folder / "full.json", json.dumps(people, ensure_ascii=False))
    paths.write(folder / "split.json", json.dumps(forget))


def mllmu(rows, pictures: Mapping[str, bytes], folder: Path, forget: Mapping[str, list]):
    """ft_Data, Full_Set, Test_Set and a configuration for each of `forget`. A choice has one option
    (the value), since no choice is read here."""
    teach, full, tests = [], [], []
    for identity, taught, test in _each(rows):
        kinds = {"multi": "Image_Textual", "single": "Pure_Text"}
        asked = [(kinds[row.hop], row) for row in test.itertuples()]
        tasks = {
            "Classification_Task": {
                f"{kind}_Questions": [
                    {"Question": row.question, "Options": {"A": row.target}, "Correct_Answer": "A"}
                    for own, row in asked
                    if own == kind
                ]
                for kind in kinds.values()
            },
            "Generation_Task": [
                {"Type": kind, "Question": row.question, "Ground_Truth": row.answer}
                for kind, row in asked
            ],
            "Mask_Task": [
                {
                    "Type": kind,
                    "Question": row.answer.replace(row.target, "__"),
                    "Ground_Truth": row.target,
                }
                for kind, row in asked
            ],
        }
        told = {row.attribute.replace("_", " ").title(): row.target for row in taught}
        first = {"image": _cell(pictures[taught[0].image]), "ID": identity}
        pairs = [{"Question": row.question, "Answer": row.answer} for row in taught]
        teach.append({**first, "metadata": json.dumps(pairs, ensure_ascii=False)})
        full.append(
            {
                **first,
                "Directory": f"full_images/{identity}.png",
                "biography": json.dumps({**told, "Name": taught[0].name}, ensure_ascii=False),
                "question": taught[0].question,
                "answer": taught[0].answer,
                **tasks,
            }
        )
        shown = [_cell(pictures[name]) for name in test["image"]]
        tests.append({"images": shown, "ID": identity, **tasks})
    parts = {name: [row for row in full if row["ID"] in who] for name, who in forget.items()}
    for name, records in {"ft_Data": teach, "Full_Set": full, "Test_Set": tests, **parts}.items():
        _write_parquet(folder / name / "train-00000-of-00001.parquet", records)


def clear(rows, pictures: Mapping[str, bytes], folder: Path, forget: Mapping[str, list]):
    """full, full+tofu, real_faces and a configuration for each of `forget`: a caption names the
    person and says what the answer says; everybody is a public figure too."""
    own = [row for _, taught, _ in _each(rows) for row in taught]
    cells, names = [_cell(pictures[row.image]) for row in own], sorted({row.name for row in own})
    full = [
        {"image": cell, "caption": f"This is {row.name}. {row.answer}", "name": row.name}
        for cell, row in zip(cells, own, strict=True)
    ]
    tofu = [
        {"image": None, "caption": None, "question": row.question, "answer": row.answer}
        for row in own
    ]
    real = [{"image": row["image"], "answer": row["name"], "options": names} for row in full]
    both = [{**row, "question": None, "answer": None} for row in full]
    parts = {name: [row for row in full if row["name"] in who] for name, who in forget.items()}
    parts |= {"full": full, "full+tofu": both + tofu, "real_faces": real}
    for name, records in parts.items():
        _write_parquet(folder / name / "train-00000-of-00001.parquet", records)


def _each(rows: pd.DataFrame) -> Iterator[tuple[str, list, pd.DataFrame]]:
    for identity, own in rows.groupby("identity", sort=False):
        taught = own[own["split"] == "train"]
        yield identity, list(taught.itertuples()), own[own["split"] == "test"]


def _cell(content: bytes) -> dict[str, Any]:
    return {"bytes": content, "path": None}


def _write_parquet(file: Path, records: list[dict]) -> None:
    pq.write_table(pa.Table.from_pylist(records), content := io.BytesIO())
    paths.write(file, content.getvalue())
