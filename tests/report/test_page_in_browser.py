"""The page in a real browser: its pictures load, nothing overflows or errs, no link is dead."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import WIDTHS
from matplotlib.figure import Figure

from remem import paths
from remem.report import calls, page

# A page with the report in one frame for each width. Frames, since a window of Chromium cannot be
# as narrow as a phone.
LOOK = """<body><script>
const told = {}, widths = %s
for (const width of widths) {
  const frame = document.createElement("iframe")
  frame.style = `width: ${width}px; height: 800px; border: 0`
  frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement
    page.querySelectorAll("details").forEach(part => part.open = true)
    told[width] = {
      has: root.clientWidth, needs: root.scrollWidth,
      pictures: [...page.images].map(picture => picture.naturalWidth),
      links: [...page.links].map(link => link.getAttribute("href")),
      ids: [...page.querySelectorAll("[id]")].map(part => part.id),
      boxes: [...page.querySelectorAll(".box")].map(box => box.scrollWidth - box.clientWidth),
    }
    if (Object.keys(told).length == widths.length) {
      const end = document.createElement("pre")
      end.textContent = JSON.stringify(told)
      document.body.replaceChildren(end)
    }
  }
  frame.src = "index.html"
  document.body.append(frame)
}
</script></body>"""


def look(chromium: str, root: Path) -> tuple[dict, list[str]]:
    """What Chromium makes of root/index.html: per width what LOOK tells; the console's lines."""
    (root / "look.html").write_text(LOOK % list(WIDTHS))
    seen = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={root / 'profile'}",
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            "--dump-dom",
            (root / "look.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = re.search(r"<pre>(.*)</pre>", seen.stdout)
    assert told, f"Chromium did not show the page: {seen.stderr[-2000:]}"
    return json.loads(html.unescape(told[1])), re.findall(r":CONSOLE[^\n]*", seen.stderr)


def faults(chromium: str, root: Path) -> list[str]:
    """What is wrong with root/index.html, in words."""
    told, console = look(chromium, root)
    wrong = list(console)
    for width, seen in told.items():
        assert seen["has"] > int(width) - 20 and seen["pictures"]  # 20: a scroll bar
        if seen["needs"] > seen["has"]:
            wrong.append(f"at {width} px the page is {seen['needs']} px wide")
        wrong += ["a picture does not load" for wide in seen["pictures"] if not wide]
        for link in seen["links"]:
            there = link[1:] in seen["ids"] if link[0] == "#" else (root / unquote(link)).exists()
            wrong += [] if there else [f"{link} is dead"]
    return wrong


@pytest.fixture
def folders(tmp_path):
    """The reference run's tables and figures, with what is hard to show beside them."""
    folders = paths.Folders(tmp_path / "tiny", tmp_path / "tiny" / "runs")
    for name in ("tables", "figures", "verdicts"):
        shutil.copytree(paths.ROOT / "outputs" / "reference" / name, folders.root / name)
    word = "https://an-address-without-a-space.example.org/" + "x" * 300
    wide = ",".join(f"column_{n}" for n in range(40))
    paths.write(folders.tables / "fig2b.csv", f"{wide}\n" + f"{','.join(['12345.6'] * 40)}\n" * 99)
    paths.write(folders.tables / f"{'long_name' * 20}.csv", f"word,{word[:200]}\n{word},<&\">'%\n")
    line = f"{'a-claim-' * 9},§9,{word * 3},in the tiny world: does not hold,0.5,{word}\n"
    head = "claim,section,text,verdict,ours,weakest\n"
    paths.write(folders.tables / "scorecard.csv", head + line * 3)
    paths.write(folders.verdicts / "09_scorecard.csv", head + line * 3)
    figure = Figure(figsize=(20, 3))
    figure.subplots()
    paths.save_figure(figure, folders.figures / "fig1")
    paths.write(folders.runs / "base-1" / "DONE", "{}")
    paths.write(folders.runs / "base-1" / "spec.json", '{"kind": "base", "seconds": 1.0}')
    for name in ("00_base_model", "07_stage2"):
        paths.write(folders.notebooks / f"{name}.ipynb", "{}")
        paths.write(folders.html / f"{name}.html", "<p>a notebook</p>")
        calls.remember(folders, name, 0.0, 5.0, {"dataset.source": (word, "synthetic")})
    page.write(folders)
    return folders


def test_the_page_in_chromium(chromium, folders):
    assert faults(chromium, folders.root) == []
    told, _ = look(chromium, folders.root)
    assert "html/07_stage2.html" in told["360"]["links"]
    assert max(told["360"]["boxes"]) > 300  # wide tables do scroll, in their boxes


def test_what_was_written_into_it_is_neither_run_nor_sent(chromium, folders):
    text = (folders.root / "index.html").read_text()
    written = (
        "<script>document.body.remove()</script><img src='http://127.0.0.1:9/a.png' onerror="
        "'document.body.remove()'><iframe src='http://127.0.0.1:9/'></iframe>"
    )
    (folders.root / "index.html").write_text(text.replace("</body>", f"{written}</body>"))
    told, console = look(chromium, folders.root)
    assert told["360"]["links"]  # the page is all there
    refused = [line for line in console if "Content Security Policy" in line]
    assert len(refused) == len(console) >= 3 * len(WIDTHS)


def test_what_is_wrong_is_seen(chromium, folders):
    """The test above would pass a blank page, if this one did not fail a broken one."""
    text = (folders.root / "index.html").read_text().replace(page.POLICY, "")
    broken = (
        '<div style="width: 900px">wide</div><img src="data:image/png;base64,AAAA">'
        '<a href="html/99_none.html">dead</a><a href="#nowhere">dead</a>'
        "<script>console.error('oh'); throw Error('no')</script>"
    )
    (folders.root / "index.html").write_text(text.replace("</body>", f"{broken}</body>"))
    found = " / ".join(faults(chromium, folders.root))
    for told in (
        "at 360 px the page is",
        "picture does not load",
        "99_none.html is dead",
        "#nowhere is dead",
        "oh",
        "Error: no",
    ):
        assert told in found, f"{told}: {found}"
    assert "at 1280 px" not in found
