"""The states in which a subject is measured: with which adapter its network stands, which rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd

from remem.bench.subject import Subject
from remem.data import splits
from remem.model import adapters, resident
from remem.model.loading import Network


@contextmanager
def fresh(subject: Subject) -> Iterator[Network]:
    """The network with a fresh adapter, as stage 1 begins; without it afterwards."""
    settings = subject.config.stage1
    network = adapters.add_adapter(subject.network, settings.rank, settings.alpha, 0)
    with _taken_off(network):
        yield network


@contextmanager
def continued(subject: Subject) -> Iterator[Network]:
    """The network with the adapter of stage 1 and the reference, as stage 2 begins."""
    network = adapters.load_adapter(
        subject.network, subject.adapter, trainable=True, reference=True
    )
    with _taken_off(network):
        yield network


@contextmanager
def asked(subject: Subject, merge: bool = True) -> Iterator[Network]:
    """The network with the adapter of stage 1, as questions are asked."""
    network = adapters.load_adapter(subject.network, subject.adapter)
    with _taken_off(network):
        if merge:
            adapters.merge_adapter(network)
        yield network


@contextmanager
def _taken_off(network: Network) -> Iterator[None]:
    try:
        yield
    finally:
        if any(getattr(module, "merged", False) for module in network.model.modules()):
            network.model.unmerge_adapter()
        network.model.unload()
        network.llava.requires_grad_(False).eval()


def train_rows(subject: Subject, count: int) -> pd.DataFrame:
    """Some training rows, their features at hand."""
    return _some(subject, subject.rows["split"] == "train", count)


def held_out_rows(subject: Subject, count: int) -> pd.DataFrame:
    """Some held-out rows, their features at hand."""
    return _some(subject, subject.rows["split"] == "test", count)


def ranked_rows(subject: Subject, count: int) -> pd.DataFrame:
    """Some training rows whose candidates can be ranked, their features at hand."""
    known = subject.rows["attribute"].isin(splits.candidates(subject.rows))
    return _some(subject, known & (subject.rows["split"] == "train"), count)


def _some(subject: Subject, wanted: pd.Series, count: int) -> pd.DataFrame:
    rows = subject.rows[wanted]
    chosen = rows.sample(min(count, len(rows)), random_state=0)
    # The features of their pictures are measured apart.
    subject.features.prepare(list(chosen["image"]))
    resident.release()
    return chosen
