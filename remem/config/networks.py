"""The schema of the networks that experiments start from: of the Hub, or trained here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from remem import paths
from remem.config.numbers import (
    Angle,
    Count,
    Few,
    Layers,
    Pixels,
    Rate,
    Scale,
    Seed,
    Size,
    Width,
)
from remem.runs import NOT_IN_DIGEST, Spec


class Memory(Spec):
    """What of one network is in memory in a stage, in place of what the stage says for all. It
    moves memory and time, and no result."""

    micro_batch: Count | None = Field(
        default=None, description="rows at once; null: as the stage says"
    )
    checkpointing: bool | None = Field(
        default=None, description="time for memory, on a GPU; null: as the stage says"
    )


ImageFeatures = Annotated[
    Literal["stored", "computed"],
    Field(description="of pictures: stored on the disk, or computed by each process and kept"),
    NOT_IN_DIGEST,
]
OfStage1 = Annotated[Memory, Field(description="of stage 1"), NOT_IN_DIGEST]
OfStage2 = Annotated[Memory, Field(description="of stage 2"), NOT_IN_DIGEST]

Place = Annotated[str, Field(min_length=1), AfterValidator(paths.expanded)]  # a path, or a name


class Hub(Spec):
    """A network from the Hub, or from a local folder in its format."""

    hub: Place = Field(description="a Hub id, or a folder")
    dtype: Literal["float32", "bfloat16", "float16", "nf4"] = Field(
        "bfloat16", description="precision in which the network is held; nf4: 4 bits (remem[quant])"
    )
    commit: str | None = Field(
        None,
        pattern="^[0-9a-f]{40}$",
        description="of a Hub id: which revision, in full; null: the one that is here",
    )
    content: str | None = Field(None, description="of a folder: SHA-256, filled in by itself")
    features: ImageFeatures = "stored"
    stage1: OfStage1 = Memory()
    stage2: OfStage2 = Memory()

    def not_in_digest(self) -> set[str]:
        """Where the folder lies, once its content is known; a commit that is not known."""
        moved = {"hub", "commit"} if self.content else set()
        return super().not_in_digest() | moved | (set() if self.commit else {"commit"})

    @property
    def where(self) -> str:
        """What `model.folder.find` takes: the folder, or "id", or "id@commit"."""
        here = not self.commit or Path(self.hub).is_dir()
        return self.hub if here else f"{self.hub}@{self.commit}"


class VisionTower(Spec):
    """The vision tower: CLIP's transformer, trained to tell `faces` invented people apart."""

    image_size: Pixels = Field(64, description="pixels, square")
    patch: Size = Field(16, description="pixels of a patch's side")
    layers: Layers = Field(4, description="transformer layers")
    width: Width = Field(128, description="hidden width")
    heads: Size = Field(4, description="attention heads")
    faces: int = Field(3000, ge=2, le=1_000_000, description="invented people in its training")
    views: Few = Field(4, description="pictures of each")
    epochs: Few = Field(13, description="passes over the pictures")
    batch: Count = Field(128, description="pictures in a step")
    lr: Rate = Field(3e-3, description="peak learning rate")
    margin: Angle = Field(0.2, description="ArcFace's additive angle, radians")
    sharpness: Scale = Field(16.0, description="ArcFace's s")
    seed: Seed = Field(0, description="of weights, pictures and order")

    @model_validator(mode="after")
    def _divides(self):
        if self.width % self.heads or self.image_size % self.patch:
            raise ValueError("heads should divide width, and patch should divide image_size")
        if self.batch > self.faces * self.views:
            raise ValueError("batch is larger than faces x views, so there would be no step")
        return self


class TinyLlava(Spec):
    """A tiny LLaVA that is trained here: the language model's size and its training."""

    layers: Layers = Field(description="transformer layers of the language model")
    width: Width = Field(description="hidden width")
    mlp: Width = Field(description="width inside the MLP")
    heads: Size = Field(description="attention heads")
    vocabulary: int = Field(2400, ge=300, le=1_000_000, description="tokens of the byte-level BPE")
    public: int = Field(20, ge=1, le=20, description="public figures, known by face and by name")
    others: Few = Field(100, description="people known by name only")
    steps: Count = Field(800, description="optimiser steps")
    batch: int = Field(64, ge=2, le=1_000_000, description="rows in a step")
    lr: Rate = Field(2e-3, description="peak learning rate")
    examined: Few = Field(240, description="questions for each ability afterwards")
    dtype: Literal["float32"] = Field("float32", description="precision, in training too")
    seed: Seed = Field(0, description="of weights and corpus")
    features: ImageFeatures = "stored"
    stage1: OfStage1 = Memory()
    stage2: OfStage2 = Memory()

    @model_validator(mode="after")
    def _divides(self):
        if self.width % (2 * self.heads):
            raise ValueError("width should be a multiple of 2 x heads (rotary positions are pairs)")
        return self


# A network with `hub` is one of the Hub's. So divided, a wrong key is reported for one kind only.
NETWORKS = {"<hub>": Hub, "<tiny>": TinyLlava}
Network = Annotated[
    Annotated[Hub, Tag("<hub>")] | Annotated[TinyLlava, Tag("<tiny>")],
    Discriminator(  # a name left empty is no mapping, and is reported as a tiny one that is none
        lambda given: (
            "<hub>"
            if isinstance(given, Hub) or (isinstance(given, Mapping) and "hub" in given)
            else "<tiny>"
        )
    ),
]
