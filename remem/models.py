"""The network: loading, writing a conversation as tokens, scoring, adapters, image features.

LLaVA-1.5 from the Hub and the tiny LLaVAs that are trained here are the same classes
(`LlavaForConditionalGeneration`, its processor, PEFT), so every line below runs at both scales.

Shapes use B rows, T tokens, P image patches, H hidden width, V vocabulary, N scored positions.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from remem import dataset, runs

# LoRA goes on the language model's attention and MLP projections and nowhere else. A list of
# bare suffixes ("q_proj") would also match inside the CLIP tower, as it does in other benchmarks.
TARGETS = r".*language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
SHARD = 512  # images per file of cached features
ALLOWANCE = 0.1  # memory that activations need at the least, as a share of the weights'

# PEFT asks transformers by a name that transformers 6 drops; nothing here depends on it.
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


class CannotLoad(ValueError):
    """The weights, or the memory to hold them, are not there; the message says which and how."""


# ---------------------------------------------------------------- loading


def load(where: str | Path, device: str | None = None, dtype: str = "float32"):
    """(model, processor) from a folder or a Hub id: eval mode, every weight frozen, padding left.

    Nothing is downloaded unless HF_HUB_OFFLINE=0. Raises CannotLoad when the weights are missing,
    incomplete, or with an allowance for activations larger than the free memory of the device.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar of its own per load, in the midst of those of the runs
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    folder = _folder(where)
    _check_memory(where, folder, device, getattr(torch, dtype))
    try:
        # backend="pil": with torchvision installed the default would be another preprocessor,
        # and two machines would see different pixels.
        processor = AutoProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True,
            output_loading_info=True,
        )  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        raise CannotLoad(f"{where}: cannot be loaded as a LLaVA: {error}") from error
    if report["missing_keys"] or report["mismatched_keys"]:
        missing = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))
        raise CannotLoad(f"{where}: {len(missing)} weights are missing or of a wrong shape, "
                         f"the first is {missing[0]}")  # fmt: skip
    processor.tokenizer.padding_side = "left"
    # PEFT writes this name into an adapter's files: a folder's name, not its place on a disk.
    name = folder.name if Path(where).is_dir() else str(where)
    model.name_or_path = model.config.name_or_path = name
    return model.requires_grad_(False).eval().to(device), processor


def _folder(where: str | Path) -> Path:
    """The local folder that holds the weights of `where`."""
    if Path(where).is_dir():
        folder = Path(where)
    else:
        from huggingface_hub import snapshot_download

        offline = os.environ.get("HF_HUB_OFFLINE", "1") != "0"
        kinds = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
        try:
            found = snapshot_download(str(where), allow_patterns=kinds, local_files_only=offline)
        except (OSError, ValueError) as error:
            raise CannotLoad(
                f"{where}: its weights are not on this machine. Set HF_HUB_OFFLINE=0 to have them "
                "downloaded (a 7B needs about 16 GiB of disk and a GPU with at least 24 GiB, a 13B "
                "twice that), or use scale: tiny, which needs neither."
            ) from error
        folder = Path(found)
    for name in ("config.json", "*.safetensors"):
        if not any(folder.glob(name)):
            raise CannotLoad(f"{where}: no {name} in {folder}; it is not a saved model")
    return folder


def _check_memory(where: str | Path, folder: Path, device: str, dtype: torch.dtype) -> None:
    numbers = 0
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, "pt") as tensors:
                numbers += sum(math.prod(tensors.get_slice(k).get_shape()) for k in tensors.keys())
        except (SafetensorError, OSError) as error:
            raise CannotLoad(
                f"{where}: {file} cannot be read ({error}): it is cut short or damaged; fetch or "
                "save it again"
            ) from error
    if torch.device(device).type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        import psutil

        free = psutil.virtual_memory().available
    need = numbers * dtype.itemsize
    if need * (1 + ALLOWANCE) > free:
        raise CannotLoad(
            f"{where}: its {numbers / 1e9:.1f} billion weights need {need / 2**30:.1f} GiB in "
            f"{str(dtype).removeprefix('torch.')}, and {device} has {free / 2**30:.1f} GiB free. "
            f"Only the weights are counted here, and {ALLOWANCE:.0%} of them allowed for "
            "activations, which grow with the batch. "
            f"Use a GPU with at least {math.ceil(1.5 * need / 2**30)} GiB, or scale: tiny."
        )


def inner(model):
    """The LlavaForConditionalGeneration inside `model`, which may be a PeftModel around it."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def patches(model) -> int:
    """Image tokens per image: one per patch, and the class token where the model keeps it."""
    config = inner(model).config
    vision = config.vision_config
    kept = config.vision_feature_select_strategy != "default"
    return (vision.image_size // vision.patch_size) ** 2 + kept


# ---------------------------------------------------------------- words to tokens


class Encoded(NamedTuple):
    """One conversation: its token ids (T,), of which the first `n_prompt` carry no loss."""

    ids: np.ndarray
    n_prompt: int


def encode(
    processor, question: str, answer: str | None, image_tokens: int, prefill: str | None = None
) -> Encoded:
    """One row as `encode_all` writes it."""
    return encode_all(processor, [question], [answer], image_tokens, [prefill])[0]


def encode_all(
    processor,
    questions: Sequence[str],
    answers: Sequence[str | None],
    image_tokens: int,
    prefills: Sequence[str | None] | None = None,
) -> list[Encoded]:
    """Conversations as token ids, a whole table at once.

    The user's turn is the image (left out where `image_tokens` is 0) and the question ("" leaves
    the image alone); then come the assistant's `prefill`, which counts as prompt, and the answer
    with an end-of-sequence token, both after one space. An answer of None ends with the prompt.
    Prompt and answer are tokenised jointly; ValueError if the prompt's tokens are not a prefix of
    the whole. `<image>` is repeated `image_tokens` times, as the processor does it.
    """
    tokenizer, image = processor.tokenizer, processor.image_token
    if not len(questions):
        return []  # the chat template does not take none
    turns = {q: None for q in questions}
    for question in turns:
        if image in question:
            raise ValueError(f"the question {question!r} contains the image token {image!r}")
    contents = [
        [{"type": "image"}] * (image_tokens > 0) + [{"type": "text", "text": q}] * bool(q)
        for q in turns
    ]
    rendered = processor.apply_chat_template(
        [[{"role": "user", "content": content}] for content in contents],
        add_generation_prompt=True, tokenize=False,
    )  # fmt: skip
    turns = dict(zip(turns, rendered, strict=True))
    prefills = prefills if prefills is not None else [None] * len(questions)
    prompts = [turns[q] + (f" {p}" if p else "") for q, p in zip(questions, prefills, strict=True)]
    wholes = [p if a is None else f"{p} {a}" for p, a in zip(prompts, answers, strict=True)]
    lookup = dict.fromkeys(prompts + wholes)
    lookup = dict(zip(lookup, tokenizer(list(lookup))["input_ids"], strict=True))
    encoded = []
    for prompt, whole, answer in zip(prompts, wholes, answers, strict=True):
        head, ids = lookup[prompt], lookup[whole]
        if ids[: len(head)] != head:
            raise ValueError(
                f"the tokens of {prompt!r} are not a prefix of those of {whole!r}: this tokenizer "
                "merges across the start of the answer, so the loss cannot be cut there"
            )
        ids = np.array(ids if answer is None else [*ids, tokenizer.eos_token_id], dtype=np.int64)
        if image_tokens:
            repeats = np.where(ids == processor.image_token_id, image_tokens, 1)
            encoded.append(Encoded(ids.repeat(repeats), int(repeats[: len(head)].sum())))
        else:
            encoded.append(Encoded(ids, len(head)))
    return encoded


@dataclass(frozen=True)
class Batch:
    """Right-padded rows. `answer` (B, T) marks answer tokens and end-of-sequence; the totals are
    those of the whole optimiser batch, of which this may be a part (that keeps parts exact)."""

    input_ids: Tensor
    attention_mask: Tensor
    answer: Tensor
    features: Tensor | None
    tokens_total: int
    rows_total: int
    positions_total: int

    def to(self, device) -> Batch:
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def collate(
    encoded: Sequence[Encoded],
    features: Tensor | None,
    pad_id: int,
    tokens_total: int | None = None,
    rows_total: int | None = None,
    positions_total: int | None = None,
    pad_to: int = 0,
) -> Batch:
    """Rows as one Batch. `features` (images, P, H) are those of the rows that show an image, in
    order. Totals left out are the batch's own; `pad_to` is a least width in tokens."""
    lengths = np.array([len(e.ids) for e in encoded])
    prompts = np.array([e.n_prompt for e in encoded])
    column = np.arange(max(pad_to, lengths.max()))
    real = column < lengths[:, None]
    ids = np.full(real.shape, pad_id, dtype=np.int64)
    ids[real] = np.concatenate([e.ids for e in encoded])
    # The mask comes from lengths, never from ids != pad: eos may be the padding token as well.
    answer = real & (column >= prompts[:, None])
    return Batch(
        torch.from_numpy(ids),
        torch.from_numpy(real.astype(np.int64)),
        torch.from_numpy(answer),
        features,
        int(answer.sum()) if tokens_total is None else tokens_total,
        len(encoded) if rows_total is None else rows_total,
        int((lengths - 1).sum()) if positions_total is None else positions_total,
    )


# ---------------------------------------------------------------- tokens to scores


def images_given(features: Tensor | None) -> dict:
    """The keyword argument that hands image features (images, P, H) to forward and generate in
    place of pixels."""
    if features is None:
        return {}
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=[*features])}}


@dataclass(frozen=True)
class Scores:
    """Next-token logits (N, V) in fp32 at the wanted positions, the tokens that came (N,), the
    row of each (N,), the number of rows, and the number of such positions in the whole optimiser
    batch."""

    logits: Tensor
    labels: Tensor
    row: Tensor
    batch: Batch
    total: int

    @cached_property
    def logp(self) -> Tensor:
        """Log-probability of each token, in nats (N,)."""
        return -F.cross_entropy(self.logits, self.labels, reduction="none")

    def ce(self) -> Tensor:
        """This part's share of the mean cross-entropy per token of the whole batch."""
        return -self.logp.sum() / self.total

    def sequence(self) -> Tensor:
        """Summed log-probability of each row (B,)."""
        return self.logp.new_zeros(len(self.batch.input_ids)).index_add(0, self.row, self.logp)

    def row_mean(self, values: Tensor) -> Tensor:
        """This part's share of the mean over the rows of the whole batch; `values` (B,)."""
        return values.sum() / self.batch.rows_total

    def kl_from(self, reference) -> Tensor:
        """This part's share of mean KL(reference || self) per position; of `reference` only the
        `logits` are asked for."""
        p, q = reference.logits.log_softmax(-1), self.logits.log_softmax(-1)
        return F.kl_div(q, p, reduction="sum", log_target=True) / self.total


def score(model, batch: Batch, positions: str = "answer") -> Scores:
    """Scores at the answer's tokens ("answer") or at every token but the first ("all").

    The vocabulary's logits are computed at those positions alone: a prompt with 576 image tokens
    would otherwise cost 576 x V numbers a row.
    """
    if positions not in ("answer", "all"):
        raise ValueError(f"positions is 'answer' or 'all', not {positions!r}")
    llava = inner(model)
    batch = batch.to(llava.device)
    # No attention mask: attention is causal and padding is on the right, so a real token never
    # sees padding, and the kernel for plain causal attention is the fast one.
    hidden = llava.model(
        input_ids=batch.input_ids, use_cache=False, **images_given(batch.features)
    ).last_hidden_state
    wanted = batch.answer[:, 1:] if positions == "answer" else batch.attention_mask[:, 1:].bool()
    logits = llava.lm_head(hidden[:, :-1][wanted]).float()
    labels, row = batch.input_ids[:, 1:][wanted], wanted.nonzero()[:, 0]
    total = batch.tokens_total if positions == "answer" else batch.positions_total
    return Scores(logits, labels, row, batch, total)


# ---------------------------------------------------------------- adapters


def add_adapter(model, rank: int, alpha: int, seed: int):
    """`model` with a new LoRA adapter "default" (a PeftModel), which at first changes nothing."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=TARGETS)
    return get_peft_model(model, settings)


def save_adapter(peft, folder: Path) -> None:
    """Adapter "default" as PEFT writes it: base and folder alone reproduce the answers."""
    # save_embedding_layers=False, here and below: left to itself, PEFT asks the Hub whether the
    # vocabulary has grown.
    peft.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)


def load_adapter(model, folder: Path, trainable: bool = False, reference: bool = False):
    """`model` with the adapter of `folder`; with `reference`, a second and frozen copy of it on
    the same network, for `as_reference`. CannotLoad if a saved tensor was not taken up, which
    PEFT by itself passes over."""
    from peft import PeftModel, get_peft_model_state_dict

    peft = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
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
    return peft


def fold(peft) -> None:
    """Add adapter "default" to the weights that it stands beside: the same function in a third of
    the operations, for asking. Not for training on, and in fp32 alone: in half precision the sum
    would be rounded, and base and saved adapter would no longer reproduce the answers."""
    if peft.dtype == torch.float32:
        peft.merge_adapter(["default"])


@contextlib.contextmanager
def as_reference(peft) -> Iterator[None]:
    """Inside, the frozen adapter "reference" answers in place of "default", without gradients."""
    # inference_mode, or set_adapter would make the reference trainable; and "default" has to
    # come back trainable only if it was.
    trainable = any(p.requires_grad for p in peft.parameters())
    peft.set_adapter("reference", inference_mode=True)
    try:
        with torch.no_grad():
            yield
    finally:
        peft.set_adapter("default", inference_mode=not trainable)


# ---------------------------------------------------------------- image features


@torch.no_grad()
def features(model, processor, images: Sequence[Image.Image], batch: int = 64) -> Tensor:
    """Projected image features (images, P, H) on the CPU. Tower and projector are never trained
    in stages 1 and 2, so what they say of an image is computed once."""
    llava, parts = inner(model), []
    for start in range(0, len(images), batch):
        pixels = processor.image_processor(list(images[start : start + batch]), return_tensors="pt")
        pixels = pixels["pixel_values"].to(llava.device, llava.dtype)
        parts.append(torch.stack(list(llava.get_image_features(pixels).pooler_output)).cpu())
    return torch.cat(parts)


class Features:
    """Features by image path, from shards that stay on disk until they are touched."""

    def __init__(self, paths: Sequence[str], shards: Sequence[Tensor]):
        self.shards = shards
        self.place = {path: divmod(i, SHARD) for i, path in enumerate(paths)}

    @classmethod
    def read(cls, folder: Path) -> Features:
        """What `features_run` left in `folder`."""
        shards = []
        for file in sorted(Path(folder).glob("features-*.safetensors")):
            with safe_open(file, "pt") as tensors:
                shards.append(tensors.get_tensor("features"))
        return cls(json.loads((Path(folder) / "images.json").read_text()), shards)

    def __getitem__(self, paths: Sequence[str]) -> Tensor:
        """(len(paths), P, H)."""
        try:
            places = [self.place[path] for path in paths]
        except KeyError as error:
            raise KeyError(f"no cached features of the image {error.args[0]!r}") from error
        return torch.stack([self.shards[shard][i] for shard, i in places])


class FeaturesSpec(runs.Spec):
    """What features depend on: the base (a Hub id, or the name of its folder with a digest of what
    is in it), its precision, and the images (sha256 over paths and bytes). No other spec holds this
    one: with its revision, stage 1's has to be raised."""

    kind: ClassVar[str] = "features"
    base: str
    dtype: str
    images: str


def _named(base: str | Path) -> str:
    """A name that changes with the weights: a run's folder has it, other folders are read for it,
    and a Hub id is taken at its word."""
    folder = Path(base)
    if not folder.is_dir():
        return str(base)
    if (folder / "DONE").is_file():
        return folder.name
    seen = hashlib.sha256()
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        with file.open("rb") as content:
            seen.update(hashlib.file_digest(content, "sha256").digest())
    return f"{folder.name}-{seen.hexdigest()[:12]}"


def features_run(
    base: str | Path,
    folder: Path,
    paths: Sequence[str],
    runs_root: Path,
    dtype: str = "float32",
    batch: int = 64,
) -> Features:
    """Features of the images at `paths` inside `folder`, made once per base and set of images."""
    paths = sorted(set(paths))

    def make(out: Path) -> None:
        model, processor = load(base, dtype=dtype)
        for start in range(0, len(paths), SHARD):
            shown = paths[start : start + SHARD]
            # A batch of them in memory at a time: one of a telephone's takes 40 MB.
            parts = [
                features(model, processor, dataset.load_images(folder, shown[k : k + batch]), batch)
                for k in range(0, len(shown), batch)
            ]
            file = out / f"features-{start // SHARD:04d}.safetensors"
            save_file({"features": torch.cat(parts)}, file)
        (out / "images.json").write_text(json.dumps(paths, indent=0))

    spec = FeaturesSpec(base=_named(base), dtype=dtype, images=runs.content(folder, paths)[:16])
    return Features.read(runs.ensure(spec, make, runs_root))
