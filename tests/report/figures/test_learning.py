import numpy as np
import pandas as pd
import pytest
from drawings import hollow, inside, legend, marks, with_intervals

from remem.report import figures


def test_fig1_has_a_bar_per_benchmark_and_the_papers_for_remem():
    columns = ("ROUGE", "judge", "EM", "EM_t")
    table = pd.DataFrame(
        [
            with_intervals(
                dict.fromkeys(columns, value),
                model="tiny-7b",
                benchmark=name,
                judged_by="gemini-2.5-flash",
            )
            for name, value in (("FIUBench", 20.0), ("MLLMU-Bench", 10.0), ("ReMem", 90.0))
        ]
    )
    table.loc[2, [f"paper_{column}" for column in columns]] = 95.0
    figure = figures.fig1(table)
    [panel] = figure.axes
    assert sorted(bar.get_height() for bar in panel.patches) == [10] * 4 + [20] * 4 + [90] * 4
    assert len(hollow(panel)) == 4 and {y for _, y in hollow(panel)} == {95}
    names = [tick.get_text() for tick in panel.get_xticklabels()]
    assert names == ["ROUGE", "Gemini", "EM", "EM\nheld out"]
    assert legend(figure)[:3] == ["FIUBench", "MLLMU-Bench", "ReMem"]
    inside(figure)


def test_causes_are_named_from_top_to_bottom():
    changes = ["none (ReMem)", "1 picture", "20 QA"]
    table = pd.DataFrame(
        [
            with_intervals(
                {"EM": 90.0 - 10 * i, "EM_t": 50.0 - 10 * i}, model="tiny-7b", change=change
            )
            for i, change in enumerate(changes)
        ]
    )
    figure = figures.causes(table)
    [panel] = figure.axes
    assert [tick.get_text() for tick in panel.get_yticklabels()] == changes
    assert panel.yaxis_inverted() and panel.get_xlabel() == "EM, % (right is better)"
    assert {(90, -0.12), (50, 0.12), (80, 0.88), (70, 1.88)} <= set(marks(panel))
    assert legend(figure) == ["training rows", "held-out rows"]
    inside(figure)


def test_stage1():
    lines = []
    for model in ("tiny-7b", "tiny-13b"):
        for stage, value in (("base", 5.0), ("stage 1", 95.0)):
            line = {"model": model, "stage": stage}
            for column in ("ROUGE", "judge", "EM", "EM_t"):
                line |= {
                    column: value,
                    f"{column}_lo": value - 1,
                    f"{column}_hi": value + 1,
                    f"paper_{column}": 50.0,
                }
            lines.append(line)
    figure = figures.stage1(pd.DataFrame(lines))
    assert len(figure.axes) == 2
    assert legend(figure) == ["base", "stage 1", "hollow: the paper (its judge is Gemini)"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()][1] == "rule\njudge"
    assert sorted(bar.get_height() for bar in figure.axes[0].patches) == [5.0] * 4 + [95.0] * 4


def test_loss_has_a_panel_per_model_and_a_line_per_seed():
    history = pd.DataFrame(
        {
            "model": ["a", "a", "b", "b"],
            "seed": [1, 2, 1, 2],
            "step": [1, 1, 1, 1],
            "loss": [2.0, 3.0, 1.0, 4.0],
        }
    )
    panels = figures.loss(history).axes
    assert [panel.get_title(loc="left") for panel in panels] == ["a", "b"]
    assert [line.get_ydata()[0] for line in panels[1].lines] == [1.0, 4.0]


@pytest.fixture
def scaled():
    return pd.DataFrame(
        [
            with_intervals(
                {"ROUGE": n / 4.0, "EM": n / 2.0, "perplexity": 400.0 / n},
                samples=n,
                control=control,
            )
            for control in ("five epochs", "equal updates")
            for n in (200, 20, 100)  # in any order
        ]
    )


def test_fig3a_has_both_controls_with_bands(scaled):
    figure = figures.fig3a(scaled)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["ROUGE", "EM"]
    panel = figure.axes[1]
    assert [line.get_linestyle() for line in panel.lines] == ["-", "--"]
    assert panel.lines[0].get_ydata().tolist() == [10, 50, 100] and len(panel.collections) == 2
    assert panel.get_xlabel() == "questions about one person"
    assert legend(figure) == ["five epochs", "equal updates"]
    inside(figure)


def test_fig3a_says_how_many_updates_the_questions_are(scaled):
    usual = scaled.samples.where(scaled.control == "five epochs", 100) / 4
    figure = figures.fig3a(scaled.assign(updates=usual, units=12))
    [above] = figure.axes[0].child_axes
    assert [tick.get_text() for tick in above.get_xticklabels()] == ["5", "50"]
    assert legend(figure) == ["five epochs (5 to 50 updates)", "equal updates (25 updates)"]
    note = figure.legends[0].get_title().get_text()
    assert note == "Bands: 95 % intervals over (seed, person), n = 12."
    inside(figure)


def test_a_bar_of_nothing_is_a_number():
    columns = {"ROUGE": 50.0, "judge": 0.2, "EM": 0.0, "EM_t": 10.0}
    line = with_intervals(columns, model="a", benchmark="ReMem", judged_by="rule")
    [panel] = figures.fig1(pd.DataFrame([line])).axes
    assert [text.get_text() for text in panel.texts] == ["0", "0"]


def test_fig3b_marks_the_papers_lowest_and_spike(scaled):
    figure = figures.fig3b(scaled[scaled.samples < 200])
    [panel] = figure.axes
    assert (
        panel.get_yscale() == "linear"
        and panel.get_ylabel() == "perplexity, held out (down is better)"
    )
    assert [line.get_xdata()[0] for line in panel.lines[2:]] == [160, 180]
    assert [text.get_text().strip() for text in panel.texts] == ["lowest", "spike"]
    wide = scaled.assign(perplexity=scaled.perplexity**2)
    assert figures.fig3b(wide).axes[0].get_yscale() == "log"
    inside(figure)


def test_fig3c_shows_both_hops_and_where_they_peak():
    settings, shares = ("one person", "20 people"), (0, 50, 100)
    table = pd.DataFrame(
        [
            with_intervals(
                {"EM": 50.0 + share * (hop == "single") / 10}, setting=setting, share=share, hop=hop
            )
            for setting in settings
            for hop in ("single", "multi")
            for share in shares
        ]
    )
    peaks = pd.DataFrame(
        [
            {
                "setting": setting,
                "hop": hop,
                "peak": 50,
                "peak_lo": 40,
                "peak_hi": 90,
                "paper_peak": 70 if setting == "one person" else np.nan,
            }
            for setting in settings
            for hop in ("single", "multi")
        ]
    )
    figure = figures.fig3c(table, peaks)
    one, many = figure.axes
    assert [panel.get_title(loc="left") for panel in (one, many)] == list(settings)
    assert one.lines[0].get_ydata().tolist() == [50, 55, 60]
    dotted = [
        [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == ":"]
        for panel in (one, many)
    ]
    assert set(dotted[0]) == {70} and dotted[1] == []
    assert {(50, 55), (50, 50)} <= set(marks(many))  # on the curves
    assert max(one.get_yticks()) == 100 and one.get_ylim()[1] < 105
    assert legend(figure)[:2] == ["single-hop", "multi-hop"]
    inside(figure)
