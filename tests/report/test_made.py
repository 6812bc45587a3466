"""made: each file's parameters are known, and it is known where they are not."""

import pytest

from remem import config, paths
from remem.report import made


@pytest.fixture
def folders(tmp_path):
    return paths.Folders(tmp_path / "tiny", tmp_path / "tiny" / "runs")


@pytest.fixture
def table(folders):
    return paths.write(folders.tables / "table2.csv", "EM\n1\n")


OURS, OTHERS = made.Parameters(digest="a"), made.Parameters(digest="b", changed=("seeds = [3]",))


def test_only_what_may_move_a_result_is_in_the_digest():
    usual = made.parameters(config.load_config("tiny"))
    assert usual.changed == () and usual.words == "all parameters as in the scale's file"
    moved = made.parameters(config.load_config("tiny", {"workers": 1, "outputs": "mine"}))
    assert moved == usual
    other = made.parameters(config.load_config("tiny", {"seeds": [3]}))
    assert other.digest != usual.digest and other.words.startswith("seeds = [3] (file: [1, ")


def test_nothing_is_said_where_nothing_was_kept(folders, table):
    assert made.known(folders) is None and made.otherwise(None, [table], "a") == ""


def test_a_file_is_of_the_parameters_that_made_it_last(folders, table):
    made.note(folders, table, "07", OURS)
    assert made.otherwise(made.known(folders), [table], "a") == ""
    assert made.otherwise(made.known(folders), [table], "") == ""  # a call that did not say
    said = made.otherwise(made.known(folders), [table], "b")
    assert said == "Made with other parameters: all parameters as in the scale's file."
    paths.write(table, "EM\n2\n")
    made.note(folders, table, "07", OTHERS)
    said = made.otherwise(made.known(folders), [table], "a")
    assert said == "Made with other parameters: seeds = [3]."
    table.unlink()
    assert made.known(folders) == {}


@pytest.mark.parametrize(
    "side",
    [
        b"",
        b"\0" * 40,
        b"[]",
        b'{"sha256": 1, "made": {}}',
        b'{"sha256": "", "made": {"07": {"digest": "a", "changed": "abc"}}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_record_that_cannot_be_read_is_none(folders, table, side):
    made.note(folders, table, "07", OURS)
    paths.write(folders.root / "made" / "tables" / "table2.csv.json", side)
    assert made.record(folders, table) is None and made.known(folders) == {}
    unknown = "It is not known with which parameters this was made."
    assert made.otherwise(made.known(folders), [table], "a") == unknown


def test_what_was_written_over_by_something_else_is_unknown(folders, table):
    made.note(folders, table, "07", OURS)
    table.write_text("EM\n3\n")
    figure = paths.write(folders.figures / "fig6.png", b"png")
    made.note(folders, figure, "08", OURS)
    known = made.known(folders)
    assert set(known) == {figure}
    assert made.otherwise(known, [figure], "a") == ""
    assert made.otherwise(known, [figure, table], "a").startswith("It is not known")
    assert made.otherwise(known, [], "a") == ""


def test_a_file_of_several_notebooks_knows_each_part(folders, table):
    made.note(folders, table, "06", OTHERS)
    before = made.record(folders, table)
    paths.write(table, "EM\n1\n2\n")
    made.note(folders, table, "07", OURS, ["06", "07", "08"], before)
    assert made.record(folders, table).made == {"06": OTHERS, "07": OURS}
    assert made.otherwise(made.known(folders), [table], "a").endswith("seeds = [3].")
    before = made.record(folders, table)
    made.note(folders, table, "06", OURS, ["06", "07"], before)
    assert made.otherwise(made.known(folders), [table], "a") == ""
    [side] = (folders.root / "made").rglob("*.json")
    either = side.read_bytes()
    made.note(folders, table, "06", OURS, ["06", "07"])
    made.note(folders, table, "07", OURS, ["06", "07"], made.record(folders, table))
    assert side.read_bytes() == either
