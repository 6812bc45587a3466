import pytest
import torch
from outside_helpers import COMMIT
from safetensors.torch import load_file, save_file

from remem import runs
from remem.data import dataset
from remem.model import inference
from remem.outside.published import PublishedRun


def run_of(small, hub, **changed):
    fields = {"commit": COMMIT, "max_new_tokens": 6, "batch": 32} | changed
    return PublishedRun(base=small.base_run, data=small.data, hub=str(hub), **fields)


def test_it_answers_as_the_adapter_does_on_its_base(small, hub, adapted, features):
    run = run_of(small, "someone/memorised")
    rows = run.read(runs.get_or_create(run, small.runs))
    expected = dataset.rows_of(small.data, small.runs)
    assert rows["id"].tolist() == expected["id"].tolist() and rows["em"].notna().all()
    some = slice(0, 200, 20)
    given = inference.answers(adapted, expected[some], features, 32, 6)
    assert rows["answer_given"][some].tolist() == given and len({*given}) > 1


def test_the_commit_names_the_run_and_the_place_does_not(small):
    one, other = run_of(small, "someone/memorised"), run_of(small, "a/mirror")
    assert runs.name(one) == runs.name(other)
    assert runs.name(run_of(small, "a/mirror", commit="another")) != runs.name(one)


def test_a_tower_that_it_changes_sees_other_pictures(small, published, tmp_path, capsys, llava):
    from remem.outside import adapter

    plain = run_of(small, published, commit=adapter.find(str(published)).commit)
    before = plain.read(runs.get_or_create(plain, small.runs))
    file = published / "adapter_model.safetensors"
    layer = llava.llava.model.vision_tower.encoder.layers[0].mlp.fc2
    name = "base_model.model.vision_tower.vision_model.encoder.layers.0.mlp.fc2.lora_"
    torch.manual_seed(0)
    more = {
        f"{name}A.weight": torch.randn(4, layer.in_features),
        f"{name}B.weight": torch.randn(layer.out_features, 4),
    }
    save_file(load_file(file) | more, file, {"format": "pt"})
    changed = run_of(small, published, commit=adapter.find(str(published)).commit)
    after = changed.read(runs.get_or_create(changed, small.runs))
    assert "it also changes 1 modules such as model.vision_tower" in capsys.readouterr().err
    assert before["answer_given"].tolist() != after["answer_given"].tolist()


def test_what_was_changed_meanwhile_is_refused(small, published):
    from remem.outside.adapter import CannotLoad

    run = run_of(small, published, commit="what it was")
    with pytest.raises(CannotLoad, match="changed after it was first read"):
        runs.get_or_create(run, small.runs)
    assert not runs.is_done(run, small.runs)
