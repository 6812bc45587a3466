import pandas as pd
import pytest

from remem.report import survey

SIZES = {"train": {"single": 7, "multi": 10}, "test": {"single": 7, "multi": 7}}


def test_the_survey_counts_what_is_there_and_quotes_the_rest():
    rows = pd.DataFrame(
        [
            {
                "identity": person,
                "name": f"{person} Lee",
                "split": split,
                "hop": hop,
                "question": f"{split} {k} about {person} Lee?",
                "image": f"{split}/{person}-{hop}-{k}.png",
            }
            for person in ("Ann", "Bo", "Cy", "Di")
            for split, hops in SIZES.items()
            for hop, count in hops.items()
            for k in range(count)
        ]
    )
    one = rows[rows["split"] == "train"].copy()
    one["image"] = "train/" + one["identity"] + ".png"
    again = pd.concat([one, one.assign(split="test")])
    table = survey.survey({"ours": rows, "shaped": one, "copied": again})
    table = table.set_index(["benchmark", "source"])
    ours = table.loc[("ours", "computed")]
    assert list(ours[["people", "pictures per person", "QA per person"]]) == [4, 17, 17]
    assert ours["single-hop"] == pytest.approx(100 * 7 / 17)
    unseen = ["unseen test questions", "unseen test pictures"]
    assert list(ours[unseen]) == ["yes", "yes"]
    for name in ("shaped", "copied"):
        other = table.loc[(name, "computed")]
        assert other["pictures per person"] == 1 and list(other[unseen]) == ["no", "no"]
    paper = table.xs("quoted from the paper's Table 1", level="source")
    assert list(paper.index) == ["FIUBench", "MLLMU-Bench", "CLEAR", "ReMem"]
    assert list(paper["pictures per person"]) == [1, 1, 20, 100]
    assert list(paper["QA per person"]) == [20, 1, 20, 100]
    assert list(paper["column 3"]) == [0, 0, 0, 1] and list(paper["column 5"]) == [1, 1, 1, 1]
    assert paper[["people", "single-hop", *unseen]].isna().all(axis=None)
    assert table.loc[("FIUBench", "quoted from the benchmark"), "people"] == 400
