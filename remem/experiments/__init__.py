"""The experiments of the paper: each is a function of a Config, and gives Jobs."""

from remem.data.chosen import dataset, forget_set
from remem.experiments.controls import controls, refusals_shared
from remem.experiments.general_ability import ability, ability_scores
from remem.experiments.setup import notes, places
from remem.experiments.stage1 import (
    base_models,
    causes,
    diagnosis,
    hops,
    memorising,
    scaling,
    sets,
    shape_rows,
    signatures,
    traces,
)
from remem.experiments.stage2 import (
    curves,
    exposure_prefixes,
    forget_ratios,
    sensitivity,
    unlearning,
)
