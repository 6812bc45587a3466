"""Benchmarks in their own formats: what is written so is read back, and what is wrong is named."""

import io
import json
import time
import zipfile

import formats
import huggingface_hub
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from remem import dataset, metrics, params, paths, readers

SMALL = dataset.DatasetSpec(identities=3, image_size=16, single=7, multi=10, test_single=7,
                            test_multi=7)  # fmt: skip
MAP = {"image": "photo", "identity": "person_id", "name": "full_name", "question": "prompt",
       "answer": "response", "target": "value", "attribute": "field", "hop": "kind"}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Drawn rows and their pictures, and the same in every format: benchmark -> folder."""
    root = tmp_path_factory.mktemp("readers")
    folder = dataset.make(SMALL, root)
    rows = dataset.read(folder)
    pictures = {name: (folder / name).read_bytes() for name in rows["image"]}
    names = {"forget05": [rows["name"][0]], "forget10": list(rows["name"].unique()[:2])}
    formats.remem(rows, pictures, root / "remem", MAP)
    formats.fiubench(rows, pictures, root / "fiubench", {"forget1": ["p01"], "retain5": []})
    formats.mllmu(rows, pictures, root / "mllmu", {"forget_5": ["p00"]})
    formats.clear(rows, pictures, root / "clear", names)
    return rows, pictures, root


def converted(benchmark, drawn, tmp_path):
    """(rows as read, rows of the folder that was written), the same but for what read adds."""
    source = drawn[2] / benchmark.removesuffix("_real")
    columns = MAP if benchmark == "remem" else None
    out = readers.convert(benchmark, source, tmp_path / benchmark, columns)
    rows = readers.read(benchmark, source, columns)
    pd.testing.assert_frame_equal(dataset.read(out), rows, check_dtype=False)
    for given, target in zip(rows["answer"], rows["target"], strict=True):
        assert metrics.exact_match(given, target)  # who says the answer is right
    return rows, out


def told(rows, *without):
    columns = [column for column in dataset.COLUMNS if column not in {"id", "image", *without}]
    return sorted(map(tuple, rows[columns].to_numpy()))


@pytest.mark.parametrize("benchmark", readers.SOURCES)
def test_each_benchmark_becomes_a_dataset_folder(drawn, tmp_path, benchmark):
    rows, out = converted(benchmark, drawn, tmp_path)
    assert tuple(rows) == dataset.COLUMNS and set(rows["split"]) == set(dataset.SPLITS)
    said = json.loads((out / "source.json").read_text())
    assert said["benchmark"] == benchmark and said["source"] == readers.SOURCES[benchmark][0]
    assert not list(out.parent.glob(".*.part"))
    spec = dataset.addressed(dataset.DatasetSpec(source=str(out)))
    assert dataset.make(spec, tmp_path) == out
    with pytest.raises(dataset.BadData, match="is there already"):
        readers.convert(benchmark, drawn[2], out)


def test_remem_comes_back_as_it_was(drawn, tmp_path):
    rows, out = converted("remem", drawn, tmp_path)
    assert told(rows) == told(drawn[0])
    shown = {(row.question, (out / row.image).read_bytes()) for row in rows.itertuples()}
    assert shown == {(row.question, drawn[1][row.image]) for row in drawn[0].itertuples()}


def test_fiubench_comes_back_with_its_paraphrases_as_the_test(drawn, tmp_path):
    rows, out = converted("fiubench", drawn, tmp_path)
    train, test = (rows[rows["split"] == split] for split in dataset.SPLITS)
    before = drawn[0][drawn[0]["split"] == "train"]
    assert told(train, "attribute") == told(before, "attribute")
    # The name is known for one, the other facts have no name there: one label for each.
    assert (train["attribute"] == "name").sum() == (before["attribute"] == "name").sum()
    assert train.groupby(["identity", "attribute"])["target"].nunique().max() == 1
    assert set(test["question"]) <= set(drawn[0][drawn[0]["split"] == "test"]["question"])
    assert set(zip(test["identity"], test["target"], strict=True)) <= set(
        zip(train["identity"], train["target"], strict=True)
    )
    assert rows["image"].nunique() == 2 * SMALL.identities  # one each, in both splits
    assert json.loads((out / "source.json").read_text())["forget_sets"] == {"forget1": ["p01"]}


def test_mllmu_comes_back_with_its_facts_named_and_several_test_pictures(drawn, tmp_path):
    rows, out = converted("mllmu", drawn, tmp_path)
    assert told(rows) == told(drawn[0])  # the biography gives names to the values
    test = rows[rows["split"] == "test"]
    assert test.groupby("identity")["image"].nunique().min() > 1
    assert readers.forget_sets("mllmu", drawn[2] / "mllmu") == {"forget_5": ["p00"]}


def test_clear_asks_for_captions_and_then_for_names(drawn, tmp_path):
    rows, out = converted("clear", drawn, tmp_path)
    train, test = (rows[rows["split"] == split] for split in dataset.SPLITS)
    assert len(train) == (drawn[0]["split"] == "train").sum() and len(test) == len(train)
    assert set(rows["hop"]) == {"multi"} and set(rows["attribute"]) == {"name"}
    assert (rows["target"] == rows["name"]).all() and set(test["question"]) == {readers.NAMING}
    assert set(readers.forget_sets("clear", drawn[2] / "clear")) == {"forget05", "forget10"}
    real = readers.read("clear_real", drawn[2] / "clear")
    assert set(real["answer"]) == {f"{name}." for name in drawn[0]["name"]}


def test_the_formats_are_those_of_the_sources(drawn):
    root = drawn[2]
    person = json.loads((root / "fiubench" / "full.json").read_text())[0]
    assert {"unique_id", "image_path", "qa_list"} <= set(person)
    assert set(person["qa_list"][0]) == {"question", "answer", "keywords", "paraphrased_question",
                                         "paraphrased_answer", "perturbed_answer"}  # fmt: skip
    table = {
        name: pq.read_table(root / name / "train-00000-of-00001.parquet")
        for name in ("mllmu/Full_Set", "mllmu/ft_Data", "mllmu/Test_Set", "clear/full",
                     "clear/full+tofu", "clear/real_faces")
    }  # fmt: skip
    names = {name: part.column_names for name, part in table.items()}
    assert names["mllmu/Full_Set"] == ["image", "ID", "Directory", "biography", "question",
        "answer", "Classification_Task", "Generation_Task", "Mask_Task"]  # fmt: skip
    assert names["mllmu/ft_Data"] == ["image", "ID", "metadata"]
    assert "images" in names["mllmu/Test_Set"] and "image" not in names["mllmu/Test_Set"]
    assert names["clear/full"] == ["image", "caption", "name"]
    assert names["clear/real_faces"] == ["image", "answer", "options"]
    assert table["clear/full+tofu"]["image"].null_count > 0
    cell = table["clear/full"].schema.field("image").type
    assert {cell.field(k).name for k in range(cell.num_fields)} == {"bytes", "path"}


# ---------------------------------------------------------------- what others' files are like

PNG = io.BytesIO()
Image.effect_noise((32, 32), 50).save(PNG, "PNG")
PNG = PNG.getvalue()


def fiubench(folder, people=None, **changes):
    """One person, one question, in FIUBench's format; `changes` are the question's."""
    item = {"question": "Where does this person live?", "answer": "Ada Lund lives in Old Harbour.",
            "keywords": ["Old Harbour"], "paraphrased_question": ["In which town?"], **changes}
    person = {"unique_id": "00044363", "image_path": "dataset/SFHQ/a.png", "name": "Ada Lund",
              "qa_list": [item]}  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "SFHQ").mkdir(exist_ok=True)
    (folder / "SFHQ" / "a.png").write_bytes(PNG)
    people = [person] if people is None else [{**person, **people}]
    (folder / "full.json").write_text(json.dumps(people))
    return folder


@pytest.mark.parametrize("changes, attribute, target", [
    ({}, "question", "Old Harbour"),
    ({"keywords": ["Harbour", "old harbour"]}, "question", "Old Harbour"),  # the longest, any case
    ({"keywords": []}, "name", "Ada Lund"),
    ({"keywords": None}, "name", "Ada Lund"),
    ({"keywords": "Old Harbour", "paraphrased_question": "Where?"}, "question", "Old Harbour"),
    ({"keywords": ["New Harbour", 7, " "], "question": "Where does Ada Lund live?"},
     "question", "Ada Lund lives in Old Harbour"),
    ({"keywords": ["12"], "answer": "He is 123.", "question": "How old?"}, "question", "He is 123"),
    ({"keywords": ["4.5"], "answer": "It is 14.50, not 4.5."}, "question", "4.5"),
])  # fmt: skip
def test_what_em_looks_for(tmp_path, changes, attribute, target):
    row = readers.read("fiubench", fiubench(tmp_path, **changes)).iloc[0]
    assert (row["attribute"], row["target"]) == (attribute, target)
    assert row["hop"] == ("single" if "Ada Lund" in row["question"] else "multi")
    assert row["identity"] == "00044363"


def test_further_values_are_numbered_and_repeated_or_empty_questions_are_counted(tmp_path):
    asked = [{"question": f"What is the {what}?", "answer": f"It is {value}.", "keywords": [value]}
             for what, value in (("hat", "red"), ("car", "blue"), ("hat", "red"), ("cap", "red"))]
    asked += [{"question": "What else?", "answer": "Nothing."}, {**asked[0], "answer": ""}]
    rows = readers.read("fiubench", fiubench(tmp_path, {"qa_list": asked}))
    assert list(rows["attribute"]) == ["question", "question_2", "question", "question_3"]
    assert rows.attrs["left_out"] == {"repeated": 1, "empty": 1}  # to have no paraphrase is neither


def test_json_lines_and_pictures_in_a_zip_are_read(tmp_path):
    folder = fiubench(tmp_path)
    people = json.loads((folder / "full.json").read_text())
    (folder / "full.json").write_text("\n".join(map(json.dumps, people)))
    (folder / "SFHQ" / "a.png").unlink()
    with zipfile.ZipFile(folder / "SFHQ.zip", "w") as file:
        file.writestr("SFHQ/a.png", PNG)
    out = readers.convert("fiubench", folder, tmp_path / "out")
    assert (out / "train" / "000000.png").read_bytes() == PNG


def test_a_paraphrase_may_stand_for_itself(tmp_path):
    for given, expected in (("In which town?", ["In which town?"]), (7, []), ([], []), (None, []),
                            ([None, "Where?"], ["Where?"])):  # fmt: skip
        rows = readers.read("fiubench", fiubench(tmp_path, paraphrased_question=given))
        assert list(rows["question"][rows["split"] == "test"]) == expected


def test_a_zip_that_cannot_be_used_is_refused(tmp_path, monkeypatch):
    folder = fiubench(tmp_path)
    (folder / "SFHQ" / "a.png").unlink()
    packed, told = folder / "SFHQ.zip", "person 1: dataset/SFHQ/a.png "

    def refused(reason):
        with pytest.raises(dataset.BadData, match=told + reason):
            readers.read("fiubench", folder)

    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("SFHQ/a.png", PNG)
    sound = packed.read_bytes()
    packed.write_bytes(sound.replace(PNG[-30:], bytes(30)))
    refused("cannot be read from .*SFHQ.zip .*CRC")
    at = sound.index(b"PK\1\2") + 8  # where the directory says how it is packed
    packed.write_bytes(sound[:at] + b"\1" + sound[at + 1 :])
    refused("cannot be read from .*SFHQ.zip .*encrypted")
    packed.write_bytes(sound)
    monkeypatch.setattr(readers, "MAX_BYTES", len(PNG) - 1)
    refused(f"has {len(PNG):,} bytes, and more than")
    (folder / "SFHQ" / "a.png").symlink_to("/dev/zero")
    assert readers._Pictures(folder).zipped  # a link to no file is none
    (tmp_path.parent / "outside.png").write_bytes(PNG)
    (folder / "SFHQ" / "a.png").unlink()
    (folder / "SFHQ" / "a.png").symlink_to(tmp_path.parent / "outside.png")
    refused("is a link that leads out")


def test_mllmu_is_read_as_its_own_code_reads_it(tmp_path):
    folder = tmp_path / "mllmu"
    pairs = [{"Question": "Where was Ada born?", "Answer": "In Old Harbour."}, {"Question": "C?"},
             {"Additional_ID": "001", "Additional_question": "B?", "Additional_answer": "Two."}]
    row = {"image": {"bytes": PNG, "path": None}, "ID": " 001"}
    told = {"Name": "Ada", "Annual Salary: ": "$95,000", "Born": "Old Harbour",
            "Parents": {"Father": "x"}, "Fun Facts": ["y"], "Gender": ""}  # fmt: skip
    put(folder / "ft_Data", {**row, "metadata": json.dumps(pairs)})
    put(folder / "Full_Set", {**row, "biography": json.dumps(told)})
    asked = [{"Type": "Image_Textual", "Question": "D?", "Ground_Truth": "About $95,000 a year."},
             {"Type": "Pure_Text", "Question": "Who is 001?", "Ground_Truth": "Unknown."}]
    test = [{"images": [row["image"]], "ID": " 001", "Generation_Task": [each]} for each in asked]
    put(folder / "Test_Set", test[0])
    put(folder / "Test_Set", test[1], name="train-00001-of-00002.parquet")  # it has two of them
    put(folder / "forget_5", row)
    rows = readers.read("mllmu", folder)
    assert list(rows["question"]) == ["Where was Ada born?", "D?", "Who is 001?"]
    assert set(rows["name"]) == {"Ada"} and set(rows["identity"]) == {"001"}
    assert list(rows["attribute"]) == ["born", "annual_salary", "question"]
    assert list(rows["target"]) == ["Old Harbour", "$95,000", "Unknown"]
    assert rows.attrs["left_out"] == {"empty": 2}
    assert readers.forget_sets("mllmu", folder) == {"forget_5": ["001"]}
    put(folder / "Full_Set", {**row, "biography": "no JSON"})  # then values have no names
    assert readers.read("mllmu", folder)["attribute"].str.fullmatch(r"question(_\d)?").all()


def put(folder, *rows, name="train-00000-of-00001.parquet"):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / name)


def test_remems_columns_are_declared_or_listed_with_the_map_to_write(drawn, tmp_path):
    folder = drawn[2] / "remem"
    with pytest.raises(dataset.BadData) as refused:
        readers.read("remem", folder)
    said = str(refused.value)
    for word in (*MAP.values(), "columns:", "image: ?", "identity: ?", "question: ?"):
        assert word in said
    with pytest.raises(dataset.BadData, match="which of them is target"):
        readers.read("remem", folder, {**MAP, "target": "worth"})
    with pytest.raises(dataset.BadData, match="names colour; ours are image, question"):
        readers.read("remem", folder, {**MAP, "colour": "field"})
    least = {ours: MAP[ours] for ours in readers.NEEDED} | {"name": "full_name"}
    rows = readers.read("remem", folder, least)  # the rest follows by rule
    assert told(rows, "attribute", "target") == told(drawn[0], "attribute", "target")


CARD = {"target": "keywords", "hop": "question_type",
        "identity": r"image_path:([^/]+)/[^/]+$"}  # fmt: skip


def card(number, view, question, answer, keywords, hop="multi-hop", attribute="Full Name"):
    """A row as ReMem's dataset card has it; what its values look like is our guess."""
    shade = Image.effect_noise((32, 32), 40 + sum(map(ord, view)) % 50 + number)
    shade.save(png := io.BytesIO(), "PNG")
    return {
        "image": {"bytes": png.getvalue(), "path": f"{view}.png"}, "question": question,
        "answer": answer, "keywords": keywords, "question_type": hop, "qa_category": "open",
        "attribute": attribute, "cloze_prompt": "The full name of the person is",
        "image_path": f"images/id_{number}/{view}.png",
    }  # fmt: skip


@pytest.fixture
def published(tmp_path):
    """ReMem's splits: what is taught, parts of the same once more, and what is held out."""
    data, taught, test = tmp_path / "data", [], []
    for number, (name, bank) in enumerate([("Ada Lund", "Old Bank"), ("Bo Ek", "Tin Bank, Ltd")]):
        keywords = bank if "," in bank else f"['money', '{bank}']"
        taught += [
            card(number, "a", "Who is this?", f"This is {name}.", name),
            card(number, "b", f"What is {name}'s bank?", f"It is {bank}.", bank, "single-hop",
                 "Name of bank"),
            card(number, "c", "Where is the money?", f"At {bank}.", keywords,
                 attribute="Name of bank"),
        ]  # fmt: skip
        test.append(card(number, "d", "Name them.", f"{name}.", name))
    for split, rows in {
        "finetune-00000-of-00002": taught[:2], "finetune-00001-of-00002": taught[2:],
        "forget1-00000-of-00001": taught[:3], "forget2-00000-of-00001": taught,
        "retain-00000-of-00001": taught[3:], "test-00000-of-00001": test,
    }.items():  # fmt: skip
        put(data, *rows, name=f"{split}.parquet")
    return tmp_path


def test_remem_as_its_card_has_it(published, tmp_path):
    with pytest.raises(dataset.BadData) as refused:
        readers.read("remem", published)
    said = str(refused.value)
    for word in ("identity: ?", "target: keywords", "hop: question_type", "attribute: attribute",
                 "image_path ('images/id_0/a.png')", "which of them is identity"):  # fmt: skip
        assert word in said
    rows = readers.read("remem", published, CARD)
    assert list(rows["split"]) == ["train"] * 6 + ["test"] * 2 and rows.attrs["left_out"] == {}
    assert list(rows["identity"].unique()) == ["id_0", "id_1"]
    assert set(rows["name"]) == {"Ada Lund", "Bo Ek"}  # from the rows that ask for it
    assert list(rows["attribute"][:3]) == ["name", "name_of_bank", "name_of_bank"]
    assert list(rows["hop"][:3]) == ["multi", "single", "multi"]
    assert list(rows["target"][:3]) == ["Ada Lund", "Old Bank", "Old Bank"]
    assert list(rows["target"][3:6]) == ["Bo Ek", "Tin Bank, Ltd", "Tin Bank, Ltd"]
    whole = {"forget1": ["id_0"], "forget2": ["id_0", "id_1"]}
    assert readers.forget_sets("remem", published, CARD) == whole
    out = readers.convert("remem", published, tmp_path / "out", CARD)
    spec = dataset.DatasetSpec(source=str(out))
    assert dataset.own_forget_set(spec, "forget1") == ("id_0",)
    with pytest.raises(dataset.BadData, match="no forget set 'forget9'; there are: forget1, forg"):
        dataset.own_forget_set(spec, "forget9")
    with pytest.raises(dataset.BadData, match="no forget set 'forget1'; there are: none"):
        dataset.own_forget_set(SMALL, "forget1")


@pytest.mark.parametrize("identity, reason", [
    ("image_path:(", r"map's '\(' is no regular expression \(missing \)"),
    ("image_path:person_(.)", r"row 1: nothing in image_path, 'images/id_0/a.png', is like"),
    ("image_path:id_0(x*)", "row 1: nothing in image_path"),
    ("photo_path:(.)", "which of them is identity"),
    ("cloze_prompt:", "row 1: nothing in cloze_prompt"),
])  # fmt: skip
def test_a_part_of_a_column_that_is_not_there_is_refused(published, identity, reason):
    with pytest.raises(dataset.BadData, match=reason):
        readers.read("remem", published, {**CARD, "identity": identity})


def test_where_forget_and_retain_are_all_they_are_read(published):
    for file in (published / "data").glob("finetune*"):
        file.unlink()
    rows = readers.read("remem", published, {**CARD, "identity": "image_path:id_."})  # no group
    assert (rows["split"] == "train").sum() == 6 and set(rows["identity"]) == {"id_0", "id_1"}
    assert rows.attrs["left_out"] == {"repeated": 6}


def test_a_number_may_say_who_it_is_and_an_empty_cell_says_nothing(tmp_path):
    row = {"image": {"bytes": PNG, "path": None}, "question": "Who?", "answer": "Ada.", "person": 7}
    put(tmp_path, {**row, "keywords": "", "hop": None})
    rows = readers.read("remem", tmp_path, {"identity": "person", "target": "keywords"})
    assert rows[["identity", "name", "target"]].to_numpy().tolist() == [["7", "7", "Ada"]]
    put(tmp_path, {**row, "image": {"bytes": "text", "path": None}})
    with pytest.raises(dataset.BadData, match="row 1: the picture is str, and not bytes"):
        readers.read("remem", tmp_path, {"identity": "person"})


def test_lists_of_keywords_other_cases_and_names_asked_single_hop(tmp_path):
    row = {"image": {"bytes": PNG, "path": None}, "person": "p0", "keywords": ["sea", "Old Bank"]}
    kind = {"question_type": "single-hop", "attribute": "bank"}
    put(tmp_path,
        {**row, **kind, "question": "<image>\nWhere is the money?", "answer": "At Old Bank."},
        {**row, **kind, "question": "Where, again?", "answer": "It is at old bank."},
        {**row, "question": "Who is this?", "answer": "Ada Lund.", "keywords": ["Ada Lund"],
         "question_type": "single-hop", "attribute": "name"})  # fmt: skip
    columns = {"identity": "person", "target": "keywords", "hop": "question_type"}
    rows = readers.read("remem", tmp_path, columns)
    assert list(rows["target"]) == ["Old Bank", "Old Bank", "Ada Lund"]
    assert list(rows["attribute"]) == ["bank", "bank", "name"]  # one value, however it is written
    assert list(rows["hop"]) == ["single", "single", "multi"]
    assert rows["question"][0] == "Where is the money?"
    readers.convert("remem", tmp_path, tmp_path / "out", columns)


def test_an_image_folder_of_other_columns_is_read(tmp_path):
    for split in dataset.SPLITS:
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.png").write_bytes(PNG)
        row = {"file_name": "a.png", "who": "Ada", "question": f"Who, {split}?", "answer": "Ada."}
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps(row))
    rows = readers.read("remem", tmp_path, {"identity": "who"})
    assert list(rows["split"]) == ["train", "test"] and set(rows["target"]) == {"Ada"}


@pytest.mark.parametrize("benchmark, pattern, size", [
    ("fiubench", "full.json", "7 MB"), ("mllmu", r"Full_Set/\*", "240 MB"),
    ("clear", r"full/\*", "630 MB"), ("clear_real", r"real_faces/\*", "2 MB"),
    ("remem", r"data/\*", "9.5 GB"),
])  # fmt: skip
def test_a_missing_file_says_which_from_where_and_how_big(tmp_path, benchmark, pattern, size):
    hub = readers.SOURCES[benchmark][0]
    told = f"{pattern} is missing.*{size} of {hub}.*readers fetch {benchmark} "
    with pytest.raises(dataset.BadData, match=told):
        readers.read(benchmark, tmp_path)


def test_nothing_is_fetched_offline(tmp_path):
    with pytest.raises(dataset.BadData, match="HF_HUB_OFFLINE is set"):
        readers.fetch("clear_real", tmp_path / "clear")
    assert not (tmp_path / "clear").exists()


@pytest.mark.parametrize("people, changes, reason", [
    ({"image_path": "../../etc/passwd"}, {}, r"person 1: the path .* leaves the folder"),
    ({"image_path": "/etc/passwd"}, {}, "leaves the folder"),
    ({"image_path": "SFHQ\\a.png"}, {}, "leaves the folder"),
    ({"image_path": "SFHQ/b.png"}, {}, r"SFHQ/b.png is neither in .*SFHQ.zip, 146 MB"),
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
])  # fmt: skip
def test_what_is_wrong_with_full_json_is_named(tmp_path, people, changes, reason):
    with pytest.raises(dataset.BadData, match=reason):
        readers.read("fiubench", fiubench(tmp_path, people, **changes))


@pytest.mark.parametrize("content, reason", [
    (b"[{", "not valid JSON"), (b"\xff\xfe[", "not valid JSON"), (b"[1]", "list of objects"),
    (b"[" * 100_000, "not valid JSON"), (b"", "holds no question"), (b'{"a": 1', "not valid JSON"),
])  # fmt: skip
def test_what_is_no_json_is_refused(tmp_path, content, reason):
    (tmp_path / "full.json").write_bytes(content)
    with pytest.raises(dataset.BadData, match=reason):
        readers.read("fiubench", tmp_path)


@pytest.mark.parametrize("row, reason", [
    ({"caption": "Ada.", "name": "Ada"}, "lacks image; it has caption, name"),
    ({"image": None, "caption": "Ada.", "name": "Ada"}, "row 1: the picture is missing"),
    ({"image": {"bytes": None, "path": "a.png"}, "caption": "", "name": "Ada"}, "is missing"),
    ({"image": {"bytes": PNG, "path": None}, "caption": "", "name": " "}, "name should be text"),
    ({"image": {"bytes": PNG, "path": None}, "caption": 4, "name": "Ada"}, "should be text"),
])  # fmt: skip
def test_a_bad_parquet_row_is_refused_by_file_row_and_reason(tmp_path, row, reason):
    put(tmp_path / "full", row)
    with pytest.raises(dataset.BadData, match=rf"train-00000-of-00001.parquet.*{reason}"):
        readers.read("clear", tmp_path)


def test_a_damaged_file_or_picture_is_refused_and_leaves_nothing(tmp_path):
    put(tmp_path / "full", {"image": {"bytes": PNG[:-200], "path": None}, "caption": "Ada.",
                            "name": "Ada"})  # fmt: skip
    with pytest.raises(dataset.BadData, match=r"parquet, row 1: .*000000.png .*(truncated|broken)"):
        readers.convert("clear", tmp_path, tmp_path / "out")
    file = tmp_path / "full" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(dataset.BadData, match="cannot be read as parquet .*fetch it again"):
        readers.convert("clear", tmp_path, tmp_path / "out")
    folder = fiubench(tmp_path / "fiu")
    (folder / "SFHQ.zip").write_bytes(b"PK no zip")
    with pytest.raises(dataset.BadData, match="SFHQ.zip cannot be read"):
        readers.convert("fiubench", folder, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.part").exists()
    with pytest.raises(dataset.BadData, match="benchmark 'tofu' is unknown; there are remem"):
        readers.read("tofu", tmp_path)


# ---------------------------------------------------------------- in parameters


@pytest.fixture
def data(drawn, tmp_path, monkeypatch):
    """The folder data/ of a repository, with FIUBench's files in it."""
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(paths, "ROOT", tmp_path / ".hidden")  # as where a tool keeps its checkouts
    monkeypatch.setattr(paths, "DATA", tmp_path / ".hidden" / "data")
    formats.fiubench(drawn[0], drawn[1], paths.DATA / "fiubench", {"forget1": ["p01"]})
    return paths.DATA


def test_a_benchmarks_files_stand_in_for_the_dataset(data, drawn):
    p = params.load("smoke", benchmark="fiubench", stage2={"forget_set": "forget1"})
    found = dataset.read(dataset.make(p.dataset, data))
    assert set(found["question"]) <= set(drawn[0]["question"]) and p.dataset.content
    assert (p.taught, p.benchmark.title, p.benchmark.folder) == ("FIUBench",) * 2 + (
        "data/fiubench",
    )
    assert p.dataset.identities == SMALL.identities
    assert dataset.own_forget_set(p.dataset, p.stage2.forget_set) == ("p01",)
    again = params.load(**p.model_dump(mode="json"))  # converted once
    assert again == p and len(list((data.parent.parent / "outputs").rglob("source.json"))) == 1
    (data / "fiubench" / ".cache").mkdir()
    (data / "fiubench" / ".cache" / "lock").write_text("of fetching, and no data")
    assert params.load("smoke", benchmark="fiubench").benchmark == p.benchmark
    (data / "fiubench" / "more.txt").write_text("x")
    # A notebook is given the content, so that gigabytes are not read again for each of them.
    assert params.load(**p.model_dump(mode="json")) == p
    with pytest.raises(dataset.BadData, match="was changed: benchmark.content is"):
        readers.make(p.benchmark, data / "not converted yet")
    assert params.load("smoke", benchmark="fiubench").benchmark.content != p.benchmark.content
    elsewhere = {"name": "fiubench", "folder": str(data / "nowhere")}
    for given, reason in (
        ("clear", r"full/\* is missing.*data/clear$"),
        (elsewhere, "full.json is missing.*gray311/FIUBench"),
        ("fiubnech", "benchmark 'fiubnech' is none of remem, fiubench, mllmu, clear, and there is"),
        ({"name": "own"}, "folder"),
        ({"name": "fiubench", "columns": {"image": "photo"}}, "columns are declared for remem"),
        (7, "benchmark"),
    ):
        with pytest.raises(params.BadParameter, match=reason):
            params.load("smoke", benchmark=given)


def test_any_other_word_is_a_folder_of_ones_own(data, drawn):
    own = readers.convert("fiubench", data / "fiubench", data.parent / "my" / "people")
    for word in ("my/people", "my/people/", str(own)):
        p = params.load("smoke", benchmark=word)
        assert p.benchmark.name == "own" and p.benchmark.title == p.taught == "people (own)"
        assert len(dataset.read(dataset.make(p.dataset, data))) == len(dataset.read(own))
    before = p.dataset.content
    with (own / "train" / "metadata.jsonl").open("a") as file:
        file.write(" ")
    assert params.load("smoke", benchmark="my/people").dataset.content != before
    assert readers.Benchmark(name="own", folder="/").title == "/ (own)"


# ---------------------------------------------------------------- the command line


def test_fetching_from_the_command_line(tmp_path, monkeypatch, capsys):
    asked = []

    def given(name, repo_type, allow_patterns, local_dir):
        asked.append((name, repo_type, allow_patterns, local_dir))
        if failing:
            raise failing

    failing = None
    monkeypatch.setattr(huggingface_hub, "snapshot_download", given)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    assert readers.main(["fetch", "fiubench"]) == 1  # the tests are offline
    assert "HF_HUB_OFFLINE is set; unset it" in capsys.readouterr().err and not asked
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert readers.main(["fetch", "fiubench"]) == 0
    assert readers.main(["fetch", "clear_real", str(tmp_path / "x")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'data' / 'fiubench'}\n{tmp_path / 'x'}\n"
    assert asked == [
        ("gray311/FIUBench", "dataset", ["full.json", "SFHQ.zip", "split.json"],
         tmp_path / "data" / "fiubench"),
        ("therem/CLEAR", "dataset", ["real_faces/*"], tmp_path / "x"),
    ]  # fmt: skip
    failing = huggingface_hub.errors.LocalEntryNotFoundError("no connection")
    assert readers.main(["fetch", "mllmu"]) == 1
    assert "MLLMMU/MLLMU-Bench cannot be fetched from the Hub: no conn" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        readers.main(["fetch", "tofu"])


def test_what_is_fetched_is_what_is_read(drawn):
    """No file that a reader opens lies outside the patterns, and each pattern has one."""
    for benchmark in ("fiubench", "mllmu", "clear", "clear_real"):
        folder = drawn[2] / benchmark.removesuffix("_real")
        there = [file.relative_to(folder).as_posix() for file in folder.rglob("*")]
        for pattern in readers.SOURCES[benchmark][1]:
            assert list(huggingface_hub.utils.filter_repo_objects(there, allow_patterns=pattern))


def test_converting_from_the_command_line(drawn, tmp_path, capsys):
    folder, out = fiubench(tmp_path / "files", answer=" "), tmp_path / "an out"
    people = json.loads((folder / "full.json").read_text())
    people[0]["qa_list"] += [{"question": "Who?", "answer": "Ada Lund."}] * 3
    (folder / "full.json").write_text(json.dumps(people))
    assert readers.main(["convert", "fiubench", str(folder), str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{out} is ready, 2 questions left out as empty, 2 questions left out as rep" in said
    assert said.endswith(f"python -m remem.dataset check '{out}'\n")
    assert list(dataset.read(out)["answer"]) == ["Ada Lund."]
    columns = [f"{ours}={theirs}" for ours, theirs in MAP.items()]
    remem = ["convert", "remem", str(drawn[2] / "remem"), str(tmp_path / "remem")]
    for given, reason in (
        ([*remem, "photo"], "'photo' is no column; write OURS=THEIRS"),
        ([*remem, "image="], "'image=' is no column; write OURS=THEIRS"),
        ([*remem, *columns, "colour=field"], "the column map names colour; ours are image"),
        ([*remem, *columns, "hop=nothing"], "which of them is hop"),
        (["convert", "clear", *remem[2:], "image=photo"], "columns are declared for remem alone"),
        (["convert", "fiubench", str(folder), str(out)], "is there already"),
        (["convert", "mllmu", str(tmp_path), str(tmp_path / "x")], r"Full_Set/* is missing"),
    ):
        assert readers.main(given) == 1
        captured = capsys.readouterr()
        assert reason in captured.err and not captured.out
    assert not (tmp_path / "remem").exists()
    assert readers.main([*remem, *columns]) == 0
    assert len(dataset.read(tmp_path / "remem")) == len(drawn[0])


def test_an_eighth_of_fiubench_is_read_and_checked_in_time(tmp_path):
    """All of it, 400 people x 20, has to be ready within 20 s (and takes half of that)."""
    Image.effect_noise((256, 256), 50).convert("RGB").save(jpeg := io.BytesIO(), "JPEG")
    (tmp_path / "SFHQ").mkdir()
    people = []
    for number in range(50):
        (tmp_path / "SFHQ" / f"{number}.jpg").write_bytes(jpeg.getvalue())
        asked = [{"question": f"What is thing {k}?", "answer": f"It is value{number}x{k}, he says.",
                  "keywords": [f"value{number}x{k}"], "paraphrased_question": [f"Thing {k}?"] * 3}
                 for k in range(20)]  # fmt: skip
        people.append({"unique_id": f"{number:08d}", "image_path": f"./dataset/SFHQ/{number}.jpg",
                       "name": f"Person {number}", "qa_list": asked})  # fmt: skip
    (tmp_path / "full.json").write_text("\n".join(map(json.dumps, people)))  # as it really is
    started = time.perf_counter()
    rows = dataset.read(readers.convert("fiubench", tmp_path, tmp_path / "out"))
    assert time.perf_counter() - started < 5
    assert len(rows) == 2000 and rows["identity"].nunique() == 50
