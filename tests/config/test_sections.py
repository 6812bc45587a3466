"""config.sections: the schema, and the names under which a config's results are told."""

from remem import runs
from remem.config import load_config
from remem.config.sections import Benchmark, Dataset, Hub, Optimiser, TinyLlava


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


def test_the_optimiser_is_a_stages_own_fields_and_memory_is_in_no_digest():
    stage2 = load_config("tiny").stage2
    assert type(stage2.optimiser) is Optimiser and stage2.optimiser.lr == stage2.lr
    assert stage2.optimiser.steps(65) == 2 * stage2.epochs

    def changed(**fields):
        return runs.digest(stage2.optimiser.model_copy(update=fields))

    same = runs.digest(stage2.optimiser)
    assert changed(micro_batch=1) == changed(checkpointing=True) == same
    assert changed(lr=1.0) != same and changed(batch=1) != same


def test_stage_2s_seeds_share_one_stage_1_unless_each_has_its_own():
    assert load_config("tiny", {"seeds": [1, 2]}).stage1_seeds == (1,)
    each = load_config("tiny", {"seeds": [1, 2], "stage1.each_seed": True})
    assert each.stage1_seeds == (1, 2)


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
