"""The schema of the two stages: how each is fitted, from how many seeds, by which methods."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from remem import paper
from remem.config.numbers import (
    Count,
    Few,
    FewOrNone,
    Part,
    Rate,
    Real,
    Scale,
    Share,
    Size,
    Weight,
    Whole,
)
from remem.runs import NOT_IN_DIGEST, Spec


class Optimiser(Spec):
    """How a loss is driven down: AdamW, one learning rate with a schedule over all steps."""

    epochs: FewOrNone = Field(description="passes over the rows")
    batch: Count = Field(description="rows in an optimiser step")
    micro_batch: Annotated[
        Count, Field(description="rows in memory at once; changes no gradient"), NOT_IN_DIGEST
    ]
    lr: Rate = Field(description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field(description="of the learning rate")
    warmup: Share = Field(description="share of the steps in which the rate rises")
    weight_decay: Weight = Field(description="AdamW's")
    clip: Scale | None = Field(description="bound on the gradient's norm, or null")
    checkpointing: Annotated[
        bool, Field(description="trades time for memory on a GPU"), NOT_IN_DIGEST
    ] = False

    def steps(self, rows: int) -> int:
        """Optimiser steps that all epochs over `rows` rows take."""
        return math.ceil(rows / self.batch) * self.epochs

    @property
    def optimiser(self) -> Optimiser:
        """These fields alone, without those that a section adds."""
        return Optimiser(**{name: getattr(self, name) for name in Optimiser.model_fields})


class Stage1(Optimiser):
    """Stage 1, memorising: the adapter's size and how it is fitted."""

    rank: Size = Field(description="of the LoRA matrices")
    alpha: int = Field(ge=2, le=2 * 8192, description="LoRA's; twice the rank, as in the paper")
    seeds: Few = Field(
        1,
        description="how many stage 1s, of seeds 1 on: those of stage 2 begin from them in turn",
    )

    @model_validator(mode="after")
    def _alpha_follows_rank(self):
        if self.alpha != 2 * self.rank:
            raise ValueError(f"alpha is twice the rank in the paper: {2 * self.rank}")
        return self


Hyperparameter = Real | Whole | bool | str


class Stage2(Optimiser):
    """Stage 2, unlearning: which methods, and who is forgotten.

    A share of the identities that the seed draws, or for every seed `forget_set`: one that a
    benchmark brings, by its name, or the identities themselves.
    """

    methods: tuple[str, ...] = Field(min_length=1, description="which of the five are compared")
    hyperparameters: dict[str, dict[str, Hyperparameter]] = Field(
        {}, description="of a method, by its name: NPO: {beta: 0.1}"
    )
    forget_ratio: Part = Field(description="share of the identities to forget")
    forget_set: str | tuple[str, ...] | None = Field(
        None, description="a benchmark's own forget set by name, or identities"
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in paper.METHODS:
                raise ValueError(
                    f"{name!r} is none of {', '.join(paper.METHODS)}; a method of your own is "
                    "handed to experiments.unlearning, see docs/method.md"
                )
        if len(set(names)) < len(names):
            raise ValueError("a method stands twice")
        return names
