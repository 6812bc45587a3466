"""The house: what is said twice is said alike, and the rules that keep it readable hold."""

import ast
import graphlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import jupytext
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from PIL import Image

from remem import paths


def script(path: Path) -> ModuleType:
    """A file that is no module of the package's, as one."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Each layer, a module or a package, may import those before it. Notebooks may import them all.
architecture = script(paths.ROOT / "docs" / "draw_architecture.py")
LAYERS = [name for layer in architecture.LAYERS for name in layer if name != "notebooks"]

# Numbers, tables, pictures, parameters: for a person without torch, and quick for all.
WITHOUT_TORCH = {*LAYERS} - {"model", "training", "evaluation", "experiments", "bench", "outside"}
WITHOUT_TORCH -= {"preflight"}
WITHOUT_TORCH |= {
    "training.methods",
    "evaluation.judge",
    "evaluation.graded",
    "bench.command",
    "outside.command",
}

PACKAGE = paths.ROOT / "remem"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
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
            cwd=paths.ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    files = (paths.ROOT / name for name in listed.split("\0") if name)
    return [path for path in files if path.is_file()]


def imports(path: Path) -> set[str]:
    """The full names that a file imports, wherever in it."""
    assert not re.search(r"^\s*from \.", path.read_text(), re.MULTILINE), f"{path}: from remem..."
    return set(architecture.imports(path))


def module_of(name: str) -> str | None:
    """ "remem.report.tables.table2" -> "report.tables": the module of ours that has it."""
    parts = name.split(".")[1:] if name.startswith("remem.") else []
    while parts:
        for found in (".".join(parts), ".".join([*parts, "__init__"])):
            if found in MODULES:
                return found
        parts.pop()
    return None


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
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"]]
    wanted += [text for extra, lines in extras.items() if extra != "dev" for text in lines]
    declared = {canonicalize_name(Requirement(text).name) for text in wanted}
    providers = importlib.metadata.packages_distributions()
    for path in [*MODULES.values(), *ESSAYS]:
        tops = {name.split(".")[0] for name in imports(path)}
        for top in tops - set(sys.stdlib_module_names) - {"remem"}:
            names = {canonicalize_name(name) for name in providers.get(top, [top])}
            assert names & declared, f"{path.name} imports {top}, which pyproject.toml lacks"


# ---------------------------------------------------------------- the rooms


def test_every_module_is_in_a_layer():
    assert len(MODULES) > 40
    assert sorted(LAYERS) == sorted({name.split(".")[0] for name in MODULES} - {"__init__"})


def test_what_is_imported_is_seen_wherever_it_stands(tmp_path):
    (tmp_path / "room.py").write_text(
        "from typing import TYPE_CHECKING\nimport importlib\n"
        "if TYPE_CHECKING:\n    from remem.report import tables\n"
        "def late():\n    from remem import jobs\n"
        "    importlib.import_module('remem.data.dataset')\n"
        "    return 'remem.training.stage1:run'\n"
    )
    found = {module_of(name) for name in imports(tmp_path / "room.py")} - {None}
    assert found == {"report.tables", "jobs.__init__", "data.dataset", "training.stage1"}
    assert module_of("remem.config.load_config") == "config.__init__"


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_one_way(layer):
    allowed = {layer, *LAYERS[: LAYERS.index(layer)]}
    for name, path in MODULES.items():
        if name.split(".")[0] == layer:
            used = {module.split(".")[0] for each in imports(path) if (module := module_of(each))}
            assert used <= allowed, f"{name} imports {sorted(used - allowed)}"


def test_no_module_needs_itself():
    uses = {
        name: {module for each in imports(path) if (module := module_of(each))} - {name}
        for name, path in MODULES.items()
        if name != "__init__"  # which names everything and loads nothing
    }
    try:
        graphlib.TopologicalSorter(uses).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_the_picture_of_the_architecture_shows_what_is():
    with Image.open(architecture.PICTURE) as picture:
        shown = json.loads(picture.info["Comment"])
    again = "run `python docs/draw_architecture.py`, and look at what it drew"
    assert shown["layers"] == [list(layer) for layer in architecture.LAYERS], again
    assert shown["arrows"] == architecture.arrows(), again
    page = architecture.PICTURE.with_suffix(".md").read_text()
    assert "(architecture.png)" in page
    for name in LAYERS:
        assert f"`{name}" in page, f"docs/architecture.md does not say what {name} is"


def test_tests_are_mirrored():
    tests = paths.ROOT / "tests"
    for name, path in MODULES.items():
        if path.stem != "__init__":
            mirrored = path.relative_to(PACKAGE).with_name(f"test_{path.stem.strip('_')}.py")
            assert (tests / mirrored).is_file(), f"{name} has no tests/{mirrored}"
    for path in sorted(tests.rglob("*/test_*.py")):
        place = path.relative_to(tests)
        assert (PACKAGE / place.parent).is_dir(), f"tests/{place} mirrors no package"


def test_no_room_is_a_lumber_room():
    for name in MODULES:
        assert not {"utils", "util", "helpers", "common", "base", "misc"} & {*name.split(".")}, name


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_short_and_is_about_one_thing(name):
    text = MODULES[name].read_text()
    assert len(text.splitlines()) <= 400
    said = ast.get_docstring(ast.parse(text))
    if text.strip():
        assert said, "no docstring"
        subject = re.split(r"[,.:;]\s|\s\(", said.replace("\n", " "))[0]  # before the how
        subject = re.sub(r"\d and \w", "", subject)  # sections 2 and 3
        assert " and " not in subject or MODULES[name].stem == "__init__", subject


@pytest.mark.slow
def test_numbers_pictures_and_parameters_need_no_torch():
    names = [
        name for name in MODULES for part in WITHOUT_TORCH if f"{name}.".startswith(f"{part}.")
    ]
    assert {"metrics", "data.dataset", "report.tables", "training.methods"} <= {*names}
    code = (
        f"import sys, importlib\nfor name in {names}:\n"
        "    importlib.import_module(f'remem.{name}'.removesuffix('.__init__'))\n"
        "    assert not {'torch', 'transformers', 'peft'} & sys.modules.keys(), name"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "forbidden",
    [
        r"\b(cloud)?pickle\b",
        r"\btorch\.load\(",
        r"\bjoblib\.load\(",
        r"\ballow_pickle",
        r"\btrust_remote_code=(?!False\b)",
        r"\byaml\.\w*load\(",
        r"\bYAML\((?!typ=\"(safe|rt)\")",
        r"(?<![\w.])(eval|exec)\(",
    ],
)
def test_nothing_that_is_read_can_run(forbidden):
    for path in [*MODULES.values(), *ESSAYS]:
        code = "\n".join(line.partition("  # ")[0] for line in path.read_text().splitlines())
        found = re.search(forbidden, code)
        assert not found, f"{path.name}: {found}"


@pytest.mark.parametrize("name", MODULES)
def test_no_code_of_a_models_folder_is_run(name):
    """transformers asks on the terminal, and runs a module of the folder's where that says y."""
    for node in ast.walk(ast.parse(MODULES[name].read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            classes = ast.unparse(node.func.value)
            if node.func.attr == "from_pretrained" and classes != "PeftModel":  # never asks
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert given.get("trust_remote_code") == "False", f"{name}, line {node.lineno}"


@pytest.mark.parametrize("name", MODULES)
def test_text_is_read_and_written_alike_in_every_locale(name):
    for node in ast.walk(ast.parse(MODULES[name].read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            wanted = {"read_text": 1, "write_text": 2}.get(node.func.attr)
            named = any(keyword.arg == "encoding" for keyword in node.keywords)
            if wanted and not named and len(node.args) < wanted:
                pytest.fail(f"{name}, line {node.lineno}: which encoding?")


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
    assert first.source.splitlines()[-1].startswith("**Trained here:** "), "what it will train"

    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert [cell.source for cell in tagged] == ['scale = "tiny"\noverrides = {}']
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0] == tagged[0].source
    begun = f'config, out = begin("{path.stem}", scale, overrides)'
    assert begun in code[1].splitlines(), "the first output says what is run"
    [last] = ast.parse(code[-1]).body[-1:]
    assert isinstance(last, ast.Expr) and isinstance(last.value, ast.Call)
    ends = {"09_scorecard": "Verdicts"}
    ends |= dict.fromkeys(("05_metrics", "10_facts", "12_cost"), "Markdown")
    end = ends.get(path.stem, "out.verdicts")
    assert ast.unparse(last.value.func) == end, "what was found comes last"

    if not path.stem.startswith("11_"):  # the one that teaches how to write a method
        for node in ast.walk(ast.parse("\n".join(code))):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), (
                f"{node.name} is defined here, but belongs in remem/"
            )


@pytest.mark.parametrize("path", ESSAYS, ids=lambda path: path.stem)
def test_a_notebook_shows_tables_escaped(path):
    """What a model answers is anybody's text; pandas' own `.style` writes it as HTML."""
    cells = jupytext.read(path).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    styled = [
        n.lineno
        for n in ast.walk(ast.parse(code))
        if isinstance(n, ast.Attribute) and n.attr == "style"
    ]
    assert not styled, "use report.show.show instead of .style"


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
        reads = path.name == "colab.ipynb" or path.parent == paths.REFERENCE / "notebooks"
        assert path.suffix != ".ipynb" or reads, path
        inside = path.relative_to(paths.ROOT).parts
        assert inside[0] != "outputs" or inside[1] in ("reference", "reference-gpu"), path


def test_the_paper_is_cited_and_the_licence_is_there():
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Kwon",
        "Kim",
        "Lee",
        "Yun",
        "Lim",
        "Kim",
    ]
    assert "2605.03759" in paper["url"]
    licence = (paths.ROOT / "LICENSE").read_text()
    assert licence.startswith("MIT License") and PROJECT["license"] == citation["license"] == "MIT"


def test_continuous_integration_lints_and_then_runs_the_tests():
    script = paths.ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-2:] == ["make lint", "make test"]
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_a_test_installs_nothing():
    for path in (paths.ROOT / "tests").rglob("*.py"):
        if path.name != "test_house.py":
            found = re.search(r"[\"']apt-get[\"']|\bpip\W+install", path.read_text())
            assert not found, f"{path.name}: {found and found[0]} belongs in .ci/run"


def test_what_is_tried_for_an_hour_is_no_part_of_the_tests():
    """pytest finds what is called test_*; `make stress` names the files."""
    for path in sorted((paths.ROOT / "tests" / "stress").glob("*")):
        assert path.suffix == ".py" or path.name == "__pycache__", path
        assert not path.name.startswith(("test_", "conftest")), path
        if path.suffix == ".py":
            assert re.search(r"^def test_", path.read_text(), re.MULTILINE), path


def test_the_command_is_installed():
    scripts = importlib.metadata.entry_points(group="console_scripts", name="remem")
    assert PROJECT["scripts"] == {"remem": "remem.__main__:main"}
    assert {each.value for each in scripts} <= {"remem.__main__:main"}


def test_make_lists_its_targets_and_each_sets_itself_up():
    def make(*arguments: str) -> str:
        environment = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
        return subprocess.run(
            ["make", *arguments],
            cwd=paths.ROOT,
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        ).stdout

    listed = make()
    for target in (
        "help",
        "install",
        "test",
        "stress",
        "smoke",
        "quick",
        "reproduce",
        "lint",
        "format",
        "clean",
    ):
        assert f"make {target} " in listed
    for target, runs in (
        ("test", "-m pytest"),
        ("stress", "-m pytest -s --timeout 0 tests/stress/*.py"),
        ("reproduce", "-m remem reproduce --scale tiny"),
        ("smoke", "-m remem reproduce --scale smoke"),
        ("quick", "-m remem reproduce --scale quick"),
        ("lint", "-m ruff check"),
        ("lint", "-m ruff format --check"),
        ("lint", "-m basedpyright"),
    ):
        planned = make("-n", target, "VENV=none", "SCALE=tiny")
        assert planned.index("pip install") < planned.index(runs)


def test_what_the_readme_points_to_is_there():
    text = (paths.ROOT / "README.md").read_text()
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert len(linked) > 8
    executed = paths.REFERENCE / "notebooks"  # all or none: see test_reference
    for link in linked:
        there = paths.ROOT / link
        if there.parent != executed or any(executed.glob("*.ipynb")):
            assert there.exists(), link
        else:
            assert (paths.NOTEBOOKS / f"{there.stem}.py").exists(), link
    assert not re.search(r"@\w+@", text), "a number was never filled in"
