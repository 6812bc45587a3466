import dataclasses

import pandas as pd
import pytest

from remem import metrics
from remem.data import splits, validation
from remem.data.dataset import SyntheticData, folder_of, people_of
from remem.synthetic import people, questions

SMALL = SyntheticData(identities=2, single=7, multi=10, test_single=7, test_multi=7)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return folder_of(SMALL, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def paper_rows():
    """The rows of the paper's 2,560, without their pictures."""
    spec = SyntheticData()
    return pd.DataFrame(
        {"identity": person.identity, "split": split, **dataclasses.asdict(item)}
        for split, sizes in (
            ("train", (spec.single, spec.multi)),
            ("test", (spec.test_single, spec.test_multi)),
        )
        for person in people_of(spec)
        for item in questions.build(person, *sizes, split, spec.seed)
    )


def test_forget_sets_are_disjoint_folds_nested_in_one_another(paper_rows):
    folds = [splits.forget_set(paper_rows, 0.2, seed) for seed in range(1, 6)]
    assert {len(fold) for fold in folds} == {4}
    assert len({identity for fold in folds for identity in fold}) == 20
    assert splits.forget_set(paper_rows, 0.2, 6) == folds[0]
    for n, ratio in enumerate((0.05, 0.1, 0.15), start=1):
        assert splits.forget_set(paper_rows, ratio, 1) == folds[0][:n]
    assert splits.forget_set(paper_rows, 0.4, 1) == folds[0] + folds[1]
    for part in range(4):  # further draws of a seed are the rest of its fold, one after the other
        assert splits.forget_set(paper_rows, 0.05, 2, part) == folds[1][part : part + 1]
    assert splits.forget_set(paper_rows, 0.1, 2, part=1) == folds[1][2:]
    for ratio in (0, 1, 0.99, -0.2):
        with pytest.raises(ValueError, match="forget ratio"):
            splits.forget_set(paper_rows, ratio, 1)


def test_draws_are_disjoint_within_each_seeds_forget_set(paper_rows):
    seeds = (1, 2, 3, 4, 5)

    def draws(ratio, count, seeds=seeds):
        return splits.draws(paper_rows, ratio, 0.2, count, seeds)

    folds = {seed: splits.forget_set(paper_rows, 0.2, seed) for seed in seeds}
    for ratio, count, size in ((0.05, 10, 10), (0.05, 99, 20), (0.1, 10, 20), (0.15, 99, 15)):
        found = draws(ratio, count)
        who = [name for _, forget in found for name in forget]
        assert len(who) == len(set(who)) == size
        assert all(set(forget) < set(folds[seed]) for seed, forget in found)
    assert [seed for seed, _ in draws(0.05, 7)] == [1, 2, 3, 4, 5, 1, 2]
    assert draws(0.2, 99) == list(folds.items())
    assert [len(forget) for _, forget in draws(0.4, 99, (1, 2))] == [8, 8]


def test_views_have_the_denominators_of_table_2(paper_rows):
    assert len(paper_rows) == 2_560
    views = splits.views(paper_rows, splits.forget_set(paper_rows, 0.2, 1))
    sizes = {
        name: tuple((view["hop"] == hop).sum() for hop in questions.HOPS)
        for name, view in views.items()
    }
    assert sizes == {
        "forget": (280, 120),
        "retain": (1120, 480),
        "retain_eval": (224, 224),
        "test_forget": (56, 56),
        "test_retain": (224, 224),
    }


def test_retain_eval_is_training_rows_of_the_retained_in_balance(paper_rows):
    views = splits.views(paper_rows, splits.forget_set(paper_rows, 0.2, 2))
    chosen = views["retain_eval"]
    assert set(chosen["split"]) == {"train"} and set(chosen.index) <= set(views["retain"].index)
    single = chosen[chosen["hop"] == "single"].groupby(["identity", "attribute"]).size()
    assert len(single) == 16 * 7 and set(single) == {2}
    multi = chosen[chosen["hop"] == "multi"].groupby("attribute").size()
    assert multi["name"] == 32 and multi.drop("name").between(26, 29).all()


def test_views_of_fewer_rows_scale_down(drawn):
    rows = validation.read(drawn)
    views = splits.views(rows, ("p01",))
    assert {name: len(view) for name, view in views.items()} == {
        "forget": 17,
        "retain": 17,
        "retain_eval": 14,
        "test_forget": 14,
        "test_retain": 14,
    }
    with pytest.raises(ValueError, match="p09"):
        splits.views(rows, ("p09",))


def test_longer_values_are_those_of_the_same_attribute(paper_rows):
    assert splits.longer_values(paper_rows) == {}  # no two drawn people's
    rows = pd.DataFrame(
        [
            ("illness", "diabetes", "She has diabetes."),
            ("illness", "type 2 diabetes", "He has type 2 diabetes."),
            ("city", "Berlin", "She lives in Berlin, Germany."),
            ("city", "Berlin, Germany", "Berlin, Germany"),
            ("hobby", "type 2 diabetes research", "type 2 diabetes research"),
            ("hobby", "chess", "chess"),
            (splits.UNNAMED, "yes", "yes"),
            (splits.UNNAMED, "yes, often", "yes, often"),
        ],
        columns=["attribute", "target", "answer"],
    )
    longer = splits.longer_values(rows)
    assert longer == {
        "illness": {"diabetes": ["type 2 diabetes"]},
        "city": {"Berlin": ["Berlin, Germany"]},
    }
    found = splits.with_longer_values(rows, longer)
    # what the reference answer says itself is right
    assert found["longer_values"].tolist() == [("type 2 diabetes",)] + [()] * 7
    assert found.assign(answer_given=rows["answer"]).pipe(metrics.em) == [1] * 8
    assert metrics.em(found.assign(answer_given="type 2 diabetes"))[0] == 0
    pd.testing.assert_frame_equal(splits.with_longer_values(rows, {}), rows)


def kinds(rows):
    return set(zip(rows["identity"], rows["hop"], rows["attribute"], strict=True))


def held_out(rows, **only):
    """The rows, of whose held-out ones only those are left that have these values."""
    left = rows["split"] == "train"
    return rows[left | rows[[*only]].isin(only).all(axis=1)]


@pytest.mark.parametrize(
    "only",
    [
        {"hop": ["single"]},
        {"hop": ["multi"]},
        {"attribute": ["job", "bank"]},
        {"hop": ["single"], "attribute": ["job"]},
        {"hop": ["multi"], "attribute": ["name"]},
        {"identity": ["p03", "p05"]},
        {"identity": ["p00"], "hop": ["multi"]},
    ],
)
def test_what_the_test_split_passes_over_is_in_retain_eval_all_the_same(paper_rows, only):
    rows = held_out(paper_rows, **only)
    forget = splits.forget_set(rows, 0.2, 1)
    views, whole = splits.views(rows, forget), splits.views(paper_rows, forget)
    chosen, retained = views["retain_eval"], whole["test_retain"]["identity"].unique()
    counts = chosen.groupby(["identity", "hop"]).size().unstack()
    assert set(counts.index) == set(retained) and (counts >= 7).all(axis=None)
    assert kinds(chosen) >= kinds(views["test_retain"])
    assert kinds(chosen) >= kinds(whole["retain_eval"].query("hop == 'single'"))
    assert set(chosen["attribute"]) == set(rows["attribute"])
    sizes = chosen.groupby(["identity", "hop", "attribute"]).size()
    assert sizes.max() <= 2  # as many of a kind as the test split has at most, so in balance
    rows = splits.evaluated(rows, forget)
    assert splits.evaluated(rows, forget).equals(rows)


def test_a_hop_and_attribute_together_may_be_passed_over(paper_rows):
    single_job = (paper_rows["hop"] == "single") == (paper_rows["attribute"] == "job")
    rows = paper_rows[(paper_rows["split"] == "train") | single_job]  # and multi-hop all the rest
    chosen = splits.views(rows, ("p00",))["retain_eval"]
    counts = chosen.groupby(["hop", "attribute"])["identity"].nunique()
    assert len(counts) == 15 and (counts == 19).all()


def test_of_whom_nothing_was_trained_on_nothing_is_forgotten(paper_rows):
    lost = ["p02", "p07", "p11", "p19"]
    rows = paper_rows[(paper_rows["split"] == "test") | ~paper_rows["identity"].isin(lost)]
    folds = [splits.forget_set(rows, 0.2, seed) for seed in range(1, 6)]
    assert not {name for fold in folds for name in fold} & {*lost}
    assert {len(fold) for fold in folds} == {3}  # of the 16 who are left
    with pytest.raises(validation.BadData, match="no training row about p07, and what was never"):
        splits.views(rows, ("p01", "p07"))
    alone = rows[(rows["split"] == "test") | (rows["identity"] == "p01")]
    for few, who in ((alone, "about p01 alone"), (rows[rows["split"] == "test"], "about nobody")):
        with pytest.raises(validation.BadData, match=f"rows are {who}, and it takes two people"):
            splits.forget_set(few, 0.2, 1)


def test_every_attribute_has_20_candidates(paper_rows):
    found = splits.candidates(paper_rows)
    assert set(found) == set(people.ATTRIBUTES)
    assert {len(values) for values in found.values()} == {20}
    assert all(values == sorted(values) for values in found.values())


def test_the_evaluated_rows_are_the_views_and_asking_them_again_changes_nothing(paper_rows):
    forget = splits.forget_set(paper_rows, 0.2, seed=1)
    rows = splits.evaluated(paper_rows, forget)
    assert rows["view"].value_counts().to_dict() == {
        "forget": 400,
        "retain_eval": 448,
        "test_forget": 112,
        "test_retain": 448,
    }
    again = splits.evaluated(rows, forget)  # as notebook 7 does with what a run has kept
    order = list(rows)
    assert again.sort_values(order, ignore_index=True).equals(
        rows.sort_values(order, ignore_index=True)
    )
