"""items: what a folder holds, in the paper's order, with names that any system takes."""

import os

import pytest
from matplotlib.figure import Figure
from PIL import Image

from remem import paths
from remem.site import captions
from remem.site.files import Files
from remem.site.items import INCH, items, label, slug


def test_what_was_not_run_is_there_too_and_what_is_nobodys_comes_last(folders):
    paths.write(folders.tables / "my_own.csv", "a\n1\n")
    paths.write(folders.tables / "table2.csv", "EM\n1\n")
    found = items(Files(folders))
    assert [item.id for item in found] == [*captions.captions(), "my_own"]
    assert [item.id for item in found if item.there] == ["table2", "my_own"]
    by_name = {item.id: item for item in found}
    assert by_name["fig6"].title == "Figure 6: from 5 to 20 % of the people forgotten, 7B"
    assert by_name["my_own"].title == "My own" and by_name["my_own"].page == "my-own.html"
    assert by_name["table2"].of_the_paper and not by_name["table2_erased"].of_the_paper


def test_a_figure_is_as_large_on_a_screen_whatever_its_dots(folders):
    figure = Figure(figsize=(5, 2))
    figure.subplots()
    paths.save_figure(figure, folders.figures / "fig1")
    once = {item.id: item for item in items(Files(folders))}["fig1"].picture
    assert [path.suffix for path in (once.file, *once.others)] == [".png", ".pdf"]
    with Image.open(once.file) as shown:
        twice = shown.resize((2 * shown.width, 2 * shown.height))
        twice.save(once.file, dpi=tuple(2 * dots for dots in shown.info["dpi"]))
    again = {item.id: item for item in items(Files(folders))}["fig1"].picture
    assert abs(again.width - once.width) <= 1 and abs(once.width - 5 * INCH) < INCH


def test_an_svg_is_shown_where_it_is_light(folders):
    Image.new("RGB", (60, 60)).save(paths.make_folder(folders.figures) / "fig1.png")
    picture = folders.figures / "fig1.svg"
    for text, shown in (("<svg/>", "fig1.svg"), ("<svg>" + " " * 5000 + "</svg>", "fig1.png")):
        paths.write(picture, text)
        assert {item.id: item for item in items(Files(folders))}["fig1"].picture.file.name == shown


def test_what_the_last_call_did_not_make_is_older(folders):
    for name, when in (("table1", 100), ("table3", 300)):
        path = paths.write(folders.tables / f"{name}.csv", "EM\n1\n")
        os.utime(path, (when, when))
    older = {item.id for item in items(Files(folders), since=200) if item.older}
    assert older == {"table1"}


@pytest.mark.parametrize(
    "name, called",
    [
        ("table2", "Table 2"),
        ("fig3a", "Figure 3a"),
        ("table2_by_attribute", "Table 2, by attribute"),
        ("leaks", "Leaks"),
        ("figs", "Figs"),
    ],
)
def test_labels(name, called):
    assert label(name) == called


def test_every_name_has_a_file_of_its_own():
    names = [
        "table2",
        "a<i>",
        "a_i",
        "../x",
        "x",
        "samples",
        "index",
        "日本",
        "本日",
        "y" * 300,
        "y" * 299,
    ]
    files = [slug(name) for name in names]
    assert len({*files}) == len(names) and files[0] == "table2"
    for file in files:
        assert file and len(file) < 80 and file.isascii() and file.replace("-", "").isalnum()
        assert file not in ("samples", "index")
