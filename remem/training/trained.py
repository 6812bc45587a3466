"""A trained model, loaded for inference, and the runs that start from one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from remem.model import adapters, loading
from remem.model.loading import Network
from remem.runs import Run
from remem.training.base_model import place
from remem.training.stage2 import Model


class ModelRun(Run):
    """A run that evaluates one model, `of`."""

    of: Model

    @property
    def trained(self) -> Run | None:
        """The run of training that stands behind it, if there is one."""
        return self.of.trained

    def needs(self) -> Sequence[Run]:
        """The trained model, and what it was trained on."""
        return needs_of(self.of)


def needs_of(model: Model) -> tuple[Run, ...]:
    """The runs that have to be there before `model` can answer questions about its data."""
    needs = tuple(model.needs())
    return needs if model.trained is None else (model.trained, *needs)


def load_trained(model: Model, runs_root: Path, merge: bool = True) -> Network:
    """The network of `model`; with `merge`, its adapter is added to the weights where that changes
    nothing (adapters.merge_adapter). Raises CannotLoad."""
    network = loading.load(place(model.base, runs_root), dtype=model.base.network.dtype)
    folder = model.adapter(runs_root)
    if folder is not None:
        network = adapters.load_adapter(network, folder)
        if merge:
            adapters.merge_adapter(network)
    return network
