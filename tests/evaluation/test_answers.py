import numpy as np
import pandas as pd
import pytest

from remem import jobs, metrics, runs
from remem.data import splits
from remem.evaluation import answers
from remem.evaluation.answers import AnswerRun, EvalRows, truths
from remem.jobs import Job, Jobs
from remem.model import adapters, inference, loading
from remem.training import stage1, stage2
from remem.training.methods import GA
from remem.training.stage1 import Untrained
from remem.training.stage2 import Stage2Run


def asked(small, of=None, rows=None, **changes):
    """The answers of a model, of stage 1 unless told otherwise."""
    settings = {"max_new_tokens": 6, "batch": 40, **changes}
    return AnswerRun(of=of or small.stage1, rows=rows or EvalRows(), **settings)


def read(small, run):
    return run.read(runs.get_or_create(run, small.runs))


@pytest.fixture
def unlearned(small):
    """A short run of unlearning, which forgets one person of four."""
    forget = splits.forget_set(small.rows, 0.25, seed=1)
    optimiser = small.optimiser.model_copy(update={"lr": 1e-2})
    return Stage2Run(start=small.stage1, method=GA(), forget=forget, optimiser=optimiser, seed=1)


# ---------------------------------------------------------------- which rows


def test_rows_are_those_of_the_splits(small):
    pd.testing.assert_frame_equal(EvalRows().of(small.rows), small.rows)
    held_out = EvalRows(splits=("test",)).of(small.rows)
    pd.testing.assert_frame_equal(held_out, small.rows[small.rows["split"] == "test"])
    assert (EvalRows().secret(small.rows) == (small.rows["split"] == "train")).all()


def test_rows_of_a_forget_set_are_table_2s_views(small):
    forget = splits.forget_set(small.rows, 0.25, seed=1)
    found = EvalRows(forget=forget).of(small.rows)
    pd.testing.assert_frame_equal(found, splits.evaluated(small.rows, forget))
    views = splits.views(small.rows, forget)
    assert found.groupby("view").size().to_dict() == {
        view: len(views[view]) for view in ("forget", "retain_eval", "test_forget", "test_retain")
    }
    assert set(found["identity"][EvalRows(forget=forget).secret(found)]) == set(forget)
    one = EvalRows(forget=forget, views=("forget",)).of(small.rows)
    assert set(one["view"]) == {"forget"} and list(one["id"]) == list(views["forget"]["id"])
    assert list(one.index) == list(range(len(one)))


def test_rows_of_a_subset_are_about_its_people(small):
    subset = stage1.TrainSubset(people=("p02",), single=2, multi=3, pictures=1)
    found = EvalRows().of(small.rows, subset)
    pd.testing.assert_frame_equal(found, subset.eval_rows(small.rows, ("train", "test")))
    assert set(found["identity"]) == {"p02"}
    assert set(EvalRows(splits=("test",)).of(small.rows, subset)["split"]) == {"test"}


# ---------------------------------------------------------------- what is kept, what is computed


def test_the_answers_of_all_rows_are_kept_with_their_scores(small, features):
    run = asked(small)
    folder = runs.get_or_create(run, small.runs)
    assert {path.name for path in folder.iterdir()} == {"spec.json", "answers.parquet", "DONE"}
    rows = run.read(folder)
    pd.testing.assert_frame_equal(rows[[*small.rows.columns]], small.rows.reset_index(drop=True))
    assert rows.groupby("split")["exposure"].count().to_dict() == {"train": 68, "test": 0}
    assert {"answer_given", "rouge", "em", "judge_rule"} <= set(rows.columns)
    assert "candidate_logps" not in rows and "perplexity" not in rows

    network = loading.load(small.base)
    network = adapters.load_adapter(network, small.stage1.adapter(small.runs))
    some = small.rows[:30]
    again = inference.answers(network, some, features, 40, 6)
    assert again == list(rows["answer_given"][:30])  # base and adapter alone repeat them


def test_the_scores_are_those_of_what_is_kept(small, features):
    run = asked(small)
    folder = runs.get_or_create(run, small.runs)
    kept = pd.read_parquet(folder / "answers.parquet")
    assert not {"rouge", "em", "judge_rule", "exposure"} & set(kept.columns)
    candidates = splits.candidates(small.rows)
    ranked = kept[kept["candidate_rank"].notna()]
    for row in ranked.itertuples():
        names = candidates[row.attribute]
        assert len(row.candidate_logps) == row.candidates == len(names)
        assert row.candidate_rank == metrics.rank(row.candidate_logps, names.index(row.target))
        assert row.logp == row.candidate_logps[names.index(row.target)]
    assert (kept["logp"].notna() == kept["candidate_rank"].notna()).all()
    network = loading.load(small.base)
    network = adapters.load_adapter(network, small.stage1.adapter(small.runs))
    some = ranked[::9]
    found = inference.candidate_logps(network, some, features, candidates, "plain", 40)
    for given, plain in zip(some["candidate_logps"], found, strict=True):
        np.testing.assert_allclose(given, plain, atol=1e-4)


def test_a_mended_metric_asks_nobody(small, monkeypatch):
    run = asked(small)
    before = read(small, run)
    monkeypatch.setattr(inference, "answers", None)
    monkeypatch.setattr(metrics, "exact_match", lambda given, target, longer=(): True)
    assert read(small, run)["em"].eq(1).all() and not before["em"].eq(1).all()


def test_values_of_those_who_are_not_asked_are_kept_where_they_have_to_be_told_apart(
    small, tmp_path, monkeypatch
):
    someone, other = small.rows["identity"].unique()[:2]
    job = small.rows["attribute"] == "job"
    [own] = small.rows["target"][job & (small.rows["identity"] == someone)].unique()
    rows = small.rows.copy()
    rows.loc[job & (rows["identity"] == other), "target"] = f"chief {own}"
    given = splits.longer_values(rows)
    assert given == {"job": {own: [f"chief {own}"]}}
    monkeypatch.setattr(splits, "longer_values", lambda rows: given)

    def said(network, rows, *_, **how):
        return [f"It is chief {own}."] * len(rows)

    monkeypatch.setattr(inference, "answers", said)
    runs.get_or_create(small.stage1, small.runs)
    run = asked(small, rows=EvalRows(forget=(someone,), views=("forget",)), exposure=False)
    run.make(tmp_path, small.runs)  # not under the name of a run: that of other values
    found = run.read(tmp_path)
    assert set(found["identity"]) == {someone} and found["em"].eq(0).all()
    (tmp_path / "longer_values.json").unlink()  # then it would be
    assert run.read(tmp_path)["em"].eq(found["attribute"] == "job").all()


def test_exposure_is_read_by_both_formulas(small, tmp_path):
    table = pd.DataFrame(
        {
            "question": ["?"],
            "answer": ["d."],
            "target": ["d"],
            "answer_given": ["d"],
            "candidates": [4],
            "candidate_rank": [2.0],
        }
    )
    table.to_parquet(tmp_path / "answers.parquet")
    row = asked(small).read(tmp_path).iloc[0]
    assert (row.exposure, row.exposure_linear) == pytest.approx((50, 200 / 3))


def test_the_truth_is_the_target_among_its_candidates():
    rows = pd.DataFrame({"attribute": ["job", "job", "bank"], "target": ["c", "a", "x"]})
    candidates = {"job": ["a", "b", "c"], "bank": ["x", "y"]}
    assert truths(rows, candidates) == [2, 0, 0]
    with pytest.raises(ValueError, match="'c' is not among the candidates for 'job'"):
        truths(rows, {**candidates, "job": ["a"]})


def test_an_attribute_without_candidates_has_no_rank_and_rows_stay_in_place(
    small, tmp_path, monkeypatch
):
    some = splits.candidates(small.rows)
    monkeypatch.setattr(splits, "candidates", lambda rows: {"job": some["job"]})
    runs.get_or_create(small.stage1, small.runs)
    run = asked(small, max_new_tokens=2)
    run.make(tmp_path, small.runs)  # not under the name of a run: that of other candidates
    rows = run.read(tmp_path)
    assert list(rows["id"]) == list(small.rows["id"])
    known = (rows["attribute"] == "job") & (rows["split"] == "train")
    assert (rows["candidate_rank"].notna() == known).all() and known.any()
    assert set(rows["candidates"][rows["attribute"] == "job"]) == {len(some["job"])}
    assert set(rows["candidates"][rows["attribute"] != "job"]) == {0}


def test_exposure_can_be_switched_off(small, monkeypatch):
    monkeypatch.setattr(inference, "candidate_logps", None)
    rows = read(small, asked(small, exposure=False))
    assert rows["exposure"].isna().all() and rows["candidate_rank"].isna().all()
    with pytest.raises(TypeError):  # else the test would show nothing
        read(small, asked(small, exposure=True, max_new_tokens=3))


def test_perplexity_is_of_reference_answers_on_held_out_rows(small, features):
    rows = read(small, asked(small, exposure=False, perplexity=True))
    assert (rows["perplexity"].notna() == (rows["split"] == "test")).all()
    assert (rows["perplexity"].dropna() > 1).all()
    network = loading.load(small.base)
    network = adapters.load_adapter(network, small.stage1.adapter(small.runs))
    some = rows[rows["split"] == "test"][::8]
    logps = inference.token_logps(network, some, features, 40)
    expected = [metrics.perplexity(each) for each in logps]
    assert some["perplexity"].tolist() == pytest.approx(expected, rel=1e-3)


def test_without_answers_there_are_ranks_alone(small, monkeypatch):
    expected = read(small, asked(small))
    monkeypatch.setattr(inference, "answers", None)
    rows = read(small, asked(small, max_new_tokens=0))
    assert not {"answer_given", "rouge", "em", "judge_rule"} & set(rows.columns)
    pd.testing.assert_series_equal(rows["exposure"], expected["exposure"])


def test_templates_rank_the_same_rows_under_each_prefix(small):
    plain, other = (
        read(small, asked(small, prefix_template=template, max_new_tokens=0))
        for template in ("plain", "alternative")
    )
    assert list(plain["id"]) == list(other["id"])
    assert (plain["exposure"].notna() == other["exposure"].notna()).all()
    means = [
        rows.groupby("hop")["exposure"].mean()[hop]
        for rows in (plain, other)
        for hop in ("single", "multi")
    ]
    assert len(set(means)) > 2  # the words do matter to this network


# ---------------------------------------------------------------- whose answers


def test_an_untrained_model_answers_without_an_adapter(small, features):
    of = Untrained(base=small.base_run, data=small.data)
    run = asked(small, of, exposure=False)
    assert run.trained is None
    given = inference.answers(loading.load(small.base), small.rows[:30], features, 40, 6)
    assert list(read(small, run)["answer_given"][:30]) == given


def test_after_unlearning_the_forgotten_are_ranked(small, unlearned):
    run = asked(small, unlearned, EvalRows(forget=unlearned.forget))
    rows = read(small, run)
    assert run.trained == unlearned
    forgotten = rows["view"] == "forget"
    assert set(rows.loc[forgotten, "identity"]) == set(unlearned.forget)
    assert (rows["exposure"].notna() == forgotten).all()
    assert rows.groupby(["view", "hop"])["em"].mean().between(0, 1).all()


def test_of_all_rows_those_of_the_views_say_the_same(small, unlearned):
    """Stage 1 is asked about all rows once, for Table 3, and Table 2 takes its views from those."""
    everything = splits.evaluated(read(small, asked(small)), unlearned.forget)
    views = read(small, asked(small, rows=EvalRows(forget=unlearned.forget)))
    # All training rows have a rank there: Table 2 means it over the forget view.
    forgotten = views["view"] == "forget"
    columns = ["id", "view", "answer_given", "em", "rouge", "judge_rule"]
    pd.testing.assert_frame_equal(everything[columns], views[columns])
    pd.testing.assert_series_equal(
        everything["exposure"][forgotten], views["exposure"][forgotten], atol=1e-6
    )


# ---------------------------------------------------------------- trained once


def trained(small):
    return {p.name for p in small.runs.iterdir() if p.name.startswith(("stage1-", "stage2-"))}


@pytest.mark.parametrize(
    "changes",
    [
        {"max_new_tokens": 3},
        {"batch": 17},
        {"exposure": False},
        {"prefix_template": "alternative"},
        {"perplexity": True},
    ],
    ids=lambda each: next(iter(each)),
)
def test_what_is_asked_otherwise_retrains_nothing(small, unlearned, monkeypatch, changes):
    rows = EvalRows(forget=unlearned.forget, views=("forget",))
    read(small, asked(small, unlearned, rows))
    before = trained(small)
    monkeypatch.setattr(stage1, "fit", None)
    monkeypatch.setattr(stage2, "fit", None)
    other = asked(small, unlearned, rows, **changes)
    assert len(read(small, other)) == 17
    assert trained(small) == before
    usual = asked(small, unlearned, rows)
    assert (runs.name(other) == runs.name(usual)) == ("batch" in changes)


def test_in_smaller_parts_nothing_is_trained_or_asked_again(small, unlearned):
    parts = {"micro_batch": 5, "checkpointing": True}
    start = small.stage1.model_copy(update={"optimiser": small.optimiser.model_copy(update=parts)})
    other = unlearned.model_copy(
        update={"start": start, "optimiser": unlearned.optimiser.model_copy(update=parts)}
    )
    assert runs.name(asked(small, other)) == runs.name(asked(small, unlearned))


def test_an_error_while_answering_leaves_what_is_trained(small, unlearned, monkeypatch):
    of = unlearned.model_copy(update={"seed": 9})
    run = asked(small, of, EvalRows(forget=of.forget, views=("forget",)), exposure=False)
    with monkeypatch.context() as patch:

        def fail(*_, **__):
            raise MemoryError("no room for 40 sequences")

        patch.setattr(inference, "answers", fail)
        with pytest.raises(MemoryError, match="no room"):
            runs.get_or_create(run, small.runs)
    assert runs.verify(runs.folder(of, small.runs)) and of.adapter(small.runs).is_dir()
    assert not runs.folder(run, small.runs).exists()
    monkeypatch.setattr(stage1, "fit", None)  # nothing may be trained from here on
    monkeypatch.setattr(stage2, "fit", None)
    assert len(read(small, run)) == 17


def test_collect_has_labels_as_columns_and_selects(small, unlearned):
    forget = unlearned.forget
    jobs_ = Jobs(
        (
            Job(asked(small), {"method": "before"}, lambda rows: splits.evaluated(rows, forget)),
            Job(asked(small, unlearned, EvalRows(forget=forget)), {"method": "GA"}),
        ),
        small.runs,
    )
    rows = jobs.collect(jobs_)
    assert rows.groupby("method")["view"].value_counts().unstack().nunique().eq(1).all()
    assert [job.spec for job in jobs_.training()] == [small.stage1, unlearned]
    history = jobs.collect(jobs_.training())
    assert set(history["method"]) == {"before", "GA"} and "loss" in history


def test_the_asking_has_a_name_of_its_own(small):
    assert answers.AnswerRun.kind == "answers" == runs.name(asked(small)).rpartition("-")[0]
