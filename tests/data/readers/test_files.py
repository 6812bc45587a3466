import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
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


def write_text_that_is_none(file, broken: bytes):
    """A parquet file with a column of text, one cell of which is no UTF-8."""
    names = pa.array([b"Ada", b"Bo", broken, *[b"Cy"] * 20], pa.binary())
    text = pa.Array.from_buffers(pa.string(), len(names), names.buffers())
    cells = [{"bytes": PNG, "path": None}] * len(names)
    table = pa.table({"name": text, "caption": ["Here."] * len(names), "image": cells})
    file.parent.mkdir(parents=True)
    pq.write_table(table, file)


@pytest.mark.parametrize(
    "broken", [b"\xff\xfe", b"\xc3", b"a\xed\xa0\x80b", "grün".encode("latin-1")]
)
def test_text_that_is_no_utf_8_is_named_by_its_row(tmp_path, broken):
    write_text_that_is_none(tmp_path / "full" / "a.parquet", broken)
    with pytest.raises(
        validation.BadData, match=r"a\.parquet, row 3 holds text that is not in UTF"
    ):
        convert.read("clear", tmp_path)


def test_a_file_called_as_a_forget_set_is_none(tmp_path):
    cell = {"bytes": PNG, "path": None}
    put(tmp_path / "full", {"image": cell, "caption": "Ada is here.", "name": "Ada"})
    (tmp_path / "forget05").write_text("")
    assert convert.forget_sets("clear", tmp_path) == {}


def test_a_picture_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", len(PNG) - 1)
    told = f"has {len(PNG):,} bytes, and more than {len(PNG) - 1:,} are no picture"
    with pytest.raises(validation.BadData, match=f"row 1: the picture {told}"):
        files.stored_picture({"bytes": PNG}, "row 1")
    (tmp_path / "a.png").write_bytes(PNG)
    with pytest.raises(validation.BadData, match=rf"person 1: a\.png {told}"):
        files.Pictures(tmp_path).read("a.png", "person 1")


def test_values_that_are_nested_too_deep_to_be_shown_are_told(tmp_path):
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(validation.BadData, match="name should be text, but is a list that is nest"):
        files.text_of({"name": deep}, "name", "row 1")
    with pytest.raises(validation.BadData, match="should be an object, but is a list that is nest"):
        files.parsed(deep, dict, "row 1")


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
