"""The house: what is said twice is said alike, and the rules that keep it readable hold."""

import ast
import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from remem import params, paths

# Each room may use those above it, and nothing below. A new room finds its place here first.
DOWNHILL = """
paths runs gemini
images profiles qa briefs
judge metrics crowd dataset review publish readers contrasts claims tables ink figures
models predict pretrain likeness construct train lessons unlearn trace benchmarks
params tuning page reproduce
""".split()

ROOMS = {path.stem: path for path in sorted((paths.ROOT / "remem").glob("*.py"))}
ESSAYS = sorted(paths.NOTEBOOKS.glob("*.py"))
PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
PINS = {
    canonicalize_name(name): version
    for name, version in (
        line.split("==")
        for line in (paths.ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
}


def of_the_repo() -> list[Path]:
    """Every file that is, or would be, committed."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=paths.ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    files = (paths.ROOT / name for name in listed.split("\0") if name)
    return [path for path in files if path.is_file()]


def running(node: ast.AST) -> Iterator[ast.AST]:
    """All below `node` but what stands under `if TYPE_CHECKING:`, which never runs."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from running(child)


def imports(path: Path) -> set[str]:
    """The full names that a file imports when it runs, wherever in it."""
    names = set()
    for node in running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


# ---------------------------------------------------------------- what is installed


def test_constraints_pin_exactly_and_travel():
    assert PINS["torch"] == "2.13.0"
    assert all(re.fullmatch(r"\d+(\.\w+)*", version) for version in PINS.values()), PINS


def test_each_requirement_is_pinned_inside_its_range():
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)]:
        requirement = Requirement(text)
        assert requirement.specifier, f"{text} has no range"
        version = PINS[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, f"{text}, but constraints.txt has {version}"


def test_the_conda_environment_reads_the_same_two_files():
    environment = yaml.safe_load((paths.ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert pip == "pip"
    assert python.removeprefix("python=") in SpecifierSet(PROJECT["requires-python"])
    makefile = (paths.ROOT / "Makefile").read_text()
    [installed] = re.findall(r"-m pip install(?: --[-a-z]+)* (.*)", makefile)
    assert shlex.split(" ".join(packages["pip"])) == shlex.split(installed)
    _, constraints, _, project = shlex.split(installed)
    assert f"$(STAMP): pyproject.toml {constraints}\n" in makefile
    assert (paths.ROOT / constraints).is_file()
    assert set(Requirement(f"remem{project[1:]}").extras) <= PROJECT["optional-dependencies"].keys()


def test_every_import_is_declared():
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    providers = importlib.metadata.packages_distributions()
    for path in [*ROOMS.values(), *ESSAYS]:
        tops = {name.split(".")[0] for name in imports(path)}
        for top in tops - set(sys.stdlib_module_names) - {"remem"}:
            names = {canonicalize_name(name) for name in providers.get(top, [top])}
            assert names & declared, f"{path.name} imports {top}, which pyproject.toml lacks"


# ---------------------------------------------------------------- the rooms


def test_every_room_has_its_place_and_its_tests():
    assert sorted(DOWNHILL) == sorted(ROOMS.keys() - {"__init__"})
    for room in DOWNHILL:
        assert (paths.ROOT / "tests" / f"test_{room}.py").is_file(), f"{room} has no tests"
    assert not {"utils", "util", "helpers", "common", "base", "misc"} & ROOMS.keys()


@pytest.mark.parametrize("room", DOWNHILL)
def test_imports_go_downhill(room):
    used = {name.split(".")[1] for name in imports(ROOMS[room]) if name.startswith("remem.")}
    above = set(DOWNHILL[: DOWNHILL.index(room)])
    assert used <= above, f"{room} uses {used - above}"


def test_numbers_and_ink_need_no_torch():
    code = (
        "import sys, remem.metrics, remem.judge, remem.claims, remem.tables, remem.figures, "
        "remem.dataset\nassert not {'torch', 'transformers', 'papermill'} & sys.modules.keys()"
    )
    environment = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize(
    "forbidden",
    [r"\bpickle\b", r"\btorch\.load\(", r"\btrust_remote_code", r"\byaml\.(unsafe_|full_)load"],
)
def test_nothing_that_is_read_can_run(forbidden):
    for path in [*ROOMS.values(), *ESSAYS]:
        assert not re.search(forbidden, path.read_text()), path.name


# ---------------------------------------------------------------- the notebooks


@pytest.mark.parametrize("path", ESSAYS, ids=lambda path: path.stem)
def test_a_notebook_has_the_form(path):
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem)
    text = path.read_text()
    assert len(text.splitlines()) <= 205  # about 150 for an essay; the header and the form are 45
    assert "jupytext_version" not in text
    notebook = jupytext.read(path)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.kernelspec.language == "python"

    first = notebook.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert "**Claim" in first.source or "claim" in first.source.lower(), "the claim comes first"

    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert len(tagged) == 1
    cell = ast.parse(tagged[0].source).body
    given = {line.targets[0].id: ast.literal_eval(line.value) for line in cell}
    assert given == {**dict.fromkeys(params.Params.model_fields), "scale": "tiny"}

    if not path.stem.startswith("11_"):  # the one that teaches how to write a method
        code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        for node in ast.walk(ast.parse(code)):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), (
                f"{node.name} is defined here, but belongs in remem/"
            )


@pytest.mark.parametrize("path", ESSAYS, ids=lambda path: path.stem)
def test_a_notebook_shows_tables_escaped(path):
    """What a model answers is anybody's text; pandas' own `.style` writes it as HTML."""
    cells = jupytext.read(path).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    styled = [n.lineno for n in ast.walk(ast.parse(code))
              if isinstance(n, ast.Attribute) and n.attr == "style"]  # fmt: skip
    assert not styled, "use tables.show instead of .style"


# ---------------------------------------------------------------- what must not be in it


@pytest.mark.parametrize(
    "forbidden",
    [
        r"/(?:work|farm|root|home|Users)/[a-z]",  # a machine's own paths
        r"/tmp/[a-z]",
        r"\b(?:extra[-])?index[-]url\b|\bpypi[.](?:org|python)|files[.]pythonhosted",
    ],
)
def test_nothing_names_a_machine_or_a_registry(forbidden):
    for path in of_the_repo():
        if path.suffix not in (".png", ".pdf", ".parquet", ".safetensors"):
            found = re.search(forbidden, path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(paths.ROOT)}: {found[0]}"


def test_notebooks_and_outputs_are_not_committed():
    for path in of_the_repo():
        assert path.suffix != ".ipynb", path
        inside = path.relative_to(paths.ROOT).parts
        assert inside[0] != "outputs" or inside[1] == "reference", path


def test_the_paper_is_cited_and_the_licence_is_there():
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Kwon", "Kim", "Lee", "Yun", "Lim", "Kim",
    ]  # fmt: skip
    assert "2605.03759" in paper["url"]
    licence = (paths.ROOT / "LICENSE").read_text()
    assert licence.startswith("MIT License") and PROJECT["license"] == citation["license"] == "MIT"


def test_continuous_integration_runs_the_tests():
    script = paths.ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"


def test_make_lists_its_targets_and_each_sets_itself_up():
    def make(*arguments: str) -> str:
        environment = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
        return subprocess.run(
            ["make", *arguments], cwd=paths.ROOT, capture_output=True, text=True, check=True,
            env=environment,
        ).stdout  # fmt: skip

    listed = make()
    for target in ("help", "install", "test", "smoke", "reproduce", "lint", "clean"):
        assert f"make {target} " in listed
    for target, runs in (
        ("test", "-m pytest"),
        ("reproduce", "-m remem.reproduce --scale tiny"),
        ("smoke", "-m remem.reproduce --scale smoke"),
        ("lint", "-m ruff check"),
    ):
        planned = make("-n", target, "VENV=none", "SCALE=tiny")
        assert planned.index("pip install") < planned.index(runs)


def test_what_the_readme_points_to_is_there():
    text = (paths.ROOT / "README.md").read_text()
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert len(linked) > 8
    for link in linked:
        assert (paths.ROOT / link).exists(), link
    assert not re.search(r"@\w+@", text), "a number was never filled in"
