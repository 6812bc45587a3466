import huggingface_hub
import pytest
from reader_files import PNG, put

from remem import paths
from remem.__main__ import main
from remem.data import validation
from remem.data.readers import convert, files


@pytest.mark.parametrize(
    "benchmark, pattern, size",
    [
        ("fiubench", "full.json", "7 MB"),
        ("mllmu", r"Full_Set/\*", "240 MB"),
        ("clear", r"full/\*", "630 MB"),
        ("clear_real", r"real_faces/\*", "2 MB"),
        ("remem", r"data/\*", "9.5 GB"),
    ],
)
def test_a_missing_file_says_which_from_where_and_how_big(tmp_path, benchmark, pattern, size):
    hub = files.SOURCES[benchmark][0]
    said = f"{pattern} is missing.*{size} of {hub}.*remem fetch {benchmark} "
    with pytest.raises(validation.BadData, match=said):
        convert.read(benchmark, tmp_path)


def test_nothing_is_fetched_offline(tmp_path):
    with pytest.raises(validation.BadData, match="HF_HUB_OFFLINE is set"):
        files.fetch("clear_real", tmp_path / "clear")
    assert not (tmp_path / "clear").exists()


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"caption": "Ada.", "name": "Ada"}, "lacks image; it has caption, name"),
        ({"image": None, "caption": "Ada.", "name": "Ada"}, "row 1: the picture is missing"),
        ({"image": {"bytes": None, "path": "a.png"}, "caption": "", "name": "Ada"}, "is missing"),
        (
            {"image": {"bytes": PNG, "path": None}, "caption": "", "name": " "},
            "name should be text",
        ),
        ({"image": {"bytes": PNG, "path": None}, "caption": 4, "name": "Ada"}, "should be text"),
    ],
)
def test_a_bad_parquet_row_is_refused_by_file_row_and_reason(tmp_path, row, reason):
    put(tmp_path / "full", row)
    with pytest.raises(validation.BadData, match=rf"train-00000-of-00001.parquet.*{reason}"):
        convert.read("clear", tmp_path)


def test_fetching_from_the_command_line(tmp_path, monkeypatch, capsys):
    asked = []

    def given(name, repo_type, allow_patterns, local_dir):
        asked.append((name, repo_type, allow_patterns, local_dir))
        if failing:
            raise failing

    failing = None
    monkeypatch.setattr(huggingface_hub, "snapshot_download", given)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    assert main(["fetch", "fiubench"]) == 2  # the tests are offline
    assert "HF_HUB_OFFLINE is set; unset it" in capsys.readouterr().err and not asked
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert main(["fetch", "fiubench"]) == 0
    assert main(["fetch", "clear_real", str(tmp_path / "x")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'data' / 'fiubench'}\n{tmp_path / 'x'}\n"
    assert asked == [
        (
            "gray311/FIUBench",
            "dataset",
            ["full.json", "SFHQ.zip", "split.json"],
            tmp_path / "data" / "fiubench",
        ),
        ("therem/CLEAR", "dataset", ["real_faces/*"], tmp_path / "x"),
    ]
    failing = huggingface_hub.errors.LocalEntryNotFoundError("no connection")
    assert main(["fetch", "mllmu"]) == 2
    assert "MLLMMU/MLLMU-Bench cannot be fetched from the Hub: no conn" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["fetch", "tofu"])


def test_what_is_fetched_is_what_is_read(drawn):
    """No file that a reader opens lies outside the patterns, and each pattern has one."""
    for benchmark in ("fiubench", "mllmu", "clear", "clear_real"):
        folder = drawn[2] / benchmark.removesuffix("_real")
        there = [file.relative_to(folder).as_posix() for file in folder.rglob("*")]
        for pattern in files.SOURCES[benchmark][1]:
            assert list(huggingface_hub.utils.filter_repo_objects(there, allow_patterns=pattern))
