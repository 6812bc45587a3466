import pandas as pd
from drawings import inside, marks

from remem.report import figures
from remem.report.figures.controls import FACES, LEFT, MARKS


def rows(**changed) -> dict[str, object]:
    found: dict[str, object] = {}
    for value, columns in ((40.0, MARKS), (60.0, FACES), (80.0, LEFT)):
        for name in columns:
            found |= {name: value, f"{name}_lo": value - 5, f"{name}_hi": value + 5}
    return found | changed


def test_a_panel_for_names_one_for_faces_and_one_for_what_is_left():
    table = pd.DataFrame(
        [
            rows(model=model, method=method, whose=whose)
            for model in ("tiny-7b", "tiny-13b")
            for whose in ("retained", "forgotten", "Real Set")
            for method in ("base", "GA")
        ]
    )
    figure = figures.controls(table)
    assert len(figure.axes) == 6
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert titles[0] == "tiny-7b, single-hop: the name should decide"
    assert titles[5] == "Real Set: what is left of it"
    assert {x for x, _ in marks(figure.axes[2])} == {80}
    assert [each.get_text() for each in figure.axes[0].get_yticklabels()] == ["base", "GA"]
    for columns in (MARKS, FACES, LEFT):
        used = [mark for mark, _ in columns.values()]  # neither colour nor shape alone
        assert len({m.colour for m in used}) == len({m.marker for m in used}) == len(used)
    inside(figure)


def test_without_public_figures_their_panel_is_left_out():
    table = pd.DataFrame([rows(model="a", method="base", whose="retained")])
    assert len(figures.controls(table).axes) == 2
