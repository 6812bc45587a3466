"""params: what is meant is taken whole, anything else is refused with the way out."""

import re

import pytest
import yaml

from remem import dataset, params, paths, readers, runs
from remem.pretrain import Drawn, Hub


@pytest.mark.parametrize("scale", params.SCALES)
def test_each_scale_loads_and_names_itself(scale):
    settings = params.load(scale)
    assert settings.scale == scale
    assert {path.stem for path in paths.PARAMS.glob("*.yaml")} == set(params.SCALES)


def test_the_paper_scale_holds_the_papers_values():
    settings = params.load("paper")
    assert (settings.stage1.rank, settings.stage1.alpha) == (64, 128)
    for stage, lr in ((settings.stage1, 5e-5), (settings.stage2, 2e-5)):
        assert (stage.epochs, stage.batch, stage.lr) == (5, 64, lr)
    assert settings.stage2.forget_ratio == 0.2
    hubs = [settings.base.spec(name).network for name in settings.models]
    assert [network.hub for network in hubs] == [
        "llava-hf/llava-1.5-7b-hf",
        "llava-hf/llava-1.5-13b-hf",
    ]
    assert all(isinstance(network, Hub) for network in hubs)


def test_the_tiny_scale_is_the_whole_dataset():
    drawn = params.load().dataset
    per_person = drawn.single + drawn.multi + drawn.test_single + drawn.test_multi
    assert drawn.identities * per_person == 2560
    assert isinstance(params.load().base.spec("tiny-7b").network, Drawn)


def test_a_section_is_merged_key_by_key_and_a_list_is_replaced():
    settings = params.load("tiny", stage1={"epochs": 2}, seeds=[4], stage2=None)
    assert settings.stage1.epochs == 2
    assert settings.stage1.batch == params.load("tiny").stage1.batch
    assert settings.seeds == (4,)
    assert settings.stage2 == params.load("tiny").stage2


def test_what_papermill_is_given_loads_to_the_same():
    settings = params.load("smoke", stage1={"lr": 1e-3})
    assert params.load(**settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    "given, told",
    [
        ({"stage1": {"lr": "5e-5"}}, 'stage1.lr: "5e-5" was given; .*a number.*write 5.0e-5'),
        ({"stage1": {"epoch": 3}}, "stage1.epoch: unknown key .*'epochs'.*allowed here: alpha, "),
        ({"stage3": {}}, "stage3: unknown key .*'stage2'.*allowed here: base, benchmark"),
        ({"stage1": {"epochs": True}}, "stage1.epochs: true was given; .*a whole number"),
        ({"stage1": {"epochs": "5"}}, 'stage1.epochs: "5" was given; .*a whole number'),
        ({"stage1": {"epochs": 1.5}}, "stage1.epochs: 1.5 was given; .*a whole number"),
        ({"stage1": {"lr": float("nan")}}, "stage1.lr: NaN was given; .*finite"),
        ({"stage1": {"lr": -1}}, "stage1.lr: -1 was given; it should be greater than 0"),
        ({"stage1": {"alpha": 3}}, "stage1: alpha is twice the rank"),
        ({"stage1": 5}, "stage1: 5 was given; it should be keys with values"),
        ({"workers": 0}, "workers: 0 was given; it should be greater than or equal to 1"),
        ({"seeds": 1}, "seeds: 1 was given; it should be a list"),
        ({"seeds": [0]}, "seeds.0: 0 was given; it should be greater than or equal to 1"),
        ({"seeds": [1, 1]}, "seeds should hold at least one value, and none twice"),
        ({"models": []}, "models should hold at least one"),
        ({"models": ["llava"]}, "models names llava, but base.networks has tiny-7b, tiny-13b"),
        ({"stage2": {"methods": ["GA", "PO"]}}, "stage2.methods.1: .*PO.*GA.*, .*GD.*, .*KL"),
        (
            {"base": {"networks": {"tiny-7b": {"layer": 2}}}},
            "base.networks.tiny-7b.layer: unknown key .*'layers'.*allowed here: batch, ",
        ),
        (
            {"base": {"networks": {"tiny-7b": None}}},
            "base.networks.tiny-7b: null was given; it should be keys with values",
        ),
        (
            {"base": {"networks": {"tiny-7b": 7}}},
            "base.networks.tiny-7b: 7 was given; it should be keys with values",
        ),
        (
            {"base": {"networks": {"tiny-7b": ["hub"]}}},
            r'base.networks.tiny-7b: \["hub"\] was given; it should be keys with values',
        ),
        ({"base": {"tower": {"depth": 2}}}, "base.tower.depth: unknown key .*: .*, views"),
        ({"dataset": {"seed": 90}}, "dataset.seed: 90 was given; it should be less than 90"),
        ({"dataset": {"source": "nowhere"}}, "tiny.yaml: dataset source 'nowhere': there is no"),
    ],
)
def test_what_is_given_wrongly_is_refused(given, told):
    with pytest.raises(params.BadParameter) as refusal:
        params.load("tiny", **given)
    assert re.search(told, str(refusal.value)), refusal.value
    assert "\n" not in str(refusal.value)  # one mistake, one line


def test_an_unknown_scale_is_refused():
    with pytest.raises(params.BadParameter, match="'tinny' .*'tiny'.* not one of smoke, tiny"):
        params.load("tinny")


def edited(tmp_path, old: str, new: str):
    text = (paths.PARAMS / "tiny.yaml").read_text()
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new, 1))
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("workers: 2", "wokers: 2", "mine.yaml: wokers: unknown key .*'workers'"),
        ("workers: 2", "workers: two", 'mine.yaml: workers: "two" was given'),
        ("workers: 2", "workers: 2\nworkers: 3", "the key 'workers' stands twice.*line"),
        ("workers: 2", "workers: [2", "mine.yaml: not valid YAML.*line"),
        ("workers: 2", "", "mine.yaml: workers: is missing"),
        ("workers: 2", "workers: 2001-01-01", "mine.yaml: .*date"),
        ("workers: 2", "workers: 2001-02-31", "mine.yaml: not valid YAML: day is out"),
        ("workers: 2", "? [workers]\n: 2", "not valid YAML: a key should be plain text.*line"),
        ("workers: 2", "? {workers: 1}\n: 2", "not valid YAML: a key should be plain text"),
        ("workers: 2", "2001-01-01: 2", "mine.yaml: keys must be str.*date"),
        ("workers: 2", "workers: &w [*w]", "mine.yaml: Circular.*use plain text"),
        ("    tiny-7b:\n", "    tiny-7b:\n    tiny-8b:\n", "networks.tiny-7b: null was given"),
    ],
)
def test_a_file_with_a_mistake_is_named(tmp_path, old, new, told):
    path = edited(tmp_path, old, new)
    with pytest.raises(params.BadParameter) as refusal:
        params.load_file(path)
    assert re.search(told, str(refusal.value), re.DOTALL), refusal.value


def test_what_differs_from_the_scales_own_file_is_told():
    assert params.changes(params.load("smoke")) == {}
    settings = params.load("smoke", stage1={"epochs": 2, "lr": 2e-3}, seeds=[3])
    assert params.changes(settings) == {"seeds": [3], "stage1.epochs": 2}  # 2e-3 is the file's
    towerless = params.load("smoke", base={"tower": None})
    assert params.changes(towerless)["base.tower.faces"] is None


def test_a_dataset_folder_is_addressed_by_its_content_and_all_that_follows(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.jsonl").write_text("a\n")

    def loaded():
        return params.load("smoke", dataset={"source": str(tmp_path)})

    before = loaded()
    assert params.load(**before.model_dump(mode="json")) == before == loaded()
    (tmp_path / "train" / "metadata.jsonl").write_text("b\n")
    after = loaded()
    assert after.dataset.content != before.dataset.content
    assert runs.digest(after.start("smoke", 1)) != runs.digest(before.start("smoke", 1))


@pytest.mark.parametrize("text", ["", "- a\n", "tiny"])
def test_a_file_without_keys_is_refused(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(params.BadParameter, match="should hold keys and values"):
        params.load_file(tmp_path / "mine.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(params.BadParameter, match=r"none\.yaml: cannot be read"):
        params.load_file(tmp_path / "none.yaml")


def test_yaml_that_would_make_objects_is_refused(tmp_path):
    path = edited(tmp_path, "workers: 2", "workers: !!python/object/apply:os.getpid []")
    with pytest.raises(params.BadParameter, match="not valid YAML"):
        params.load_file(path)


def test_the_committed_rates_are_numbers_to_yaml_as_well():
    for scale in params.SCALES:
        content = yaml.safe_load((paths.PARAMS / f"{scale}.yaml").read_text())
        assert all(isinstance(content[stage]["lr"], float) for stage in ("stage1", "stage2"))


def test_stage_2s_seeds_share_one_stage_1_unless_each_has_its_own():
    shared = params.load("tiny", seeds=[1, 2])
    assert shared.stage1_seeds == (1,)
    assert shared.start("tiny-7b", 2) == shared.start("tiny-7b", 1)
    assert shared.start("tiny-7b", 0) != shared.start("tiny-7b", 1)  # tuning stays apart
    assert shared.start("tiny-7b", 2, ("p00",)).exclude == ("p00",)
    each = params.load("tiny", seeds=[1, 2], stage1={"each_seed": True})
    assert each.stage1_seeds == (1, 2)
    assert each.start("tiny-7b", 2).seed == 2
    assert each.untrained("tiny-7b").stage1.epochs == 0


def test_a_real_set_of_ones_own_is_addressed_as_the_dataset_is(tmp_path):
    folder = dataset.make(dataset.DatasetSpec(identities=2, image_size=16, single=0, multi=10,
                                              test_single=0, test_multi=7), tmp_path)  # fmt: skip
    given = {"diagnosis": {"real": {"source": str(folder)}}}
    first = params.load("smoke", experiments=given)
    assert first.experiments.diagnosis.real.content
    with (folder / "train" / "metadata.jsonl").open("a") as file:
        file.write(" ")
    again = params.load("smoke", experiments=given)
    assert first.experiments.diagnosis.real != again.experiments.diagnosis.real


def test_the_papers_models_with_drawn_people_speak_of_those():
    paper = params.load("paper")
    assert (paper.world, params.load("tiny").world) == ("drawn", "tiny")
    own = paper.dataset.model_copy(update={"source": "some/where"})
    theirs = readers.Benchmark.model_validate("remem")
    for benchmark, world in ((None, "where (own)"), (theirs, "paper")):
        settings = paper.model_copy(update={"dataset": own, "benchmark": benchmark})
        assert settings.world == world
    # Toy people and the others' shapes are drawn, whatever is taught beside them.
    assert (settings.drawn, settings.compared) == ("drawn", "drawn")
    files = dict.fromkeys(settings.experiments.diagnosis.shapes, own)
    diagnosis = settings.experiments.diagnosis.model_copy(update={"files": files})
    every = settings.experiments.model_copy(update={"diagnosis": diagnosis})
    assert settings.model_copy(update={"experiments": every}).compared == "paper"
    assert settings.model_copy(update={"scale": "tiny"}).world == "tiny ReMem"
