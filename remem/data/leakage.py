"""What would make a score mean less than it seems: answers inside questions, repeated pictures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from remem import language
from remem.data import review_marks, validation


def leaks(rows: pd.DataFrame, folder: Path) -> pd.Series:
    """What would make a score mean less than it seems, counted; 0 throughout where all is well.

    `folder` holds the pictures of `rows`. Text is compared normalised (language). Raises BadData.
    """
    test = rows["split"] == "test"
    pairs = zip(rows["question"], rows["name"], strict=True)
    anonymous = pd.Series([text.replace(name, "X") for text, name in pairs], rows.index)
    facts = rows.drop_duplicates(["identity", "attribute"])["target"].map(language.normalise)
    shown = {
        name: review_marks.fingerprint(validation.load_image(folder, name))
        for name in rows["image"].unique()
    }
    return pd.Series(
        {
            **{leak: found.sum() for leak, found in leaking(rows).items()},
            "facts that two people share": facts.duplicated().sum(),
            "pairs of values of which one lies in the other": _nested({*facts}),
            "test questions that training asks too (names aside)": len(
                set(anonymous[test]) & set(anonymous[~test])
            ),
            "pictures that occur twice": rows["image"].map(shown).duplicated().sum(),
        },
        name="count",
    )


def leaking(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Those of `leaks` that are a matter of one row: which rows they are (booleans)."""
    names = ["question", "answer", "name", "target"]
    folded = rows[names].apply(lambda column: column.map(language.normalise))
    multi, asks_name = rows["hop"] == "multi", rows["attribute"] == "name"
    in_question = holds(folded["question"], folded["name"])
    in_answer = holds(folded["answer"], folded["name"])
    return {
        "questions that hold their own answer": holds(folded["question"], folded["target"]),
        "multi-hop questions that name the person": multi & in_question,
        "multi-hop answers that give the name unasked": multi & ~asks_name & in_answer,
    }


def _nested(values: set[str]) -> int:
    """How often one of them lies in another. Every piece that is as long as some value is looked
    up, since to compare all pairs takes hours for 10,000 people."""
    lengths = {len(value) for value in values}
    return sum(
        len(
            {whole[k : k + n] for n in lengths if n < len(whole) for k in range(len(whole) - n + 1)}
            & values
        )
        for whole in values
    )


def holds(texts: pd.Series, parts: pd.Series) -> pd.Series:
    """Whether each text holds its part, both as they are (booleans)."""
    return pd.Series(
        [part in text for text, part in zip(texts, parts, strict=True)], texts.index, dtype=bool
    )
