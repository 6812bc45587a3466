"""Metadata that nobody should trust: each case is refused by place and reason, or handled."""

# ruff: noqa: RUF001 - letters that look alike are the point

import codecs
import gzip
import json
import time

import pytest
import two_people
from PIL import Image
from two_people import FILE, change, entry, reasons, write

from remem.data import splits, validation


@pytest.fixture
def folder(tmp_path):
    two_people.make(tmp_path / "data")
    return tmp_path / "data"


WRONG = {
    "a number": (12, "should be text, but is 12"),
    "a fraction": (0.5, "should be text, but is 0.5"),
    "null": (None, "should be text, but is null"),
    "NaN": (float("nan"), "should be text, but is NaN"),
    "infinity": (float("inf"), "should be text, but is Infinity"),
    "true": (True, "should be text, but is true"),
    "a list": (["x"], "should be text, but is a list"),
    "an object": ({"x": "y"}, "should be text, but is a dict"),
    "empty": ("", "is empty"),
    "white space": (" \u00a0\t", "is empty"),
    "a control character": ("a\x1b[2Jb", "holds a control character"),
    "half a character": ("a\ud800b", "half a character"),
    "far too long": ("x" * 10_001, "has 10,001 characters"),
}


@pytest.mark.parametrize("key", validation.KEYS)
def test_each_key_has_to_be_text_that_can_be_used(folder, key):
    for value, reason in WRONG.values():
        change(folder, **{key: value})
        [found] = [each for each in reasons(folder) if each.startswith(f"{FILE}, line 2: {key} ")]
        assert reason in found and len(found) < 250 and found.isprintable()


@pytest.mark.parametrize("key", validation.KEYS)
def test_each_key_has_to_be_there_once(folder, key):
    row = entry(1, "train")
    write(folder, "train", [entry(0, "train"), {k: row[k] for k in row if k != key}])
    assert f"{FILE}, line 2: the key {key!r} is missing; there are [" in "\n".join(reasons(folder))
    twice = json.dumps(row)[:-1] + f', "{key}": "p0"}}'
    (folder / FILE).write_text(json.dumps(entry(0, "train")) + "\n" + twice + "\n")
    assert reasons(folder) == [f"{FILE}, line 2: not valid JSON (a key occurs twice)"]


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"id": "train-0"}, "the same id as in train/metadata.jsonl, line 1"),
        ({"id": "two\nlines"}, "id has more than one line"),
        ({"identity": "p1 "}, "identity begins or ends with white space: 'p1 '"),
        ({"identity": "p0"}, "name of p0 is 'Bruno Vidal' here and 'Anika Holt' before"),
        ({"identity": "p0"}, "job of p0 is 'judge1' here and 'judge0' before"),
        (
            {"identity": "p0", "name": "anika holt"},
            "'Anika Holt' before (they differ in letter case, spaces or Unicode form alone)",
        ),
        ({"name": "Bruno\u2028Vidal"}, "name has more than one line"),
        ({"attribute": "home address"}, "should be one lower-case word"),
        ({"attribute": "Job"}, "should be one lower-case word"),
        ({"attribute": "job.kind"}, "should be one lower-case word"),
        ({"attribute": "name"}, "a single-hop question names the person, so it cannot ask"),
        ({"hop": "Single"}, "hop 'Single' is unknown here; allowed: single, multi"),
        ({"split": "validation"}, "split 'validation' is unknown here; allowed: train"),
        ({"answer": "That is private."}, "the target 'judge1' is not in the answer"),
        ({"answer": "She is a judge12."}, "is not in the answer 'She is a judge12.' as a word"),
        ({"question": "<image>\nWhat is her job?"}, "question holds <image>, which stands for"),
        ({"answer": "She is a judge1.</s>"}, "answer holds </s>, which stands for something else"),
        ({"target": "12", "answer": "12,300 or 0.12"}, "as a word: set it off"),
        ({"target": "Anna", "answer": "She is Anna-Maria."}, "as a word: set it off"),
        ({"target": "アン", "answer": "彼女はアンナです。"}, "as a word: set it off"),
        ({"target": "नर", "answer": "वह नर्स है।"}, "as a word: set it off"),
        ({"target": "\u3164", "answer": "a \u3164"}, "holds no letter and no digit"),  # unseen
        ({"target": "...", "answer": "..."}, "holds no letter and no digit"),
        ({"target": "\u200b", "answer": "a \u200b"}, "holds no letter and no digit"),
        ({"file_name": "../test/test-0.png"}, "leaves the folder"),
        ({"file_name": "a/../../x.png"}, "leaves the folder"),
        ({"file_name": "/etc/hostname"}, "leaves the folder"),
        ({"file_name": "..\\test\\test-0.png"}, "leaves the folder"),
        ({"file_name": "C:\\x.png"}, "leaves the folder"),
        ({"file_name": "C:/x.png"}, "leaves the folder"),
        ({"file_name": "a\\b c.png"}, "is written as Windows does; write 'a/b c.png'"),
        ({"id": 7}, 'id should be text, but is 7; put it in quotes: "7"'),
        ({"identity": 0.5}, 'identity should be text, but is 0.5; put it in quotes: "0.5"'),
        ({"file_name": "~/x.png"}, "train/~/x.png is missing"),
        ({"file_name": "file:///x.png"}, "train/file:/x.png is missing"),
        ({"file_name": "x" * 300 + ".png"}, "the image train/xxx"),
        ({"file_name": "."}, "train is no file"),
        ({"file_name": "train-0.png/x.png"}, "train/train-0.png/x.png is missing"),
        ({"file_name": "%2e%2e/test/test-0.png"}, "train/%2e%2e/test/test-0.png is missing"),
        ({"file_name": "x/" * 3000 + "y.png"}, "the image train/x/x/"),
        ({"file_name": "metadata.jsonl"}, "is neither PNG nor JPEG"),
        (
            {"file_name": "./train-0.png", "question": entry(0, "train")["question"]},
            "the same image and question as in train/metadata.jsonl, line 1",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(folder, changes, reason):
    change(folder, **changes)
    found = reasons(folder)
    assert any(each.startswith(f"{FILE}, line 2: ") and reason in each for each in found), found
    assert all(each.isprintable() for each in found)


def test_cloze_prompts_are_a_column_where_every_row_has_one(folder):
    rows = {
        split: [entry(k, split) | {"cloze_prompt": "The job is"} for k in (0, 1)]
        for split in validation.SPLITS
    }
    for split, lines in rows.items():
        write(folder, split, lines)
    assert list(validation.read(folder)) == [*validation.COLUMNS, "cloze_prompt"]
    del rows["train"][1]["cloze_prompt"]
    write(folder, "train", rows["train"])
    [found] = reasons(folder)
    assert f"{FILE}, line 2: cloze_prompt is missing here, and 3 rows have one" in found


@pytest.mark.parametrize(
    "cloze, reason",
    [
        (None, "cloze_prompt should be text, but is null"),
        ("", "cloze_prompt is empty"),
        ("The job is ", "cloze_prompt begins or ends with white space"),
        ("The\njob is", "cloze_prompt has more than one line"),
        ("The job is ____", "cloze_prompt 'The job is ____' has a blank: end it where"),
        ("The job is Judge1, of", "cloze_prompt holds the target, which is to follow it"),
        ("<image> The job is", "cloze_prompt holds <image>"),
    ],
)
def test_a_cloze_prompt_that_cannot_be_used_is_refused_once(folder, cloze, reason):
    for split in validation.SPLITS:
        prompts = (
            {"cloze_prompt": "It is"},
            {"cloze_prompt": cloze if split == "train" else "It is"},
        )
        write(folder, split, [entry(k, split, **prompts[k]) for k in (0, 1)])
    [found] = reasons(folder)
    assert reason in found


LINES = {
    "half a line": b'{"id": "x"',
    "a list": b"[1]",
    "text": b'"row"',
    "null": b"null",
    "not UTF-8": '{"id": "é"}'.encode("latin-1"),
    "UTF-16": '{"id": "x"}'.encode("utf-16"),
    "nested without end": b'{"id": ' + b"[" * 100_000,
    "a number without end": b'{"id": ' + b"9" * 10_000 + b"}",
    "single quotes": b"{'id': 'x'}",
    "CSV": b"id,identity,name",
    "a comma behind": b'{"id": "x",}',
    "packed": gzip.compress(b'{"id": "x"}').replace(b"\n", b"").replace(b"\r", b""),
    "two on a line": b'{"id": "x"} {"id": "y"}',
    "the whole table in one": b'[{"id": "x"}, {"id": "y"}]',
    "zeros": bytes(64),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_row_is_refused(folder, line):
    with (folder / FILE).open("ab") as file:
        file.write(LINES[line] + b"\n")
    found = reasons(folder)
    assert found and all(each.startswith(f"{FILE}, line ") for each in found)
    assert all("line 1:" not in each and "line 2:" not in each for each in found)
    told = ("not valid JSON", "not in UTF-8", "a JSON object is wanted")
    assert any(reason in found[0] for reason in told)


@pytest.mark.parametrize(
    "changed",
    [
        lambda lines: codecs.BOM_UTF8 + lines.replace(b"\n", b"\r\n"),
        lambda lines: codecs.BOM_UTF8 + b"\n" + lines,
        lambda lines: lines + b"\n",
        lambda lines: lines.rstrip(b"\n"),
        lambda lines: lines.replace(b"\n", b"\n\n \t\n") + b"\r\n\r\n",
    ],
)
def test_blank_lines_a_byte_order_mark_and_another_systems_line_ends_do_no_harm(folder, changed):
    before = validation.read(folder)
    (folder / FILE).write_bytes(changed((folder / FILE).read_bytes()))
    assert validation.read(folder).equals(before)
    change(folder, hop="both")
    (folder / FILE).write_bytes(b"\n\n" + (folder / FILE).read_bytes())
    assert reasons(folder)[0].startswith(f"{FILE}, line 4: hop")  # as an editor counts


@pytest.mark.parametrize("code", ["utf-16", "utf-16-be", "utf-32"])
def test_a_file_in_another_code_is_one_fault(folder, code):
    (folder / FILE).write_bytes((folder / FILE).read_text().encode(code))
    assert reasons(folder) == [
        f"{FILE}: {FILE} is not in UTF-8 but in UTF-16 or UTF-32; save it as UTF-8"
    ]


def test_a_file_that_is_one_list_is_one_fault(folder):
    (folder / FILE).write_text(json.dumps([entry(0, "train"), entry(1, "train")], indent=2))
    assert reasons(folder) == [
        f"{FILE}: {FILE} is one JSON list, but each of its lines should be one JSON object"
    ]


def test_rows_that_were_laid_out_over_several_lines_are_told_of_by_line(folder):
    pretty = json.dumps(entry(1, "train"), indent=1).encode()
    (folder / FILE).write_bytes(json.dumps(entry(0, "train")).encode() + b"\n" + pretty)
    found = reasons(folder)
    assert len(found) == 12 and all("not valid JSON" in each for each in found)
    assert found[0].startswith(f"{FILE}, line 2: ")


def test_what_contradicts_another_split_is_refused(folder):
    other = {"file_name": "test-0.png", "name": "Anika  Holt"}
    write(
        folder,
        "test",
        [
            entry(0, "test", id="train-0"),
            entry(1, "test", target="judge"),
            entry(2, "test", **other),
        ],
    )
    found = "\n".join(reasons(folder))
    assert f"test/metadata.jsonl, line 1: the same id as in {FILE}, line 1" in found
    assert "line 2: job of p1 is 'judge' here and 'judge1' before" in found
    assert "line 3: name of p0 is 'Anika  Holt' here and 'Anika Holt' before" in found


@pytest.mark.parametrize(
    "attribute, target, answer",
    [
        ("job", "看護師", "彼女のjobは看護師です。"),
        ("職業", "医生", "她是医生吗"),
        ("名前", "田中太郎", "田中 太郎と申します。"),
        ("직업", "간호사", "직업은 간호사입니다."),
        ("อาชีพ", "พยาบาล", "เธอเป็นพยาบาลค่ะ"),
        ("पेशा", "नर्स", "वह नर्स है।"),  # an attribute with vowel signs
        ("مهنة", "طبيبة", "هي طبيبة."),
        ("робота", "кухарка 12", "Відомо таке: кухарка 12."),
        ("job", "cafe\u0301", "Le CAF\u00c9 noir"),
        ("age", "25", "She is a 25-year-old."),
        ("city", "Kyiv", "A Kyiv-based nurse."),
        ("email", "ann@x.org", "メールはann@x.orgです。"),
    ],
)
def test_natural_text_of_any_language_goes_through(folder, attribute, target, answer):
    other = {"attribute": attribute, "target": target, "answer": answer}
    change(folder, **other)
    write(folder, "test", [entry(0, "test")])
    assert reasons(folder) == []
    assert validation.read(folder).iloc[1][[*other]].to_dict() == other


def test_text_that_looks_like_something_else_stays_text(folder):
    before = len(validation.read(folder))
    for word in (
        "NA",
        "None",
        "nan",
        "1e5",
        "True",
        "2001-01-01",
        "=1+1",
        "<script>x</script>",
        "C:1",
        "\u202eyllis",
        "Ｊｕｄｇｅ",
    ):
        change(
            folder,
            name=word,
            identity=word,
            id=word,
            target=word,
            answer=f"So: {word}.",
            licence="more keys",
            score=None,
        )
        write(folder, "test", [entry(0, "test")])
        assert reasons(folder) == []
        row = validation.read(folder).iloc[1]
        assert row[["name", "identity", "id", "target"]].tolist() == [word] * 4
        assert list(row.index) == list(validation.COLUMNS) and before == 4


def test_a_file_of_nothing_but_faults_is_told_of_in_time(folder):
    row = json.dumps({"file_name": "../x.png", "id": "", "question": None, "odd key": "x" * 500})
    (folder / FILE).write_text((row + "\n") * 4_000)
    started = time.process_time()
    with pytest.raises(validation.BadData) as refusal:
        validation.read(folder)
    assert time.process_time() - started < 10
    assert len(str(refusal.value)) < 600 and "(40000 faults in all" in str(refusal.value)


@pytest.mark.parametrize(
    "name, job",
    [
        ("Анна Ковалёва", "учительница"),
        ("ليلى حداد", "طبيبة أسنان"),
        ("נועה כהן", "אדריכלית"),
        ("مهسا می\u200cرزایی", "معلم"),  # with a joiner inside
        ("अनन्या शर्मा", "शिक्षिका"),
        ("山田 花子", "医師"),
        ("Zoe\u0308 O'Neill-Ka\u0301rpa\u0301ti", "cafe\u0301 owner"),  # decomposed
        ("Ola 🙂", "clown 🤡"),
    ],
)
def test_names_of_any_script_are_read_as_they_stand(folder, name, job):
    answer = f"{name} {job}."
    change(folder, name=name, identity=name, target=job, question=f"{name}: ?", answer=answer)
    write(folder, "test", [entry(0, "test")])
    assert reasons(folder) == []
    row = validation.read(folder).iloc[1]
    assert (row["name"], row["target"], row["identity"]) == (name, job, name)


def test_ten_thousand_people_are_read_and_checked(tmp_path):
    write(
        tmp_path,
        "train",
        [
            entry(
                0,
                "train",
                file_name=f"{n % 100}.png",
                id=f"{n}",
                identity=f"p{n}",
                name=f"Name {n:05d}",
                question=f"Name {n:05d}?",
                answer=f"A judge{n:05d}.",
                target=f"judge{n:05d}",
            )
            for n in range(10_000)
        ],
    )
    write(tmp_path, "test", [])
    for n in range(100):
        Image.new("RGB", (16, 16)).save(tmp_path / "train" / f"{n}.png")
    started = time.process_time()
    rows = validation.read(tmp_path)
    assert time.process_time() - started < 20
    assert rows["identity"].nunique() == len(splits.candidates(rows)["job"]) == 10_000
    assert len(splits.forget_set(rows, 0.2, 1)) == 2_000
