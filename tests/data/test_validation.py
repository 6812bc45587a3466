import json
import shutil

import pytest
from PIL import Image

from remem.data import splits, validation
from remem.data.dataset import SyntheticData, folder_of

SMALL = SyntheticData(identities=2, single=7, multi=10, test_single=7, test_multi=7)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return folder_of(SMALL, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def copy(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "copy")


def edit(folder, number, **changes):
    """Change keys of one line of the training metadata (None takes the key away)."""
    file = folder / "train" / "metadata.jsonl"
    lines = file.read_text().splitlines()
    row = {**json.loads(lines[number - 1]), **changes}
    lines[number - 1] = json.dumps({key: row[key] for key in row if row[key] is not None})
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"answer": "  "}, "answer is empty"),
        ({"question": ""}, "question is empty"),
        ({"target": 12}, "target should be text, but is 12"),
        ({"name": None}, "the key 'name' is missing"),
        ({"hop": "double"}, "hop 'double' is unknown here; allowed: single, multi"),
        ({"split": "test"}, "split 'test' is unknown here; allowed: train"),
        ({"attribute": "Shoe Size"}, "attribute 'Shoe Size' should be one lower-case word"),
        ({"target": "nowhere"}, "the target 'nowhere' is not in the answer"),
        ({"answer": "It is so.", "target": "so"}, r"of p00 is 'so' here and '.*' before"),
        ({"file_name": "../../etc/passwd"}, "leaves the folder"),
        ({"file_name": "/etc/passwd"}, "leaves the folder"),
        ({"file_name": "..\\p00.png"}, "leaves the folder"),
        ({"file_name": "p00\\1.png"}, r"path 'p00.*1.png' is written as Windows.*'p00/1.png'$"),
        ({"file_name": "p00/none.png"}, "none.png is missing"),
        ({"file_name": "metadata.jsonl"}, "cannot be decoded"),
        ({"id": "p00-train-000"}, r"the same id as in .*, line 1$"),
    ],
)
def test_a_bad_row_is_refused_by_file_line_and_reason(copy, changes, reason):
    number = 9 if "so" in changes.values() else 3  # line 9 asks what line 2 does, multi-hop
    edit(copy, number, **changes)
    with pytest.raises(
        validation.BadData, match=rf"train.metadata\.jsonl, line {number}: .*{reason}"
    ):
        validation.read(copy)


def test_other_people_have_attributes_of_their_own(copy):
    for number, size in ((3, "43"), (20, "39")):
        edit(copy, number, attribute="shoe_size", answer=f"Size {size}.", target=size)
    edit(copy, 4, attribute="hat_size", answer="Size 7.", target="7")
    edit(copy, 5, attribute="question_2", answer="Often.", target="Often")
    edit(copy, 22, attribute="question_2", answer="Never.", target="Never")
    found = splits.candidates(validation.read(copy))
    assert found["shoe_size"] == ["39", "43"]
    assert not {"hat_size", "question_2"} & {*found}  # nothing to rank, and nothing alike


def test_every_fault_is_found_and_reading_tells_how_many_there_are(copy):
    before = {place for place, reasons in validation.inspect(copy)[1].items() if reasons}
    assert not before
    edit(copy, 2, hop="double", answer="", id=7)
    edit(copy, 5, id="p00-train-000")
    edit(copy, 6, file_name="p00/none.png")
    rows, faults = validation.inspect(copy)
    found = {place: reasons for place, reasons in faults.items() if reasons}
    assert list(found) == [f"train/metadata.jsonl, line {number}" for number in (2, 5, 6)]
    assert [len(reasons) for reasons in found.values()] == [3, 1, 1]
    assert len(rows) == 61 and rows.index[1] == "train/metadata.jsonl, line 3"
    with pytest.raises(
        validation.BadData, match=r"line 2: id should be text.*5 faults in all: remem d"
    ):
        validation.read(copy)


def test_a_repeated_picture_with_its_question_is_refused(copy):
    rows = validation.read(copy)
    first = rows.iloc[0]
    edit(copy, 2, file_name=first["image"].removeprefix("train/"), question=first["question"])
    with pytest.raises(
        validation.BadData, match=r"line 2: the same image and question as in .*line 1"
    ):
        validation.read(copy)


@pytest.mark.parametrize("line", ["{", "[1]", "\xff"])
def test_a_line_that_is_no_json_object_is_refused(copy, line):
    file = copy / "test" / "metadata.jsonl"
    file.write_bytes(file.read_bytes() + line.encode("latin-1") + b"\n")
    with pytest.raises(
        validation.BadData, match=r"test.metadata\.jsonl, line 29: (not valid|not in UTF|a JSON)"
    ):
        validation.read(copy)


def test_a_truncated_picture_is_refused_though_its_head_is_whole(copy):
    picture = copy / validation.read(copy)["image"][4]
    picture.write_bytes(picture.read_bytes()[:-200])
    with pytest.raises(
        validation.BadData, match=r"line 5: the image .* cannot be decoded \(.*trunc"
    ):
        validation.read(copy)
    with pytest.raises(validation.BadData, match="cannot be decoded"):
        validation.load_images(copy, [picture.relative_to(copy)])


def test_a_picture_of_too_many_pixels_is_refused(copy):
    Image.new("1", (5000, 4000)).save(copy / validation.read(copy)["image"][0])
    with pytest.raises(validation.BadData, match=r"line 1: .*5000 x 4000 pixels"):
        validation.read(copy)


def test_a_missing_split_is_refused(copy):
    (copy / "test" / "metadata.jsonl").unlink()
    with pytest.raises(validation.BadData, match=r"test.metadata\.jsonl is missing"):
        validation.read(copy)
