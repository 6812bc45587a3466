import numpy as np
import pandas as pd
from drawings import inside

from remem.report import figures


def test_confusion_has_a_panel_for_each_judge_and_says_each_count():
    steps = ["0", "0.25", "0.5", "0.75", "1"]
    lines = []
    for judge, extra in (("rule", 3), ("gemini-9.9-flash-with-a-long-name", 0)):
        counts = np.diag([100, 5, 5, 5, 80])
        counts[4, 1] = extra
        for grade, row in zip([0, 0.25, 0.5, 0.75, 1], counts, strict=True):
            lines.append({"judged_by": judge, "grade": grade, **dict(zip(steps, row, strict=True))})
    figure = figures.confusion(pd.DataFrame(lines))
    titles = [panel.get_title(loc="left").replace("\n", "") for panel in figure.axes]
    assert titles == ["rule", "gemini-9.9-flash-with-a-long-name"]
    first, second = (
        {text.get_position(): text.get_text() for text in panel.texts} for panel in figure.axes
    )
    diagonal = {(k, k): str(n) for k, n in enumerate([100, 5, 5, 5, 80])}
    assert first == diagonal | {(1, 4): "3"} and second == diagonal
    inside(figure)
    for panel in figure.axes:
        assert [label.get_text() for label in panel.get_xticklabels()] == steps
        assert panel.get_xlabel() == "the judge's score"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == steps


def test_a_grade_that_nobody_gave_is_an_empty_row():
    table = pd.DataFrame([{"judged_by": "rule", "grade": g, "0": 0, "1": g} for g in (0, 1)])
    [panel] = figures.confusion(table).axes
    assert [text.get_text() for text in panel.texts] == ["1"]
    assert not np.isnan(panel.images[0].get_array()).any()
