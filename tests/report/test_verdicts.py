import pandas as pd
import pytest

from remem import paths
from remem.report import verdicts


def _reference(name):
    return pd.read_csv(paths.REFERENCE / "verdicts" / f"{name}.csv")


def _lines(*lines):
    """Claims a, b, ...: (text, verdict, measured, units, note)."""
    names = ["text", "verdict", "measured", "units", "note"]
    frame = pd.DataFrame(lines, columns=names)
    frame["verdict"] = "in the tiny world: " + frame["verdict"]
    return frame.assign(claim=[*"abcdefgh"][: len(lines)], section="§1", margin=5.0, unit="points")


def test_sentences_count_and_name_what_holds_and_what_does_not():
    told = verdicts.sentences(
        _lines(
            ("One", "holds", "1 of 1", 20, ""),
            ("Two", "does not hold", "1 of 1", 20, ""),
            ("Three", "does not hold", "1 of 1", 20, ""),
        )
    )
    assert told == [
        "Of 3 claims put to the test here, in the tiny world, 1 holds and 2 do not hold.",
        "What holds: One.",
        "What does not hold: Two; Three.",
    ]


def test_what_cannot_be_told_has_its_reasons_counted():
    *_, last = verdicts.sentences(
        _lines(
            ("One", "cannot be told", "1 of 1", 20, ""),
            ("Two", "cannot be told", "2 of 2", 20, float("nan")),
            ("Three", "cannot be told", "1 of 1", 7, ""),
            ("Four", "cannot be told", "1 of 2", 20, ""),
            ("Five", "cannot be told", "1 of 2", 3, "total effect below the floor"),
        )
    )
    assert last == (
        "Why they cannot be told: the interval spans the margin (2); fewer than 8 people (1); "
        "some of its comparisons were not run (1); total effect below the floor (1)."
    )


def test_a_text_that_goes_on_from_another_is_not_left_alone():
    both = [("A fails", "holds", "1 of 1", 20, ""), ("... and so does B", "holds", "", 20, "")]
    assert verdicts.sentences(_lines(*both))[1] == "What holds: A fails; ... and so does B."
    both[0] = ("A fails", "does not hold", "1 of 1", 20, "")
    assert verdicts.sentences(_lines(*both))[1] == "What holds: A fails ... and so does B."


def test_lines_of_two_tables_under_one_another_are_kept_apart():
    parts = [_lines((text, "holds", "1 of 1", 20, "")) for text in ("One", "Two")]
    assert verdicts.sentences(pd.concat(parts))[1] == "What holds: One; Two."


@pytest.mark.parametrize(
    "name, first",
    [
        (
            "01_diagnosis",
            "Of 8 things put to the test here, in the tiny world, 4 hold and 4 ",
        ),
        (
            "07_stage2",
            "Of 20 things put to the test here, in the tiny world, 2 hold, 10 do ",
        ),
        ("00_base_model", "Of 4 things put to the test here, 3 are reached and 1 is missed."),
        ("04_dataset", "Of 14 things put to the test here, 14 hold."),
    ],
)
def test_each_shape_of_verdicts_is_shown(name, first):
    frame = _reference(name)
    shown = verdicts.Verdicts(frame, "things")
    assert repr(shown).startswith(first)
    assert 1 < len(shown.sentences) <= 4
    columns = shown.table.data.columns
    assert len(columns) <= 6 and columns[-1] == "verdict" and len(shown.table.data) == len(frame)
    html = shown._repr_html_()
    assert html.startswith(f"<p>{first[:20]}") and "<table" in html


def test_the_table_of_claims_holds_what_a_verdict_rests_on():
    html = verdicts.Verdicts(_reference("06_stage1"))._repr_html_()
    assert "Stage 1 effectively memorises the identities (§7.2)" in html
    assert "99.00 <small>[97.45, 99.95]</small><br><small>paper 78.17</small>" in html
    assert "50 points" in html and "EM: tiny-7b/stage 1 - tiny-7b/base" in html


def test_texts_are_escaped():
    shown = verdicts.Verdicts(pd.DataFrame({"claim": ["<b>"], "verdict": ["holds"]}))
    assert "<b>" not in shown._repr_html_() and "&lt;b&gt;" in shown._repr_html_()


def test_words_that_end_alike_are_told_apart():
    assert verdicts.word("in the tiny world: does not hold") == "does not hold"
    assert verdicts.word("not reproduced") == "not reproduced"
    assert verdicts.word("with other models: holds") == "holds"
    assert verdicts.word("nonsense") == verdicts.mark("nonsense") == ""
