import numpy as np
import pytest
import torch

from remem import dataset, metrics, models, predict, qa


@pytest.fixture
def network(small, adapter):
    base, processor = models.load(small.base)
    return models.load_adapter(base, adapter), processor


def test_batched_answers_equal_one_by_one(small, network, features):
    rows = small.rows[::4]
    together = predict.answers(*network, rows, features, batch=50, max_new_tokens=8)
    alone = predict.answers(*network, rows, features, batch=1, max_new_tokens=8)
    assert together == alone
    assert len(set(together)) > len(rows) / 4  # else this would show nothing
    assert all(text == text.strip() and "<" not in text for text in together)


def test_answers_look_at_the_image(small, network, features):
    rows = small.rows[:12]
    swapped = rows.assign(image=list(small.rows["image"][-12:]))
    answers = [predict.answers(*network, r, features, 12, 8) for r in (rows, swapped)]
    assert answers[0] != answers[1]


@pytest.mark.parametrize("wording", ["plain", "alternative"])
def test_shared_prefixes_equal_a_plain_forward_per_candidate(small, network, features, wording):
    model, processor = network
    rows = small.rows[::11]
    candidates = dataset.candidates(small.rows)
    found = predict.candidate_logps(model, processor, rows, features, candidates, wording, 40)
    for row, given in zip(rows.itertuples(), found, strict=True):
        prefix = qa.prefix(row.attribute, row.hop, row.name, wording)
        plain = []
        for value in candidates[row.attribute]:
            whole = models.encode(processor, "", value, models.patches(model), prefix)
            whole = whole._replace(ids=whole.ids[:-1])  # no end-of-sequence
            batch = models.collate([whole], features[[row.image]], 0)
            with torch.no_grad():
                plain.append(models.score(model, batch).logp.mean().item())
        assert given.tolist() == pytest.approx(plain, abs=1e-4)


def test_candidates_do_not_depend_on_the_batch(small, network, features):
    rows, candidates = small.rows[::7], dataset.candidates(small.rows)
    small_batch, large_batch = (
        predict.candidate_logps(*network, rows, features, candidates, "plain", batch)
        for batch in (1, 1000)
    )
    for few, many in zip(small_batch, large_batch, strict=True):
        np.testing.assert_allclose(few, many, atol=1e-5)


def test_evaluate_ranks_and_keeps_every_row_in_place(small, network, features, monkeypatch):
    rows = small.rows[["job" == a for a in small.rows["attribute"]]].iloc[[5, 0, 2]]
    candidates = {"job": ["zero", *rows["target"].unique(), "last"]}
    scores = np.linspace(0, -1, len(candidates["job"]))  # the first is the likeliest
    monkeypatch.setattr(predict, "candidate_logps", lambda *a: [scores] * len(a[2]))
    settings = predict.Evaluate(batch=8, max_new_tokens=4)
    done = predict.evaluate(
        *network, rows, features, candidates, settings, exposed=[True, True, False]
    )
    assert list(done.index) == list(rows.index) and list(done["image"]) == list(rows["image"])
    ranks = [candidates["job"].index(target) + 1 for target in rows["target"]]
    assert done["candidate_rank"].tolist()[:2] == ranks[:2]
    assert done["candidate_rank"].isna().tolist() == [False, False, True]
    assert set(done["candidates"]) == {len(scores)}
    assert done["exposure"].iloc[0] == metrics.exposure(ranks[0], len(scores))
    assert {"answer_given", "rouge", "em", "judge_rule"} <= set(done.columns)


def test_the_form_of_exposure_is_the_one_asked_for(small, network, features, monkeypatch):
    rows = small.rows[small.rows["attribute"] == "job"][:1]
    candidates = {"job": [*"abc", rows["target"].iloc[0]]}  # last of four by name, second by score
    monkeypatch.setattr(predict, "candidate_logps", lambda *a: [np.array([0.0, -3, -2, -1])])
    for form, expected in (("log", 50), ("linear", 200 / 3)):
        settings = predict.Evaluate(batch=8, max_new_tokens=2, form=form)
        done = predict.evaluate(*network, rows, features, candidates, settings)
        assert done["exposure"].item() == pytest.approx(expected)
    assert predict.Evaluate(batch=8, max_new_tokens=2).form == "log"


def test_wordings_rank_the_same_rows_under_each_prefix(small, network, adapter, features):
    rows, candidates = small.rows[::9], dataset.candidates(small.rows)
    settings = predict.Evaluate(batch=40, max_new_tokens=2)
    table = predict.wordings(
        small.base, adapter, "float32", rows, features, candidates, settings
    ).set_index(["hop", "wording"])
    assert set(table.index) == {(h, w) for h in qa.HOPS for w in ("plain", "alternative")}
    for wording in ("plain", "alternative"):  # as a run with that wording would have it
        done = predict.evaluate(
            *network, rows, features, candidates, settings.model_copy(update={"wording": wording})
        )
        for hop, exposure in done.groupby("hop")["exposure"].mean().items():
            assert table.exposure[hop, wording] == pytest.approx(exposure)
    assert table.exposure.nunique() > 2  # the words do matter to this network


def test_exposure_can_be_switched_off(small, network, features, monkeypatch):
    monkeypatch.setattr(predict, "candidate_logps", None)
    settings = predict.Evaluate(batch=8, max_new_tokens=4, exposure=False)
    done = predict.evaluate(
        *network, small.rows[:3], features, dataset.candidates(small.rows), settings
    )
    assert done["exposure"].isna().all()


def test_a_target_that_is_no_candidate_is_told(small, network, features):
    candidates = dict.fromkeys(dataset.candidates(small.rows), ["nothing"])
    settings = predict.Evaluate(batch=8, max_new_tokens=2)
    with pytest.raises(ValueError, match="is not among the candidates for"):
        predict.evaluate(*network, small.rows[:2], features, candidates, settings)


def test_means_by_hand():
    import pandas as pd

    rows = pd.DataFrame({"hop": ["single", "single", "multi"], "split": "train",
                         "em": [1.0, 0.0, 1.0], "exposure": [50.0, np.nan, np.nan]})  # fmt: skip
    assert predict.means(rows, ["split", "hop"]) == {
        "train/single": {"em": 0.5, "exposure": 50.0},
        "train/multi": {"em": 1.0},
    }


@pytest.mark.parametrize("named", [False, True])
def test_token_logps_equal_a_plain_forward(small, network, features, named):
    model, processor = network
    rows = small.rows[small.rows["attribute"] == "name"].iloc[::3]
    prefixes = [qa.prefix("name", "multi", name) for name in rows["name"]] if named else None
    found = predict.token_logps(model, processor, rows, features, 3, prefixes)
    for k, (row, given) in enumerate(zip(rows.itertuples(), found, strict=True)):
        asked = ("", row.target) if named else (row.question, row.answer)
        whole = models.encode(processor, *asked, models.patches(model), prefixes and prefixes[k])
        batch = models.collate([whole], features[[row.image]], 0)
        with torch.no_grad():
            plain = models.score(model, batch).logp
        plain = plain[:-1] if named else plain  # a name is weighed without end-of-sequence
        assert given.tolist() == pytest.approx(plain.tolist(), abs=1e-4)
