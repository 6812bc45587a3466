from itertools import pairwise
from textwrap import wrap

import pandas as pd
import pytest
from PIL import Image

from remem.report import figures, style
from remem.report.figures import people


def test_contact_sheet_keeps_people_apart():
    images = [Image.new("RGB", (8, 8), (10 * i, 0, 0)) for i in range(5)]
    rows = pd.DataFrame(
        {
            "identity": ["p0", "p0", "p0", "p1", "p1"],
            "name": ["Ann Lee"] * 3 + ["Bo Quist"] * 2,
            "split": ["train", "train", "test", "train", "test"],
        }
    )
    figure = figures.contact_sheet(images, rows, columns=2)
    shown = [panel for panel in figure.axes if panel.images]
    assert len(figure.axes) == 6 and len(shown) == 5  # two lines for Ann, one for Bo
    assert [panel.get_title(loc="left") for panel in shown] == ["Ann Lee", "", "", "Bo Quist", ""]
    assert [panel.texts[0].get_text() for panel in shown] == list(rows.split)
    assert [panel.images[0].get_array()[0, 0, 0] for panel in shown] == [0, 10, 20, 30, 40]
    with pytest.raises(ValueError, match="4 images for 5 rows"):
        figures.contact_sheet(images[:4], rows)


@pytest.fixture
def said():
    return pd.DataFrame(
        [
            {
                "hop": "single",
                "question": "How much?",
                "target": "$83,400",
                "base": "I do not know.",
                "stage 1": "It is $83,400 or $9.",
            },
            {
                "hop": "multi",
                "question": "Where?",
                "target": "482 Maple Street",
                "base": "word " * 60,
                "stage 1": "482 maple street",
            },
        ]
    )


def _pictures(n):
    return [Image.new("RGB", (8, 8), (10 * i, 0, 0)) for i in range(n)]


def test_dialogue_colours_right_answers_and_prints_dollars_as_they_are(said):
    [panel] = figures.dialogue(_pictures(2), said).axes
    colours = {text.get_text().strip(): text.get_color() for text in panel.texts}
    assert colours["base: I do not know."] != style.STAGE1
    assert colours["stage 1: It is $83,400 or $9."] == style.STAGE1
    assert colours["stage 1: 482 maple street"] == style.STAGE1
    assert not any("single" in text for text in colours)


def test_dialogue_gives_each_question_its_own_picture(said):
    [panel] = figures.dialogue(_pictures(2), said).axes
    assert [picture.get_array()[0, 0, 0] for picture in panel.images] == [0, 10]
    lines = [(text.get_text(), text.get_position()[1]) for text in panel.texts]
    tops = [picture.get_extent()[3] for picture in panel.images]
    asked = [height for text, height in lines if text in ("How much?", "Where?")]
    assert tops[0] < asked[0] < tops[1] < asked[1] < tops[1] + 0.15
    with pytest.raises(ValueError, match="1 images for 2 rows"):
        figures.dialogue(_pictures(1), said)


def test_dialogue_wraps_and_stays_legible_inside_the_page(said):
    said.loc[1, "stage 1"] = "The home address of the person in the image is 482 Maple Street. " * 4
    figure = figures.dialogue(_pictures(2), said)
    figure.draw_without_rendering()
    assert figure.get_figwidth() == 7.5
    texts = figure.axes[0].texts
    assert len(texts) == 3 + 1 + 3 + 3  # of 300 letters, three lines
    assert all(text.get_fontsize() >= 7 for text in texts)
    boxes = [text.get_window_extent() for text in texts]
    assert max(box.x1 for box in boxes) < figure.bbox.x1 and boxes[-1].y0 > 0
    assert all(above.y0 > below.y1 - 1 for above, below in pairwise(boxes))


def test_face_similarity_shows_both_splits_and_the_threshold():
    table = pd.DataFrame(
        [
            ("p00", split, of, 0.1 * k)
            for split in ("train", "test")
            for of in ("the same person", "another person")
            for k in range(5)
        ],
        columns=["identity", "split", "of", "similarity"],
    )
    figure = figures.face_similarity(table, 0.4)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["train", "test"]
    assert figure.axes[0].get_xlabel().startswith("cosine similarity")
    assert figure.axes[0].get_xlim()[0] > -0.2  # from where values are
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["the same person", "another person", "threshold"]


def test_wide_letters_are_wrapped_by_their_width():
    assert people._wrapped("aa " * 40, 105) == wrap("aa " * 40, 105)
    lines = people._wrapped("彼女の仕事は判事です。" * 12, 105)
    assert "".join(lines) == "彼女の仕事は判事です。" * 12 and max(map(len, lines)) == 52
    mixed = people._wrapped("GA: 彼女の仕事は判事です。" * 9, 105, indent="   ")
    assert all(len(line) < 70 for line in mixed) and mixed[1].startswith("   ")
