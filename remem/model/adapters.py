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
    `seed` draws its weights. Beside a network in bfloat16 it is in bfloat16 too: see
    training.master_weights."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    settings = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=kinds.targets(network.llava)
    )
    peft = get_peft_model(network.model, settings, autocast_adapter_dtype=not _in_bf16(network))
    return _with_few_products(network._replace(model=peft))


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

    kept: Any = {"autocast_adapter_dtype": not _in_bf16(network)}
    peft = PeftModel.from_pretrained(network.model, str(folder), is_trainable=trainable, **kept)
    if reference:
        peft.load_adapter(str(folder), adapter_name="reference", is_trainable=False, **kept)
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
    return _with_few_products(network._replace(model=peft))


def merge_adapter(network: Network) -> None:
    """Add adapter "default" to weights that stand in place of the base's: the same function in a
    third of the operations, for inference. Not for training on.

    Only fp32 is merged. In half precision the sum would be rounded by about as much as an adapter
    adds, and base and saved adapter would not reproduce the answers; a sum in fp32 would take twice
    the memory, and products at a fraction of the rate. There the adapter stays beside the weights,
    at two small products each (see `_with_few_products`).
    """
    if network.llava.dtype != torch.float32:
        return
    for layer in _lora_layers(network):
        weight = layer.base_layer.weight + layer.get_delta_weight("default")
        layer.base_layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
        layer.merged_adapters.append("default")


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


def _in_bf16(network: Network) -> bool:
    return network.llava.dtype == torch.bfloat16


def _lora_layers(network: Network) -> list[Any]:
    return [module for module in network.model.modules() if hasattr(module, "get_delta_weight")]


def _with_few_products(network: Network) -> Network:
    """`network`, whose adapter in bfloat16 adds to the output of each projection in two kernels.

    PEFT's own forward takes four, three of them over the whole output, which is rounded after each;
    token by token, where the time goes into starting kernels, it doubles the network's.
    """
    from peft.tuners.lora.layer import Linear

    for layer in _lora_layers(network):
        if type(layer) is Linear and layer.base_layer.weight.dtype == torch.bfloat16:
            layer.__class__ = _few_products()
    return network


@functools.cache
def _few_products() -> type:
    from peft.tuners.lora.layer import Linear

    class FewProducts(Linear):
        """PEFT's linear layer, with W x + (alpha / r) B A x in three products and nothing else."""

        def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            """As PEFT's, which is called where anything but plain LoRA is wanted."""
            names = [name for name in self.active_adapters if name in self.lora_A]
            other = args or kwargs or self.disable_adapters or self.merged
            if other or not all(map(self._plain, names)):
                return super().forward(x, *args, **kwargs)
            rows = x.reshape(-1, x.shape[-1])
            out = self.base_layer(rows)
            for name in names:
                inner = self.lora_A[name](rows)
                out.addmm_(inner, self.lora_B[name].weight.T, alpha=self.scaling[name])
            return out.view(*x.shape[:-1], -1)

        def _plain(self, name: str) -> bool:
            return bool(
                name not in self.lora_variant
                and not self.lora_bias[name]
                and isinstance(self.lora_dropout[name], nn.Identity)
                and self.lora_A[name].weight.dtype == self.base_layer.weight.dtype
            )

    return FewProducts


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
        layers = _lora_layers(network)
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
