"""config.explain: every parameter is listed, with the reason that stands in its file."""

import pytest

from remem import paths, runs
from remem.config import SCALES, explain, load_config


def listed(scale: str) -> dict[str, tuple[str, str]]:
    found = explain.listed(paths.PARAMS / f"{scale}.yaml")
    return {key: (value, said) for key, value, said in found}


@pytest.mark.parametrize("scale", SCALES)
def test_every_key_is_there_once_with_its_value_and_a_word_on_it(scale):
    lines = list(explain.listed(paths.PARAMS / f"{scale}.yaml"))
    keys = [key for key, _, _ in lines]
    assert len(keys) == len(set(keys))
    config = runs.flat(load_config(scale).model_dump(mode="json"))
    missing = [
        key for key in config if not any(key == own or key.startswith(f"{own}.") for own in keys)
    ]
    assert not missing
    silent = [key for key, _, said in lines if not said]
    assert silent == [], "a parameter without a description"


def test_the_value_is_the_files_or_the_schemas():
    tiny = listed("tiny")
    assert tiny["stage1.lr"][0] == "0.0014" and tiny["stage1.checkpointing"][0] == "false"
    assert tiny["base.networks.tiny-7b.vocabulary"][0] == "2400"
    assert tiny["experiments.diagnosis.shapes.FIUBench.identities"][0] == "400"
    assert tiny["benchmark"][0] == "null"
    assert listed("paper")["base.networks.llava-1.5-7b.hub"][0] == '"llava-hf/llava-1.5-7b-hf"'


def test_comments_above_behind_and_below_a_value_are_its_own():
    tiny = listed("tiny")
    assert tiny["stage1.lr"][1].startswith("peak learning rate; nearest to the paper's training EM")
    assert tiny["stage1.lr"][1].endswith("params/tuning_stage1.csv")
    assert "rows of like length" in tiny["stage1.micro_batch"][1]
    assert "small networks" not in tiny["stage1.micro_batch"][1]
    assert tiny["judge.model"][1].endswith("is set")  # its second line
    assert "buffalo" not in tiny["construction.face_similarity.threshold"][1]  # three share a line


def test_a_file_of_ones_own_with_odd_lines_is_listed(tmp_path):
    text = (paths.PARAMS / "smoke.yaml").read_text() + '\noutputs: "a # b"'
    (tmp_path / "mine.yaml").write_text(text)
    found = {key: value for key, value, _ in explain.listed(tmp_path / "mine.yaml")}
    assert found["outputs"] == '"a # b"'
