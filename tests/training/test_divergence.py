import pickle

import pandas as pd
import pytest

from remem.training.divergence import Diverged, Unlikely


def test_it_comes_out_of_a_worker_with_its_history():
    history = pd.DataFrame({"step": [1, 2], "loss": [0.5, 7.0]})
    again = pickle.loads(pickle.dumps(Diverged("the loss is nan", history)))
    assert str(again) == "the loss is nan"
    pd.testing.assert_frame_equal(again.history, history)


def lines(*nats, tokens=100, rows="forget"):
    found = Unlikely(tokens)
    for step, each in enumerate(nats, start=1):
        found.saw(step, {rows: each})
    return found.lines(len(nats))


def test_answers_below_chance_are_told_with_the_step_since_which_they_are():
    [line] = lines(1.0, 4.0, 4.7, 9.26)  # ln 100 = 4.605
    assert line == (
        "diverged: the answers of the forget rows are less likely than a draw among all 100 tokens "
        "since step 3 of 4 (9.3 nats per token at the end, 4.6 of such a draw): what the model "
        "says of them is no language any more"
    )
    assert "since step 4 of 4" in lines(1.0, 5.0, 4.0, 5.0)[0]  # it had come back


@pytest.mark.parametrize("nats", [(1.0, 4.6), (1.0, 9.0, 4.0), (4.7, 9.0), ()])
def test_others_are_not(nats):
    # nor those that began there: an untrained network knows no language
    assert lines(*nats) == []
    assert lines(*nats, tokens=2**40) == []
