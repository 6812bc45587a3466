"""page: everything is on it, in the paper's order, escaped, and nothing is fetched for it."""

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
    paths.write(
        folders.root / "durations.csv", "notebook,seconds,longest\n04_dataset,7.5,95.2\n"
    )
    text = page.write(folders).read_text()
    assert 'href="html/04_dataset.html"' in text and 'href="html/05_metrics.failed.html"' in text
    assert text.count("failed</span>") == 1
    assert "7.5 s" in text and "1 min 35 s" in text


def test_an_empty_scale_has_a_page_too(folders):
    assert "run at scale tiny" in page.write(folders).read_text()
