"""page: everything is on it, in the paper's order, escaped, and nothing is fetched for it."""

import os
from datetime import datetime

import pytest
from matplotlib.figure import Figure

from remem import page, paths


@pytest.fixture
def folders(tmp_path):
    return paths.Folders(tmp_path / "tiny")


def test_the_order_is_the_papers_and_ours_comes_after(folders):
    for name in ("ours", "table2_by_attribute", "table2", "fig1", "table3", "fig3b"):
        paths.write(folders.tables / f"{name}.csv", "model,EM\ntiny,95.0\n")
    text = page.write(folders).read_text()
    places = [
        text.index(f"<h3>{title}</h3>")
        for title in (
            "Figure 1", "Figure 3b", "Table 3", "Table 2", "Table 2: by attribute", "ours",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    assert 'href="tables/table2.csv"' in text


def test_a_figure_is_inside_with_its_numbers_behind_it(folders):
    paths.save_figure(Figure(), folders.figures / "fig5")
    paths.write(folders.tables / "fig5.csv", "hop,EM\nsingle,95.0\n")
    text = page.write(folders).read_text()
    assert text.count("<h3>Figure 5</h3>") == 1
    assert "data:image/png;base64," in text and 'href="figures/fig5.pdf"' in text
    assert text.index("<details>") < text.index(">single<") < text.index("</details>")
    assert "http" not in text and "<script" not in text


def test_a_table_is_open_even_where_a_figure_shows_it_too(folders):
    paths.save_figure(Figure(), folders.figures / "table3")
    paths.write(folders.tables / "table3.csv", "hop,EM\nsingle,95.0\n")
    assert "<details>" not in page.write(folders).read_text()


def test_the_papers_number_and_the_interval_stand_beside_ours(folders):
    paths.write(folders.tables / "table3.csv", "EM,EM_lo,EM_hi,paper_EM\n90.12,80.0,95.0,91.5\n")
    text = page.write(folders).read_text()
    assert "90.1 <small>[80.0, 95.0]</small><br><small>paper 91.50</small>" in text
    assert "EM_lo" not in text


def test_every_text_is_escaped(folders):
    paths.write(folders.tables / "a<i>.csv", "<u>,n\n<b>&,1\n")
    paths.write(folders.verdicts / "v.csv", "claim\n<script>alert(1)</script>\n")
    text = page.write(folders).read_text()
    for wild in ("<i>", "<u>", "<b>", "<script>"):
        assert wild not in text
    assert "&lt;b&gt;&amp;" in text and "&lt;script&gt;" in text


def test_notebooks_show_how_long_they_took_and_which_failed(folders):
    for name in ("04_dataset", "05_metrics.failed"):
        paths.write(folders.notebooks / f"{name}.ipynb", "{}")
        paths.write(folders.html / f"{name}.html", "")
    day = datetime(2026, 3, 1, 12, 30).timestamp()
    page.remember(folders, "04_dataset", day, 95.2, {"stage1.epochs": 3, "dataset.source": "<a>"})
    page.remember(folders, "05_metrics", day, None, {})
    text = page.write(folders).read_text()
    assert 'href="html/04_dataset.html"' in text and 'href="html/05_metrics.failed.html"' in text
    assert text.count("failed</span>") == 1
    assert text.count("<td>2026-03-01 12:30</td>") == 2 and text.count("1 min 35 s") == 2
    assert "stage1.epochs = 3; dataset.source = &#34;&lt;a&gt;&#34;" in text
    assert text.count("<td>none</td>") == 1  # parameters changed

    page.remember(folders, "04_dataset", day + 3600, 7.5, {})  # finds its training done
    text = page.write(folders).read_text()
    assert "<td>2026-03-01 13:30</td><td>7.5 s</td><td>1 min 35 s</td><td>none</td>" in text
    page.remember(folders, "04_dataset", day + 7200, None, {})  # a failure takes no time away
    assert "<td></td><td>1 min 35 s</td>" in page.write(folders).read_text()


def test_the_page_says_what_the_last_call_did_not_make(folders):
    def made(path, when):
        paths.write(path, "claim,EM\na,95.0\n")
        os.utime(path, (when, when))

    for name, began in (("04_dataset", 100), ("06_stage1", 300), ("07_stage2.failed", 300)):
        paths.write(folders.notebooks / f"{name}.ipynb", "{}")
        paths.write(folders.html / f"{name}.html", "")
        page.remember(folders, name.split(".")[0], began, 1.0, {})
    made(folders.tables / "table1.csv", 101)
    made(folders.tables / "table3.csv", 301)
    made(folders.verdicts / "06_stage1.csv", 301)
    made(folders.verdicts / "07_stage2.csv", 102)
    text = page.write(folders, since=200).read_text()
    assert "Failed: 07_stage2." in text
    assert "Not run in the last call: 04_dataset." in text
    assert "with\nother parameters: Table 1, 07 stage2." in text
    assert text.count("it may be older than the rest") == 2
    section = text.partition('<section id="table1">')[2]
    assert section.index("older than the rest") < section.index("</section>")

    everything = page.write(folders, since=50).read_text()
    assert "older than the rest" not in everything and "Not run" not in everything


def test_a_word_that_pandas_takes_for_a_gap_is_shown_and_a_gap_stays_one(folders):
    paths.write(
        folders.tables / "answers.csv",
        "answer,EM,EM_lo,EM_hi,n,none\nNone,95.04,,,3,\nNA,,,,4,\nnan,1.0,0.5,2,5,\n",
    )
    text = page.write(folders).read_text()
    for word in ("None", "NA"):
        assert f">{word}</td>" in text
    assert ">95.0</td>" in text and ">1.0 <small>[0.5, 2.0]" in text and ">3</td>" in text
    section = text.partition("<h3>answers</h3>")[2]
    assert section.count(" ></td>") == 4  # the gap in EM, and three of the empty column


def test_an_empty_scale_has_a_page_too(folders):
    assert "run at scale tiny" in page.write(folders).read_text()
