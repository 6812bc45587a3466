import json

import formats
import four_rows
import pytest
import yaml
from PIL import Image

from remem import paths
from remem.__main__ import main
from remem.config import sections
from remem.data import publish, review_marks, validation
from remem.data.dataset import SyntheticData, folder_of
from remem.data.readers import convert

SMALL = SyntheticData(identities=2, image_size=16, single=7, multi=10, test_single=7, test_multi=7)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return folder_of(SMALL, tmp_path_factory.mktemp("runs"))


def test_an_export_is_read_as_before_by_us_and_by_the_hub_library(drawn, tmp_path):
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    out.mkdir()
    assert main(["dataset", "export", str(drawn), str(out), "--licence", "mit"]) == 0
    rows = validation.read(drawn)
    assert validation.read(out).equals(rows)
    assert {path.name for path in out.iterdir()} == {"README.md", *validation.SPLITS}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in loaded.items()} == {"train": 34, "test": 28}
    assert list(loaded["test"]["answer"]) == list(rows[rows["split"] == "test"]["answer"])
    assert loaded["train"].column_names[0] == "image"
    assert {*loaded["train"].column_names} == publish.FIELDS.keys() == {*validation.COLUMNS}
    bare = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "bare"))
    assert {split: len(part) for split, part in bare.items()} == {"train": 34, "test": 28}


def test_an_export_without_a_test_row_is_loaded_too(tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = four_rows.make(tmp_path / "own")
    (folder / "test" / "metadata.jsonl").write_text("")
    out = publish.export(folder, tmp_path / "out")
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert [*loaded] == ["train"] and loaded["train"][1]["image"].getpixel((0, 0))[0] > 50


def test_the_card_says_what_it_has_to(drawn, tmp_path):
    text = (publish.export(drawn, tmp_path / "faces", "cc-by-4.0") / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    head = yaml.safe_load(head)
    assert head["license"] == "cc-by-4.0" and head["pretty_name"] == "faces"
    assert "| train | 34 | 14 | 20 | 2 | 34 |\n| test | 28 | 14 | 14 | 2 | 28 |" in body
    assert all(f"| `{field}` |" in body for field in validation.COLUMNS)
    assert "Every person in it is invented" in body and '      "identities": 2,' in body
    for section in ("Splits", "Fields", "How it was made", "Licence"):
        assert f"\n## {section}\n" in body
    assert "\n## What it must not be used for\n\n- to recognise" in body
    assert "has no doubt about any row" in body


def test_the_card_of_people_that_services_made_names_the_models_and_nothing_private(tmp_path):
    folder = four_rows.make(tmp_path / "own")
    settings = sections.Construction(
        text_model="words-1",
        image_model="pictures-1",
        face_similarity=sections.FaceSimilarity(pack="/srv/private/pack", threshold=0.61),
    )
    paths.write(folder / "spec.json", json.dumps({"kind": "constructed", "spec": {"content": "f"}}))
    paths.write(folder / "construction.json", settings.model_dump_json())
    text = (publish.export(folder, tmp_path / "out") / "README.md").read_text()
    for said in ("words-1", "pictures-1", "0.61", "Every person in it is invented", "terms of"):
        assert said in text
    assert "/srv" not in text


def test_another_benchmark_s_files_are_its_authors_to_publish(drawn, tmp_path, capsys):
    rows = validation.read(drawn)
    pictures = {name: (drawn / name).read_bytes() for name in rows["image"]}
    formats.fiubench(rows, pictures, tmp_path / "fiu", {})
    folder, out = convert.convert("fiubench", tmp_path / "fiu", tmp_path / "own"), tmp_path / "out"
    assert main(["dataset", "check", str(folder)]) == 0
    assert main(["dataset", "export", str(folder), str(out), "--licence", "mit"]) == 2
    said = capsys.readouterr().err
    assert "gray311/FIUBench" in said and "its authors' to publish" in said and not out.exists()


@pytest.mark.parametrize(
    "content",
    ["[]", '"benchmark"', "5", "null", "{", "", "[" * 2_000, '{"a": ' + "[" * 2_000, b"\xff{}"],
)
@pytest.mark.parametrize("name", ["source.json", "spec.json"])
def test_what_says_whose_a_folder_is_is_understood_or_nothing_is_exported(tmp_path, name, content):
    folder, out = four_rows.make(tmp_path / "own"), tmp_path / "out"
    paths.write(folder / name, content)
    with pytest.raises(
        validation.BadData, match=rf"{name} (cannot be read|should hold a JSON obj)"
    ):
        publish.export(folder, out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("[]", "should hold a JSON object, but holds"),
        ('{"people": [1]}', "'people' is \\[1\\], and no plain value"),
        ('{"face_similarity": {"threshold": {"a": 1}}}', "'threshold' is {'a': 1}, and no plain"),
        ('{"text_model": {}}', "'text_model' is {}, and no plain value"),
        ('{"face_similarity": 5, "people": 2, "unlisted": [1]}', ""),
        ('{"face_similarity": ["threshold"]}', ""),
    ],
)
def test_settings_of_other_types_are_no_settings(tmp_path, settings, told):
    folder, out = four_rows.make(tmp_path / "own"), tmp_path / "out"
    paths.write(folder / "spec.json", '{"kind": "constructed", "spec": 5}')
    paths.write(folder / "construction.json", settings)
    if told:
        with pytest.raises(validation.BadData, match=rf"construction\.json:? {told}"):
            publish.export(folder, out)
    else:
        text = (publish.export(folder, out) / "README.md").read_text()
        assert "Every person in it is invented" in text and "unlisted" not in text


def test_a_spec_of_another_type_claims_nothing(tmp_path):
    folder = four_rows.make(tmp_path / "own")
    paths.write(folder / "spec.json", '{"kind": "dataset", "spec": "synthetic"}')
    text = (publish.export(folder, tmp_path / "out") / "README.md").read_text()
    assert "Whether its people are real is not recorded" in text


def test_a_folder_that_somebody_made_is_exported_without_claims_that_nobody_made(tmp_path):
    folder = four_rows.make(tmp_path / "own", question="Bruno Vidal, Size 1?")
    (folder / "train" / "notes.txt").write_text("private")
    out = publish.export(folder, tmp_path / "out", name="Two: [of] us\n# x", made="By hand.")
    text = (out / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])["pretty_name"] == "Two: [of] us\n# x"
    assert "\n# Two: [of] us # x\n" in text and "By hand." in text and "None is chosen yet" in text
    assert "Whether its people are real is not recorded" in text and "invented" not in text
    assert "- questions that hold their own answer: 1" in text
    lines = (out / "test" / "metadata.jsonl").read_text().splitlines()
    assert json.loads(lines[0]).keys() == {*validation.KEYS}
    assert not (out / "train" / "notes.txt").exists()


def test_what_a_reviewer_dropped_is_left_out_of_an_export(tmp_path, capsys):
    folder = four_rows.make(tmp_path / "own")
    (folder / "review").mkdir()
    mark = review_marks.fingerprint(Image.open(folder / "train" / "1.jpg"))
    header = "identity,image,fingerprint,decision,reason\n"
    line = f"Bruno,train/1.jpg,{mark},drop,ethics\n"
    (folder / "review" / "marks.csv").write_text(header + line)
    publish.export(folder, tmp_path / "out")
    assert set(validation.read(tmp_path / "out")["id"]) == {"0", "2", "3"}
    assert not (tmp_path / "out" / "train" / "1.jpg").exists()
    every = [
        line.replace("1.jpg", f"{k}.jpg")
        .replace(mark, review_marks.fingerprint(Image.open(folder / split / f"{k}.jpg")))
        .replace("Bruno", ("Anika", "Bruno")[k % 2])
        for k, split in enumerate(("train", "train", "test", "test"))
    ]
    (folder / "review" / "marks.csv").write_text(header + "".join(every))
    assert main(["dataset", "export", str(folder), str(tmp_path / "none")]) == 2
    assert "every picture was dropped" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_an_export_is_refused_with_the_way_out(drawn, tmp_path, capsys):
    faulty, out = four_rows.make(tmp_path / "own", hop=""), tmp_path / "out"
    assert main(["dataset", "export", str(faulty), str(out)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "test/metadata.jsonl, line 2: hop is empty" and said[-1].endswith("1 fault")
    with pytest.raises(validation.BadData, match=r"own/test/metadata.jsonl, line 2: hop is empty"):
        publish.export(faulty, out)
    for place in (drawn, faulty / "test" / "2.jpg"):
        assert main(["dataset", "export", str(drawn), str(place)]) == 2
        assert "is there already; delete it, or name another folder" in capsys.readouterr().err
    with pytest.raises(validation.BadData, match="licence 'My Own' is no identifier such as"):
        publish.export(drawn, out, "My Own")
    assert main(["dataset", "check", "nowhere"]) == 2
    assert "there is no folder nowhere" in capsys.readouterr().err
    assert not out.exists() and len([*tmp_path.iterdir()]) == 1
