"""commands: remem site and remem check, and what they say where there is nothing."""

import pytest

from remem import __main__, paths

CLAIMS = "claim,section,text,verdict\n"


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(paths, "REFERENCE", tmp_path / "reference")
    return tmp_path


def run(root, name: str, word: str) -> paths.Folders:
    folders = paths.Folders(root / name, root / "smoke" / "runs")
    paths.write(folders.tables / "table3.csv", "hop,EM,EM_lo,EM_hi\nsingle,95.0,90,99\n")
    paths.write(folders.verdicts / "07_stage2.csv", f"{CLAIMS}gd-utility,§7.3,GD,{word}\n")
    return folders


@pytest.mark.parametrize("name", ["smoke", "mine"])
def test_the_site_is_built_of_a_folder_by_its_name(outputs, capsys, name):
    folders = run(outputs, name, "holds")
    out = [] if name == "smoke" else ["--out", name]
    assert __main__.main(["site", "--scale", "smoke", *out]) == 0
    assert capsys.readouterr().out.strip() == str(folders.site / "index.html")


@pytest.mark.parametrize("word, status", [("holds", 0), ("reversed", 1)])
def test_a_run_is_checked_and_the_status_says_whether_it_came_out_alike(
    outputs, capsys, word, status
):
    run(outputs, "smoke", word)
    run(outputs, "reference", "holds")
    assert __main__.main(["check", "--scale", "smoke"]) == status
    said = capsys.readouterr().out
    assert "Tables: 1 of 1 are equal" in said and ("gd-utility: reversed" in said) == bool(status)


def test_what_is_not_there_is_said(outputs, capsys):
    for command in ("site", "check"):
        assert __main__.main([command, "--scale", "smoke", "--out", "none"]) == 2
        assert "there is no folder" in capsys.readouterr().err
    run(outputs, "smoke", "holds")
    assert __main__.main(["check", "--scale", "smoke"]) == 2
    assert "there is no reference run in" in capsys.readouterr().err
