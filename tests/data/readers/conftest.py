"""The same people in the format of every benchmark."""

import formats
import pytest
from reader_files import MAP

from remem.data import validation
from remem.data.dataset import SyntheticData, folder_of

SMALL = SyntheticData(identities=3, image_size=16, single=7, multi=10, test_single=7, test_multi=7)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Drawn rows and their pictures, and the same in every format: benchmark -> folder."""
    root = tmp_path_factory.mktemp("readers")
    folder = folder_of(SMALL, root)
    rows = validation.read(folder)
    pictures = {name: (folder / name).read_bytes() for name in rows["image"]}
    names = {"forget05": [rows["name"][0]], "forget10": list(rows["name"].unique()[:2])}
    formats.remem(rows, pictures, root / "remem", MAP)
    formats.fiubench(rows, pictures, root / "fiubench", {"forget1": ["p01"], "retain5": []})
    formats.mllmu(rows, pictures, root / "mllmu", {"forget_5": ["p00"]})
    formats.clear(rows, pictures, root / "clear", names)
    return rows, pictures, root
