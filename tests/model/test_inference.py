import numpy as np
import pytest
import torch

from remem.config import load_config
from remem.data import splits, validation
from remem.data.dataset import SyntheticData, folder_of, rows_of
from remem.model import inference, loading, memory, scores, tokens
from remem.model.features import Features, image_features
from remem.synthetic import questions
from remem.training import base_model, shipped


def test_batched_answers_equal_one_by_one(small, adapted, features):
    rows = small.rows[::4]
    together = inference.answers(adapted, rows, features, batch=50, max_new_tokens=8)
    alone = inference.answers(adapted, rows, features, batch=1, max_new_tokens=8)
    assert together == alone
    assert len(set(together)) > len(rows) / 4  # else this would show nothing
    assert all(text == text.strip() and "<" not in text for text in together)


@pytest.mark.parametrize("limit", [3, 8, 20])
def test_drafts_change_no_answer(small, adapted, features, limit):
    rows = small.rows[::4]
    plain = inference.answers(adapted, rows, features, 12, limit)
    own = inference.answers(adapted, rows, features, 12, 20)
    others = own[1:] + own[:1]
    halves = [text[: len(text) // 2] for text in own]
    for drafts in (list(rows["answer"]), own, others, halves, [""] * len(rows)):
        assert inference.answers(adapted, rows, features, 12, limit, drafts) == plain


def test_no_rows_get_no_answers(small, adapted, features):
    none = small.rows[:0]
    assert inference.answers(adapted, none, features, 12, 8) == []
    assert inference.answers(adapted, none, features, 12, 8, drafts=[]) == []


def test_answers_look_at_the_image(small, adapted, features):
    rows = small.rows[:12]
    swapped = rows.assign(image=list(small.rows["image"][-12:]))
    answers = [inference.answers(adapted, r, features, 12, 8) for r in (rows, swapped)]
    assert answers[0] != answers[1]


@pytest.mark.parametrize("template", ["plain", "alternative"])
def test_shared_prefixes_equal_a_plain_forward_per_candidate(small, adapted, features, template):
    rows = small.rows[::11]
    candidates = splits.candidates(small.rows)
    found = inference.candidate_logps(adapted, rows, features, candidates, template, 40)
    for row, given in zip(rows.itertuples(), found, strict=True):
        prefix = questions.prefix(row.attribute, row.hop, row.name, template)
        plain = []
        for value in candidates[row.attribute]:
            whole = tokens.encode(adapted.processor, "", value, adapted.image_tokens, prefix)
            whole = whole._replace(ids=whole.ids[:-1])  # no end-of-sequence
            batch = tokens.collate([whole], features[[row.image]], 0)
            with torch.no_grad():
                plain.append(scores.score(adapted, batch).logp.mean().item())
        assert given.tolist() == pytest.approx(plain, abs=1e-4)


def test_a_datasets_own_cloze_prompt_is_the_prefix(small, adapted, features):
    rows = small.rows[::11]
    own = rows.assign(cloze_prompt=[f"{name} has" for name in rows["name"]])
    assert inference.prefixes(own, "plain") == list(own["cloze_prompt"])
    assert inference.prefixes(own, "alternative") == inference.prefixes(rows, "alternative")
    candidates = splits.candidates(small.rows)
    with_own, without = (
        inference.candidate_logps(adapted, each, features, candidates, "plain", 40)
        for each in (own, rows)
    )
    assert not np.allclose(with_own[0], without[0])


@pytest.mark.parametrize("template", ["plain", "alternative"])
def test_the_tokens_of_a_value_are_those_that_are_scored(small, adapted, template):
    rows = small.rows[::5]
    found = inference.target_tokens(adapted, rows, template)
    for row, length in zip(rows.itertuples(), found, strict=True):
        prefix = questions.prefix(row.attribute, row.hop, row.name, template)
        whole = tokens.encode(adapted.processor, "", row.target, adapted.image_tokens, prefix)
        assert length == len(whole.ids) - whole.n_prompt - 1


def test_candidates_do_not_depend_on_the_batch(small, adapted, features):
    rows, candidates = small.rows[::7], splits.candidates(small.rows)
    small_batch, large_batch = (
        inference.candidate_logps(adapted, rows, features, candidates, "plain", batch)
        for batch in (1, 1000)
    )
    for few, many in zip(small_batch, large_batch, strict=True):
        np.testing.assert_allclose(few, many, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 19, 200])
def test_what_stands_before_candidates_is_read_once_a_row(small, adapted, features, batch):
    rows, candidates, read = small.rows[::7], splits.candidates(small.rows), []
    adapted.llava.model.register_forward_pre_hook(
        lambda module, given, named: read.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    inference.candidate_logps(adapted, rows, features, candidates, "plain", batch)
    assert sum(count for count, _ in read) == len(rows)
    shortest = min(width for _, width in read)
    assert len(read) == len(rows) if batch == 1 else len(read) < len(rows)
    assert all(count == 1 or count * width <= batch * shortest for count, width in read)


def test_where_memory_is_short_less_is_asked_at_once_and_nothing_changes(
    small, adapted, features, monkeypatch, capsys
):
    rows, candidates = small.rows[::9], splits.candidates(small.rows)

    def asked():
        return (
            inference.answers(adapted, rows, features, 12, 6, list(rows["answer"])),
            inference.token_logps(adapted, rows, features, 12),
            inference.candidate_logps(adapted, small.rows, features, candidates, "plain", 400),
        )

    usual = asked()
    forward = type(adapted.llava.model).forward

    def small_memory(self, *args, **kwargs):
        if len(kwargs["input_ids"]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(adapted.llava.model), "forward", small_memory)
    said, logps, ranked = asked()
    assert said == usual[0]
    for found, before in zip([*logps, *ranked], [*usual[1], *usual[2]], strict=True):
        np.testing.assert_allclose(found, before, atol=1e-4)
    told = capsys.readouterr().err
    assert "sequences (batch): 12 at a time do not fit into memory; 6 from here on" in told
    assert "candidates (batch): " in told

    def none(self, *args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(adapted.llava.model), "forward", none)
    with pytest.raises(memory.OutOfMemory, match=r"\(batch\): one at a time does not fit"):
        asked()


@pytest.mark.parametrize("named", [False, True])
def test_token_logps_equal_a_plain_forward(small, adapted, features, named):
    rows = small.rows[small.rows["attribute"] == "name"].iloc[::3]
    prefixes = [questions.prefix("name", "multi", name) for name in rows["name"]] if named else None
    found = inference.token_logps(adapted, rows, features, 3, prefixes)
    for k, (row, given) in enumerate(zip(rows.itertuples(), found, strict=True)):
        asked = ("", row.target) if named else (row.question, row.answer)
        prefix = prefixes and prefixes[k]
        whole = tokens.encode(adapted.processor, *asked, adapted.image_tokens, prefix)
        batch = tokens.collate([whole], features[[row.image]], 0)
        with torch.no_grad():
            plain = scores.score(adapted, batch).logp
        plain = plain[:-1] if named else plain  # a name is weighed without end-of-sequence
        assert given.tolist() == pytest.approx(plain.tolist(), abs=1e-4)


def test_pictures_are_answered_as_rows_are(small, adapted, features):
    rows = small.rows[:6]
    pictures = validation.load_images(small.folder, rows["image"])
    found = inference.answer_pictures(adapted, pictures, list(rows["question"]))
    assert found == inference.answers(adapted, rows, features, 6, 40)


def test_a_trained_network_says_the_same_in_bfloat16(tmp_path):
    """docs/method.md, Numerics: the bounds of what is measured there."""
    config = load_config("tiny")
    base = base_model.BaseRun(network=config.base.networks["tiny-7b"], tower=config.base.tower)
    data = SyntheticData(source="public", identities=4, single=0, multi=10, image_size=64)
    rows = rows_of(data, tmp_path)
    rows = rows[rows["split"] == "test"][::2]
    pictures = validation.load_images(folder_of(data, tmp_path), rows["image"])
    said, logps = [], []
    for dtype in ("float32", "bfloat16"):
        network = loading.load(shipped.folder(base), dtype=dtype)
        features = Features.of(list(rows["image"]), image_features(network, pictures))
        said.append(inference.answers(network, rows, features, 64, 40))
        logps.append(np.concatenate(inference.token_logps(network, rows, features, 64)))
    right = np.mean([target in text for target, text in zip(rows["target"], said[0], strict=True)])
    assert len(rows) == 56 and right > 0.9  # it knows them: this is not noise
    assert np.mean([one == other for one, other in zip(*said, strict=True)]) > 0.98
    apart = np.abs(logps[0] - logps[1])
    assert apart.mean() < 0.002 and np.quantile(apart, 0.99) < 0.02 and apart.max() < 0.5
