"""A training that was killed goes on from its last epoch, and ends as if it had not been.

Its state lies beside the runs, in `.unfinished/`, until the run is done: weights and optimiser as
safetensors, with torch's random state, the history, and a checksum of them all.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.optim.lr_scheduler import LambdaLR

from remem import paths, runs
from remem.runs import Run
from remem.training.loss_scale import LossScale

WORTH = 60.0  # seconds of work that are kept: what takes less is as soon done again

Step = tuple[int, int, float, float, float]  # of the history


class Unfinished:
    """The state of a training after an epoch, in a file that is there whole or not at all."""

    def __init__(self, run: Run, runs_root: Path):
        self.file = Path(runs_root) / ".unfinished" / f"{runs.name(run)}.safetensors"
        self._kept = time.monotonic()

    def keep(
        self, epoch: int, adamw: torch.optim.Optimizer, scale: LossScale, history: Sequence[Step]
    ) -> None:
        """Keep the state after an epoch (from 1), where it holds WORTH seconds of work that would
        be lost. `adamw` has all that is trained."""
        if time.monotonic() - self._kept < WORTH:
            return
        tensors = {"random": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        for number, (weight, state) in enumerate(_parts(adamw)):
            tensors[f"{number}"] = weight.detach()
            tensors |= {f"{number}.{name}": each for name, each in state.items()}
        known = {"epoch": epoch, "history": list(history), "made": _made()}
        known["scale"] = [scale.factor, scale.since]
        tensors = {name: each.cpu().contiguous() for name, each in tensors.items()}
        state = json.dumps(known)
        told = {"state": state, "sha256": _digest(tensors, state)}
        paths.write(self.file, save(tensors, told))
        self._kept = time.monotonic()

    def take_up(
        self, adamw: torch.optim.Optimizer, schedule: LambdaLR, scale: LossScale
    ) -> tuple[int, list[Step]]:
        """Put weights, optimiser, schedule, the loss's factor and random state where they were kept
        last; returns the epoch after which that was, and the history until then. 0 and no history
        where nothing is kept that this process would have come to itself."""
        try:
            with safe_open(self.file, "pt") as found:
                told = found.metadata()
                tensors = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118
            if _digest(tensors, told["state"]) != told["sha256"]:
                raise ValueError("it is not as it was written")
            known = json.loads(told["state"])
        except FileNotFoundError:
            return 0, []
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            return self._anew(f"cannot be read ({error})")
        if known["made"] != _made():
            return self._anew(f"is of {known['made']}, and this would go on with {_made()}")
        history: list[Step] = [tuple(step) for step in known["history"]]
        states = {}
        with torch.no_grad():
            for number, (weight, _) in enumerate(_parts(adamw)):
                weight.copy_(tensors.pop(f"{number}"))
        for name, tensor in tensors.items():
            number, _, field = name.partition(".")
            if number.isdecimal():
                states.setdefault(int(number), {})[field] = tensor
        adamw.load_state_dict(adamw.state_dict() | {"state": states})
        scale.factor, scale.since = known["scale"]
        schedule.last_epoch = len(history)
        for group, peak, share in zip(
            adamw.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
        ):
            group["lr"] = peak * share(len(history))
        torch.set_rng_state(tensors["random"])
        if "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        runs.say(f"{self.file.stem}: it was killed, and goes on after epoch {known['epoch']}")
        return known["epoch"], history

    def _anew(self, reason: str) -> tuple[int, list[Step]]:
        runs.say(f"{self.file} {reason}: {self.file.stem} begins anew")
        return 0, []

    def discard(self) -> None:
        """Delete what is kept."""
        self.file.unlink(missing_ok=True)


def _parts(adamw: torch.optim.Optimizer) -> list[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """Each weight, and what the optimiser knows of it, which may be nothing."""
    weights = [weight for group in adamw.param_groups for weight in group["params"]]
    return [(weight, adamw.state.get(weight, {})) for weight in weights]


def _made() -> dict[str, Any]:
    """With what: another release or device rounds otherwise."""
    circumstances = runs.circumstances()
    return {key: circumstances[key] for key in ("versions", "device", "threads")}


def _digest(tensors: Mapping[str, torch.Tensor], state: str) -> str:
    """SHA-256 of all that is kept."""
    found = hashlib.sha256(state.encode())
    for name, each in sorted(tensors.items()):
        found.update(f"{name} {each.dtype} {[*each.shape]}".encode())
        found.update(each.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
