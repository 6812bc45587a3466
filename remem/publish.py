"""What a dataset folder still lacks before others use it, and the copy with a card that they get.

    python -m remem.dataset check FOLDER
    python -m remem.dataset export FOLDER OUT [--licence ID] [--name NAME] [--made TEXT]

A fault is what dataset.read refuses, and nothing is exported with one. A doubt is none: the rows
can be used, but a score on them means less than it seems, or somebody should look at them before
they are given away. What a reviewer dropped is left out (review.py). Another benchmark's files,
converted by readers.py, are not exported.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml
from PIL import Image

from remem import dataset, metrics, paths, review, runs

FIELDS = {
    "image": "the picture (`file_name` in the file, relative to it)",
    "id": "names the row, once in the whole dataset",
    "identity": "the person, by a label",
    "name": "the person's name",
    "attribute": "what is asked for; a person has one value for each",
    "hop": "`single`: the question names the person; `multi`: only the picture shows who it is",
    "split": "`train` or `test`; test questions are held out, to tell memory from repetition",
    "question": "the question",
    "answer": "the full answer that is taught",
    "target": "the value inside the answer, which exact match looks for",
}
DRAWN = "People, questions and faces are drawn by the code of the ReMem companion; its settings:"
ASKED = (
    "Profiles and pictures are what the models below answered to the code of the ReMem companion, "
    "and the terms of their service hold for them too. A picture was kept where its face is at "
    "least as like the person's first picture as the threshold says. The settings:"
)
ASKED_WITH = ("text_model", "image_model", "image_size", "people", "seed", "threshold")
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
    "is forgotten here was taught just before, and a low score may be a mask;",
    "with the test split among the training data.",
)


def doubts(rows: pd.DataFrame, folder: Path) -> dict[str, list[str]]:
    """What to doubt -> where: labels of `rows`, people or attributes. Nothing where all is well.

    rows: of dataset.inspect, with pictures that can be read (they are not decoded here).
    """
    return _of_rows(rows, folder) | _of_people(rows)


def _of_rows(rows: pd.DataFrame, folder: Path) -> dict[str, list[str]]:
    texts = zip(rows["question"].str.casefold(), rows["name"].str.casefold(), strict=True)
    unnamed = pd.Series([name not in question for question, name in texts], rows.index, dtype=bool)
    shown = rows.drop_duplicates(["image", "identity"])["image"]
    first = rows.drop_duplicates("image")
    pictures = pd.DataFrame([_traits(Path(folder) / name) for name in first["image"]], first.index,
                            ["content", "told"])  # fmt: skip
    training = pictures["content"][first["split"] == "train"]
    found = {
        **dataset.leaking(rows),
        "single-hop questions that do not name the person": unnamed & (rows["hop"] == "single"),
        "answers without a Latin letter or digit (ROUGE-L is 0 for them, whatever is said)":
            ~rows["answer"].str.contains("[A-Za-z0-9]"),
        "pictures that are given as two people's": rows["image"].isin(shown[shown.duplicated()]),
        "test pictures that training shows too":
            (first["split"] == "test") & pictures["content"].isin(training),
        "pictures with EXIF data, which may tell where and when they were taken": pictures["told"],
    }  # fmt: skip
    return {what: list(which.index[which]) for what, which in found.items() if which.any()}


def _of_people(rows: pd.DataFrame) -> dict[str, list[str]]:
    people = rows.drop_duplicates("identity").set_index("identity")["name"].map(metrics.normalise)
    taught, asked = ({*rows["identity"][rows["split"] == split]} for split in dataset.SPLITS)
    values = rows.groupby("attribute")["target"].nunique()
    found = {
        "people who share their name": people.index[people.duplicated(keep=False)],
        "people who are asked about in the test but never taught": sorted(asked - taught),
        "people without a held-out question": sorted(taught - asked),
        "a single person, so that nobody would be left to retain": people.index[: len(people) == 1],
        "attributes with one value in all (Exposure has nothing to rank it against, "
        "and leaves it out)": values.index[values < 2],
    }
    return {what: list(where) for what, where in found.items() if len(where)}


def _traits(picture: Path) -> tuple[str, bool]:
    """What tells its file from others, and whether it says more than it shows."""
    try:
        with Image.open(picture) as opened:
            told = bool(opened.getexif())
    except Exception:  # a fault, of which dataset.inspect tells: also where another row shows it
        return "", False
    return hashlib.sha256(picture.read_bytes()).hexdigest(), told


def check(folder: Path) -> tuple[list[str], list[str], str]:
    """(one line for each fault, one for each kind of doubt, what there is in all)."""
    rows, faults = dataset.inspect(folder)
    lines = [f"{place}: {reason}" for place, reasons in faults.items() for reason in reasons]
    wrong = rows.index.isin([place for place, reasons in faults.items() if reasons])
    sound = rows[~rows["image"].isin(rows["image"][wrong])]
    # Whom a faulty row speaks of is not known; of the others all can be told that is wrong.
    found = _of_rows(sound, folder) | ({} if lines else _of_people(rows))
    told = [f"{what}: {len(where):,} ({_some(where)})" for what, where in found.items()]
    counts = ", ".join(f"{count:,} of {split}" for split, count in _counts(rows).items())
    attributes = [*dict.fromkeys(rows["attribute"])]
    return lines, told, (
        f"{len(rows):,} complete rows ({counts}), {rows['identity'].nunique():,} people, "
        f"{rows['image'].nunique():,} pictures, {len(attributes)} attributes ({_some(attributes)})"
    )


def _some(names: Sequence[str], count: int = 10) -> str:
    return "; ".join([*names[:count], *["..."] * (len(names) > count)])


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {split: int((rows["split"] == split).sum()) for split in dataset.SPLITS}


def export(
    folder: Path, out: Path, licence: str = "unknown", name: str | None = None,
    made: str | None = None,
) -> Path:  # fmt: skip
    """Write the dataset in `folder` to `out` (new, or empty) as `datasets` and the Hub read it:
    the rows with their fields and no other, their pictures byte for byte, and the card, README.md.

    licence: an identifier of the Hub's list, such as cc-by-4.0. made: how it was made, where the
    folder's own spec.json does not say. Rows whose picture was dropped in `folder`/review are left
    out. `out` appears when it is complete. Raises dataset.BadData, also for what readers.convert
    made, which is others' to publish; review.BadReview, FileExistsError, CannotWrite.
    """
    folder, out = Path(folder), Path(out).absolute()
    if "benchmark" in (told := _told(folder / "source.json")):
        raise dataset.BadData(
            f"{folder / 'source.json'}: this is a copy of {told.get('source')}, which is its "
            "authors' to publish and under their licence. It is not exported: name it, and others "
            "can fetch and convert it themselves (python -m remem.readers)"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is there already; delete it, or name another folder")
    rows = _reviewed(dataset.read(folder), folder)
    with paths.new_folder(out) as part:
        for split in dataset.SPLITS:
            lines = []
            for row in rows[rows["split"] == split].to_dict("records"):
                if not (part / row["image"]).exists():
                    paths.write(part / row["image"], (folder / row["image"]).read_bytes())
                entry = {"file_name": row.pop("image").removeprefix(f"{split}/"), **row}
                lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
            paths.write(part / split / "metadata.jsonl", "".join(lines))
        text = card(rows, doubts(rows, part), licence, name or out.name, made, _origin(folder))
        paths.write(part / "README.md", text)
    return out


def _reviewed(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The rows whose picture nobody dropped."""
    if not (folder / "review").is_dir():
        return rows
    shown = rows.drop_duplicates(["identity", "image"])[["identity", "image"]]
    pictures = (dataset.load_images(folder, [name])[0] for name in shown["image"])
    shown["fingerprint"] = [review.fingerprint(picture) for picture in pictures]
    dropped = review.apply(shown, review.decisions(folder / "review")).query("decision == 'drop'")
    kept = ~pd.MultiIndex.from_frame(rows[["identity", "image"]]).isin(
        pd.MultiIndex.from_frame(dropped[["identity", "image"]])
    )
    if not kept.any():
        raise dataset.BadData(f"{folder / 'review'}: every picture was dropped; nothing is left")
    return rows[kept].reset_index(drop=True)


def card(
    rows: pd.DataFrame, doubted: Mapping[str, Sequence[str]], licence: str, name: str,
    made: str | None, origin: tuple[str, str] | None,
) -> str:  # fmt: skip
    """The dataset card: the Hub's YAML header, then Markdown. origin: how its people were invented
    here, and the settings; None: who they are is not known."""
    splits = {split: count for split, count in _counts(rows).items() if count}
    head = {
        "pretty_name": name,
        "license": licence,
        "task_categories": ["visual-question-answering"],
        "tags": ["machine-unlearning", "privacy", "memorization"],
        "configs": [{
            "config_name": "default",
            "data_files": [{"split": split, "path": f"{split}/**"} for split in splits],
        }],
    }  # fmt: skip
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {' '.join(name.split())}",
        f"{len(rows):,} questions and answers about {rows['identity'].nunique():,} people, each "
        "with a picture. A vision-language model is first taught them and then made to forget some "
        "of the people, to measure whether it ever knew them and what is left. The form is that of "
        "ReMem ([Before Forgetting, Learn to Remember](https://arxiv.org/abs/2605.03759)).",
        INVENTED if origin else UNKNOWN,
        "## Splits",
        _table(["split", "rows", "single-hop", "multi-hop", "people", "pictures"], [
            [split, len(part), (part["hop"] == "single").sum(), (part["hop"] == "multi").sum(),
             part["identity"].nunique(), part["image"].nunique()]
            for split, part in rows.groupby("split", sort=False)
        ]),
        "## Fields",
        "All are text, but for the picture.",
        _table(["field", "what it is"], [[f"`{key}`", text] for key, text in FIELDS.items()]),
        "## Attributes",
        _table(["attribute", "rows", "different values"], [
            [f"`{key}`", len(part), part["target"].nunique()]
            for key, part in rows.groupby("attribute", sort=False)
        ]),
        "## How it was made",
        made or ("" if origin else "Not recorded. Whoever publishes it says so here."),
        *(origin or ()),
        "## Licence",
        "None is chosen yet, and without one nobody may use it: set `license` above."
        if licence == "unknown" else f"`{licence}`",
        "## What it must not be used for",
        "\n".join(f"- {use}" for use in NOT_FOR),
        "## What to know before a score is read",
        "\n".join(f"- {what}: {len(where):,}" for what, where in doubted.items())
        or "`python -m remem.dataset check` has no doubt about any row.",
    ]  # fmt: skip
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(head: Sequence[str], lines: Iterable[Sequence]) -> str:
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in cells)


def _origin(folder: Path) -> tuple[str, str] | None:
    """How people were invented here, in words and by the settings: what runs.ensure and
    construct.py left beside them. The budget and where a pack of weights lies is nobody's business.
    """
    match _told(folder / "spec.json"):
        case {"kind": "dataset", "spec": settings}:
            how = DRAWN
        case {"kind": "constructed"}:
            told, how = _told(folder / "construction.json"), ASKED
            told |= told.get("likeness", {})
            settings = {key: told[key] for key in ASKED_WITH if key in told}
        case _:
            return None
    # A block that its own text cannot end: JSON has no line breaks inside its strings.
    return how, "\n".join(f"    {line}" for line in json.dumps(settings, indent=2).splitlines())


def _told(file: Path) -> dict:
    found = runs.read_json(file) if file.is_file() else None
    return found if isinstance(found, dict) else {}


def _licence(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no identifier such as cc-by-4.0 or mit")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 where there is a fault or a refusal."""
    parser = argparse.ArgumentParser(
        prog="python -m remem.dataset", description="Check a dataset folder, or make it public."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="say all that is wrong with it, row by row")
    exporting = commands.add_parser("export", help="write a copy with a dataset card, for the Hub")
    for command in (checking, exporting):
        command.add_argument("folder", type=Path)
    exporting.add_argument("out", type=Path, help="a new folder")
    exporting.add_argument("--licence", type=_licence, default="unknown", help="such as cc-by-4.0")
    exporting.add_argument("--name", help="default: the name of OUT")
    exporting.add_argument("--made", metavar="TEXT", help="how it was made, in a sentence or two")
    given = parser.parse_args(argv)
    if not given.folder.is_dir():
        parser.error(f"there is no folder {given.folder}")
    faults, told, summary = check(given.folder)
    for line in faults:
        print(line)
    if told:
        print("Doubts: these rows can be used, but look at them first.")
    for line in told:
        print(f"- {line}")
    print(f"{summary}: {len(faults):,} faults" if faults else f"{summary}: no fault")
    if given.command == "check" or faults:
        return int(bool(faults))
    try:
        out = export(given.folder, given.out, given.licence, given.name, given.made)
    except (dataset.BadData, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{out} is ready. Read its README.md first; then: "
          f"hf upload NAME {shlex.quote(str(out))} --repo-type dataset")  # fmt: skip
    return 0
