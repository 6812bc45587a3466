"""A trained model, loaded to be asked."""

from __future__ import annotations

from pathlib import Path

from remem.model import adapters, loading
from remem.model.loading import Network
from remem.runs import Run
from remem.training.base_model import place
from remem.training.stage2 import Model


def needs_of(model: Model) -> tuple[Run, ...]:
    """The runs that have to be there before `model` can be asked about its data."""
    needs = tuple(model.needs())
    return needs if model.trained is None else (model.trained, *needs)


def load_trained(model: Model, runs_root: Path) -> Network:
    """The network of `model`, its adapter merged into the weights where that changes nothing
    (adapters.merge_adapter). Raises CannotLoad."""
    network = loading.load(place(model.base, runs_root), dtype=model.base.network.dtype)
    folder = model.adapter(runs_root)
    if folder is not None:
        network = adapters.load_adapter(network, folder)
        adapters.merge_adapter(network)
    return network
