"""The command line: every command explains itself, and says in a line what is wrong."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import four_rows
import pytest
import two_people

from remem import __main__, paths
from remem.data.readers import files

COMMANDS = ["reproduce", "site", "check", "params", "dataset", "fetch", "convert", "construct"]
COMMANDS += ["review", "tune", "reference", "judge"]


def parsers(
    parser: argparse.ArgumentParser, name: str = "remem"
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, command in action.choices.items():
                yield from parsers(command, f"{name} {inner}")


def test_remem_alone_lists_the_commands(capsys):
    assert __main__.main([]) == 0
    said = capsys.readouterr().out
    assert all(f"\n    {command} " in said or f"\n    {command}\n" in said for command in COMMANDS)
    assert __main__.main(["dataset"]) == 0
    assert "check " in capsys.readouterr().out


def test_every_argument_is_explained_and_every_command_has_an_example(capsys):
    seen = dict(parsers(__main__._parser()))
    assert {f"remem {command}" for command in COMMANDS} < seen.keys()
    for name, parser in seen.items():
        for action in parser._actions:
            if not isinstance(action, argparse._SubParsersAction):
                assert action.help and len(action.help) > 10, f"{name}: {action.dest}"
        if name not in ("remem", "remem dataset"):
            assert parser.epilog and parser.epilog.startswith(f"example: {name}"), name
            with pytest.raises(SystemExit) as left:
                __main__.main([*name.split()[1:], "--help"])
            assert left.value.code == 0 and "example: " in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name, _ in parsers(__main__._parser())])
def test_each_example_can_be_parsed(name):
    import shlex

    parser = dict(parsers(__main__._parser()))[name]
    if parser.epilog and parser.epilog.startswith("example: remem "):
        words = shlex.split(parser.epilog.removeprefix("example: remem "))
        assert "run" in __main__._parser().parse_args(words)


def test_both_ways_to_call_it_answer_before_torch_is_there():
    code = (
        "import sys; from remem import __main__\n"
        "assert __main__.main(['params', '--scale', 'smoke']) == 0\n"
        "assert not {'torch', 'transformers', 'papermill', 'matplotlib'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    called = subprocess.run(
        [sys.executable, "-m", "remem", "--help"], check=True, capture_output=True, text=True
    )
    assert "reproduce" in called.stdout and called.stdout.startswith("usage: remem ")


# ---------------------------------------------------------------- remem params


def test_params_lists_keys_values_and_comments_in_columns(capsys):
    assert __main__.main(["params", "--scale", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [line] = [line for line in lines if line.startswith("stage1.epochs ")]
    assert line.split(maxsplit=2)[1] == "5" and line.endswith("; the paper's")
    [other] = [line for line in lines if line.startswith("base.networks.tiny-13b.lr ")]
    assert line.index(" 5 ") == other.index(" 0.0025 ")  # aligned
    assert len({line.split()[0] for line in lines}) == len(lines) > 100


def test_params_of_a_file_of_ones_own(tmp_path, capsys):
    text = (paths.PARAMS / "smoke.yaml").read_text().replace("seeds: [1]", "seeds: [7]")
    (tmp_path / "mine.yaml").write_text(text)
    assert __main__.main(["params", "--params", str(tmp_path / "mine.yaml")]) == 0
    assert "[7] " in capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text(text.replace("seeds:", "seds:"))
    assert __main__.main(["params", "--params", str(tmp_path / "mine.yaml")]) == 2
    assert "did you mean 'seeds'" in capsys.readouterr().err


# ---------------------------------------------------------------- who reads leaves early


def called(*words, stdout, stderr=subprocess.PIPE, buffered="") -> tuple[int, str]:
    """The exit status of a command, and what it says is wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "remem", *words],
        stdout=stdout,
        stderr=stderr,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": buffered},
    )
    return done.returncode, done.stderr


@pytest.fixture
def left():
    """A pipe that nobody reads any more, as behind `| head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize(("words", "buffered"), [("params", ""), ("--help", ""), ("params", "1")])
def test_a_reader_who_has_seen_enough_is_no_fault(words, buffered, left):
    assert called(words, stdout=left, buffered=buffered) == (141, "")


def test_so_is_one_who_reads_what_is_wrong(left):
    assert called("reproduce", "99", stdout=subprocess.DEVNULL, stderr=left) == (141, None)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_told():
    with open("/dev/full", "w") as full:
        status, said = called("params", stdout=full)
    assert status == 2 and said.startswith("error: what is to be shown cannot be written: ")
    assert "No space left" in said and said.strip().count("\n") == 0


def test_a_fault_of_the_systems_is_not_taken_for_that(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(__main__, "load_config", full)
    with pytest.raises(OSError, match="No space left"):
        __main__.main(["params"])


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    "words, told",
    [
        (["reproduce", "--params", "none.yaml"], "error: none.yaml: cannot be read"),
        (["reproduce", "--set", "stage1.epoch=2"], "did you mean 'epochs'"),
        (["reproduce", "99"], "error: 99: not one of the notebooks: 00_"),
        (
            ["construct", "--set", "peple=5"],
            "construction.peple: unknown key (did you mean 'people'",
        ),
        (["construct", "--set", "people"], "error: --set construction.people: should be KEY=VALUE"),
        (["convert", "remem", "nowhere", "out", "image"], "error: 'image' is no column"),
        (["convert", "mllmu", "nowhere", "out"], "error: "),
        (["dataset", "check", "nowhere"], "error: there is no folder nowhere"),
        (["dataset", "export", "nowhere", "out"], "error: there is no folder nowhere"),
        (["review", "nowhere"], "error: there is no folder nowhere"),
        (["convert", "clear", "nowhere", "out"], "error: there is no folder nowhere"),
        (["dataset", "check", "x" * 300], "error: there is no folder xxx"),
        (["review", "a/" * 3_000], "error: there is no folder a/a/"),
        (["params", "--params", "x" * 300 + ".yaml"], "cannot be read (File name too long)"),
        (["reproduce", "--set", "stage1=~"], "stage1: null was given; it should be keys with val"),
        (["reproduce", "--set", "seeds=null"], "seeds: null was given; it should be a list"),
        (["reproduce", "--set", "workers=1:30"], 'workers: "1:30" was given; it should be a whole'),
        (["reproduce", "--set", "workers=99999999"], "should be less than or equal to 256"),
        (["reproduce", "--set", "stage1.lr=!!bool 5"], "'5' cannot be read as bool (line 1)"),
        (["reproduce", "--set", "seeds=" + "[" * 2_000], "the value: it is nested without end"),
        (["reproduce", "--out", "x" * 300], "is not a plain name such as 'my_people'"),
        (["fetch", "clear"], "error: therem/CLEAR is not fetched, since HF_HUB_OFFLINE is set"),
    ],
)
def test_what_is_wrong_is_one_line_and_no_traceback(words, told, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    assert __main__.main(words) == 2
    said = capsys.readouterr().err
    assert told in said and said.startswith("error: ") and said.count("\n") == 1
    assert "Traceback" not in said
    assert not any(tmp_path.iterdir())


def test_a_fault_of_the_programs_own_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(files, "fetch", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        __main__.main(["fetch", "mllmu"])


def test_interrupted_it_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "fetch", interrupted)
    assert __main__.main(["fetch", "mllmu"]) == 130
    assert "the same command goes on where it was" in capsys.readouterr().err


def test_fetch_goes_where_the_benchmark_is_looked_for(monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr(files, "fetch", lambda name, folder: asked.append((name, folder)) or folder)
    assert __main__.main(["fetch", "mllmu"]) == __main__.main(["fetch", "clear", "there"]) == 0
    assert [(name, str(folder)) for name, folder in asked] == [
        ("mllmu", str(paths.DATA / "mllmu")),
        ("clear", "there"),
    ]


def test_tune_searches_the_rates_that_are_named(monkeypatch, capsys):
    import pandas as pd

    from remem.experiments import tuning

    asked = []

    def tune(config, stage, rates):
        asked.append((config.scale, stage, rates))
        return pd.DataFrame({"lr": rates or []})

    monkeypatch.setattr(tuning, "tune", tune)
    assert __main__.main(["tune", "2", "--scale", "smoke", "--rates", "1e-4", "2e-4"]) == 0
    assert __main__.main(["tune", "1"]) == 0
    assert asked == [("smoke", 2, [1e-4, 2e-4]), ("tiny", 1, None)]
    assert "0.0002" in capsys.readouterr().out


def test_construct_plans_without_asking(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    words = ["construct", "--dry-run", "--set", "people=2", "--set", "budget=5"]
    assert __main__.main(words) == 0
    said = capsys.readouterr().out
    assert "services.budget ($5.00)" in said and said.endswith("Nothing was asked.\n")
    assert json.dumps(str(tmp_path / "outputs"))[1:-1] in said
    assert not (tmp_path / "outputs").exists()


# ---------------------------------------------------------------- exit codes, and the home folder


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["dataset", "look"],
        ["dataset", "check"],
        ["dataset", "check", "people", "more"],
        ["dataset", "export", "people"],
        ["fetch", "nothing"],
        ["convert", "nothing", "a", "b"],
        ["params", "--scale", "huge"],
        ["params", "--scale", "smoke", "--params", "x.yaml"],
        ["reproduce", "--sett", "x=1"],
        ["tune", "3"],
        *(["tune", "2", "--rates", rate] for rate in ("0", "-1", "nan", "inf", "fast")),
    ],
)
def test_an_argument_that_is_none_exits_with_2(words, capsys):
    with pytest.raises(SystemExit) as left:
        __main__.main(words)
    assert left.value.code == 2 and "usage: remem" in capsys.readouterr().err


def damaged(folder):
    (folder / "train" / "metadata.jsonl").write_text("{")


def reviewed(folder):
    (folder / "review").mkdir()
    (folder / "review" / "p0.csv").write_text("identity,image\n")


def sourced(folder):
    (folder / "source.json").write_text("{")


@pytest.mark.parametrize(
    "spoil, words",
    [
        (damaged, ["dataset", "check", "people"]),
        (damaged, ["dataset", "export", "people", "out"]),
        (damaged, ["reproduce", "--set", "benchmark={}"]),
        (damaged, ["review", "people"]),
        (reviewed, ["dataset", "export", "people", "out"]),
        (reviewed, ["review", "people"]),
        (sourced, ["dataset", "export", "people", "out"]),
        (sourced, ["reproduce", "--set", "benchmark={}", "--set", "stage2.forget_set=ten"]),
    ],
)
def test_data_that_cannot_be_used_exits_with_1(spoil, words, tmp_path, monkeypatch, capsys):
    two_people.make(tmp_path / "people")
    spoil(tmp_path / "people")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    assert __main__.main([word.format(tmp_path / "people") for word in words]) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err and (said.err.startswith("error: ") or said.out)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words, code",
    [
        (["dataset", "export", "people", "taken"], 2),
        (["reproduce", "--set", "benchmark=nowhere"], 2),
        (["reproduce", "--set", "benchmark=~/people", "--set", "stage2.forget_set=[Bo]"], 2),
        (["dataset", "export", "people", "out", "--licence", "All Rights"], 2),
        (["dataset", "check", "~/people"], 0),
        (["dataset", "export", "~/people", "~/out"], 0),
        (["convert", "clear", "~/people", "~/out"], 2),  # no file of CLEAR's is there
        (["review", "~/people"], 0),
        (["params", "--params", "~/mine.yaml"], 0),
    ],
)
def test_an_argument_may_be_wrong_or_begin_in_the_home_folder(words, code, tmp_path, monkeypatch):
    two_people.make(tmp_path / "people")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    (tmp_path / "mine.yaml").write_text((paths.PARAMS / "smoke.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    assert __main__.main(words) == code
    assert not (tmp_path / "~").exists() and (tmp_path / "out").exists() == (
        code == 0 and "~/out" in words
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_a_terminal_cannot_show_is_escaped(tmp_path, encoding):
    folder = four_rows.make(tmp_path / "own", name="山田 花子", attribute="足のサイズ")
    said = subprocess.run(
        [sys.executable, "-m", "remem", "dataset", "check", str(folder)],
        env={**os.environ, "PYTHONPATH": str(paths.ROOT), "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    text = (said.stdout + said.stderr).decode(encoding)
    assert said.returncode == 1 and "Traceback" not in text
    assert ("山田" if encoding == "utf-8" else r"\u5c71\u7530") in text
