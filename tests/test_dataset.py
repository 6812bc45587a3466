import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from remem import crowd, dataset, images, profiles, qa, runs

SMALL = dataset.DatasetSpec(identities=2, single=7, multi=10, test_single=7, test_multi=7)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return dataset.make(SMALL, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def copy(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "copy")


@pytest.fixture(scope="module")
def paper_rows():
    """The rows of the paper's 2,560, without their pictures."""
    spec = dataset.DatasetSpec()
    return pd.DataFrame(
        {"identity": person.identity, "split": split, **dataclasses.asdict(item)}
        for split, sizes in (("train", (spec.single, spec.multi)),
                             ("test", (spec.test_single, spec.test_multi)))
        for person in dataset.people(spec)
        for item in qa.build(person, *sizes, split, spec.seed)
    )


def test_what_is_written_is_read_back(drawn):
    rows = dataset.read(drawn)
    assert tuple(rows.columns) == dataset.COLUMNS
    assert rows.groupby("split").size().to_dict() == {"train": 34, "test": 28}
    assert rows["image"].is_unique and rows["id"].is_unique
    people = json.loads((drawn / "people.json").read_text())
    assert [person["name"] for person in people] == list(dict.fromkeys(rows["name"]))
    assert dataset.candidates(rows)["job"] == sorted(person["job"] for person in people)


def test_it_is_not_drawn_twice_and_another_seed_is_another_dataset(drawn):
    before = (drawn / "DONE").stat().st_mtime_ns
    assert dataset.make(SMALL, drawn.parent) == drawn
    assert (drawn / "DONE").stat().st_mtime_ns == before
    other = dataset.make(SMALL.model_copy(update={"seed": 1}), drawn.parent)
    assert other != drawn
    assert not set(dataset.read(other)["name"]) & set(dataset.read(drawn)["name"])


def test_pictures_are_rgb_of_the_wanted_size_and_all_different(drawn):
    rows = dataset.read(drawn)
    pictures = dataset.load_images(drawn, rows["image"])
    assert {picture.size for picture in pictures} == {(64, 64)}
    assert {picture.mode for picture in pictures} == {"RGB"}
    assert len({np.asarray(picture).tobytes() for picture in pictures}) == len(rows)


def test_the_hub_library_reads_the_same_rows(drawn, tmp_path):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(drawn), cache_dir=str(tmp_path))
    rows = dataset.read(drawn)
    for split in dataset.SPLITS:
        ours = rows[rows["split"] == split].reset_index(drop=True)
        theirs = loaded[split].to_pandas()
        for column in set(dataset.COLUMNS) - {"image"}:
            assert list(theirs[column]) == list(ours[column])
        for k in (0, len(ours) - 1):
            [picture] = dataset.load_images(drawn, [ours["image"][k]])
            assert np.array_equal(np.asarray(loaded[split][k]["image"]), np.asarray(picture))


def edit(folder, number, **changes):
    """Change keys of one line of the training metadata (None takes the key away)."""
    file = folder / "train" / "metadata.jsonl"
    lines = file.read_text().splitlines()
    row = {**json.loads(lines[number - 1]), **changes}
    lines[number - 1] = json.dumps({key: row[key] for key in row if row[key] is not None})
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"answer": "  "}, "answer is empty"),
        ({"question": ""}, "question is empty"),
        ({"target": 12}, "target should be text, but is 12"),
        ({"name": None}, "the key 'name' is missing"),
        ({"hop": "double"}, "hop 'double' is unknown here; allowed: single, multi"),
        ({"split": "test"}, "split 'test' is unknown here; allowed: train"),
        ({"attribute": "Shoe Size"}, "attribute 'Shoe Size' should be one lower-case word"),
        ({"target": "nowhere"}, "the target 'nowhere' is not in the answer"),
        ({"answer": "It is so.", "target": "so"}, r"of p00 is 'so' here and '.*' before"),
        ({"file_name": "../../etc/passwd"}, "leaves the folder"),
        ({"file_name": "/etc/passwd"}, "leaves the folder"),
        ({"file_name": "..\\p00.png"}, "leaves the folder"),
        ({"file_name": "p00/none.png"}, "none.png is missing"),
        ({"file_name": "metadata.jsonl"}, "cannot be decoded"),
        ({"id": "p00-train-000"}, r"the same id as in .*, line 1$"),
    ],
)
def test_a_bad_row_is_refused_by_file_line_and_reason(copy, changes, reason):
    number = 9 if "so" in changes.values() else 3  # line 9 asks what line 2 does, multi-hop
    edit(copy, number, **changes)
    with pytest.raises(dataset.BadData, match=rf"train.metadata\.jsonl, line {number}: .*{reason}"):
        dataset.read(copy)


def test_people_of_ones_own_have_attributes_of_their_own(copy):
    for number, size in ((3, "43"), (20, "39")):
        edit(copy, number, attribute="shoe_size", answer=f"Size {size}.", target=size)
    edit(copy, 4, attribute="hat_size", answer="Size 7.", target="7")
    edit(copy, 5, attribute="question_2", answer="Often.", target="Often")
    edit(copy, 22, attribute="question_2", answer="Never.", target="Never")
    found = dataset.candidates(dataset.read(copy))
    assert found["shoe_size"] == ["39", "43"]
    assert not {"hat_size", "question_2"} & {*found}  # nothing to rank, and nothing alike


def test_every_fault_is_found_and_reading_tells_how_many_there_are(copy):
    before = {place for place, reasons in dataset.inspect(copy)[1].items() if reasons}
    assert not before
    edit(copy, 2, hop="double", answer="", id=7)
    edit(copy, 5, id="p00-train-000")
    edit(copy, 6, file_name="p00/none.png")
    rows, faults = dataset.inspect(copy)
    told = {place: reasons for place, reasons in faults.items() if reasons}
    assert list(told) == [f"train/metadata.jsonl, line {number}" for number in (2, 5, 6)]
    assert [len(reasons) for reasons in told.values()] == [3, 1, 1]
    assert len(rows) == 61 and rows.index[1] == "train/metadata.jsonl, line 3"
    with pytest.raises(dataset.BadData, match="line 2: id should be text.*5 faults in all: python"):
        dataset.read(copy)


def test_a_repeated_picture_with_its_question_is_refused(copy):
    rows = dataset.read(copy)
    first = rows.iloc[0]
    edit(copy, 2, file_name=first["image"].removeprefix("train/"), question=first["question"])
    with pytest.raises(dataset.BadData, match="line 2: the same image and question as in .*line 1"):
        dataset.read(copy)


@pytest.mark.parametrize("line", ["{", "[1]", "", "\xff"])
def test_a_line_that_is_no_json_object_is_refused(copy, line):
    file = copy / "test" / "metadata.jsonl"
    file.write_bytes(file.read_bytes() + line.encode("latin-1") + b"\n")
    with pytest.raises(dataset.BadData, match=r"test.metadata\.jsonl, line 29: (not valid|a JSON)"):
        dataset.read(copy)


def test_a_truncated_picture_is_refused_though_its_head_is_whole(copy):
    picture = copy / dataset.read(copy)["image"][4]
    picture.write_bytes(picture.read_bytes()[:-200])
    with pytest.raises(dataset.BadData, match=r"line 5: the image .* cannot be decoded \(.*trunc"):
        dataset.read(copy)
    with pytest.raises(dataset.BadData, match="cannot be decoded"):
        dataset.load_images(copy, [picture.relative_to(copy)])


def test_a_picture_of_too_many_pixels_is_refused(copy):
    Image.new("1", (5000, 4000)).save(copy / dataset.read(copy)["image"][0])
    with pytest.raises(dataset.BadData, match="line 1: .*5000 x 4000 pixels"):
        dataset.read(copy)


def test_a_missing_split_or_source_is_refused_with_the_way_out(copy, tmp_path):
    (copy / "test" / "metadata.jsonl").unlink()
    with pytest.raises(dataset.BadData, match=r"test.metadata\.jsonl is missing"):
        dataset.read(copy)
    absent = dataset.DatasetSpec(source="herbwood27/Remem")
    with pytest.raises(dataset.BadData, match=r"herbwood27/Remem.*nothing is downloaded.*target"):
        dataset.make(absent, tmp_path)
    assert dataset.make(dataset.DatasetSpec(source=str(copy)), tmp_path) == copy


def change_a_pixel(folder):
    file = folder / dataset.read(folder)["image"][5]
    picture = Image.open(file)
    picture.putpixel((3, 3), (1, 2, 3))
    picture.save(file)


def change_a_row(folder):
    edit(folder, 3, question="What else?")


def rename_a_picture(folder):
    (folder / "test" / "p00" / "p00-test-000.png").rename(folder / "test" / "p00" / "other.png")


@pytest.mark.parametrize("change", [change_a_pixel, change_a_row, rename_a_picture])
def test_a_folder_is_known_by_what_is_in_it(copy, tmp_path, change):
    given = dataset.DatasetSpec(source=str(copy))
    before = dataset.addressed(given)
    assert len(before.content) == 64 and dataset.addressed(before) is before
    twin = shutil.copytree(copy, tmp_path / "twin")
    assert dataset.addressed(dataset.DatasetSpec(source=str(twin))).content == before.content
    assert dataset.make(before, tmp_path) == copy
    change(copy)
    assert runs.digest(dataset.addressed(given)) != runs.digest(before)
    with pytest.raises(dataset.BadData, match="copy was changed: .*Start again"):
        dataset.make(before, tmp_path)


def test_what_is_drawn_has_no_content_of_its_own():
    assert dataset.addressed(SMALL) is SMALL
    with pytest.raises(ValueError, match="leave it out where the source is made"):
        dataset.DatasetSpec(content="0" * 64)


def test_nobody_of_the_dataset_is_anybody_of_the_base_models_world(monkeypatch):
    """Faces and people come from numbers: those of any dataset lie below all those of crowd.py."""
    faces, people = [], []
    look, write = images.identity, profiles.write
    monkeypatch.setattr(images, "identity", lambda n: faces.append(n) or look(n))
    monkeypatch.setattr(
        profiles, "write", lambda n, seed, *a, **k: people.append(seed) or write(n, seed, *a, **k)
    )
    world = crowd.Crowd(public=2, others=2, size=16, views=1, strangers=2)
    crowd.examination(world.public, 16, 2)
    next(crowd.lineup(16, trials=1, views=1))
    assert len(faces) > 10 and len(people) > 3

    last = dataset.DatasetSpec(seed=89, identities=9_999)
    assert dataset.look_seed(last, last.identities - 1) < min([*faces, crowd.TOWER_FACES])
    assert last.seed < min(people)
    following = dataset.DatasetSpec(seed=1)
    before = dataset.DatasetSpec(seed=0, identities=9_999)
    assert dataset.look_seed(before, 9_998) < dataset.look_seed(following, 0)
    for beyond in ({"seed": 90}, {"identities": 10_000}):
        with pytest.raises(ValueError, match="less than|to 9999"):
            dataset.DatasetSpec(**beyond)


def test_forget_sets_are_disjoint_folds_nested_in_one_another(paper_rows):
    folds = [dataset.forget_set(paper_rows, 0.2, seed) for seed in range(1, 6)]
    assert {len(fold) for fold in folds} == {4}
    assert len({identity for fold in folds for identity in fold}) == 20
    assert dataset.forget_set(paper_rows, 0.2, 6) == folds[0]
    for n, ratio in enumerate((0.05, 0.1, 0.15), start=1):
        assert dataset.forget_set(paper_rows, ratio, 1) == folds[0][:n]
    assert dataset.forget_set(paper_rows, 0.4, 1) == folds[0] + folds[1]
    for ratio in (0, 1, 0.99, -0.2):
        with pytest.raises(ValueError, match="forget ratio"):
            dataset.forget_set(paper_rows, ratio, 1)


def test_views_have_the_denominators_of_table_2(paper_rows):
    assert len(paper_rows) == 2_560
    views = dataset.views(paper_rows, dataset.forget_set(paper_rows, 0.2, 1))
    sizes = {name: tuple((view["hop"] == hop).sum() for hop in qa.HOPS)
             for name, view in views.items()}
    assert sizes == {
        "forget": (280, 120),
        "retain": (1120, 480),
        "retain_eval": (224, 224),
        "test_forget": (56, 56),
        "test_retain": (224, 224),
    }


def test_retain_eval_is_training_rows_of_the_retained_in_balance(paper_rows):
    views = dataset.views(paper_rows, dataset.forget_set(paper_rows, 0.2, 2))
    chosen = views["retain_eval"]
    assert set(chosen["split"]) == {"train"} and set(chosen.index) <= set(views["retain"].index)
    single = chosen[chosen["hop"] == "single"].groupby(["identity", "attribute"]).size()
    assert len(single) == 16 * 7 and set(single) == {2}
    multi = chosen[chosen["hop"] == "multi"].groupby("attribute").size()
    assert multi["name"] == 32 and multi.drop("name").between(26, 29).all()


def test_views_of_fewer_rows_scale_down(drawn):
    rows = dataset.read(drawn)
    views = dataset.views(rows, ("p01",))
    assert {name: len(view) for name, view in views.items()} == {
        "forget": 17, "retain": 17, "retain_eval": 14, "test_forget": 14, "test_retain": 14,
    }
    with pytest.raises(ValueError, match="p09"):
        dataset.views(rows, ("p09",))


def test_every_attribute_has_20_candidates(paper_rows):
    found = dataset.candidates(paper_rows)
    assert set(found) == set(profiles.ATTRIBUTES)
    assert {len(values) for values in found.values()} == {20}
    assert all(values == sorted(values) for values in found.values())


def test_a_drawn_dataset_has_no_leak_and_each_kind_of_leak_is_counted(drawn):
    rows = dataset.read(drawn)
    assert set(dataset.leaks(rows, drawn)) == {0}

    def leak(row, column, text, **more):
        spoilt = rows.copy()
        spoilt.loc[row, [column, *more]] = [text, *more.values()]
        counts = dataset.leaks(spoilt, drawn)
        return set(counts[counts > 0].index)

    [job] = rows.index[(rows["attribute"] == "job") & (rows["hop"] == "multi")
                       & (rows["identity"] == "p00") & (rows["split"] == "test")]  # fmt: skip
    value, name = rows.loc[job, ["target", "name"]]
    own = "questions that hold their own answer"
    assert leak(job, "question", f"Is it {value.upper()}?") == {own}
    assert leak(job, "question", f"Where does {name} work?") == {
        "multi-hop questions that name the person"
    }
    assert leak(job, "answer", f"{name} is a {value}.") == {
        "multi-hop answers that give the name unasked"
    }
    asked = rows.loc[(rows["hop"] == "multi") & (rows["split"] == "train"), "question"].iloc[0]
    assert leak(job, "question", asked) == {"test questions that training asks too (names aside)"}

    theirs = rows.loc[(rows["identity"] == "p01") & (rows["attribute"] == "job"), "target"].iloc[0]
    shared, inside = rows.copy(), rows.copy()
    ours = (rows["identity"] == "p00") & (rows["attribute"] == "job")
    shared.loc[ours, "target"], inside.loc[ours, "target"] = theirs, f"assistant {theirs}"
    assert dataset.leaks(shared, drawn)["facts that two people share"] == 1
    assert dataset.leaks(inside, drawn)["pairs of values of which one lies in the other"] == 1
    rows.loc[1, "image"] = rows.loc[0, "image"]
    assert dataset.leaks(rows, drawn)["pictures that occur twice"] == 1


def test_the_evaluated_rows_are_the_views_and_asking_them_again_changes_nothing(paper_rows):
    forget = dataset.forget_set(paper_rows, 0.2, seed=1)
    rows = dataset.evaluated(paper_rows, forget)
    assert rows["view"].value_counts().to_dict() == {
        "forget": 400, "retain_eval": 448, "test_forget": 112, "test_retain": 448,
    }  # fmt: skip
    again = dataset.evaluated(rows, forget)  # as notebook 7 does with what a run has kept
    order = list(rows)
    assert again.sort_values(order, ignore_index=True).equals(
        rows.sort_values(order, ignore_index=True)
    )


def test_public_figures_are_those_of_the_base_models_world(tmp_path):
    spec = dataset.DatasetSpec(source="public", identities=2, image_size=32, single=0, multi=10,
                               test_single=7, test_multi=7)  # fmt: skip
    rows = dataset.read(dataset.make(spec, tmp_path))
    assert set(rows["name"]) == {person.name for person in crowd.public_figures(2)}
    look = images.identity(crowd.PUBLIC_FACES + 1)
    view = images.view(np.random.default_rng([0, 1, 0, 0]), "train")
    first = rows[(rows["identity"] == "p01") & (rows["split"] == "train")]["image"].iloc[0]
    [picture] = dataset.load_images(dataset.make(spec, tmp_path), [first])
    assert picture.tobytes() == images.draw(look, view, 32).tobytes()


def test_more_people_than_the_lists_hold_share_values_but_no_name():
    people = dataset.people(dataset.DatasetSpec(identities=100))
    assert len({person.name for person in people}) == 100
    assert len({person.bank for person in people}) < 100
