"""Training that came to nothing: numbers that are none, and answers that are no language."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd


class Diverged(FloatingPointError):
    """A loss, or its gradient, is NaN or infinite; `history` holds the steps before it."""

    def __init__(self, reason: str, history: pd.DataFrame):
        super().__init__(reason)
        self.history = history

    def __reduce__(self) -> tuple:
        """Out of a worker."""
        return type(self), (str(self), self.history)


class Unlikely:
    """Since when answers are less likely than a draw among all tokens: no language is left then.

    A loss that goes up the cross-entropy, as GA's does, has no floor, and ends there when it is
    followed for long enough.
    """

    def __init__(self, tokens: int):
        """tokens: how many there are to be drawn."""
        self.tokens = tokens
        self._nats: dict[str, float] = {}
        self._since: dict[str, int | None] = {}  # a step; None: not now

    def saw(self, step: int, nats: Mapping[str, float]) -> None:
        """The mean negative log-probability per token of each kind of rows, at a step (from 1)."""
        for rows, found in nats.items():
            beyond = found > math.log(self.tokens)
            self._since[rows] = (self._since.get(rows) or step) if beyond else None
        self._nats.update(nats)

    def lines(self, steps: int) -> list[str]:
        """In words, of the rows that began better than such a draw, and ended worse."""
        return [
            f"diverged: the answers of the {rows} rows are less likely than a draw among all "
            f"{self.tokens:,} tokens since step {since} of {steps} ({self._nats[rows]:.1f} nats "
            f"per token at the end, {math.log(self.tokens):.1f} of such a draw): what the model "
            "says of them is no language any more"
            for rows, since in self._since.items()
            if since is not None and since > 1
        ]
