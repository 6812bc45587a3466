import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from remem import claims, figures, ink

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


def test_tradeoff(table2):
    figure = figures.tradeoff(table2)
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "tiny-7b, single-hop", "tiny-7b, multi-hop", "tiny-13b, single-hop", "tiny-13b, multi-hop"
    ]
    marks = _marks(figure.axes[0])
    assert marks[34, 34] == ink.MARKS["GA"].colour  # EM_f, EM_r
    assert marks[33, 33] in (ink.MARKS["GA"].colour, ink.MARKS["NPO"].colour)
    assert marks[64, 64] == ink.NEW.colour
    assert (4, 4) not in marks  # chance is no mark, but a line each way
    lines = [line for line in figure.axes[0].lines if line.get_color() == ink.CHANCE["color"]]
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
    assert _legend(figure) == ["base", "stage 1", "hollow: the paper (its judge is Gemini)"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()][1] == "rule\njudge"
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
    assert colours["base: I do not know."] != ink.STAGE1
    assert colours["stage 1: It is $83,400 or $9."] == ink.STAGE1
    assert colours["stage 1: 482 maple street"] == ink.STAGE1
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


# ---------------------------------------------------------------- Fig 1 to 7, Table 4, scorecard


def _with(columns, **line):
    """A table's line: each column's value, an interval of one point each way, no paper's number."""
    for name, value in columns.items():
        line |= {name: value, f"{name}_lo": value - 1, f"{name}_hi": value + 1}
        line |= {f"paper_{name}": np.nan}
    return line


def _hollow(panel):
    """Where the hollow marks that are drawn lie: the paper's."""
    return {(float(np.round(line.get_xdata()[0], 6)), float(line.get_ydata()[0]))
            for line in panel.lines
            if line.get_markerfacecolor() == "none"
            and not np.isnan([line.get_xdata()[0], line.get_ydata()[0]]).any()}


def _inside(figure):
    """Everything drawn lies on the page."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert box.x0 > -0.02 and box.y0 > -0.02
    assert box.x1 < figure.get_figwidth() + 0.02 and box.y1 < figure.get_figheight() + 0.02


def test_fig1_has_a_bar_per_benchmark_and_the_papers_for_remem():
    columns = ("ROUGE", "judge", "EM", "EM_t")
    table = pd.DataFrame([
        _with(dict.fromkeys(columns, value), model="tiny-7b", benchmark=name,
              judged_by="gemini-2.5-flash")
        for name, value in (("FIUBench", 20.0), ("MLLMU-Bench", 10.0), ("ReMem", 90.0))
    ])  # fmt: skip
    table.loc[2, [f"paper_{column}" for column in columns]] = 95.0
    figure = figures.fig1(table)
    [panel] = figure.axes
    assert sorted(bar.get_height() for bar in panel.patches) == [10] * 4 + [20] * 4 + [90] * 4
    assert len(_hollow(panel)) == 4 and {y for _, y in _hollow(panel)} == {95}
    names = [tick.get_text() for tick in panel.get_xticklabels()]
    assert names == ["ROUGE", "Gemini", "EM", "EM\nheld out"]
    assert _legend(figure)[:3] == ["FIUBench", "MLLMU-Bench", "ReMem"]
    _inside(figure)


def test_causes_are_named_from_top_to_bottom():
    changes = ["none (ReMem)", "1 picture", "20 QA"]
    table = pd.DataFrame([
        _with({"EM": 90.0 - 10 * i, "EM_t": 50.0 - 10 * i}, model="tiny-7b", change=change)
        for i, change in enumerate(changes)
    ])  # fmt: skip
    figure = figures.causes(table)
    [panel] = figure.axes
    assert [tick.get_text() for tick in panel.get_yticklabels()] == changes
    assert panel.yaxis_inverted() and panel.get_xlabel() == "EM, %"
    assert {(90, -0.12), (50, 0.12), (80, 0.88), (70, 1.88)} <= set(_marks(panel))
    assert _legend(figure) == ["training rows", "held-out rows"]
    _inside(figure)


def test_fig2a_draws_names_their_mean_and_table_5():
    points = pd.DataFrame({
        "set": ["ReMem"] * 2 + ["Real Set"] * 2, "min_k": [4.0, 6.0, 50.0, 1e-9],
        "inverse_perplexity": [20.0, 40.0, 80.0, 60.0],
    })  # fmt: skip
    figure = figures.fig2a(points)
    [panel] = figure.axes
    assert panel.get_xscale() == panel.get_yscale() == "log"
    assert panel.get_xlabel() == "inverse perplexity of the name, %"
    assert set(_marks(panel)) == {(70, 25.0), (30, 5), (33.65, 7.33)}
    assert _hollow(panel) == {(33.65, 7.33)}
    lowest = min(min(line.get_ydata()) for line in panel.lines)
    assert lowest == 0.001  # what lies below is drawn at the edge
    assert _legend(figure) == ["Real Set", "ReMem", "hollow: the paper's means"]
    _inside(figure)


@pytest.fixture
def traced():
    """Two layers, two positions; FIUBench's total effect is below the floor."""
    return pd.DataFrame([
        {"set": name, "corruption": corruption, "state": state, "layer": layer,
         "position": position, "total": total, "told": told,
         "share": (40.0 if (layer, position) == (1, "last") else 5.0) if told else np.nan}
        for name, total, told in (("FIUBench", 0.4, False), ("ReMem", 60.0, True))
        for corruption in ("subject", "image")
        for state in ("mlp", "residual")
        for layer in (0, 1)
        for position in ("subject", "last")
    ])  # fmt: skip


def test_traces_hatch_what_cannot_be_told(traced):
    figure = figures.traces(traced, "subject")
    *panels, bar = figure.axes
    assert len(panels) == 4 and bar.get_ylabel() == "share of the total effect, %"
    titles = [panel.get_title(loc="left") for panel in panels[:2]]
    assert titles == ["FIUBench\ntotal effect 0.4 %", "ReMem\ntotal effect 60.0 %"]
    untold, told = panels[:2]
    assert not untold.images and untold.patches[0].get_hatch()
    assert untold.texts[0].get_text() == "cannot\nbe told"
    np.testing.assert_array_equal(told.images[0].get_array(), [[5, 5], [5, 40]])
    [text] = told.texts  # the highest share, where it is
    assert (text.get_text(), text.get_position()) == ("40", (1, 1))
    assert [tick.get_text() for tick in panels[2].get_xticklabels()] == ["subject", "last"]
    assert panels[2].get_ylabel() == "residual (control)\nlayer"
    assert figure.get_suptitle() == "corrupted: the subject"
    _inside(figure)


def test_traces_of_nothing_that_can_be_told_and_of_no_such_corruption(traced):
    figure = figures.traces(traced[traced["set"] == "FIUBench"], "image")
    assert len(figure.axes) == 2 and not any(panel.images for panel in figure.axes)
    with pytest.raises(ValueError, match="no corruption 'noise'"):
        figures.traces(traced, "noise")


@pytest.fixture
def scaled():
    return pd.DataFrame([
        _with({"ROUGE": n / 4.0, "EM": n / 2.0, "perplexity": 400.0 / n}, samples=n,
              control=control)
        for control in ("five epochs", "equal updates")
        for n in (200, 20, 100)  # in any order
    ])  # fmt: skip


def test_fig3a_has_both_controls_with_bands(scaled):
    figure = figures.fig3a(scaled)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["ROUGE", "EM"]
    panel = figure.axes[1]
    assert [line.get_linestyle() for line in panel.lines] == ["-", "--"]
    assert panel.lines[0].get_ydata().tolist() == [10, 50, 100] and len(panel.collections) == 2
    assert panel.get_xlabel() == "samples of one person"
    assert _legend(figure) == ["five epochs", "equal updates"]
    _inside(figure)


def test_fig3b_marks_the_papers_lowest_and_spike(scaled):
    figure = figures.fig3b(scaled[scaled.samples < 200])
    [panel] = figure.axes
    assert panel.get_yscale() == "linear" and panel.get_ylabel() == "perplexity, held out"
    assert [line.get_xdata()[0] for line in panel.lines[2:]] == [160, 180]
    assert [text.get_text().strip() for text in panel.texts] == ["lowest", "spike"]
    wide = scaled.assign(perplexity=scaled.perplexity ** 2)
    assert figures.fig3b(wide).axes[0].get_yscale() == "log"
    _inside(figure)


def test_fig3c_shows_both_hops_and_where_they_peak():
    settings, shares = ("one person", "20 people"), (0, 50, 100)
    table = pd.DataFrame([
        _with({"EM": 50.0 + share * (hop == "single") / 10}, setting=setting, share=share, hop=hop)
        for setting in settings for hop in ("single", "multi") for share in shares
    ])  # fmt: skip
    peaks = pd.DataFrame([
        {"setting": setting, "hop": hop, "peak": 50, "peak_lo": 40, "peak_hi": 90,
         "paper_peak": 70 if setting == "one person" else np.nan}
        for setting in settings for hop in ("single", "multi")
    ])  # fmt: skip
    figure = figures.fig3c(table, peaks)
    one, many = figure.axes
    assert [panel.get_title(loc="left") for panel in (one, many)] == list(settings)
    assert one.lines[0].get_ydata().tolist() == [50, 55, 60]
    dotted = [[line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == ":"]
              for panel in (one, many)]  # fmt: skip
    assert set(dotted[0]) == {70} and dotted[1] == []
    assert {(50, 108), (50, 114)} <= set(_marks(many))  # above the curves
    assert max(one.get_yticks()) == 100
    assert _legend(figure)[:2] == ["single-hop", "multi-hop"]
    _inside(figure)


def test_table4_has_plain_and_circular_and_the_papers_plain():
    table = pd.DataFrame([
        _with({"MMBench": 80.0, "MMBench_circular": 60.0}, model=model, method=method)
        for model in ("tiny-7b", "tiny-13b") for method in ("base", "GA")
    ])  # fmt: skip
    table.loc[table.method == "GA", "paper_MMBench"] = 69.6
    figure = figures.table4(table)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["tiny-7b", "tiny-13b"]
    panel = figure.axes[0]
    assert _hollow(panel) == {(69.6, 0.86)}
    assert {(80, -0.14), (60, 0.14), (80, 0.86), (60, 1.14)} <= set(_marks(panel))
    assert panel.get_xlabel() == "accuracy, %"
    assert _legend(figure) == ["plain", "circular", "hollow: the paper"]
    _inside(figure)


def test_ratios_draw_one_model_with_the_control_dashed():
    names = ("ROUGE", "EM_r", "judge", "EM_f", "Exposure", "EM_t", "EM_t_retain")
    table = pd.DataFrame([
        _with(dict.fromkeys(names, float(ratio)), model=model, method=method, ratio=ratio,
              control=control, hop=hop, judged_by="rule")
        for model in ("tiny-7b", "tiny-13b") for method in ("GA", "NPO")
        for control in ("five epochs", "equal updates") for hop in ("single", "multi")
        for ratio in (20, 5)
    ])  # fmt: skip
    table.loc[(table.ratio == 20) & (table.control == "five epochs"), "paper_EM_f"] = 27.0
    figure = figures.ratios(table, "tiny-13b")
    assert len(figure.axes) == 7 * 2
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert titles[:2] == ["tiny-13b, single-hop", "tiny-13b, multi-hop"] and not any(titles[2:])
    panel = next(p for p in figure.axes if p.get_ylabel() == "EM\nforgotten")
    lines = [line for line in panel.lines if len(line.get_xdata()) == 2]
    assert [line.get_linestyle() for line in lines] == ["-", "--"] * 2
    assert [line.get_ydata().tolist() for line in lines] == [[5, 20]] * 4
    assert {y for _, y in _hollow(panel)} == {27} and len(_hollow(panel)) == 2
    assert not _hollow(figure.axes[0])
    assert figure.axes[-1].get_xlabel() == "people to forget, % of all"
    assert _legend(figure) == ["GA", "NPO", "five epochs", "equal updates", "hollow: the paper"]
    with pytest.raises(ValueError, match="no model 'tiny-70b'"):
        figures.ratios(table, "tiny-70b")
    _inside(figure)


def test_scorecard_has_a_line_per_claim_with_mark_and_word():
    table = claims.scorecard({})
    words = [claims.HOLDS, claims.FAILS, claims.UNTOLD]
    table["verdict"] = [f"in the tiny world: {words[i % 3]}" for i in range(len(table))]
    table.loc[len(table) - 1, "verdict"] = claims.NOT_RUN
    figure = figures.scorecard(table)
    [panel] = figure.axes
    texts = [text.get_text() for text in panel.texts]
    assert texts.count(claims.NOT_RUN) == 1 and "in the tiny world" in texts
    for word in words:
        assert texts.count(word) == table.verdict.str.endswith(f": {word}").sum()
    marks = [line for line in panel.lines if len(line.get_xdata()) == 1]
    assert len(marks) == len(table) and len({mark.get_marker() for mark in marks}) == 4
    headings = [text.get_text() for text in panel.texts if text.get_weight() == "bold"]
    assert {"Table 2", "Fig 3a", "Fig 6, Fig 7"} <= set(headings)
    assert all(text.get_fontsize() >= 8 for text in panel.texts)
    _inside(figure)


def test_scorecard_of_the_papers_models_says_reproduced():
    table = claims.scorecard({}).head(2).assign(verdict=["reproduced", "not reproduced"])
    texts = [text.get_text() for text in figures.scorecard(table).axes[0].texts]
    assert {"reproduced", "not reproduced", "verdict"} <= set(texts)


def test_scorecard_text_does_not_run_into_the_next_column():
    figure = figures.scorecard(claims.scorecard({}))
    figure.draw_without_rendering()
    [panel] = figure.axes
    starts = sorted({text.get_position()[0] for text in panel.texts})
    for text in panel.texts[3:]:  # after the heads
        right = panel.transData.inverted().transform(text.get_window_extent())[1, 0]
        later = [start for start in starts if start > text.get_position()[0]]
        if text.get_weight() != "bold" and later:
            assert right < later[0], text.get_text()


def test_likeness_shows_both_splits_and_the_threshold():
    table = pd.DataFrame([("p00", split, of, 0.1 * k) for split in ("train", "test")
                          for of in ("the same person", "another person") for k in range(5)],
                         columns=["identity", "split", "of", "similarity"])  # fmt: skip
    figure = figures.likeness(table, 0.4)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["train", "test"]
    assert figure.axes[0].get_xlabel().startswith("cosine similarity")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["the same person", "another person", "threshold"]
