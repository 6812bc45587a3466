import base64
import io
import itertools
import random

import pytest
from mmbench_file import encoded, row
from PIL import Image

from remem.data.readers import mmbench
from remem.data.readers.mmbench import COLUMNS
from remem.data.validation import BadChoice, BadData


def test_a_file_as_mmbench_writes_it_is_read(tsv):
    path = tsv(
        row("241", hint="One line.\nAnother.", C="NAB", answer="C", source="web", image=encoded()),
        row("7", image="241", D="", C="none of them "),
        row("1000241", A="blue", B="NAB", C="red", image="241"),  # a rotation of the file's own
        row("1000300", image=encoded(kind="JPEG")),  # no rotation: there is no question 300
    )
    table, left_out = mmbench.inspect(path)
    assert left_out == {} and mmbench.in_words(path, len(table), left_out) == ""
    assert mmbench.read_mmbench(path).equals(table) and list(table) == list(COLUMNS)
    assert list(table["index"]) == ["241", "7", "1000300"]
    assert list(table["C"]) == ["NAB", "none of them", ""]
    assert table["hint"][0] == "One line.\nAnother."
    assert table["image"][1] == encoded()
    assert [mmbench.picture(cell).mode for cell in table["image"]] == ["RGB"] * 3


# pandas' words for a missing value, which both tools read with, and LLaVA's own two in any case.
NOTHING = ["nan", "NaN", "None", "none", "NONE", "Nan", "NA", "N/A", "null", "NULL", "<NA>", "#N/A"]


@pytest.mark.parametrize("word", [*NOTHING, "", " ", " nan "])
def test_what_the_formats_tools_take_for_nothing_is_nothing(tsv, word):
    nothing = dict.fromkeys(("hint", "C", "D", "category"), word)
    table, left_out = mmbench.inspect(tsv(row("1", **nothing, **{"l2-category": word})))
    assert left_out == {} and table.loc[0, [*nothing]].tolist() == [""] * 4
    assert mmbench.options(table.to_dict("records")[0]) == ["red", "blue"]
    _, left_out = mmbench.inspect(tsv(row("1"), row("2", question=word), row("3", answer=word)))
    assert [*itertools.chain(*left_out.values())] == ["index 2", "index 3"]
    _, left_out = mmbench.inspect(tsv(row("1"), row("2", C=word, answer="C")))
    assert left_out == {"the answer 'C' is not among the options A, B": ["index 2"]}


def test_options_go_as_far_as_there_are_columns(tsv):
    path = tsv(row("1", C="green", D="pink", E="grey", answer="E"), row("2", E="nan"), row("3"))
    table = mmbench.read_mmbench(path)
    assert list(table) == ["index", "question", "hint", *"ABCDE", *COLUMNS[7:]]
    assert list(table["E"]) == ["grey", "", ""] and list(table["answer"]) == ["E", "B", "B"]
    many = {letter: letter.lower() for letter in mmbench.LETTERS}
    found = mmbench.read_mmbench(tsv(row("1", **many, answer="Z"))).to_dict("records")[0]
    assert len(mmbench.options(found)) == 26


def test_only_what_the_tools_need_has_to_be_there(tsv):
    lean = {key: value for key, value in row("7.0").items() if key in mmbench.NEEDED}
    table = mmbench.read_mmbench(tsv(lean, {**lean, "index": "8.0", "image": "7.0"}))
    assert list(table) == list(COLUMNS) and list(table["index"]) == ["7", "8"]
    assert table["image"][1] == encoded() and table.loc[0, "category"] == ""


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (f"['{encoded()}', '{encoded()}']", "several pictures in one cell"),
        (f'["{encoded()}","{encoded(kind="JPEG")}"]', "several pictures in one cell"),
        (f"{encoded()},{encoded()}", "several pictures in one cell"),
        (f"{encoded()} {encoded()}", "several pictures in one cell"),
        (f"{encoded(kind='JPEG')}\n{encoded()}", "several pictures in one cell"),
        (f"{encoded()};{encoded()}", "several pictures in one cell"),
        ("['1', '1']", "several pictures in one cell"),
        (f"data:image/png;base64,{encoded()},data:image/png;base64,{encoded()}", "several"),
        (f"['{encoded()}']", ""),
        (f'["{encoded()}"]', ""),
        (f"data:image/png;base64,{encoded()}", ""),
        (base64.encodebytes(base64.b64decode(encoded((90, 90)))).decode(), ""),  # wrapped
        (" " + encoded() + "\n", ""),
        ("", "there is no picture"),
        ("[]", "the picture cannot be decoded"),
        ("nan", "there is no picture"),
        ("99", "the picture is that of a row which is not there"),
        ("images/7.jpg", "the picture is not in base64"),
        ("\u7d75", "the picture is not in base64"),
        (encoded()[:-3], "the picture is not in base64"),
        (encoded()[:60], "the picture cannot be decoded"),
        *((encoded(kind=kind), "") for kind in ("GIF", "WEBP", "BMP")),
        (encoded(kind="TIFF"), "it is neither PNG nor JPEG nor WEBP nor GIF nor BMP"),
        (encoded((64, 64))[:160], "the picture cannot be decoded"),
        (encoded((4097, 4096)), "4097 x 4096 pixels are more than is safe"),
    ],
    ids=itertools.count(),
)
def test_a_cell_holds_one_picture(tsv, cell, reason):
    table, left_out = mmbench.inspect(tsv(row("1"), row("2", image=cell)))
    if not reason:
        assert left_out == {} and mmbench.picture(table["image"][1]).mode == "RGB"
        return
    assert list(table["index"]) == ["1"]
    [(why, rows)] = left_out.items()
    assert reason in why and rows == ["index 2"]


def test_a_picture_may_be_lent_by_a_row_that_has_a_lent_one_itself(tsv):
    path = tsv(row("1", image="4"), row("2"), row("3", image="2"), row("4", image="3"))
    table, left_out = mmbench.inspect(path)
    assert list(table["image"]) == [encoded()] * 4 and left_out == {}
    path = tsv(row("1", image="2"), row("2", image="1"), row("3", image="3"), row("4"))
    table, left_out = mmbench.inspect(path)  # nobody has one to lend
    assert list(table["index"]) == ["4"] and sum(map(len, left_out.values())) == 3


def test_a_row_without_index_lends_nobody_its_picture(tsv):
    table, left_out = mmbench.inspect(tsv(row(""), row("1", image=""), row("2")))
    assert list(table["index"]) == ["2"] and left_out["there is no picture"] == ["index 1"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row("x"), "the index should be a whole number (row 2)"),
        (row("1" * 5000), "the index should be a whole number (row 2)"),
        (row("", image=encoded((30, 30))), "the index should be a whole number (row 2)"),
        (row("1"), "the same index as in a row before (index 1)"),
        (row("2", question=" "), "question is empty (index 2)"),
        (row("2", answer=""), "answer is empty; MMBench's test split has none, use dev (index 2)"),
        (row("2", answer="C"), "the answer 'C' is not among the options A, B (index 2)"),
        (row("2", answer="AB"), "the answer 'AB' is not among the options A, B"),
        (row("2", B=""), "options are filled from A on, at least two; here A (index 2)"),
        (row("2", D="green"), "options are filled from A on, at least two; here ABD"),
        (row("2", question="<image>\nWhat?"), "question holds <image>, which stands for something"),
        (row("2", hint="a </s> b"), "hint holds </s>"),
        (row("2", B="<image>"), "B holds <image>"),
        (row("2", question="x" * 10_001), "question has more than 10,000 characters"),
        (row("2", hint="a\x07b"), "hint holds a control character, or one that is not in UTF-8"),
        (row("2", category="\ufffd"), "category holds a control character, or one that is not"),
    ],
)
def test_a_row_that_cannot_be_asked_is_left_out_and_said(tsv, bad, reason):
    path = tsv(row("1"), bad, row("9"))
    table, left_out = mmbench.inspect(path)
    assert list(table["index"]) == ["1", "9"]
    said = mmbench.in_words(path, len(table), left_out)
    assert said.startswith(f"{path}: 1 row left out, 2 asked: 1 x {reason}"), said
    alone = tsv({**bad, "index": "x"})
    with pytest.raises(BadData, match=r"mmbench\.tsv: 1 row left out, 0 asked: 1 x"):
        mmbench.read_mmbench(alone)


def test_a_row_that_is_not_in_utf8_is_left_out_alone(tsv):
    path = tsv(row("1"), row("2", question="Qu\xe9?"), row("3"))
    path.write_bytes(path.read_text("utf-8").encode("latin-1"))
    table, left_out = mmbench.inspect(path)
    assert list(table["index"]) == ["1", "3"]
    assert left_out == {
        "question holds a control character, or one that is not in UTF-8": ["index 2"]
    }


def test_what_is_said_of_many_rows_is_short(tsv):
    bad = [row(str(k), answer="C") for k in range(2000, 3000)]
    bad += [row(str(k), answer=f"{k}") for k in range(20)]
    path = tsv(row("99999"), *bad)
    table, left_out = mmbench.inspect(path)
    said = mmbench.in_words(path, len(table), left_out)
    assert "1,020 rows left out, 1 asked: 1,000 x the answer 'C'" in said
    assert "(index 2000, index 2001, index 2002, index 2003, index 2004, ...)" in said
    assert said.endswith("; and 11 reasons more") and len(said) < 1500


def test_a_row_of_another_width_is_left_out_wherever_it_stands(tsv):
    plain = [row(str(k)) for k in range(3)]
    for at in range(3):
        for more in ("\tx", "\tx\ty", "\t\tz"):
            lines = tsv(*plain).read_text().splitlines()
            lines[1 + at] += more
            lines += ["", "\t" * 5, "9\tshort"]
            path = tsv(*plain)
            path.write_text("\n".join(lines) + "\n")
            table, left_out = mmbench.inspect(path)
            assert list(table["index"]) == [str(k) for k in range(3) if k != at]
            [[rows]] = [rows for why, rows in left_out.items() if why.startswith("more cells")]
            assert rows in (f"index {at}", f"line {2 + at}")
            assert ["index 9"] in left_out.values()
    path.write_text("\n".join(line + "\t" for line in tsv(*plain).read_text().splitlines()))
    table, left_out = mmbench.inspect(path)  # a tab at the end of every line is no cell
    assert len(table) == 3 and left_out == {}


@pytest.mark.parametrize("name", ["none.tsv", "a\0b", "x" * 300, "\ud800", "."])
def test_a_file_that_is_not_there_is_told_with_where_to_get_it(tmp_path, name):
    with pytest.raises(BadChoice, match=r"^experiments.ability.source: .*MMBench_DEV_EN.tsv"):
        mmbench.read_mmbench(tmp_path / name)


def test_a_file_that_is_no_table_is_refused(tsv, tmp_path):
    for content, reason in (
        (b"", "cannot be read as tab-separated text"),
        ("index".encode("utf-16"), "is not in UTF-8 but in UTF-16"),
        (b"index\tquestion\n", r"A, B, answer, image of MMBench are missing; .*'index, question'"),
        (b"index,question,A,B\n1,x,y,z", r"are missing; there are 'index,question,A,B'"),
        (b"<!doctype html><html>", r"are missing; there are '<!doctype html><html>'"),
        ("\t".join(COLUMNS).encode(), "holds no row"),
        (("\t".join(COLUMNS) + "\n" + "\t" * 20).encode(), "more cells than the first line"),
        (("\t".join(COLUMNS) + '\n1\t"no end').encode(), "cannot be read as tab-separated text"),
    ):
        (path := tmp_path / "m.tsv").write_bytes(content)
        with pytest.raises(BadData, match=f"m.tsv.*{reason}"):
            mmbench.read_mmbench(path)


GIF = io.BytesIO()
Image.new("P", (20, 20)).save(GIF, "GIF")
CELLS = [
    *NOTHING,
    *"ABCDE",
    *(
        "1",
        "2",
        "3.0",
        "-1",
        "1000001",
        "\u0663",
        "1e9",
        "<image>",
        '"',
        '""x',
        "[",
        "[]",
        "\\",
        "\0",
    ),
    *("", " ", "a\tb", "a\nb", "\u200b", "\ud800", "\u7d75", "x" * 200),
    *(encoded(), encoded()[:40], base64.b64encode(GIF.getvalue()).decode(), f"['{encoded()}']"),
]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path, seed):
    rng = random.Random(seed)
    head = rng.sample([*COLUMNS, "E"], 12)[: rng.randint(10, 12)]
    rows = [[row(str(k))[name] if name in COLUMNS else "" for name in head] for k in range(4)]
    for _ in range(rng.randint(1, 8)):
        cells = rng.choice(rows)
        cells[rng.randrange(len(cells))] = rng.choice(CELLS)
        if rng.random() < 0.2:
            cells.append(rng.choice(CELLS))
    path = tmp_path / "m.tsv"
    path.write_text("\n".join(map("\t".join, [head, *rows])), "utf-8", errors="surrogatepass")
    try:
        found, left_out = mmbench.inspect(path)
    except BadData as error:
        assert str(path) in str(error)
        return
    for each in found.to_dict("records"):
        options = mmbench.options(each)
        assert len(options) > 1 and each["answer"] in list(mmbench.LETTERS[: len(options)])
        assert not {value.casefold() for value in options} & {"nan", "none", "na", "null"}
        mmbench.picture(each["image"])
    assert mmbench.in_words(path, len(found), left_out).count(" x ") == len(left_out)
