import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from remem import runs
from remem.config import sections
from remem.data import splits, validation
from remem.data.dataset import (
    FolderData,
    RowsRun,
    SyntheticData,
    data_of,
    face_seed,
    folder_of,
    people_of,
    planned,
    rows_of,
)
from remem.synthetic import faces, people
from remem.training import corpus

SMALL = SyntheticData(identities=2, single=7, multi=10, test_single=7, test_multi=7)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return folder_of(SMALL, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def copy(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "copy")


def test_what_is_written_is_read_back(drawn):
    rows = validation.read(drawn)
    assert tuple(rows.columns) == validation.COLUMNS
    assert rows.groupby("split").size().to_dict() == {"train": 34, "test": 28}
    assert rows["image"].is_unique and rows["id"].is_unique
    people = json.loads((drawn / "people.json").read_text())
    assert [person["name"] for person in people] == list(dict.fromkeys(rows["name"]))
    assert splits.candidates(rows)["job"] == sorted(person["job"] for person in people)


def test_rows_can_be_told_before_a_picture_is_drawn(drawn, tmp_path):
    few = SMALL.model_copy(update={"image_size": 16, "identities": 1, "pictures": 2})
    for data, root in ((SMALL, drawn.parent), (few, tmp_path / "few")):
        told = planned(data, tmp_path / "nothing")
        pd.testing.assert_frame_equal(told, rows_of(data, root))
        told["name"] = ""  # whoever changes it changes nobody else's
        assert planned(data, tmp_path / "nothing")["name"].all()
    assert not (tmp_path / "nothing").exists()
    folder = data_of(sections.Dataset(source=str(drawn)))
    pd.testing.assert_frame_equal(planned(folder, tmp_path), rows_of(SMALL, drawn.parent))


def test_it_is_not_drawn_twice_and_another_seed_is_another_dataset(drawn):
    before = (drawn / "DONE").stat().st_mtime_ns
    assert folder_of(SMALL, drawn.parent) == drawn
    assert (drawn / "DONE").stat().st_mtime_ns == before
    other = folder_of(SMALL.model_copy(update={"seed": 1}), drawn.parent)
    assert other != drawn
    assert not set(validation.read(other)["name"]) & set(validation.read(drawn)["name"])


def test_pictures_are_rgb_of_the_wanted_size_and_all_different(drawn):
    rows = validation.read(drawn)
    pictures = validation.load_images(drawn, rows["image"])
    assert {picture.size for picture in pictures} == {(64, 64)}
    assert {picture.mode for picture in pictures} == {"RGB"}
    assert len({np.asarray(picture).tobytes() for picture in pictures}) == len(rows)


def test_the_hub_library_reads_the_same_rows(drawn, tmp_path):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(drawn), cache_dir=str(tmp_path))
    rows = validation.read(drawn)
    for split in validation.SPLITS:
        ours = rows[rows["split"] == split].reset_index(drop=True)
        theirs = loaded[split].to_pandas()
        for column in set(validation.COLUMNS) - {"image"}:
            assert list(theirs[column]) == list(ours[column])
        for k in (0, len(ours) - 1):
            [picture] = validation.load_images(drawn, [ours["image"][k]])
            assert np.array_equal(np.asarray(loaded[split][k]["image"]), np.asarray(picture))


def edit(folder, number, **changes):
    """Change keys of one line of the training metadata (None takes the key away)."""
    file = folder / "train" / "metadata.jsonl"
    lines = file.read_text().splitlines()
    row = {**json.loads(lines[number - 1]), **changes}
    lines[number - 1] = json.dumps({key: row[key] for key in row if row[key] is not None})
    file.write_text("\n".join(lines) + "\n")


def test_a_source_that_is_not_there_is_refused_with_the_way_out():
    with pytest.raises(
        validation.BadData, match=r"herbwood27/Remem.*nothing is downloaded.*target"
    ):
        data_of(sections.Dataset(source="herbwood27/Remem"))


def test_a_folder_without_metadata_is_refused(copy):
    (copy / "test" / "metadata.jsonl").unlink()
    with pytest.raises(validation.BadData, match=r"copy: test.metadata\.jsonl is missing; a"):
        data_of(sections.Dataset(source=str(copy)))


def change_a_pixel(folder):
    file = folder / validation.read(folder)["image"][5]
    picture = Image.open(file)
    picture.putpixel((3, 3), (1, 2, 3))
    picture.save(file)


def change_a_row(folder):
    edit(folder, 3, question="What else?")


def rename_a_picture(folder):
    (folder / "train" / "p00" / "p00-train-000.png").rename(folder / "train" / "p00" / "other.png")
    edit(folder, 1, file_name="p00/other.png")


@pytest.mark.parametrize("change", [change_a_pixel, change_a_row, rename_a_picture])
def test_a_folder_is_known_by_what_is_in_it(copy, tmp_path, change):
    given = sections.Dataset(source=str(copy))
    before = data_of(given)
    assert isinstance(before, FolderData) and len(before.content) == 64
    assert data_of(given) == before and folder_of(before, tmp_path) == copy
    change(copy)
    assert runs.digest(data_of(given)) != runs.digest(before)
    with pytest.raises(validation.BadData, match=r"copy was changed after .*start again"):
        rows_of(before, tmp_path / "runs")
    assert len(rows_of(data_of(given), tmp_path / "runs")) == 62


def test_the_same_people_elsewhere_or_with_other_files_beside_them_are_the_same_data(
    copy, tmp_path
):
    before = data_of(sections.Dataset(source=str(copy)))
    twin = shutil.copytree(copy, tmp_path / "twin")
    for name in (".DS_Store", "train/.DS_Store", "test/notes.txt", "train/p00/spare.png"):
        (twin / name).write_text("no data")
    other = data_of(sections.Dataset(source=str(twin)))
    assert other != before and runs.digest(other) == runs.digest(before)
    rows = rows_of(before, tmp_path / "runs")
    shutil.rmtree(copy)
    assert rows_of(other, tmp_path / "runs").equals(rows)  # found again, not read again
    assert len([*(tmp_path / "runs").glob("rows-*")]) == 1


def test_rows_are_those_of_the_folder_checked_once(drawn, copy, monkeypatch):
    root = drawn.parent
    rows = rows_of(SMALL, root)
    pd.testing.assert_frame_equal(rows, validation.read(drawn))
    rows["target"] = "spoilt"
    assert "spoilt" not in set(rows_of(SMALL, root)["target"])  # a copy for each caller

    def refused(folder):
        raise AssertionError(f"{folder} was read again")

    monkeypatch.setattr(validation, "read", refused)
    assert rows_of(SMALL, root).shape == rows.shape
    run = RowsRun(data=SMALL)
    assert list(run.needs()) == [SMALL]
    assert run.read(runs.folder(run, root)).equals(rows_of(SMALL, root))
    own = RowsRun(data=data_of(sections.Dataset(source=str(copy))))
    assert list(own.needs()) == []
    with pytest.raises(AssertionError, match="copy was read again"):
        runs.get_or_create(own, root)


def test_a_folder_with_a_fault_has_no_rows(copy, tmp_path):
    edit(copy, 3, hop="double")
    with pytest.raises(validation.BadData, match="line 3: hop 'double' is unknown"):
        rows_of(data_of(sections.Dataset(source=str(copy))), tmp_path)
    assert not [*tmp_path.glob("rows-*")]


def test_a_picture_that_is_not_there_is_left_to_validation(copy, tmp_path):
    (copy / "test" / "p00" / "p00-test-000.png").unlink()
    (copy / "test" / "p00" / "p00-test-001.png").unlink()
    (copy / "test" / "p00" / "p00-test-001.png").symlink_to("/dev/zero")
    data = data_of(sections.Dataset(source=str(copy)))
    with pytest.raises(validation.BadData, match=r"p00-test-000.png is missing \(2 faults"):
        rows_of(data, tmp_path)


def test_gigabytes_are_hashed_once_in_a_process(copy, monkeypatch):
    given, read = sections.Dataset(source=str(copy)), []
    content = runs.content
    monkeypatch.setattr(runs, "content", lambda *a: read.append(a) or content(*a))
    before = data_of(given)
    assert data_of(given) == before and len(read) == 1
    change_a_pixel(copy)
    assert data_of(given) != before and len(read) == 2


def test_the_data_of_a_section_is_drawn_by_its_fields():
    section = sections.Dataset(source="public", seed=3, identities=4)
    data = data_of(section)
    assert data == SyntheticData(source="public", seed=3, identities=4)
    assert runs.digest(data) != runs.digest(data_of(sections.Dataset(seed=3, identities=4)))
    with pytest.raises(ValueError, match="source"):
        SyntheticData(source="somewhere")


def test_nobody_of_the_dataset_is_known_to_the_base_models(monkeypatch):
    """Faces and people come from numbers: those of any dataset lie below all those of corpus.py."""
    numbers, seeds = [], []
    sample, write = faces.sample_appearance, people._write
    monkeypatch.setattr(faces, "sample_appearance", lambda n: numbers.append(n) or sample(n))
    monkeypatch.setattr(
        people, "_write", lambda n, seed, *a, **k: seeds.append(seed) or write(n, seed, *a, **k)
    )
    known = corpus.Corpus(public=2, others=2, size=16, views=1, strangers=2)
    corpus.examination(known.public, 16, 2)
    next(corpus.lineup(16, trials=1, views=1))
    assert len(numbers) > 10 and len(seeds) > 3

    last = SyntheticData(seed=89, identities=9_999)
    assert face_seed(last, last.identities - 1) < min([*numbers, faces.TOWER_FACES])
    assert last.seed < min(seeds)
    following = SyntheticData(seed=1)
    before = SyntheticData(seed=0, identities=9_999)
    assert face_seed(before, 9_998) < face_seed(following, 0)
    for beyond in ({"seed": 90}, {"identities": 10_000}, {"identities": 0}):
        with pytest.raises(ValueError, match=r"less than|greater than"):
            SyntheticData(**beyond)


def test_public_figures_are_those_whom_the_base_models_know(tmp_path):
    spec = SyntheticData(
        source="public",
        identities=2,
        image_size=32,
        single=0,
        multi=10,
        test_single=7,
        test_multi=7,
    )
    rows = validation.read(folder_of(spec, tmp_path))
    assert set(rows["name"]) == {person.name for person in people.public_figures(2)}
    appearance = faces.sample_appearance(faces.PUBLIC_FACES + 1)
    scene = faces.sample_scene(np.random.default_rng([0, 1, 0, 0]), "train")
    first = rows[(rows["identity"] == "p01") & (rows["split"] == "train")]["image"].iloc[0]
    [picture] = validation.load_images(folder_of(spec, tmp_path), [first])
    assert picture.tobytes() == faces.draw(appearance, scene, 32).tobytes()


def test_more_people_than_the_lists_hold_share_values_but_no_name():
    everybody = people_of(SyntheticData(identities=100))
    assert len({person.name for person in everybody}) == 100
    assert len({person.bank for person in everybody}) < 100


def test_a_shape_has_its_own_share_of_names_and_few_pictures(tmp_path):
    shape = {"identities": 2, "image_size": 32, "single": 0, "multi": 20, "test_single": 0}
    data = SyntheticData(**shape, test_multi=7, names=2, pictures=3)
    rows = rows_of(data, tmp_path)
    train, test = (rows[rows["split"] == split] for split in ("train", "test"))
    for _, own in train.groupby("identity"):
        assert (own["attribute"] == "name").sum() == 2 and own["image"].nunique() == 3
        assert own["image"].value_counts().tolist() == [7, 7, 6]  # they go round
    assert test["image"].nunique() == len(test) == 14  # the test's are not few
    usual = rows_of(data.model_copy(update={"names": None, "pictures": None}), tmp_path)
    assert (usual.query("split == 'train'")["attribute"] == "name").sum() == 2 * 6
    assert usual["image"].nunique() == len(usual)
    pd.testing.assert_frame_equal(test, usual[usual["split"] == "test"])
