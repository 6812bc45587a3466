import json
import zipfile

import pytest
from reader_files import PNG, one_person

from remem.data import validation
from remem.data.readers import convert, files


@pytest.mark.parametrize(
    "changes, attribute, target",
    [
        ({}, "question", "Old Harbour"),
        (
            {"keywords": ["Harbour", "old harbour"]},
            "question",
            "Old Harbour",
        ),  # the longest, any case
        ({"keywords": []}, "name", "Ada Lund"),
        ({"keywords": None}, "name", "Ada Lund"),
        ({"keywords": "Old Harbour", "paraphrased_question": "Where?"}, "question", "Old Harbour"),
        (
            {"keywords": ["New Harbour", 7, " "], "question": "Where does Ada Lund live?"},
            "question",
            "Ada Lund lives in Old Harbour",
        ),
        (
            {"keywords": ["12"], "answer": "He is 123.", "question": "How old?"},
            "question",
            "He is 123",
        ),
        ({"keywords": ["4.5"], "answer": "It is 14.50, not 4.5."}, "question", "4.5"),
    ],
)
def test_what_em_looks_for(tmp_path, changes, attribute, target):
    row = convert.read("fiubench", one_person(tmp_path, **changes)).iloc[0]
    assert (row["attribute"], row["target"]) == (attribute, target)
    assert row["hop"] == ("single" if "Ada Lund" in row["question"] else "multi")
    assert row["identity"] == "00044363"


def test_further_values_are_numbered_and_repeated_or_empty_questions_are_counted(tmp_path):
    asked = [
        {"question": f"What is the {what}?", "answer": f"It is {value}.", "keywords": [value]}
        for what, value in (("hat", "red"), ("car", "blue"), ("hat", "red"), ("cap", "red"))
    ]
    asked += [{"question": "What else?", "answer": "Nothing."}, {**asked[0], "answer": ""}]
    rows = convert.read("fiubench", one_person(tmp_path, {"qa_list": asked}))
    assert list(rows["attribute"]) == ["question", "question_2", "question", "question_3"]
    assert rows.attrs["left_out"] == {"repeated": 1, "empty": 1}  # to have no paraphrase is neither


def test_json_lines_and_pictures_in_a_zip_are_read(tmp_path):
    folder = one_person(tmp_path)
    people = json.loads((folder / "full.json").read_text())
    (folder / "full.json").write_text("\n".join(map(json.dumps, people)))
    (folder / "SFHQ" / "a.png").unlink()
    with zipfile.ZipFile(folder / "SFHQ.zip", "w") as file:
        file.writestr("SFHQ/a.png", PNG)
    out = convert.convert("fiubench", folder, tmp_path / "out")
    assert (out / "train" / "000000.png").read_bytes() == PNG


def test_a_paraphrase_may_stand_for_itself(tmp_path):
    for given, expected in (
        ("In which town?", ["In which town?"]),
        (7, []),
        ([], []),
        (None, []),
        ([None, "Where?"], ["Where?"]),
    ):
        rows = convert.read("fiubench", one_person(tmp_path, paraphrased_question=given))
        assert list(rows["question"][rows["split"] == "test"]) == expected


def test_a_zip_that_cannot_be_used_is_refused(tmp_path, monkeypatch):
    folder = one_person(tmp_path)
    (folder / "SFHQ" / "a.png").unlink()
    packed, told = folder / "SFHQ.zip", "person 1: dataset/SFHQ/a.png "

    def refused(reason):
        with pytest.raises(validation.BadData, match=told + reason):
            convert.read("fiubench", folder)

    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("SFHQ/a.png", PNG)
    sound = packed.read_bytes()
    packed.write_bytes(sound.replace(PNG[-30:], bytes(30)))
    refused("cannot be read from .*SFHQ.zip .*CRC")
    at = sound.index(b"PK\1\2") + 8  # where the directory says how it is packed
    packed.write_bytes(sound[:at] + b"\1" + sound[at + 1 :])
    refused("cannot be read from .*SFHQ.zip .*encrypted")
    packed.write_bytes(sound)
    monkeypatch.setattr(files, "MAX_BYTES", len(PNG) - 1)
    refused(f"has {len(PNG):,} bytes, and more than")
    (folder / "SFHQ" / "a.png").symlink_to("/dev/zero")
    assert files.Pictures(folder).zipped  # a link to no file is none
    (tmp_path.parent / "outside.png").write_bytes(PNG)
    (folder / "SFHQ" / "a.png").unlink()
    (folder / "SFHQ" / "a.png").symlink_to(tmp_path.parent / "outside.png")
    refused("is a link that leads out")


@pytest.mark.parametrize(
    "people, changes, reason",
    [
        ({"image_path": "../../etc/passwd"}, {}, r"person 1: the path .* leaves the folder"),
        ({"image_path": "/etc/passwd"}, {}, "leaves the folder"),
        ({"image_path": "SFHQ\\a.png"}, {}, "leaves the folder"),
        ({"image_path": "SFHQ/b.png"}, {}, r"SFHQ/b.png' is neither in .*SFHQ.zip, 146 MB"),
        ({"image_path": "a/" * 2_000 + "b" * 300 + ".png"}, {}, r"has 4,304 characters"),
        ({"image_path": "b" * 300 + ".png"}, {}, r"person 1: the path|'b{50}.* is neither in"),
        ({"image_path": "\ud800.png"}, {}, r"is neither in"),
        ({"unique_id": [[["a"]]]}, {}, r"unique_id should be text, but is \[\[\['a'\]\]\]"),
        ({"image_path": None}, {}, "image_path should be text, but is None"),
        ({"unique_id": 44363}, {}, "unique_id should be text, but is 44363"),
        ({"name": ["Ada"]}, {}, "name should be text"),
        ({"qa_list": None}, {}, "qa_list should be a list of objects, but is None"),
        ({"qa_list": ["x"]}, {}, "qa_list should be a list of objects"),
        ({"qa_list": "[{"}, {}, "qa_list is not valid JSON"),
        ({"qa_list": "[" * 100_000}, {}, "qa_list is not valid JSON"),
        ({"qa_list": []}, {}, "holds no question"),
        (None, {"question": 3}, "question 1: question and answer should be text"),
        (None, {"answer": ["a"]}, "question and answer should be text"),
    ],
)
def test_what_is_wrong_with_full_json_is_named(tmp_path, people, changes, reason):
    with pytest.raises(validation.BadData, match=reason):
        convert.read("fiubench", one_person(tmp_path, people, **changes))


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"[{", "not valid JSON"),
        (b"\xff\xfe[", "not valid JSON"),
        (b"[1]", "list of objects"),
        (b"[" * 100_000, "not valid JSON"),
        (b"", "holds no question"),
        (b'{"a": 1', "not valid JSON"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path, content, reason):
    (tmp_path / "full.json").write_bytes(content)
    with pytest.raises(validation.BadData, match=reason):
        convert.read("fiubench", tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"forget5": "abc"}', "'forget5' should be a list of people, but is 'abc'"),
        ('{"forget5": {"a": 1}}', "'forget5' should be a list of people, but is {'a': 1}"),
        ('{"forget5": null}', "'forget5' should be a list of people, but is None"),
        ('{"forget5": 5}', "'forget5' should be a list of people, but is 5"),
        ('{"forget5": ["00044363", 44364]}', "by their unique_id, in quotes, but holds 44364"),
        ('{"forget5": [null]}', "in quotes, but holds None"),
        ('{"forget5": [["a"]]}', r"in quotes, but holds \['a'\]"),
        ('{"forget5": ["\\ud800"]}', "which cannot be written"),
        ('{"forget\\u0000": ["a"]}', "which cannot be written"),
        ('["forget5"]', "should be an object"),
        ("[" * 2_000, "is not valid JSON"),
        ('{"forget5": ' + "[" * 2_000, "is not valid JSON"),
        ("5", "should be an object, but is 5"),
        ("", "is not valid JSON"),
    ],
)
def test_forget_sets_are_lists_of_people_or_refused(tmp_path, content, reason):
    folder = one_person(tmp_path / "in")
    (folder / "split.json").write_text(content)
    with pytest.raises(validation.BadData, match=reason) as refusal:
        convert.convert("fiubench", folder, tmp_path / "out")
    assert str(folder) in str(refusal.value) and not (tmp_path / "out").exists()


def test_what_is_no_forget_set_does_not_matter(tmp_path):
    folder = one_person(tmp_path / "in")
    (folder / "split.json").write_text('{"retain5": "abc", "forget5": ["a", "b", "a"], "x": 1}')
    assert convert.forget_sets("fiubench", folder) == {"forget5": ["a", "b"]}
