from dataclasses import replace

import numpy as np
import pytest
import torch
from scoring import scored

from remem.data import validation
from remem.model import tokens
from remem.model.scores import Scores, score
from remem.model.tokens import Encoded


def test_scores_equal_a_plain_forward_from_pixels(small, llava, features):
    pictures = validation.load_images(small.folder, small.rows["image"][:5])
    with torch.no_grad():
        encoded, scores = scored(small, llava, features)
        for i, (row, image) in enumerate(zip(encoded, pictures, strict=True)):
            pixels = llava.processor.image_processor(image, return_tensors="pt")["pixel_values"]
            ids = torch.tensor(row.ids)[None]
            logits = llava.model(input_ids=ids, pixel_values=pixels).logits[0].log_softmax(-1)
            plain = [logits[t - 1, row.ids[t]].item() for t in range(row.n_prompt, len(row.ids))]
            assert scores.logp[scores.row == i].tolist() == pytest.approx(plain, abs=1e-4)
            assert scores.sequence()[i].item() == pytest.approx(sum(plain), abs=1e-3)


def test_all_positions_are_all_but_the_first(small, llava, features):
    with torch.no_grad():
        encoded, scores = scored(small, llava, features, positions="all")
    assert scores.labels.tolist() == np.concatenate([e.ids[1:] for e in encoded]).tolist()
    assert scores.total == len(scores.labels)
    with pytest.raises(ValueError, match="'answer' or 'all'"):
        scored(small, llava, features, positions="some")


def test_more_padding_changes_nothing(small, llava, features):
    with torch.no_grad():
        _, scores = scored(small, llava, features)
        _, padded = scored(small, llava, features, pad_to=150)
    assert padded.batch.input_ids.shape[1] == 150 > scores.batch.input_ids.shape[1]
    torch.testing.assert_close(padded.logits, scores.logits, atol=1e-4, rtol=1e-4)


def test_reductions_by_hand():
    half, quarter = np.log(1 / 2), np.log(1 / 4)
    batch = tokens.collate([Encoded(np.array([1, 0, 1]), 1), Encoded(np.array([1, 1]), 1)], None, 0)
    probabilities = torch.tensor([[1 / 2, 1 / 2], [3 / 4, 1 / 4], [1 / 2, 1 / 2]])
    scores = Scores(
        probabilities.log(), torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), batch, total=3
    )
    assert scores.logp.tolist() == pytest.approx([half, quarter, half])
    assert scores.ce().item() == pytest.approx(-(half + quarter + half) / 3)
    assert scores.sequence().tolist() == pytest.approx([half + quarter, half])
    assert scores.row_mean(torch.tensor([1.0, 4.0])).item() == 2.5
    even = Scores(torch.zeros(3, 2), scores.labels, scores.row, batch, total=3)
    by_hand = (0 + 3 / 4 * np.log(3 / 2) + 1 / 4 * np.log(1 / 2) + 0) / 3
    assert even.kl_from(scores).item() == pytest.approx(by_hand, abs=1e-6)
    assert scores.lengths().tolist() == [2, 1]
    per_token = (scores.sequence() / scores.lengths()).tolist()
    assert per_token == pytest.approx([(half + quarter) / 2, half])
    assert scores.token_mean(torch.tensor([1.0, 4.0, 1.0])).item() == 2
    assert scores.token_mean(-scores.logp).item() == pytest.approx(scores.ce().item())


@pytest.mark.parametrize("positions", ["answer", "all"])
def test_parts_of_a_step_add_up_to_it(small, llava, features, positions):
    def means(batch):
        scores = score(llava, batch, positions)
        uniform = replace(scores, logits=torch.zeros_like(scores.logits))
        return [
            scores.ce().item(),
            scores.row_mean(scores.sequence() / scores.lengths()).item(),
            scores.token_mean(scores.logp.exp()).item(),
            scores.kl_from(uniform).item(),
        ]

    rows = small.rows[:5]
    encoded = tokens.encode_all(
        llava.processor, list(rows["question"]), list(rows["answer"]), llava.image_tokens
    )
    shown = features[list(rows["image"])]
    whole = tokens.collate(encoded, shown, 0)
    totals = whole.tokens_total, whole.rows_total, whole.positions_total
    with torch.no_grad():
        expected = means(whole)
        parts = [
            means(tokens.collate(encoded[part], shown[part], 0, *totals))
            for part in (slice(0, 2), slice(2, 5))
        ]
    assert np.sum(parts, axis=0).tolist() == pytest.approx(expected, rel=1e-4)


def test_lengths_count_the_answer_with_its_end(small, llava, features):
    with torch.no_grad():
        encoded, scores = scored(small, llava, features)
    assert scores.lengths().tolist() == [len(row.ids) - row.n_prompt for row in encoded]
