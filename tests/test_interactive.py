"""What is there to try it in a browser, a container or on Colab says what is true."""

import ast
import json
import re
import shutil
import subprocess

import nbformat
import pytest
import yaml

from remem import paths


def text(*parts: str) -> str:
    return paths.ROOT.joinpath(*parts).read_text(encoding="utf-8")


def test_what_is_copied_into_the_container_is_there_and_leads_to_make_install():
    lines = text("Dockerfile").replace("\\\n", " ").splitlines()
    copied = [line.split()[2:-1] for line in lines if line.startswith("COPY ")]
    for name in [name for names in copied for name in names]:
        assert (paths.ROOT / name).exists(), name
    assert "RUN make install" in lines and any("jupyter" in line for line in lines[-1:])
    packages = re.search(r"apt-get install (.*?) &&", " ".join(lines))[1]
    assert {"libgl1", "libglib2.0-0"} <= {*packages.split()} and "libgl1" in text(".ci", "run")


def test_the_development_container_is_the_same():
    given = json.loads(text(".devcontainer", "devcontainer.json"))
    there = paths.ROOT / ".devcontainer" / given["build"]["dockerfile"]
    assert there.resolve() == paths.ROOT / "Dockerfile"
    assert given["workspaceFolder"] in text("Dockerfile").replace("WORKDIR ", "")


def test_the_workflow_runs_what_continuous_integration_does():
    given = yaml.safe_load(text(".github", "workflows", "test.yml"))
    steps = [step.get("run", "") for step in given["jobs"]["test"]["steps"]]
    assert ".ci/run" in steps and any("make install" in step for step in steps)
    [pages] = [s["with"]["path"] for s in given["jobs"]["pages"]["steps"] if "with" in s]
    assert paths.ROOT / pages == paths.REFERENCE


def test_colabs_first_cell_installs_and_runs_quick():
    notebook = nbformat.reads(text("colab.ipynb"), as_version=4)
    nbformat.validate(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert all(ast.parse(source) for source in code)
    assert 'scale = "quick"' in code[0] and "constraints.txt -e ." in code[0]
    assert "remem reproduce --scale {scale}" in code[0]
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_container_is_built_and_answers():
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "info"], capture_output=True).returncode:
        pytest.skip("no Docker that runs here: the container was not built")
    subprocess.run([docker, "build", "--tag", "remem-test", paths.ROOT], check=True)
    command = [docker, "run", "--rm", "remem-test"]
    for asked, said in (
        ([".venv/bin/remem", "params", "--scale", "smoke"], "seeds"),
        ([".venv/bin/jupyter", "lab", "--version"], "4."),
    ):
        found = subprocess.run([*command, *asked], check=True, capture_output=True, text=True)
        assert said in found.stdout
