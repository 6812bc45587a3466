from types import SimpleNamespace

import pytest
import torch

from remem.model import branches

VALUES = ((5, 6, 7), (5, 6, 8), (5,), (9, 6))


def test_what_several_values_begin_with_is_there_once():
    assert branches.tree(VALUES) == ((), (5,), (5, 6), (9,))
    assert branches.tree(((4,),)) == ((),)


def reader(kind=None, **text):
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(**text))
    llava = SimpleNamespace(config=config, device="cpu")
    return SimpleNamespace(llava=llava, kind=SimpleNamespace(types=kind))


@pytest.mark.parametrize(
    ("network", "length", "plain"),
    [
        (reader(), 900, True),
        (reader(sliding_window=None), 900, True),
        (reader(sliding_window=1000), 900, True),
        (reader(sliding_window=900), 900, True),
        (reader(sliding_window=899), 900, False),
        (reader(sliding_window=9, layer_types=["full_attention"]), 900, True),
        (reader(sliding_window=9, layer_types=["full_attention", "sliding_attention"]), 900, False),
        (reader("mm_token_type_ids"), 9, False),
    ],
)
def test_one_pass_is_for_those_that_see_all_and_count_from_nought(network, length, plain):
    assert branches.is_plain(network, length) is plain


def test_a_window_reaches_as_far_back_as_a_branch_would_alone():
    """Two branches of two tokens after three: the second token of each stands at position 4."""
    position = torch.tensor([0, 1, 2, 3, 4, 3, 4])
    sees = torch.ones(7, 7, dtype=torch.bool).tril()
    sees[3:, 3:] = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]).bool()
    layers = ["sliding_attention", "full_attention"]
    masks = branches._masks(reader(sliding_window=3, layer_types=layers), sees[3:], position)
    assert torch.equal(masks["full_attention"][0, 0], sees[3:])
    near = masks["sliding_attention"][0, 0].int().tolist()
    assert near[0] == [0, 1, 1, 1, 0, 0, 0] and near[2] == [0, 1, 1, 0, 0, 1, 0]
    assert near[1] == [0, 0, 1, 1, 1, 0, 0] and near[3] == [0, 0, 1, 0, 0, 1, 1]
    every = branches._masks(reader(sliding_window=3), sees[3:], position)  # no layer sees more
    assert torch.equal(every, masks["sliding_attention"])
