"""The pages of a review under real key strokes in a real browser, and what they save, read back."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import browser, chromium
from PIL import Image

from remem import paths, runs
from remem.construction import review
from remem.data import review_marks, validation
from remem.data.dataset import SyntheticData, people_of

__all__ = ["browser", "chromium"]  # the fixtures

LONG = "x" * 300
EVIL = "</script><img src=x onerror=alert(1)>\"'&,{{ 7 * 7 }}"


def drawn(path: Path, seed: int, side: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def draft(folder: Path, identity: str = "p00", pictures: int = 5) -> pd.DataFrame:
    """What a construction leaves to be reviewed: an anchor and `pictures` more."""
    rows = [{"identity": identity, "image": "anchor/a.png", "split": "anchor", "similarity": ""}]
    rows += [
        {
            "identity": identity,
            "image": f"train/{k}.png",
            "split": "train",
            "similarity": ["0.512", ""][k % 2],
            "pose": "arms crossed",
        }
        for k in range(pictures)
    ]
    for seed, row in enumerate(rows):
        drawn(folder / row["image"], seed)
    table = pd.DataFrame(rows)
    paths.write(folder / "pictures.csv", table.to_csv(index=False))
    paths.write(folder / "people.json", json.dumps([{"identity": identity, "job": "diver"}]))
    return table


def line(image="train/0.png", mark="keep", reason="", identity="p00", pixels="a" * 64) -> str:
    return f"{identity},{image},{pixels},{mark},{reason}\n"


HEAD = ",".join(review_marks.COLUMNS) + "\n"


def test_nothing_is_written_through_a_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    draft(tmp_path / "draft")
    for target in (elsewhere, tmp_path / "nowhere"):
        (tmp_path / "draft" / "review").symlink_to(target)
        with pytest.raises(review.BadReview, match=rf"review is a link to {target}: nothing is"):
            review.write_pages(tmp_path / "draft")
        (tmp_path / "draft" / "review").unlink()
    assert not list(elsewhere.iterdir()) and not (tmp_path / "nowhere").exists()

    mine = paths.write(elsewhere / "mine.html", "mine")
    (tmp_path / "draft" / "review").mkdir()
    (tmp_path / "draft" / "review" / "p00.html").symlink_to(mine)
    review.write_pages(tmp_path / "draft")
    assert mine.read_text() == "mine"  # the page takes the link's place
    assert "p00" in (tmp_path / "draft" / "review" / "p00.html").read_text()


# ---------------------------------------------------------------- the page


def test_keys_mark_the_file_is_saved_and_the_next_page_goes_on(browser, tmp_path):
    draft(tmp_path)
    page = tmp_path / "review" / "p00.html"
    assert review.write_pages(tmp_path) == [f"{page}: 6 pictures, 0 kept, 0 dropped, 6 to see"]
    browser.open(page)
    assert browser.at() == 0 and browser.marks() == [""] * 6
    text = browser.value("document.body.innerText")
    assert "1 of 6" in text and "diver" in text and "similarity" not in text  # the anchor's own
    browser.keys("k", "1", "ArrowRight", "4")
    assert browser.marks() == ["keep", "drop artefacts", "", "drop ethics", "", ""]
    assert browser.at() == 4
    browser.keys("K", "3")  # a capital too; then on to the one that was left out
    assert browser.marks()[4:] == ["keep", "drop recognisability"] and browser.at() == 2
    text = browser.value("document.body.innerText")
    assert "3 of 6 · train/1.png" in text and "no face found" in text and "arms crossed" in text
    assert "2 kept, 3 dropped, 1 to see not saved yet: press S" in text
    assert str(page.with_suffix(".csv")) in text and "Start the construction again" in text

    file = browser.save("p00.csv")
    text = browser.value('document.querySelector("#count").textContent')
    assert "3 dropped, 1 to see saved to downloads, " in text and "not saved" not in text
    lines = file.read_text().splitlines()
    assert lines[0] == HEAD.strip() and len(lines) == 6
    with Image.open(tmp_path / "train/0.png") as picture:
        pixels = review_marks.fingerprint(picture)
    assert lines[2] == f"p00,train/0.png,{pixels},drop,artefacts"

    paths.write(page.with_suffix(".csv"), file.read_bytes())
    assert review.write_pages(tmp_path) == [f"{page}: 6 pictures, 2 kept, 3 dropped, 1 to see"]
    browser.open(page)
    assert browser.marks() == [
        "keep",
        "drop artefacts",
        "",
        "drop ethics",
        "keep",
        "drop recognisability",
    ]
    assert browser.at() == 2  # where there is something to do
    browser.keys("ArrowLeft", "u")
    assert browser.marks()[1] == "" and browser.at() == 1
    assert len(browser.save("p00.csv").read_text().splitlines()) == 5
    assert "none left to see" in browser.keys("k", "k").value("document.body.innerText")


def test_a_picture_drawn_again_is_undecided_and_the_old_mark_is_kept(browser, tmp_path):
    draft(tmp_path)
    drawn(tmp_path / "train/4.png", 1)  # the pixels of train/0.png
    review.write_pages(tmp_path)
    page = tmp_path / "review" / "p00.html"
    browser.open(page).keys("ArrowRight", "1")
    assert browser.marks() == ["", "drop artefacts", "", "", "", "drop artefacts"]
    first = browser.save("p00.csv").read_text()
    paths.write(page.with_suffix(".csv"), first)
    drawn(tmp_path / "train/0.png", 99)
    drawn(tmp_path / "train/4.png", 98)
    review.write_pages(tmp_path)
    assert browser.open(page).marks() == [""] * 6
    browser.keys("k")
    saved = browser.save("p00.csv")
    assert set(first.splitlines()[1:2]) < set(saved.read_text().splitlines())
    assert [*review_marks.decisions(saved).decision] == ["keep", "drop"]


def test_marks_outlast_the_page_but_not_a_new_one(browser, tmp_path):
    table = draft(tmp_path)
    review.write_pages(tmp_path)
    page = tmp_path / "review" / "p00.html"
    browser.open(page).keys("k", "2")
    assert browser.open(page).marks()[:3] == ["keep", "drop alignment", ""]
    assert "not saved yet" in browser.value("document.body.innerText")
    browser.save("p00.csv")
    text = browser.open(page).value("document.body.innerText")
    assert "saved to downloads" in text and "not saved yet" not in text
    paths.write(tmp_path / "pictures.csv", table[:4].to_csv(index=False))
    review.write_pages(tmp_path)
    assert browser.open(page).marks() == [""] * 4


def test_what_is_no_mark_marks_nothing(browser, tmp_path):
    draft(tmp_path)
    review.write_pages(tmp_path)
    browser.open(tmp_path / "review" / "p00.html")
    browser.keys("k", modifiers=2).keys("1", modifiers=1).keys("x", "5", "Tab", "Escape")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="k", code="KeyK", autoRepeat=True)
    assert browser.marks() == [""] * 6
    browser.keys("&", code="Digit1")  # the key 1 of a French keyboard
    assert browser.marks()[0] == "drop artefacts"
    browser.keys("ArrowLeft", "ArrowLeft")
    assert browser.at() == 5
    browser.value('document.querySelector("[data-key=k]").click()')
    browser.value('document.querySelectorAll(".view")[2].click()')
    browser.value("document.querySelector(\"[data-key='2']\").click()")
    assert browser.marks() == ["drop artefacts", "", "drop alignment", "", "", "keep"]


def hostile(folder: Path) -> tuple[pd.DataFrame, list[dict]]:
    name = "train/a, \"b\" 'c' <d>&amp;\nשלום.png"  # noqa: RUF001
    drawn(folder / name, 1, side=1200)
    pictures = pd.DataFrame(
        [
            {
                "identity": EVIL,
                "image": name,
                "split": "train",
                "pose": EVIL + LONG,
                "similarity": 0.25,
            }
        ]
    )
    facts = {"name": "נועה לוי", LONG: LONG, EVIL: EVIL, "half": "\ud83d", "size": 3}
    return pictures, [{"identity": EVIL, **facts}]


def test_text_stays_text_and_nothing_overflows(browser, tmp_path):
    pictures, people = hostile(tmp_path)
    [written] = review.write(pictures, people, tmp_path, tmp_path / "review").itertuples()
    assert Path(written.page).parent == tmp_path / "review"
    browser.open(written.page)
    assert browser.faults() == []
    assert browser.value("document.title") == f"Review of {EVIL}"
    terms = browser.value('[...document.querySelectorAll("dt, dd")].map(part => part.textContent)')
    assert terms == ["name", "נועה לוי", LONG, LONG, EVIL, EVIL, "half", "?", "size", "3"]
    assert browser.value("document.images.length") == 3
    assert "First picture (there is no anchor)" in browser.value("document.body.innerText")
    browser.keys("4")
    file = browser.save(Path(written.page).with_suffix(".csv").name)
    [row] = review_marks.decisions(file).to_dict("records")
    assert row == {
        "identity": EVIL,
        "image": pictures.image[0],
        "fingerprint": written.fingerprint,
        "decision": "drop",
        "reason": "ethics",
    }


def test_what_is_wrong_is_seen(browser, tmp_path):
    """The test above would pass a blank page, if this one did not fail a broken one."""
    pictures, people = hostile(tmp_path)
    [written] = review.write(pictures, people, tmp_path, tmp_path).itertuples()
    text = Path(written.page).read_text()
    broken = (
        '<div style="width: 900px">wide</div><img src="data:image/png;base64,AAAA">'
        '<script src="https://example.org/x.js"></script><script>throw Error("no")</script>'
    )
    Path(written.page).write_text(text.replace("<dl>", f"{broken}<dl>"))
    found = " / ".join(browser.open(written.page).faults())
    for fault in ("at 360 px too wide: <div", "picture does not load", "example.org", "Error: no"):
        assert fault in found, f"{fault}: {found}"


def test_a_page_of_the_paper_s_size(tmp_path):
    """100 + 28 pictures and the anchor, of 1,024 pixels: a page that a browser opens."""
    pixels = np.random.default_rng(0).normal(128, 12, (1024, 1024, 3)).clip(0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "a.png", compress_level=1)
    pictures = pd.DataFrame({"identity": ["p00"], "image": ["a.png"], "split": ["train"]})
    [written] = review.write(pictures, [], tmp_path, tmp_path).itertuples()
    assert Path(written.page).stat().st_size * 129 < 150e6  # noise, which is the worst
    with Image.open(tmp_path / "a.png") as picture:
        assert written.fingerprint == review_marks.fingerprint(
            picture
        )  # of what is there, not shown


# ---------------------------------------------------------------- what is reviewed


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "train/../../a.png", "..\\a.png"])
def test_a_path_that_leaves_the_folder(tmp_path, name):
    draft(tmp_path / "draft", pictures=0)
    drawn(tmp_path / "a.png", 0)
    paths.write(tmp_path / "draft/pictures.csv", f"identity,image,split\np00,{name},train\n")
    with pytest.raises(validation.BadData, match=re.escape(f"the path {name!r} leaves the folder")):
        review.write_pages(tmp_path / "draft")


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        (
            "pictures.csv",
            "identity,image\np00,train/0.png\n",
            "pictures.csv should have the columns",
        ),
        ("pictures.csv", "identity,image,split\n", "and rows"),
        ("pictures.csv", "identity,image,split\np00,train/0.png,train,more\n", "as many cells as"),
        ("pictures.csv", "", "pictures.csv is not a CSV in UTF-8 (No columns"),
        ("pictures.csv", b"\xff", "pictures.csv is not a CSV in UTF-8"),
        ("pictures.csv", "identity,image,split\np00,train/9.png,train\n", "train/9.png is missing"),
        ("people.json", "{", "people.json is not a list of people"),
        ("people.json", "[1]", "people.json is not a list of people"),
        ("people.json", '[{"name": "x"}]', "people.json is not a list of people"),
        ("train/0.png", "no picture", "cannot be decoded"),
        ("review/p00.csv", "x", "its first line should be"),
    ],
)
def test_a_draft_that_cannot_be_used(tmp_path, file, text, reason):
    draft(tmp_path, pictures=1)
    paths.write(tmp_path / file, text)
    with pytest.raises((review_marks.BadReview, validation.BadData), match=re.escape(reason)):
        review.write_pages(tmp_path)


def test_the_pages_of_a_dataset(tmp_path):
    data = SyntheticData(
        identities=2, image_size=16, single=2, multi=1, test_single=1, test_multi=0
    )
    folder = runs.get_or_create(data, tmp_path)
    lines = review.write_pages(folder)
    assert [each.endswith("4 pictures, 0 kept, 0 dropped, 4 to see") for each in lines] == [
        True
    ] * 2
    text = (folder / "review" / "p01.html").read_text()
    first, second = people_of(data)
    assert second.email in text and first.email not in text
    assert "<code>remem dataset export</code> leaves it out" in text

    image = "train/p01/p01-train-002.png"
    [picture] = validation.load_images(folder, [image])
    dropped = line(image, "drop", "ethics", "p01", review_marks.fingerprint(picture))
    paths.write(folder / "review" / "p01.csv", HEAD + dropped)
    *_, heading, last = review.write_pages(folder)
    assert "export leaves out" in heading and last.startswith(f"- {image}: a stereotype, offensive")
    with pytest.raises(validation.BadData, match=r"metadata\.jsonl is missing"):
        review.write_pages(tmp_path / "nothing")


def test_any_label_gives_a_file_of_its_own(tmp_path):
    labels = ["p00", "P00", "../p00", "a/b", ".", "", "con\0", "x" * 300, "שלום"]
    drawn(tmp_path / "a.png", 0)
    pictures = pd.DataFrame({"identity": labels, "image": "a.png", "split": "train"})
    pages = review.write(pictures, [], tmp_path, tmp_path / "pages").page
    assert len({page.casefold() for page in pages}) == len(labels)
    assert {Path(page).parent for page in pages} == {tmp_path / "pages"}
