import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from remem import claims, figures, tables

METHODS = ["before unlearning", "GA", "NPO", "retrained", "mine"]


@pytest.fixture
def table2():
    lines = []
    for model in ("tiny-7b", "tiny-13b"):
        for i, method in enumerate(METHODS):
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
    assert set(figures.MARKS) == set(tables.METHODS)
    marks = [*figures.MARKS.values(), figures.NEW]
    assert len({mark.colour for mark in marks}) == len({mark.marker for mark in marks}) == 8


def test_tradeoff(table2):
    figure = figures.tradeoff(table2)
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "tiny-7b, single-hop", "tiny-7b, multi-hop", "tiny-13b, single-hop", "tiny-13b, multi-hop"
    ]
    marks = _marks(figure.axes[0])
    assert marks[14, 14] == figures.MARKS["GA"].colour  # EM_f, EM_r
    assert marks[33, 33] in (figures.MARKS["GA"].colour, figures.MARKS["NPO"].colour)
    assert marks[44, 44] == figures.NEW.colour
    assert _legend(figure) == [*METHODS, "hollow: the paper"]


def test_exposure_draws_chance_and_the_two_frames(table2):
    figure = figures.exposure(table2, 29.3)
    panel = figure.axes[3]
    levels = {line.get_ydata()[0] for line in panel.lines if len(set(line.get_xdata())) == 2}
    assert {29.3, 8.0, 38.0} <= levels  # chance, before unlearning, retrained
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["GA", "NPO", "mine"]
    assert _legend(figure)[:3] == ["chance 29.3", "before unlearning", "retrained"]


def test_curves_are_means_over_seeds(curve):
    panel = figures.curves(curve).axes[0]
    forget = next(line for line in panel.lines if line.get_linestyle() == "-")
    assert list(forget.get_xdata()) == [0, 1, 2, 3]
    np.testing.assert_allclose(forget.get_ydata(), [92, 82, 72, 62])
    assert len(panel.lines) == 4


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


def test_dialogue_colours_right_answers_and_prints_dollars_as_they_are():
    said = {"base": "I do not know.", "stage 1": "It is $83,400 or $9."}
    rows = pd.DataFrame([{"question": "How much?", "target": "$83,400", **said}])
    figure = figures.dialogue(Image.new("RGB", (8, 8)), rows)
    said = {text.get_text().strip(): text.get_color() for text in figure.axes[1].texts}
    assert said["base: I do not know."] != figures.STAGE1
    assert said["stage 1: It is $83,400 or $9."] == figures.STAGE1
