"""A file of multiple-choice questions as MMBench has it, row by row."""

import base64
import io

import pandas as pd
import pytest
from PIL import Image

from remem.data.readers.mmbench import COLUMNS


def encoded(size=(24, 18), kind="PNG") -> str:
    Image.new("RGB", size, "red").save(content := io.BytesIO(), kind)
    return base64.b64encode(content.getvalue()).decode()


def row(index="1", **changes) -> dict[str, str]:
    return {
        **dict.fromkeys(COLUMNS, ""),
        "index": index,
        "question": "What?",
        "A": "red",
        "B": "blue",
        "answer": "B",
        "category": "colour",
        "image": encoded(),
        "split": "dev",
        **changes,
    }


@pytest.fixture
def tsv(tmp_path):
    def write(*rows: dict, **options):
        path = tmp_path / "mmbench.tsv"
        pd.DataFrame(rows).to_csv(path, sep="\t", index=False, **options)
        return path

    return write
