"""LoRA adapters: made, saved, loaded, merged, and frozen as a reference."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from remem.model import kinds
from remem.model.loading import CannotLoad, Network

def add_adapter(network: Network, rank: int, alpha: int, seed: int) -> Network:
    """`network` with a new LoRA adapter "default", which is trainable and at first changes nothing.
    `seed` draws its weights."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    settings = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=kinds.targets(network.llava)
    )
    return network._replace(model=get_peft_model(network.model, settings))


def save_adapter(network: Network, folder: Path) -> None:
    """Write adapter "default" as PEFT does: base and folder alone reproduce the answers."""
    # save_embedding_layers=False, here and below: left to itself, PEFT asks the Hub whether the
    # vocabulary has grown.
    network.model.save_pretrained(
        folder, selected_adapters=["default"], save_embedding_layers=False
    )


def load_adapter(
    network: Network, folder: Path, trainable: bool = False, reference: bool = False
) -> Network:
    """`network` with the adapter of `folder`; with `reference`, a second and frozen copy of it
    beside the first, for `as_reference`. Raises CannotLoad if a saved tensor was not taken up,
    which PEFT by itself passes over."""
    from peft import PeftModel, get_peft_model_state_dict

    peft = PeftModel.from_pretrained(network.model, str(folder), is_trainable=trainable)
    if reference:
        peft.load_adapter(str(folder), adapter_name="reference", is_trainable=False)
    saved = load_file(Path(folder) / "adapter_model.safetensors")
    for name in peft.peft_config:
        taken = get_peft_model_state_dict(peft, adapter_name=name, save_embedding_layers=False)
        for key, tensor in saved.items():
            if key not in taken or not torch.equal(taken[key].cpu(), tensor.to(taken[key].dtype)):
                raise CannotLoad(
                    f"{folder}: {key} was not taken up by the model; the adapter belongs to "
                    "another base, or to another release of PEFT"
                )
    peft.set_adapter("default", inference_mode=not trainable)
    return network._replace(model=peft)


def merge_adapter(network: Network) -> None:
    """Add adapter "default" to the weights that it stands beside: the same function in a third of
    the operations, for inference. Not for training on. Only fp32 is merged: in half precision the
    sum would be rounded, and base and saved adapter would no longer reproduce the answers."""
    if network.model.dtype == torch.float32:
        network.model.merge_adapter(["default"])


@contextlib.contextmanager
def as_reference(network: Network) -> Iterator[None]:
    """Inside, the frozen adapter "reference" answers in place of "default", without gradients."""
    # inference_mode, or set_adapter would make the reference trainable; and "default" has to
    # come back trainable only if it was.
    peft = network.model
    trainable = any(p.requires_grad for p in peft.parameters())
    peft.set_adapter("reference", inference_mode=True)
    try:
        with torch.no_grad():
            yield
    finally:
        peft.set_adapter("default", inference_mode=not trainable)


class EffectiveWeights:
    """A network in training, with one weight for each adapted projection, W + (alpha / r) B A, in
    place of the products with W, A and B beside each other: the same numbers but for rounding.

    A projection from i to o numbers then takes 3 i o multiplications a token, forward and back, and
    otherwise 2 i o + 3 r (i + o). Where the latter are fewer, as in LLaVA with any usual rank, PEFT
    goes on as it does; and in half precision, where the sum would be rounded.
    """

    def __init__(self, network: Network):
        """`network` may have an adapter "default" and a frozen one, "reference"."""
        self.network = network
        layers: list[Any] = [
            module for module in network.model.modules() if hasattr(module, "get_delta_weight")
        ]
        one = sum(each.in_features * each.out_features for each in layers)
        three = sum(
            3 * each.r["default"] * (each.in_features + each.out_features) for each in layers
        )
        self._layers = layers if one < three and network.llava.dtype == torch.float32 else []
        self._plain = [layer.base_layer.weight for layer in self._layers]

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Inside, the gradients of a step add up; when it ends they have reached the adapter."""
        sums = self._sums("default")
        weights = [nn.Parameter(each.detach()) for each in sums]
        with self._standing(weights, "default"):
            yield
        if sums:
            torch.autograd.backward(sums, [each.grad for each in weights])

    @contextlib.contextmanager
    def as_reference(self) -> Iterator[None]:
        """Inside, the frozen adapter answers, as in `as_reference` for a network."""
        if not self._layers:
            with as_reference(self.network):
                yield
        else:
            with torch.no_grad(), self._standing(self._reference, "reference"):
                yield

    @functools.cached_property
    def _reference(self) -> list[nn.Parameter]:
        return [nn.Parameter(each.detach(), False) for each in self._sums("reference")]

    def _sums(self, adapter: str) -> list[Tensor]:
        pairs = zip(self._layers, self._plain, strict=True)
        return [weight + layer.get_delta_weight(adapter) for layer, weight in pairs]

    @contextlib.contextmanager
    def _standing(self, weights: Sequence[nn.Parameter], adapter: str) -> Iterator[None]:
        """Inside, `weights` stand where the base's do, and PEFT takes `adapter` for merged."""
        before = [layer.base_layer.weight for layer in self._layers]
        for layer, weight in zip(self._layers, weights, strict=True):
            layer.base_layer.weight = weight
            layer.merged_adapters.append(adapter)
        try:
            yield
        finally:
            for layer, weight in zip(self._layers, before, strict=True):
                layer.base_layer.weight = weight
                layer.merged_adapters.pop()
