"""files: an odd file is passed over with its reason, and what is nobody's is not seen."""

import pytest

from remem import paths
from remem.report import written
from remem.site import files
from remem.site.files import Files


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "No columns"),
        (b"\xff", "codec"),
        (b"a,b\n1,2,3\n4,5,6\n", "more cells than the first line"),
        (b'a,b\n"1,2\n', "EOF"),
        (b"a\n" + b"," * 300, ""),
        (",".join(f"c{k}" for k in range(300)).encode(), "300 columns"),
    ],
)
def test_what_is_no_table_is_kept_with_its_reason(folders, content, reason):
    kept, file = Files(folders), paths.write(folders.tables / "t.csv", content)
    assert kept.read(file) is None and reason in kept.broken[file]
    assert kept.read(folders.tables / "none.csv") is None and len(kept.broken) == 1


def test_a_table_that_is_too_large_is_not_read(folders, monkeypatch):
    monkeypatch.setattr(written, "MAX_BYTES", 3)
    kept, file = Files(folders), paths.write(folders.tables / "t.csv", "a\n1\n")
    assert kept.read(file) is None and "4 bytes" in kept.broken[file]


def test_a_column_of_numbers_is_one_and_a_word_stays_a_word(folders):
    file = paths.write(folders.tables / "t.csv", "answer,EM,n\nNone,95.04,3\nNA,,4\n")
    found = files.table(file)
    assert [*found["answer"]] == ["None", "NA"] and [*found["n"]] == [3, 4]
    assert found["EM"].isna().tolist() == [False, True]
    assert [files.text(value) for value in ("None", float("nan"), 3)] == ["None", "", "3"]


def test_whatever_a_reader_raises_is_the_files(folders):
    kept, file = Files(folders), paths.write(folders.tables / "t.csv", "a\n1\n")
    assert kept.read(file, lambda _: 1 / 0) is None
    assert kept.broken == {file: "ZeroDivisionError: division by zero"}


def test_what_is_no_file_of_ours_is_passed_over(folders):
    mine = paths.write(folders.tables / "t.csv", "a\n1\n")
    for name in ("._t.csv", "~$t.csv", "t.txt"):
        paths.write(folders.tables / name, "x")
    (folders.tables / "folder.csv").mkdir()
    (folders.tables / "link.csv").symlink_to("nowhere")
    assert files.listed(folders.tables, ".csv") == {"t": mine}
    assert files.listed(folders.figures, ".png") == {}


@pytest.mark.parametrize("content", ["", "[]", "5", "{", '{"scale": [], "data": 5}', b"\xff"])
def test_a_layout_that_says_nothing_says_nothing(folders, content):
    paths.write(folders.layout, content)
    assert Files(folders).layout() == {}


def test_a_layout_says_what_is_text_in_it(folders):
    assert Files(folders).layout() == {}
    paths.write(folders.layout, '{"layout": 2, "scale": "tiny"}')
    assert Files(folders).layout() == {"scale": "tiny"}
