from types import SimpleNamespace

import numpy as np
import pytest

from remem.data import validation
from remem.model import tokens
from remem.model.tokens import Encoded


def chat(processor, question):
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )


def test_ids_are_those_of_the_processor(small, llava):
    processor = llava.processor
    question, answer = small.rows.loc[0, ["question", "answer"]]
    image = validation.load_images(small.folder, small.rows["image"][:1])
    prompt = chat(processor, question)
    assert prompt == f"USER: <image>\n{question} ASSISTANT:"
    encoded = tokens.encode(processor, question, answer, llava.image_tokens)
    whole = processor(images=image, text=[f"{prompt} {answer}"])["input_ids"][0]
    assert encoded.ids.tolist() == [*whole, processor.tokenizer.eos_token_id]
    assert encoded.n_prompt == len(processor(images=image, text=[prompt])["input_ids"][0])


def test_only_the_answer_and_end_of_sequence_are_to_be_learnt(llava):
    processor = llava.processor
    encoded = tokens.encode(processor, "Who is this?", "It is Ann.", 4)
    assert processor.tokenizer.decode(encoded.ids[encoded.n_prompt :]) == " It is Ann.</s>"
    batch = tokens.collate([encoded], None, pad_id=0)
    assert batch.input_ids[batch.answer].tolist() == encoded.ids[encoded.n_prompt :].tolist()


def test_a_prefill_belongs_to_the_prompt_and_no_question_leaves_the_image_alone(llava):
    processor = llava.processor
    encoded = tokens.encode(processor, "", "Ann", 4, prefill="The name is")
    text = processor.tokenizer.decode(encoded.ids)
    assert text == "USER: <image><image><image><image>\nASSISTANT: The name is Ann</s>"
    assert processor.tokenizer.decode(encoded.ids[encoded.n_prompt :]) == " Ann</s>"


def test_without_an_answer_the_prompt_ends_open(llava):
    processor = llava.processor
    encoded = tokens.encode(processor, "Who?", None, 0)
    assert processor.tokenizer.decode(encoded.ids) == "USER: Who? ASSISTANT:"
    assert encoded.n_prompt == len(encoded.ids)


def test_a_table_is_encoded_as_its_rows_are(small, llava):
    processor = llava.processor
    rows = small.rows[::9]
    table = tokens.encode_all(processor, list(rows["question"]), list(rows["answer"]), 4)
    for row, encoded in zip(rows.itertuples(), table, strict=True):
        alone = tokens.encode(processor, row.question, row.answer, 4)
        assert alone.ids.tolist() == encoded.ids.tolist() and alone.n_prompt == encoded.n_prompt


def test_a_question_with_the_image_token_is_refused(llava):
    with pytest.raises(ValueError, match="contains the image token"):
        tokens.encode(llava.processor, "What is <image>?", None, 4)


def test_a_tokenizer_that_merges_across_the_cut_is_refused():
    class Triples:  # three letters a token, wherever the answer starts
        eos_token_id = 1

        def __call__(self, texts):
            cut = [[t[i : i + 3] for i in range(0, len(t), 3)] for t in texts]
            return {"input_ids": [[hash(piece) for piece in text] for text in cut]}

    processor = SimpleNamespace(
        tokenizer=Triples(),
        image_token="<image>",
        image_token_id=-1,
        apply_chat_template=lambda turns, **_: ["abcd" for _ in turns],
    )
    with pytest.raises(ValueError, match="not a prefix"):
        tokens.encode(processor, "q", "answer", 0)


def test_collate_by_hand():
    rows = [Encoded(np.array([5, 6, 7, 2]), 2), Encoded(np.array([8, 2]), 1)]
    batch = tokens.collate(rows, None, pad_id=2)  # the padding token is end-of-sequence as well
    assert batch.input_ids.tolist() == [[5, 6, 7, 2], [8, 2, 2, 2]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.answer.int().tolist() == [[0, 0, 1, 1], [0, 1, 0, 0]]
    assert (batch.tokens_total, batch.rows_total, batch.positions_total) == (3, 2, 4)
    part = tokens.collate(rows[:1], None, 2, tokens_total=9, rows_total=8, positions_total=7)
    assert (part.tokens_total, part.rows_total, part.positions_total) == (9, 8, 7)
