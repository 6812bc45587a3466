"""Outputs folders for the site's tests: an empty one, and one of scale smoke with rows."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from remem import paths, runs


@pytest.fixture
def folders(tmp_path):
    return paths.Folders(tmp_path / "tiny", tmp_path / "tiny" / "runs")


def said(rows: pd.DataFrame, candidates: dict[str, list[str]], method: str) -> pd.DataFrame:
    """Answers by rule: a model says the value where the row's number is even; of training rows the
    true value ranks first where it is a multiple of three, else last. NPO says what is no text."""
    number = np.arange(len(rows))
    wrong = "</script><b>" if method == "NPO" else "I do not know."
    given = [a if k % 2 == 0 else wrong for k, a in zip(number, rows["answer"], strict=True)]
    logps: list[np.ndarray | None] = []
    for k, row in zip(number, rows.to_dict("records"), strict=True):
        values = candidates.get(row["attribute"])
        if row["split"] != "train" or values is None:
            logps.append(None)
            continue
        truth = values.index(row["target"])
        each = np.linspace(-1.0, -3.0, len(values))
        logps.append(np.roll(each, truth) if k % 3 == 0 else np.roll(each[::-1], truth))
    ranked = [each is not None for each in logps]
    ranks = [
        1.0 if k % 3 == 0 else float(len(candidates[a]))
        for k, a in zip(number, rows["attribute"], strict=True)
    ]
    return rows.assign(
        answer_given=given,
        candidates=[len(candidates.get(a, ())) for a in rows["attribute"]],
        candidate_rank=np.where(ranked, ranks, np.nan),
        candidate_logps=logps,
    )


@pytest.fixture(scope="session")
def smoke_made(tmp_path_factory):
    """Scale smoke with its people drawn, and answers to the rows of Table 2 that nobody trained
    for: `root` (of all outputs), `folders`, `config`, `rows`, `jobs` (of Table 2)."""
    from remem import experiments
    from remem.config import load_config
    from remem.data import chosen, splits

    root = tmp_path_factory.mktemp("smoke") / "outputs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REMEM_OUTPUTS", str(root))
        config = load_config("smoke")
        rows = chosen.dataset(config).rows
        jobs = list(experiments.unlearning(config))
        candidates = splits.candidates(rows)
        for job in jobs:
            folder = paths.make_folder(runs.folder(job.spec, config.folders.runs))
            answered = said(job.spec.rows.of(rows), candidates, job.labels["method"])
            answered.to_parquet(folder / "answers.parquet", index=False)
            paths.write(folder / "spec.json", "{}")
            paths.write(folder / "DONE", "{}")
        made = {"config": config, "folders": config.folders, "rows": rows, "jobs": jobs}
    return SimpleNamespace(root=root, **made)


@pytest.fixture
def smoke(smoke_made, monkeypatch):
    """The same, where the parameters' folders are these."""
    monkeypatch.setenv("REMEM_OUTPUTS", str(smoke_made.root))
    return smoke_made
