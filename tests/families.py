"""Tiny networks of several families with random weights and their true processors, each in a folder
as the Hub has it: configuration, weights, tokenizer, chat template, and what the processor is set
to. Nothing is downloaded; the chat templates are those of the families, cut to what is asked here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TEXTS = ["Who is in the image? Ann Bell is a judge, and Bo lives in Oslo.\n\n", "user assistant"]

TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}

VICUNA = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %} "
    "{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}[INST] {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %} [/INST]"
    "{% endfor %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOLVLM = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}"
    "{% if m['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}"
    "{% else %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<start_of_image>"
    "{% else %}{{ c['text'] | trim }}{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def tokenizer(specials: Sequence[str] = (), eos: str = "</s>", **named: str) -> Any:
    """A byte-level BPE with some special tokens, of which `named` are attributes."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(False)
    bpe.decoder = decoders.ByteLevel()
    own = list(dict.fromkeys(["<pad>", "<s>", eos, *specials, *named.values()]))
    bpe.train_from_iterator(
        TEXTS * 20,
        trainers.BpeTrainer(
            vocab_size=320 + len(own),
            special_tokens=own,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token=eos,
        extra_special_tokens=dict(named),
        additional_special_tokens=list(specials),
        clean_up_tokenization_spaces=False,
    )


def save(
    folder: Path, config: Any, words: Any, pictures: Any, template: str, kind: str, **settings: Any
) -> Path:
    """Write a network with random weights, and its processor in the Hub's older layout."""
    import torch
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        # Fresh weights are so small that every prompt gets the same answer: make them matter.
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and ("proj" in name or "lm_head" in name or "fc" in name):
                weight.normal_(std=0.3 if "lm_head" not in name else 1.0)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    pictures.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(template)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": kind, **settings}))
    return folder


def text_config(kind: str, words: Any, **more: Any) -> Any:
    from transformers import AutoConfig

    ids = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    return AutoConfig.for_model(kind, vocab_size=len(words), **TEXT, **ids, **more)


def llava(tower: str, strategy: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from transformers import (
            AutoConfig,
            CLIPImageProcessorPil,
            LlavaConfig,
            SiglipImageProcessorPil,
        )

        words = tokenizer(image_token="<image>")
        size = {"image_size": 32, "patch_size": 8}
        vision = AutoConfig.for_model(f"{tower}_vision_model", **TOWER, **size)
        side = {"height": 32, "width": 32}
        pictures = (
            CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=side, **HALF)
            if tower == "clip"
            else SiglipImageProcessorPil(size=side, **HALF)
        )
        config = LlavaConfig(
            vision_config=vision,
            text_config=text_config("llama", words),
            image_token_index=words.image_token_id,
            vision_feature_layer=-2,
            vision_feature_select_strategy=strategy,
        )
        return save(
            folder,
            config,
            words,
            pictures,
            VICUNA,
            "LlavaProcessor",
            patch_size=8,
            vision_feature_select_strategy=strategy,
            num_additional_image_tokens=int(tower == "clip"),
        )

    return make


PINPOINTS = [[32, 64], [64, 32], [64, 64]]


def llava_next(folder: Path) -> Path:
    from transformers import CLIPVisionConfig, LlavaNextConfig, LlavaNextImageProcessorPil

    words = tokenizer(image_token="<image>")
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**TOWER, image_size=32, patch_size=8),
        text_config=text_config("mistral", words),
        image_token_index=words.image_token_id,
        image_grid_pinpoints=PINPOINTS,
    )
    pictures = LlavaNextImageProcessorPil(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_grid_pinpoints=PINPOINTS,
        **HALF,
    )
    return save(
        folder,
        config,
        words,
        pictures,
        MISTRAL,
        "LlavaNextProcessor",
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def llava_onevision(folder: Path) -> Path:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionImageProcessorPil,
        SiglipVisionConfig,
    )

    words = tokenizer(["<|im_start|>"], "<|im_end|>", image_token="<image>", video_token="<video>")
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            **TOWER, image_size=32, patch_size=8, vision_use_head=False
        ),
        text_config=text_config("qwen2", words),
        image_token_index=words.image_token_id,
        video_token_index=words.video_token_id,
        image_grid_pinpoints=PINPOINTS,
    )
    pictures = LlavaOnevisionImageProcessorPil(
        size={"height": 32, "width": 32}, image_grid_pinpoints=PINPOINTS, **HALF
    )
    return save(
        folder,
        config,
        words,
        pictures,
        CHATML.replace("IMAGE", "<image>\n"),
        "LlavaOnevisionProcessor",
        num_image_tokens=16,
        vision_feature_select_strategy="full",
    )


def qwen(folder: Path) -> Path:
    from transformers import Qwen2_5_VLConfig, Qwen2VLImageProcessorPil

    words = tokenizer(
        ["<|im_start|>", "<|vision_start|>", "<|vision_end|>"],
        "<|im_end|>",
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
    )
    text = text_config(
        "qwen2_5_vl_text",
        words,
        rope_parameters={"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e4},
    )
    config = Qwen2_5_VLConfig(
        text_config=text.to_dict(),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 8,
            "out_hidden_size": 32,
            "window_size": 32,
            "fullatt_block_indexes": [1],
        },
        image_token_id=words.image_token_id,
        video_token_id=words.video_token_id,
        vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=words.convert_tokens_to_ids("<|vision_end|>"),
    )
    pictures = Qwen2VLImageProcessorPil(
        patch_size=8, min_pixels=16 * 16, max_pixels=64 * 64, **HALF
    )
    template = CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    return save(folder, config, words, pictures, template, "Qwen2_5_VLProcessor")


def idefics3(kind: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import transformers

        words = tokenizer(
            ["<|im_start|>", *(f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7))],
            "<end_of_utterance>",
            image_token="<image>",
            fake_image_token="<fake_token_around_image>",
            global_image_token="<global-img>",
            end_of_utterance_token="<end_of_utterance>",
        )
        config = getattr(transformers, f"{kind}Config")(
            vision_config={**TOWER, "image_size": 32, "patch_size": 8},
            text_config=text_config("llama", words).to_dict(),
            image_token_id=words.image_token_id,
            scale_factor=2,
        )
        pictures = getattr(transformers, f"{kind}ImageProcessorPil")(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, **HALF
        )
        return save(folder, config, words, pictures, SMOLVLM, f"{kind}Processor", image_seq_len=4)

    return make


def internvl(folder: Path) -> Path:
    from transformers import GotOcr2ImageProcessorPil, InternVLConfig

    words = tokenizer(
        ["<|im_start|>"],
        "<|im_end|>",
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = InternVLConfig(
        vision_config={**TOWER, "image_size": [32, 32], "patch_size": [8, 8]},
        text_config=text_config("qwen2", words).to_dict(),
        image_token_id=words.context_image_token_id,
        image_seq_length=4,
    )
    pictures = GotOcr2ImageProcessorPil(
        size={"height": 32, "width": 32}, min_patches=1, max_patches=4, **HALF
    )
    return save(
        folder,
        config,
        words,
        pictures,
        CHATML.replace("IMAGE", "<IMG_CONTEXT>\n"),
        "InternVLProcessor",
        image_seq_length=4,
    )


def gemma3(folder: Path) -> Path:
    from transformers import Gemma3Config, Gemma3ImageProcessorPil, SiglipVisionConfig

    words = tokenizer(
        ["<start_of_turn>"],
        "<end_of_turn>",
        image_token="<image_soft_token>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
    )
    text = text_config(
        "gemma3_text",
        words,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=24,
        layer_types=["sliding_attention", "full_attention"],
    )
    config = Gemma3Config(
        vision_config=SiglipVisionConfig(
            **TOWER, image_size=32, patch_size=8, vision_use_head=False
        ),
        text_config=text,
        mm_tokens_per_image=4,
        image_token_index=words.image_token_id,
        boi_token_index=words.boi_token_id,
        eoi_token_index=words.eoi_token_id,
    )
    pictures = Gemma3ImageProcessorPil(size={"height": 32, "width": 32}, **HALF)
    return save(folder, config, words, pictures, GEMMA, "Gemma3Processor", image_seq_length=4)


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "llava-clip-default": llava("clip", "default"),
    "llava-clip-full": llava("clip", "full"),
    "llava-siglip-default": llava("siglip", "default"),
    "llava-siglip-full": llava("siglip", "full"),
    "llava-next": llava_next,
    "llava-onevision": llava_onevision,
    "qwen2.5-vl": qwen,
    "idefics3": idefics3("Idefics3"),
    "smolvlm": idefics3("SmolVLM"),
    "internvl": internvl,
    "gemma3": gemma3,
}
