"""Lessons: each experiment changes what it says it changes, and nothing else."""

import math
from collections import Counter

import pandas as pd
import pytest

from remem import dataset, lessons, params, runs, train


@pytest.fixture(scope="module")
def tiny():
    return params.load("tiny")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return params.load("smoke"), tmp_path_factory.mktemp("lessons")


def spread(part: pd.DataFrame) -> dict[str, tuple[int, int, int]]:
    """identity -> single-hop rows, multi-hop rows, pictures."""
    return {
        who: ((own.hop == "single").sum(), (own.hop == "multi").sum(), own.image.nunique())
        for who, own in part.groupby("identity")
    }


def test_the_mix_is_exact_at_every_share():
    for total in (40, 80, 200):
        for percent in range(0, 101, 10):
            single, multi = lessons.mixed(total, percent)
            assert single + multi == total and single == total * percent / 100


def test_other_benchmarks_shapes_take_the_updates_of_remem(tiny):
    *others, remem = lessons.diagnosis(tiny)
    assert remem.spec == tiny.start("tiny-7b", 1) and remem.label == {"benchmark": "ReMem"}
    for each in others:
        lesson, people = each.spec.lesson, each.spec.dataset
        assert lesson.updates == 160  # 2,000 rows by 64, five times (§7.1)
        assert people.identities * (lesson.single + lesson.multi) == 2000
        assert (lesson.single, lesson.pictures) == (0, 1)
        assert each.spec.stage1 == remem.spec.stage1 and each.spec.base == remem.spec.base


def test_one_thing_is_changed_at_a_time(smoke):
    p, root = smoke
    none, *changed = lessons.causes(p)
    assert none.spec == p.start("smoke", 1)
    usual = p.dataset.single + p.dataset.multi
    expected = {
        "1 picture": (p.dataset.single, p.dataset.multi, 1),
        "10 QA": (6, 4, 10),
        "10 QA, five epochs": (6, 4, 10),
        "multi-hop only": (0, usual, usual),
        "10 QA, multi-hop, 1 picture": (0, 10, 1),
        "10 QA, 12 people": (6, 4, 10),
    }
    assert [each.label["change"] for each in changed] == list(expected)
    people = set(dataset.read(dataset.make(p.dataset, root))["name"])
    for each in changed:
        rows = dataset.read(dataset.make(each.spec.dataset, root))
        taught = each.spec.taught(rows)
        assert set(spread(taught).values()) == {expected[each.label["change"]]}
        # The same people, whatever else is changed.
        assert set(taught["name"]) >= people or each.label["change"].endswith("people")
        assert len(set(taught["name"])) == (12 if each.label["change"].endswith("people") else 5)
        updates = None if "epochs" in each.label["change"] else math.ceil(5 * usual / 32)
        assert each.spec.lesson.updates == updates


def test_a_smaller_lesson_lies_within_a_larger(smoke):
    p, root = smoke
    spec = lessons._people(p, 2, 28, 20)
    rows = dataset.read(dataset.make(spec, root))
    within: set[str] = set()
    for total in (10, 20, 40):
        single, multi = lessons.mixed(total, 70)
        part = train.Lesson(people=("p01",), single=single, multi=multi).of(rows)
        assert spread(part) == {"p01": (single, multi, total)}
        assert within < set(part["id"])
        within = set(part["id"])


def test_of_other_attributes_the_first_of_each_hop_are_taught(smoke):
    p, root = smoke
    rows = dataset.read(dataset.make(p.dataset, root))
    theirs = rows.assign(attribute=rows["attribute"].replace({"job": "shoe_size", "name": "nick"}))
    for table in (rows, theirs):
        part = train.Lesson(single=6, multi=4).of(table)
        assert set(spread(part).values()) == {(6, 4, 10)}
    pd.testing.assert_frame_equal(train.Lesson().of(theirs), theirs[theirs["split"] == "train"])


def test_a_benchmarks_own_samples_stand_for_its_shape(smoke, monkeypatch, tmp_path):
    _, root = smoke
    folder = dataset.make(dataset.DatasetSpec(identities=3, image_size=16, multi=7), root)
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path))
    files = {"FIUBench": {"source": str(folder)}}
    p = params.load("smoke", experiments={"diagnosis": {"files": files}})
    first, *shapes, remem = lessons.diagnosis(p)
    people = p.experiments.diagnosis.files["FIUBench"]
    assert first.label == {"benchmark": "FIUBench"} and first.spec.dataset == people
    assert (people.identities, people.single, people.multi) == (3, 70, 7) and people.content
    assert [each.label["benchmark"] for each in shapes] == ["MLLMU-Bench"]
    rows = dataset.read(folder)
    assert first.spec.taught(rows)["id"].tolist() == rows["id"][rows["split"] == "train"].tolist()
    # People of one's own in place of ReMem's: nothing is called ReMem, or drawn a second time.
    p = params.load("smoke", benchmark=str(folder))
    *shapes, own = lessons.diagnosis(p)
    name = f"{folder.name} (own)"
    assert own.label == {"benchmark": name} and len(shapes) == 2
    changes = [each.label["change"] for each in lessons.causes(p)]
    assert changes == [f"none ({name})", "1 picture", "10 QA", "10 QA, five epochs"]


def test_too_large_a_lesson_and_an_unknown_person_are_refused(smoke):
    p, root = smoke
    rows = dataset.read(dataset.make(p.dataset, root))
    with pytest.raises(ValueError, match="too few training questions about p00.*raise its single"):
        train.Lesson(single=0, multi=40).of(rows)
    with pytest.raises(ValueError, match="nobody in the dataset is called p99"):
        train.Lesson(people=("p99",), single=1, multi=1).of(rows)


def test_scaling_has_a_control_with_equal_updates(tiny):
    taught = lessons.scaling(tiny)
    # shared at 80, 100 and 120, which take ten updates anyway
    assert len({runs.digest(each.spec) for each in taught}) == len(taught) - 3 * 8
    for each in taught:
        lesson, samples = each.spec.lesson, each.label["samples"]
        assert (10 * lesson.single, 10 * lesson.multi) == (7 * samples, 3 * samples)
        assert len(lesson.people) == 1 and lesson.asked == ("test",)
        usual = math.ceil(samples / 64) * 5
        steps = lesson.updates or usual
        assert steps == (usual if each.label["control"] == "five epochs" else 10)
    repeated = Counter((*each.spec.lesson.people, each.spec.seed) for each in taught)
    assert set(repeated) == {(f"p{k:02d}", seed) for k in range(4) for seed in (1, 2)}


def test_hops_keep_the_total_and_change_the_share(tiny):
    taught = lessons.hops(tiny)
    for each in taught:
        lesson, mix = each.spec.lesson, tiny.experiments.hops
        one = each.label["setting"] == "one person"
        assert lesson.single + lesson.multi == (mix.one if one else mix.several).samples
        assert 100 * lesson.single == each.label["share"] * (lesson.single + lesson.multi)
        assert len(lesson.people) == one  # nobody named is everybody
    assert {each.label["setting"] for each in taught} == {"one person", "20 people"}


def test_sets_are_the_real_set_and_the_three_shapes(tiny, smoke):
    sets = lessons.sets(tiny)
    assert list(sets) == ["Real Set", "FIUBench", "MLLMU-Bench", "ReMem"]
    real = sets["Real Set"]
    assert real.stage1.epochs == 0 and real.dataset.source == "public"
    p, _ = smoke
    without = p.experiments.diagnosis.model_copy(update={"real": None})
    p = p.model_copy(
        update={"experiments": p.experiments.model_copy(update={"diagnosis": without})}
    )
    assert list(lessons.sets(p)) == ["FIUBench", "MLLMU-Bench", "ReMem"]


def test_a_lesson_is_run_labelled_and_its_names_weighed(small):
    lesson = train.Lesson(people=("p01", "p02"), single=7, multi=10, pictures=2, updates=3)
    spec = small.stage1.model_copy(update={
        "lesson": lesson, "evaluate": small.stage1.evaluate.model_copy(
            update={"exposure": False, "perplexity": True})})  # fmt: skip
    folder = train.run(spec, small.runs)
    assert len(pd.read_csv(folder / "history.csv")) == 3
    rows = lessons.rows([lessons.Taught({"samples": 17}, spec)], [folder])
    assert set(rows["identity"]) == {"p01", "p02"} and set(rows["split"]) == {"train", "test"}
    assert set(rows["samples"]) == {17} and set(rows["seed"]) == {1}
    taught = rows[rows["split"] == "train"]
    assert set(spread(taught).values()) == {(7, 10, 2)}
    assert rows["exposure"].isna().all()
    assert (rows["perplexity"].notna() == (rows["split"] == "test")).all()
    assert (rows["perplexity"].dropna() > 1).all()

    found = lessons.signatures(spec, 1, small.runs)
    assert set(found["identity"]) == {"p01"}
    assert len(found) == 1 and (found["min_k"] <= found["inverse_perplexity"]).all()
    assert (found["inverse_perplexity"] <= found["mean_probability"] + 1e-9).all()
