import pytest

from remem import runs
from remem.data.dataset import RowsRun
from remem.model import inference
from remem.training.inputs import FeaturesRun
from remem.training.methods import NPO
from remem.training.stage1 import Untrained
from remem.training.stage2 import Stage2Run
from remem.training.trained import lend_trained, needs_of


@pytest.fixture
def models(small):
    """The base, stage 1 and stage 2."""
    stage2 = Stage2Run(
        start=small.stage1, method=NPO(), forget=("p00",), optimiser=small.optimiser, seed=1
    )
    return Untrained(base=small.base_run, data=small.data), small.stage1, stage2


def test_a_model_needs_itself_and_what_it_was_trained_on(small, models):
    untrained, stage1, stage2 = models
    inputs = (RowsRun(data=small.data), FeaturesRun(base=small.base_run, data=small.data))
    assert needs_of(untrained) == inputs
    assert needs_of(stage1) == (stage1, *inputs)
    assert needs_of(stage2) == (stage2, stage1, *inputs)
    assert [each.trained for each in models] == [None, stage1, stage2]
    assert {each.subset for each in models} == {None}
    assert {runs.digest(each.data) for each in models} == {runs.digest(small.data)}
    assert {runs.digest(each.base) for each in models} == {runs.digest(small.base_run)}


def test_a_loaded_model_says_what_its_adapter_says(small, models, features, monkeypatch):
    untrained, stage1, _ = models
    runs.get_or_create(stage1, small.runs)
    rows = small.rows[::5]
    given = {}
    for of in (untrained, stage1):
        with lend_trained(of, small.runs) as network:
            assert not network.model.training
            given[of.trained is None] = inference.answers(network, rows, features, 40, 6)
    assert given[True] != given[False]

    from remem.model import adapters, loading

    plain = adapters.load_adapter(loading.load(small.base), stage1.adapter(small.runs))
    assert given[False] == inference.answers(plain, rows, features, 40, 6)  # merged or not
