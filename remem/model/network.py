"""A network: a vision-language model with its processor, and the parts of it by name."""

from __future__ import annotations

from typing import Any, NamedTuple

from remem.model import kinds
from remem.model.kinds import Kind


class Network(NamedTuple):
    """A vision-language model and its processor, which belong together.

    `model` is what `AutoModelForImageTextToText` loads, such as a `LlavaForConditionalGeneration`,
    or the `PeftModel` around one that has an adapter.
    """

    model: Any
    processor: Any

    @property
    def llava(self) -> Any:
        """The vision-language model itself, whether or not an adapter is around it."""
        adapted = hasattr(self.model, "get_base_model")
        return self.model.get_base_model() if adapted else self.model

    @property
    def language_model(self) -> Any:
        """The part that reads embeddings of words and pictures, without its head."""
        return self.llava.get_decoder()

    @property
    def head(self) -> Any:
        """What makes logits of the language model's hidden states."""
        return self.llava.get_output_embeddings()

    @property
    def kind(self) -> Kind:
        """How it takes pictures. A blank one is tried, once."""
        return kinds.of(self.llava, self.processor)

    @property
    def image_tokens(self) -> int:
        """Tokens that a small square picture takes: as many features as the tower gives of it.
        Towers differ in what comes beside the patches (CLIP has a class token, SigLIP none),
        whatever the strategy then leaves out."""
        return self.kind.blank.count
