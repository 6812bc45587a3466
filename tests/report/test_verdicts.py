import shutil

import numpy as np
import pandas as pd
import pytest

from remem import paths
from remem.report import preconditions, verdicts, written


def _reference(name):
    return pd.read_csv(paths.REFERENCE / "verdicts" / f"{name}.csv")


def _lines(*lines):
    """Claims a, b, ...: (text, verdict, measured, units, note)."""
    names = ["text", "verdict", "measured", "units", "note"]
    frame = pd.DataFrame(lines, columns=names)
    frame["verdict"] = "in the tiny world: " + frame["verdict"]
    frame = frame.assign(claim=[*"abcdefgh"][: len(lines)], section="§1", margin=5.0, unit="points")
    return frame.assign(rule="above", cells="3 of 4", comparison="GD - KL (EM_r)")


def test_sentences_count_and_name_what_holds_and_what_does_not():
    told = verdicts.sentences(
        _lines(
            ("One", "holds", "1 of 1", 20, ""),
            ("Two", "reversed", "1 of 1", 20, ""),
            ("Three", "reversed", "1 of 1", 20, ""),
            ("Four", "smaller than the margin", "1 of 1", 20, ""),
        )
    )
    assert told == [
        "Of 4 claims put to the test here, in the tiny world, 1 holds, 2 are reversed and 1 is "
        "smaller than its margin.",
        "What holds: One.",
        "What is reversed: Two; Three.",
        "What is smaller than its margin: Four.",
    ]


def test_what_cannot_be_told_has_its_reasons_counted():
    *_, last = verdicts.sentences(
        _lines(
            ("One", "cannot be told", "1 of 1", 20, ""),
            ("Two", "cannot be told", "2 of 2", 20, float("nan")),
            ("Three", "cannot be told", "1 of 1", 7, ""),
            ("Four", "cannot be told", "1 of 2", 20, ""),
            ("Five", "cannot be told", "1 of 2", 3, "total effect below the floor"),
            ("Six", "cannot be told: P1 the name is used", "1 of 1", 20, ""),
        )
    )
    assert last == (
        "Why they cannot be told: the interval is too wide (2); fewer than 8 people (1); "
        "some of its comparisons were not run (1); total effect below the floor (1); "
        "P1 the name is used (1)."
    )


def test_a_text_that_goes_on_from_another_is_not_left_alone():
    both = [("A fails", "holds", "1 of 1", 20, ""), ("... and so does B", "holds", "", 20, "")]
    assert verdicts.sentences(_lines(*both))[1] == "What holds: A fails; ... and so does B."
    both[0] = ("A fails", "reversed", "1 of 1", 20, "")
    assert verdicts.sentences(_lines(*both))[1] == "What holds: A fails ... and so does B."


def test_lines_of_two_tables_under_one_another_are_kept_apart():
    parts = [_lines((text, "holds", "1 of 1", 20, "")) for text in ("One", "Two")]
    assert verdicts.sentences(pd.concat(parts))[1] == "What holds: One; Two."


@pytest.mark.parametrize(
    "name, first",
    [
        ("00_base_model", "Of 6 things put to the test here, 6 are reached."),
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
    frame = _lines(("One", "holds", "4 of 4", 20, ""), ("Two", "not run", "0 of 4", 0, ""))
    frame = frame.assign(**{"paper bears out": "yes"}, ours=29.0, lo=27.45, hi=31.95, paper=8.17)
    frame.loc[1, ["ours", "lo", "hi", "cells", "comparison"]] = np.nan
    shown = verdicts.Verdicts(frame)
    assert list(shown.table.data) == [
        "claim",
        "paper bears out",
        "ours",
        "to be",
        "compared",
        "verdict",
    ]
    html = shown._repr_html_()
    assert "One (§1)" in html and "above 0 (small: 5 points)" in html
    assert "29.00 <small>[27.45, 31.95]</small><br><small>paper 8.17</small>" in html
    assert "GD - KL (EM_r): 3 of 4 cells agree" in html


def test_preconditions_are_read_where_they_are(tmp_path):
    folders = paths.Folders(tmp_path, tmp_path / "runs")
    assert verdicts.preconditions(folders) is None
    line = preconditions.line("name-swap", "tiny-7b", preconditions.Measured(5.0))
    table = preconditions.join(folders.tables, "00", [line])
    paths.write(folders.tables / "preconditions.csv", table.to_csv(index=False))
    assert verdicts.preconditions(folders).met.tolist() == ["no"]
    paths.write(folders.tables / "preconditions.csv", "precondition,met\nP1,no\n")
    with pytest.raises(written.BadTable, match=r"preconditions\.csv .*its columns should be"):
        verdicts.preconditions(folders)


def test_verdicts_are_read_back_for_the_scorecard(tmp_path):
    folders = paths.Folders(tmp_path, tmp_path / "runs")
    assert verdicts.of_notebooks(folders) == {}
    shutil.copytree(paths.REFERENCE / "verdicts", folders.verdicts)
    paths.write(folders.verdicts / "._07_stage2.csv", b"\xff")  # a system's
    found = verdicts.of_notebooks(folders)
    assert {"04_dataset", "06_stage1"} < {*found} and "._07_stage2" not in found
    assert found["06_stage1"].equals(_reference("06_stage1"))


HEAD = "claim,section,verdict,lo,p\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "No columns"),
        (b"\xff", "codec"),
        ("section,verdict\n1,holds\n", "claim"),
        (HEAD + "stage1-learns,1,5,1,0.5\n", "verdict is no text"),
        (HEAD + "stage1-learns,1,perhaps,1,0.5\n", "'perhaps' is no verdict"),
        (HEAD + "stage1-learns,1,holds,x,0.5\n", "'x'"),
        (HEAD + "stage1-learns,1,holds,inf,0.5\n", "a number is infinite"),
        (HEAD + "stage1-learns,1,holds,1,0.5\n", "section, text or unit is no text"),
        (f"rule,{HEAD}most,stage1-learns,1,holds,1,0.5\n", "'most' is no rule of a claim"),
        (f"units,{HEAD}ten,stage1-learns,1,holds,1,0.5\n", "'ten'"),
        (HEAD + "stage1-learns,1,holds,1,5\n", "p is no probability"),
        (HEAD + "stage1-learns,1,holds,1,0.5,6,7\n", "more cells"),
    ],
)
def test_verdicts_that_are_none_are_told_by_their_file(tmp_path, content, reason):
    folders = paths.Folders(tmp_path, tmp_path / "runs")
    paths.write(folders.verdicts / "06_stage1.csv", content)
    with pytest.raises(written.BadTable, match=rf"06_stage1\.csv is not .*{reason}.*delete it"):
        verdicts.of_notebooks(folders)


def test_texts_are_escaped():
    shown = verdicts.Verdicts(pd.DataFrame({"claim": ["<b>"], "verdict": ["holds"]}))
    assert "<b>" not in shown._repr_html_() and "&lt;b&gt;" in shown._repr_html_()


def test_the_word_stands_between_the_scope_and_the_reason():
    assert verdicts.word("in the tiny world: does not hold") == "does not hold"
    assert verdicts.word("with other models: holds") == "holds"
    told = "in the tiny world: cannot be told: P1 the name is used: 43 of 90"
    assert verdicts.word(told) == "cannot be told" and verdicts.mark(told) == "untold"
    assert verdicts.word("nonsense") == verdicts.mark("nonsense") == ""
