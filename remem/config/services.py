"""The schema of what services are asked for: judging, or the construction of new people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Field

from remem import paths
from remem.config.numbers import AtOnce, Dollars, FewOrNone, Pixels, Seed, Several, Tries
from remem.runs import Spec


class Account(NamedTuple):
    """Where paid answers and the ledger of the calls are kept, and what they may cost together.

    older: folders in which earlier versions kept theirs: read, and counted, but not written.
    """

    folder: Path
    budget: float | None = None  # US dollars
    older: tuple[Path, ...] = ()


class Services(Spec):
    """What judge and construction have in common: one ledger, and so one budget.

    A call begins only where the budget has room for it and for all that are under way, each
    reckoned as planned, or as the dearest of its kind so far. So the budget is exceeded only by as
    much as those under way, `concurrency` at most, cost more than that.
    """

    budget: Dollars | None = Field(
        None, description="US dollars for all answers of a scale, over all runs; null: no limit"
    )


class Prices(Spec):
    """What a service costs: the list prices of the Gemini 2.5 models."""

    input: Dollars = Field(0.30, description="US dollars for a million tokens read")
    output: Dollars = Field(2.50, description="US dollars for a million tokens written")
    image: Dollars = Field(0.039, description="US dollars for a picture")


class Service(Spec):
    """How hard a service is asked. Where it is reached is the SDK's own business
    (GOOGLE_GEMINI_BASE_URL, GOOGLE_GENAI_API_VERSION)."""

    section: ClassVar[str] = ""  # of the YAML, for messages that say what to change

    concurrency: AtOnce = Field(4, description="calls at once")
    retries: Tries = Field(6, description="of a call that the service could not take: free")
    repeats: Tries = Field(
        1, description="of one that is paid for: its answer cannot be used, or timed out"
    )
    on_blocked: Literal["skip", "stop"] = Field(
        "skip", description="what to do when the repeats are used up"
    )
    prices: Prices = Field(
        Prices(),  # pyright: ignore[reportCallIssue]
        description="for the budget",
    )


class Judge(Service):
    """Who judges how much an answer gives away: a Gemini model, where a key is in the environment
    or its scores are there already, or the rule."""

    section: ClassVar[str] = "judge"

    model: str | None = Field(None, min_length=1, description="a Gemini model, or null: the rule")
    concurrency: AtOnce = Field(8, description="calls at once")
    # At temperature 0 the same question has much the same answer.
    repeats: Tries = Field(
        0, description="of one that is paid for: its answer cannot be used, or timed out"
    )


class FaceSimilarity(Spec):
    """How like its anchor a picture has to be. The paper states none of these values."""

    pack: Annotated[str, AfterValidator(paths.expanded)] | None = Field(
        None, min_length=1, description="folder of insightface's models; null: the tiny tower"
    )
    threshold: float = Field(
        0.4, ge=-1, le=1, description="least cosine similarity that is accepted"
    )
    # Faces that fill the picture, and small ones.
    det_sizes: tuple[Annotated[int, Field(ge=32, le=4096, multiple_of=32)], ...] = Field(
        (128, 640), min_length=1, description="sides in pixels of what the detector looks at"
    )


class Construction(Service):
    """New people by the services of section 6.1. The models' and the counts' defaults are the
    paper's; when a model's service ends another takes its place here."""

    section: ClassVar[str] = "construction"

    text_model: str = Field("gemini-2.5-flash", min_length=1, description="writes profiles")
    image_model: str = Field("gemini-2.5-flash-image", min_length=1, description="draws people")
    people: Several = Field(20, description="how many people are made")
    seed: Seed = Field(0, description="of profiles, layouts and questions")
    single: FewOrNone = Field(70, description="training questions per person, single-hop")
    multi: FewOrNone = Field(30, description="training questions per person, multi-hop")
    test_single: FewOrNone = Field(14, description="held-out questions per person, single-hop")
    test_multi: FewOrNone = Field(14, description="held-out questions per person, multi-hop")
    attempts: int = Field(
        3, ge=1, le=100, description="at a profile or picture, until one is accepted"
    )
    image_size: Pixels = Field(336, description="pixels, square, as stored")
    face_similarity: FaceSimilarity = FaceSimilarity()  # pyright: ignore[reportCallIssue]

    @property
    def questions(self) -> dict[str, tuple[int, int]]:
        """Single-hop and multi-hop questions about each person, by split."""
        return {"train": (self.single, self.multi), "test": (self.test_single, self.test_multi)}

    @property
    def pictures(self) -> dict[str, int]:
        """Pictures of each person beside the anchor, by split: one for each question."""
        return {split: sum(hops) for split, hops in self.questions.items()}
