import numpy as np
import pandas as pd
import pytest
from drawings import hollow, inside, legend, marks

from remem.report import figures


def test_fig2a_draws_names_their_mean_and_table_5():
    points = pd.DataFrame(
        {
            "set": ["ReMem"] * 2 + ["Real Set"] * 2,
            "min_k": [4.0, 6.0, 50.0, 1e-9],
            "inverse_perplexity": [20.0, 40.0, 80.0, 60.0],
        }
    )
    figure = figures.fig2a(points)
    [panel] = figure.axes
    assert panel.get_xscale() == panel.get_yscale() == "function"
    place = panel.transData.transform
    low, middle, high = (place((at, at))[0] for at in (1, 50, 99))
    assert abs((middle - low) - (high - middle)) < 1  # the upper corner is as wide as the lower
    assert panel.get_xlabel() == "inverse perplexity of the name, %"
    assert set(marks(panel)) == {(70, 25.0), (30, 5), (33.65, 7.33)}
    assert hollow(panel) == {(33.65, 7.33)}
    lowest = min(min(line.get_ydata()) for line in panel.lines)
    assert lowest == 0.001  # what lies below is drawn at the edge
    assert legend(figure) == ["Real Set", "ReMem", "hollow: the paper's means"]
    inside(figure)


@pytest.fixture
def traced():
    """Two layers, two positions; another's picture has no effect on FIUBench above the floor."""
    return pd.DataFrame(
        [
            {
                "set": name,
                "asked": "name",
                "corruption": corruption,
                "state": state,
                "layer": layer,
                "position": position,
                "total": totals[corruption],
                "measurable": totals[corruption] > 5,
                "effect": 40.0 if (layer, position) == (1, "last") else 5.0,
            }
            for name, totals in (
                ("FIUBench", {"entity": 12.0, "image": 0.4}),
                ("ReMem", {"entity": 60.0, "image": 60.0}),
            )
            for corruption in ("entity", "image")
            for state in ("mlp", "attention", "residual")
            for layer in (0, 1)
            for position in ("subject", "last")
        ]
    )


def test_traces_hatch_what_cannot_be_told(traced):
    figure = figures.traces(traced)
    *panels, bar = figure.axes
    assert len(panels) == 8 and bar.get_ylabel() == "effect, points of probability"
    titles = [panel.get_title(loc="left") for panel in panels]
    assert titles[0] == "wrong subject\ntotal effect 12.0 points"
    assert titles[1] == "another's picture\ntotal effect 0.4 points"
    assert titles[4:] == ["total effect 60.0 points"] * 2 + [""] * 2
    untold, told = panels[1], panels[4]
    assert not untold.images and untold.patches[0].get_hatch()
    assert untold.texts[0].get_text() == "below the floor:\nnothing to trace"
    np.testing.assert_array_equal(told.images[0].get_array(), [[5, 5], [5, 40]])
    [text] = told.texts  # the highest effect, where it is
    assert (text.get_text(), text.get_position()) == ("40", (1, 1))
    assert [tick.get_text() for tick in panels[6].get_xticklabels()] == ["subject", "last"]
    assert panels[6].get_ylabel() == "ReMem\nattention, layer"
    scales = {panel.images[0].norm for panel in panels if panel.images}
    assert len(scales) == 1
    inside(figure)


def test_traces_of_nothing_that_can_be_told_and_of_what_was_not_asked(traced):
    nothing = traced.assign(measurable=False)
    figure = figures.traces(nothing[nothing["set"] == "FIUBench"])
    assert not any(panel.images for panel in figure.axes[:-1])
    alone = traced[(traced["set"] == "ReMem") | (traced.corruption == "entity")]
    figure = figures.traces(alone)
    assert figure.axes[1].get_title(loc="left") == "another's picture\n"
    assert figure.axes[1].texts[0].get_text() == "not traced"
    with pytest.raises(ValueError, match="no trace of a 'fact'"):
        figures.traces(traced, "fact")


def test_a_corruption_that_tells_nothing_is_a_line_and_no_panel(traced):
    nothing = traced.assign(corruption="noise", total=0.25, measurable=False)
    figure = figures.traces(pd.concat([traced, nothing]).assign(people=20))
    assert len(figure.axes) == 8 + 1
    note = " ".join(figure.legends[0].get_title().get_text().split())
    assert "Noise on the subject: total effect 0.2 (FIUBench), 0.2 (ReMem) points" in note
    assert "(n: FIUBench 20, ReMem 20)" in note
    inside(figure)


def test_a_set_that_nothing_can_be_told_of_is_a_line_and_no_panel(traced):
    told = (traced["set"] != "FIUBench") & traced.measurable
    figure = figures.traces(traced.assign(measurable=told, people=20))
    *panels, _ = figure.axes
    assert len(panels) == 4
    assert panels[0].get_title(loc="left") == "wrong subject\ntotal effect 60.0 points"
    note = " ".join(figure.legends[0].get_title().get_text().split())
    said = "FIUBench: total effect 12.0 (wrong subject), 0.4 (another's picture) points, nothing"
    assert said in note and "(n: FIUBench 20, ReMem 20)" in note
    inside(figure)


def test_where_nothing_can_be_told_one_column_says_so(traced):
    figure = figures.traces(traced.assign(measurable=False))
    assert len(figure.axes) == 4 + 1
    assert "another's picture" in figure.legends[0].get_title().get_text().lower()
