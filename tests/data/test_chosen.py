import json

import four_rows
import pytest

from remem import paths
from remem.config import load_config
from remem.data import chosen, validation
from remem.data.dataset import FolderData, SyntheticData
from remem.data.validation import BadData


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A function: the config of smoke with these people."""
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))

    def load(benchmark=None, **stage2):
        return load_config("smoke", {"benchmark": benchmark, "stage2": stage2})

    return load


def test_people_are_drawn_or_those_of_a_folder(config, tmp_path):
    folder = four_rows.make(tmp_path / "own")
    assert isinstance(chosen.data_of(config()), SyntheticData)
    rows, data, place = chosen.dataset(config(str(folder)))
    assert isinstance(data, FolderData) and place == folder and len(rows) == 4
    (folder / "train" / "metadata.jsonl").write_text("")
    with pytest.raises(BadData, match=r"own \(own\): no row is in the split train"):
        chosen.dataset(config(str(folder)))


def test_drawn_people_can_be_counted_before_they_are_drawn(config, tmp_path):
    rows, data = chosen.planned(config())
    assert isinstance(data, SyntheticData) and rows["identity"].nunique() == 5
    assert not (tmp_path / "outputs").exists()
    folder = four_rows.make(tmp_path / "own")
    assert len(chosen.planned(config(str(folder)))[0]) == 4
    (folder / "train" / "metadata.jsonl").write_text("")
    with pytest.raises(BadData, match=r"own \(own\): no row is in the split train"):
        chosen.planned(config(str(folder)))


def test_who_is_forgotten_is_drawn_named_or_a_set_of_the_benchmarks(config, tmp_path):
    folder = four_rows.make(tmp_path / "own")
    rows = chosen.dataset(config(str(folder))).rows
    [drawn] = chosen.forget_set(config(str(folder), forget_ratio=0.5), rows, 1)
    assert drawn in ("Anika", "Bruno")
    assert chosen.forget_set(config(str(folder), forget_set=["Bruno"]), rows, 1) == ("Bruno",)
    (folder / "source.json").write_text(json.dumps({"forget_sets": {"first": ["Anika"]}}))
    assert chosen.forget_set(config(str(folder), forget_set="first"), rows, 1) == ("Anika",)
    with pytest.raises(BadData, match="leaves no one to retain"):
        chosen.forget_set(config(str(folder), forget_set=["Anika", "Bruno"]), rows, 1)


@pytest.mark.parametrize(
    "content",
    [
        '{"forget_sets": "abc"}',
        '{"forget_sets": {"first": "Anika"}}',
        '{"forget_sets": {"first": {"Anika": 1}}}',
        '{"forget_sets": {"first": [1]}}',
        '{"forget_sets": {"first": [["Anika"]]}}',
        '{"forget_sets": {"first": null}}',
        '{"forget_sets": null}',
        '{"forget_sets": {"first": ' + "[" * 900 + "]" * 900 + "}}",
        "[]",
        "5",
        "[" * 2_000,
        "",
        b"\xff",
    ],
)
def test_a_forget_set_of_another_type_is_refused(config, tmp_path, content):
    folder = four_rows.make(tmp_path / "own")
    paths.write(folder / "source.json", content)
    rows = validation.read(folder)
    with pytest.raises(BadData, match=r"source\.json (should be a JSON object in|cannot be read)"):
        chosen.forget_set(config(str(folder), forget_set="first"), rows, 1)


def test_a_fingerprint_changes_with_a_file(tmp_path):
    (tmp_path / "a").write_text("1")
    before = chosen.fingerprint(tmp_path)
    assert chosen.fingerprint(tmp_path) == before
    (tmp_path / "a").write_text("22")
    assert chosen.fingerprint(tmp_path) != before
