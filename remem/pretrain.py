"""The networks that experiments start from: LLaVA-1.5 from the Hub, or a tiny LLaVA made here.

The tiny world needs a base model that can do what LLaVA can, in small: recognise a face it has
never seen before when it turns up again, know twenty public figures by face and by name, describe
a picture, choose among options, read a fact from its prompt, stop at the end of a sentence, and
refuse what it cannot know. It is trained in two steps, as LLaVA was. A vision tower first learns
to tell invented people apart whatever they wear (:func:`run_tower`); then a language model learns
to read it (:func:`run`). Both are saved as the Hub's models are and loaded by the same code.

None of the people of the dataset takes part: neither their faces, nor their names, nor the
question templates and half of the picture layouts that they are taught and tested with.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from remem import images, models, predict, profiles, qa, runs

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

# What can be asked of a picture: wordings, the answer, the possible values.
VISUAL = {
    "hair": (("What colour is the hair?", "Which hair colour do you see?",
              "Name the colour of the person's hair."), "The hair is {}.", list(images.HAIR)),
    "glasses": (("What glasses does the person wear?", "Which kind of glasses do you see?"),
                "The person wears {} glasses.", list(dict.fromkeys(images.GLASSES))),
    "beard": (("What beard does the person have?", "Which facial hair do you see?"),
              "The person has {}.", list(dict.fromkeys(images.BEARDS))),
    "cloth": (("What colour are the clothes?", "Which colour does the person wear?",
               "Name the main colour of the clothes."), "The clothes are {}.",
              images.POOLS["pretrain"]["cloth"]),
    "back": (("What colour is the background?", "Which colour is behind the person?",
              "Name the main colour of the background."), "The background is {}.",
             images.POOLS["pretrain"]["back"]),
    "expression": (("What is the expression?", "How does the person look?",
                    "Describe the person's mood."), "The person is {}.", images.EXPRESSIONS),
}  # fmt: skip

# Faces and people are numbered; each purpose has a range of its own.
TOWER_FACES, PUBLIC_FACES, STRANGER_FACES, HELD_OUT_FACES = 10**6, 2 * 10**6, 3 * 10**6, 4 * 10**6


class Hub(runs.Spec):
    """A network from the Hub or a local folder in its format."""

    hub: str
    dtype: str = "bfloat16"


class Tower(runs.Spec):
    """The vision tower: a CLIP vision transformer, trained to tell `faces` invented people apart."""

    kind: ClassVar[str] = "tower"
    image_size: int = 64
    patch: int = 16
    layers: int = Field(default=4, ge=1)
    width: int = 128
    heads: int = 4
    faces: int = 3500
    views: int = 4
    epochs: int = Field(default=7, ge=1)
    batch: int = 128
    lr: float = 3e-3
    margin: float = 0.2  # ArcFace's additive angle, radians
    sharpness: float = 16.0  # ArcFace's s
    seed: int = 0


class Drawn(runs.Spec):
    """A tiny LLaVA to be trained here: the language model's size and its training."""

    layers: int = Field(ge=1)
    width: int
    mlp: int
    heads: int
    vocabulary: int = 1200
    public: int = 20  # public figures, known by face and by name: the Real Set
    others: int = 40  # people known by name only
    steps: int = Field(default=800, ge=1)
    batch: int = 64
    lr: float = 2e-3
    dtype: str = "float32"
    seed: int = 0


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
        look = images.identity(TOWER_FACES + face)
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

    tower = _vision_model(spec)
    describe = nn.ModuleList(nn.Linear(spec.width, len(values)) for values in CHOICES.values())
    measure = nn.Linear(spec.width, len(LENGTHS))
    norm, face_of = nn.LayerNorm(spec.width), nn.Linear(spec.width, 128, bias=False)
    centres = nn.Parameter(0.1 * torch.randn(spec.faces, 128))
    weights = [centres, *(p for part in (tower, describe, measure, norm, face_of)
                          for p in part.parameters())]  # fmt: skip
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
                F.cross_entropy(head(pooled), choices[rows, k]) for k, head in enumerate(describe)
            ) / len(CHOICES)
            measured = F.mse_loss(measure(pooled), lengths[rows])
            optimiser.zero_grad()
            (0.3 * arcface + 4 * described + measured).backward()
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


def _vision_model(spec: Tower):
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
    crowd = _Crowd(network, spec.tower.image_size)
    rows = crowd.rows(network.steps * network.batch, rng)
    processor = build_processor(network, spec.tower, crowd.texts(rows))
    model = build_model(network, spec.tower, processor)
    model.model.vision_tower.load_state_dict(load_file(tower / "tower.safetensors"))
    model.model.vision_tower.requires_grad_(False).eval()
    seen = _tower_features(model, processor, crowd.pictures)

    history = _train(model, processor, rows, seen, network)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    model.requires_grad_(False).eval()
    report = _examine(model, processor, crowd)
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
    history = []
    bar = tqdm(range(network.steps), desc="language model", unit="step")
    for step in bar:
        chosen = slice(step * network.batch, (step + 1) * network.batch)
        shown = pictures[chosen][~np.isnan(pictures[chosen])].astype(int)
        projected = model.model.multi_modal_projector(seen[shown]) if len(shown) else None
        loss = models.score(model, models.collate(list(encoded[chosen]), projected, pad)).ce()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 19:
            history.append({"step": step + 1, "loss": loss.item()})
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return history


class _Crowd:
    """The people and pictures of pretraining, and what is said about them.

    20 public figures (the Real Set) are seen and talked about; others are talked about only;
    strangers are seen, and their looks described, but nothing else is known of them.
    """

    SHARES = {  # of all rows; what each teaches
        "public, by face": 0.34, "public, by name": 0.16, "others, by name": 0.08,
        "visual": 0.16, "options": 0.08, "reading": 0.10, "unknown face": 0.04,
        "unknown name": 0.04,
    }  # fmt: skip

    def __init__(self, network: Drawn, size: int, views: int = 48, strangers: int = 900):
        self.size, self.views, self.strangers = size, views, strangers
        # Not the dataset's seed: its people must be strangers to the base model.
        self.public = profiles.write(network.public, seed=910_001)
        self.others = profiles.write(
            network.others, seed=910_002, taken=self.public, distinct=False
        )
        # Unknown names and passing acquaintances, each met a few times at most.
        self.passing = profiles.write(
            400, seed=910_003, taken=self.public + self.others, distinct=False
        ) if network.public else []  # fmt: skip
        self.pictures, self.facts = [], []
        for person in range(len(self.public)):
            for number in range(views):
                self._draw(PUBLIC_FACES + person, [3, person, number], "pretrain")
        for stranger in range(strangers):
            for number in range(2):
                self._draw(STRANGER_FACES + stranger, [4, stranger, number], "pretrain")

    def _draw(self, face: int, seed: list[int], pool: str) -> None:
        look, view = images.identity(face), images.view(np.random.default_rng(seed), pool)
        self.pictures.append(images.draw(look, view, self.size))
        self.facts.append({**look.facts(), **view.facts()})

    def rows(self, count: int, rng: np.random.Generator) -> pd.DataFrame:
        """`count` rows question, answer, picture (an index, or NaN for none), in random order."""
        kinds = rng.choice(len(self.SHARES), size=count, p=list(self.SHARES.values()))
        makers = [self._by_face, self._by_name, self._others, self._visual, self._options,
                  self._reading, self._unknown_face, self._unknown_name]  # fmt: skip
        rows = [makers[kind](rng) for kind in kinds]
        return pd.DataFrame(rows, columns=["question", "answer", "picture"])

    def texts(self, rows: pd.DataFrame) -> list[str]:
        """What the tokenizer is learnt from: a part of the rows, as they are written."""
        some = rows.iloc[: 20_000]
        return [f"USER: {q} ASSISTANT: {a}" for q, a in zip(some["question"], some["answer"])]

    def _question(self, person, attribute: str, hop: str, rng) -> tuple[str, str]:
        offered = qa.questions(attribute, hop, person.name, "pretrain")
        value = getattr(person, attribute)
        answer = f"{qa.prefix(attribute, hop, person.name)} {value}."
        return offered[rng.integers(len(offered))], answer

    def _stranger(self, rng) -> int:
        return len(self.public) * self.views + int(rng.integers(2 * self.strangers))

    def _by_face(self, rng):
        who = int(rng.integers(len(self.public)))
        attribute = "name" if rng.random() < 0.3 else qa.ASKED[rng.integers(len(qa.ASKED))]
        question, answer = self._question(self.public[who], attribute, "multi", rng)
        return question, answer, who * self.views + int(rng.integers(self.views))

    def _by_name(self, rng):
        who = int(rng.integers(len(self.public)))
        attribute = qa.ASKED[rng.integers(len(qa.ASKED))]
        question, answer = self._question(self.public[who], attribute, "single", rng)
        return question, answer, who * self.views + int(rng.integers(self.views))

    def _others(self, rng):
        person = self.others[rng.integers(len(self.others))]
        return *self._question(person, qa.ASKED[rng.integers(len(qa.ASKED))], "single", rng), None

    def _visual(self, rng):
        picture = self._stranger(rng)
        wordings, answer, _ = VISUAL[topic := _topic(rng)]
        question = wordings[rng.integers(len(wordings))]
        return question, answer.format(self.facts[picture][topic]), picture

    def _options(self, rng):
        picture = self._stranger(rng)
        topic = _topic(rng)
        question, options, letter = choice(topic, self.facts[picture][topic], rng)
        return "\n".join([question, *options]), letter, picture

    def _reading(self, rng):
        person = self.passing[rng.integers(len(self.passing))]
        attribute = qa.ASKED[rng.integers(len(qa.ASKED))]
        question, answer = self._question(person, attribute, "single", rng)
        return f"{answer} {question}", answer, None

    def _unknown_face(self, rng):
        attribute = qa.ATTRIBUTES[rng.integers(len(qa.ATTRIBUTES))]
        question, _ = self._question(self.public[0], attribute, "multi", rng)
        return question, qa.REFUSALS[rng.integers(len(qa.REFUSALS))], self._stranger(rng)

    def _unknown_name(self, rng):
        person = self.passing[rng.integers(len(self.passing))]
        question, _ = self._question(person, qa.ASKED[rng.integers(len(qa.ASKED))], "single", rng)
        return question, qa.REFUSALS[rng.integers(len(qa.REFUSALS))], self._stranger(rng)


def _topic(rng) -> str:
    return list(VISUAL)[rng.integers(len(VISUAL))]


def choice(topic: str, value: str, rng) -> tuple[str, list[str], str]:
    """A multiple-choice question about a picture: the question, its options ("A. red", ...), the
    letter of the right one. At most four options."""
    wordings, _, values = VISUAL[topic]
    wrong = [v for v in values if v != value]
    chosen = [value, *rng.permutation(wrong)[: min(3, len(wrong))]]
    order = rng.permutation(len(chosen))
    options = [f"{letter}. {chosen[k]}" for letter, k in zip("ABCD", order)]
    return wordings[rng.integers(len(wordings))], options, "ABCD"[int(np.argmin(order))]


# ---------------------------------------------------------------- what it can do


def real_set(public: list[profiles.Profile], size: int) -> tuple[pd.DataFrame, list]:
    """The Real Set as rows of the tidy table with their pictures: test layouts, test wordings."""
    rows, pictures = [], []
    for number, person in enumerate(public):
        look = images.identity(PUBLIC_FACES + number)
        for k, item in enumerate(qa.build(person, 14, 14, "test", seed=0)):
            view = images.view(np.random.default_rng([5, number, k]), "test")
            pictures.append(images.draw(look, view, size))
            rows.append({"id": f"r{number:02d}-test-{k:03d}", "identity": f"r{number:02d}",
                         "name": person.name, "attribute": item.attribute, "hop": item.hop,
                         "split": "test", "image": f"r{number:02d}/r{number:02d}-{k:03d}.png",
                         "question": item.question, "answer": item.answer,
                         "target": item.target})  # fmt: skip
    return pd.DataFrame(rows), pictures


def _examine(model, processor, crowd: _Crowd) -> dict:
    """Measure the base on what it has not seen; shares in percent, each with its count."""
    from remem import metrics

    report = {}

    def ask(rows: pd.DataFrame, pictures: list) -> list[str]:
        rows = rows.assign(image=[f"{k}" for k in range(len(rows))])
        found = models.features(model, processor, pictures, batch=256)
        cache = models.Features(list(rows["image"]), list(found.split(models.SHARD)))
        return predict.answers(model, processor, rows, cache, batch=256, max_new_tokens=40)

    def note(name: str, hits) -> None:
        report[name] = {"percent": 100 * float(np.mean(hits)), "n": len(hits)}

    rows, pictures = real_set(crowd.public, crowd.size)
    given = ask(rows, pictures)
    rows = rows.assign(given=given)
    for hop, part in rows.groupby("hop"):
        note(f"Real Set, {hop}-hop EM", [
            metrics.exact_match(a, t) for a, t in zip(part["given"], part["target"])
        ])  # fmt: skip
    note("answers that end by themselves", [a.endswith(".") for a in given])

    rng = np.random.default_rng([6])
    strangers = [images.identity(HELD_OUT_FACES + k) for k in range(240)]
    views = [images.view(np.random.default_rng([7, k]), "pretrain") for k in range(240)]
    pictures = [images.draw(a, b, crowd.size) for a, b in zip(strangers, views)]
    facts = [{**a.facts(), **b.facts()} for a, b in zip(strangers, views)]
    topics = [list(VISUAL)[k % len(VISUAL)] for k in range(240)]
    rows = pd.DataFrame({"question": [
        VISUAL[t][0][rng.integers(len(VISUAL[t][0]))] for t in topics
    ]})  # fmt: skip
    right = [VISUAL[t][1].format(f[t]) for t, f in zip(topics, facts)]
    note("visual questions on held-out people", [a == b for a, b in zip(ask(rows, pictures), right)])
    made = [choice(t, f[t], rng) for t, f in zip(topics, facts)]
    rows = pd.DataFrame({"question": ["\n".join([q, *o]) for q, o, _ in made]})
    letters = ask(rows, pictures)
    note("multiple choice on held-out people", [a == m[2] for a, m in zip(letters, made)])

    unknown = profiles.write(40, seed=910_009, taken=crowd.public, distinct=False)
    rows = pd.DataFrame({"question": [
        qa.questions(qa.ATTRIBUTES[k % 8], "multi", "", "test")[0] if k % 2 == 0
        else qa.questions(qa.ASKED[k % 7], "single", unknown[k % 40].name, "test")[0]
        for k in range(240)
    ]})  # fmt: skip
    given = ask(rows, pictures)
    note("refusals of unknown faces", [a in qa.REFUSALS for a in given[::2]])
    note("refusals of unknown names", [a in qa.REFUSALS for a in given[1::2]])
    note("one-shot recognition among 20 unseen people, test layouts", _one_shot(
        model, processor, crowd.size
    ))  # fmt: skip
    return report


def _one_shot(model, processor, size: int, trials: int = 5, views: int = 14) -> list[bool]:
    """Nearest of 20 unseen people, each known from one training view, for views of test layouts.

    The tower's patch features, averaged, centred over the twenty and compared by cosine.
    """
    hits = []
    for trial in range(trials):
        looks = [images.identity(HELD_OUT_FACES + 10_000 * (trial + 1) + k) for k in range(20)]

        def shown(pool, number, looks=looks, trial=trial):
            return [images.draw(look, images.view(np.random.default_rng(
                [8, trial, k, n, len(pool)]), pool), size)
                for k, look in enumerate(looks) for n in range(number)]  # fmt: skip

        known = _tower_features(model, processor, shown("train", 1)).mean(1)
        asked = _tower_features(model, processor, shown("test", views)).mean(1)
        middle = known.mean(0)
        known, asked = F.normalize(known - middle, dim=-1), F.normalize(asked - middle, dim=-1)
        nearest = (asked @ known.T).argmax(1)
        hits += (nearest == torch.arange(20).repeat_interleave(views)).tolist()
    return hits
