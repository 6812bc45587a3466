"""config.stages: how the two stages are fitted."""

from remem import runs
from remem.config import load_config
from remem.config.stages import Optimiser


def test_the_optimiser_is_a_stages_own_fields_and_memory_is_in_no_digest():
    stage2 = load_config("tiny").stage2
    assert type(stage2.optimiser) is Optimiser and stage2.optimiser.lr == stage2.lr
    assert stage2.optimiser.steps(65) == 2 * stage2.epochs

    def changed(**fields):
        return runs.digest(stage2.optimiser.model_copy(update=fields))

    same = runs.digest(stage2.optimiser)
    assert changed(micro_batch=1) == changed(checkpointing=True) == same
    assert changed(lr=1.0) != same and changed(batch=1) != same
