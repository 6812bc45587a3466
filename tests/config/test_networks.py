"""config.networks: what a network may be, and that the wrong key is told for one kind only."""

import pytest
from pydantic import TypeAdapter, ValidationError

from remem import runs
from remem.config.networks import Hub, Network, TinyLlava, VisionTower

SIZES = {"layers": 2, "width": 32, "mlp": 64, "heads": 2}


def test_a_network_with_a_hub_is_of_the_hub_and_any_other_is_trained_here():
    kinds = TypeAdapter(Network)
    assert kinds.validate_python({"hub": "some/model"}) == Hub(hub="some/model", dtype="bfloat16")
    assert kinds.validate_python(SIZES) == TinyLlava(**SIZES)
    with pytest.raises(ValidationError) as refusal:
        kinds.validate_python({"hub": "some/model", "layers": 2})
    assert [problem["loc"] for problem in refusal.value.errors()] == [("<hub>", "layers")]


@pytest.mark.parametrize(
    "kind, changed, told",
    [
        (TinyLlava, {**SIZES, "heads": 3}, "width should be a multiple of 2 x heads"),
        (VisionTower, {"heads": 3}, "heads should divide width"),
        (VisionTower, {"patch": 7}, "patch should divide image_size"),
        (VisionTower, {"faces": 2, "views": 1}, "batch is larger than faces x views"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(kind, changed, told):
    with pytest.raises(ValidationError, match=told):
        kind(**changed)


def test_a_local_network_is_known_by_its_content_wherever_it_lies(monkeypatch, tmp_path):
    here, there = (Hub(hub=folder, content="abc") for folder in ("a/llava", "b/llava"))
    assert runs.digest(here) == runs.digest(there)
    assert runs.digest(here) != runs.digest(Hub(hub="a/llava", content="abd"))
    assert runs.digest(Hub(hub="a/llava")) != runs.digest(Hub(hub="b/llava"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Hub(hub="~/llava").hub == str(tmp_path / "llava")


def test_a_commit_is_part_of_the_network_and_none_changes_no_digest():
    plain, pinned = Hub(hub="a/llava"), Hub(hub="a/llava", commit="a" * 40)
    assert runs.plain(plain, for_digest=True) == {"hub": "a/llava", "dtype": "bfloat16"} | {
        "content": None
    }
    assert runs.digest(plain) != runs.digest(pinned)
    assert runs.digest(pinned) != runs.digest(Hub(hub="a/llava", commit="b" * 40))
    assert (plain.where, pinned.where) == ("a/llava", f"a/llava@{'a' * 40}")
    for branch in ("main", "abcdef0", "A" * 40, "a" * 40 + "\n"):  # they move, or are not found
        with pytest.raises(ValidationError):
            Hub(hub="a/llava", commit=branch)


def test_a_folder_has_no_commit(tmp_path):
    folder = Hub(hub=str(tmp_path), commit="a" * 40)
    assert folder.where == str(tmp_path)
    assert runs.digest(folder.model_copy(update={"content": "abc"})) == runs.digest(
        Hub(hub="elsewhere", content="abc")
    )


def test_what_a_network_has_in_memory_moves_no_digest():
    memory = {"stage1": {"micro_batch": 2}, "stage2": {"checkpointing": True}}
    memory |= {"features": "computed"}
    kinds = TypeAdapter(Network)
    for fields in ({"hub": "a/llava"}, SIZES):
        plain, own = (kinds.validate_python(fields | more) for more in ({}, memory))
        assert own.stage1.micro_batch == 2 and plain.stage1.micro_batch is None
        assert runs.digest(own) == runs.digest(plain)
    # written down: a change of these makes every run of every user be made again
    assert runs.digest(Hub(hub="a/llava")) == "13d730e9e13d"
    assert runs.digest(TinyLlava(**SIZES)) == "1989c30f5ff7"
    with pytest.raises(ValidationError, match="micro_batch"):
        kinds.validate_python({"hub": "a/llava", "stage1": {"micro_batch": 0}})
