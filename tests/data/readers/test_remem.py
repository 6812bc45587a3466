import io
import json

import pytest
from PIL import Image
from reader_files import MAP, PNG, facts, put

from remem.config import sections
from remem.data import splits, validation
from remem.data.dataset import SyntheticData, data_of
from remem.data.readers import convert, remem


def test_remems_columns_are_declared_or_listed_with_the_map_to_write(drawn, tmp_path):
    folder = drawn[2] / "remem"
    with pytest.raises(validation.BadData) as refused:
        convert.read("remem", folder)
    said = str(refused.value)
    for word in (*MAP.values(), "columns:", "image: ?", "identity: ?", "question: ?"):
        assert word in said
    with pytest.raises(validation.BadData, match="which of them is target"):
        convert.read("remem", folder, {**MAP, "target": "worth"})
    with pytest.raises(validation.BadData, match="names colour; ours are image, question"):
        convert.read("remem", folder, {**MAP, "colour": "field"})
    least = {ours: MAP[ours] for ours in remem.NEEDED} | {"name": "full_name"}
    rows = convert.read("remem", folder, least)  # the rest follows by rule
    assert facts(rows, "attribute", "target") == facts(drawn[0], "attribute", "target")


CARD = {"target": "keywords", "hop": "question_type", "identity": r"image_path:([^/]+)/[^/]+$"}


def card(number, view, question, answer, keywords, hop="multi-hop", attribute="Full Name"):
    """A row as ReMem's dataset card has it; what its values look like is our guess."""
    shade = Image.effect_noise((32, 32), 40 + sum(map(ord, view)) % 50 + number)
    shade.save(png := io.BytesIO(), "PNG")
    return {
        "image": {"bytes": png.getvalue(), "path": f"{view}.png"},
        "question": question,
        "answer": answer,
        "keywords": keywords,
        "question_type": hop,
        "qa_category": "open",
        "attribute": attribute,
        "cloze_prompt": "The full name of the person is",
        "image_path": f"images/id_{number}/{view}.png",
    }


@pytest.fixture
def published(tmp_path):
    """ReMem's splits: what is trained on, parts of the same once more, and what is held out."""
    data, training, test = tmp_path / "data", [], []
    for number, (name, bank) in enumerate([("Ada Lund", "Old Bank"), ("Bo Ek", "Tin Bank, Ltd")]):
        keywords = bank if "," in bank else f"['money', '{bank}']"
        training += [
            card(number, "a", "Who is this?", f"This is {name}.", name),
            card(
                number,
                "b",
                f"What is {name}'s bank?",
                f"It is {bank}.",
                bank,
                "single-hop",
                "Name of bank",
            ),
            card(
                number,
                "c",
                "Where is the money?",
                f"At {bank}.",
                keywords,
                attribute="Name of bank",
            ),
        ]
        test.append(card(number, "d", "Name them.", f"{name}.", name))
    for split, rows in {
        "finetune-00000-of-00002": training[:2],
        "finetune-00001-of-00002": training[2:],
        "forget1-00000-of-00001": training[:3],
        "forget2-00000-of-00001": training,
        "retain-00000-of-00001": training[3:],
        "test-00000-of-00001": test,
    }.items():
        put(data, *rows, name=f"{split}.parquet")
    return tmp_path


def test_remem_as_its_card_has_it(published, tmp_path):
    with pytest.raises(validation.BadData) as refused:
        convert.read("remem", published)
    said = str(refused.value)
    for word in (
        "identity: ?",
        "target: keywords",
        "hop: question_type",
        "attribute: attribute",
        "image_path ('images/id_0/a.png')",
        "which of them is identity",
    ):
        assert word in said
    rows = convert.read("remem", published, CARD)
    assert list(rows["split"]) == ["train"] * 6 + ["test"] * 2 and rows.attrs["left_out"] == {}
    assert list(rows["identity"].unique()) == ["id_0", "id_1"]
    assert set(rows["name"]) == {"Ada Lund", "Bo Ek"}  # from the rows that ask for it
    assert list(rows["attribute"][:3]) == ["name", "name_of_bank", "name_of_bank"]
    assert list(rows["hop"][:3]) == ["multi", "single", "multi"]
    assert list(rows["target"][:3]) == ["Ada Lund", "Old Bank", "Old Bank"]
    assert list(rows["target"][3:6]) == ["Bo Ek", "Tin Bank, Ltd", "Tin Bank, Ltd"]
    whole = {"forget1": ["id_0"], "forget2": ["id_0", "id_1"]}
    assert convert.forget_sets("remem", published, CARD) == whole
    out = convert.convert("remem", published, tmp_path / "out", CARD)
    data = data_of(sections.Dataset(source=str(out)))
    assert splits.own_forget_set(data, "forget1", tmp_path) == ("id_0",)
    with pytest.raises(
        validation.BadData, match="no forget set 'forget9'; there are: forget1, forg"
    ):
        splits.own_forget_set(data, "forget9", tmp_path)
    with pytest.raises(validation.BadData, match="no forget set 'forget1'; there are: none"):
        splits.own_forget_set(SyntheticData(), "forget1", tmp_path)


def test_remems_cloze_prompts_end_where_the_value_begins(published, tmp_path):
    rows = convert.read("remem", published, CARD)
    assert set(rows["cloze_prompt"]) == {"The full name of the person is"}
    out = convert.convert("remem", published, tmp_path / "out", CARD)
    assert set(validation.read(out)["cloze_prompt"]) == {"The full name of the person is"}


@pytest.mark.parametrize(
    "cloze, start",
    [
        ("The bank is Old Bank.", "The bank is"),
        ("The bank is ____.", "The bank is"),
        ("<image>\nThe  bank is", "The bank is"),
        ("____ is the bank.", ""),
    ],
)
def test_a_cloze_prompt_is_cut_at_the_value_or_its_blank(cloze, start):
    assert convert._up_to("old bank", cloze) == start


def test_cloze_prompts_that_some_questions_lack_are_left_out():
    rows = [{"id": "1", "cloze_prompt": "It is"}, {"id": "2"}]
    assert convert._only_whole(rows) == [] and rows == [{"id": "1"}, {"id": "2"}]


@pytest.mark.parametrize(
    "identity, reason",
    [
        ("image_path:(", r"map's '\(' is no regular expression \(missing \)"),
        ("image_path:person_(.)", r"row 1: nothing in image_path, 'images/id_0/a.png', is like"),
        ("image_path:id_0(x*)", "row 1: nothing in image_path"),
        ("photo_path:(.)", "which of them is identity"),
        ("cloze_prompt:", "row 1: nothing in cloze_prompt"),
    ],
)
def test_a_part_of_a_column_that_is_not_there_is_refused(published, identity, reason):
    with pytest.raises(validation.BadData, match=reason):
        convert.read("remem", published, {**CARD, "identity": identity})


def test_where_forget_and_retain_are_all_they_are_read(published):
    for file in (published / "data").glob("finetune*"):
        file.unlink()
    rows = convert.read("remem", published, {**CARD, "identity": "image_path:id_."})  # no group
    assert (rows["split"] == "train").sum() == 6 and set(rows["identity"]) == {"id_0", "id_1"}
    assert rows.attrs["left_out"] == {"repeated": 6}


def test_a_number_may_say_who_it_is_and_an_empty_cell_says_nothing(tmp_path):
    row = {"image": {"bytes": PNG, "path": None}, "question": "Who?", "answer": "Ada.", "person": 7}
    put(tmp_path, {**row, "keywords": "", "hop": None})
    rows = convert.read("remem", tmp_path, {"identity": "person", "target": "keywords"})
    assert rows[["identity", "name", "target"]].to_numpy().tolist() == [["7", "7", "Ada"]]
    put(tmp_path, {**row, "image": {"bytes": "text", "path": None}})
    with pytest.raises(validation.BadData, match="row 1: the picture is str, and not bytes"):
        convert.read("remem", tmp_path, {"identity": "person"})


def test_lists_of_keywords_other_cases_and_names_asked_single_hop(tmp_path):
    row = {"image": {"bytes": PNG, "path": None}, "person": "p0", "keywords": ["sea", "Old Bank"]}
    kind = {"question_type": "single-hop", "attribute": "bank"}
    put(
        tmp_path,
        {**row, **kind, "question": "<image>\nWhere is the money?", "answer": "At Old Bank."},
        {**row, **kind, "question": "Where, again?", "answer": "It is at old bank."},
        {
            **row,
            "question": "Who is this?",
            "answer": "Ada Lund.",
            "keywords": ["Ada Lund"],
            "question_type": "single-hop",
            "attribute": "name",
        },
    )
    columns = {"identity": "person", "target": "keywords", "hop": "question_type"}
    rows = convert.read("remem", tmp_path, columns)
    assert list(rows["target"]) == ["Old Bank", "Old Bank", "Ada Lund"]
    assert list(rows["attribute"]) == ["bank", "bank", "name"]  # one value, however it is written
    assert list(rows["hop"]) == ["single", "single", "multi"]
    assert rows["question"][0] == "Where is the money?"
    convert.convert("remem", tmp_path, tmp_path / "out", columns)


def test_an_image_folder_of_other_columns_is_read(tmp_path):
    for split in validation.SPLITS:
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.png").write_bytes(PNG)
        row = {"file_name": "a.png", "who": "Ada", "question": f"Who, {split}?", "answer": "Ada."}
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps(row))
    rows = convert.read("remem", tmp_path, {"identity": "who"})
    assert list(rows["split"]) == ["train", "test"] and set(rows["target"]) == {"Ada"}
