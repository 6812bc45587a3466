"""Benchmarks in their own formats: what is written so is read back, and what is wrong is named."""

import io
import json
import zipfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from remem import dataset, metrics, readers

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
    readers.write_remem(rows, pictures, root / "remem", MAP)
    readers.write_fiubench(rows, pictures, root / "fiubench", {"forget1": ["p01"], "retain5": []})
    readers.write_mllmu(rows, pictures, root / "mllmu", {"forget_5": ["p00"]})
    readers.write_clear(rows, pictures, root / "clear", names)
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
    assert rows.attrs["left_out"] == {"repeated": 1, "empty": 7}  # six have no paraphrase


def test_json_lines_and_pictures_in_a_zip_are_read(tmp_path):
    folder = fiubench(tmp_path)
    people = json.loads((folder / "full.json").read_text())
    (folder / "full.json").write_text("\n".join(map(json.dumps, people)))
    (folder / "SFHQ" / "a.png").unlink()
    with zipfile.ZipFile(folder / "SFHQ.zip", "w") as file:
        file.writestr("SFHQ/a.png", PNG)
    out = readers.convert("fiubench", folder, tmp_path / "out")
    assert (out / "train" / "000000.png").read_bytes() == PNG


def test_mllmus_second_kind_of_keys_counts_too(drawn, tmp_path):
    folder = tmp_path / "mllmu"
    pairs = [{"Question": "A?", "Answer": "One."},
             {"Additional_question": "B?", "Additional_answer": "Two."}, {"Question": "C?"}]
    row = {"image": {"bytes": PNG, "path": None}, "ID": "001"}
    put(folder / "ft_Data", {**row, "metadata": json.dumps(pairs)})
    put(folder / "Full_Set", {**row, "biography": "no JSON"})
    task = {"Type": "Image_Textual", "Question": "D?", "Ground_Truth": "One."}
    put(folder / "Test_Set", {"images": [row["image"]], "ID": "001", "Generation_Task": [task]})
    rows = readers.read("mllmu", folder)
    assert list(rows["question"]) == ["A?", "B?", "D?"] and set(rows["name"]) == {"001"}
    assert list(rows["attribute"]) == ["question", "question_2", "question"]
    assert rows.attrs["left_out"] == {"empty": 1}


def put(folder, *rows):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "train-00000-of-00001.parquet")


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
    ("remem", r"\*", "unknown size"),
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
    ({"qa_list": []}, {}, "holds no question"),
    (None, {"question": 3}, "question 1: question and answer should be text"),
    (None, {"answer": ["a"]}, "question and answer should be text"),
])  # fmt: skip
def test_what_is_wrong_with_full_json_is_named(tmp_path, people, changes, reason):
    with pytest.raises(dataset.BadData, match=reason):
        readers.read("fiubench", fiubench(tmp_path, people, **changes))


@pytest.mark.parametrize("content, reason", [
    (b"[{", "not valid JSON"), (b"\xff\xfe[", "not valid JSON"), (b"[1]", "list of objects"),
    (b"", "holds no question"), (b'{"a": 1', "not valid JSON"),
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


def test_a_benchmarks_files_stand_in_for_the_dataset(drawn, tmp_path, monkeypatch):
    from remem import params

    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    rows, pictures, _ = drawn
    readers.write_fiubench(rows, pictures, tmp_path / "files", {})
    given = {"name": "fiubench", "folder": str(tmp_path / "files")}
    p = params.load("smoke", benchmark=given)
    found = dataset.read(dataset.make(p.dataset, tmp_path))
    assert set(found["question"]) <= set(rows["question"]) and p.dataset.content
    assert params.load("smoke", benchmark=given) == p  # converted once
    (tmp_path / "files" / "more.txt").write_text("x")
    assert params.load("smoke", benchmark=given).benchmark.content != p.benchmark.content
    with pytest.raises(params.BadParameter, match="full.json is missing.*gray311/FIUBench"):
        params.load("smoke", benchmark={"name": "fiubench", "folder": str(tmp_path / "nowhere")})
