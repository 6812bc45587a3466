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
    assert panel.get_xscale() == panel.get_yscale() == "log"
    assert panel.get_xlabel() == "inverse perplexity of the name, %"
    assert set(marks(panel)) == {(70, 25.0), (30, 5), (33.65, 7.33)}
    assert hollow(panel) == {(33.65, 7.33)}
    lowest = min(min(line.get_ydata()) for line in panel.lines)
    assert lowest == 0.001  # what lies below is drawn at the edge
    assert legend(figure) == ["Real Set", "ReMem", "hollow: the paper's means"]
    inside(figure)


@pytest.fixture
def traced():
    """Two layers, two positions; FIUBench's total effect is below the floor."""
    return pd.DataFrame(
        [
            {
                "set": name,
                "corruption": corruption,
                "state": state,
                "layer": layer,
                "position": position,
                "total": total,
                "measurable": measurable,
                "share": (40.0 if (layer, position) == (1, "last") else 5.0)
                if measurable
                else np.nan,
            }
            for name, total, measurable in (("FIUBench", 0.4, False), ("ReMem", 60.0, True))
            for corruption in ("subject", "image")
            for state in ("mlp", "residual")
            for layer in (0, 1)
            for position in ("subject", "last")
        ]
    )


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
    inside(figure)


def test_traces_of_nothing_that_can_be_told_and_of_no_such_corruption(traced):
    figure = figures.traces(traced[traced["set"] == "FIUBench"], "image")
    assert len(figure.axes) == 2 and not any(panel.images for panel in figure.axes)
    with pytest.raises(ValueError, match="no corruption 'noise'"):
        figures.traces(traced, "noise")
