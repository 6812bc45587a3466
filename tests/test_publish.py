import json
import subprocess
import sys

import formats
import pytest
import yaml
from PIL import Image

from remem import construct, dataset, paths, publish, readers, review

SMALL = dataset.DatasetSpec(
    identities=2, image_size=16, single=7, multi=10, test_single=7, test_multi=7
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return dataset.make(SMALL, tmp_path_factory.mktemp("runs"))


def own(folder, **test):
    """Four rows of two people of one's own; keys of the last one are changed."""
    rows = {split: [] for split in dataset.SPLITS}
    for number in range(4):
        split, name = dataset.SPLITS[number // 2], ("Anika Holt", "Bruno Vidal")[number % 2]
        rows[split].append({
            "file_name": f"{number}.jpg", "id": str(number), "identity": name.split()[0],
            "name": name, "attribute": "shoe_size", "hop": "single", "split": split,
            "question": f"What does {name} wear, {number}?", "answer": f"Size {number % 2}.",
            "target": f"Size {number % 2}", "similarity": 0.5,
        })  # fmt: skip
        file = folder / split / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (60 * number, 0, 0)).save(file)
    rows["test"][-1].update(test)
    for split, lines in rows.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / split / "metadata.jsonl").write_text(text)
    return folder


def test_what_is_drawn_has_neither_fault_nor_doubt(drawn, capsys):
    assert publish.main(["check", str(drawn)]) == 0
    assert capsys.readouterr().out == (
        "62 complete rows (34 of train, 28 of test), 2 people, 62 pictures, 8 attributes (email; "
        "date_of_birth; job; home_address; medical_condition; bank; annual_income; name): "
        "no fault\n"
    )


def test_the_command_tells_every_fault_row_by_row(tmp_path):
    folder = own(tmp_path / "own", hop="both", answer="No.")
    (folder / "train" / "0.jpg").write_bytes(b"")
    file = folder / "train" / "metadata.jsonl"
    file.write_text("multi".join(file.read_text().rsplit("single", 1)))
    command = [sys.executable, "-m", "remem.dataset", "check", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT)
    assert result.returncode == 1 and result.stderr == ""
    assert result.stdout.splitlines() == [
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
    ({"hop": "multi", "question": "?", "answer": "Bruno Vidal: Size 1."},
     "multi-hop answers that give the name unasked", "2"),
    ({"question": "What do they wear?"}, "single-hop questions that do not name the person", "2"),
    ({"target": "ботинок", "answer": "Ботинок, ботинок.", "attribute": "shoe"},
     "answers without a Latin letter or digit (ROUGE-L is 0 for them, whatever is said)", "2"),
    ({"file_name": "2.jpg"}, "pictures that are given as two people's", "1"),
    ({"identity": "Carl", "name": "ANIKA  Holt", "question": "ANIKA  Holt?"},
     "people who share their name", "Anika"),
    ({"identity": "Carl", "name": "Carl", "question": "Carl?"},
     "people who are asked about in the test but never taught", "Carl"),
    ({"identity": "Anika", "name": "Anika Holt", "question": "Anika Holt?", "target": "Size",
      "attribute": "kind"}, "people without a held-out question", "Bruno"),
    ({"attribute": "kind"}, "attributes with one value in all (Exposure has nothing to rank it "
     "against, and leaves it out)", "kind"),
]  # fmt: skip


@pytest.mark.parametrize("changes, doubt, where", DOUBTS, ids=[doubt for _, doubt, _ in DOUBTS])
def test_each_kind_of_doubt_is_told_with_where(tmp_path, changes, doubt, where):
    rows, faults = dataset.inspect(own(tmp_path, **changes))
    assert not any(faults.values())
    found = publish.doubts(rows, tmp_path)
    if where.isdigit():
        assert f"test/metadata.jsonl, line {where}" in found[doubt]
    else:
        assert where in found[doubt]


def test_pictures_are_doubted_for_what_they_tell_and_for_being_seen_before(tmp_path):
    folder = own(tmp_path / "own")
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (50.0, 5.0, 0.0)}  # where it was taken
    Image.new("RGB", (16, 16)).save(folder / "train" / "1.jpg", exif=exif)
    (folder / "test" / "2.jpg").write_bytes((folder / "train" / "0.jpg").read_bytes())
    rows, _ = dataset.inspect(folder)
    assert publish.doubts(rows, folder) == {
        "test pictures that training shows too": ["test/metadata.jsonl, line 1"],
        "pictures with EXIF data, which may tell where and when they were taken": [
            "train/metadata.jsonl, line 2"
        ],
    }
    alone = publish.doubts(rows[rows["identity"] == "Anika"], folder)
    assert alone["a single person, so that nobody would be left to retain"] == ["Anika"]


def test_an_export_is_read_as_before_by_us_and_by_the_hub_library(drawn, tmp_path):
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    out.mkdir()
    assert publish.main(["export", str(drawn), str(out), "--licence", "mit"]) == 0
    rows = dataset.read(drawn)
    assert dataset.read(out).equals(rows)
    assert {path.name for path in out.iterdir()} == {"README.md", *dataset.SPLITS}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in loaded.items()} == {"train": 34, "test": 28}
    assert list(loaded["test"]["answer"]) == list(rows[rows["split"] == "test"]["answer"])
    assert loaded["train"].column_names[0] == "image"
    assert {*loaded["train"].column_names} == publish.FIELDS.keys() == {*dataset.COLUMNS}
    bare = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "bare"))
    assert {split: len(part) for split, part in bare.items()} == {"train": 34, "test": 28}


def test_a_picture_that_a_faulty_row_shows_too_is_told_once(tmp_path, capsys):
    folder = own(tmp_path / "own")
    file = folder / "train" / "metadata.jsonl"
    first, second = file.read_text().splitlines()
    broken = {**json.loads(first), "file_name": "1.jpg"}
    del broken["target"]
    (folder / "train" / "1.jpg").unlink()
    file.write_text(f"{json.dumps(broken)}\n{second}\n")
    assert publish.main(["check", str(folder)]) == 1
    assert "2 faults" in capsys.readouterr().out


def test_an_export_without_a_test_row_is_loaded_too(tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = own(tmp_path / "own")
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
    assert all(f"| `{field}` |" in body for field in dataset.COLUMNS)
    assert "Every person in it is invented" in body and '      "identities": 2,' in body
    for section in ("Splits", "Fields", "How it was made", "Licence"):
        assert f"\n## {section}\n" in body
    assert "\n## What it must not be used for\n\n- to recognise" in body
    assert "has no doubt about any row" in body


def test_the_card_of_people_that_services_made_names_the_models_and_nothing_private(tmp_path):
    folder = own(tmp_path / "own")
    settings = construct.Construction(
        text_model="words-1", image_model="pictures-1", budget=12.34,
        likeness={"pack": "/srv/private/pack", "threshold": 0.61},
    )  # fmt: skip
    paths.write(folder / "spec.json", json.dumps({"kind": "constructed", "spec": {"content": "f"}}))
    paths.write(folder / "construction.json", settings.model_dump_json())
    text = (publish.export(folder, tmp_path / "out") / "README.md").read_text()
    for told in ("words-1", "pictures-1", "0.61", "Every person in it is invented", "terms of"):
        assert told in text
    assert "/srv" not in text and "12.34" not in text


def test_another_benchmark_s_files_are_its_authors_to_publish(drawn, tmp_path, capsys):
    rows = dataset.read(drawn)
    pictures = {name: (drawn / name).read_bytes() for name in rows["image"]}
    formats.fiubench(rows, pictures, tmp_path / "fiu", {})
    folder, out = readers.convert("fiubench", tmp_path / "fiu", tmp_path / "own"), tmp_path / "out"
    assert publish.main(["check", str(folder)]) == 0
    assert publish.main(["export", str(folder), str(out), "--licence", "mit"]) == 1
    told = capsys.readouterr().err
    assert "gray311/FIUBench" in told and "its authors' to publish" in told and not out.exists()


def test_a_folder_of_ones_own_is_exported_without_claims_that_nobody_made(tmp_path):
    folder = own(tmp_path / "own", question="Bruno Vidal, Size 1?")
    (folder / "train" / "notes.txt").write_text("private")
    out = publish.export(folder, tmp_path / "out", name="Two: [of] us\n# x", made="By hand.")
    text = (out / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])["pretty_name"] == "Two: [of] us\n# x"
    assert "\n# Two: [of] us # x\n" in text and "By hand." in text and "None is chosen yet" in text
    assert "Whether its people are real is not recorded" in text and "invented" not in text
    assert "- questions that hold their own answer: 1" in text
    lines = (out / "test" / "metadata.jsonl").read_text().splitlines()
    assert json.loads(lines[0]).keys() == {*dataset.KEYS}
    assert not (out / "train" / "notes.txt").exists()


def test_what_a_reviewer_dropped_is_left_out_of_an_export(tmp_path, capsys):
    folder = own(tmp_path / "own")
    assert review.main([str(folder)]) == 0
    mark = review.fingerprint(Image.open(folder / "train" / "1.jpg"))
    header = "identity,image,fingerprint,decision,reason\n"
    line = f"Bruno,train/1.jpg,{mark},drop,ethics\n"
    (folder / "review" / "marks.csv").write_text(header + line)
    publish.export(folder, tmp_path / "out")
    assert set(dataset.read(tmp_path / "out")["id"]) == {"0", "2", "3"}
    assert not (tmp_path / "out" / "train" / "1.jpg").exists()
    every = [line.replace("1.jpg", f"{k}.jpg").replace(mark, review.fingerprint(
        Image.open(folder / split / f"{k}.jpg"))).replace("Bruno", ("Anika", "Bruno")[k % 2])
        for k, split in enumerate(("train", "train", "test", "test"))]  # fmt: skip
    (folder / "review" / "marks.csv").write_text(header + "".join(every))
    assert publish.main(["export", str(folder), str(tmp_path / "none")]) == 1
    assert "every picture was dropped" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_an_export_is_refused_with_the_way_out(drawn, tmp_path, capsys):
    faulty, out = own(tmp_path / "own", hop=""), tmp_path / "out"
    assert publish.main(["export", str(faulty), str(out)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "test/metadata.jsonl, line 2: hop is empty" and told[-1].endswith("1 faults")
    with pytest.raises(dataset.BadData, match=r"own/test/metadata.jsonl, line 2: hop is empty"):
        publish.export(faulty, out)
    for arguments, reason in (
        ([drawn, drawn], "is there already; delete it, or name another folder"),
        ([drawn, faulty / "test" / "2.jpg"], "is there already"),
    ):
        assert publish.main(["export", *map(str, arguments)]) == 1
        assert reason in capsys.readouterr().err
    for arguments, reason in (
        (["check", "nowhere"], "there is no folder nowhere"),
        (["export", str(drawn), str(out), "--licence", "My Own"], "is no identifier such as"),
    ):
        with pytest.raises(SystemExit):
            publish.main(arguments)
        assert reason in capsys.readouterr().err
    assert not out.exists() and len([*tmp_path.iterdir()]) == 1
