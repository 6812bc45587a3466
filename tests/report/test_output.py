import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import two_people
from matplotlib.figure import Figure

from remem import config, paths
from remem.checks import CannotStart
from remem.data.validation import BadData
from remem.report import claims, made, output, preconditions, writers
from remem.services import client


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path))
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_begin_says_scale_changes_folders_and_time(outputs, capsys):
    settings, out = output.begin("07_stage2", "tiny", {"seeds": [1], "stage2": {"lr": 1e-4}})
    assert (settings.seeds, out.config, out.notebook) == ((1,), settings, "07_stage2")
    assert out.folders == paths.outputs("tiny")
    said = capsys.readouterr().out.splitlines()
    standard = config.load_config("tiny")
    assert said[0] == "Scale tiny, but for 2 of the parameters in params/tiny.yaml:"
    assert f"  seeds = [1] (file: {json.dumps(standard.seeds)})" in said[1:3]
    assert f"  stage2.lr = 0.0001 (file: {standard.stage2.lr})" in said[1:3]
    assert said[3].startswith(f"Tables, figures and verdicts go to {outputs / 'tiny'}, runs to ")
    times = pd.read_csv(paths.REFERENCE / "notebooks.csv", index_col="notebook")["longest"]
    minutes = round(times["07_stage2"] / 60)
    assert said[4].startswith(f"The reference run of this notebook took about {minutes} min on ")
    assert "with no parameter changed" in said[4] and len(said) == 5


def test_begin_says_when_nothing_was_changed(outputs, capsys):
    output.begin("07_stage2")
    said = capsys.readouterr().out
    assert said.startswith("Scale tiny, with the parameters of params/tiny.yaml.\n")
    assert "changed" not in said
    output.begin("99_mine")
    assert "reference run" not in capsys.readouterr().out


def test_a_time_of_tiny_is_not_promised_at_another_scale(outputs, capsys):
    output.begin("07_stage2", "smoke")
    assert "reference run" not in capsys.readouterr().out


def test_a_wrong_parameter_makes_no_folder(outputs):
    with pytest.raises(config.BadParameter, match="sedes"):
        output.begin("07_stage2", "tiny", {"sedes": [1]})
    assert not list(outputs.iterdir())


def test_a_folder_keeps_its_scale_and_data(outputs):
    _, out = output.begin("09_scorecard", "tiny")
    layout = json.loads((outputs / "tiny" / "layout.json").read_text())
    assert layout.keys() == {"layout", "scale", "data"} and layout["scale"] == "tiny"
    _, again = output.begin("06_stage1", "tiny", {"seeds": [1]})  # other parameters, same data
    assert again.folders == out.folders
    out.table("table2", pd.DataFrame({"EM": [1.0]}))
    before = contents(outputs)
    for overrides in ({"dataset.seed": 1}, {"benchmark": "clear"}):
        with pytest.raises(paths.OldOutputs, match=r"results of another data \(tiny.*--out NAME"):
            output.begin("09_scorecard", "tiny", overrides)
        elsewhere = {**overrides, "outputs": "_".join(overrides).replace(".", "_")}
        _, other = output.begin("09_scorecard", "tiny", elsewhere)
        assert other.folders.root.parent == outputs and other.folders.runs == out.folders.runs
        other.table("table2", pd.DataFrame({"EM": [1.0]}))
    with pytest.raises(paths.OldOutputs, match="another scale"):
        output.begin("09_scorecard", "smoke", {"outputs": "benchmark"})
    assert before.items() <= contents(outputs).items()


def test_a_folder_without_results_is_anybodys(outputs):
    output.begin("09_scorecard", "tiny", {"outputs": "mine", "benchmark": "typo"})
    _, out = output.begin("09_scorecard", "tiny", {"outputs": "mine", "benchmark": "people"})
    out.table("table2", pd.DataFrame({"EM": [1.0]}))
    with pytest.raises(paths.OldOutputs, match="another data"):
        output.begin("09_scorecard", "tiny", {"outputs": "mine"})


def test_what_outputs_of_a_scale_share_is_no_result_of_its_own(outputs):
    output.begin("09_scorecard", "tiny", {"benchmark": "typo"})
    for shared in ("runs/stage1-1/DONE", "services/calls.jsonl"):  # of --out mine
        paths.write(outputs / "tiny" / shared, "")
    output.begin("09_scorecard", "tiny")


def test_what_the_notebook_will_need_is_checked_first(outputs, monkeypatch, capsys):
    given = {"benchmark": "typo", "experiments.ability.source": "nowhere.tsv"}
    with pytest.raises(CannotStart, match=r"(?s)2 things.*'typo'.*nowhere\.tsv"):
        output.begin("07_stage2", "tiny", given)
    with pytest.raises(BadData, match="'typo'"):  # it has no multiple choice in it
        output.begin("08_forget_ratio", "tiny", given)
    assert not list(outputs.iterdir()) and not capsys.readouterr().out
    output.begin("09_scorecard", "tiny", given)  # nor this one any data
    for name in client.KEYS:
        monkeypatch.delenv(name, raising=False)
    output.begin("07_stage2", "smoke", {"judge.model": "grader"})
    assert "Note: judge.model is grader, but " in capsys.readouterr().out


def test_the_same_people_at_another_path_are_the_same_data(outputs, tmp_path):
    for name in ("a/people", "b/people", "c/people"):
        two_people.make(tmp_path / "given" / name)
    two_people.change(tmp_path / "given" / "c/people", question="What else?")

    def begin(name, **more):
        given = {"outputs": "mine", "benchmark": str(tmp_path / "given" / name), **more}
        return output.begin("07_stage2", "tiny", given)[1]

    out = begin("a/people")
    out.table("table2", pd.DataFrame({"EM": [1.0]}))
    assert begin("a/people").folders == begin("b/people").folders == out.folders
    with pytest.raises(paths.OldOutputs, match="another data"):
        begin("c/people")
    with pytest.raises(paths.OldOutputs, match="another data"):
        output.begin("07_stage2", "tiny", {"outputs": "mine"})


def test_what_a_system_hides_in_a_folder_is_no_result(outputs, tmp_path):
    two_people.make(tmp_path / "people")
    given = {"outputs": "mine", "benchmark": str(tmp_path / "people")}
    _, out = output.begin("07_stage2", "tiny", given)
    (out.folders.root / ".DS_Store").touch()
    output.begin("07_stage2", "tiny", {"outputs": "mine"})


@pytest.mark.parametrize("old", ["tables/table2.csv", "verdicts/07.csv", "runs/unlearn-1/DONE"])
def test_a_folder_of_the_earlier_layout_is_left_alone(outputs, old):
    paths.write(outputs / "tiny" / old, "old")
    before = contents(outputs)
    with pytest.raises(paths.OldOutputs, match=r"tiny holds results of an earlier.*outputs: N"):
        output.begin("07_stage2")
    assert contents(outputs) == before
    output.begin("07_stage2", "tiny", {"outputs": "new"})  # the way out


@pytest.mark.parametrize("content", [b"", b"\0" * 90, b'{"layout": 2, "sca', b"[]", b"\xff"])
def test_a_layout_that_cannot_be_read_is_told_where_there_are_results(outputs, content):
    _, out = output.begin("09_scorecard", "tiny")
    out.folders.layout.write_bytes(content)
    output.begin("09_scorecard", "tiny")  # nothing is there: it is written anew
    assert json.loads(out.folders.layout.read_text())["scale"] == "tiny"
    out.table("table2", pd.DataFrame({"EM": [1.0]}))
    out.folders.layout.write_bytes(content)
    with pytest.raises(paths.OldOutputs, match=r"another layout \((\[\]|layout\.json cannot be)"):
        output.begin("09_scorecard", "tiny")


def test_two_who_would_write_other_results_do_not_meet(outputs, monkeypatch):
    monkeypatch.setattr(writers, "PATIENCE", 0.0)
    code = (
        "from remem.report import output\nimport sys\n"
        "output.begin('09_scorecard', 'tiny', {'seeds': [2]})\n"
        "print('begun', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(  # as a notebook in Jupyter, or one that papermill runs
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout and "begun\n" in iter(other.stdout.readline, "")
        before = contents(outputs)
        with pytest.raises(writers.InUse, match=f"process {other.pid} is running"):
            output.begin("09_scorecard", "tiny")
        assert contents(outputs) == before
        output.begin("09_scorecard", "tiny", {"outputs": "mine"})  # the way out
        output.begin("09_scorecard", "tiny", {"seeds": [2]})  # another notebook of the same
    finally:
        other.communicate("")
    output.begin("09_scorecard", "tiny")


def test_runs_that_other_outputs_share_are_not_old(outputs):
    paths.write(outputs / "tiny" / "runs" / "stage1-1" / "DONE", "{}")
    output.begin("07_stage2")


@pytest.fixture
def out(outputs):
    return output.begin("07_stage2")[1]


def test_table_writes_the_csv_and_shows_it(out):
    frame = pd.DataFrame({"EM": [95.04], "EM_lo": [90.0], "EM_hi": [97.0]}, index=[7])
    shown = out.table("fig1", frame)
    assert (out.folders.tables / "fig1.csv").read_text() == "EM,EM_lo,EM_hi\n95.04,90.0,97.0\n"
    assert "95.0 <small>[90.0, 97.0]</small>" in shown.to_html()
    assert "Versions of the metrics: em 2." in shown.to_html()
    assert "95.04 <small>" in out.table("fig1", frame, digits=2).to_html()


def test_what_made_each_file_is_kept(outputs, out):
    frame = pd.DataFrame({"EM": [95.0]})
    out.table("fig1", frame)
    out.figure("fig1", Figure())
    out.verdicts(pd.read_csv(paths.REFERENCE / "verdicts" / "00_base_model.csv"))
    known = made.known(out.folders)
    assert sorted(f"{file.parent.name}/{file.name}" for file in known) == [
        "figures/fig1.pdf",
        "figures/fig1.png",
        "tables/fig1.csv",
        "verdicts/07_stage2.csv",
    ]
    ours = made.parameters(out.config)
    assert {json.dumps(each.made["07_stage2"].digest) for each in known.values()} == {
        json.dumps(ours.digest)
    }
    _, other = output.begin("07_stage2", "tiny", {"seeds": [3]})  # run in Jupyter, say
    other.table("fig1", frame)
    said = made.otherwise(made.known(out.folders), [out.folders.tables / "fig1.csv"], ours.digest)
    assert said.startswith("Made with other parameters: seeds = [3] (file: [1, ")


def test_the_preconditions_know_what_made_each_notebooks_lines(out):
    measured = preconditions.Measured(95.0)
    lines = [preconditions.line("name-swap", "tiny-7b", measured)]
    out.preconditions(lines)
    _, other = output.begin("06_stage1", "tiny", {"seeds": [3]})
    other.preconditions(lines)
    file = out.folders.tables / "preconditions.csv"
    assert pd.read_csv(file).notebook.tolist() == ["06_stage1", "07_stage2"]
    kept = made.record(out.folders, file).made
    assert kept == {
        "06_stage1": made.parameters(other.config),
        "07_stage2": made.parameters(out.config),
    }
    _, out = output.begin("06_stage1")
    out.preconditions([])  # what it had measured is gone
    assert set(made.record(out.folders, file).made) == {"06_stage1", "07_stage2"}


def test_table_with_an_index_or_another_frame_to_show(out):
    frame = pd.DataFrame({"n": [3]}, index=pd.Index(["job"], name="attribute"))
    html = out.table("composition", frame, index=True).to_html()
    assert (out.folders.tables / "composition.csv").read_text() == "attribute,n\njob,3\n"
    assert ">attribute<" in html and ">job<" in html
    html = out.table("composition", frame, show=pd.DataFrame({"other": ["x"]})).to_html()
    assert ">other<" in html and ">3<" not in html


def test_figure_is_saved_twice_and_handed_back(out):
    figure = Figure()
    assert out.figure("fig1", figure) is figure
    assert sorted(path.name for path in out.folders.figures.iterdir()) == ["fig1.pdf", "fig1.png"]


@pytest.mark.parametrize("name", ["00_base_model", "04_dataset"])
def test_verdicts_are_written_as_they_were(out, name):
    file = paths.REFERENCE / "verdicts" / f"{name}.csv"
    frame = pd.read_csv(file)
    shown = out.verdicts(frame.set_index("claim") if name == "04_dataset" else frame, "claims")
    assert (out.folders.verdicts / "07_stage2.csv").read_bytes() == file.read_bytes()
    assert repr(shown).startswith(f"Of {len(frame)} claims put to the test here")


def test_verdicts_are_gated_where_they_are_shown_and_not_where_they_are_kept(out):
    frame = claims.scorecard({})[["claim", "section", "text", "verdict", "needs"]].head(1)
    frame = frame.assign(verdict="in the tiny world: holds", needs="P5", margin=5.0, rule="above")
    frame = frame.assign(unit="points", cells="", comparison="", ours=1.0, lo=0.5, hi=1.5)
    frame = frame.assign(paper=0.0, measured="1 of 1", units=20, note="")
    frame["paper bears out"] = "yes"
    assert "1 holds" in repr(out.verdicts(frame))
    missed = "precondition,what,model,met\nP5,training EM,tiny-7b,no\n"
    paths.write(out.folders.tables / "preconditions.csv", missed)
    said = repr(out.verdicts(frame))
    assert "1 cannot be told" in said and "P5 training EM (1)" in said
    written = pd.read_csv(out.folders.verdicts / "07_stage2.csv")
    assert written.verdict.tolist() == ["in the tiny world: holds"]
