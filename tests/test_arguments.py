"""arguments: a scale or a file, parameters as often as one likes, an outputs folder."""

import argparse
from pathlib import Path

import pytest

from remem import arguments


@pytest.fixture
def parser():
    root = argparse.ArgumentParser()
    listed = root.add_subparsers()
    command = arguments.add(listed, "do", lambda given: 3, "do a thing", "remem do x")
    arguments.add_scale(command, default="quick")
    arguments.add_set(command, "a=1")
    arguments.add_out(command)
    arguments.add_folder(command)
    return root


def test_what_is_left_out_has_a_value(parser):
    given = parser.parse_args(["do", "there"])
    assert (given.scale, given.params, given.set, given.out) == ("quick", None, [], None)
    assert given.folder == Path("there") and given.run(given) == 3


def test_what_is_given_is_taken(parser):
    words = ["do", "x", "--params", "~/mine.yaml", "--set", "a=1", "--set", "b=2", "--out", "y"]
    given = parser.parse_args(words)
    assert given.params == Path.home() / "mine.yaml"
    assert (given.set, given.out) == (["a=1", "b=2"], "y")


def test_a_scale_and_a_file_are_not_both_given(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["do", "x", "--scale", "tiny", "--params", "mine.yaml"])
    assert "not allowed with" in capsys.readouterr().err
