"""page: everything is on it, in the paper's order, escaped, and nothing is fetched for it."""

import csv
import json
import os
import re
from datetime import datetime

import pytest
from matplotlib.figure import Figure

from remem import paths
from remem.report import calls, made, page, preconditions, verdicts


@pytest.fixture
def folders(tmp_path):
    return paths.Folders(tmp_path / "tiny", tmp_path / "tiny" / "runs")


def section(text: str, name: str) -> str:
    return text.partition(f'<section id="{name}">')[2].partition("</section>")[0]


def test_the_order_is_the_papers_and_ours_comes_after(folders):
    for name in ("ours", "table2_by_attribute", "table2", "fig1", "table3", "fig3b"):
        paths.write(folders.tables / f"{name}.csv", "model,EM\ntiny,95.0\n")
    text = page.write(folders).read_text()
    names = re.findall(r'<section id="(\w+)"', text)
    assert names == [
        "preconditions",
        "scorecard",
        "fig1",
        "fig2a",
        "fig2b",
        "fig3a",
        "fig3b",
        "fig3c",
        "table1",
        "table2",
        "table2_by_attribute",
        "table3",
        "table4",
        "table5",
        "fig5",
        "fig6",
        "fig7",
        "ours",
    ]
    for name in names:
        assert ("Not run: notebook" in section(text, name)) == (
            not (folders.tables / f"{name}.csv").exists()
        )
    assert "Not run: notebook 08." in section(text, "fig6")
    assert "<h3>Table 2: five unlearning methods" in section(text, "table2")
    assert "<h3>Table 2, by attribute</h3>" in text and "<h3>Ours</h3>" in text
    assert 'href="tables/table2.csv"' in text
    assert set(re.findall(r'href="#(\w+)"', text)) <= set(re.findall(r'id="(\w+)"', text))


def test_each_item_of_the_paper_has_a_title_and_a_notebook():
    for title, notebook in [*page.PAPER.values(), ("", page.ITS_NOTEBOOK)]:
        assert len(title) < 70 and re.fullmatch(r"0\d", notebook)


def test_the_head_says_which_preconditions_are_missed(folders):
    assert "Preconditions met" not in page.write(folders).read_text()
    lines = [
        preconditions.line("name-swap", "tiny-7b", preconditions.Measured(95.0)),
        preconditions.line("picture-swap", "<b>", preconditions.Measured(81.2)),
    ]
    table = preconditions.join(folders.tables, "06_stage1", lines)
    paths.write(folders.tables / "preconditions.csv", table.to_csv(index=False))
    text = page.write(folders).read_text()
    head = text.partition("<nav>")[0]
    assert "Preconditions met: P1; missed: P2." in head
    assert "<li>P2 missed, &lt;b&gt;: after stage 1: the pictured" in head
    shown = section(text, "preconditions")
    assert re.findall(r'class="[^"]*verdict (\w+)"[^>]*>(\w+)<', shown) == [
        ("holds", "yes"),
        ("fails", "no"),
    ]
    assert "06_stage1" not in shown and ">Ours<" not in text  # and not among what is ours
    assert text.count('id="preconditions"') == 1


def test_a_figure_is_inside_with_its_numbers_behind_it(folders):
    paths.save_figure(Figure(), folders.figures / "fig5")
    paths.write(folders.tables / "fig5.csv", "hop,EM\nsingle,95.0\n")
    text = page.write(folders).read_text()
    shown = section(text, "fig5")
    assert '<a href="figures/fig5.pdf"><img alt="Figure 5: causal traces' in shown
    assert "data:image/png;base64," in shown
    assert shown.index("<details>") < shown.index(">single<") < shown.index("</details>")
    assert "http://" not in text and "https://" not in text and "<script" not in text
    (folders.figures / "fig5.pdf").unlink()
    assert "fig5.pdf" not in page.write(folders).read_text()


def test_a_table_is_open_even_where_a_figure_shows_it_too(folders):
    paths.save_figure(Figure(), folders.figures / "table3")
    paths.write(folders.tables / "table3.csv", "hop,EM\nsingle,95.0\n")
    assert "<details" not in section(page.write(folders).read_text(), "table3")


def test_a_long_table_is_folded_and_a_very_long_one_cut(folders):
    paths.write(folders.tables / "table2_curves.csv", "epoch\n" + "7\n" * 61)
    paths.write(folders.tables / "fig2b.csv", "layer\n" + "7\n" * 1000)
    text = page.write(folders).read_text()
    assert "<details><summary>the table, 61 rows" in section(text, "table2_curves")
    long = section(text, "fig2b")
    assert "The first 300 of 1000 rows." in long and long.count(">7</td>") == 300


def test_the_papers_number_and_the_interval_stand_beside_ours(folders):
    paths.write(folders.tables / "table3.csv", "EM,EM_lo,EM_hi,paper_EM\n90.12,80.0,95.0,91.5\n")
    text = page.write(folders).read_text()
    assert "90.1 <small>[80.0, 95.0]</small><br><small>paper 91.50</small>" in text
    assert "EM_lo" not in text


def test_a_cell_is_the_darker_the_farther_it_is_from_the_paper(folders):
    cells = "50,52\n50,48\n50,52.1\n50,61\n50,5\n50,\n,50\n"
    paths.write(folders.tables / "table2.csv", f"EM_f,paper_EM_f\n{cells}")
    shown = section(page.write(folders).read_text(), "table2")
    assert re.findall(r'class="data row\d col0 ?(\w*)"', shown) == [
        "far0",
        "far0",
        "far1",
        "far3",
        "far5",
        "",
        "",
    ]


@pytest.mark.parametrize("who, shaded", [("rule", 0), ("gemini-2.5-pro", 1)])
def test_a_rules_score_is_not_compared_with_geminis(folders, who, shaded):
    paths.write(folders.tables / "table2.csv", f"judge,judged_by,paper_judge\n50.0,{who},90.0\n")
    shown = section(page.write(folders).read_text(), "table2")
    assert shown.count("far4") == shaded and "paper 90.00" in shown


def test_a_table_in_which_chance_was_not_judged_names_no_gemini(folders):
    rows = "method,judge,judged_by\nchance,,\nGA,50.0,rule\n"
    paths.write(folders.tables / "table2.csv", rows)
    shown = section(page.write(folders).read_text(), "table2")
    assert "rule judge (ours, not Gemini)" in shown and "Gemini (" not in shown


def test_table_4_is_called_mmbench_only_where_its_questions_were_asked(folders):
    rows = "method,MMBench,paper_MMBench,questions\nGA,50.0,69.0,{}\n"
    for asked, named in (("drawn questions", False), ("MMBench_DEV_EN", True)):
        paths.write(folders.tables / "table4.csv", rows.format(asked))
        shown = section(page.write(folders).read_text(), "table4")
        table = shown.partition("<table")[2].partition("</table>")[0]
        assert f">{asked}<" in table and ("MMBench" in table) == named
        assert "MMBench" not in re.findall("<h3>(.*?)</h3>", shown)[0] and "far3" in table


def contrast(first: str, second: str) -> float:
    """WCAG's, between two colours as #rgb or #rrggbb."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_text_is_readable_on_every_shade_and_each_is_darker_than_the_last(folders):
    text = page.write(folders).read_text()
    shades = ["#fff", *re.findall(r"\.far\d \{ background: (#\w+)", text)]
    assert len(shades) == len(page.FAR) + 1
    written = {
        re.search(r"body \{[^}]*[^-]color: (#\w+)", text)[1],
        re.search(r"\.far5 small \{ color: (#\w+)", text)[1],
    }
    for shade in shades:
        assert min(contrast(shade, colour) for colour in written) > 5
    against_white = [contrast("#fff", shade) for shade in shades]
    assert against_white == sorted(against_white) and against_white[-1] > 2


def test_the_page_says_first_who_was_not_memorised(folders):
    told = "Stage 1 did not memorise"
    assert told not in page.write(folders).read_text()
    rows = "model,identity,known\na,p00,{}\na,p01,True\na,p02,{}\n"
    paths.write(folders.tables / "memorised.csv", rows.format("True", "True"))
    assert told not in page.write(folders).read_text()
    paths.write(folders.tables / "memorised.csv", rows.format("False", "True"))
    assert f"{told} 1 of 3 (model, seed, person)" in page.write(folders).read_text()


VERDICTS = """claim,section,text,verdict,ours
a,§1,One,in the tiny world: holds,1
b,§2,Two,in the tiny world: reversed,2
c,§3,Three,in the tiny world: smaller than the margin,3
d,§4,Four,in the tiny world: cannot be told,4
e,§5,Five,not run,
"""


def test_the_scorecard_comes_first_and_is_summed_up_in_a_line(folders):
    text = page.write(folders).read_text()
    assert "Not run: notebook 09." in section(text, "scorecard") and "Of 5" not in text
    paths.write(folders.tables / "scorecard.csv", VERDICTS)
    paths.write(folders.verdicts / "07_stage2.csv", VERDICTS)
    text = page.write(folders).read_text()
    plain = " ".join(re.sub(r"<[^>]*>", "", text).split())
    told = "1 hold, 1 reversed, 1 smaller than the margin, 1 cannot be told, 1 not run"
    assert f"Of 5 claims, the paper's and ours, {told} in the tiny world." in plain
    assert f"07 stage2: {told}" in plain
    shown = section(text, "scorecard")
    assert re.findall(r'class="data row\d col2 verdict (\w+)"', shown) == [
        "holds",
        "fails",
        "small",
        "untold",
        "idle",
    ]
    for outcome in ("holds", "fails", "small", "untold"):  # a sign, so that colour is not alone
        assert f".{outcome}::before" in text
    assert ">One (§1)<" in shown
    assert text.index('<section id="scorecard">') < text.index('<section id="fig1">')


@pytest.mark.parametrize(
    "word, outcome",
    [
        ("reproduced", "holds"),
        ("in the tiny world: reversed", "fails"),
        ("smaller than the margin", "small"),
        ("cannot be told: P1 the name is used", "untold"),
        ("reached", "holds"),
        ("missed", "fails"),
        ("with other models: does not hold", "fails"),
        ("differs", "fails"),
        ("cannot be checked", "untold"),
        ("", ""),
    ],
)
def test_the_words_of_a_verdict(word, outcome):
    assert verdicts.mark(word) == outcome


WIDE = ",".join(f"c{k}" for k in range(5_000)) + "\n"
ODD = {
    "nothing": b"",
    "a byte": b"\xff",
    "zeros": bytes(1_000),
    "another encoding": "method,EM\nGrün,1\n".encode("utf-16"),
    "half a line": b'"method',
    "an open quote": b'method,EM\n"GA,1\nGD,2\n',
    "more cells in one row": b"a,b\n1,2,3\n",
    "more cells in every row": b"a,b\n1,2,3\n4,5,6\n",
    "fewer cells": b"a,b,verdict\n1\n",
    "a head alone": b"claim,verdict,needs\n",
    "the same head twice": b"EM,EM,paper_EM\n1,2,3\n",
    "texts for numbers": b"EM,EM_lo,EM_hi,paper_EM\nx,1,2,y\n1,z,2,3\n",
    "numbers without end": b"EM,paper_EM\n1e400,-1e400\n" + b"9" * 500 + b",nan\n",
    "needs without a claim": b"needs,verdict\nP1,holds\n",
    "a claim without a verdict": b"claim,needs\na,P1\n",
    "verdicts of another kind": b"claim,verdict,needs\na,1,2\n",
    "met without a model": b"precondition,met\nP1,yes\n",
    "markup": b"<script>,</style>\n<b>,</table>\n",
    "columns without end": WIDE.encode() + WIDE.encode(),
    "one long text": b"a\n" + b"x" * 200_000 + b"\n",
    "many lines": b"a,b\n" + b"1,2\n" * 20_000,
    "no lines but ends": b"\n\n\n\r\n\r",
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_an_odd_file_among_the_tables_breaks_nothing(folders, content):
    """Whatever it holds, and whichever table it stands for."""
    paths.write(folders.layout, '{"scale": "quick"}')  # whose page reads a table more
    paths.write(folders.tables / "table3.csv", "hop,EM\nsingle,95.0\n")
    for name in ("table2", "scorecard", "preconditions", "memorised", "mine"):
        paths.write(folders.tables / f"{name}.csv", content)
    paths.write(folders.verdicts / "07_stage2.csv", content)
    for name in ("notebooks", "times"):
        paths.write(folders.root / f"{name}.csv", content)
    text = page.write(folders).read_text()
    assert ">95</td>" in section(text, "table3") and text.rstrip().endswith("</html>")
    assert "<script" not in text and 'href="tables/mine.csv"' in section(text, "mine")
    assert len(text) < 3_000_000


def test_what_cannot_be_shown_is_told_with_the_way_out(folders):
    paths.write(folders.tables / "table2.csv", "a,b\n1,2,3\n4,5,6\n")
    paths.write(folders.tables / "scorecard.csv", b"\xff")
    text = page.write(folders).read_text()
    assert 'class="failed">Cannot be shown: tables/table2.csv, tables/scorecard.csv.<' in text
    for name, reason in (("table2", "a row has more cells than the first"), ("scorecard", "codec")):
        assert reason in section(text, name) and "delete it, or run" in section(text, name)
    assert str(folders.root) not in text
    assert "Of 0 claims" not in text


def test_what_is_no_file_of_ours_is_passed_over(folders):
    paths.write(folders.tables / "table3.csv", "hop,EM\nsingle,95.0\n")
    paths.write(folders.figures / "fig1.png", b"no picture")
    whole = page.write(folders).read_text()
    for folder in (folders.tables, folders.figures, folders.verdicts):
        for suffix in (".csv", ".png"):
            (folder / f"folder{suffix}").mkdir(parents=True)
            (folder / f"link{suffix}").symlink_to("nowhere")
            paths.write(folder / f"._table2{suffix}", b"\0\1")
            paths.write(folder / f"~$table2{suffix}", b"\0\1")
    assert page.write(folders).read_text() == whole


def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(folders):
    folders.tables.mkdir(parents=True)
    with open(bytes(folders.tables) + b"/a\xff#?%.csv", "w") as file:
        file.write("hop,EM\nsingle,95.0\n")
    text = page.write(folders).read_text()
    assert ">95</td>" in text
    assert 'href="tables/a%3F%23%3F%25.csv">tables/a?#?%.csv<' in text


@pytest.mark.parametrize("content", ["", "[]", "5", "{", '{"scale": [], "data": 5}', b"\xff"])
def test_a_layout_that_says_nothing_says_nothing(folders, content):
    paths.write(folders.layout, content)
    assert "ReMem at scale tiny" in page.write(folders).read_text()


def test_preconditions_that_cannot_be_read_gate_nothing(folders):
    needing = "claim,section,text,verdict,needs\nx,s,t,in the tiny world: holds,P1\n"
    paths.write(folders.verdicts / "07_stage2.csv", needing)
    whole = page.write(folders).read_text()
    paths.write(folders.tables / "preconditions.csv", "precondition,met\nP1,no\n")
    text = page.write(folders).read_text()
    assert "in the tiny world: holds" in text and "cannot be told: P1" not in text + whole
    assert "its columns should be precondition, what, model" in section(text, "preconditions")


def test_every_text_is_escaped(folders):
    paths.write(folders.tables / "a<i>.csv", "<u>,n,paper_n\n<b>&,1,2\n")
    paths.write(folders.tables / "table2.csv", "judge,judged_by,paper_judge\n1,<em>,2\n")
    evil = "claim,section,text,verdict\n<script>alert(1)</script>,<s>,<q>,<del>\n"
    paths.write(folders.verdicts / "v.csv", evil)
    text = page.write(folders).read_text()
    for wild in ("<i>", "<u>", "<b>", "<em>", "<s>", "<q>", "<del>", "<script"):
        assert wild not in text
    assert "&lt;b&gt;&amp;" in text and "&lt;script&gt;" in text and "&lt;q&gt;" in text


def test_notebooks_show_how_long_they_took_and_which_failed(folders):
    for name in ("04_dataset", "05_metrics.failed"):
        paths.write(folders.notebooks / f"{name}.ipynb", "{}")
        paths.write(folders.html / f"{name}.html", "")
    day = datetime(2026, 3, 1, 12, 30).timestamp()
    calls.remember(
        folders, "04_dataset", day, 95.2, {"stage1.epochs": (3, 5), "dataset.source": ("<a>", None)}
    )
    calls.remember(folders, "05_metrics", day, None, {})
    text = page.write(folders).read_text()
    assert 'href="html/04_dataset.html"' in text and 'href="html/05_metrics.failed.html"' in text
    assert text.count("failed</span>") == 1
    assert text.count("<td>2026-03-01 12:30</td>") == 2
    assert "<td>1 min 35 s</td><td>1 min 35 s</td>" in text
    # beside the notebook, and in front of all that was made so
    assert (
        text.count("stage1.epochs = 3 (file: 5); dataset.source = &#34;&lt;a&gt;&#34; (file: null)")
        == 2
    )
    assert text.count(">none</td></tr>") == 1  # parameters changed

    calls.remember(folders, "04_dataset", day + 3600, 7.5, {})  # finds its training done
    text = page.write(folders).read_text()
    assert "<td>2026-03-01 13:30</td><td>7.5 s</td><td>1 min 35 s</td>" in text
    calls.remember(folders, "04_dataset", day + 7200, None, {})  # a failure takes no time away
    assert "<td></td><td>1 min 35 s</td>" in page.write(folders).read_text()


def test_where_the_time_goes(folders):
    def made(name: str, seconds: float, done: bool = True):
        kind = name.split("-")[0].lstrip(".")
        told = json.dumps({"kind": kind, "seconds": seconds})
        paths.write(folders.runs / name / "spec.json", told)
        if done:
            paths.write(folders.runs / name / "DONE", "{}")

    assert "times.csv" not in page.write(folders).read_text()
    made("base-1", 100.0)
    calls.remember(folders, "00_base_model", 0.0, 130.0, {})
    made("stage1-1", 50.0)
    made("stage1-2", 70.0)
    made(".stage1-3.part", 1000.0)
    made("stage1-4", 1000.0, done=False)
    calls.remember(folders, "05_metrics", 1.0, 2.0, {})
    made("unlearn-1", 3500.0)
    calls.remember(folders, "07_stage2", 2.0, None, {})  # what a failed call made is told too
    calls.remember(folders, "00_base_model", 3.0, 5.0, {})
    with (folders.root / "times.csv").open(newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [
        ("base-1", "base", "00_base_model", "100.0"),
        ("stage1-1", "stage1", "05_metrics", "50.0"),
        ("stage1-2", "stage1", "05_metrics", "70.0"),
        ("unlearn-1", "unlearn", "07_stage2", "3500.0"),
    ]
    text = page.write(folders).read_text().partition('id="times"')[2]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    assert [cells[at : at + 6] for at in range(0, len(cells), 6)] == [
        ["00_base_model", "2 min 10 s", "base", "1", "1 min 40 s", "1 min 40 s"],
        ["05_metrics", "2.0 s", "stage1", "2", "2 min 00 s", "1 min 10 s"],
        ["07_stage2", "", "unlearn", "1", "58 min 20 s", "58 min 20 s"],
        ["all", "2 min 12 s", "all", "4", "1 h 02 min", "58 min 20 s"],
    ]


def test_the_time_of_runs_that_other_outputs_made_is_not_told_again(folders):
    for run, when in (("base-1", 100), ("stage1-1", 300), ("stage2-1", 500)):
        for name in ("spec.json", "DONE"):
            path = folders.runs / run / name
            paths.write(path, json.dumps({"kind": run[:-2], "seconds": 1.0}))
            os.utime(path, (when, when))
        if run == "base-1":  # there before the folder was
            paths.write(folders.layout, "{}")
            os.utime(folders.layout, (200, 200))
        calls.remember(folders, f"0{when}", when + 100.0, None, {})  # the last: made between calls
    text = (folders.root / "times.csv").read_text()
    assert text == "run,kind,notebook,seconds\nstage1-1,stage1,0300,1.0\nstage2-1,stage2,0500,1.0\n"


def test_the_page_says_what_the_last_call_did_not_make(folders):
    def made(path, when):
        paths.write(path, "claim,EM\na,95.0\n")
        os.utime(path, (when, when))

    for name, began in (("04_dataset", 100), ("06_stage1", 300), ("07_stage2.failed", 300)):
        paths.write(folders.notebooks / f"{name}.ipynb", "{}")
        paths.write(folders.html / f"{name}.html", "")
        calls.remember(folders, name.split(".")[0], began, 1.0, {})
    made(folders.tables / "table1.csv", 101)
    made(folders.tables / "table3.csv", 301)
    made(folders.verdicts / "06_stage1.csv", 301)
    made(folders.verdicts / "07_stage2.csv", 102)
    text = page.write(folders, since=200).read_text()
    assert "Failed: 07_stage2." in text
    assert "Not run in the last call: 04_dataset." in text
    assert "with\nother parameters: Table 1, 07 stage2." in text
    assert text.count("it may be older than the rest") == 2
    assert "older than the rest" in section(text, "table1")

    everything = page.write(folders, since=50).read_text()
    assert "older than the rest" not in everything and "Not run in" not in everything


def test_the_page_says_what_other_parameters_made(folders):
    ours = made.Parameters(digest="a")
    other = made.Parameters(digest="b", changed=("seeds = [3] (file: [1])",))
    for name in ("07_stage2", "06_stage1"):
        paths.write(folders.notebooks / f"{name}.ipynb", "{}")
        calls.remember(folders, name, 100.0, 1.0, {}, "a")
    for name, notebook in (("table2", "07_stage2"), ("fig6", "08"), ("table3", "06_stage1")):
        file = paths.write(folders.tables / f"{name}.csv", "claim,EM\na,95.0\n")
        made.note(folders, file, notebook, ours)
    paths.save_figure(Figure(), folders.figures / "fig6")
    for file in folders.figures.iterdir():
        made.note(folders, file, "08", ours)
    verdict = paths.write(folders.verdicts / "07_stage2.csv", VERDICTS)
    made.note(folders, verdict, "07_stage2", ours)
    text = page.write(folders).read_text()
    for word in ("other parameters", "last call's parameters", "not known", "not of this run"):
        assert word not in text
    assert text.count('<td class="long">none</td>') == 2

    # notebook 7 is run in Jupyter, and writes some of its tables; another tool writes a figure
    paths.write(folders.tables / "table2.csv", "claim,EM\n<b>,5.0\n")
    made.note(folders, folders.tables / "table2.csv", "07_stage2", other)
    made.note(folders, verdict, "07_stage2", other)
    (folders.figures / "fig6.png").write_bytes(b"another")
    text = page.write(folders).read_text()
    told = "Made with other parameters: seeds = [3] (file: [1])."
    assert told in section(text, "table2") and told not in section(text, "table3")
    assert "not known with which parameters" in section(text, "fig6")
    head = " ".join(text.partition("<nav>")[0].split())
    named = "with the last call's parameters, as far as is known: Table 2, Figure 6, 07 stage2."
    assert named in head
    mixed = "not of this run, but made with seeds = [3] (file: [1]): Table 2, 07 stage2"
    assert f'none <span class="older">({mixed})</span></td>' in text
    assert text.count("not of this run") == 1

    calls.remember(folders, "07_stage2", 200.0, 1.0, {"seeds": ([3], [1])}, "b")
    text = page.write(folders).read_text()
    usual = "Made with other parameters: all parameters as in the scale&#39;s file."
    assert told not in text and usual in section(text, "table3")
    assert "Table 3" in " ".join(text.partition("<nav>")[0].split()).partition("is known: ")[2]


def test_a_word_that_pandas_takes_for_a_gap_is_shown_and_a_gap_stays_one(folders):
    paths.write(
        folders.tables / "answers.csv",
        "answer,EM,EM_lo,EM_hi,n,none\nNone,95.04,,,3,\nNA,,,,4,\nnan,1.0,0.5,2,5,\n",
    )
    text = section(page.write(folders).read_text(), "answers")
    for word in ("None", "NA"):
        assert f">{word}</td>" in text
    assert ">95.0</td>" in text and ">1.0 <small>[0.5, 2.0]" in text and ">3</td>" in text
    assert text.count(" ></td>") == 4  # the gap in EM, and three of the empty column


def test_an_empty_scale_has_a_page_too(folders):
    assert "<title>ReMem at scale tiny</title>" in page.write(folders).read_text()


def test_few_runs_leave_what_they_cannot_tell_to_tiny(folders):
    words = {"one": "holds", "two": "does not hold", "three": "cannot be told", "four": "not run"}
    lines = [f"{name},in the tiny world: {word}," for name, word in words.items()]
    lines.append("five,in the tiny world: cannot be told,P1 is missed")
    paths.write(folders.tables / "scorecard.csv", "\n".join(["claim,verdict,note", *lines]))
    assert "Few runs stand" not in page.write(folders).read_text()
    paths.write(folders.layout, json.dumps({"layout": 2, "scale": "quick", "data": "tiny 0123"}))
    text = page.write(folders).read_text()
    assert "<small>three, four</small>" in text and "make reproduce" in text


def test_outputs_of_another_name_say_scale_and_data(folders):
    folders = paths.Folders(folders.root.with_name("my_people"), folders.runs)
    layout = {"layout": 2, "scale": "tiny", "data": "tiny my people (own) 0123456789ab"}
    paths.write(folders.layout, json.dumps(layout))
    paths.write(folders.tables / "scorecard.csv", VERDICTS)
    text = page.write(folders).read_text()
    assert "<title>ReMem at scale tiny (my_people)</title>" in text
    assert "in the tiny my people (own) world." in text and "params/tiny.yaml" in text
