"""gathered: what is said before a number is believed, and where Table 2's cells lead."""

import os
from urllib.parse import parse_qs

import pytest

from remem import paths
from remem.report import calls, preconditions
from remem.site.gathered import Gathered

HEAD = "claim,section,text,verdict\n"


def said(folders, since: float = 0.0) -> str:
    return "\n".join(caution.text for caution in Gathered(folders, since).cautions())


def test_a_folder_with_nothing_in_it_has_nothing_to_warn_of(folders):
    found = Gathered(folders)
    assert found.cautions() == [] and found.claims == [] and found.tradeoff is None
    assert (found.scale, found.scope, found.is_experiment) == ("tiny", "tiny", False)


def test_who_was_not_memorised_comes_first(folders):
    rows = "model,identity,known\na,p00,{}\na,p01,True\na,p02,{}\n"
    paths.write(folders.tables / "memorised.csv", rows.format("True", "True"))
    assert said(folders) == ""
    paths.write(folders.tables / "memorised.csv", rows.format("False", "True"))
    first, *_ = Gathered(folders).cautions()
    assert first.text.startswith("Stage 1 did not memorise 1 of 3 (model, seed, person)")
    assert (first.kind, first.page) == ("failed", "memorised.html")


def test_which_preconditions_are_missed(folders):
    lines = [
        preconditions.line("name-swap", "tiny-7b", preconditions.Measured(95.0)),
        preconditions.line("picture-swap", "<b>", preconditions.Measured(81.2)),
    ]
    table = preconditions.join(folders.tables, "06_stage1", lines)
    paths.write(folders.tables / "preconditions.csv", table.to_csv(index=False))
    told = said(folders)
    assert "as 2 preconditions: 1 met, 1 missed. A claim that needs one" in told
    assert "\nP2, the face is used: missed. <b>, after stage 1: the pictured" in told
    item = Gathered(folders).items["preconditions"]
    shown = Gathered(folders).cells(item, linked=True)
    assert [*map(str, shown.heads)][-1] == "met" and "06_stage1" not in str(shown.rows)


def test_what_the_last_call_did_not_make_and_what_failed(folders):
    for name, began in (("04_dataset", 100), ("06_stage1", 300), ("07_stage2.failed", 300)):
        paths.write(folders.notebooks / f"{name}.ipynb", "{}")
        paths.write(folders.html / f"{name}.html", "")
        calls.remember(folders, name.split(".")[0], began, 1.0, {})
    for path, when in (
        (folders.tables / "table1.csv", 101),
        (folders.tables / "table3.csv", 301),
        (folders.verdicts / "07_stage2.csv", 102),
    ):
        os.utime(paths.write(path, HEAD + "x,§1,x,holds\n"), (when, when))
    told = said(folders, since=200)
    assert "Failed: 07_stage2." in told and "Not run in the last call: 04_dataset." in told
    assert "with other parameters: Table 1, the verdicts of 07_stage2." in told
    assert said(folders, since=50) == "Failed: 07_stage2."


def test_few_runs_leave_what_they_cannot_tell_to_tiny(folders):
    words = {"gd-utility": "holds", "npo-utility": "cannot be told", "trade-off": "not run"}
    lines = [f"{name},§7.3,x,in the tiny world: {word}\n" for name, word in words.items()]
    paths.write(folders.verdicts / "07_stage2.csv", HEAD + "".join(lines))
    assert "Few runs" not in said(folders)
    paths.write(folders.layout, '{"layout": 2, "scale": "quick", "data": "tiny 0123"}')
    found = Gathered(folders)
    assert f"Here {len(found.claims) - 1} claims could not be told" in said(folders)
    assert found.scope == "tiny"


@pytest.mark.parametrize("linked", [True, False])
def test_each_number_of_table_2_leads_to_its_rows(folders, linked):
    text = "model,method,hop,ROUGE,EM_f,EM_t,not_learned\n"
    text += 'tiny-7b,"DPO, the base\'s refusals",single,90,1,,0\ntiny-7b,chance,single,,5,5,0\n'
    paths.write(folders.tables / "table2.csv", text)
    found = Gathered(folders)
    table = found.cells(found.items["table2"], linked)
    links = [[cell.link for cell in row] for row in table.rows]
    if not linked:
        assert {link for row in links for link in row} == {""}
        return
    assert links[1] == [""] * 7 and links[0][:3] == [""] * 3 and links[0][5:] == ["", ""]
    page_of, _, picked = links[0][4].partition("#")
    assert page_of == "samples.html" and parse_qs(picked) == {
        "model": ["tiny-7b"],
        "method": ["DPO, the base's refusals"],
        "hop": ["single"],
        "view": ["forget"],
    }
    assert "view=retain_eval" in links[0][3]


def test_the_13b_figure_of_ratios_has_the_claims_of_both(folders):
    paths.write(folders.verdicts / "08_forget_ratio.csv", HEAD + "ratio-gd,A.3,x,holds\n")
    found = Gathered(folders)
    assert found.about(found.items["fig7"]) == found.about(found.items["fig6"]) != []


def test_outputs_of_another_name_are_an_experiment(folders):
    mine = paths.Folders(folders.root.with_name("my_people"), folders.runs)
    layout = '{"layout": 2, "scale": "tiny", "data": "tiny my people (own) 0123456789ab"}'
    paths.write(mine.layout, layout)
    found = Gathered(mine)
    assert found.is_experiment and (found.scale, found.scope) == ("tiny", "tiny my people (own)")
