"""A trained model, loaded for inference, and the runs that start from one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from remem.model import adapters, resident
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


@contextlib.contextmanager
def lend_trained(model: Model, runs_root: Path, merge: bool = True) -> Iterator[Network]:
    """The network of `model`, for the time of a block (resident.lend); with `merge`, its adapter is
    added to the weights where that changes nothing (adapters.merge_adapter). Raises CannotLoad."""
    where, folder = place(model.base, runs_root), model.adapter(runs_root)
    with resident.lend(where, model.base.network.dtype) as network:
        if folder is not None:
            network = adapters.load_adapter(network, folder)
            if merge:
                adapters.merge_adapter(network)
        yield network
