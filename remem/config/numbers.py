"""The numbers that a parameter may be: each has a least and a most.

The most lies far beyond what an experiment needs, and below what breaks the machine or a library:
a slip of the keyboard is told at once, and not by a process that ran out of memory. A field that is
bounded otherwise says so with all its bounds: one of its own would not narrow those of a type here.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1, le=1_000_000)]  # of steps, of rows in memory
Few = Annotated[int, Field(ge=1, le=10_000)]  # of questions about a person, of seeds
Several = Annotated[int, Field(ge=2, lt=10_000)]  # of people, one of whom is forgotten
FewOrNone = Annotated[int, Field(ge=0, le=10_000)]
Tries = Annotated[int, Field(ge=0, le=100)]  # further ones
AtOnce = Annotated[int, Field(ge=1, le=256)]  # processes, calls
Size = Annotated[int, Field(ge=1, le=8192)]  # of what is inside a network: 13B is 5120 wide
Width = Annotated[int, Field(ge=4, le=32_768)]
Layers = Annotated[int, Field(ge=1, le=1000)]
Pixels = Annotated[int, Field(ge=16, le=4096)]  # a side: of what is larger no picture is read
Tokens = Annotated[int, Field(ge=1, le=10_000)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]  # every generator takes it
Percent = Annotated[int, Field(ge=0, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]  # a share that leaves something on both sides
MAX_RATE = 10.0
Rate = Annotated[float, Field(gt=0, le=MAX_RATE)]  # of learning
Weight = Annotated[float, Field(ge=0, le=1000)]
Scale = Annotated[float, Field(gt=0, le=1_000_000)]
Angle = Annotated[float, Field(ge=0, le=math.pi)]  # radians
Dollars = Annotated[float, Field(ge=0, le=1_000_000)]

# What a method's own hyper-parameter may be, besides true, false and text.
Real = Annotated[float, Field(ge=-1e9, le=1e9)]
Whole = Annotated[int, Field(ge=-(10**9), le=10**9)]


def rate(text: str) -> float:
    """A learning rate, of the command line. Raises ValueError, which argparse puts into words."""
    if not 0 < (found := float(text)) <= MAX_RATE:
        raise ValueError(text)
    return found
