import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from remem import dataset, models
from remem.models import Encoded


def pictures(small, count):
    return dataset.load_images(small.folder, small.rows["image"][:count])


def chat(processor, question):
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )


# ---------------------------------------------------------------- tokens


def test_ids_are_those_of_the_processor(small, llava):
    model, processor = llava
    question, answer = small.rows.loc[0, ["question", "answer"]]
    image = pictures(small, 1)
    prompt = chat(processor, question)
    assert prompt == f"USER: <image>\n{question} ASSISTANT:"
    encoded = models.encode(processor, question, answer, models.patches(model))
    whole = processor(images=image, text=[f"{prompt} {answer}"])["input_ids"][0]
    assert encoded.ids.tolist() == [*whole, processor.tokenizer.eos_token_id]
    assert encoded.n_prompt == len(processor(images=image, text=[prompt])["input_ids"][0])


def test_only_the_answer_and_end_of_sequence_are_to_be_learnt(llava):
    _, processor = llava
    encoded = models.encode(processor, "Who is this?", "It is Ann.", 4)
    assert processor.tokenizer.decode(encoded.ids[encoded.n_prompt :]) == " It is Ann.</s>"
    batch = models.collate([encoded], None, pad_id=0)
    assert batch.input_ids[batch.answer].tolist() == encoded.ids[encoded.n_prompt :].tolist()


def test_a_prefill_belongs_to_the_prompt_and_no_question_leaves_the_image_alone(llava):
    _, processor = llava
    encoded = models.encode(processor, "", "Ann", 4, prefill="The name is")
    text = processor.tokenizer.decode(encoded.ids)
    assert text == "USER: <image><image><image><image>\nASSISTANT: The name is Ann</s>"
    assert processor.tokenizer.decode(encoded.ids[encoded.n_prompt :]) == " Ann</s>"


def test_without_an_answer_the_prompt_ends_open(llava):
    _, processor = llava
    encoded = models.encode(processor, "Who?", None, 0)
    assert processor.tokenizer.decode(encoded.ids) == "USER: Who? ASSISTANT:"
    assert encoded.n_prompt == len(encoded.ids)


def test_a_table_is_encoded_as_its_rows_are(small, llava):
    _, processor = llava
    rows = small.rows[::9]
    table = models.encode_all(processor, list(rows["question"]), list(rows["answer"]), 4)
    for row, encoded in zip(rows.itertuples(), table, strict=True):
        alone = models.encode(processor, row.question, row.answer, 4)
        assert alone.ids.tolist() == encoded.ids.tolist() and alone.n_prompt == encoded.n_prompt


def test_a_question_with_the_image_token_is_refused(llava):
    with pytest.raises(ValueError, match="contains the image token"):
        models.encode(llava[1], "What is <image>?", None, 4)


def test_a_tokenizer_that_merges_across_the_cut_is_refused():
    class Triples:  # three letters a token, wherever the answer starts
        eos_token_id = 1

        def __call__(self, texts):
            cut = [[t[i : i + 3] for i in range(0, len(t), 3)] for t in texts]
            return {"input_ids": [[hash(piece) for piece in text] for text in cut]}

    processor = SimpleNamespace(
        tokenizer=Triples(), image_token="<image>", image_token_id=-1,
        apply_chat_template=lambda turns, **_: ["abcd" for _ in turns],
    )  # fmt: skip
    with pytest.raises(ValueError, match="not a prefix"):
        models.encode(processor, "q", "answer", 0)


def test_collate_by_hand():
    rows = [Encoded(np.array([5, 6, 7, 2]), 2), Encoded(np.array([8, 2]), 1)]
    batch = models.collate(rows, None, pad_id=2)  # the padding token is end-of-sequence as well
    assert batch.input_ids.tolist() == [[5, 6, 7, 2], [8, 2, 2, 2]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.answer.int().tolist() == [[0, 0, 1, 1], [0, 1, 0, 0]]
    assert (batch.tokens_total, batch.rows_total, batch.positions_total) == (3, 2, 4)
    part = models.collate(rows[:1], None, 2, tokens_total=9, rows_total=8, positions_total=7)
    assert (part.tokens_total, part.rows_total, part.positions_total) == (9, 8, 7)


# ---------------------------------------------------------------- scores


def scored(small, model, processor, features, count=5, **how):
    rows = small.rows[:count]
    encoded = models.encode_all(
        processor, list(rows["question"]), list(rows["answer"]), models.patches(model)
    )
    pad_to = how.pop("pad_to", 0)
    batch = models.collate(encoded, features[list(rows["image"])], 0, pad_to=pad_to)
    return encoded, models.score(model, batch, **how)


def test_scores_equal_a_plain_forward_from_pixels(small, llava, features):
    model, processor = llava
    with torch.no_grad():
        encoded, scores = scored(small, model, processor, features)
        for i, (row, image) in enumerate(zip(encoded, pictures(small, 5), strict=True)):
            pixels = processor.image_processor(image, return_tensors="pt")["pixel_values"]
            ids = torch.tensor(row.ids)[None]
            logits = model(input_ids=ids, pixel_values=pixels).logits[0].log_softmax(-1)
            plain = [logits[t - 1, row.ids[t]].item() for t in range(row.n_prompt, len(row.ids))]
            assert scores.logp[scores.row == i].tolist() == pytest.approx(plain, abs=1e-4)
            assert scores.sequence()[i].item() == pytest.approx(sum(plain), abs=1e-3)


def test_all_positions_are_all_but_the_first(small, llava, features):
    with torch.no_grad():
        encoded, scores = scored(small, *llava, features, positions="all")
    assert scores.labels.tolist() == np.concatenate([e.ids[1:] for e in encoded]).tolist()
    assert scores.total == len(scores.labels)
    with pytest.raises(ValueError, match="'answer' or 'all'"):
        scored(small, *llava, features, positions="some")


def test_more_padding_changes_nothing(small, llava, features):
    with torch.no_grad():
        _, scores = scored(small, *llava, features)
        _, padded = scored(small, *llava, features, pad_to=150)
    assert padded.batch.input_ids.shape[1] == 150 > scores.batch.input_ids.shape[1]
    torch.testing.assert_close(padded.logits, scores.logits, atol=1e-4, rtol=1e-4)


def test_reductions_by_hand():
    half, quarter = np.log(1 / 2), np.log(1 / 4)
    batch = models.collate([Encoded(np.array([1, 0, 1]), 1), Encoded(np.array([1, 1]), 1)], None, 0)
    probabilities = torch.tensor([[1 / 2, 1 / 2], [3 / 4, 1 / 4], [1 / 2, 1 / 2]])
    scores = models.Scores(
        probabilities.log(), torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), batch, total=3
    )
    assert scores.logp.tolist() == pytest.approx([half, quarter, half])
    assert scores.ce().item() == pytest.approx(-(half + quarter + half) / 3)
    assert scores.sequence().tolist() == pytest.approx([half + quarter, half])
    assert scores.row_mean(torch.tensor([1.0, 4.0])).item() == 2.5
    even = models.Scores(torch.zeros(3, 2), scores.labels, scores.row, batch, total=3)
    by_hand = (0 + 3 / 4 * np.log(3 / 2) + 1 / 4 * np.log(1 / 2) + 0) / 3
    assert even.kl_from(scores).item() == pytest.approx(by_hand, abs=1e-6)


# ---------------------------------------------------------------- adapters


def test_lora_is_on_the_language_model_only_and_starts_as_nothing(small, llava, features):
    model, processor = llava
    with torch.no_grad():
        _, before = scored(small, model, processor, features)
    model = models.add_adapter(model, rank=4, alpha=8, seed=0)
    named = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(named) == 2 * 7 * 2  # A and B, of seven projections, in two layers
    assert all("lora_" in n and "language_model.layers" in n for n in named)
    assert not any("vision" in n or "projector" in n for n, _ in model.named_parameters()
                   if "lora_" in n)  # fmt: skip
    _, after = scored(small, model, processor, features)
    assert torch.equal(before.logits, after.logits)
    after.ce().backward()
    touched = [name for name, weight in model.named_parameters() if weight.grad is not None]
    assert touched == named


def test_the_seed_makes_the_adapter(small):
    def first(seed):
        torch.rand(7)
        model = models.add_adapter(models.load(small.base)[0], 4, 8, seed)
        return next(w for n, w in model.named_parameters() if "lora_A" in n)

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


def test_a_saved_adapter_reloads_bit_for_bit(small, adapter, features, tmp_path):
    base, processor = models.load(small.base)
    with torch.no_grad():
        _, plain = scored(small, base, processor, features)
        model = models.load_adapter(base, adapter, trainable=True, reference=True)
        _, first = scored(small, model, processor, features)
        models.save_adapter(model, tmp_path)
        again = models.load_adapter(models.load(small.base)[0], tmp_path)
        _, second = scored(small, again, processor, features)
    assert torch.equal(first.logits, second.logits)
    assert not torch.allclose(first.logits, plain.logits, atol=1e-2)
    assert {f.name for f in tmp_path.iterdir()} >= {"adapter_model.safetensors"}
    assert not (tmp_path / "reference").exists()
    assert not any(weight.requires_grad for weight in again.parameters())
    # nothing of this machine's folders in what is handed on
    for name in ("adapter_config.json", "README.md"):
        assert str(small.base.parent) not in (tmp_path / name).read_text()


def test_an_adapter_that_is_not_taken_up_is_refused(small, adapter, tmp_path):
    weights = load_file(adapter / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    strange = {key.replace("layers.1", "layers.9"): weight for key, weight in weights.items()}
    save_file(strange, tmp_path / "adapter_model.safetensors")
    with pytest.warns(UserWarning), pytest.raises(models.CannotLoad, match="layers.9"):
        models.load_adapter(models.load(small.base)[0], tmp_path)


def test_the_reference_stays_frozen_and_the_policy_comes_back(small, llava, adapter, features):
    base, processor = llava
    model = models.load_adapter(base, adapter, trainable=True, reference=True)
    trainable = {n for n, w in model.named_parameters() if w.requires_grad}
    assert trainable and all(".default." in name for name in trainable)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in trainable:
                weight.zero_()
    with models.as_reference(model):
        _, reference = scored(small, model, processor, features)
        assert not any(w.requires_grad for n, w in model.named_parameters() if ".reference." in n)
    assert not reference.logits.requires_grad
    _, policy = scored(small, model, processor, features)
    assert {n for n, w in model.named_parameters() if w.requires_grad} == trainable
    assert not torch.allclose(policy.logits, reference.logits, atol=1e-2)
    with torch.no_grad():
        stage1 = models.load_adapter(models.load(small.base)[0], adapter)
        _, expected = scored(small, stage1, processor, features)
    assert torch.equal(reference.logits, expected.logits)


# ---------------------------------------------------------------- loading


def test_missing_weights_say_what_to_do(tmp_path):
    with pytest.raises(models.CannotLoad, match="HF_HUB_OFFLINE=0.*scale: tiny"):
        models.load("llava-hf/llava-1.5-7b-hf-not-here")
    with pytest.raises(models.CannotLoad, match="no config.json"):
        models.load(tmp_path)


def test_weights_that_lack_a_layer_are_refused(small, tmp_path):
    for file in small.base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(key for key in weights if "layers.1.mlp" in key)
    del weights[gone]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(models.CannotLoad, match="1 weights are missing.*layers.1.mlp"):
        models.load(tmp_path)


@pytest.mark.parametrize("left", [0, 5, -100])
def test_weights_that_are_cut_short_are_named(small, tmp_path, left):
    shutil.copytree(small.base, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(models.CannotLoad, match=r"model\.safetensors cannot be read .*cut short"):
        models.load(tmp_path)


def test_too_little_memory_is_told_before_loading(small, monkeypatch):
    weights = sum(w.numel() for w in load_file(small.base / "model.safetensors").values()) * 4

    def load(free):
        memory = SimpleNamespace(available=free)
        monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
        return models.load(small.base, device="cpu")

    told = "GiB in float32, and cpu has 0.0 GiB free.*Only the weights .*10% .* activations"
    with pytest.raises(models.CannotLoad, match=told):
        load(weights + 1000)  # they fit, and nothing else does
    load(1.2 * weights)


# ---------------------------------------------------------------- features


def test_cached_features_are_those_of_the_images(small, llava, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "SHARD", 3)
    names = list(small.rows["image"][:7])
    cache = models.features_run(str(small.base), small.folder, names, tmp_path)
    wanted = [names[5], names[0], names[5]]
    images = dataset.load_images(small.folder, wanted)
    torch.testing.assert_close(cache[wanted], models.features(*llava, images))
    assert cache[wanted].shape == (3, 4, 32)
    with pytest.raises(KeyError, match="no cached features of the image 'x.png'"):
        cache[["x.png"]]

    monkeypatch.setattr(models, "load", None)  # a second time nothing is loaded
    again = models.features_run(str(small.base), small.folder, names, tmp_path)
    assert torch.equal(again[names], cache[names])


def test_features_follow_the_weights_of_a_local_folder(small, tmp_path, monkeypatch):
    base, name = shutil.copytree(small.base, tmp_path / "llava"), small.rows["image"][0]

    def made():
        models.features_run(str(base), small.folder, [name], tmp_path / "runs")
        return {path.name for path in (tmp_path / "runs").glob("features-*")}

    before = made()
    weights = load_file(base / "model.safetensors")
    projector = next(key for key in weights if "projector" in key)
    weights[projector] = weights[projector] + 1
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    assert len(made() - before) == 1
    # a run's folder is known by its name, which its own manifest guards
    (base / "DONE").touch()
    assert models._named(base) == "llava" and models._named("org/llava") == "org/llava"


def test_features_follow_the_pixels_not_the_names(small, tmp_path):
    name = small.rows["image"][0]
    for place, source in (("a", name), ("b", small.rows["image"][1])):
        (tmp_path / place / name).parent.mkdir(parents=True)
        (tmp_path / place / name).write_bytes((small.folder / source).read_bytes())
    a, b = (
        models.features_run(str(small.base), tmp_path / place, [name], tmp_path / "runs")[[name]]
        for place in "ab"
    )
    assert not torch.equal(a, b)
    assert len([p for p in (tmp_path / "runs").iterdir() if p.name.startswith("features-")]) == 2


def test_a_folded_adapter_says_the_same_without_its_own_products(small, adapter, features):
    from remem import predict

    rows, said = small.rows[::6], []
    for fold in (False, True):
        model, processor = models.load(small.base)
        model = models.load_adapter(model, adapter)
        if fold:
            models.fold(model)
            merged = [m for m in model.modules() if getattr(m, "merged", False)]
            assert merged
        said.append(predict.token_logps(model, processor, rows, features, 20))
    for apart, together in zip(*said, strict=True):
        np.testing.assert_allclose(apart, together, atol=1e-4)


def test_in_half_precision_nothing_is_folded(small, adapter):
    model, _ = models.load(small.base, dtype="bfloat16")
    model = models.load_adapter(model, adapter)
    models.fold(model)
    assert not any(getattr(module, "merged", False) for module in model.modules())
