"""preflight.planned: what a notebook would make is read from the notebook."""

import ast
import importlib

import pytest

from remem import experiments, jobs, paths, runs
from remem.config import load_config
from remem.preflight.planned import planned


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    return load_config("smoke")


def names(found) -> set[str]:
    return {runs.name(job.spec) for each in found for job in each}


def of(number: str, config):
    [notebook] = paths.NOTEBOOKS.glob(f"{number}_*.py")
    return planned(notebook, config)


def test_what_the_notebooks_collect_is_what_is_planned_and_nothing_is_made(config, monkeypatch):
    monkeypatch.setattr(jobs, "sweep", None)
    monkeypatch.setattr(jobs, "collect", None)
    monkeypatch.setattr("remem.runs.create", None)
    found = of("07", config)
    assert found.untold == []
    parts = ("unlearning", "ability", "controls", "curves", "exposure_prefixes")
    assert names(found.jobs) == names([getattr(experiments, part)(config) for part in parts])
    assert names(of("02", config).jobs) == names(
        [experiments.scaling(config), experiments.scaling(config).training()]
    )
    assert names(of("06", config).jobs) > names([experiments.memorising(config)])
    assert of("09", config).jobs == [] and of("04", config).jobs == []
    assert not paths.outputs("smoke").root.exists()


def test_a_method_that_a_notebook_defines_is_the_one_that_it_runs(config, tmp_path, monkeypatch):
    found = of("11", config)
    [method] = {
        job.spec.of.method
        for each in found.jobs
        for job in each
        if getattr(getattr(job.spec, "of", None), "method", None) is not None
        and job.spec.of.method.name == "SimNPO"
    }
    text = next(paths.NOTEBOOKS.glob("11_*.py")).read_text()
    [source] = [
        ast.get_source_segment(text, node)
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
    ]
    imports = "from torch.nn.functional import logsigmoid\nfrom remem import Method\n"
    (tmp_path / "own_method.py").write_text(imports + source)
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module("own_method").SimNPO()
    assert method.described() == own.described()


NOTEBOOK = """
# %%
from remem import experiments
from remem import jobs
from remem.jobs import collect, sweep
from remem.report.output import begin
config, out = begin("01_mine", scale, overrides)

# %%
1 / 0

# %%
seeds = [1]
seeds += [2]
chosen = {"seeds": [seed for seed in seeds if seed > 1]}
rows = collect(experiments.unlearning(config, **chosen), "mine")
print(rows.shape, open("no such file"))

# %%
made = jobs.sweep(experiments.hops(config) + experiments.scaling(config))
best = rows.method.iloc[0]
late = collect(experiments.unlearning(config, methods=[best]))
for name in ("GA", "GD"):
    collect(experiments.unlearning(config, methods=[name]))
other = collect(experiments.controls(out.config))
"""


def test_only_what_the_jobs_need_is_run_and_what_hangs_on_results_is_told(config, tmp_path):
    notebook = tmp_path / "01_mine.py"
    notebook.write_text(NOTEBOOK)
    found = planned(notebook, config)
    assert names(found.jobs) == names(
        [
            experiments.unlearning(config, seeds=[2]),
            experiments.hops(config),
            experiments.scaling(config),
        ]
    )
    lines = NOTEBOOK.splitlines()
    assert [lines[number - 1].split(" =")[0].strip() for number in found.untold] == [
        "late",
        "collect(experiments.unlearning(config, methods=[name]))",
        "other",
    ]


def test_what_an_experiment_raises_is_raised(config, tmp_path):
    notebook = tmp_path / "01_mine.py"
    notebook.write_text(
        "from remem import experiments\nfrom remem.jobs import collect\n"
        "collect(experiments.unlearning(config, methods=['SGA']))\n"
    )
    with pytest.raises(ValueError, match="SGA"):
        planned(notebook, config)
