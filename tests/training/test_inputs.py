import shutil

import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from remem import runs
from remem.config.sections import Dataset, Hub
from remem.data import dataset, validation
from remem.data.subset import TrainSubset
from remem.model import features, loading
from remem.training import inputs
from remem.training.base_model import BaseRun
from remem.training.inputs import FeaturesRun


def test_features_are_those_of_the_pictures_and_are_made_once(small, llava, tmp_path, monkeypatch):
    for module in (features, inputs):
        monkeypatch.setattr(module, "SHARD", 50)
    spec = FeaturesRun(base=small.base_run, data=small.data)
    folder = runs.get_or_create(spec, tmp_path)
    assert len(list(folder.glob("features-*.safetensors"))) == 3  # 4 x 31 pictures
    names = sorted(small.rows["image"])
    assert list(spec.read(folder)["image"]) == names
    found = features.Features.read(folder)
    wanted = [names[60], names[0], names[60]]
    images = validation.load_images(small.folder, wanted)
    torch.testing.assert_close(found[wanted], features.image_features(llava, images))
    assert found[wanted].shape == (3, 4, 32)
    monkeypatch.setattr(loading, "load", None)  # a second time nothing is loaded
    assert runs.get_or_create(spec, tmp_path) == folder


def test_inputs_are_all_rows_their_features_and_where_the_network_is(small, features):
    place, rows, found = inputs.inputs(small.base_run, small.data, small.runs)
    assert place == str(small.base)
    pd.testing.assert_frame_equal(rows, small.rows)
    assert found is features  # kept in memory
    for need in inputs.inputs_needs(small.base_run, small.data):
        assert runs.folder(need, small.runs).is_dir()


def test_a_subset_that_shows_few_pictures_has_no_features_of_the_others(small):
    first = small.rows["identity"][0]
    few = TrainSubset(people=(first,), pictures=2)
    _, rows, found = inputs.inputs(small.base_run, small.data, small.runs, few)
    assert len(rows) == len(small.rows)  # the rows are all there, for the candidates
    own = small.rows[small.rows["identity"] == first]
    seen = own.loc[own["split"] == "train", "image"].iloc[:2]
    held_out = own.loc[own["split"] == "test", "image"]
    assert set(found.place) == {*seen, *held_out}
    # one that takes the pictures as they come shares the features of all
    usual = inputs.inputs_needs(small.base_run, small.data)
    assert inputs.inputs_needs(small.base_run, small.data, TrainSubset(people=(first,))) == usual
    assert inputs.inputs_needs(small.base_run, small.data, few) != usual


def test_those_that_are_computed_lie_on_no_disk_and_name_no_other_run(small, tmp_path):
    network = small.base_run.network.model_copy(update={"features": "computed"})
    base = BaseRun(network=network)
    assert runs.digest(base) == runs.digest(small.base_run)
    _, rows, found = inputs.inputs(base, small.data, tmp_path)
    stored = inputs.inputs(small.base_run, small.data, small.runs).features
    names = list(rows["image"][:3])
    torch.testing.assert_close(found[names], stored[names])
    kinds = {path.name.split("-")[0] for path in tmp_path.iterdir() if path.name[0] != "."}
    assert kinds == {"dataset", "rows"}
    assert not any(isinstance(need, FeaturesRun) for need in inputs.inputs_needs(base, small.data))


def test_features_follow_the_weights_of_a_local_folder(small, tmp_path):
    base = shutil.copytree(small.base, tmp_path / "llava")

    def named():
        network = Hub(hub=str(base), dtype="float32", content=loading.content_of(base))
        return runs.name(FeaturesRun(base=BaseRun(network=network), data=small.data))

    before = named()
    assert named() == before
    weights = load_file(base / "model.safetensors")
    projector = next(key for key in weights if "projector" in key)
    weights[projector] = weights[projector] + 1
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    assert named() != before


def test_features_follow_the_pixels_not_the_names(small, tmp_path):
    copy = shutil.copytree(small.folder, tmp_path / "copy")
    name, other = small.rows["image"][:2]

    def made():
        data = dataset.data_of(Dataset(source=str(copy)))
        return inputs.inputs(small.base_run, data, tmp_path / "runs").features[[name]]

    before = made()
    shutil.copy(copy / other, copy / name)
    assert not torch.equal(made(), before)
    assert len(list((tmp_path / "runs").glob("features-*"))) == 2
