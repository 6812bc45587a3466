"""tradeoff: the way of each method over the epochs, beside Table 2's fixed points."""

import pytest

from remem import paths
from remem.site import tradeoff
from remem.site.files import Files

HEAD = "model,method,seed,epoch,view,hop,em\n"


def curve(*lines: str) -> str:
    return HEAD + "".join(f"{line}\n" for line in lines)


def test_a_point_is_the_mean_over_seeds_in_percent(folders):
    lines = [
        f"tiny-7b,{method},{seed},{epoch},{view},{hop},{em}"
        for method, hop in (("NPO", "multi"), ("GA", "single"), ("NPO", "single"))
        for seed, view, epoch, em in (
            (1, "forget", 0, 1.0),
            (2, "forget", 0, 0.5),
            (1, "retain_eval", 0, 1.0),
            (2, "retain_eval", 0, 0.8),
            (1, "forget", 1, 0.25),
            (1, "retain_eval", 1, 0.5),
        )
    ]
    paths.write(folders.tables / "table2_curves.csv", curve(*lines))
    table2 = "model,method,hop,EM_f,EM_r,paper_EM_f,paper_EM_r\n"
    table2 += "tiny-7b,NPO,single,9,9,21.79,50.45\ntiny-7b,retrained,single,0.5,99.004,,\n"
    table2 += "tiny-7b,chance,single,5,5,,\n"
    paths.write(folders.tables / "table2.csv", table2)
    found = tradeoff.tradeoff(Files(folders))
    assert found is not None
    single, multi = found["panels"]
    assert (single["hop"], multi["hop"]) == ("single", "multi")  # whatever the table's order
    assert [*single["ways"]] == ["GA", "NPO"]  # the figures' order
    assert single["ways"]["NPO"] == [[75.0, 90.0], [25.0, 50.0]]
    assert single["levels"] == {"retrained": [0.5, 99.0], "chance": [5, 5]}
    assert single["paper"] == {"NPO": [21.79, 50.45]} and multi["paper"] == {}
    assert (found["epochs"], found["seeds"]) == (1, 2)
    assert found["methods"]["NPO"] == {"colour": "#D55E00", "marker": "v"}


@pytest.mark.parametrize("text", [None, HEAD, "model,method\na,b\n"])
def test_without_curves_there_is_no_plot(folders, text):
    if text is not None:
        paths.write(folders.tables / "table2_curves.csv", text)
    assert tradeoff.tradeoff(Files(folders)) is None
