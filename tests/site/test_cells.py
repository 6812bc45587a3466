"""cells: ours, its interval and the paper's number, escaped, shaded by how far they are apart."""

import re

import pytest

from remem import paths
from remem.site import cells, files


def read(folders, name: str, text: str) -> cells.Cells:
    return cells.cells(files.table(paths.write(folders.tables / f"{name}.csv", text)))


def column(table: cells.Cells, head: str) -> list[cells.Cell]:
    return [row[[str(each) for each in table.heads].index(head)] for row in table.rows]


def test_the_papers_number_and_the_interval_stand_beside_ours(folders):
    table = read(folders, "table3", "EM,EM_lo,EM_hi,paper_EM\n90.12,80.0,95.0,91.5\n")
    assert table.heads == ["EM"]
    assert table.rows[0][0].html == "90.1 <small>[80.0, 95.0]</small><br><small>paper 91.50</small>"


def test_a_cell_is_the_darker_the_farther_it_is_from_the_paper(folders):
    text = "EM_f,paper_EM_f\n50,52\n50,48\n50,52.1\n50,61\n50,5\n50,\n,50\n"
    table = read(folders, "table2", text)
    kinds = [re.sub(" ?number", "", cell.kind) for cell in column(table, "EM_f")]
    assert kinds == ["far0", "far0", "far1", "far3", "far5", "", ""]
    assert table.shaded and not read(folders, "x", "EM\n1\n").shaded


@pytest.mark.parametrize("who, shaded", [("rule", False), ("gemini-2.5-pro", True)])
def test_a_rules_score_is_not_compared_with_geminis(folders, who, shaded):
    table = read(folders, "table2", f"judge,judged_by,paper_judge\n50.0,{who},90.0\n")
    assert table.shaded == shaded and "paper 90.00" in table.rows[0][0].html


def test_a_table_in_which_chance_was_not_judged_names_no_gemini(folders):
    table = read(folders, "table2", "method,judge,judged_by\nchance,,\nGA,50.0,rule\n")
    assert [*table.heads] == ["method", "rule judge (ours, not Gemini)"]


def test_table_4_is_called_mmbench_only_where_its_questions_were_asked(folders):
    for asked in ("drawn questions", "MMBench_DEV_EN"):
        text = f"method,MMBench,paper_MMBench,questions\nGA,50.0,69.0,{asked}\n"
        table = read(folders, "table4", text)
        assert [*table.heads] == ["method", asked] and table.rows[0][1].kind == "far3 number"


def test_verdicts_and_preconditions_have_marks(folders):
    words = [
        "in the tiny world: holds",
        "reversed",
        "smaller than the margin",
        "cannot be told",
        "not run",
    ]
    table = read(folders, "v", "verdict\n" + "\n".join(words) + "\n")
    found = [cell.kind.split()[-1] for cell in column(table, "verdict")]
    assert found == ["holds", "fails", "small", "untold", "idle"]
    table = read(folders, "p", "met\nyes\nno\noutside\nnot measured\nreported\n")
    found = [cell.kind.removeprefix("verdict ") for cell in column(table, "met")]
    assert found == ["holds", "fails", "fails", "untold", ""]


def test_every_text_is_escaped(folders):
    table = read(folders, "x", "<u>,n,paper_n,verdict\n<b>&,1,2,<script>\n")
    written = "".join([*map(str, table.heads), *(str(cell.html) for cell in table.rows[0])])
    assert "&lt;u&gt;" in written and "&lt;b&gt;&amp;" in written and "&lt;script&gt;" in written
    for wild in ("<u", "<b>", "<script"):
        assert wild not in written


def test_a_word_that_pandas_takes_for_a_gap_is_shown_and_a_gap_stays_one(folders):
    text = "answer,EM,n,none\nNone,95.04,3,\nNA,,4,\nnan,1.0,5,\n"
    table = read(folders, "answers", text)
    assert [str(cell.html) for cell in column(table, "answer")] == ["None", "NA", "nan"]
    assert [str(cell.html) for cell in column(table, "EM")] == ["95.0", "", "1.0"]
    assert [str(cell.html) for cell in column(table, "none")] == ["", "", ""]


def test_a_very_long_table_is_cut_and_says_of_how_many_rows(folders):
    table = read(folders, "fig2b", "layer\n" + "7\n" * 1000)
    assert len(table.rows) == cells.SHOWN and table.total == 1000


def test_what_a_row_is_about_stays_in_view(folders):
    assert read(folders, "a", "model,method,hop,EM\nx,GA,single,1\n").keys == 3
    assert read(folders, "b", "model,text,EM\nx," + "y" * 60 + ",1\n").keys == 1
    assert read(folders, "c", "EM,model\n1,x\n").keys == 0
    assert read(folders, "d", "claim,by,verdict\na,b,holds\n").keys == 1


def test_cells_lead_where_they_are_told_to(folders):
    table = files.table(paths.write(folders.tables / "t.csv", "method,EM_f\nGA,1\nGD,2\n"))
    found = cells.cells(table, {(1, "EM_f"): "samples.html#x"})
    assert [[cell.link for cell in row] for row in found.rows] == [["", ""], ["", "samples.html#x"]]
