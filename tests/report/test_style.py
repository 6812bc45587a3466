import matplotlib
import numpy as np
import pandas as pd
from skimage.color import deltaE_ciede2000, rgb2lab

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from remem import paper, paths
from remem.report import style, tables


def test_each_method_has_its_own_colour_and_marker():
    assert set(style.MARKERS) == set(tables.METHODS) - {paper.CHANCE}
    marks = [*style.MARKERS.values(), style.NEW]
    assert len({mark.colour for mark in marks}) == len({mark.marker for mark in marks}) == 9


# What a colour becomes, in linear light, for who lacks the red, the green or the blue cones
# (Machado, Oliveira and Fernandes 2009, severity 1).
EYES = {
    "all cones": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def nearest(colour: str, others: list[str]) -> float:
    """The CIEDE2000 difference to the nearest of the others, for the eyes that see least of it."""

    def seen(colour, eyes):
        shown = np.array(matplotlib.colors.to_rgb(colour))
        linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
        mixed = np.clip(np.array(eyes) @ linear, 0, 1)
        back = np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)
        return rgb2lab(back)

    return min(
        float(deltaE_ciede2000(seen(colour, eyes), seen(other, eyes)))
        for eyes in EYES.values()
        for other in others
    )


def test_added_methods_can_be_told_apart_by_all_eyes():
    assert nearest("#D55E00", ["#117733"]) < 12, "vermilion and forest green: who lacks green"
    papers = [mark.colour for mark in style.MARKERS.values()]
    added = list(dict.fromkeys(mark.colour for mark in style.ADDED))
    assert len(added) == 6
    for place, colour in enumerate(added):
        assert nearest(colour, ["#FFFFFF", *papers, *added[:place]]) > 12, colour
    assert len({*style.MARKERS.values(), *style.ADDED}) == len(style.MARKERS) + 30
    assert not {mark.marker for mark in style.ADDED} & {m.marker for m in style.MARKERS.values()}


def test_sets_that_are_not_the_papers_can_be_told_apart_by_all_eyes():
    many = style.sets([*style.SETS, *(f"set {k}" for k in range(6))])
    assert list(many)[:4] == [*style.SETS] and len({*many.values()}) == 10
    colours = [mark.colour for mark in many.values()]
    for place, colour in enumerate(colours):
        assert nearest(colour, colours[:place] or ["#FFFFFF"]) > 9, colour


def test_a_method_looks_the_same_in_whatever_order_it_comes():
    names = ["zeta", "GA", "alpha", "base", "NPO", "zeta"]
    marks = style.markers(names)
    assert list(marks) == ["base", "GA", "NPO", "zeta", "alpha"]
    assert marks["GA"] == style.MARKERS["GA"] and marks["alpha"] == style.NEW
    assert marks["zeta"] == style.ADDED[1]
    assert style.markers(reversed(names)) == marks
    many = style.markers(str(k) for k in range(30))
    assert len({*many.values()}) == 30


def test_a_legend_is_no_wider_than_its_figure():
    figure, _ = style.panels(1, 1, width=3)
    style.legend(figure, *style.methods([f"a method with a long name {k}" for k in range(7)]))
    [legend] = figure.legends
    assert legend.get_window_extent().width <= figure.bbox.width
    style.legend(figure, *style.methods(["GA", "GD"]))
    assert len({text.get_window_extent().y0 for text in figure.legends[1].texts}) == 1
    plt.close(figure)


def test_what_tables_sort_by_can_be_drawn():
    assert tuple(style.SETS) == paper.SETS and tuple(style.CONTROLS) == paper.CONTROLS
    for marks in (style.SETS.values(), style.PAIR):
        assert len({m.colour for m in marks}) == len({m.marker for m in marks}) == len(marks)


def test_styled_leaves_nothing_with_pyplot():
    before = dict(matplotlib.rcParams)

    @style.styled
    def draw(width):
        """Bare axes."""
        assert plt.rcParams["pdf.fonttype"] == 42
        return style.panels(1, 2, width)[0]

    figure = draw(2.0)
    assert figure.get_figwidth() == 4 and len(figure.axes) == 2 and draw.__doc__ == "Bare axes."
    assert plt.get_fignums() == [] and dict(matplotlib.rcParams) == before


def test_a_readers_own_settings_change_no_byte_of_a_figure(tmp_path):
    @style.styled
    def draw():
        figure, axes = style.panels(1, 2)
        axes[0, 0].plot([1, 2, 3], [3, 1, 2])
        axes[0, 1].bar(["GA", "NPO"], [1000, 2000])
        style.legend(figure, *style.methods(["GA", "NPO"]))
        return figure

    def saved(name):
        return [path.read_bytes() for path in paths.save_figure(draw(), tmp_path / name)]

    plain = saved("plain")
    theirs = {
        "text.usetex": True,
        "font.size": 30,
        "font.family": "serif",
        "axes.formatter.use_locale": True,
        "axes.facecolor": "yellow",
        "savefig.facecolor": "red",
        "savefig.bbox": "standard",
        "xtick.direction": "in",
    }
    with plt.rc_context(theirs):
        assert saved("theirs") == plain
        assert plt.rcParams["font.size"] == 30  # and they stay the reader's


def test_grid_and_row_name_their_panels():
    table = pd.DataFrame({"model": ["a", "a", "b"], "hop": ["multi", "single", "single"]})
    figure, axes, panels = style.grid(table)
    assert [panel.get_title(loc="left") for panel, _ in panels] == [
        "a, single-hop",
        "a, multi-hop",
        "b, single-hop",
        "b, multi-hop",
    ]
    assert [len(rows) for _, rows in panels] == [1, 1, 1, 0] and axes.shape == (2, 2)
    plt.close(figure)
    figure, axes, panels = style.row(table)
    assert [(panel.get_title(loc="left"), len(rows)) for panel, rows in panels] == [
        ("a", 2),
        ("b", 1),
    ]
    plt.close(figure)


def test_error_bar_is_zero_where_there_is_no_interval():
    rows = pd.DataFrame({"EM": [5.0, 5.0, 5.0], "EM_lo": [4.0, np.nan, 5.1], "EM_hi": [7.0, 6, 6]})
    arms = [style.error_bar(row, "EM").ravel().tolist() for row in rows.itertuples()]
    assert arms[:2] == [[1, 2], [0, 1]] and arms[2] == [0, 1]
    assert style.error_bar(next(rows[["EM"]].itertuples()), "EM").tolist() == [[0], [0]]


def test_curve_has_a_band():
    table = pd.DataFrame({"x": [1, 2], "EM": [5.0, 6.0], "EM_lo": [4.0, 5.0], "EM_hi": [6.0, 9.0]})
    figure, panel = plt.subplots()
    style.curve(panel, table, "x", "EM", style.NEW, "--")
    [line], [band] = panel.lines, panel.collections
    assert line.get_ydata().tolist() == [5, 6] and line.get_linestyle() == "--"
    assert band.get_datalim(panel.transData).intervaly.tolist() == [4, 9]
    plt.close(figure)


def test_legend_names_only_what_was_met():
    lines = [
        *style.methods(["GA", "mine", "GA"]),
        *style.controls(["equal updates"]),
        style.hollow(),
    ]
    assert [line.get_label() for line in lines] == [
        "GA",
        "mine",
        "equal updates",
        "hollow: the paper",
    ]
    assert lines[1].get_color() == style.NEW.colour


def test_what_bars_are_is_said_with_how_many_there_are():
    table = pd.DataFrame({"EM": [1.0, 2.0], "EM_lo": [0.5, np.nan], "units": [20.0, 60.0]})
    assert style.intervals(table) == "Bars: 95 % intervals over (seed, person), n = 20 to 60."
    assert style.intervals(table[["EM", "EM_lo"]], "bands", "people") == (
        "Bands: 95 % intervals over people."
    )
    none = table.assign(EM_lo=np.nan, units=4)
    assert style.intervals(none) == ("No intervals: there are fewer than 8 (seed, person), n = 4.")
    assert style.intervals(table[["EM"]]).startswith("No intervals")


def test_a_note_stands_above_the_legend_and_is_no_wider_than_the_figure():
    figure, _ = style.panels(1, 1, width=3)
    style.legend(figure, *style.methods(["GA"]), note="a long word " * 12)
    [legend] = figure.legends
    assert legend.get_title().get_text().count("\n") >= 2
    assert legend.get_window_extent().width <= figure.bbox.width
    style.legend(figure)
    assert len(figure.legends) == 1
    plt.close(figure)
