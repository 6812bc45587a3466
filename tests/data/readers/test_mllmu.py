import json

from reader_files import PNG, put

from remem.data.readers import convert


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
    assert convert.forget_sets("mllmu", folder) == {"forget_5": ["001"]}
    put(folder / "Full_Set", {**row, "biography": "no JSON"})  # then values have no names
    assert convert.read("mllmu", folder)["attribute"].str.fullmatch(r"question(_\d)?").all()
