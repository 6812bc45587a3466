import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from remem import claims, figures, tables

METHODS = ["base", "before unlearning", "GA", "NPO", "retrained", "mine"]


@pytest.fixture
def table2():
    lines = []
    for model in ("tiny-7b", "tiny-13b"):
        for i, method in enumerate(["chance", *METHODS]):
            for hop in ("single", "multi"):
                line = {"model": model, "method": method, "hop": hop}
                for column in ("EM_r", "EM_f", "Exposure"):
                    value = 10.0 * i + len(column)
                    line |= {column: value, f"{column}_lo": value - 2, f"{column}_hi": np.nan}
                    line[f"paper_{column}"] = 33.0 if method in claims.METHODS else np.nan
                lines.append(line)
    return pd.DataFrame(lines)


@pytest.fixture
def curve():
    return pd.DataFrame(
        [
            {"model": "tiny-7b", "method": method, "seed": seed, "epoch": epoch, "view": view,
             "hop": "single", "em": 0.9 - 0.1 * epoch * (view == "forget") + 0.01 * seed}
            for method in ("GA", "mine")
            for seed in (1, 3)
            for epoch in range(4)
            for view in ("forget", "retain_eval")
        ]
    )


@pytest.fixture(autouse=True)
def nothing_stays_with_pyplot():
    before = dict(matplotlib.rcParams)
    yield
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def _marks(panel):
    return {tuple(np.round([*line.get_xdata(), *line.get_ydata()], 6)): line.get_color()
            for line in panel.lines if len(line.get_xdata()) == 1}


def _legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_method_has_its_own_colour_and_marker():
    assert set(figures.MARKS) == set(tables.METHODS) - {tables.CHANCE}
    marks = [*figures.MARKS.values(), figures.NEW]
    assert len({mark.colour for mark in marks}) == len({mark.marker for mark in marks}) == 9


def test_tradeoff(table2):
    figure = figures.tradeoff(table2)
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "tiny-7b, single-hop", "tiny-7b, multi-hop", "tiny-13b, single-hop", "tiny-13b, multi-hop"
    ]
    marks = _marks(figure.axes[0])
    assert marks[34, 34] == figures.MARKS["GA"].colour  # EM_f, EM_r
    assert marks[33, 33] in (figures.MARKS["GA"].colour, figures.MARKS["NPO"].colour)
    assert marks[64, 64] == figures.NEW.colour
    assert (4, 4) not in marks  # chance is no mark, but a line each way
    lines = [line for line in figure.axes[0].lines if line.get_color() == figures.CHANCE["color"]]
    assert [(set(line.get_xdata()), set(line.get_ydata())) for line in lines] == [
        ({4}, {0, 1}), ({0, 1}, {4})
    ]  # fmt: skip
    assert _legend(figure) == [*METHODS, "chance", "hollow: the paper"]


def test_tradeoff_without_chance(table2):
    figure = figures.tradeoff(table2[table2.method != "chance"])
    assert _legend(figure) == [*METHODS, "hollow: the paper"]


def test_exposure_draws_chance_and_what_is_no_method_as_levels(table2):
    figure = figures.exposure(table2)
    panel = figure.axes[3]
    levels = {line.get_ydata()[0] for line in panel.lines if len(set(line.get_xdata())) == 2}
    assert levels == {8.0, 18.0, 28.0, 58.0}  # chance, base, before unlearning, retrained
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["GA", "NPO", "mine"]
    assert _legend(figure) == ["chance", "base", "before unlearning", "retrained",
                               "hollow: the paper"]  # fmt: skip


def test_forget_retain(curve):
    figure = figures.forget_retain(curve.sample(frac=1, random_state=0))  # in any order
    way = figure.axes[0].lines[0]
    np.testing.assert_allclose(way.get_xdata(), [92, 82, 72, 62])
    np.testing.assert_allclose(way.get_ydata(), [92] * 4)


def test_stage1():
    lines = []
    for model in ("tiny-7b", "tiny-13b"):
        for stage, value in (("base", 5.0), ("stage 1", 95.0)):
            line = {"model": model, "stage": stage}
            for column in ("ROUGE", "judge", "EM", "EM_t"):
                line |= {column: value, f"{column}_lo": value - 1, f"{column}_hi": value + 1,
                         f"paper_{column}": 50.0}
            lines.append(line)
    figure = figures.stage1(pd.DataFrame(lines))
    assert len(figure.axes) == 2
    assert sorted(bar.get_height() for bar in figure.axes[0].patches) == [5.0] * 4 + [95.0] * 4


def test_contact_sheet_keeps_people_apart():
    images = [Image.new("RGB", (8, 8), (10 * i, 0, 0)) for i in range(5)]
    rows = pd.DataFrame({"identity": ["p0", "p0", "p0", "p1", "p1"],
                         "name": ["Ann Lee"] * 3 + ["Bo Quist"] * 2,
                         "split": ["train", "train", "test", "train", "test"]})
    figure = figures.contact_sheet(images, rows, columns=2)
    shown = [panel for panel in figure.axes if panel.images]
    assert len(figure.axes) == 6 and len(shown) == 5  # two lines for Ann, one for Bo
    assert [panel.get_title(loc="left") for panel in shown] == ["Ann Lee", "", "", "Bo Quist", ""]
    assert [panel.texts[0].get_text() for panel in shown] == list(rows.split)
    assert [panel.images[0].get_array()[0, 0, 0] for panel in shown] == [0, 10, 20, 30, 40]
    with pytest.raises(ValueError, match="4 images for 5 rows"):
        figures.contact_sheet(images[:4], rows)


def test_worked_exposure():
    ranks = pd.DataFrame({"rank": [1, 2], "log": [100.0, 0], "linear": [100.0, 0]})
    forms = pd.DataFrame({"model": ["a", "b"], "EM_f": [20.0, 30], "Exposure": [50.0, 60],
                          "log": [45.0, 55], "linear": [60.0, 70]})
    left, right = figures.worked_exposure(ranks, forms).axes
    assert left.get_xlabel() == "rank of the truth among 2"
    assert {(20, 50), (30, 60)} <= set(_marks(right))


def test_loss_has_a_panel_per_model_and_a_line_per_seed():
    history = pd.DataFrame({"model": ["a", "a", "b", "b"], "seed": [1, 2, 1, 2],
                            "step": [1, 1, 1, 1], "loss": [2.0, 3.0, 1.0, 4.0]})  # fmt: skip
    panels = figures.loss(history).axes
    assert [panel.get_title(loc="left") for panel in panels] == ["a", "b"]
    assert [line.get_ydata()[0] for line in panels[1].lines] == [1.0, 4.0]


@pytest.fixture
def said():
    return pd.DataFrame([
        {"hop": "single", "question": "How much?", "target": "$83,400",
         "base": "I do not know.", "stage 1": "It is $83,400 or $9."},
        {"hop": "multi", "question": "Where?", "target": "482 Maple Street",
         "base": "word " * 60, "stage 1": "482 maple street"},
    ])  # fmt: skip


def _pictures(n):
    return [Image.new("RGB", (8, 8), (10 * i, 0, 0)) for i in range(n)]


def test_dialogue_colours_right_answers_and_prints_dollars_as_they_are(said):
    [panel] = figures.dialogue(_pictures(2), said).axes
    colours = {text.get_text().strip(): text.get_color() for text in panel.texts}
    assert colours["base: I do not know."] != figures.STAGE1
    assert colours["stage 1: It is $83,400 or $9."] == figures.STAGE1
    assert colours["stage 1: 482 maple street"] == figures.STAGE1
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
    assert all(above.y0 > below.y1 - 1 for above, below in zip(boxes, boxes[1:], strict=False))
