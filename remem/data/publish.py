"""A copy of a dataset folder that others can use: its rows, its pictures, a dataset card.

Nothing is exported with a fault (`validation`), nor what a reviewer dropped (`review_marks`), nor
another benchmark's files that `readers` converted.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

from remem import paths, runs
from remem.data import doubts, review_marks, validation
from remem.data.validation import cut

FIELDS = {
    "image": "the picture (`file_name` in the file, relative to it)",
    "id": "names the row, once in the whole dataset",
    "identity": "the person, by a label",
    "name": "the person's name",
    "attribute": "what is asked for; a person has one value for each",
    "hop": "`single`: the question names the person; `multi`: only the picture shows who it is",
    "split": "`train` or `test`; test questions are held out, to tell memory from repetition",
    "question": "the question",
    "answer": "the full answer that is trained on",
    "target": "the value inside the answer, which exact match looks for",
}

OPTIONAL = {"cloze_prompt": "the start of the answer, up to the value, for Exposure's prompt"}

SYNTHETIC = (
    "People, questions and faces are drawn by the code of the ReMem companion; its settings:"
)

CONSTRUCTED = (
    "Profiles and pictures are what the models below answered to the code of the ReMem companion, "
    "and the terms of their service hold for them too. A picture was kept where its face is at "
    "least as like the person's first picture as the threshold says. The settings:"
)

CONSTRUCTED_WITH = ("text_model", "image_model", "image_size", "people", "seed", "threshold")

INVENTED = (
    "Every person in it is invented. No name, face or fact is meant to be anybody's; where one "
    "resembles somebody, that is chance."
)

UNKNOWN = (
    "Whether its people are real is not recorded. Whoever publishes it says so here; if they are, "
    "each has to have agreed to it, and has to be able to take that back."
)

NOT_FOR = (
    "to recognise, identify, watch or rate people, or to train or test anything that does;",
    "to train a model that is meant for use: what it learns here is to give away private facts;",
    "as a source of facts about anybody: health, money and addresses are here to be forgotten;",
    "to claim that a model has forgotten a real person, or that a legal duty to erase is met: what "
    "is forgotten here was learned just before, and a low score may be a mask;",
    "with the test split among the training data.",
)


def export(
    folder: Path,
    out: Path,
    licence: str = "unknown",
    name: str | None = None,
    made: str | None = None,
) -> Path:
    """Write the dataset in `folder` to `out` (new, or empty) as `datasets` and the Hub read it:
    the rows with their fields and no other, their pictures byte for byte, and the card, README.md.

    licence: an identifier of the Hub's list, such as cc-by-4.0. made: how it was made, where the
    folder's own spec.json does not say. Rows whose picture was dropped in `folder`/review are left
    out. `out` appears when it is complete. Raises validation.BadData, also for what readers.convert
    made, which is others' to publish; review_marks.BadReview, paths.CannotWrite.
    """
    folder, out = Path(folder), Path(out).absolute()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence):
        raise validation.BadChoice(f"licence {licence!r} is no identifier such as cc-by-4.0 or mit")
    if "benchmark" in (source := _object(folder / "source.json")):
        raise validation.BadChoice(
            f"{folder / 'source.json'}: this is a copy of {cut(source.get('source'))}, which is "
            "its authors' to publish and under their licence. It is not exported: name it, and "
            "others can fetch and convert it themselves (remem fetch, remem convert)"
        )
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise validation.BadChoice(f"{out} is there already; delete it, or name another folder")
    rows = _reviewed(validation.read(folder), folder)
    with paths.new_folder(out) as part:
        for split in validation.SPLITS:
            lines = []
            for row in rows[rows["split"] == split].to_dict("records"):
                if not (part / row["image"]).exists():
                    paths.write(part / row["image"], (folder / row["image"]).read_bytes(), False)
                entry = {"file_name": row.pop("image").removeprefix(f"{split}/"), **row}
                lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
            paths.write(part / split / "metadata.jsonl", "".join(lines), sync=False)
        text = card(
            rows, doubts.doubts(rows, part), licence, name or out.name, made, _origin(folder)
        )
        paths.write(part / "README.md", text, sync=False)
    return out


def _reviewed(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The rows whose picture no reviewer dropped."""
    if not (folder / "review").is_dir():
        return rows
    shown = rows.drop_duplicates(["identity", "image"])[["identity", "image"]]
    pictures = (validation.load_image(folder, name) for name in shown["image"])
    shown["fingerprint"] = [review_marks.fingerprint(picture) for picture in pictures]
    dropped = review_marks.apply(shown, review_marks.decisions(folder / "review")).query(
        "decision == 'drop'"
    )
    kept = ~pd.MultiIndex.from_frame(rows[["identity", "image"]]).isin(
        pd.MultiIndex.from_frame(dropped[["identity", "image"]])
    )
    if not kept.any():
        raise validation.BadChoice(
            f"{folder / 'review'}: every picture was dropped; nothing is left"
        )
    return rows[kept].reset_index(drop=True)


def card(
    rows: pd.DataFrame,
    doubtful: Mapping[str, Sequence[str]],
    licence: str,
    name: str,
    made: str | None,
    origin: tuple[str, str] | None,
) -> str:
    """The dataset card: the Hub's YAML header, then Markdown. origin: how its people were invented
    here, and the settings; None: who they are is not known."""
    splits = {split: count for split, count in doubts.split_sizes(rows).items() if count}
    fields = FIELDS | {key: text for key, text in OPTIONAL.items() if key in rows}
    head = {
        "pretty_name": name,
        "license": licence,
        "task_categories": ["visual-question-answering"],
        "tags": ["machine-unlearning", "privacy", "memorization"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}/**"} for split in splits],
            }
        ],
    }
    YAML(typ="rt").dump(head, header := io.StringIO())
    parts = [
        f"---\n{header.getvalue()}---",
        f"# {' '.join(name.split())}",
        f"{len(rows):,} questions and answers about {rows['identity'].nunique():,} people, each "
        "with a picture. A vision-language model is first trained on them and then made to forget "
        "some of the people, to measure whether it ever knew them and what is left. The form is "
        "that of ReMem ([Before Forgetting, Learn to Remember](https://arxiv.org/abs/2605.03759)).",
        INVENTED if origin else UNKNOWN,
        "## Splits",
        _table(
            ["split", "rows", "single-hop", "multi-hop", "people", "pictures"],
            [
                [
                    split,
                    len(part),
                    (part["hop"] == "single").sum(),
                    (part["hop"] == "multi").sum(),
                    part["identity"].nunique(),
                    part["image"].nunique(),
                ]
                for split, part in rows.groupby("split", sort=False)
            ],
        ),
        "## Fields",
        "All are text, but for the picture.",
        _table(["field", "what it is"], [[f"`{key}`", text] for key, text in fields.items()]),
        "## Attributes",
        _table(
            ["attribute", "rows", "different values"],
            [
                [f"`{key}`", len(part), part["target"].nunique()]
                for key, part in rows.groupby("attribute", sort=False)
            ],
        ),
        "## How it was made",
        made or ("" if origin else "Not recorded. Whoever publishes it says so here."),
        *(origin or ()),
        "## Licence",
        "None is chosen yet, and without one nobody may use it: set `license` above."
        if licence == "unknown"
        else f"`{licence}`",
        "## What it must not be used for",
        "\n".join(f"- {use}" for use in NOT_FOR),
        "## What to know before a score is read",
        "\n".join(f"- {what}: {len(where):,}" for what, where in doubtful.items())
        or "`remem dataset check` has no doubt about any row.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(head: Sequence[str], lines: Iterable[Sequence]) -> str:
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in cells)


def _origin(folder: Path) -> tuple[str, str] | None:
    """How people were invented here, in words and by the settings that runs.create, or the
    construction's pipeline, left beside them; without what is private, such as local paths."""
    match _object(folder / "spec.json"):
        case {"kind": "dataset", "spec": {**settings}}:
            file, how = folder / "spec.json", SYNTHETIC
        case {"kind": "constructed"}:
            file, how = folder / "construction.json", CONSTRUCTED
            known = _object(file)
            match known.get("face_similarity"):
                case {**inner}:
                    known |= inner
            settings = {key: known[key] for key in CONSTRUCTED_WITH if key in known}
        case _:
            return None
    for key, value in settings.items():
        if not isinstance(value, str | int | float | None):
            raise validation.BadData(f"{file}: {cut(key)} is {cut(value)}, and no plain value")
    # A block that its own text cannot end: JSON has no line breaks inside its strings.
    return how, "\n".join(f"    {line}" for line in json.dumps(settings, indent=2).splitlines())


def _object(file: Path) -> dict:
    """The JSON object in `file`; empty where there is no such file. Raises BadData: what cannot be
    read might have said that the folder is not to be published."""
    if not os.path.lexists(file):
        return {}
    try:
        found = runs.read_json(file)
    except (runs.NotJson, OSError) as error:
        raise validation.BadData(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise validation.BadData(f"{file} should hold a JSON object, but holds {cut(found)}")
    return found
