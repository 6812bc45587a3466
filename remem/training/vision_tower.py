"""The vision tower of tiny networks: trained to tell invented people apart, whatever they wear."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from remem import runs
from remem.config.networks import VisionTower
from remem.runs import Run
from remem.synthetic import faces
from remem.training import corpus, shipped

# What an Appearance and a Scene hold, as targets: choices are classified, lengths regressed.
CHOICES = {
    "skin": range(len(faces.SKIN)),
    "hair": faces.HAIR,
    "style": faces.STYLES,
    "eye": range(len(faces.EYES)),
    "nose": range(3),
    "lips": range(len(faces.LIPS)),
    "glasses": dict.fromkeys(faces.GLASSES),
    "frame": range(len(faces.FRAMES)),
    "beard": dict.fromkeys(faces.BEARDS),
    "mole": range(5),
    "blush": (False, True),
    "earrings": (False, True),
    "cloth": faces.COLOURS,
    "back": faces.COLOURS,
    "expression": faces.EXPRESSIONS,
}

LENGTHS = [f.name for f in fields(faces.Appearance) if f.type == "float"]


class TowerRun(Run):
    """The trained vision tower: tower.safetensors, and history.csv with the losses by epoch.

    The loss has two parts. ArcFace (Deng et al. 2019) over the invented people makes pictures of
    one person alike; describing the picture (hair, glasses, background, ...) keeps what a
    caption would need, as CLIP's training does, and is what makes unseen faces separable.
    """

    kind: ClassVar[str] = "tower"
    verified_once: ClassVar[bool] = True
    tower: VisionTower

    def make(self, out: Path, runs_root: Path) -> None:
        """Copy the one that comes with the repository, or `build` it."""
        if not shipped.copied(self, out):
            self.build(out)

    def build(self, out: Path) -> None:
        """Draw the pictures, train, and round to half precision."""
        runs.seed_everything(self.tower.seed)
        model, history = _train(self.tower)
        save_file(model.half().state_dict(), out / "tower.safetensors")
        history.to_csv(out / "history.csv", index=False)

    def read(self, folder: Path) -> pd.DataFrame:
        """epoch, and the parts of the loss: arcface, described, measured."""
        return pd.read_csv(folder / "history.csv")


def vision_config(tower: VisionTower) -> Any:
    """The tower's size, as a `CLIPVisionConfig`."""
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(
        hidden_size=tower.width,
        intermediate_size=3 * tower.width,
        num_hidden_layers=tower.layers,
        num_attention_heads=tower.heads,
        image_size=tower.image_size,
        patch_size=tower.patch,
        projection_dim=tower.width,
    )


def vision_model(tower: VisionTower) -> Any:
    """A `CLIPVisionModel` with random weights."""
    from transformers import CLIPVisionModel

    return CLIPVisionModel(vision_config(tower))


def normalise(pixels: Tensor) -> Tensor:
    """uint8 pixels to [-1, 1], as the processor does it (mean and deviation 0.5)."""
    return (pixels.float() / 255 - 0.5) / 0.5


def _drawn(tower: VisionTower) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """N pictures as uint8 pixels (N, 3, side, side), and of each the person (N,), the choices
    (N, len(CHOICES)) and the lengths (N, len(LENGTHS)), which have mean 0 and deviation 1."""
    pixels, people, choices, lengths = [], [], [], []
    for person in range(tower.faces):
        appearance = faces.sample_appearance(faces.TOWER_FACES + person)
        for number in range(tower.views):
            rng = np.random.default_rng([tower.seed, 1, person, number])
            scene = faces.sample_scene(rng, "pretrain")
            pixels.append(np.asarray(faces.draw(appearance, scene, tower.image_size)))
            facts = {**vars(appearance), **scene.facts()}
            people.append(person)
            choices.append([list(values).index(facts[key]) for key, values in CHOICES.items()])
            lengths.append([facts[key] for key in LENGTHS])
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    measures = torch.tensor(lengths)
    measures = (measures - measures.mean(0)) / measures.std(0)
    return stacked, torch.tensor(people), torch.tensor(choices), measures


def _train(tower: VisionTower) -> tuple[nn.Module, pd.DataFrame]:
    """The trained `CLIPVisionModel`, and the losses at the end of each epoch."""
    pixels, people, choices, lengths = _drawn(tower)
    model = vision_model(tower)
    describe = nn.ModuleList(nn.Linear(tower.width, len(values)) for values in CHOICES.values())
    measure = nn.Linear(tower.width, len(LENGTHS))
    norm, face_of = nn.LayerNorm(tower.width), nn.Linear(tower.width, 128, bias=False)
    centres = nn.Parameter(0.1 * torch.randn(tower.faces, 128))
    parts = (model, describe, measure, norm, face_of)
    weights = [centres, *(weight for part in parts for weight in part.parameters())]
    # What a visual question can ask for counts double; a mouth is a few pixels, and learnt late.
    weighted = [2.0 if key in corpus.VISUAL else 1.0 for key in CHOICES]
    steps = len(pixels) // tower.batch * tower.epochs
    optimiser = torch.optim.AdamW(weights, lr=tower.lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, tower.lr, total_steps=steps + 1, pct_start=0.1
    )
    history, bar = [], tqdm(total=steps, desc="vision tower", unit="step")
    for epoch in range(tower.epochs):
        losses: dict[str, Any] = {}
        for rows in torch.randperm(len(pixels)).split(tower.batch):
            if len(rows) < tower.batch:
                continue
            hidden = model(pixel_values=normalise(pixels[rows])).last_hidden_state
            pooled = norm(hidden[:, 1:].mean(1))
            cosine = F.normalize(face_of(pooled), dim=-1) @ F.normalize(centres, dim=-1).T
            own = cosine.gather(1, people[rows, None]).clamp(-1 + 1e-6, 1 - 1e-6).acos()
            margin = tower.margin * min(1, epoch / 2)  # from the start, it would not get going
            logits = cosine.scatter(1, people[rows, None], (own + margin).cos())
            arcface = F.cross_entropy(tower.sharpness * logits, people[rows])
            described = sum(
                weight * F.cross_entropy(head(pooled), choices[rows, k])
                for k, (head, weight) in enumerate(zip(describe, weighted, strict=True))
            ) / sum(weighted)
            measured = F.mse_loss(measure(pooled), lengths[rows])
            optimiser.zero_grad()
            (0.3 * arcface + 5 * described + measured).backward()
            optimiser.step()
            schedule.step()
            bar.update()
            losses = {"arcface": arcface, "described": described, "measured": measured}
        history.append({"epoch": epoch + 1} | {key: loss.item() for key, loss in losses.items()})
    bar.close()
    return model, pd.DataFrame(history)
