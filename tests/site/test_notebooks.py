"""notebooks: which notebooks were run, how long they took, which failed, and what they checked."""

import json
import os
from datetime import datetime

from remem import paths
from remem.report import calls
from remem.site import notebooks
from remem.site.files import Files


def test_notebooks_show_how_long_they_took_and_which_failed(folders):
    for name in ("04_dataset", "05_metrics.failed"):
        paths.write(folders.notebooks / f"{name}.ipynb", "{}")
        paths.write(folders.html / f"{name}.html", "")
    day = datetime(2026, 3, 1, 12, 30).timestamp()
    changed = {"stage1.epochs": (3, 5), "dataset.source": ("a; b", None)}
    calls.remember(folders, "04_dataset", day, 95.2, changed)
    calls.remember(folders, "05_metrics", day, None, {})
    first, second = notebooks.listed(Files(folders))
    assert (first.title, first.page, first.failed) == (
        "4, dataset",
        "../html/04_dataset.html",
        False,
    )
    assert (first.began, first.seconds, first.longest) == (
        "2026-03-01 12:30",
        "1 min 35 s",
        "1 min 35 s",
    )
    assert (second.page, second.failed, second.seconds) == (
        "../html/05_metrics.failed.html",
        True,
        "",
    )
    assert notebooks.changed([first, second]) == [
        "stage1.epochs = 3 (file: 5)",
        'dataset.source = "a; b" (file: null)',
    ]
    calls.remember(folders, "04_dataset", day + 3600, 7.5, {})  # finds its training done
    assert notebooks.listed(Files(folders))[0].seconds == "7.5 s"
    assert notebooks.listed(Files(folders))[0].longest == "1 min 35 s"


def test_a_notebook_that_is_only_kept_as_ipynb_can_be_read_too(folders):
    paths.write(folders.notebooks / "06_stage1.ipynb", "{}")
    assert notebooks.listed(Files(folders))[0].page == "../notebooks/06_stage1.ipynb"


def test_what_the_last_call_did_not_run(folders):
    for name, began in (("04_dataset", 100.0), ("06_stage1", 300.0)):
        calls.remember(folders, name, began, 1.0, {})
        file = paths.write(folders.verdicts / f"{name}.csv", "claim,verdict\nsamples,holds\n")
        os.utime(file, (began, began))
    found = {
        each.name: (each.older, each.verdicts_older)
        for each in notebooks.listed(Files(folders), since=200.0)
    }
    assert found == {"04_dataset": (True, True), "06_stage1": (False, False)}


def test_verdicts_about_no_claim_are_shown_beside_their_notebook(folders):
    paths.write(
        folders.verdicts / "04_dataset.csv", "claim,verdict\nsamples,holds\nfaces,differs\n"
    )
    about = "claim,section,text,verdict\ngd-utility,§7.3,GD,in the tiny world: holds\n"
    paths.write(folders.verdicts / "07_stage2.csv", about)
    paths.write(folders.verdicts / "11_your_method.csv", about + "mine,ours,Mine,reversed\n")
    dataset, stage2, mine = notebooks.listed(Files(folders))
    assert dataset.outcomes == {"holds": 1, "fails": 1}
    assert dataset.table is not None and len(dataset.table.rows) == 2
    assert stage2.table is None and stage2.outcomes == {"holds": 1}
    assert mine.table is not None and len(mine.table.rows) == 1


def test_where_the_time_goes(folders):
    for name, seconds in (("base-1", 100.0), ("stage1-1", 50.0), ("stage1-2", 70.0)):
        told = json.dumps({"kind": name.split("-")[0], "seconds": seconds})
        paths.write(folders.runs / name / "spec.json", told)
        paths.write(folders.runs / name / "DONE", "{}")
        if name == "base-1":
            calls.remember(folders, "00_base_model", 0.0, 130.0, {})
    calls.remember(folders, "05_metrics", 1.0, 2.0, {})
    calls.remember(folders, "07_stage2", 2.0, None, {})
    table = notebooks.times(folders)
    assert [*table.itertuples(index=False, name=None)] == [
        ("00_base_model", "2 min 10 s", "base", 1, "1 min 40 s", "1 min 40 s"),
        ("05_metrics", "2.0 s", "stage1", 2, "2 min 00 s", "1 min 10 s"),
        ("07_stage2", "", "none", 0, "", ""),
        ("all", "2 min 12 s", "all", 3, "3 min 40 s", "1 min 40 s"),
    ]
