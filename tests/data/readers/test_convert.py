"""Benchmarks in their own formats: what is written so is read back."""

import io
import json
import os
import shutil
import time

import formats
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from reader_files import MAP, PNG, facts, one_person, put

from remem import metrics, paths, runs
from remem.__main__ import main
from remem.config import sections
from remem.data import splits, validation
from remem.data.dataset import data_of, folder_of, rows_of
from remem.data.readers import convert, files
from remem.data.readers.convert import ConvertedRun, converted


def read_and_converted(benchmark, drawn, tmp_path):
    """(rows as read, rows of the folder that was written), the same but for what read adds."""
    source = drawn[2] / benchmark.removesuffix("_real")
    columns = MAP if benchmark == "remem" else None
    out = convert.convert(benchmark, source, tmp_path / benchmark, columns)
    rows = convert.read(benchmark, source, columns)
    pd.testing.assert_frame_equal(validation.read(out), rows, check_dtype=False)
    for given, target in zip(rows["answer"], rows["target"], strict=True):
        assert metrics.exact_match(given, target)  # who says the answer is right
    return rows, out


@pytest.mark.parametrize(
    "value, text, held",
    [
        ("old bank", "It is the OLD bank's.", "OLD bank"),
        ("Anna", "Anna-Maria, or ANNA", "ANNA"),
        ("Anna", "Anna-Maria", None),
        ("Anna", "Anna\u2011Maria", None),  # a hyphen that breaks no line
        ("istanbul", "\u0130stanbul", None),  # another word, case folded
        ("看護師", "彼は看護師です", "看護師"),
    ],
)
def test_a_value_is_taken_as_the_text_has_it_where_exact_match_finds_it(value, text, held):
    assert convert._held(value, text) == held
    assert held is None or metrics.exact_match(text, held)


@pytest.mark.parametrize("benchmark", files.SOURCES)
def test_each_benchmark_becomes_a_dataset_folder(drawn, tmp_path, benchmark):
    rows, out = read_and_converted(benchmark, drawn, tmp_path)
    assert tuple(rows) == validation.COLUMNS and set(rows["split"]) == set(validation.SPLITS)
    said = json.loads((out / "source.json").read_text())
    assert said["benchmark"] == benchmark and said["source"] == files.SOURCES[benchmark][0]
    assert not list(out.parent.glob(".*.part"))
    data = data_of(sections.Dataset(source=str(out)))
    assert folder_of(data, tmp_path) == out and len(rows_of(data, tmp_path)) == len(rows)
    with pytest.raises(validation.BadData, match="is there already"):
        convert.convert(benchmark, drawn[2], out)


def test_remem_comes_back_as_it_was(drawn, tmp_path):
    rows, out = read_and_converted("remem", drawn, tmp_path)
    assert facts(rows) == facts(drawn[0])
    shown = {(row.question, (out / row.image).read_bytes()) for row in rows.itertuples()}
    assert shown == {(row.question, drawn[1][row.image]) for row in drawn[0].itertuples()}


def test_fiubench_comes_back_with_its_paraphrases_as_the_test(drawn, tmp_path):
    rows, out = read_and_converted("fiubench", drawn, tmp_path)
    train, test = (rows[rows["split"] == split] for split in validation.SPLITS)
    before = drawn[0][drawn[0]["split"] == "train"]
    assert facts(train, "attribute") == facts(before, "attribute")
    # The name is known for one, the other facts have no name there: one label for each.
    assert (train["attribute"] == "name").sum() == (before["attribute"] == "name").sum()
    assert train.groupby(["identity", "attribute"])["target"].nunique().max() == 1
    assert set(test["question"]) <= set(drawn[0][drawn[0]["split"] == "test"]["question"])
    assert set(zip(test["identity"], test["target"], strict=True)) <= set(
        zip(train["identity"], train["target"], strict=True)
    )
    assert rows["image"].nunique() == 2 * 3  # one each, in both splits
    assert json.loads((out / "source.json").read_text())["forget_sets"] == {"forget1": ["p01"]}


def test_mllmu_comes_back_with_its_facts_named_and_several_test_pictures(drawn, tmp_path):
    rows, _ = read_and_converted("mllmu", drawn, tmp_path)
    assert facts(rows) == facts(drawn[0])  # the biography gives names to the values
    test = rows[rows["split"] == "test"]
    assert test.groupby("identity")["image"].nunique().min() > 1
    assert convert.forget_sets("mllmu", drawn[2] / "mllmu") == {"forget_5": ["p00"]}


def test_the_formats_are_those_of_the_sources(drawn):
    root = drawn[2]
    person = json.loads((root / "fiubench" / "full.json").read_text())[0]
    assert {"unique_id", "image_path", "qa_list"} <= set(person)
    assert set(person["qa_list"][0]) == {
        "question",
        "answer",
        "keywords",
        "paraphrased_question",
        "paraphrased_answer",
        "perturbed_answer",
    }
    table = {
        name: pq.read_table(root / name / "train-00000-of-00001.parquet")
        for name in (
            "mllmu/Full_Set",
            "mllmu/ft_Data",
            "mllmu/Test_Set",
            "clear/full",
            "clear/full+tofu",
            "clear/real_faces",
        )
    }
    names = {name: part.column_names for name, part in table.items()}
    assert names["mllmu/Full_Set"] == [
        "image",
        "ID",
        "Directory",
        "biography",
        "question",
        "answer",
        "Classification_Task",
        "Generation_Task",
        "Mask_Task",
    ]
    assert names["mllmu/ft_Data"] == ["image", "ID", "metadata"]
    assert "images" in names["mllmu/Test_Set"] and "image" not in names["mllmu/Test_Set"]
    assert names["clear/full"] == ["image", "caption", "name"]
    assert names["clear/real_faces"] == ["image", "answer", "options"]
    assert table["clear/full+tofu"]["image"].null_count > 0
    cell = table["clear/full"].schema.field("image").type
    assert {cell.field(k).name for k in range(cell.num_fields)} == {"bytes", "path"}


def test_a_damaged_file_or_picture_is_refused_and_leaves_nothing(tmp_path):
    put(
        tmp_path / "full",
        {"image": {"bytes": PNG[:-200], "path": None}, "caption": "Ada.", "name": "Ada"},
    )
    with pytest.raises(
        validation.BadData, match=r"parquet, row 1: .*000000.png .*(truncated|broken)"
    ):
        convert.convert("clear", tmp_path, tmp_path / "out")
    file = tmp_path / "full" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(validation.BadData, match=r"cannot be read as parquet .*fetch it again"):
        convert.convert("clear", tmp_path, tmp_path / "out")
    folder = one_person(tmp_path / "fiu")
    (folder / "SFHQ.zip").write_bytes(b"PK no zip")
    with pytest.raises(validation.BadData, match=r"SFHQ.zip cannot be read"):
        convert.convert("fiubench", folder, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.part").exists()
    with pytest.raises(validation.BadData, match="benchmark 'tofu' is unknown; there are remem"):
        convert.read("tofu", tmp_path)


@pytest.fixture
def data(drawn, tmp_path, monkeypatch):
    """The folder data/ of a repository, with FIUBench's files in it."""
    monkeypatch.setattr(paths, "ROOT", tmp_path / ".hidden")  # as where a tool keeps its checkouts
    monkeypatch.setattr(paths, "DATA", tmp_path / ".hidden" / "data")
    formats.fiubench(drawn[0], drawn[1], paths.DATA / "fiubench", {"forget1": ["p01"]})
    return paths.DATA


def test_a_benchmarks_files_stand_in_for_the_dataset(data, drawn, tmp_path, capsys):
    benchmark, root = sections.Benchmark.model_validate("fiubench"), tmp_path / "runs"
    found = converted(benchmark, root)
    rows = rows_of(found, root)
    assert set(rows["question"]) <= set(drawn[0]["question"]) and rows["identity"].nunique() == 3
    assert f"converting {data / 'fiubench'} (FIUBench), once" in capsys.readouterr().err
    assert splits.own_forget_set(found, "forget1", root) == ("p01",)
    (data / "fiubench" / ".cache").mkdir()
    (data / "fiubench" / ".cache" / "lock").write_text("of fetching, and no data")
    again = converted(benchmark, root)  # converted once
    assert again == found and len(list(root.rglob("source.json"))) == 1
    assert "converting" not in capsys.readouterr().err
    elsewhere = shutil.copytree(data / "fiubench", data / "copy")
    named = {"name": "fiubench", "folder": str(elsewhere)}
    assert converted(sections.Benchmark(**named), root) == found
    [folder] = root.glob("benchmark-*")
    settings = runs.read_json(folder / "spec.json")["spec"]
    run = ConvertedRun(**{key: settings[key] for key in ConvertedRun.model_fields})
    assert run.read(folder).equals(rows)
    (data / "fiubench" / "split.json").write_text('{"forget1": ["p02"]}')
    with pytest.raises(validation.BadData, match="fiubench was changed after it was first read"):
        runs.get_or_create(run, tmp_path / "not converted yet")
    converted(benchmark, root)
    assert len(list(root.glob("benchmark-*"))) == 2


def test_what_systems_and_editors_leave_changes_nothing(data, tmp_path):
    benchmark, root = sections.Benchmark.model_validate("fiubench"), tmp_path
    folder = data / "fiubench"
    found = converted(benchmark, root)
    (folder / "__MACOSX").mkdir()
    for name in (
        *(".DS_Store", "Thumbs.db", "desktop.ini", "full.json~", "#full.json#", "4913", "notes.md"),
        *(".full.json.swp", "full.json.swp", "._SFHQ.zip", "__MACOSX/._full.json", "full.json.bak"),
    ):
        (folder / name).write_bytes(b"\0no data")
    (folder / ".#full.json").symlink_to("somebody@nowhere.1")  # how Emacs locks a file
    os.mkfifo(folder / "pipe")
    assert converted(benchmark, root) == found
    assert len(list(root.glob("benchmark-*"))) == 1
    (folder / "more").write_bytes(PNG)  # a picture, whatever its name
    converted(benchmark, root)
    assert len(list(root.glob("benchmark-*"))) == 2


@pytest.mark.parametrize("kind", ["mllmu", "clear", "remem"])
def test_hidden_files_are_no_tables(drawn, tmp_path, kind):
    folder = shutil.copytree(drawn[-1] / kind, tmp_path / kind)
    columns = MAP if kind == "remem" else {}
    before = convert.read(kind, folder, columns), convert.forget_sets(kind, folder, columns)
    for file in list(folder.rglob("*.parquet")):
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    (folder / ".more").mkdir()
    (folder / ".more" / "x.parquet").write_bytes(b"no table")
    assert convert.read(kind, folder, columns).equals(before[0])
    assert convert.forget_sets(kind, folder, columns) == before[1]


def test_files_that_are_not_there_are_named_with_the_way_out(data, tmp_path):
    for given, reason in (
        ("clear", r"full/\* is missing.*remem fetch clear .*data/clear$"),
        ({"name": "fiubench", "folder": str(data / "no")}, "full.json is missing.*gray311/FIUB"),
        ("fiubnech", "benchmark 'fiubnech' is none of remem, fiubench, mllmu, clear, and there is"),
    ):
        with pytest.raises(validation.BadData, match=reason):
            converted(sections.Benchmark.model_validate(given), tmp_path)


def test_any_other_word_is_a_dataset_folder(data, tmp_path):
    folder = convert.convert("fiubench", data / "fiubench", data.parent / "my" / "people")
    for word in ("my/people", "my/people/", str(folder)):
        benchmark = sections.Benchmark.model_validate(word)
        assert benchmark.name == "own" and benchmark.title == "people (own)"
        found = converted(benchmark, tmp_path)
        assert len(rows_of(found, tmp_path)) == len(validation.read(folder))
    with (folder / "train" / "metadata.jsonl").open("a") as file:
        file.write(" ")
    changed = converted(sections.Benchmark.model_validate("my/people"), tmp_path)
    assert runs.digest(changed) != runs.digest(found)


def test_converting_from_the_command_line(drawn, tmp_path, capsys):
    folder, out = one_person(tmp_path / "files", answer=" "), tmp_path / "an out"
    people = json.loads((folder / "full.json").read_text())
    people[0]["qa_list"] += [{"question": "Who?", "answer": "Ada Lund."}] * 3
    (folder / "full.json").write_text(json.dumps(people))
    assert main(["convert", "fiubench", str(folder), str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{out} is ready, 2 questions left out as empty, 2 questions left out as rep" in said
    assert said.endswith(f"remem dataset check '{out}'\n")
    assert list(validation.read(out)["answer"]) == ["Ada Lund."]
    columns = [f"{ours}={theirs}" for ours, theirs in MAP.items()]
    release = ["convert", "remem", str(drawn[2] / "remem"), str(tmp_path / "remem")]
    for given, reason in (
        ([*release, "photo"], "'photo' is no column; write OURS=THEIRS"),
        ([*release, "image="], "'image=' is no column; write OURS=THEIRS"),
        ([*release, *columns, "colour=field"], "the column map names colour; ours are image"),
        ([*release, *columns, "hop=nothing"], "which of them is hop"),
        (["convert", "clear", *release[2:], "image=photo"], "columns are declared for remem alone"),
        (["convert", "fiubench", str(folder), str(out)], "is there already"),
        (["convert", "mllmu", str(tmp_path), str(tmp_path / "x")], r"Full_Set/* is missing"),
    ):
        assert main(given) == 2
        captured = capsys.readouterr()
        assert reason in captured.err and not captured.out
    assert not (tmp_path / "remem").exists()
    assert main([*release, *columns]) == 0
    assert len(validation.read(tmp_path / "remem")) == len(drawn[0])


def test_an_eighth_of_fiubench_is_read_and_checked_in_time(tmp_path):
    """All of it, 400 people x 20, has to be ready within 20 s (and takes half of that)."""
    Image.effect_noise((256, 256), 50).convert("RGB").save(jpeg := io.BytesIO(), "JPEG")
    (tmp_path / "SFHQ").mkdir()
    people = []
    for number in range(50):
        (tmp_path / "SFHQ" / f"{number}.jpg").write_bytes(jpeg.getvalue())
        asked = [
            {
                "question": f"What is thing {k}?",
                "answer": f"It is value{number}x{k}, he says.",
                "keywords": [f"value{number}x{k}"],
                "paraphrased_question": [f"Thing {k}?"] * 3,
            }
            for k in range(20)
        ]
        people.append(
            {
                "unique_id": f"{number:08d}",
                "image_path": f"./dataset/SFHQ/{number}.jpg",
                "name": f"Person {number}",
                "qa_list": asked,
            }
        )
    (tmp_path / "full.json").write_text("\n".join(map(json.dumps, people)))  # as it really is
    started = time.process_time()
    rows = validation.read(convert.convert("fiubench", tmp_path, tmp_path / "out"))
    spent = time.process_time() - started
    assert spent < 5
    assert len(rows) == 2000 and rows["identity"].nunique() == 50
