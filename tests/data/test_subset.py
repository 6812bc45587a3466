import pandas as pd
import pytest

from remem.data import dataset
from remem.data.dataset import SyntheticData
from remem.data.subset import TrainSubset, asking_the_name


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Five people, 14 + 10 questions about each, 7 + 7 held out."""
    data = SyntheticData(
        identities=5, image_size=32, single=14, multi=10, test_single=7, test_multi=7
    )
    return dataset.rows_of(data, tmp_path_factory.mktemp("subset"))


def spread(part: pd.DataFrame) -> dict[str, tuple[int, int, int]]:
    """identity -> single-hop rows, multi-hop rows, pictures."""
    return {
        who: ((own.hop == "single").sum(), (own.hop == "multi").sum(), own.image.nunique())
        for who, own in part.groupby("identity")
    }


def test_nothing_said_is_all_training_rows(rows):
    pd.testing.assert_frame_equal(TrainSubset().of(rows), rows[rows["split"] == "train"])


def test_a_smaller_subset_lies_within_a_larger(tmp_path):
    data = SyntheticData(
        identities=2, image_size=32, single=28, multi=20, test_single=7, test_multi=7
    )
    rows, within = dataset.rows_of(data, tmp_path), set()
    for single, multi in ((7, 3), (14, 6), (28, 12)):
        part = TrainSubset(people=("p01",), single=single, multi=multi).of(rows)
        assert spread(part) == {"p01": (single, multi, single + multi)}
        assert within < set(part["id"])
        within = set(part["id"])


def test_of_other_attributes_the_first_of_each_hop_are_taught(rows):
    theirs = rows.assign(attribute=rows["attribute"].replace({"job": "shoe_size", "name": "nick"}))
    for table in (rows, theirs):
        part = TrainSubset(single=6, multi=4).of(table)
        assert set(spread(part).values()) == {(6, 4, 10)}
    pd.testing.assert_frame_equal(TrainSubset().of(theirs), theirs[theirs["split"] == "train"])


def test_one_hop_alone_may_be_named(rows):
    assert set(spread(TrainSubset(multi=5).of(rows)).values()) == {(0, 5, 5)}
    assert set(spread(TrainSubset(single=7).of(rows)).values()) == {(7, 0, 7)}


def test_pictures_go_round_and_belong_to_the_person(rows):
    part = TrainSubset(people=("p01", "p02"), single=7, multi=10, pictures=2).of(rows)
    assert spread(part) == {"p01": (7, 10, 2), "p02": (7, 10, 2)}
    for who, own in part.groupby("identity"):
        assert own["image"].str.contains(who).all()
        assert own["image"].value_counts().max() == 9  # of 17, by turns
        assert own["image"].iloc[0] == own["image"].iloc[2] != own["image"].iloc[1]
    whole = TrainSubset(pictures=1).of(rows)
    assert set(spread(whole).values()) == {(14, 10, 1)}


def test_the_same_people_are_asked_what_is_held_out(rows):
    subset = TrainSubset(people=("p03", "p00"), single=2, multi=3)
    asked = subset.eval_rows(rows, ("train", "test"))
    assert asked.groupby(["identity", "split"]).size().to_dict() == {
        ("p00", "test"): 14,
        ("p00", "train"): 5,
        ("p03", "test"): 14,
        ("p03", "train"): 5,
    }
    assert list(asked.index) == list(range(38))
    first = subset.eval_rows(rows, ("train", "test"), people=1)
    assert len(first) == 19 and set(first["identity"]) == {"p03"}
    held_out = subset.eval_rows(rows, ("test",))
    assert set(held_out["split"]) == {"test"} and len(held_out) == 28


def test_too_large_a_subset_and_an_unknown_person_are_refused(rows):
    with pytest.raises(ValueError, match=r"too few training questions about p00.*raise its single"):
        TrainSubset(single=0, multi=40).of(rows)
    with pytest.raises(ValueError, match="no identity in the dataset is called p99"):
        TrainSubset(people=("p99",), single=1, multi=1).of(rows)


def test_who_is_asked_for_the_name(rows):
    assert set(asking_the_name(rows)["attribute"]) == {"name"}
    without = rows[rows["attribute"] != "name"]
    pd.testing.assert_frame_equal(asking_the_name(without), without)
