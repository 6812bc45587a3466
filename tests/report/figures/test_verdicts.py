from drawings import inside

from remem.report import claims, figures


def test_scorecard_has_a_line_per_claim_with_mark_and_word():
    table = claims.scorecard({})
    words = [claims.HOLDS, claims.REVERSED, claims.SMALLER, claims.UNTOLD]
    table["verdict"] = [f"in the tiny world: {words[i % 4]}" for i in range(len(table))]
    table.loc[len(table) - 1, "verdict"] = claims.NOT_RUN
    figure = figures.scorecard(table)
    [panel] = figure.axes
    texts = [text.get_text() for text in panel.texts]
    assert texts.count(claims.NOT_RUN) == 1 and "in the tiny world" in texts
    for word in words:
        assert texts.count(word) == table.verdict.str.endswith(f": {word}").sum()
    marks = [line for line in panel.lines if len(line.get_xdata()) == 1]
    assert len(marks) == len(table) and len({mark.get_marker() for mark in marks}) == 5
    headings = [text.get_text() for text in panel.texts if text.get_weight() == "bold"]
    assert {"Table 2", "Fig 3a", "Fig 6, Fig 7"} <= set(headings)
    assert all(text.get_fontsize() >= 8 for text in panel.texts)
    inside(figure)


def test_scorecard_names_the_precondition_that_is_missed():
    table = claims.scorecard({}).head(2)
    table["verdict"] = ["reproduced", "cannot be told: P1 the name is used"]
    table["preconditions"] = ["met", "missed: P1, P3; not measured: P2"]
    texts = [text.get_text() for text in figures.scorecard(table).axes[0].texts]
    assert {"reproduced", "cannot be told (P1, P3)", "verdict"} <= set(texts)


def test_scorecard_text_does_not_run_into_the_next_column():
    figure = figures.scorecard(claims.scorecard({}))
    figure.draw_without_rendering()
    [panel] = figure.axes
    starts = sorted({text.get_position()[0] for text in panel.texts})
    for text in panel.texts[5:]:  # after the heads
        right = panel.transData.inverted().transform(text.get_window_extent())[1, 0]
        later = [start for start in starts if start > text.get_position()[0]]
        if text.get_weight() != "bold" and later:
            assert right < later[0], text.get_text()


def test_scorecard_has_the_numbers():
    table = claims.scorecard({}).head(2)
    table["ours"], table["lo"], table["hi"] = [12.34, float("nan")], [10.0] * 2, [14.5] * 2
    table["paper"], table["margin"], table["unit"] = 3.0, [5.0, 0.05], "points"
    texts = [text.get_text() for text in figures.scorecard(table).axes[0].texts]
    assert {"12.3 [10.0, 14.5] points", "3.0", "3.000"} <= set(texts)
