import pandas as pd
import pytest

from remem.report import controls


def row(hop, picture, em, em_pictured=None, **more):
    found = {"model": "tiny-7b", "seed": 1, "identity": "p0", "method": "GA", "whose": "retained"}
    found |= {"hop": hop, "picture": picture, "em": em, "em_pictured": em_pictured}
    return found | {"likeliest": None, "stage1_value": None} | more


def test_each_column_is_one_hop_with_one_picture():
    rows = [
        row("single", "own", 1.0),
        row("single", "own", 0.0),
        row("single", "another's", 0.25, 0.75),
        row("single", "none", 0.1),
        row("multi", "own", 0.4),
        row("multi", "another's", 0.2, 0.3),
        row("single", "own", 0.0, whose="Real Set", likeliest=0.9, stage1_value=0.6),
        row("single", "own", 1.0, method="base", whose="forgotten"),
    ]
    frame = pd.DataFrame(rows).astype({"em_pictured": float, "likeliest": float})
    table = controls.table(frame.astype({"stage1_value": float}))
    assert list(table["whose"]) == ["retained", "forgotten", "Real Set"]
    first, _, real = table.to_dict("records")
    assert {name: first[name] for name in controls.CONTROLLED} == {
        "single": 50,
        "name_swap": 25,
        "misled": 75,
        "no_picture": 10,
        "multi": 40,
        "picture_swap": pytest.approx(30),
        "unmoved": 20,
    }
    assert (real["likeliest"], real["stage1_value"]) == (90, 60)
    assert pd.isna(real["name_swap"]) and pd.isna(first["likeliest"])
    assert pd.isna(first["single_lo"])  # one person
