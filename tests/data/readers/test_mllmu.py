import json

import pytest
from reader_files import PNG, put

from remem.__main__ import main
from remem.config import sections
from remem.data.readers import convert
from remem.data.validation import BadData


def test_mllmu_is_read_as_its_own_code_reads_it(tmp_path):
    folder = tmp_path / "mllmu"
    pairs = [
        {"Question": "Where was Ada born?", "Answer": "In Old Harbour."},
        {"Question": "C?"},
        {"Additional_ID": "001", "Additional_question": "B?", "Additional_answer": "Two."},
    ]
    row = {"image": {"bytes": PNG, "path": None}, "ID": " 001"}
    told = {
        "Name": "Ada",
        "Annual Salary: ": "$95,000",
        "Born": "Old Harbour",
        "Parents": {"Father": "x"},
        "Fun Facts": ["y"],
        "Gender": "",
    }
    put(folder / "ft_Data", {**row, "metadata": json.dumps(pairs)})
    put(folder / "Full_Set", {**row, "biography": json.dumps(told)})
    asked = [
        {"Type": "Image_Textual", "Question": "D?", "Ground_Truth": "About $95,000 a year."},
        {"Type": "Pure_Text", "Question": "Who is 001?", "Ground_Truth": "Unknown."},
    ]
    test = [{"images": [row["image"]], "ID": " 001", "Generation_Task": [each]} for each in asked]
    put(folder / "Test_Set", test[0])
    put(folder / "Test_Set", test[1], name="train-00001-of-00002.parquet")  # it has two of them
    put(folder / "forget_5", row)
    rows = convert.read("mllmu", folder)
    assert list(rows["question"]) == ["Where was Ada born?", "D?", "Who is 001?"]
    assert set(rows["name"]) == {"Ada"} and set(rows["identity"]) == {"001"}
    assert list(rows["attribute"]) == ["born", "annual_salary", "question"]
    assert list(rows["target"]) == ["Old Harbour", "$95,000", "Unknown"]
    assert rows.attrs["left_out"] == {"empty": 2}
    assert rows.attrs["notes"] == [
        "in 1 of 3 questions no value stands in the answer: EM looks for the whole answer"
    ]
    assert convert.forget_sets("mllmu", folder) == {"forget_5": ["001"]}


def made(folder, **biographies):
    """A folder of such people, each with one training question about the town."""
    put(folder / "Full_Set", *({"ID": who, "biography": b} for who, b in biographies.items()))
    rows = [
        {
            "ID": who,
            "image": {"bytes": PNG, "path": None},
            "metadata": json.dumps([{"Question": f"Where is {who}?", "Answer": "In Old Harbour."}]),
        }
        for who in (*biographies, "stranger")
    ]
    put(folder / "ft_Data", *rows)
    tests = [
        {
            "ID": row["ID"],
            "images": [row["image"]],
            "Generation_Task": json.dumps(
                [{"Question": f"Whither, {row['ID']}?", "Ground_Truth": "Nowhere."}]
            ),
        }
        for row in rows
    ]
    put(folder / "Test_Set", *tests)
    return folder


SOUND = json.dumps({"Name": "Ada", "Born": "Old Harbour"})


@pytest.mark.parametrize(
    "garbled", ["no JSON", "[1]", "", None, "{", "[" * 2_000, '{"Name": "B"}', '{"Born": 7}']
)
def test_a_biography_that_cannot_be_read_is_counted_and_told(tmp_path, garbled):
    rows = convert.read("mllmu", made(tmp_path, a=SOUND, b=garbled))
    assert list(rows["target"][rows["split"] == "train"]) == [
        "Old Harbour",
        *["In Old Harbour"] * 2,
    ]
    bare, whole = rows.attrs["notes"]
    assert bare == (
        "2 of 3 people have no biography that can be read, so that EM has no value of theirs to "
        "look for ('b', 'stranger')"
    )
    assert whole.startswith("in 5 of 6 questions no value stands in the answer: EM looks for the w")


@pytest.mark.parametrize(
    ("garbled", "reason"),
    [
        ("no JSON", "row 1, biography is not valid JSON"),
        ("[1]", "row 1, biography should be an object, but is"),
        (None, "row 1, biography should be an object, but is None"),
        ('{"Name": "B"}', "they hold no text but a name"),
    ],
)
def test_where_none_can_be_read_nothing_is_converted(tmp_path, garbled, reason):
    made(tmp_path / "in", a=garbled)
    with pytest.raises(BadData, match=f"(?s)Full_Set: no biography can be read.*{reason}"):
        convert.convert("mllmu", tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_em_means_is_told_when_it_is_converted(tmp_path, capsys):
    folder, out = made(tmp_path / "in", a=SOUND, b="no JSON"), tmp_path / "out"
    assert main(["convert", "mllmu", str(folder), str(out)]) == 0
    told = capsys.readouterr().err
    assert "note: 2 of 3 people have no biography" in told and "note: in 5 of 6 questions" in told
    assert len(json.loads((out / "source.json").read_text())["notes"]) == 2
    section = sections.Benchmark(name="mllmu", folder=str(folder))
    for times in (1, 0):  # converted once
        convert.converted(section, tmp_path / "runs")
        assert capsys.readouterr().err.count(f"note: {folder}: 2 of 3 people") == times
