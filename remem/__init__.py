"""ReMem's companion: memorisation measured before unlearning, for vision-language models.

From a script or a notebook:

    import remem

    config = remem.load_config("tiny", {"seeds": [1]})
    rows = remem.collect(remem.experiments.unlearning(config, methods=["NPO", "GD"]))
    rows = remem.judge.score(rows, config.judge, config.account)
    remem.tables.show(remem.tables.table2(rows))

What is named here is loaded when it is first used, so that `import remem` is quick.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.4.0"

# name -> where it lives: "package.module" or "package.module:name"
_PUBLIC = {
    "BadParameter": "remem.config:BadParameter",
    "Config": "remem.config:Config",
    "METHODS": "remem.training.methods:METHODS",
    "Method": "remem.training.methods:Method",
    "begin": "remem.report.output:begin",
    "collect": "remem.jobs:collect",
    "experiments": "remem.experiments",
    "facts": "remem.report.facts",
    "figures": "remem.report.figures",
    "judge": "remem.evaluation.judge",
    "load_config": "remem.config:load_config",
    "load_dataset": "remem.experiments:dataset",
    "metrics": "remem.metrics",
    "sweep": "remem.jobs:sweep",
    "tables": "remem.report.tables",
}


def __getattr__(name: str) -> Any:
    """Load a public name."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'remem' has no attribute {name!r}")
    module, _, inside = _PUBLIC[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, inside) if inside else found


def __dir__() -> list[str]:
    """The public names."""
    return [*sorted(_PUBLIC), "__version__"]
