import pytest
from mmbench_file import encoded, row

from remem.data.readers import mmbench
from remem.data.readers.mmbench import COLUMNS
from remem.data.validation import BadData


def test_a_file_as_mmbench_writes_it_is_read(tsv):
    path = tsv(
        row("241", hint="One line.\nAnother.", C="NA", answer="C", source="web", image=encoded()),
        row("7", image="241", D="", C="None "),
        row("1000241", A="blue", B="NA", C="red", image="241"),  # a rotation of the file's own
        row("1000300", image=encoded(kind="JPEG")),  # no rotation: there is no question 300
    )
    table = mmbench.read_mmbench(path)
    assert list(table["index"]) == ["241", "7", "1000300"]
    assert list(table["C"]) == ["NA", "None", ""] and table["hint"][0] == "One line.\nAnother."
    assert table["image"][1] == encoded()
    assert [mmbench.picture(cell).mode for cell in table["image"]] == ["RGB"] * 3


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row("x"), "index 'x': the index should be a whole number"),
        (row("1"), "index '1': the same index as in a row before"),
        (row("2", question=" "), "index '2': question is empty"),
        (row("2", category=""), "category is empty"),
        (row("2", answer=""), "answer is empty; MMBench's test split has none"),
        (row("2", answer="C"), "the answer 'C' is not among the options A, B"),
        (row("2", answer="AB"), "the answer 'AB' is not among"),
        (row("2", B=""), "options are filled from A on, at least two; here A"),
        (row("2", D="green"), "options are filled from A on, at least two; here ABD"),
        (row("2", image=""), r"the picture cannot be decoded \(it is neither PNG nor JPEG\)"),
        (row("2", image="99"), "the picture is not in base64"),
        (row("2", image=encoded(kind="GIF")), "neither PNG nor JPEG"),
        (row("2", image=encoded((64, 64))[:160]), "the picture cannot be decoded"),
        (row("2", image=encoded((4097, 4096))), "4097 x 4096 pixels are more than is safe"),
    ],
)
def test_a_row_that_is_not_in_order_is_named(tsv, bad, reason):
    with pytest.raises(BadData, match=rf"mmbench.tsv, .*{reason}"):
        mmbench.read_mmbench(tsv(row("1"), bad))


def test_a_file_that_is_no_table_is_refused(tsv, tmp_path):
    for content, reason in (
        (b"", "cannot be read as tab-separated text"),
        (b"\xff\xfe\x00", "cannot be read as tab-separated text"),
        (b"index\tquestion\n", r"column\(s\) hint, A, B, C, D, answer, category, image, split"),
        ("\t".join(COLUMNS).encode(), "holds no row"),
        (("\t".join(COLUMNS) + "\n" + "\t" * 20).encode(), "more cells than the first line"),
    ):
        (path := tmp_path / "m.tsv").write_bytes(content)
        with pytest.raises(BadData, match=f"m.tsv: .*{reason}"):
            mmbench.read_mmbench(path)
    with pytest.raises(
        BadData, match=r"experiments.ability.source: .*none.tsv.*MMBench_DEV_EN.tsv"
    ):
        mmbench.read_mmbench(tmp_path / "none.tsv")
