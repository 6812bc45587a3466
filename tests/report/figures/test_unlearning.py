import numpy as np
import pandas as pd
import pytest
from drawings import hollow, inside, legend, marks, with_intervals

from remem import paper
from remem.report import figures, style

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
                    line[f"paper_{column}"] = 33.0 if method in paper.METHODS else np.nan
                lines.append(line)
    return pd.DataFrame(lines)


@pytest.fixture
def curve():
    return pd.DataFrame(
        [
            {
                "model": "tiny-7b",
                "method": method,
                "seed": seed,
                "epoch": epoch,
                "view": view,
                "hop": "single",
                "em": 0.9 - 0.1 * epoch * (view == "forget") + 0.01 * seed,
            }
            for method in ("GA", "mine")
            for seed in (1, 3)
            for epoch in range(4)
            for view in ("forget", "retain_eval")
        ]
    )


@pytest.mark.parametrize("view", ["forget", "retain_eval"])
def test_a_view_that_is_not_there_is_left_out(curve, view):
    both = curve.assign(hop="multi")
    figure = figures.forget_retain(pd.concat([curve, both[both["view"] == view]]))
    whole, without = figure.axes
    assert whole.lines and all(np.isfinite(line.get_xydata()).all() for line in whole.lines)
    assert not any(np.isfinite(line.get_xydata()).all(axis=1).any() for line in without.lines)


def test_tradeoff(table2):
    figure = figures.tradeoff(table2)
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "tiny-7b, single-hop",
        "tiny-7b, multi-hop",
        "tiny-13b, single-hop",
        "tiny-13b, multi-hop",
    ]
    found = marks(figure.axes[0])
    assert found[34, 34] == style.MARKERS["GA"].colour  # EM_f, EM_r
    assert found[33, 33] in (style.MARKERS["GA"].colour, style.MARKERS["NPO"].colour)
    assert found[64, 64] == style.NEW.colour
    assert (4, 4) not in found  # chance is no mark, but a line each way
    lines = [line for line in figure.axes[0].lines if line.get_color() == style.CHANCE["color"]]
    assert [(set(line.get_xdata()), set(line.get_ydata())) for line in lines] == [
        ({4}, {0, 1}),
        ({0, 1}, {4}),
    ]
    assert legend(figure) == [*METHODS, "chance", "hollow: the paper"]


def test_tradeoff_says_which_corner_is_good_and_what_bars_are(table2):
    figure = figures.tradeoff(table2.assign(units=20, units_retain=80))
    for panel in figure.axes:
        assert [text.get_text() for text in panel.texts] == ["best"]
        assert panel.texts[0].get_position()[0] < 20 < 80 < panel.texts[0].get_position()[1]
    note = figure.legends[0].get_title().get_text()
    assert "over (seed, person), n = 20." in note and "retain set n = 80" in note
    assert "better" in figure.axes[0].get_ylabel() and "better" in figure.axes[2].get_xlabel()


def test_rows_in_which_little_moves_are_lower():
    names = ("ROUGE", "EM_r", "judge", "EM_f", "Exposure", "EM_t")
    lines = [
        with_intervals(
            dict.fromkeys(names, 50.0) | {"ROUGE": 90.0 + ratio / 4, "EM_f": 5.0 * (20 - ratio)},
            model="a",
            method="GA",
            ratio=ratio,
            control="five epochs",
            hop="single",
            judged_by="rule",
        )
        for ratio in (5, 20)
    ]
    rouge, _, _, forgotten, *_ = figures.ratios(pd.DataFrame(lines), "a").axes
    assert rouge.get_position().height < 0.8 * forgotten.get_position().height
    assert rouge.get_ylim()[0] > 80 and forgotten.get_ylim()[0] < 0


def test_the_way_over_the_epochs_has_a_direction(curve):
    panel = figures.forget_retain(curve).axes[0]
    arrows = [text.arrow_patch for text in panel.texts if text.arrow_patch]
    assert len(arrows) == curve.method.nunique()
    for text in panel.texts:  # from before unlearning, to the left
        assert text.xy[0] <= text.xyann[0]


def test_tradeoff_without_chance(table2):
    figure = figures.tradeoff(table2[table2.method != "chance"])
    assert legend(figure) == [*METHODS, "hollow: the paper"]


def test_exposure_draws_chance_and_what_is_no_method_as_levels(table2):
    figure = figures.exposure(table2)
    panel = figure.axes[3]
    levels = {line.get_ydata()[0] for line in panel.lines if len(set(line.get_xdata())) == 2}
    assert levels == {8.0, 18.0, 28.0, 58.0}  # chance, base, before unlearning, retrained
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["GA", "NPO", "mine"]
    assert legend(figure) == [
        "chance",
        "base",
        "before unlearning",
        "retrained",
        "hollow: the paper",
    ]


def test_exposure_has_each_method_at_its_own_tick_in_panels_of_different_rows(table2):
    more = table2[table2.method == "mine"].assign(method="another")
    table = pd.concat([table2, more], ignore_index=True)
    gone = (table.model == "tiny-13b") & table.method.isin(["GA", "mine"])
    gone |= (table.model == "tiny-7b") & (table.hop == "single") & (table.method == "NPO")
    figure = figures.exposure(table[~gone])
    names = ["GA", "NPO", "mine", "another"]
    for panel in figure.axes[2:]:  # the upper ones share these
        assert [tick.get_text() for tick in panel.get_xticklabels()] == names
    looks = style.markers(names)
    for panel, shown in zip(
        figure.axes,
        (["GA", "mine", "another"], names, ["NPO", "another"], ["NPO", "another"]),
        strict=True,
    ):
        drawn = {x: colour for (x, _), colour in marks(panel).items() if x in range(4)}
        assert drawn == {names.index(name): looks[name].colour for name in shown}


def test_each_added_method_has_its_own_colour_and_marker(table2, curve):
    more = [table2[table2.method == "mine"].assign(method=f"m{k}") for k in range(4)]
    figure = figures.tradeoff(pd.concat([table2, *more], ignore_index=True))
    handles = {
        text.get_text(): (h.get_color(), h.get_marker())
        for text, h in zip(figure.legends[0].texts, figure.legends[0].legend_handles, strict=True)
    }
    added = {handles[name] for name in ("mine", "m0", "m1", "m2", "m3")}
    assert len(added) == len({colour for colour, _ in added}) == len({m for _, m in added}) == 5
    more = [curve[curve.method == "mine"].assign(method=f"m{k}") for k in range(4)]
    lines = figures.forget_retain(pd.concat([curve, *more])).axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 6


def test_forget_retain(curve):
    figure = figures.forget_retain(curve.sample(frac=1, random_state=0))  # in any order
    way = figure.axes[0].lines[0]
    np.testing.assert_allclose(way.get_xdata(), [92, 82, 72, 62])
    np.testing.assert_allclose(way.get_ydata(), [92] * 4)


def test_worked_exposure():
    ranks = pd.DataFrame({"rank": [1, 2], "log": [100.0, 0], "linear": [100.0, 0]})
    formulas = pd.DataFrame(
        {
            "source": ["a", "b"],
            "EM_f": [20.0, 30],
            "Exposure": [50.0, 60],
            "log": [45.0, 55],
            "linear": [60.0, 70],
            "log_measured": [44.0, 54],
            "linear_measured": [64.0, 74],
        }
    )
    left, middle, right = figures.worked_exposure(ranks, formulas).axes
    assert left.get_xlabel() == "rank of the truth among 2"
    assert {(20, 50), (30, 60)} <= set(marks(middle))
    assert {(44, 50), (54, 60), (64, 50), (74, 60)} <= set(marks(right))


def test_sensitivity_has_a_panel_for_each_hop_and_choice():
    table = pd.DataFrame(
        [
            {"varied": varied, "setting": setting, "method": method, "hop": hop, "EM_f": em}
            for varied, settings in {"beta": ("0.1", "0.5"), "EM rule": ("ours", "other")}.items()
            for em, setting in enumerate(settings)
            for method in ("DPO", "NPO")
            for hop in ("single", "multi")
        ]
    )
    figure = figures.sensitivity(table)
    titles = ["beta, single-hop", "EM rule, single-hop", "beta, multi-hop", "EM rule, multi-hop"]
    assert [panel.get_title(loc="left") for panel in figure.axes] == titles
    first = figure.axes[0]
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["DPO", "NPO"]
    points = [(x, y) for line in first.lines for x, y in zip(*line.get_data(), strict=True)]
    assert points == [(0, 0), (0, 1), (1, 0.18), (1, 1.18)]


def test_table4_has_the_likeliest_the_answer_and_the_papers():
    table = pd.DataFrame(
        [
            with_intervals({"MMBench": 80.0, "MMBench_generated": 60.0}, model=model, method=method)
            for model in ("tiny-7b", "tiny-13b")
            for method in ("base", "GA")
        ]
    )
    table.loc[table.method == "GA", "paper_MMBench"] = 69.6
    figure = figures.table4(table)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["tiny-7b", "tiny-13b"]
    panel = figure.axes[0]
    assert hollow(panel) == {(69.6, 0.86)}
    assert {(80, -0.14), (60, 0.14), (80, 0.86), (60, 1.14)} <= set(marks(panel))
    assert panel.get_xlabel() == "accuracy, % (right is better)"
    assert legend(figure) == ["likeliest option", "answer", "hollow: the paper"]
    inside(figure)


def test_ratios_draw_one_model_with_the_control_dashed():
    names = ("ROUGE", "EM_r", "judge", "EM_f", "Exposure", "EM_t", "EM_t_retain")
    table = pd.DataFrame(
        [
            with_intervals(
                dict.fromkeys(names, float(ratio)),
                model=model,
                method=method,
                ratio=ratio,
                control=control,
                hop=hop,
                judged_by="rule",
            )
            for model in ("tiny-7b", "tiny-13b")
            for method in ("GA", "NPO")
            for control in ("five epochs", "equal updates")
            for hop in ("single", "multi")
            for ratio in (20, 5)
        ]
    )
    table.loc[(table.ratio == 20) & (table.control == "five epochs"), "paper_EM_f"] = 27.0
    figure = figures.ratios(table, "tiny-13b")
    assert len(figure.axes) == 7 * 2
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert titles[:2] == ["tiny-13b, single-hop", "tiny-13b, multi-hop"] and not any(titles[2:])
    panel = next(p for p in figure.axes if p.get_ylabel() == "EM\nforgotten")
    lines = [line for line in panel.lines if len(line.get_xdata()) == 2]
    assert [line.get_linestyle() for line in lines] == ["-", "--"] * 2
    assert [line.get_ydata().tolist() for line in lines] == [[5, 20]] * 4
    assert {y for _, y in hollow(panel)} == {27} and len(hollow(panel)) == 2
    assert not hollow(figure.axes[0])
    places = {x for x, _ in hollow(panel)}  # at 20 %, where ours are
    assert places and all(abs(x - 20) < 1 for x in places)
    marked = {line.get_linestyle(): line.get_marker() for line in lines}
    assert marked["--"] == "|" != marked["-"]  # not by colour alone
    assert figure.axes[-1].get_xlabel() == "people to forget, % of all"
    assert legend(figure)[:4] == ["GA", "NPO", "five epochs", "equal updates"]
    with pytest.raises(ValueError, match="no model 'tiny-70b'"):
        figures.ratios(table, "tiny-70b")
    inside(figure)
