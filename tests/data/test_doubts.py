import json

import four_rows
import pytest
from PIL import Image

from remem.__main__ import main
from remem.data import doubts, validation
from remem.data.dataset import SyntheticData, folder_of

SMALL = SyntheticData(identities=2, image_size=16, single=7, multi=10, test_single=7, test_multi=7)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return folder_of(SMALL, tmp_path_factory.mktemp("runs"))


def test_synthetic_data_has_neither_fault_nor_doubt(drawn, capsys):
    assert main(["dataset", "check", str(drawn)]) == 0
    assert capsys.readouterr().out == (
        "62 complete rows (34 of train, 28 of test), 2 people, 62 pictures, 8 attributes (email; "
        "date_of_birth; job; home_address; medical_condition; bank; annual_income; name): "
        "no fault\n"
    )


def test_the_command_names_every_fault_row_by_row(tmp_path, capsys):
    folder = four_rows.make(tmp_path / "own", hop="both", answer="No.")
    (folder / "train" / "0.jpg").write_bytes(b"")
    file = folder / "train" / "metadata.jsonl"
    file.write_text("multi".join(file.read_text().rsplit("single", 1)))
    assert main(["dataset", "check", str(folder)]) == 1
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines() == [
        "train/metadata.jsonl, line 1: the image train/0.jpg cannot be decoded (it is neither PNG "
        "nor JPEG)",
        "test/metadata.jsonl, line 2: hop 'both' is unknown here; allowed: single, multi",
        "test/metadata.jsonl, line 2: the target 'Size 1' is not in the answer 'No.'",
        "Doubts: these rows can be used, but look at them first.",
        "- multi-hop questions that name the person: 1 (train/metadata.jsonl, line 2)",
        "3 complete rows (2 of train, 1 of test), 2 people, 3 pictures, 1 attributes (shoe_size): "
        "3 faults",
    ]


DOUBTS = [
    ({"question": "Bruno Vidal wears Size 1?"}, "questions that hold their own answer", "2"),
    ({"hop": "multi"}, "multi-hop questions that name the person", "2"),
    (
        {"hop": "multi", "question": "?", "answer": "Bruno Vidal: Size 1."},
        "multi-hop answers that give the name unasked",
        "2",
    ),
    ({"question": "What do they wear?"}, "single-hop questions that do not name the person", "2"),
    ({"file_name": "2.jpg"}, "pictures that are given as two people's", "1"),
    (
        {"identity": "Carl", "name": "ANIKA  Holt", "question": "ANIKA  Holt?"},
        "people who share their name",
        "Anika",
    ),
    (
        {"identity": "Carl", "name": "Carl", "question": "Carl?"},
        "people with test questions but none in training",
        "Carl",
    ),
    (
        {
            "identity": "Anika",
            "name": "Anika Holt",
            "question": "Anika Holt?",
            "target": "Size",
            "attribute": "kind",
        },
        "people without a held-out question",
        "Bruno",
    ),
    (
        {
            "identity": "Carl",
            "name": "Carl",
            "question": "Carl?",
            "target": "Size 1-2",
            "answer": "Size 1-2.",
        },
        "values that stand in another person's value (exact match tells them apart)",
        "shoe_size: Size 1 in Size 1-2",
    ),
    (
        {"attribute": "kind"},
        "attributes with one value in all (Exposure has nothing to rank it "
        "against, and leaves it out)",
        "kind",
    ),
    (
        {"hop": "multi", "question": "What?"},
        "people without a held-out single-hop question, though others have one",
        "Bruno",
    ),
    (
        {"attribute": "kind"},
        "what held-out questions ask for and training never does (it cannot be known)",
        "kind",
    ),
]


@pytest.mark.parametrize("changes, doubt, where", DOUBTS, ids=[doubt for _, doubt, _ in DOUBTS])
def test_each_kind_of_doubt_is_named_with_where(tmp_path, changes, doubt, where):
    rows, faults = validation.inspect(four_rows.make(tmp_path, **changes))
    assert not any(faults.values())
    found = doubts.doubts(rows, tmp_path)
    if where.isdigit():
        assert f"test/metadata.jsonl, line {where}" in found[doubt]
    else:
        assert where in found[doubt]


def test_a_name_is_in_a_question_in_whatever_form_of_unicode(tmp_path):
    person = {"identity": "Zoe", "name": "Zoe\u0308"}
    rows, _ = validation.inspect(four_rows.make(tmp_path, question="Wer ist ZO\u00cb?", **person))
    assert not {key for key in doubts.doubts(rows, tmp_path) if "name the person" in key}


def test_every_value_in_anothers_is_counted(tmp_path, capsys):
    folder = four_rows.make(tmp_path / "own")
    values = ["ann@x.org", "mary.ann@x.org", "bob@x.org", "12", "-12", "Anna", "Anna-Maria"]
    values += ["555-1234", "800-555-1234", "김민", "김민수", "京都", "東京都"]
    for split in validation.SPLITS:
        file = folder / split / "metadata.jsonl"
        row = json.loads(file.read_text().splitlines()[0])
        lines = []
        for k, value in enumerate(values):
            picture = f"{split}{k}.png"
            Image.new("RGB", (16, 16), (9 * k, 80 * len(split), 0)).save(folder / split / picture)
            changes = {"file_name": picture, "id": f"{split}{k}", "identity": str(k)}
            changes |= {"name": f"N{k}", "question": f"N{k}?", "answer": value, "target": value}
            lines.append(json.dumps(row | changes))
        file.write_text("\n".join(lines))
    assert main(["dataset", "check", str(folder)]) == 0
    said = capsys.readouterr().out
    assert (
        "- values that stand in another person's value (exact match tells them apart): 5 (" in said
    )
    assert "shoe_size: ann@x.org in mary.ann@x.org; " in said and "京都 in 東京都" in said


def test_pictures_are_doubted_for_what_they_give_away_and_for_being_seen_before(tmp_path):
    folder = four_rows.make(tmp_path / "own")
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (50.0, 5.0, 0.0)}  # where it was taken
    Image.new("RGB", (16, 16)).save(folder / "train" / "1.jpg", exif=exif)
    (folder / "test" / "2.jpg").write_bytes((folder / "train" / "0.jpg").read_bytes())
    rows, _ = validation.inspect(folder)
    assert doubts.doubts(rows, folder) == {
        "test pictures that training shows too": ["test/metadata.jsonl, line 1"],
        "pictures with EXIF data, which may tell where and when they were taken": [
            "train/metadata.jsonl, line 2"
        ],
    }
    alone = doubts.doubts(rows[rows["identity"] == "Anika"], folder)
    assert alone["a single person, so that no one would be left to retain"] == ["Anika"]


def test_a_picture_that_a_faulty_row_shows_too_is_named_once(tmp_path, capsys):
    folder = four_rows.make(tmp_path / "own")
    file = folder / "train" / "metadata.jsonl"
    first, second = file.read_text().splitlines()
    broken = {**json.loads(first), "file_name": "1.jpg"}
    del broken["target"]
    (folder / "train" / "1.jpg").unlink()
    file.write_text(f"{json.dumps(broken)}\n{second}\n")
    assert main(["dataset", "check", str(folder)]) == 1
    assert "2 faults" in capsys.readouterr().out


def test_what_is_not_held_out_is_said(drawn):
    rows, _ = validation.inspect(drawn)
    train, single = rows["split"] == "train", rows["hop"] == "single"
    doubt = "what training asks for and no held-out question does (EM_t says nothing of it)"
    some = doubts.doubts(rows[train | (single & (rows["attribute"] != "job"))], drawn)
    assert [*some] == [doubt] and {"single job", "multi job", "multi name"} < {*some[doubt]}
    assert "single bank" not in some[doubt]
    assert [*doubts.doubts(rows[train], drawn)] == ["people without a held-out question"]
    told = doubts.doubts(rows[~train | (rows["identity"] == "p00")], drawn)
    assert told["people with test questions but none in training"] == ["p01"]
    assert told["a single person, so that no one would be left to retain"] == ["p00"]
