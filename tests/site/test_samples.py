"""samples: every row behind Table 2 with what was said, small, and nothing lost on the way."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from remem import metrics, paths, runs
from remem.data import splits
from remem.site import samples
from remem.site.behind import Runs


def taken(file) -> tuple[str, dict]:
    """What a file of samples hands over: its name and content."""
    name, content = re.fullmatch(
        r"remem\.take\((\"[^\"]*\"), (.*)\)\n", file.read_text("utf-8")
    ).groups()
    return json.loads(name), json.loads(content)


@pytest.fixture(scope="session")
def written(smoke_made, tmp_path_factory):
    """The folder of smoke's samples, and what its page is told."""
    out = tmp_path_factory.mktemp("samples")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REMEM_OUTPUTS", str(smoke_made.root))
        return out / "samples", samples.write(Runs(smoke_made.folders), out)


def test_the_page_is_told_who_there_is_and_where_each_models_answers_are(written, smoke_made):
    folder, told = written
    assert [*told["models"]] == ["smoke"] and told["everybody"] == len(told["people"]) == 5
    methods = told["models"]["smoke"]
    assert [*methods][:4] == ["base", "before unlearning", "GA", "GD"] and len(methods) == 10
    assert {path.name for path in folder.glob("*.js")} == {"rows.js", *methods.values()}
    [forgotten] = told["seeds"].values()
    assert len(forgotten) == 1 and {*forgotten} < {*told["people"]}


@pytest.mark.parametrize("method", ["base", "NPO", "retrained"])
def test_every_row_of_table_2_is_there_with_its_answer_its_score_and_its_rank(
    written, smoke_made, method
):
    folder, told = written
    shared = taken(folder / "rows.js")[1]
    name, content = taken(folder / told["models"]["smoke"][method])
    assert name == f"smoke/{method}"
    [job] = [job for job in smoke_made.jobs if job.labels["method"] == method]
    file = runs.folder(job.spec, smoke_made.folders.runs) / "answers.parquet"
    expected = job.select(pd.read_parquet(file))
    found = content["seeds"]["1"]
    assert {len(each) for each in found.values()} == {len(expected)}
    rows = {column: [values[k] for k in found["row"]] for column, values in shared["rows"].items()}
    texts = [
        a if k < 0 else content["texts"][k]
        for k, a in zip(found["text"], rows["answer"], strict=True)
    ]
    keys = [
        *zip(
            [samples.VIEWS[k] for k in found["view"]],
            rows["question"],
            rows["person"],
            texts,
            strict=True,
        )
    ]
    columns = ["view", "question", "identity", "answer_given"]
    assert sorted(keys) == sorted(expected[columns].itertuples(index=False, name=None))
    assert sum(found["em"]) == sum(metrics.em(expected))
    ranks = [rank for rank in found["rank"] if rank is not None]
    assert sorted(ranks) == sorted(expected["candidate_rank"].dropna())


def test_candidates_are_ordered_and_hold_the_truth(written):
    folder, told = written
    shared = taken(folder / "rows.js")[1]
    content = taken(folder / told["models"]["smoke"]["NPO"])[1]["seeds"]["1"]
    seen = 0
    for row, rank, best in zip(content["row"], content["rank"], content["best"], strict=True):
        if best is None:
            assert rank is None
            continue
        seen += 1
        values = shared["candidates"][shared["rows"]["attribute"][row]]
        places, probabilities = best[::2], best[1::2]
        assert probabilities == sorted(probabilities, reverse=True)
        assert values[places[round(rank) - 1]] == shared["rows"]["target"][row]
        assert probabilities[0] == round(1e4 * np.exp(-1.0))
    assert seen > 5


def test_pictures_are_those_of_the_rows(written, smoke_made):
    folder, _ = written
    rows = taken(folder / "rows.js")[1]["rows"]
    where = smoke_made.rows.set_index(["identity", "question"])["image"]
    data = next(smoke_made.folders.runs.glob("dataset-*"))
    for who, question, file in list(
        zip(rows["person"], rows["question"], rows["picture"], strict=True)
    )[::9]:
        assert (folder / file).read_bytes() == (data / where[who, question]).read_bytes()


def test_of_many_candidates_the_best_are_kept_and_the_true_one():
    values = [f"v{k}" for k in range(50)]
    said = pd.DataFrame(
        {
            "id": ["a"],
            "view": ["forget"],
            "seed": [1],
            "em": [0.0],
            "attribute": ["job"],
            "answer": ["x"],
            "target": ["v49"],
            "answer_given": ["y"],
            "candidate_rank": [50.0],
            "candidate_logps": [np.linspace(-0.1, -9, 50)],
        }
    )
    found = samples.answers(said, pd.Series(["b", "a"]), {"job": values})
    [best] = found["seeds"]["1"]["best"]
    assert best[::2] == [*range(samples.BEST), 49] and best[-1] == 1
    assert found["seeds"]["1"]["row"] == [1] and found["texts"] == ["y"]


def test_of_large_data_whole_people_are_shown_some_of_them_kept(monkeypatch):
    rows = pd.DataFrame({"identity": np.repeat([f"p{k}" for k in range(10)], 3), "id": range(30)})
    monkeypatch.setattr(samples, "FORGOTTEN", 7)
    monkeypatch.setattr(samples, "MOST", 12)
    found = samples.some(rows, ["p8", "p2", "p5", "p8"])
    assert [*dict.fromkeys(found["identity"])] == ["p0", "p1", "p2", "p8"]
    assert (found["identity"].value_counts() == 3).all()
    monkeypatch.setattr(samples, "FORGOTTEN", 1)
    monkeypatch.setattr(samples, "MOST", 1)
    assert {*samples.some(rows, ["p8", "p2"])["identity"]} == {"p8", "p0"}


def test_a_large_picture_is_made_small_and_each_is_copied_once(tmp_path):
    Image.new("RGB", (900, 600), "red").save(paths.make_folder(tmp_path / "in") / "a b.png")
    Image.new("RGB", (40, 30), "blue").save(tmp_path / "in" / "small.jpeg")
    files = samples.copy_pictures(
        ["a b.png", "small.jpeg", "a b.png"], tmp_path / "in", tmp_path / "out"
    )
    assert files == ["pictures/0000.jpg", "pictures/0001.jpg", "pictures/0000.jpg"]
    with Image.open(tmp_path / "out" / files[0]) as picture:
        assert max(picture.size) == samples.SIDE
    assert (tmp_path / "out" / files[1]).read_bytes() == (
        tmp_path / "in" / "small.jpeg"
    ).read_bytes()


def test_where_no_run_of_table_2_is_at_hand_nothing_is_written(folders, tmp_path):
    assert samples.write(Runs(folders), tmp_path / "out") == {}
    assert not (tmp_path / "out").exists()


def test_a_view_is_what_the_job_would_select(smoke_made):
    base = next(job for job in smoke_made.jobs if job.labels["method"] == "base")
    forget = base.select.keywords["forget"]
    expected = splits.evaluated(smoke_made.rows, forget)
    assert samples._views(smoke_made.rows, forget) == dict(
        zip(expected["id"], expected["view"], strict=True)
    )


def test_samples_of_a_site_are_kept_where_its_runs_are_gone(written, tmp_path):
    folder, told = written
    assert samples.kept(folder.parent, tmp_path) == told
    names = {path.relative_to(folder) for path in folder.rglob("*")}
    assert {
        path.relative_to(tmp_path / "samples") for path in (tmp_path / "samples").rglob("*")
    } == names
    assert samples.kept(tmp_path / "none", tmp_path / "out") == {}
    assert not (tmp_path / "out").exists()
