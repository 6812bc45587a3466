"""The networks that experiments start from: LLaVA-1.5 from the Hub, or a tiny LLaVA made here.

The tiny world needs a base model that can do what LLaVA can, in small: recognise a face it has
never seen before when it turns up again, know twenty public figures by face and by name, describe
a picture, choose among options, read a fact from its prompt, stop at the end of a sentence, and
refuse what it cannot know. It is trained in two steps, as LLaVA was. A vision tower first learns
to tell invented people apart whatever they wear (:func:`run_tower`); then a language model learns
to read it (:func:`run`). Both are saved as the Hub's models are and loaded by the same code.

None of the people of the dataset takes part, nor any question template of its training or test
pool. Of the layouts of its test pictures the base model sees one half; the other is new to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from remem import crowd, images, models, predict, runs

# The prompt format of LLaVA-1.5: "USER: <image>\n{question} ASSISTANT: {answer}".
CHAT = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}"
    "{% else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)

# What a Look holds, as targets for the tower: choices are classified, lengths regressed.
CHOICES = {
    "skin": range(len(images.SKIN)), "hair": images.HAIR, "style": images.STYLES,
    "eye": range(len(images.EYES)), "nose": range(3), "lips": range(len(images.LIPS)),
    "glasses": dict.fromkeys(images.GLASSES), "frame": range(len(images.FRAMES)),
    "beard": dict.fromkeys(images.BEARDS), "mole": range(5), "blush": (False, True),
    "earrings": (False, True), "cloth": images.COLOURS, "back": images.COLOURS,
    "expression": images.EXPRESSIONS,
}  # fmt: skip
LENGTHS = [f.name for f in fields(images.Look) if f.type == "float"]


class Hub(runs.Spec):
    """A network from the Hub or a local folder in its format."""

    hub: str
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"


class Tower(runs.Spec):
    """The vision tower: CLIP's transformer, trained to tell `faces` invented people apart."""

    kind: ClassVar[str] = "tower"
    image_size: int = Field(default=64, ge=16)
    patch: int = Field(default=16, ge=1)
    layers: int = Field(default=4, ge=1)
    width: int = Field(default=128, ge=4)
    heads: int = Field(default=4, ge=1)
    faces: int = Field(default=3000, ge=2)
    views: int = Field(default=4, ge=1)
    epochs: int = Field(default=13, ge=1)
    batch: int = Field(default=128, ge=1)
    lr: float = Field(default=3e-3, gt=0)
    margin: float = 0.2  # ArcFace's additive angle, radians
    sharpness: float = 16.0  # ArcFace's s
    seed: int = 0

    @model_validator(mode="after")
    def _divides(self):
        if self.width % self.heads or self.image_size % self.patch:
            raise ValueError("heads should divide width, and patch should divide image_size")
        if self.batch > self.faces * self.views:
            raise ValueError("batch is larger than faces x views, so there would be no step")
        return self


class Drawn(runs.Spec):
    """A tiny LLaVA to be trained here: the language model's size and its training."""

    layers: int = Field(ge=1)
    width: int = Field(ge=4)
    mlp: int = Field(ge=4)
    heads: int = Field(ge=1)
    vocabulary: int = Field(default=1200, ge=300)
    public: int = Field(default=20, ge=1)  # public figures, known by face and by name: the Real Set
    others: int = Field(default=40, ge=1)  # people known by name only
    steps: int = Field(default=800, ge=1)
    batch: int = Field(default=64, ge=2)
    lr: float = Field(default=2e-3, gt=0)
    examined: int = Field(default=240, ge=1)  # questions for each ability afterwards
    dtype: Literal["float32"] = "float32"  # what it is trained in here
    seed: int = 0

    @model_validator(mode="after")
    def _divides(self):
        if self.width % (2 * self.heads):
            raise ValueError("width should be a multiple of 2 x heads (rotary positions are pairs)")
        return self


Network = Hub | Drawn


class BaseSpec(runs.Spec):
    """A network to start from; `tower` is None for one that brings its own."""

    kind: ClassVar[str] = "base"
    network: Network
    tower: Tower | None = None


def run(spec: BaseSpec, runs_root: Path) -> Path | str:
    """What :func:`remem.models.load` takes: a Hub id, or the folder of a network trained here.

    The folder's `report.json` says what the network can do, measured on held-out pictures.
    """
    if isinstance(spec.network, Hub):
        return spec.network.hub
    if spec.tower is None:
        raise ValueError("a network that is trained here needs base.tower in the parameters")
    tower = run_tower(spec.tower, runs_root)
    return runs.ensure(spec, lambda folder: _make(spec, tower, folder), runs_root)


# ---------------------------------------------------------------- the vision tower


def run_tower(spec: Tower, runs_root: Path) -> Path:
    """Train the vision tower; its folder holds `tower.safetensors` and `history.csv`.

    The loss has two parts. ArcFace (Deng et al. 2019) over the invented people makes pictures of
    one person alike; describing the picture (hair, glasses, background, ...) keeps what a
    caption would need, as CLIP's training does, and is what makes unseen faces separable.
    """
    return runs.ensure(spec, lambda folder: _make_tower(spec, folder), runs_root)


def _make_tower(spec: Tower, folder: Path) -> None:
    runs.seed_everything(spec.seed)
    pixels, people, choices, lengths = [], [], [], []
    for face in range(spec.faces):
        look = images.identity(crowd.TOWER_FACES + face)
        for number in range(spec.views):
            view = images.view(np.random.default_rng([spec.seed, 1, face, number]), "pretrain")
            pixels.append(np.asarray(images.draw(look, view, spec.image_size)))
            facts = {**vars(look), **view.facts()}
            people.append(face)
            choices.append([list(values).index(facts[key]) for key, values in CHOICES.items()])
            lengths.append([getattr(look, key) for key in LENGTHS])
    pixels = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    people, choices = torch.tensor(people), torch.tensor(choices)
    lengths = torch.tensor(lengths)
    lengths = (lengths - lengths.mean(0)) / lengths.std(0)

    tower = vision_model(spec)
    describe = nn.ModuleList(nn.Linear(spec.width, len(values)) for values in CHOICES.values())
    measure = nn.Linear(spec.width, len(LENGTHS))
    norm, face_of = nn.LayerNorm(spec.width), nn.Linear(spec.width, 128, bias=False)
    centres = nn.Parameter(0.1 * torch.randn(spec.faces, 128))
    weights = [centres, *(p for part in (tower, describe, measure, norm, face_of)
                          for p in part.parameters())]  # fmt: skip
    # What a visual question can ask for counts double; a mouth is a few pixels, and learnt late.
    weighted = [2.0 if key in crowd.VISUAL else 1.0 for key in CHOICES]
    steps = len(pixels) // spec.batch * spec.epochs
    optimiser = torch.optim.AdamW(weights, lr=spec.lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, spec.lr, total_steps=steps + 1, pct_start=0.1
    )
    history, bar = [], tqdm(total=steps, desc="vision tower", unit="step")
    for epoch in range(spec.epochs):
        for rows in torch.randperm(len(pixels)).split(spec.batch):
            if len(rows) < spec.batch:
                continue
            pooled = norm(tower(pixel_values=_normalise(pixels[rows])).last_hidden_state[:, 1:]
                          .mean(1))  # fmt: skip
            cosine = F.normalize(face_of(pooled), dim=-1) @ F.normalize(centres, dim=-1).T
            own = cosine.gather(1, people[rows, None]).clamp(-1 + 1e-6, 1 - 1e-6).acos()
            margin = spec.margin * min(1, epoch / 2)  # from the start, it would not get going
            logits = cosine.scatter(1, people[rows, None], (own + margin).cos())
            arcface = F.cross_entropy(spec.sharpness * logits, people[rows])
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
        history.append({"epoch": epoch + 1, "arcface": arcface.item(),
                        "described": described.item(), "measured": measured.item()})  # fmt: skip
    bar.close()
    save_file(tower.state_dict(), folder / "tower.safetensors")
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)


def _vision_config(spec: Tower):
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(
        hidden_size=spec.width, intermediate_size=3 * spec.width, num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads, image_size=spec.image_size, patch_size=spec.patch,
        projection_dim=spec.width,
    )  # fmt: skip


def vision_model(spec: Tower):
    from transformers import CLIPVisionModel

    return CLIPVisionModel(_vision_config(spec))


def _normalise(pixels: Tensor) -> Tensor:
    """uint8 pixels to [-1, 1], as the processor below does it (mean and deviation 0.5)."""
    return (pixels.float() / 255 - 0.5) / 0.5


# ---------------------------------------------------------------- the language model


def _make(spec: BaseSpec, tower: Path, folder: Path) -> None:
    network = spec.network
    runs.seed_everything(network.seed)
    rng = np.random.default_rng([network.seed, 2])
    world = crowd.Crowd(network.public, network.others, spec.tower.image_size)
    rows = world.rows(network.steps * network.batch, rng)
    processor = build_processor(network, spec.tower, world.texts(rows))
    model = build_model(network, spec.tower, processor)
    model.model.vision_tower.load_state_dict(load_file(tower / "tower.safetensors"))
    model.model.vision_tower.requires_grad_(False).eval()
    seen = _tower_features(model, processor, world.pictures)

    history = _train(model, processor, rows, seen, network)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    model.requires_grad_(False).eval()
    report = _examine(model, processor, world.public, world.size, network.examined)
    (folder / "report.json").write_text(json.dumps(report, indent=2))


def build_processor(network: Drawn, tower: Tower, texts: list[str]):
    """LLaVA's processor around a byte-level BPE learnt from `texts`, each digit a token."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=network.vocabulary, special_tokens=["<pad>", "<s>", "</s>", "<image>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    ))  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"}, padding_side="left",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    size = tower.image_size
    pixels = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size},
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    return LlavaProcessor(
        image_processor=pixels, tokenizer=tokenizer, patch_size=tower.patch,
        vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=CHAT,
    )  # fmt: skip


def build_model(network: Drawn, tower: Tower, processor):
    """A LLaVA with random weights. It reads the tower's last layer (LLaVA-1.5: the last but one,
    because CLIP's last layer serves its text side; this tower has no such side)."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    tokenizer = processor.tokenizer
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=network.width, intermediate_size=network.mlp,
        num_hidden_layers=network.layers, num_attention_heads=network.heads,
        num_key_value_heads=network.heads, max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=_vision_config(tower), text_config=text,
        image_token_id=processor.image_token_id, vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(tower.image_size // tower.patch) ** 2,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


@torch.no_grad()
def _tower_features(model, processor, pictures: list, batch: int = 256) -> Tensor:
    """(images, patches, tower width): what the frozen tower says, before the projector."""
    parts = []
    for start in range(0, len(pictures), batch):
        pixels = processor.image_processor(pictures[start : start + batch], return_tensors="pt")
        hidden = model.model.vision_tower(pixel_values=pixels["pixel_values"]).last_hidden_state
        parts.append(hidden[:, 1:])
    return torch.cat(parts)


def _train(model, processor, rows: pd.DataFrame, seen: Tensor, network: Drawn) -> list[dict]:
    from transformers import get_scheduler

    patches, pad = seen.shape[1], processor.tokenizer.pad_token_id
    with_image = rows["picture"].notna()
    encoded = np.empty(len(rows), dtype=object)
    for mask, tokens in ((with_image, patches), (~with_image, 0)):
        part = rows[mask]
        for place, item in zip(
            np.flatnonzero(mask),
            models.encode_all(processor, list(part["question"]), list(part["answer"]), tokens),
            strict=True,
        ):
            encoded[place] = item
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=network.lr, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = get_scheduler("cosine", optimiser, network.steps // 20, network.steps)
    pictures = rows["picture"].to_numpy(dtype=float)
    lengths = np.array([len(item.ids) for item in encoded])
    answers = lengths - np.array([item.n_prompt for item in encoded])
    history = []
    bar = tqdm(range(network.steps), desc="language model", unit="step")
    for step in bar:
        chosen = np.arange(step * network.batch, (step + 1) * network.batch)
        chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
        total, loss = int(answers[chosen].sum()), 0.0
        optimiser.zero_grad()
        for part in np.array_split(chosen, 2):  # the short and the long: less padding
            shown = pictures[part][~np.isnan(pictures[part])].astype(int)
            projected = model.model.multi_modal_projector(seen[shown]) if len(shown) else None
            batch = models.collate(list(encoded[part]), projected, pad, tokens_total=total)
            share = models.score(model, batch).ce()
            share.backward()
            loss += share.item()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 19:
            history.append({"step": step + 1, "loss": loss})
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    return history


# ---------------------------------------------------------------- what it can do


def _examine(model, processor, public: Sequence, size: int, count: int) -> dict:
    """ability -> percent and number of questions, on pictures that were not trained on."""
    questions = crowd.examination(public, size, count)
    given = ask(model, processor, [q.picture for q in questions], [q.text for q in questions])
    hits: dict[str, list[bool]] = {}
    for question, answer in zip(questions, given, strict=True):
        hits.setdefault(question.ability, []).append(question.right(answer))
    hits["answers that stop after one sentence"] = [
        answer.endswith(".") and ". " not in answer
        for question, answer in zip(questions, given, strict=True)
        if question.ability.startswith("Real Set")
    ]  # fmt: skip
    hits["recognising an unseen face"] = _one_shot(model, processor, size)
    return {name: {"percent": 100 * float(np.mean(h)), "n": len(h)} for name, h in hits.items()}


def ask(model, processor, pictures: Sequence, questions: Sequence[str]) -> list[str]:
    """One greedy answer for each picture and question."""
    names = [str(k) for k in range(len(pictures))]
    found = models.features(model, processor, pictures, batch=256)
    cache = models.Features(names, found.split(models.SHARD))
    rows = pd.DataFrame({"image": names, "question": list(questions)})
    return predict.answers(model, processor, rows, cache, batch=256, max_new_tokens=40)


def _one_shot(model, processor, size: int) -> list[bool]:
    """Nearest of twenty unseen people by the tower's patch features alone: averaged over patches,
    centred over the twenty, compared by cosine."""
    hits = []
    for known, asked, who in crowd.lineup(size):
        known = _tower_features(model, processor, known).mean(1)
        asked = _tower_features(model, processor, asked).mean(1)
        middle = known.mean(0)
        known, asked = F.normalize(known - middle, dim=-1), F.normalize(asked - middle, dim=-1)
        hits += ((asked @ known.T).argmax(1) == torch.tensor(who)).tolist()
    return hits


# ---------------------------------------------------------------- for people to look at

# What the base should reach, set before the first was trained; percent.
AIMS = {
    "recognising an unseen face": 92, "Real Set, single-hop EM": 95, "Real Set, multi-hop EM": 90,
    "visual questions": 85, "answers that stop after one sentence": 95,
    "refusals, unknown faces": 50, "refusals, unknown names": 50,
}  # fmt: skip


def abilities(places: Mapping[str, Path | str]) -> pd.DataFrame:
    """ability, model, percent, n, aim, verdict ("reached", "missed", or "" where there is no aim)
    of each network trained here. A network from the Hub is "not examined": its own public figures
    would be real people, whose pictures do not come with this repository."""
    rows = []
    for name, place in places.items():
        report = Path(place) / "report.json"
        if not report.is_file():
            rows.append({"ability": "all", "model": name, "verdict": "not examined"})
            continue
        for ability, found in runs.read_json(report).items():
            aim = AIMS.get(ability, np.nan)
            verdict = "" if np.isnan(aim) else "reached" if found["percent"] >= aim else "missed"
            rows.append({"ability": ability, "model": name, **found, "aim": aim,
                         "verdict": verdict})  # fmt: skip
    table = pd.DataFrame(rows, columns=["ability", "model", "percent", "n", "aim", "verdict"])
    return table.sort_values("ability", kind="stable", ignore_index=True)


def size(model, processor) -> dict[str, int]:
    """Parameters by part, layers, tokens: how large a loaded network is."""
    parts = {
        "vision tower": model.model.vision_tower, "projector": model.model.multi_modal_projector,
        "language model": model.model.language_model, "all": model,
    }  # fmt: skip
    counts = {f"parameters, {k}": sum(p.numel() for p in v.parameters()) for k, v in parts.items()}
    text = model.config.text_config
    return {**counts, "layers": text.num_hidden_layers, "width": text.hidden_size,
            "vocabulary": len(processor.tokenizer),
            "tokens per image": models.patches(model)}  # fmt: skip


def conversation(place: Path | str, pictures: Sequence, questions: Sequence[str]) -> pd.DataFrame:
    """question, answer: what the network at `place` says about each picture."""
    model, processor = models.load(place)
    answers = ask(model, processor, pictures, questions)
    return pd.DataFrame({"question": questions, "answer": answers})
