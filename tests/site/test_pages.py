"""pages: everything is shown, escaped, linked, and nothing is fetched for it from anywhere."""

import json
import re
from urllib.parse import unquote

import pytest
from matplotlib.figure import Figure

from remem import paths
from remem.report import calls
from remem.site import build, captions
from remem.site.files import Files
from remem.site.items import items

HEAD = "claim,section,text,verdict\n"

# What a browser gets without being asked, from another place than the site's own folder.
FETCHED = re.compile(
    r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)\s*=\s*["']?(?:\w+:)?//"""
    r"""|url\(\s*["']?(?:\w+:)?//|@import|\bfetch\(|XMLHttpRequest|\bimport\(""",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """A page's text without its marks."""
    return " ".join(re.sub(r"<[^>]*>", "", text).split())


@pytest.fixture
def full(folders):
    """A folder with something of every kind: a table and a figure, a table of one's own, verdicts,
    curves, notebooks."""
    for name in ("table2", "table3", "ours"):
        paths.write(folders.tables / f"{name}.csv", "model,method,hop,EM_f\ntiny,GA,single,95.0\n")
    for name in ("table2", "fig5"):
        figure = Figure()
        figure.subplots()
        paths.save_figure(figure, folders.figures / name)
    curve = "model,method,seed,epoch,view,hop,em\n"
    curve += "".join(
        f"m,GA,1,{k},{v},single,0.5\n" for k in (0, 1) for v in ("forget", "retain_eval")
    )
    paths.write(folders.tables / "table2_curves.csv", curve)
    lines = "gd-utility,§7.3,GD <b>,in the tiny world: holds\n"
    lines += "npo-utility,§7.3,N,in the tiny world: reversed\n"
    paths.write(folders.verdicts / "07_stage2.csv", HEAD + lines)
    paths.write(folders.notebooks / "07_stage2.ipynb", "{}")
    paths.write(folders.html / "07_stage2.html", "<p>a notebook</p>")
    calls.remember(folders, "07_stage2", 0.0, 5.0, {})
    return folders


def pages(folders) -> dict[str, str]:
    build(folders)
    return {path.name: path.read_text("utf-8") for path in folders.site.glob("*.html")}


def test_a_folder_with_nothing_has_a_site_too(folders):
    found = pages(folders)
    assert {*found} == {"index.html", "samples.html", "notebooks.html", "words.html"}
    assert "No claim was put to the test yet" in found["index.html"]
    assert found["index.html"].count("not run: notebook") == 14  # the paper's tables and figures


def test_each_thing_that_was_made_has_a_page_with_its_caption(full):
    found = pages(full)
    for item in items(Files(full)):
        if item.there:
            text = plain(found[item.page])
            for said in (item.title, item.caption.shows, item.caption.measured):
                assert said.replace("'", "&#39;").replace('"', "&#34;") in text, item.id
        elif item.id != "scorecard":  # which is made of verdicts
            assert item.page not in found
    assert "Ours" in found["ours.html"]
    assert {*captions.words()} <= {*re.findall(r"<dt>(.*?)</dt>", found["words.html"])}


def test_no_link_is_dead_and_no_id_stands_twice(full):
    found = pages(full)
    door = (full.root / "index.html").read_text()
    assert 'href="site/index.html"' in door and "0; url=site/index.html" in door
    for name, text in found.items():
        ids = re.findall(r'\bid="([^"]*)"', text)
        assert len(ids) == len({*ids}), name
        for link in re.findall(r'\b(?:href|src)="([^"]*)"', text):
            file, _, place = link.partition("#")
            if not file.startswith("https://"):
                there = full.site / unquote(file) if file else full.site / name
                assert there.is_file(), f"{name}: {link}"
                if place and "=" not in place:
                    assert f'id="{place}"' in there.read_text(), f"{name}: {link}"


def test_nothing_is_fetched_from_outside_and_no_page_may(full):
    for name, text in pages(full).items():
        assert not FETCHED.search(text), name
        [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert "<style" not in text and " style=" not in text and " onclick" not in text
    for path in (full.site / "assets").iterdir():
        assert not FETCHED.search(path.read_text().replace("http://www.w3.org/2000/svg", "")), path


def test_the_first_page_counts_the_claims_in_words_that_lead_to_them(full):
    text = pages(full)["index.html"]
    told = r"Of the paper's \d\d claims 1 holds, 1 is reversed and \d\d were not run"
    assert re.search(told, plain(text).replace("&#39;", "'"))
    assert re.search(r"Of \d\d that we put beside them \d\d were not run", plain(text))
    assert 'href="scorecard.html#whose=paper&amp;verdict=holds"' in text
    assert 'src="figures/table2.png"' in text
    assert len(text) + (full.site / "figures" / "table2.png").stat().st_size < 1_000_000


def test_a_claim_has_a_page_of_its_own(full):
    found = pages(full)
    text = plain(found["claim-gd-utility.html"])
    assert "GD &lt;b&gt;" in text or "GD retains most" in text
    assert "In the tiny world: holds" in text and "What has to be true first" in text
    assert "P5" in text and "Notebook 7, stage2: as it was executed" in text
    assert "was not run" in plain(found["claim-ratio-gd.html"])  # its figure
    assert found["scorecard.html"].count("<tr data-verdict=") > 70


def test_every_text_is_escaped(full):
    paths.write(full.tables / "a<i>.csv", "<u>,n,paper_n\n<b>&,1,2\n")
    evil = f"{HEAD}<script>alert(1)</script>,<s>,<q>,<del>\ngd-utility,<s>,<q>,<del>\n"
    paths.write(full.verdicts / "07_stage2.csv", evil)
    paths.write(
        full.tables / "preconditions.csv",
        "precondition,what,model,aim,low,high,value,value_lo,value_hi,met,claims,notebook\nP5,<u>,<b>,none,,,1,,,no,gd-utility,x\n",
    )
    calls.remember(full, "08_x", 0.0, None, {"dataset.source": ("<em>", "</script>")})
    for name, text in pages(full).items():
        for wild in ("<i>", "<u>", "<s>", "<q>", "<del>", "<script>", "<em>&"):
            assert wild not in text, name
    assert "&lt;em&gt;" in (full.site / "index.html").read_text()


def test_data_for_scripts_cannot_end_its_script(full):
    curve = (
        (full.tables / "table2_curves.csv").read_text().replace("GA", "</script><script>alert(1)")
    )
    paths.write(full.tables / "table2_curves.csv", curve)
    text = pages(full)["tradeoff.html"]
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert "</script><script>alert(1)" in json.loads(data)["panels"][0]["ways"]


def test_an_experiment_says_in_its_head_what_differs(full, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REFERENCE", tmp_path / "reference")
    lines = "gd-utility,§7.3,GD,in the tiny world: reversed\n"
    lines += "npo-utility,§7.3,N,in the tiny world: reversed\n"
    paths.write(paths.REFERENCE / "tables" / "scorecard.csv", HEAD + lines)
    assert "What differs" not in pages(full)["index.html"]
    mine = paths.Folders(full.root.rename(full.root.with_name("mine")), full.runs)
    paths.write(mine.layout, json.dumps({"layout": 2, "scale": "tiny", "data": "tiny 0123"}))
    calls.remember(mine, "07_stage2", 0.0, 5.0, {"stage1.epochs": (3, 5), "seeds": ([1], [1, 2])})
    found = pages(mine)
    for text in found.values():
        head = plain(text.partition("<main")[0])
        assert (
            "The experiment mine: 2 parameters changed, 1 verdict other than the reference" in head
        )
    index = plain(found["index.html"])
    assert "stage1.epochs = 3 (file: 5)" in index and "seeds = [1] (file: [1, 2])" in index
    assert (
        "Of 2 claims that the reference run put to the test as well, 1 came out otherwise" in index
    )
    assert "reference: reversed" in index and "In the reference run: reversed" in plain(
        found["claim-gd-utility.html"]
    )


def test_what_is_older_than_the_last_call_says_so(full):
    build(full, since=4e9)
    assert "may be older than the rest" in (full.site / "table3.html").read_text()
    assert "may be older than the rest" not in pages(full)["table3.html"]


def test_a_second_building_gives_the_same_bytes_and_leaves_nothing_of_the_first(full):
    build(full)
    first = {path.name: path.read_bytes() for path in full.site.rglob("*") if path.is_file()}
    paths.write(full.site / "left.html", "x")
    build(full)
    assert {
        path.name: path.read_bytes() for path in full.site.rglob("*") if path.is_file()
    } == first
    assert not [path for path in full.root.iterdir() if path.name.startswith(".")]


def test_a_building_that_fails_leaves_the_site_that_was_there(full, monkeypatch):
    build(full)
    before = (full.site / "index.html").read_bytes()
    monkeypatch.setattr("remem.site.pages._index", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build(full)
    assert (full.site / "index.html").read_bytes() == before


def test_parameters_that_are_gone_leave_out_the_rows_and_say_why(full):
    paths.write(full.runs / "base-1" / "DONE", "{}")
    gone = {"metadata": {"papermill": {"parameters": {"scale": "gone.yaml", "overrides": {}}}}}
    paths.write(full.notebooks / "07_stage2.ipynb", json.dumps(gone))
    found = pages(full)
    assert "The rows cannot be read: gone.yaml" in found["samples.html"]
    assert "Its runs cannot be named: gone.yaml" in found["table2.html"]
    assert "samples.html" not in found["index.html"]


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
    "a claim's numbers as texts": b"claim,section,verdict,ours,rule\ngd-utility,1,holds,x,y\n",
    "curves of texts": b"model,method,hop,seed,epoch,view,em,EM_f\na,b,single,1,x,forget,y,z\n",
    "met without a model": b"precondition,met\nP1,yes\n",
    "markup": b"<script>,</style>\n<b>,</table>\n",
    "columns without end": WIDE.encode() + WIDE.encode(),
    "one long text": b"a\n" + b"x" * 200_000 + b"\n",
    "no lines but ends": b"\n\n\n\r\n\r",
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_an_odd_file_among_the_tables_breaks_nothing(folders, content):
    """Whatever it holds, and whichever table it stands for."""
    paths.write(folders.tables / "table3.csv", "hop,EM\nsingle,95.0\n")
    names = ("table2", "table2_curves", "scorecard", "preconditions", "memorised", "mine")
    for name in names:
        paths.write(folders.tables / f"{name}.csv", content)
        paths.write(folders.figures / f"{name}.png", content)
    paths.write(folders.verdicts / "07_stage2.csv", content)
    paths.write(folders.notebooks / "07_stage2.ipynb", content)
    for name in ("notebooks", "times"):
        paths.write(folders.root / f"{name}.csv", content)
    found = pages(folders)
    assert ">95</td>" in found["table3.html"] and 'href="tables/mine.csv"' in found["mine.html"]
    for text in found.values():
        assert text.rstrip().endswith("</html>") and len(text) < 1_000_000
        assert "<script>" not in text and "<b>," not in text
    if content[:1] in (b"", b"\xff"):
        assert (
            "Cannot be read: " in found["index.html"] and "tables/mine.csv" in found["index.html"]
        )
        assert "cannot be shown (" in found["mine.html"]


def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(folders):
    folders.tables.mkdir(parents=True)
    with open(bytes(folders.tables) + b"/a\xff#?%.csv", "w") as file:
        file.write("hop,EM\nsingle,95.0\n")
    found = pages(folders)
    [text] = [text for name, text in found.items() if name.startswith("a-")]
    assert ">95</td>" in text and 'href="tables/a%FF%23%3F%25.csv"' in text


def contrast(first: str, second: str) -> float:
    """WCAG's, between two colours as #rgb or #rrggbb."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_text_is_readable_on_every_shade_and_each_is_darker_than_the_last():
    style = (paths.SITE / "assets" / "site.css").read_text()
    shades = ["#fff", *re.findall(r"\.far\d \{ background: (#\w+)", style)]
    text = re.search(r"body \{[^}]*[^-]color: (#\w+)", style)[1]
    small = re.search(r"\.far5 small \{ color: (#\w+)", style)[1]
    for shade in shades:
        assert min(contrast(shade, colour) for colour in (text, small)) > 5
    against_white = [contrast("#fff", shade) for shade in shades]
    assert against_white == sorted(against_white) and against_white[-1] > 2
    for outcome in ("holds", "fails", "small", "untold"):  # a sign, so that colour is not alone
        assert f".{outcome}::before" in style
