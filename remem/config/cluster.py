"""The schema of the cluster that runs may be made on."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from remem.config.numbers import Tries
from remem.runs import Spec


class Cluster(Spec):
    """A Ray cluster, and what a run takes of it. In YAML the address alone will do."""

    address: str = Field(
        min_length=1, description="of a Ray cluster: auto (that of this machine), or host:port"
    )
    gpus: Annotated[int, Field(ge=0, le=64)] = Field(
        1, description="that a run takes; 0: a CPU core"
    )
    accelerator: str | None = Field(
        None, min_length=1, description="which GPU it has to be, as Ray calls it: H100"
    )
    retries: Tries = Field(3, description="of a run whose node was lost")

    @model_validator(mode="before")
    @classmethod
    def _in_a_word(cls, given: Any) -> Any:
        return {"address": given} if isinstance(given, str) else given
