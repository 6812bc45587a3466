"""MLLMU-Bench's files: biographies in Full_Set, questions in ft_Data and Test_Set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from remem.data.readers import files
from remem.data.readers.files import Question, attribute_name, hub_rows, parsed, stored_picture
from remem.data.validation import BadData


def read(folder: Path) -> Iterator[Question]:
    """The questions of ft_Data for training, and the generation task of Test_Set as held out."""
    biographies: dict[str, dict[str, str]] = {}
    unread = "they hold no text but a name"
    for place, row in hub_rows("mllmu", folder, "Full_Set", ("ID", "biography")):
        biography = {}
        try:
            biography = parsed(row["biography"], dict, f"{place}, biography")
        except BadData as error:  # it only lends its values: one may be garbled
            unread = str(error)
        # Parents, fun facts and the like are lists: nothing that EM could look for.
        biographies[row["ID"]] = {
            attribute: value.strip()
            for key, value in biography.items()
            if isinstance(value, str) and value.strip() and (attribute := attribute_name(key))
        }
    if not any(own.keys() - {"name"} for own in biographies.values()):
        raise BadData(
            f"{folder / 'Full_Set'}: no biography can be read, and without their values EM would "
            f"mean something else: it would look for the whole answer ({unread})"
        )
    for config, image, questions, reply, split in (
        # Some entries have an Additional_question in place of a Question: an old attempt, say its
        # authors (issue 13), which their own code leaves out as well.
        ("ft_Data", "image", "metadata", "Answer", "train"),
        ("Test_Set", "images", "Generation_Task", "Ground_Truth", "test"),
    ):
        for place, row in hub_rows("mllmu", folder, config, ("ID", image, questions)):
            own: dict[str, str] = biographies.get(row["ID"], {})
            shown = row[image] if isinstance(row[image], list) and row[image] else [row[image]]
            for k, item in enumerate(parsed(row[questions], list, f"{place}, {questions}")):
                yield Question(
                    place,
                    row["ID"],
                    own.get("name") or row["ID"],
                    split,
                    stored_picture(shown[k % len(shown)], place),
                    item.get("Question"),
                    item.get(reply),
                    list(own.items()),
                )


def forget_sets(folder: Path) -> dict[str, list[str]]:
    """Its forget sets, name -> identities."""
    return files.forget_sets("mllmu", folder, "ID")
