"""What a test reads from a drawn figure."""

import numpy as np


def marks(panel):
    """(x, y) of each mark that is drawn -> its colour."""
    return {
        tuple(np.round([*line.get_xdata(), *line.get_ydata()], 6)): line.get_color()
        for line in panel.lines
        if len(line.get_xdata()) == 1
    }


def legend(figure):
    """The names in the legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def with_intervals(columns, **line):
    """A table's line: each column's value, an interval of one point each way, no paper's number."""
    for name, value in columns.items():
        line |= {name: value, f"{name}_lo": value - 1, f"{name}_hi": value + 1}
        line |= {f"paper_{name}": np.nan}
    return line


def hollow(panel):
    """Where the hollow marks that are drawn lie: the paper's."""
    return {
        (float(np.round(line.get_xdata()[0], 6)), float(line.get_ydata()[0]))
        for line in panel.lines
        if line.get_markerfacecolor() == "none"
        and not np.isnan([line.get_xdata()[0], line.get_ydata()[0]]).any()
    }


def inside(figure):
    """Everything drawn lies on the page."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert box.x0 > -0.02 and box.y0 > -0.02
    assert box.x1 < figure.get_figwidth() + 0.02 and box.y1 < figure.get_figheight() + 0.02
