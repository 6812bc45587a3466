"""The review: pages under real key strokes in a real browser, and what they save, read back."""

import io
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import test_report
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from remem import dataset, paths, review

chromium = test_report.chromium  # the fixture: an installed browser, or a skip that says why
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update")  # fmt: skip

# What lies outside of the window, or would scroll sideways; the strip of pictures may.
OVERFLOW = """[...document.querySelectorAll("body, body *")].filter(part =>
  !part.closest(".views button") && part.checkVisibility() && (
    part.getBoundingClientRect().right > innerWidth + 1 ||
    part.scrollWidth > part.clientWidth + 1 && part.clientWidth && !part.matches(".views")
  )).map(part => part.outerHTML.slice(0, 80))"""
VIEWS = '[...document.querySelectorAll(".view")]'
LONG = "x" * 300
EVIL = "</script><img src=x onerror=alert(1)>\"'&,{{ 7 * 7 }}"


class Browser:
    """One Chromium, spoken to over its own DevTools protocol: keys are keys, a download a file."""

    def __init__(self, socket: ClientConnection, downloads: Path) -> None:
        self.socket, self.downloads = socket, downloads
        self.number, self.events, self.session = 0, [], {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def call(self, method: str, **arguments) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": arguments, **self.session}
        self.socket.send(json.dumps(message))
        while (answer := json.loads(self.socket.recv(timeout=20))).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: str, width: int = 1280) -> "Browser":
        self.events.clear()
        self.resize(width)
        self.call("Page.navigate", url=Path(page).as_uri())
        until(lambda: self.seen("Page.loadEventFired") or self.tell("0") or None)
        return self

    def resize(self, width: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip

    def seen(self, method: str) -> list[dict]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def tell(self, expression: str):
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def keys(self, *names: str, **how) -> "Browser":
        for key in names:
            code = f"Digit{key}" if key.isdigit() else f"Key{key.upper()}" if len(key) == 1 else key
            stroke = {"key": key, "code": code} | how
            self.call("Input.dispatchKeyEvent", type="keyDown", **stroke)
            self.call("Input.dispatchKeyEvent", type="keyUp", **stroke)
        return self

    def marks(self) -> list[str]:
        return self.tell(f"{VIEWS}.map(({{dataset: d}}) => `${{d.decision}} ${{d.reason}}`.trim())")

    def at(self) -> int:
        return self.tell(f'{VIEWS}.findIndex(view => view.matches("[aria-current]"))')

    def save(self, name: str) -> Path:
        """The file that the key S leaves among the downloads."""
        file = self.downloads / name
        file.unlink(missing_ok=True)
        self.keys("s")
        return until(lambda: file if file.exists() and file.read_text().endswith("\n") else None)

    def faults(self) -> list[str]:
        """What is wrong with the page that is open, in words."""
        wrong = [str(event) for name in ("Runtime.exceptionThrown", "Log.entryAdded",
                 "Runtime.consoleAPICalled") for event in self.seen(name)]  # fmt: skip
        fetched = [event["request"]["url"] for event in self.seen("Network.requestWillBeSent")]
        wrong += [f"it fetches {url[:80]}" for url in fetched[1:] if not url.startswith("data:")]
        wrong += ["a picture does not load"] * self.tell(
            "[...document.images].filter(picture => !picture.naturalWidth).length"
        )
        for width in test_report.WIDTHS:
            self.resize(width)
            wrong += [f"at {width} px too wide: {part}" for part in self.tell(OVERFLOW)]
        return wrong


def until(attempt, seconds: float = 15):
    """What `attempt` gives as soon as it gives anything."""
    end = time.monotonic() + seconds
    while True:
        try:
            if result := attempt():
                return result
        except (FileNotFoundError, IndexError):
            pass
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    root = tmp_path_factory.mktemp("browser")
    process = subprocess.Popen(
        [chromium, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={root}"],
        stderr=subprocess.DEVNULL,
    )
    try:
        port, path = until(lambda: (root / "DevToolsActivePort").read_text().split())
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as socket:
            yield Browser(socket, root / "downloads")
    finally:
        process.terminate()
        process.wait(timeout=20)


def drawn(path: Path, seed: int, side: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def draft(folder: Path, identity: str = "p00", views: int = 5) -> pd.DataFrame:
    """What a construction leaves to be reviewed: an anchor and `views` pictures."""
    rows = [{"identity": identity, "image": "anchor/a.png", "split": "anchor", "similarity": ""}]
    rows += [
        {"identity": identity, "image": f"train/{k}.png", "split": "train",
         "similarity": ["0.512", ""][k % 2], "pose": "arms crossed"}
        for k in range(views)
    ]  # fmt: skip
    for seed, row in enumerate(rows):
        drawn(folder / row["image"], seed)
    table = pd.DataFrame(rows)
    paths.write(folder / "views.csv", table.to_csv(index=False))
    paths.write(folder / "people.json", json.dumps([{"identity": identity, "job": "diver"}]))
    return table


def line(image="train/0.png", mark="keep", reason="", identity="p00", pixels="a" * 64) -> str:
    return f"{identity},{image},{pixels},{mark},{reason}\n"


HEAD = ",".join(review.COLUMNS) + "\n"


# ---------------------------------------------------------------- the page


def test_keys_mark_the_file_is_saved_and_the_next_page_goes_on(browser, tmp_path, capsys):
    draft(tmp_path)
    assert review.main([str(tmp_path)]) == 0
    page = tmp_path / "review" / "p00.html"
    assert f"{page}: 6 pictures, 0 kept, 0 dropped, 6 to see" in capsys.readouterr().out
    browser.open(page)
    assert browser.at() == 0 and browser.marks() == [""] * 6
    told = browser.tell("document.body.innerText")
    assert "1 of 6" in told and "diver" in told and "similarity" not in told  # the anchor's own
    browser.keys("k", "1", "ArrowRight", "4")
    assert browser.marks() == ["keep", "drop artefacts", "", "drop ethics", "", ""]
    assert browser.at() == 4
    browser.keys("K", "3")  # a capital too; then on to the one that was left out
    assert browser.marks()[4:] == ["keep", "drop recognisability"] and browser.at() == 2
    told = browser.tell("document.body.innerText")
    assert "3 of 6 · train/1.png" in told and "no face found" in told and "arms crossed" in told
    assert "2 kept, 3 dropped, 1 to see not saved yet: press S" in told
    assert str(page.with_suffix(".csv")) in told and "Start the construction again" in told

    file = browser.save("p00.csv")
    told = browser.tell('document.querySelector("#count").textContent')
    assert "3 dropped, 1 to see saved to downloads, " in told and "not saved" not in told
    lines = file.read_text().splitlines()
    assert lines[0] == HEAD.strip() and len(lines) == 6
    with Image.open(tmp_path / "train/0.png") as picture:
        pixels = review.fingerprint(picture)
    assert lines[2] == f"p00,train/0.png,{pixels},drop,artefacts"

    paths.write(page.with_suffix(".csv"), file.read_bytes())
    assert review.main([str(tmp_path)]) == 0
    assert f"{page}: 6 pictures, 2 kept, 3 dropped, 1 to see" in capsys.readouterr().out
    browser.open(page)
    assert browser.marks() == ["keep", "drop artefacts", "", "drop ethics", "keep",
                               "drop recognisability"]  # fmt: skip
    assert browser.at() == 2  # where there is something to do
    browser.keys("ArrowLeft", "u")
    assert browser.marks()[1] == "" and browser.at() == 1
    assert len(browser.save("p00.csv").read_text().splitlines()) == 5
    assert "none left to see" in browser.keys("k", "k").tell("document.body.innerText")


def test_a_picture_drawn_again_is_undecided_and_the_old_mark_is_kept(browser, tmp_path):
    draft(tmp_path)
    drawn(tmp_path / "train/4.png", 1)  # the pixels of train/0.png
    review.main([str(tmp_path)])
    page = tmp_path / "review" / "p00.html"
    browser.open(page).keys("ArrowRight", "1")
    assert browser.marks() == ["", "drop artefacts", "", "", "", "drop artefacts"]
    first = browser.save("p00.csv").read_text()
    paths.write(page.with_suffix(".csv"), first)
    drawn(tmp_path / "train/0.png", 99)
    drawn(tmp_path / "train/4.png", 98)
    review.main([str(tmp_path)])
    assert browser.open(page).marks() == [""] * 6
    browser.keys("k")
    saved = browser.save("p00.csv")
    assert set(first.splitlines()[1:2]) < set(saved.read_text().splitlines())
    assert [*review.decisions(saved).decision] == ["keep", "drop"]


def test_marks_outlast_the_page_but_not_a_new_one(browser, tmp_path):
    table = draft(tmp_path)
    review.main([str(tmp_path)])
    page = tmp_path / "review" / "p00.html"
    browser.open(page).keys("k", "2")
    assert browser.open(page).marks()[:3] == ["keep", "drop alignment", ""]
    assert "not saved yet" in browser.tell("document.body.innerText")
    browser.save("p00.csv")
    told = browser.open(page).tell("document.body.innerText")
    assert "saved to downloads" in told and "not saved yet" not in told
    paths.write(tmp_path / "views.csv", table[:4].to_csv(index=False))
    review.main([str(tmp_path)])
    assert browser.open(page).marks() == [""] * 4


def test_what_is_no_mark_marks_nothing(browser, tmp_path):
    draft(tmp_path)
    review.main([str(tmp_path)])
    browser.open(tmp_path / "review" / "p00.html")
    browser.keys("k", modifiers=2).keys("1", modifiers=1).keys("x", "5", "Tab", "Escape")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="k", code="KeyK", autoRepeat=True)
    assert browser.marks() == [""] * 6
    browser.keys("&", code="Digit1")  # the key 1 of a French keyboard
    assert browser.marks()[0] == "drop artefacts"
    browser.keys("ArrowLeft", "ArrowLeft")
    assert browser.at() == 5
    browser.tell('document.querySelector("[data-key=k]").click()')
    browser.tell('document.querySelectorAll(".view")[2].click()')
    browser.tell('document.querySelector("[data-key=\'2\']").click()')
    assert browser.marks() == ["drop artefacts", "", "drop alignment", "", "", "keep"]


def hostile(folder: Path) -> tuple[pd.DataFrame, list[dict]]:
    name = "train/a, \"b\" 'c' <d>&amp;\nשלום.png"
    drawn(folder / name, 1, side=1200)
    views = pd.DataFrame([{"identity": EVIL, "image": name, "split": "train", "pose": EVIL + LONG,
                           "similarity": 0.25}])  # fmt: skip
    told = {"name": "נועה לוי", LONG: LONG, EVIL: EVIL, "half": "\ud83d", "size": 3}
    return views, [{"identity": EVIL, **told}]


def test_text_stays_text_and_nothing_overflows(browser, tmp_path):
    views, people = hostile(tmp_path)
    [written] = review.write(views, people, tmp_path, tmp_path / "review").itertuples()
    assert Path(written.page).parent == tmp_path / "review"
    browser.open(written.page)
    assert browser.faults() == []
    assert browser.tell("document.title") == f"Review of {EVIL}"
    terms = browser.tell('[...document.querySelectorAll("dt, dd")].map(part => part.textContent)')
    assert terms == ["name", "נועה לוי", LONG, LONG, EVIL, EVIL, "half", "?", "size", "3"]
    assert browser.tell("document.images.length") == 3
    assert "First picture (there is no anchor)" in browser.tell("document.body.innerText")
    browser.keys("4")
    file = browser.save(Path(written.page).with_suffix(".csv").name)
    [row] = review.decisions(file).to_dict("records")
    assert row == {"identity": EVIL, "image": views.image[0], "fingerprint": written.fingerprint,
                   "decision": "drop", "reason": "ethics"}  # fmt: skip


def test_what_is_wrong_is_seen(browser, tmp_path):
    """The test above would pass a blank page, if this one did not fail a broken one."""
    views, people = hostile(tmp_path)
    [written] = review.write(views, people, tmp_path, tmp_path).itertuples()
    text = Path(written.page).read_text()
    broken = (
        '<div style="width: 900px">wide</div><img src="data:image/png;base64,AAAA">'
        '<script src="https://example.org/x.js"></script><script>throw Error("no")</script>'
    )
    Path(written.page).write_text(text.replace("<dl>", f"{broken}<dl>"))
    found = " / ".join(browser.open(written.page).faults())
    for told in ("at 360 px too wide: <div", "picture does not load", "example.org", "Error: no"):
        assert told in found, f"{told}: {found}"


def test_a_page_of_the_paper_s_size(tmp_path):
    """100 + 28 pictures and the anchor, of 1,024 pixels: a page that a browser opens."""
    pixels = np.random.default_rng(0).normal(128, 12, (1024, 1024, 3)).clip(0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "a.png", compress_level=1)
    views = pd.DataFrame({"identity": ["p00"], "image": ["a.png"], "split": ["train"]})
    [written] = review.write(views, [], tmp_path, tmp_path).itertuples()
    assert Path(written.page).stat().st_size * 129 < 150e6  # noise, which is the worst
    with Image.open(tmp_path / "a.png") as picture:
        assert written.fingerprint == review.fingerprint(picture)  # of what is there, not shown


# ---------------------------------------------------------------- what was decided


def test_decisions_of_a_file_and_of_a_folder(tmp_path):
    drop = line("b.png", "drop", "ethics", pixels="b" * 64)
    paths.write(tmp_path / "p00.csv", "\ufeff" + HEAD + line() + drop)
    noted = HEAD.replace("\n", ",note\r\n") + line().replace("\n", ",mine\r\n")
    paths.write(tmp_path / "p00 (1).csv", noted)
    paths.write(tmp_path / "p01.csv", HEAD + line(identity="p01", mark="drop", reason="artefacts"))
    assert [*review.decisions(tmp_path / "p00.csv").decision] == ["keep", "drop"]
    every = review.decisions(tmp_path)
    assert tuple(every.columns) == review.COLUMNS and len(every) == 3
    assert sorted(every.reason) == ["", "artefacts", "ethics"]
    paths.make_folder(tmp_path / "none")
    assert review.decisions(tmp_path / "none").empty


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "its first line should be identity,image,fingerprint,decision,reason"),
        ("identity,image\na,b\n", "lacks fingerprint, decision, reason"),
        (HEAD.replace(",", ";") + line(), "its first line should be"),
        (HEAD + line(mark="maybe"), "line 2: the mark is 'maybe'; allowed are keep"),
        (HEAD + line(mark="Keep"), "line 2: the mark is 'Keep'"),
        (HEAD + line(mark=""), "line 2: the mark is ''"),
        (HEAD + line(mark="drop"), "the mark is 'drop'; allowed are keep, without a reason, and"),
        (HEAD + line(mark="drop", reason="ugly"), "drop with one of artefacts, alignment"),
        (HEAD + line(reason="ethics"), "the mark is 'keep ethics'"),
        (HEAD + line() + line(pixels="1.2E+63"), "line 3: the fingerprint is not 64"),
        (HEAD + line(pixels="A" * 64), "line 2: the fingerprint is not 64"),
        (HEAD + "p00,a.png\n", "line 2: it has more or fewer fields"),
        (HEAD + line()[:-1] + ",more\n", "line 2: it has more or fewer fields"),
        (HEAD + line() + line(mark="drop", reason="ethics"),
         "line 3: train/0.png is marked 'drop ethics' here and 'keep' in"),
        (HEAD + '"open\n', "not a CSV in UTF-8"),
        (HEAD.encode("utf-16"), "not a CSV in UTF-8"),
        (HEAD.encode() + b"\xff\xfe\n", "not a CSV in UTF-8"),
        (HEAD + "\0\n", "marks.csv"),
    ],
)  # fmt: skip
def test_a_review_that_cannot_be_used(tmp_path, text, told):
    paths.write(tmp_path / "marks.csv", text)
    with pytest.raises(review.BadReview) as refused:
        review.decisions(tmp_path / "marks.csv")
    assert told in str(refused.value) and "marks.csv" in str(refused.value)


def test_two_files_that_disagree(tmp_path):
    paths.write(tmp_path / "a.csv", HEAD + line())
    paths.write(tmp_path / "b.csv", HEAD + line(mark="drop", reason="artefacts"))
    with pytest.raises(review.BadReview, match=r"b\.csv, line 2.*a\.csv, line 2; delete the line"):
        review.decisions(tmp_path)
    with pytest.raises(review.BadReview, match="cannot be read: No such file"):
        review.decisions(tmp_path / "c.csv")


def test_apply_adds_marks_and_takes_nothing_out(tmp_path):
    paths.write(tmp_path / "a.csv", HEAD + line() + line("b", "drop", "ethics", pixels="b" * 64))
    rows = pd.DataFrame({"identity": ["p00", "p01", "p00", "p00"], "n": [1, 2, 3, 4],
                         "fingerprint": [c * 64 for c in "bbac"]}, index=[7, 7, 3, 1])  # fmt: skip
    marked = review.apply(rows, review.decisions(tmp_path))
    assert [*marked.decision] == ["drop", "", "keep", ""]
    assert [*marked.reason] == ["ethics", "", "", ""]
    pd.testing.assert_frame_equal(marked[[*rows]], rows)
    nothing = review.apply(rows, pd.DataFrame(columns=review.COLUMNS, dtype=str))
    assert [*nothing.decision] == [""] * 4


# ---------------------------------------------------------------- what is reviewed


def test_a_fingerprint_is_of_pixels(tmp_path):
    drawn(tmp_path / "a.png", 0)
    with Image.open(tmp_path / "a.png") as picture:
        buffer = io.BytesIO()
        picture.convert("RGBA").save(buffer, "PNG", compress_level=0)
        assert review.fingerprint(Image.open(buffer)) == review.fingerprint(picture)
        assert review.fingerprint(picture.rotate(180)) != review.fingerprint(picture)
    flat = Image.new("RGB", (2, 8)), Image.new("RGB", (4, 4))
    assert review.fingerprint(flat[0]) != review.fingerprint(flat[1])


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "train/../../a.png", "..\\a.png"])
def test_a_path_that_leaves_the_folder(tmp_path, capsys, name):
    draft(tmp_path / "draft", views=0)
    drawn(tmp_path / "a.png", 0)
    paths.write(tmp_path / "draft/views.csv", f"identity,image,split\np00,{name},train\n")
    assert review.main([str(tmp_path / "draft")]) == 1
    assert f"the path {name!r} leaves the folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("views.csv", "identity,image\np00,train/0.png\n", "views.csv should have the columns"),
        ("views.csv", "identity,image,split\n", "and rows"),
        ("views.csv", "identity,image,split\np00,train/0.png,train,more\n", "as many cells as"),
        ("views.csv", "", "views.csv is not a CSV in UTF-8 (No columns"),
        ("views.csv", b"\xff", "views.csv is not a CSV in UTF-8"),
        ("views.csv", "identity,image,split\np00,train/9.png,train\n", "train/9.png is missing"),
        ("people.json", "{", "people.json is not a list of people"),
        ("people.json", "[1]", "people.json is not a list of people"),
        ("people.json", '[{"name": "x"}]', "people.json is not a list of people"),
        ("train/0.png", "no picture", "cannot be decoded"),
        ("review/p00.csv", "x", "its first line should be"),
    ],
)
def test_a_draft_that_cannot_be_used(tmp_path, capsys, file, text, told):
    draft(tmp_path, views=1)
    paths.write(tmp_path / file, text)
    assert review.main([str(tmp_path)]) == 1
    assert told in capsys.readouterr().err


def test_the_pages_of_a_dataset(tmp_path, capsys):
    spec = dataset.DatasetSpec(identities=2, image_size=16, single=2, multi=1, test_single=1,
                               test_multi=0)  # fmt: skip
    folder = dataset.make(spec, tmp_path)
    assert review.main([str(folder)]) == 0
    assert capsys.readouterr().out.count("4 pictures, 0 kept, 0 dropped, 4 to see") == 2
    text = (folder / "review" / "p01.html").read_text()
    assert dataset.people(spec)[1].email in text and dataset.people(spec)[0].email not in text
    assert "<code>python -m remem.dataset export</code> leaves it out" in text

    image = "train/p01/p01-train-002.png"
    [picture] = dataset.load_images(folder, [image])
    dropped = line(image, "drop", "ethics", "p01", review.fingerprint(picture))
    paths.write(folder / "review" / "p01.csv", HEAD + dropped)
    assert review.main([str(folder)]) == 0
    told = capsys.readouterr().out
    assert f"- {image}: a stereotype, offensive" in told and "export leaves out" in told
    assert review.main([str(tmp_path / "nothing")]) == 1
    assert "metadata.jsonl is missing" in capsys.readouterr().err


def test_any_label_gives_a_file_of_its_own(tmp_path):
    labels = ["p00", "P00", "../p00", "a/b", ".", "", "con\0", "x" * 300, "שלום"]
    drawn(tmp_path / "a.png", 0)
    views = pd.DataFrame({"identity": labels, "image": "a.png", "split": "train"})
    pages = review.write(views, [], tmp_path, tmp_path / "pages").page
    assert len({page.casefold() for page in pages}) == len(labels)
    assert {Path(page).parent for page in pages} == {tmp_path / "pages"}
