"""Scores of the first rows of the small dataset."""

from remem.model import scores, tokens


def scored(small, network, features, count=5, pad_to=0, **how):
    """(the rows as tokens, what `network` says about them)."""
    rows = small.rows[:count]
    encoded = tokens.encode_all(
        network.processor, list(rows["question"]), list(rows["answer"]), network.image_tokens
    )
    batch = tokens.collate(encoded, features[list(rows["image"])], 0, pad_to=pad_to)
    return encoded, scores.score(network, batch, **how)
