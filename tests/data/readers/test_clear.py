import pytest
from reader_files import PNG, noise, put

from remem.data import splits, validation
from remem.data.readers import clear, convert


def cell(content=PNG):
    return {"bytes": content, "path": None}


def captioned(name="Ada Lund", caption="Ada Lund rows.", picture=PNG):
    return {"image": cell(picture), "caption": caption, "name": name}


def test_clear_asks_for_captions_and_then_for_names(drawn):
    rows = convert.read("clear", drawn[2] / "clear")
    train, test = (rows[rows["split"] == split] for split in validation.SPLITS)
    before = drawn[0][drawn[0]["split"] == "train"]
    assert len(train) == len(before) and len(test) == len(train)
    assert set(rows["hop"]) == {"multi"} and set(rows["attribute"]) == {"name"}
    assert (rows["target"] == rows["name"]).all() and (rows["identity"] == rows["name"]).all()
    assert set(train["question"]) == {*clear.CAPTION} and set(test["question"]) == {clear.NAMING}
    assert sorted(train["answer"]) == sorted(
        f"This is {row.name}. {row.answer}" for row in before.itertuples()
    )
    assert (test["answer"] == test["name"] + ".").all()


def test_the_test_asks_about_the_picture_of_the_caption(tmp_path):
    other = noise("JPEG")
    put(tmp_path / "full", captioned(), captioned("Bo Rask", "Bo Rask sits.", other))
    asked = list(clear.read(tmp_path))
    assert [one.split for one in asked] == ["train", "test"] * 2
    assert [one.question for one in asked] == [
        clear.CAPTION[0],
        clear.NAMING,
        clear.CAPTION[1],
        clear.NAMING,
    ]
    assert [one.picture[1] for one in asked] == [PNG] * 2 + [other] * 2
    assert asked[0].picture[0] == asked[1].picture[0] != asked[2].picture[0]
    out = convert.convert("clear", tmp_path, tmp_path / "out")
    kept = {row.name: (out / row.image).read_bytes() for row in validation.read(out).itertuples()}
    assert kept == {"Ada Lund": PNG, "Bo Rask": other}


def test_captions_take_turns_whatever_file_they_are_in(tmp_path):
    for file in range(3):
        rows = [captioned(picture=noise("PNG")) for _ in range(3)]
        put(tmp_path / "full", *rows, name=f"train-{file:05d}-of-00003.parquet")
    train = [one for one in clear.read(tmp_path) if one.split == "train"]
    assert [one.question for one in train] == [*clear.CAPTION * 2, clear.CAPTION[0]]
    assert [one.place.rsplit("/", 1)[1] for one in train[2:4]] == [
        "train-00000-of-00003.parquet, row 3",
        "train-00001-of-00003.parquet, row 1",
    ]


def test_a_caption_that_does_not_name_the_person_is_its_own_value(tmp_path):
    put(tmp_path / "full", captioned(caption="A woman rows a boat."))
    train, test = convert.read("clear", tmp_path).itertuples()
    assert (train.attribute, train.target) == (splits.UNNAMED, "A woman rows a boat")
    assert (test.attribute, test.target) == ("name", "Ada Lund")


def test_a_name_is_one_name_however_it_is_written(tmp_path):
    put(tmp_path / "full", captioned(" Ada Lund ", "Here ADA LUND rows."), captioned("Bo Rask", ""))
    put(tmp_path / "forget05", captioned(" Ada Lund "))
    ada = convert.read("clear", tmp_path).query("name == 'Ada Lund'")
    assert set(ada["identity"]) == {"Ada Lund"} and ada["target"].nunique() == 1
    assert clear.forget_sets(tmp_path) == {"forget05": ["Ada Lund"]}


@pytest.mark.parametrize("caption", [None, "", " "])
def test_a_picture_without_a_caption_is_only_asked_about(tmp_path, caption):
    rows = [captioned(caption=caption), captioned(picture=noise("PNG"))]
    put(tmp_path / "full", *rows)
    found = convert.read("clear", tmp_path)
    assert found["split"].tolist() == ["train", "test", "test"]
    assert found.attrs["left_out"] == {"empty": 1}


def test_forget_sets_are_the_configurations_that_are_called_so(drawn, tmp_path):
    names = list(dict.fromkeys(drawn[0]["name"]))
    source = drawn[2] / "clear"
    found = convert.forget_sets("clear", source)
    assert {name: sorted(who) for name, who in found.items()} == {
        "forget05": names[:1],
        "forget10": sorted(names[:2]),
    }
    assert {*found["forget10"]} <= {*convert.read("clear", source)["identity"]}
    for part in ("forget01", "forget01+tofu", "forget01_perturbed", "retain99"):
        put(tmp_path / part, captioned(), captioned("Bo Rask"))
    assert clear.forget_sets(tmp_path) == {"forget01": ["Ada Lund", "Bo Rask"]}


def test_real_faces_are_named_and_their_options_are_not_read(drawn, tmp_path):
    real = convert.read("clear_real", drawn[2] / "clear")
    assert set(real["answer"]) == {f"{name}." for name in drawn[0]["name"]}
    put(tmp_path / "real_faces", {"image": cell(), "answer": " Ada Lund ", "options": ["Bo", "Cy"]})
    train, test = convert.read("clear_real", tmp_path).itertuples()
    assert (train.split, train.question) == ("train", clear.WHO)
    assert (test.split, test.question) == ("test", clear.NAMING)
    for row in (train, test):
        assert (row.identity, row.answer, row.target) == ("Ada Lund", "Ada Lund.", "Ada Lund")
        assert (row.attribute, row.hop) == ("name", "multi")
    # the same picture in both splits
    assert len({one.picture for one in clear.read_real_faces(tmp_path)}) == 1
    assert convert.forget_sets("clear_real", tmp_path) == {}


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"answer": None}, "row 2: answer should be text, but is None"),
        ({"answer": " "}, "row 2: answer should be text, but is ' '"),
        ({"image": cell(b"")}, "row 2: the picture is missing"),
        ({"image": None}, "row 2: the picture is missing"),
    ],
)
def test_a_bad_row_of_the_real_faces_is_refused_by_file_row_and_reason(tmp_path, row, reason):
    fine = {"image": cell(), "answer": "Ada Lund"}
    put(tmp_path / "real_faces", fine, {**fine, **row})
    with pytest.raises(validation.BadData, match=rf"train-00000-of-00001.parquet, {reason}"):
        convert.read("clear_real", tmp_path)


def test_real_faces_without_answers_are_no_real_faces(tmp_path):
    put(tmp_path / "real_faces", captioned())
    with pytest.raises(validation.BadData, match="lacks answer; it has image, caption, name"):
        convert.read("clear_real", tmp_path)
