import json
import shutil

import pytest
from families import FAMILIES

from remem.model import processors
from remem.model.folder import CannotLoad


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return FAMILIES["qwen2.5-vl"](tmp_path_factory.mktemp("qwen"))


def test_a_processor_of_videos_is_read_without_torchvision(qwen):
    found = processors.load(qwen, qwen)
    assert type(found).__name__ == "Qwen2_5_VLProcessor"
    assert "video_processor" not in found.get_attributes()
    assert type(found.image_processor).__name__.endswith("Pil")


def test_the_class_that_the_files_name_is_taken_if_transformers_has_it(qwen, tmp_path):
    folder = shutil.copytree(qwen, tmp_path / "qwen")
    for named in ("Qwen2VLProcessor", "NobodysProcessor", "LlavaConfig", 7):
        (folder / "processor_config.json").write_text(json.dumps({"processor_class": named}))
        found = type(processors.load(folder, folder)).__name__
        assert found == (named if named == "Qwen2VLProcessor" else "Qwen2_5_VLProcessor")


def test_a_package_that_a_processor_asks_for_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", None)
    folder = FAMILIES["smolvlm"](tmp_path)
    with pytest.raises(CannotLoad, match=r"cannot be loaded: .*`num2words` is required"):
        processors.load(folder, folder)


def test_a_patch_size_that_older_releases_left_out_is_the_networks(small, tmp_path):
    folder = shutil.copytree(small.base, tmp_path / "llava")
    file = folder / "processor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"patch_size": None}))
    assert processors.load(folder, folder).patch_size == 16


def test_a_processor_without_image_tokens_is_told(small, monkeypatch):
    monkeypatch.setattr(processors, "PARTS", (*processors.PARTS, "sound", "smell"))
    with pytest.raises(CannotLoad, match="its LlavaProcessor has no sound and no smell, which put"):
        processors.load(small.base, small.base)
