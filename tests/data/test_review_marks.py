import io

import pandas as pd
import pytest
from PIL import Image

from remem import paths
from remem.data import review_marks

HEAD = ",".join(review_marks.COLUMNS) + "\n"


def line(image="train/0.png", mark="keep", reason="", identity="p00", pixels="a" * 64) -> str:
    return f"{identity},{image},{pixels},{mark},{reason}\n"


def test_decisions_of_a_file_and_of_a_folder(tmp_path):
    drop = line("b.png", "drop", "ethics", pixels="b" * 64)
    paths.write(tmp_path / "p00.csv", "\ufeff" + HEAD + line() + drop)
    noted = HEAD.replace("\n", ",note\r\n") + line().replace("\n", ",mine\r\n")
    paths.write(tmp_path / "p00 (1).csv", noted)
    paths.write(tmp_path / "p01.csv", HEAD + line(identity="p01", mark="drop", reason="artefacts"))
    assert [*review_marks.decisions(tmp_path / "p00.csv").decision] == ["keep", "drop"]
    every = review_marks.decisions(tmp_path)
    assert tuple(every.columns) == review_marks.COLUMNS and len(every) == 3
    assert sorted(every.reason) == ["", "artefacts", "ethics"]
    paths.make_folder(tmp_path / "none")
    assert review_marks.decisions(tmp_path / "none").empty


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first line should be identity,image,fingerprint,decision,reason"),
        ("identity,image\na,b\n", "lacks fingerprint, decision, reason"),
        (HEAD.replace(",", ";") + line(), "its first line should be"),
        (HEAD + line(mark="maybe"), "line 2: the mark is 'maybe'; allowed are keep"),
        (HEAD + line(mark="Keep"), "line 2: the mark is 'Keep'"),
        (HEAD + line(mark=""), "line 2: the mark is ''"),
        (HEAD + line(mark="drop"), "the mark is 'drop'; allowed are keep, without a reason, and"),
        (HEAD + line(mark="drop", reason="ugly"), "drop with one of artefacts, alignment"),
        (HEAD + line(reason="ethics"), "the mark is 'keep ethics'"),
        (HEAD + line() + line(pixels="1.2E+63"), "line 3: the fingerprint is not 64"),
        (HEAD + line(pixels="A" * 64), "line 2: the fingerprint is not 64"),
        (HEAD + "p00,a.png\n", "line 2: it has more or fewer fields"),
        (HEAD + line()[:-1] + ",more\n", "line 2: it has more or fewer fields"),
        (
            HEAD + line() + line(mark="drop", reason="ethics"),
            "line 3: train/0.png is marked 'drop ethics' here and 'keep' in",
        ),
        (HEAD + '"open\n', "not a CSV in UTF-8"),
        (HEAD.encode("utf-16"), "not a CSV in UTF-8"),
        (HEAD.encode() + b"\xff\xfe\n", "not a CSV in UTF-8"),
        (HEAD + "\0\n", "marks.csv"),
    ],
)
def test_a_review_that_cannot_be_used(tmp_path, text, said):
    paths.write(tmp_path / "marks.csv", text)
    with pytest.raises(review_marks.BadReview) as refused:
        review_marks.decisions(tmp_path / "marks.csv")
    assert said in str(refused.value) and "marks.csv" in str(refused.value)


def test_two_files_that_disagree(tmp_path):
    paths.write(tmp_path / "a.csv", HEAD + line())
    paths.write(tmp_path / "b.csv", HEAD + line(mark="drop", reason="artefacts"))
    with pytest.raises(
        review_marks.BadReview, match=r"b\.csv, line 2.*a\.csv, line 2; delete the line"
    ):
        review_marks.decisions(tmp_path)
    with pytest.raises(review_marks.BadReview, match="cannot be read: No such file"):
        review_marks.decisions(tmp_path / "c.csv")


def test_apply_adds_marks_and_takes_nothing_out(tmp_path):
    paths.write(tmp_path / "a.csv", HEAD + line() + line("b", "drop", "ethics", pixels="b" * 64))
    rows = pd.DataFrame(
        {
            "identity": ["p00", "p01", "p00", "p00"],
            "n": [1, 2, 3, 4],
            "fingerprint": [c * 64 for c in "bbac"],
        },
        index=[7, 7, 3, 1],
    )
    marked = review_marks.apply(rows, review_marks.decisions(tmp_path))
    assert [*marked.decision] == ["drop", "", "keep", ""]
    assert [*marked.reason] == ["ethics", "", "", ""]
    pd.testing.assert_frame_equal(marked[[*rows]], rows)
    nothing = review_marks.apply(rows, pd.DataFrame(columns=review_marks.COLUMNS, dtype=str))
    assert [*nothing.decision] == [""] * 4


def test_a_fingerprint_is_of_pixels(tmp_path):
    Image.effect_noise((16, 24), 50).convert("RGB").save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        buffer = io.BytesIO()
        picture.convert("RGBA").save(buffer, "PNG", compress_level=0)
        assert review_marks.fingerprint(Image.open(buffer)) == review_marks.fingerprint(picture)
        assert review_marks.fingerprint(picture.rotate(180)) != review_marks.fingerprint(picture)
    flat = Image.new("RGB", (2, 8)), Image.new("RGB", (4, 4))
    assert review_marks.fingerprint(flat[0]) != review_marks.fingerprint(flat[1])
