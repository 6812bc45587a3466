"""The site in a real browser: nothing errs or overflows, and the scripts do what they say."""

import os
import shutil
from pathlib import Path

import pytest
from browser import Browser, until

from remem import paths
from remem.site import build

WORD = "https://an-address-without-a-space.example.org/" + "x" * 300  # hard to show
NAMES = ("base", "before unlearning", "GA", "NPO", "retrained", "chance")
ARROW = {"ArrowDown": 40, "ArrowLeft": 37}
KINDS = (
    "index",
    "scorecard",
    "claim-gd-utility",
    "table2",
    "fig2b",
    "preconditions",
    "samples",
    "tradeoff",
)
KINDS += ("notebooks", "words", "mine")

# Rules of WCAG that can be read off a page: every picture has a text, every control a name, one
# heading of the first order and none skipped, and what scrolls can be reached by keys.
NAMELESS = """[
  ...[...document.images].filter(one => !one.alt).map(one => `no alt: ${one.src}`),
  ...[...document.querySelectorAll("select, input, button, a, summary")]
    .filter(one => one.checkVisibility() && !(one.labels?.length || one.textContent.trim()
      || one.querySelector("img")?.alt)).map(one => `no name: ${one.outerHTML.slice(0, 80)}`),
  ...[...document.querySelectorAll("svg")].filter(one => one.getAttribute("aria-hidden") != "true"
    && !one.getAttribute("aria-label")).map(() => "an svg without a name"),
  ...document.querySelectorAll("h1").length == 1 ? [] : ["not one h1"],
  ...[...document.querySelectorAll("h1, h2, h3")].map(one => Number(one.tagName[1]))
    .filter((level, k, all) => level > (all[k - 1] ?? 0) + 1).map(level => `h${level} after none`),
  ...[...document.querySelectorAll(".box")].filter(one => one.tabIndex != 0 || !one.ariaLabel)
    .map(() => "a box that keys do not reach"),
  ...document.documentElement.lang ? [] : ["no language"],
  ...document.querySelector("main") ? [] : ["no main"],
]"""


@pytest.fixture(scope="session")
def site(smoke_made, tmp_path_factory):
    """The folder of a site with everything of the reference, the rows of scale smoke, and what is
    hard to show."""
    folders = paths.Folders(smoke_made.root / "mine", smoke_made.folders.runs)
    for name in ("tables", "figures", "verdicts"):
        shutil.copytree(paths.REFERENCE / name, folders.root / name)
    wide = ",".join(f"column_{n}" for n in range(40))
    paths.write(folders.tables / "fig2b.csv", f"{wide}\n" + f"{','.join(['12345.6'] * 40)}\n" * 99)
    paths.write(folders.tables / "mine.csv", f"word,{WORD[:200]}\n{WORD},<&\">'%\n")
    paths.write(
        folders.tables / "preconditions.csv",
        "precondition,what,model,aim,low,high,value,value_lo,value_hi,met,claims,notebook\n"
        f"P5,{WORD},tiny-7b,none,,,1.0,0.5,1.5,no,gd-utility,06_stage1\n",
    )
    head = "model,method,hop,ROUGE,EM_r,EM_f,EM_f_lo,EM_f_hi,paper_EM_f,paper_EM_r,Exposure,EM_t\n"
    rows = [
        f"smoke,{name},{hop},90,50,50,40,60,20,50,30,50\n"
        for name in NAMES
        for hop in ("single", "multi")
    ]
    rows.append("tiny-7b,NPO,single,90,50,50,40,60,20,50,30,50\n")  # the curves' model
    paths.write(folders.tables / "table2.csv", head + "".join(rows))
    for name in ("00_base_model", "07_stage2"):
        paths.write(folders.html / f"{name}.html", "<p>a notebook</p>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REMEM_OUTPUTS", str(smoke_made.root))
        return build(folders).parent


@pytest.mark.browser
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_errs_in_nothing_at_any_width(browser: Browser, site: Path, kind):
    browser.open(site / f"{kind}.html")
    browser.value("document.querySelectorAll('details').forEach(part => part.open = true)")
    if kind == "samples":
        until(
            lambda: (
                "Rows 1" in browser.value("document.getElementById('found').textContent") or None
            )
        )
    assert browser.value(NAMELESS) == []
    assert browser.faults(site) == []


@pytest.mark.browser
def test_what_is_wrong_is_seen(browser: Browser, site: Path, tmp_path):
    """The test above would pass a blank page, if this one did not fail a broken one."""
    shutil.copytree(site, tmp_path / "site", ignore=shutil.ignore_patterns("samples"))
    page = tmp_path / "site" / "words.html"
    broken = (
        '<p><img src="figures/none.png"></p><div><svg></svg><select></select><h3>x</h3>'
        '<a href="x"></a>'
        f"<p class='broken'>{'x' * 600}</p></div><script>alert(1)</script>"
    )
    style = "\n.broken { overflow-wrap: normal; }\n"
    paths.write(page, page.read_text().replace("</h1>", f"</h1>{broken}"))
    paths.write(
        tmp_path / "site" / "assets" / "site.css",
        (site / "assets" / "site.css").read_text() + style,
    )
    browser.open(page)
    names = " / ".join(browser.value(NAMELESS))
    for told in ("no alt: ", "no name: <select", "no name: <a", "an svg without", "h3 after none"):
        assert told in names
    found = " / ".join(browser.faults(tmp_path / "site"))
    for told in (
        "a picture does not load",
        "Content Security Policy",
        "at 360 px too wide: <p class",
    ):
        assert told in found, found
    assert "it fetches" in " ".join(browser.open(page).faults(tmp_path / "other"))


def each(selector: str, what: str) -> str:
    """An expression: `what` of each `one` that a selector finds."""
    return f"[...document.querySelectorAll({selector!r})].map(one => {what})"


def shown(browser: Browser) -> int:
    return sum(browser.value(each("#claims tbody tr", "one.checkVisibility()")))


@pytest.mark.browser
def test_the_scorecard_is_filtered_by_keys_and_by_its_address(browser: Browser, site: Path):
    browser.open(site / "scorecard.html")
    every = shown(browser)
    browser.value("document.querySelector('[name=whose]').focus()")
    browser.keys("ArrowDown", windowsVirtualKeyCode=ARROW["ArrowDown"])
    papers = shown(browser)
    assert 0 < papers < every
    assert (
        browser.value("document.getElementById('found').textContent")
        == f"{papers} of {every} claims"
    )
    assert browser.value("location.hash") == "#whose=paper"
    browser.open(site / "scorecard.html", place="whose=paper&words=exposure")
    assert 0 < shown(browser) < papers
    assert browser.value("document.querySelector('[name=whose]').value") == "paper"
    browser.value("document.querySelector('button[type=reset]').click()")
    until(lambda: shown(browser) == every or None)


@pytest.mark.browser
def test_the_slider_moves_every_mark(browser: Browser, site: Path):
    browser.open(site / "tradeoff.html")
    drawn = "document.getElementById('panels').innerHTML"
    panels = browser.value("document.querySelectorAll('#panels svg').length")
    last, label = (
        browser.value(drawn),
        "document.querySelector('#panels svg').getAttribute('aria-label')",
    )
    assert panels == 4 and "after 5 epochs" in browser.value(label)
    browser.value("document.getElementById('epoch').focus()")
    browser.keys("ArrowLeft", "ArrowLeft", windowsVirtualKeyCode=ARROW["ArrowLeft"])
    assert browser.value("document.getElementById('now').textContent") == "3"
    assert "after 3 epochs" in browser.value(label) and browser.value(drawn) != last
    marks = browser.value("document.querySelectorAll('#panels path').length")
    browser.value("document.querySelector('[name=paper]').click()")
    assert browser.value("document.querySelectorAll('#panels path').length") < marks


FOUND = "document.getElementById('found').textContent"
PICKED = "Object.fromEntries(new FormData(document.getElementById('pick')))"


@pytest.mark.browser
def test_a_cell_of_table_2_leads_to_its_rows_which_can_be_looked_through(
    browser: Browser, site: Path
):
    browser.open(site / "table2.html")
    rows = browser.value(each("tbody tr", "one.textContent"))
    at = next(
        k
        for k, text in enumerate(rows)
        if text.startswith("smoke") and "NPO" in text and "multi" in text
    )
    browser.events.clear()
    browser.value(f"document.querySelectorAll('tbody tr')[{at}].cells[5].firstChild.click()")
    browser.loaded()
    said = until(lambda: browser.value(FOUND) if "Rows 1" in browser.value(FOUND) else None)
    picked = browser.value(PICKED)
    assert (picked["method"], picked["hop"], picked["view"]) == ("NPO", "multi", "forget")
    assert said == "Rows 1 to 10 of 10; 5 answered right (50.0 %)"
    assert "</script><b>" in browser.value(each("#rows .picked span", "one.textContent"))
    assert browser.value(each("#rows .said b", "one.textContent")) == []
    cells = "[one.querySelector('span').className, one.cells[2].textContent]"
    for mark, rank in browser.value(each("#rows .said .picked", cells)):
        if rank:
            disagrees = (mark == "yes") != rank.startswith("1 of")
            assert ("masked" in rank or "not first" in rank) == disagrees
    bars = browser.value(each("#rows .bars", "one.querySelectorAll('.true').length"))
    assert bars and {*bars} == {1}

    browser.value("document.querySelector('[name=every]').click()")
    names = each("#rows > li:first-child .said tbody th", "one.textContent")
    until(lambda: len(browser.value(names)) == 10 or None)
    browser.value(
        "const view = document.querySelector('[name=view]'); view.value = 'retain_eval';"
        "view.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    until(lambda: "Rows 1 to 10 of 28" in browser.value(FOUND) or None)
    browser.value("document.getElementById('after').click()")
    until(lambda: "Rows 11 to 20" in browser.value(FOUND) or None)
    assert browser.faults(site) == []


@pytest.mark.browser
def test_answers_are_loaded_only_when_they_are_asked_for(browser: Browser, site: Path):
    browser.open(site / "samples.html", place="method=GA")
    until(lambda: "Rows 1" in browser.value(FOUND) or None)
    loaded = browser.value("[...document.scripts].map(one => one.src.split('/').pop())")
    assert any("GA" in name for name in loaded) and not any("NPO" in name for name in loaded)


@pytest.mark.browser
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing(browser: Browser, site: Path, kind):
    """With axe-core's axe.min.js (npm pack axe-core), whose path is in $AXE."""
    if "AXE" not in os.environ:
        pytest.skip("no axe: set AXE to the path of axe-core's axe.min.js")
    browser.open(site / f"{kind}.html")
    browser.value(Path(os.environ["AXE"]).read_text("utf-8") + "; 0")
    browser.value(
        "window.found = null; axe.run().then(({violations}) => {"
        "window.found = violations.map(one => `${one.id}: ${one.nodes[0].html}`)}); 0"
    )
    assert until(lambda: browser.value("window.found && {found: window.found}")) == {"found": []}
