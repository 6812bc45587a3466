"""`remem judge`, as a person types it."""

from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from remem import __main__, experiments, runs
from remem.evaluation import graded, judge
from remem.jobs import Job, Jobs


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


class Said(runs.Run):
    """What a model said of a few people."""

    kind: ClassVar[str] = "said"
    method: str

    def make(self, out: Path, runs_root: Path) -> None:
        (out / "said").write_text(self.method)

    def read(self, folder: Path) -> pd.DataFrame:
        lines = [
            {
                "view": "forget",
                "hop": "single",
                "attribute": "job",
                "question": f"What is the job of Ann {k}?",
                "answer": f"The job of Ann {k} is baker{k}.",
                "target": f"baker{k}",
                "answer_given": f"The job of Ann {k} is {self.method}{k}.",
                "rouge": 0.8,
            }
            for k in range(20)
        ]
        return pd.DataFrame(lines)


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Three models of Table 2, one of which has not answered."""
    specs = [Said(method=name) for name in ("GA", "NPO", "GD")]
    labels = [{"model": "tiny-7b", "method": spec.method, "seed": 1} for spec in specs]
    found = Jobs(tuple(map(Job, specs, labels)), tmp_path / "runs")
    monkeypatch.setattr(experiments, "unlearning", lambda config, methods: found)
    return found


def test_our_answers_are_what_is_taken(outputs, capsys):
    assert __main__.main(["judge", "--out", str(outputs / "tables")]) == 0
    said = capsys.readouterr().out
    assert "rule: the reader's grade for " in said and "% of 200 answers" in said
    assert (
        "'Jason.Baker@example.com': 'The email of Jason Baker is Jason.Butler@example.com.'" in said
    )
    tables = {path.stem: pd.read_csv(path) for path in (outputs / "tables").glob("*.csv")}
    assert {*tables} == {"judge_calibration", "judge_confusion", "judge_disagreements"}
    lines = tables["judge_calibration"].set_index(["judged_by", "answers"])
    assert lines.n["rule", "all"] == 200 == lines.n["exact match", "all"]
    assert lines.agreement_lo["rule", "all"] < lines.agreement["rule", "all"]
    assert f"disagree with the reader ({len(tables['judge_disagreements'])})" in said
    assert not (outputs / "outputs").exists(), "nothing is asked, and nothing written"


def test_without_a_key_it_says_who_judges(capsys):
    assert __main__.main(["judge", "--set", "model=gemini-test"]) == 0
    said = capsys.readouterr()
    assert "judge gemini-test: the rule judges: no key for Gemini" in said.err
    assert "gemini-test" not in said.out


def test_answers_are_drawn_of_what_is_done_and_graded_by_the_reader(outputs, jobs, capsys):
    for job in jobs.jobs[:2]:
        runs.get_or_create(job.spec, jobs.runs_root)
    file = outputs / "mine" / "answers.csv"
    assert __main__.main(["judge", "--draw", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"{file} holds 40 answers of 2 of 3 models" in said and judge.SCALE in said
    assert not runs.folder(jobs.jobs[2].spec, jobs.runs_root).exists(), "nothing is made for it"
    drawn = pd.read_csv(file)
    assert drawn.grade.isna().all() and set(drawn.method) == {"GA", "NPO"}

    assert __main__.main(["judge", "--draw", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert __main__.main(["judge", str(file)]) == 1
    assert f"error: {file}, row 2: the grade is ''" in capsys.readouterr().err

    drawn.assign(grade=0).to_csv(file, index=False)
    assert __main__.main(["judge", str(file)]) == 0
    assert (
        "rule: the reader's grade for 100 (100 to 100) % of 40 answers" in capsys.readouterr().out
    )


def test_without_answers_it_says_how_to_get_them(outputs, jobs, capsys):
    assert __main__.main(["judge", "--draw", str(outputs / "mine.csv")]) == 2
    assert "remem reproduce 07 --scale tiny" in capsys.readouterr().err
    assert not (outputs / "mine.csv").exists()


def test_texts_of_any_kind_are_printed_on_one_line(outputs, capsys):
    file = outputs / "mine.csv"
    row = {"question": "Who?", "answer": "It is Ann.", "target": "Ann", "grade": 1}
    pd.DataFrame([{**row, "answer_given": "\u202e\x1b[2J\n" + "x" * 500}]).to_csv(file, index=False)
    assert __main__.main(["judge", str(file)]) == 0
    said = capsys.readouterr().out
    assert "\u202e" not in said and "\x1b" not in said and "x" * 100 not in said
    assert graded.read(file).grade.tolist() == [1]
