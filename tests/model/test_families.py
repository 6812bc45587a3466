"""Families of vision-language models, each with random weights, its true processor and template."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from families import FAMILIES
from PIL import Image

from remem.evaluation import base_abilities
from remem.model import adapters, inference, loading, scores, tokens
from remem.model.features import Features, look

SIZES = [(64, 64), (64, 48), (40, 90), (64, 64)]  # of pictures, width and height
QUESTIONS = ["Who is this?", "Who is in the image, and where does Ann live?", "", "Is it Bo?"]
ANSWERS = ["It is Ann Bell.", "Ann lives in Oslo.", "A judge.", "No."]


@pytest.fixture(scope="module", params=[*FAMILIES])
def family(request, tmp_path_factory):
    """A network of each family, with an adapter, pictures of several sizes and rows about them."""
    with pytest.MonkeyPatch.context() as patch:
        # SmolVLM's processor asks for a package that spells the numbers of videos.
        patch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", str)
        folder = FAMILIES[request.param](tmp_path_factory.mktemp(request.param))
        network = loading.load(folder)
    pictures = [
        Image.effect_noise(size, 40 + 20 * k).convert("RGB") for k, size in enumerate(SIZES)
    ]
    images = [f"{k}.png" for k in range(len(pictures))]
    rows = pd.DataFrame(
        {"image": images, "question": QUESTIONS, "answer": ANSWERS, "attribute": "job"}
    )
    adapted = adapters.add_adapter(network, rank=4, alpha=8, seed=0)
    with torch.no_grad():
        for name, weight in adapted.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    adapted.model.eval()
    return SimpleNamespace(
        network=adapted,
        pictures=pictures,
        rows=rows,
        features=Features.of(images, *look(adapted, pictures)),
        folder=folder,
    )


def asked(network, question):
    content = [{"type": "image"}, *([{"type": "text", "text": question}] if question else [])]
    turn = [{"role": "user", "content": content}]
    return network.processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)


def in_the_usual_way(network, picture, text):
    """What the processor makes of a picture and a text, on the network's terms."""
    first = network.processor.tokenizer.bos_token
    made = network.processor(
        images=[[picture]],
        text=[text],
        return_tensors="pt",
        add_special_tokens=not text.startswith(first),
    )
    return {name: values for name, values in made.items()}


def test_ids_are_those_of_the_processor(family):
    network, rows = family.network, family.rows
    layouts = family.features.layouts(list(rows["image"]))
    found = tokens.encode_all(network.processor, QUESTIONS, ANSWERS, layouts)
    for picture, row, encoded in zip(family.pictures, rows.itertuples(), found, strict=True):
        prompt = asked(network, row.question)
        space = "" if prompt[-1].isspace() else " "
        whole = in_the_usual_way(network, picture, f"{prompt}{space}{row.answer}")["input_ids"][0]
        assert encoded.ids.tolist() == [*whole, network.processor.tokenizer.eos_token_id]
        assert encoded.n_prompt == in_the_usual_way(network, picture, prompt)["input_ids"].numel()
        assert (whole == network.kind.token).sum() == len(family.features[[row.image]][0])


def test_logits_are_those_of_the_picture_itself(family):
    network, rows = family.network, family.rows
    layouts = family.features.layouts(list(rows["image"]))
    encoded = tokens.encode_all(network.processor, QUESTIONS, ANSWERS, layouts)
    batch = tokens.collate(encoded, family.features[list(rows["image"])], pad_id=0)
    with torch.no_grad():
        found = scores.score(network, batch, "all")
    for k, (picture, row) in enumerate(zip(family.pictures, rows.itertuples(), strict=True)):
        prompt = asked(network, row.question)
        space = "" if prompt[-1].isspace() else " "
        given = in_the_usual_way(network, picture, f"{prompt}{space}{row.answer}")
        with torch.no_grad():
            logits = network.model(**given).logits[0]
        mine = found.logits[found.row == k]
        assert logits.std() > 0.1
        torch.testing.assert_close(mine, logits, atol=2e-4, rtol=1e-3)


def test_lora_is_on_the_language_model_alone(family):
    network = family.network
    reader = network.language_model
    inside = {name for name, _ in reader.named_parameters() if "lora_" in name}
    trained = [name for name, weight in network.model.named_parameters() if weight.requires_grad]
    assert len(trained) == len(inside) == 2 * 2 * 7  # layers, A and B, projections
    assert not any("vision" in name or "project" in name.split("lora")[0] for name in inside)


def test_batched_answers_equal_one_by_one(family):
    network, features = family.network, family.features
    rows = pd.concat([family.rows, family.rows.assign(question="Where does Bo live?")])
    together = inference.answers(network, rows, features, batch=8, max_new_tokens=6)
    alone = inference.answers(network, rows, features, batch=1, max_new_tokens=6)
    assert together == alone and len(set(alone)) > 3
    drafts = [answer[: len(answer) // 2] for answer in alone]
    assert inference.answers(network, rows, features, 3, 6, drafts) == alone
    blind = inference.answers(network, rows, None, batch=8, max_new_tokens=6)
    assert blind == inference.answers(network, rows, None, batch=1, max_new_tokens=6) != alone


def test_answers_are_those_of_generate(family):
    network = family.network
    found = inference.answers(network, family.rows, family.features, batch=4, max_new_tokens=6)
    for picture, row, answer in zip(family.pictures, family.rows.itertuples(), found, strict=True):
        given = in_the_usual_way(network, picture, asked(network, row.question))
        out = network.llava.generate(**given, do_sample=False, max_new_tokens=6)
        new = out[0, given["input_ids"].shape[1] :]
        said = network.processor.tokenizer.decode(new, skip_special_tokens=True).strip()
        assert answer == said


CANDIDATES = {"job": ["judge", "judge in Oslo", "pilot", "a pilot from Oslo", "baker", "x"]}


def test_exposure_equals_a_plain_forward_per_candidate(family):
    network, features = family.network, family.features
    rows = family.rows.assign(hop="multi", name="Ann Bell", cloze_prompt="Ann Bell is a")
    found = inference.candidate_logps(network, rows, features, CANDIDATES, "plain", 16)
    few = inference.candidate_logps(network, rows, features, CANDIDATES, "plain", 2)
    for row, given, by_two in zip(rows.itertuples(), found, few, strict=True):
        plain = []
        for value in CANDIDATES["job"]:
            layouts = features.layouts([row.image])
            [whole] = tokens.encode_all(
                network.processor, [""], [value], layouts, [row.cloze_prompt]
            )
            whole = whole._replace(ids=whole.ids[:-1])  # no end-of-sequence
            batch = tokens.collate([whole], features[[row.image]], 0)
            with torch.no_grad():
                plain.append(scores.score(network, batch).logp.mean().item())
        assert given.tolist() == pytest.approx(plain, abs=1e-4)
        assert by_two.tolist() == pytest.approx(plain, abs=1e-4)
        assert np.std(plain) > 0.01


def test_what_enters_the_language_model_is_what_it_reads(family):
    network, row = family.network, family.rows.iloc[2]
    layouts = family.features.layouts([row.image])
    encoded = tokens.encode_all(network.processor, ["Who?"], ["Ann."], layouts)
    batch = tokens.collate(encoded, family.features[[row.image]], pad_id=0)
    shown = scores.image_inputs(network, batch.input_ids, batch.features, batch.inputs)
    with torch.no_grad():
        entering = scores.entering(network, batch)
        found = network.language_model(**entering, use_cache=False).last_hidden_state
        whole = network.llava.model(input_ids=batch.input_ids, use_cache=False, **shown)
    torch.testing.assert_close(found, whole.last_hidden_state)
    size = base_abilities.size(network)
    assert size["width"] == 32 and size["layers"] == 2
    assert size["parameters, language model"] < size["parameters, all"]
