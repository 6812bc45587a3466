"""What `make stress` fuzzes: no function that reads a file is forgotten, and a seed says it all."""

import ast
import random

import fuzzed
import mutations

from remem import paths

# Methods and functions by which a file is read, whoever's they are.
READ = {"read_text", "read_bytes", "read_json", "read_csv", "read_parquet", "read_yaml"}
READ |= {"ParquetFile", "ZipFile", "safe_open", "load_file", "from_pretrained"}
READ |= {"model_validate_json"}


def reads_a_file(node: ast.AST) -> bool:
    """Whether it is a call that does, as far as its name tells."""
    match node:
        case ast.Call(func=ast.Attribute(attr="open", value=ast.Name(id="os"))):
            return False
        case ast.Call(func=ast.Name(id="open") | ast.Attribute(attr="open"), args=given):
            modes = [str(each.value) for each in given if isinstance(each, ast.Constant)]
            return not any({*mode} & {*"wax"} for mode in modes)
        case ast.Call(func=ast.Attribute(attr="read", value=ast.Name(id=module))):
            return module in ("nbformat", "jupytext", "core_yaml")
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in READ
    return False


def test_every_function_that_reads_a_file_is_fuzzed_or_said_not_to_be():
    found = set()
    for path in sorted((paths.ROOT / "remem").rglob("*.py")):
        module = ".".join(path.relative_to(paths.ROOT / "remem").with_suffix("").parts)
        for part in ast.parse(path.read_text("utf-8")).body:
            if any(map(reads_a_file, ast.walk(part))):
                found.add(f"{module}.{getattr(part, 'name', 'itself')}")
    tried = {name: reader for reader, names in fuzzed.READS.items() for name in names.split()}
    untried = {name: why for why, names in fuzzed.UNTRIED.items() for name in names.split()}
    assert {*fuzzed.READS} <= {*fuzzed.READERS}
    assert not {*tried} & {*untried}
    assert not found - {*tried} - {*untried}, "say in fuzzed.py by which reader it is tried"
    assert not {*tried, *untried} - found, "there is no such function any more, or it reads nothing"


def test_a_seed_gives_the_same_bytes_and_another_seed_others():
    sound = (paths.PARAMS / "smoke.yaml").read_bytes()
    for suffix in (".yaml", ".txt"):
        first, again, other = (
            [mutations.unsound(sound, suffix, random.Random(f"{seed} {k}")) for k in range(20)]
            for seed in (0, 0, 1)
        )
        assert first == again != other
        assert sum(each != sound for each in first) > 15
