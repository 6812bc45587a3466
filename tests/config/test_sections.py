"""config.sections: the schema, and the names under which a config's results are told."""

import pytest

from remem.config import BadParameter, load_config
from remem.config.sections import Benchmark, Dataset, Hub, TinyLlava


def test_the_paper_scale_holds_the_papers_values():
    config = load_config("paper")
    assert (config.stage1.rank, config.stage1.alpha) == (64, 128)
    for stage, lr in ((config.stage1, 5e-5), (config.stage2, 2e-5)):
        assert (stage.epochs, stage.batch, stage.lr) == (5, 64, lr)
    assert config.stage2.forget_ratio == 0.2
    networks = [config.base.networks[name] for name in config.models]
    assert all(isinstance(network, Hub) for network in networks)
    assert [network.hub for network in networks if isinstance(network, Hub)] == [
        "llava-hf/llava-1.5-7b-hf",
        "llava-hf/llava-1.5-13b-hf",
    ]


def test_the_tiny_scale_is_the_whole_dataset():
    drawn = load_config().dataset
    per_person = drawn.single + drawn.multi + drawn.test_single + drawn.test_multi
    assert drawn.identities * per_person == 2560
    assert isinstance(load_config().base.networks["tiny-7b"], TinyLlava)


def test_stage_2s_seeds_begin_from_those_of_stage_1_in_turn():
    tiny = load_config("tiny")
    assert (tiny.seeds, tiny.stage1_seeds) == ((1, 2, 3, 4, 5), (1, 2, 3))
    assert [tiny.stage1_seed(seed) for seed in tiny.seeds] == [1, 2, 3, 1, 2]
    assert tiny.stage1_seed(0) == 0  # the tuning seed has its own
    one = load_config("tiny", {"stage1.seeds": 1})
    assert one.stage1_seeds == (1,) and one.stage1_seed(5) == 1
    # A few of the seeds begin where they do among all of them.
    assert load_config("tiny", {"seeds": [5, 3]}).stage1_seeds == (2, 3)


def test_quick_is_of_the_same_base_and_the_same_two_stages_as_tiny():
    quick, tiny = load_config("quick"), load_config("tiny")
    for section in ("dataset", "base", "stage1", "stage2", "evaluate"):
        assert getattr(quick, section) == getattr(tiny, section)
    assert set(quick.models) <= set(tiny.models) and set(quick.seeds) <= set(tiny.seeds)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("diagnosis.shapes.FIUBench.names", 21, "names is 21, of 20 multi-hop questions in all"),
        ("ratios.first.draws", [1], "draws has 1 values, for 4 shares"),
        ("ratios.first.draws", [1, 1, 1, 0], "greater than or equal to 1"),
        ("curves.seeds", 0, "greater than or equal to 1"),
    ],
)
def test_what_an_experiment_cannot_be_is_told(key, value, reason):
    with pytest.raises(BadParameter, match=reason):
        load_config("tiny", {f"experiments.{key}": value})


def test_a_benchmark_is_named_in_a_word_or_by_its_folder():
    assert load_config("tiny").benchmark is None
    theirs = load_config("tiny", {"benchmark": "mllmu"}).benchmark
    assert theirs == Benchmark(name="mllmu", folder="data/mllmu")
    own = load_config("tiny", {"benchmark": "some/where"}).benchmark
    assert own == Benchmark(name="own", folder="some/where")
    assert (theirs.title, own.title) == ("MLLMU-Bench", "where (own)")


def test_verdicts_speak_of_the_world_that_was_asked():
    paper, own = load_config("paper"), Dataset(source="some/where")
    assert (paper.verdict_scope, load_config("tiny").verdict_scope) == ("drawn", "tiny")
    assert load_config("quick").verdict_scope == "tiny"
    theirs = Benchmark.model_validate("remem")
    for benchmark, scope in ((None, "where (own)"), (theirs, "paper")):
        config = paper.model_copy(update={"dataset": own, "benchmark": benchmark})
        assert config.verdict_scope == scope and not config.synthetic
    # Toy people and the others' shapes are synthetic, whatever is trained on beside them.
    assert (config.synthetic_scope, config.diagnosis_scope) == ("drawn", "drawn")
    files = dict.fromkeys(config.experiments.diagnosis.shapes, own)
    diagnosis = config.experiments.diagnosis.model_copy(update={"files": files})
    every = config.experiments.model_copy(update={"diagnosis": diagnosis})
    assert config.model_copy(update={"experiments": every}).diagnosis_scope == "paper"
    assert config.model_copy(update={"scale": "tiny"}).verdict_scope == "tiny ReMem"
    assert config.is_remem and not paper.model_copy(update={"dataset": own}).is_remem


def test_outputs_may_have_a_name_of_their_own_and_share_the_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path))
    standard, own = (load_config("tiny", given).folders for given in ({}, {"outputs": "mine"}))
    assert standard.tables == tmp_path / "tiny" / "tables"
    assert own.tables == tmp_path / "mine" / "tables"
    assert own.runs == standard.runs == tmp_path / "tiny" / "runs"


@pytest.mark.parametrize(
    "key",
    [
        "dataset.source",
        "benchmark",
        "benchmark.folder",
        "base.networks.mine.hub",
        "experiments.ability.source",
        "experiments.diagnosis.files.FIUBench.source",
        "construction.face_similarity.pack",
    ],
)
def test_a_path_may_begin_in_the_home_folder(key, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    more = {"benchmark.name": "own"} if key == "benchmark.folder" else {}
    found = load_config("tiny", {key: "~/my things", **more})
    assert str(tmp_path / "my things") in found.model_dump_json()
    assert "~" not in found.model_dump_json()
