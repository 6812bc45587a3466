"""Small files in other benchmarks' formats, to be read back."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from remem.data import validation

MAP = {
    "image": "photo",
    "identity": "person_id",
    "name": "full_name",
    "question": "prompt",
    "answer": "response",
    "target": "value",
    "attribute": "field",
    "hop": "kind",
}


def noise(kind: str) -> bytes:
    """A picture of noise as the bytes of a file."""
    Image.effect_noise((32, 32), 50).save(content := io.BytesIO(), kind)
    return content.getvalue()


PNG = noise("PNG")


def one_person(folder, people=None, **changes):
    """One person, one question, in FIUBench's format; `changes` are the question's."""
    item = {
        "question": "Where does this person live?",
        "answer": "Ada Lund lives in Old Harbour.",
        "keywords": ["Old Harbour"],
        "paraphrased_question": ["In which town?"],
        **changes,
    }
    person = {
        "unique_id": "00044363",
        "image_path": "dataset/SFHQ/a.png",
        "name": "Ada Lund",
        "qa_list": [item],
    }
    folder.mkdir(exist_ok=True)
    (folder / "SFHQ").mkdir(exist_ok=True)
    (folder / "SFHQ" / "a.png").write_bytes(PNG)
    people = [person] if people is None else [{**person, **people}]
    (folder / "full.json").write_text(json.dumps(people))
    return folder


def put(folder, *rows, name="train-00000-of-00001.parquet"):
    """Write a parquet file with these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / name)


def facts(rows, *without):
    """The rows, in an order of their own, without labels, pictures and the columns `without`."""
    columns = [column for column in validation.COLUMNS if column not in {"id", "image", *without}]
    return sorted(map(tuple, rows[columns].to_numpy()))
