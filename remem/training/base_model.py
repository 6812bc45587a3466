"""The networks that experiments start from: LLaVA-1.5 from the Hub, or a tiny LLaVA trained here.

The tiny scale needs a base model that can do what LLaVA can, in small: recognise a face it has
never seen before when it turns up again, know twenty public figures by face and by name, describe
a picture, choose among options, read a fact from its prompt, stop at the end of a sentence, and
refuse what it cannot know. It is trained in two steps, as LLaVA was: a vision tower first
(`vision_tower`), then a language model that learns to read it. Both are saved as the Hub's models
are and loaded by the same code.

None of the people of a dataset takes part, nor any question template of its training or test
pool. Of the layouts of its test pictures the base model sees one half; the other is new to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import model_validator
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from remem import runs
from remem.config import networks
from remem.config.networks import Hub, TinyLlava, VisionTower
from remem.model import scores, tokens
from remem.model.inference import answer_pictures
from remem.model.loading import Network
from remem.runs import Run
from remem.synthetic.people import Profile
from remem.training import corpus, shipped
from remem.training.vision_tower import TowerRun, vision_config

# The prompt format of LLaVA-1.5: "USER: <image>\n{question} ASSISTANT: {answer}".
CHAT = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}"
    "{% else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


class BaseRun(Run):
    """A network to start from: one of the Hub's (nothing is made, see `place`), or a tiny LLaVA,
    trained on `tower`, in a folder of the Hub's format. Its history.csv holds step and loss (nats
    per answer token), its report.json what it can do, measured on held-out pictures.

    The tiny bases of the repository's own scales come with it (`shipped`), and are copied; `build`
    makes one from nothing.
    """

    kind: ClassVar[str] = "base"
    verified_once: ClassVar[bool] = True
    network: networks.Network
    tower: VisionTower | None = None

    @model_validator(mode="after")
    def _has_a_tower(self):
        if isinstance(self.network, TinyLlava) and self.tower is None:
            raise ValueError("a network that is trained here needs base.tower in the parameters")
        return self

    def needs(self) -> tuple[Run, ...]:
        """The vision tower of a tiny network that has to be trained."""
        if isinstance(self.network, Hub) or self.tower is None or shipped.folder(self):
            return ()
        return (TowerRun(tower=self.tower),)

    def make(self, out: Path, runs_root: Path) -> None:
        """Copy the one that comes with the repository, or `build` it."""
        if not shipped.copied(self, out):
            self.build(out, runs_root)

    def build(self, out: Path, runs_root: Path) -> None:
        """Train the language model, round it to half precision, examine it, and save all."""
        if isinstance(self.network, Hub) or self.tower is None:
            raise ValueError(f"{self.network} is not made here: ask base_model.place for it")
        tiny = self.network
        runs.seed_everything(tiny.seed)
        rng = np.random.default_rng([tiny.seed, 2])
        known = corpus.Corpus(tiny.public, tiny.others, self.tower.image_size)
        rows = known.rows(tiny.steps * tiny.batch, rng)
        processor = build_processor(tiny, self.tower, known.texts(rows))
        network = Network(build_model(tiny, self.tower, processor), processor)
        vision = network.llava.model.vision_tower
        tower = runs.get_or_create(TowerRun(tower=self.tower), runs_root)
        vision.load_state_dict(load_file(tower / "tower.safetensors"))
        vision.requires_grad_(False).eval()
        seen = _tower_features(network, known.pictures)

        history = _train(network, rows, seen, tiny)
        network.model.requires_grad_(False).eval()
        # Half as many bytes for the repository to carry. It is loaded in single precision again.
        network.model.half().save_pretrained(out)
        network.model.float()
        processor.save_pretrained(out)
        history.to_csv(out / "history.csv", index=False)
        report = _examine(network, known.public, self.tower.image_size, tiny.examined)
        (out / "report.json").write_text(json.dumps(report, indent=2), "utf-8")

    def read(self, folder: Path) -> pd.DataFrame:
        """Every twentieth step of its training: step, loss."""
        return pd.read_csv(folder / "history.csv")


def place(base: BaseRun, runs_root: Path) -> Path | str:
    """What `loading.load` takes: a Hub id with its commit, or a folder; that of a network that is
    trained here is made first where it is not there."""
    if isinstance(base.network, Hub):
        return base.network.where
    return runs.get_or_create(base, runs_root)


def base_needs(base: BaseRun) -> tuple[Run, ...]:
    """What has to be made before a run can load `base`: nothing for one of the Hub's."""
    return () if isinstance(base.network, Hub) else (base,)


def build_processor(network: TinyLlava, tower: VisionTower, texts: Sequence[str]) -> Any:
    """A `LlavaProcessor` around a byte-level BPE learnt from `texts`, each digit a token."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=network.vocabulary,
            special_tokens=["<pad>", "<s>", "</s>", "<image>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    size = tower.image_size
    pixels = CLIPImageProcessorPil(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return LlavaProcessor(
        image_processor=pixels,
        tokenizer=tokenizer,
        patch_size=tower.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )


def build_model(network: TinyLlava, tower: VisionTower, processor: Any) -> Any:
    """A `LlavaForConditionalGeneration` with random weights. It reads the tower's last layer
    (LLaVA-1.5: the last but one, because CLIP's last layer serves its text side; this tower has no
    such side)."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    tokenizer = processor.tokenizer
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=network.width,
        intermediate_size=network.mlp,
        num_hidden_layers=network.layers,
        num_attention_heads=network.heads,
        num_key_value_heads=network.heads,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = LlavaConfig(
        vision_config=vision_config(tower),
        text_config=text,
        image_token_index=processor.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(tower.image_size // tower.patch) ** 2,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


@torch.no_grad()
def _tower_features(network: Network, pictures: Sequence[Image.Image], batch: int = 256) -> Tensor:
    """(images, P, tower's width): what the frozen tower says, before the projector."""
    parts = []
    for start in range(0, len(pictures), batch):
        pixels = network.processor.image_processor(
            pictures[start : start + batch], return_tensors="pt"
        )
        vision = network.llava.model.vision_tower
        parts.append(vision(pixel_values=pixels["pixel_values"]).last_hidden_state[:, 1:])
    return torch.cat(parts)


def _train(network: Network, rows: pd.DataFrame, seen: Tensor, tiny: TinyLlava) -> pd.DataFrame:
    """Train language model and projector on `rows` of the corpus, whose column `picture` points
    into `seen`, the tower's features (images, P, width). Gives step and loss."""
    from transformers import get_scheduler

    model, processor = network
    encoded = np.empty(len(rows), dtype=object)
    with_image = rows["picture"].notna()
    for mask, image_tokens in ((with_image, seen.shape[1]), (~with_image, 0)):
        prompts, replies = (list(rows.loc[mask, column]) for column in ("question", "answer"))
        found = tokens.encode_all(processor, prompts, replies, image_tokens)
        for row, item in zip(np.flatnonzero(mask), found, strict=True):
            encoded[row] = item
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=tiny.lr, betas=(0.9, 0.95), weight_decay=0.05)
    schedule: Any = get_scheduler("cosine", optimiser, tiny.steps // 20, tiny.steps)
    pictures = rows["picture"].to_numpy(dtype=float)
    lengths = np.array([len(item.ids) for item in encoded])
    answers = lengths - np.array([item.n_prompt for item in encoded])
    history = []
    bar = tqdm(range(tiny.steps), desc="language model", unit="step")
    for step in bar:
        chosen = np.arange(step * tiny.batch, (step + 1) * tiny.batch)
        chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
        total, loss = int(answers[chosen].sum()), 0.0
        optimiser.zero_grad()
        for part in np.array_split(chosen, 3):  # rows of like length: less padding
            shown = pictures[part][~np.isnan(pictures[part])].astype(int)
            projected = model.model.multi_modal_projector(seen[shown]) if len(shown) else None
            batch = tokens.collate(
                list(encoded[part]), projected, processor.tokenizer.pad_token_id, total
            )
            share = scores.score(network, batch).ce()
            share.backward()
            loss += share.item()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 19:
            history.append({"step": step + 1, "loss": loss})
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    return pd.DataFrame(history)


def _examine(
    network: Network, public: Sequence[Profile], size: int, count: int
) -> dict[str, dict[str, float]]:
    """For each ability the percent of right answers and `n`, the number of questions, on pictures
    that were not trained on. The public figures are known; `size` is a picture's side in pixels;
    `count` as in corpus.examination."""
    questions = corpus.examination(public, size, count)
    given = answer_pictures(network, [q.picture for q in questions], [q.text for q in questions])
    hits: dict[str, list[bool]] = {}
    for question, answer in zip(questions, given, strict=True):
        hits.setdefault(question.ability, []).append(question.right(answer))
    hits["answers that stop after one sentence"] = [
        answer.endswith(".") and ". " not in answer
        for question, answer in zip(questions, given, strict=True)
        if question.ability.startswith("Real Set")
    ]
    hits["recognising an unseen face"] = _one_shot(network, size)
    return {name: {"percent": 100 * float(np.mean(h)), "n": len(h)} for name, h in hits.items()}


def _one_shot(network: Network, size: int) -> list[bool]:
    """Nearest of twenty unseen people by the tower's patch features alone: averaged over patches,
    centred over the twenty, compared by cosine."""
    hits = []
    for known, unknown, who in corpus.lineup(size):
        references = _tower_features(network, known).mean(1)
        pictures = _tower_features(network, unknown).mean(1)
        middle = references.mean(0)
        references = F.normalize(references - middle, dim=-1)
        pictures = F.normalize(pictures - middle, dim=-1)
        hits += ((pictures @ references.T).argmax(1) == torch.tensor(who)).tolist()
    return hits
