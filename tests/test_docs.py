"""The pages in docs/ are true: what they name is there, and what is there they name."""

import re

import pandas as pd
import pytest

import remem
from remem import paths

DOCS = sorted((paths.ROOT / "docs").glob("*.md"))
OUTPUTS = (paths.ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
TABLES = sorted((paths.REFERENCE / "tables").glob("*.csv"))
NAMED = set(re.findall(r"`([^`]+)`", OUTPUTS))
# Columns whose names are made of others: one per model, size or hop.
MADE = r"tiny-\d+b.*|(slope|RMSE|bias).*|(equal updates|five epochs), .*|(facts|name), .*|" + (
    r"(train|test), (single|multi)"
)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_table_and_column_is_described(path):
    assert path.stem in NAMED, f"docs/outputs.md says nothing of {path.name}"
    for column in pd.read_csv(path, nrows=1):
        plain = re.sub(r"^paper_|_(lo|hi)$", "", column)
        if not re.fullmatch(MADE, plain):
            assert plain in NAMED, f"docs/outputs.md does not describe {plain} of {path.name}"


def test_every_column_of_a_verdict_is_described():
    for path in sorted((paths.REFERENCE / "verdicts").glob("*.csv")):
        assert set(pd.read_csv(path, nrows=1)) <= NAMED, path.name


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_kinds_of_runs_are_described():
    # Read as text: to import them all would load torch.
    text = "".join(p.read_text(encoding="utf-8") for p in (paths.ROOT / "remem").rglob("*.py"))
    kinds = set(re.findall(r'kind: ClassVar\[str\] = "(\w+)"', text))
    assert len(kinds) > 8
    kinds -= {"folder"}  # data that lies where it is: no run
    assert kinds <= NAMED, f"docs/outputs.md does not describe the runs {kinds - NAMED}"


def test_the_example_of_a_method_is_the_one_that_the_class_shows():
    from remem.training.methods import Method

    def code(text: str) -> list[str]:
        block = text[text.index("class SimNPO") :].splitlines()[:7]
        return [line.strip().replace("remem.", "") for line in block if line.strip()]

    for name in ("README.md", "docs/method.md"):
        shown = code((paths.ROOT / name).read_text(encoding="utf-8"))
        assert shown[:6] == code(Method.__doc__ or "")[:6], name


def test_every_file_names_the_same_version():
    changelog = (paths.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    [newest] = re.findall(r"^## (\d[\d.]*)$", changelog, re.MULTILINE)[:1]
    package = (paths.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    cited = (paths.ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f'version = "{newest}"' in package and f"\nversion: {newest}\n" in cited
    assert remem.__version__ == newest
