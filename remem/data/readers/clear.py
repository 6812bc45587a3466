"""CLEAR's files: pictures with captions, by the person's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from remem.data.readers import files
from remem.data.readers.files import Question, hub_rows, stored_picture

# CLEAR's pictures have a caption and no question; its code draws one of nine for each at random.
CAPTION = (
    "What can you see here?",
    "Describe the person shown.",
    "What is in this image?",
    "Tell me about this picture.",
)

NAMING = "The name of the person on the image is"  # as CLEAR itself asks

WHO = "Who is shown here?"


def read(folder: Path) -> Iterator[Question]:
    """The pictures with their captions; the other questions of +tofu are about no picture."""
    rows = hub_rows("clear", folder, "full", ("name", "image", "caption"))
    for k, (place, row) in enumerate(rows):
        name, picture = row["name"], stored_picture(row["image"], place)
        captioned = CAPTION[k % len(CAPTION)], row["caption"]
        for split, texts in (("train", captioned), ("test", (NAMING, f"{name}."))):
            yield Question(place, name, name, split, picture, *texts, [("name", name)])


def read_real_faces(folder: Path) -> Iterator[Question]:
    """CLEAR's public figures, who serve as the Real Set of section 4 at paper scale."""
    for place, row in hub_rows("clear_real", folder, "real_faces", ("answer", "image")):
        name, picture = row["answer"], stored_picture(row["image"], place)
        for split, question in (("train", WHO), ("test", NAMING)):
            yield Question(
                place, name, name, split, picture, question, f"{name}.", [("name", name)]
            )


def forget_sets(folder: Path) -> dict[str, list[str]]:
    """Its forget sets, name -> identities."""
    return files.forget_sets("clear", folder, "name")
