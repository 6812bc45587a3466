"""FIUBench's files: full.json with everybody's questions, SFHQ.zip with the faces, split.json."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from remem.data import splits
from remem.data.readers.files import (
    Pictures,
    Question,
    json_rows,
    parsed,
    text_in,
    text_of,
    texts,
)
from remem.data.validation import BadData, cut

FIRST = 400  # FIUBench's own code uses the first 400 people of full.json


def read(folder: Path) -> Iterator[Question]:
    """Every question, and as held out its first paraphrase."""
    pictures = Pictures(folder)
    for number, person in itertools.islice(json_rows(folder / "full.json", "fiubench"), FIRST):
        place = f"{folder / 'full.json'}, person {number}"
        identity, path = (text_of(person, key, place) for key in ("unique_id", "image_path"))
        name = text_of(person, "name", place) if person.get("name") else identity
        picture = path, pictures.read(path, place)
        for k, item in enumerate(parsed(person.get("qa_list"), list, f"{place}, qa_list"), 1):
            here, answer = f"{place}, question {k}", item.get("answer")
            values = [
                ("name" if word == name else splits.UNNAMED, word)
                for word in (*texts(item.get("keywords")), name)
            ]
            pairs = [("train", item.get("question"))]
            pairs += [("test", other) for other in texts(item.get("paraphrased_question"))[:1]]
            for split, question in pairs:
                yield Question(here, identity, name, split, picture, question, answer, values)


def forget_sets(folder: Path) -> dict[str, list[str]]:
    """Its forget sets, name -> identities, where split.json is there."""
    file = folder / "split.json"
    if not file.is_file():
        return {}
    found = {}
    for name, people in parsed(text_in(file), dict, file).items():
        if "forget" not in name:
            continue
        if not isinstance(people, list):
            raise BadData(f"{file}: {cut(name)} should be a list of people, but is {cut(people)}")
        for person in people:
            if not isinstance(person, str):  # a number would have lost its noughts
                raise BadData(
                    f"{file}: {cut(name)} should name people by their unique_id, in quotes, but "
                    f"holds {cut(person)}"
                )
        found[name] = people
    return found
