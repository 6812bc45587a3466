"""config.loading: what is meant is taken whole, anything else is refused with the way out."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from remem import paths, runs
from remem.config import SCALES, BadParameter, load_config, loading


@pytest.mark.parametrize("scale", SCALES)
def test_each_scale_loads_and_names_itself(scale):
    assert load_config(scale).scale == scale
    assert {path.stem for path in paths.PARAMS.glob("*.yaml")} == set(SCALES)


def test_a_section_is_merged_key_by_key_and_a_list_is_replaced():
    config, standard = load_config("tiny", {"stage1": {"epochs": 2}, "seeds": [4]}), load_config()
    assert config.stage1.epochs == 2 and config.seeds == (4,)
    assert config.stage1.batch == standard.stage1.batch
    assert config.stage2 == standard.stage2


def test_a_dotted_key_says_the_same_and_the_caller_keeps_his_dictionary():
    given = {"stage1": {"epochs": 2}, "stage1.lr": 0.5}
    assert load_config("tiny", given) == load_config("tiny", {"stage1": {"lr": 0.5, "epochs": 2}})
    assert load_config("tiny", dict(reversed(given.items()))) == load_config("tiny", given)
    assert given == {"stage1": {"epochs": 2}, "stage1.lr": 0.5}


def test_what_is_written_out_loads_to_the_same():
    config = load_config("smoke", {"stage1": {"lr": 1e-3}})
    written = {key: value for key, value in config.model_dump(mode="json").items()}
    assert load_config("smoke", {k: v for k, v in written.items() if k != "scale"}) == config


@pytest.mark.parametrize("scale", ["tiny", "paper"])
def test_null_is_obeyed_or_refused_at_every_key(scale, monkeypatch):
    content = loading.read_yaml(paths.PARAMS / f"{scale}.yaml")
    monkeypatch.setattr(loading, "read_yaml", lambda file: content)  # once, for it takes a while
    keys = {*runs.flat(load_config(scale).model_dump(mode="json"))}
    keys |= {key.rpartition(".")[0] for key in keys if "." in key}
    obeyed = set()
    for key in sorted(keys - {"scale"}):
        quoted = ".".join(f'"{part}"' for part in [*key.split(".")])
        quoted = quoted.replace('"llava-1"."5-', '"llava-1.5-')  # a name with a dot
        try:
            found = load_config(scale, loading.assignments([f"{quoted}=null"]))
        except BadParameter as refusal:
            assert f"{key}: null was given" in str(refusal), refusal
        else:
            assert runs.flat(found.model_dump(mode="json"))[key] is None
            obeyed.add(key)
    assert {"benchmark", "outputs", "base.tower", "stage1.clip", "services.budget"} <= obeyed
    assert obeyed.isdisjoint({"seeds", "stage1", "stage1.epochs", "models", "judge"})


def test_null_is_obeyed_where_it_means_something_and_else_refused():
    assert load_config("tiny", {"base.tower": None}).base.tower is None
    assert load_config("tiny", {"experiments.diagnosis.real": None}).experiments.diagnosis.real is (
        None
    )
    assert load_config("tiny", {"stage1.clip": None}).stage1.clip is None
    for key in ("stage2", "seeds", "stage1.epochs", "experiments.trace"):
        with pytest.raises(BadParameter, match=rf"given on top of the file: {key}: null was given"):
            load_config("tiny", {key: None})


@pytest.mark.parametrize(
    "given, told",
    [
        ({"stage1": {"lr": "5e-5"}}, 'stage1.lr: "5e-5" was given; .*a number'),
        ({"stage1": {"epoch": 3}}, "stage1.epoch: unknown key .*'epochs'.*allowed here: alpha, "),
        ({"stage1.epoch": 3}, "on top of the file: stage1.epoch: .*did you mean 'epochs'"),
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
        ({"stage2": {"methods": ["GA", "PO"]}}, "stage2.methods: .*'PO'.*GA, GD, KL.*of your own"),
        ({"stage2": {"methods": ["GA", "GA"]}}, "stage2.methods: a method stands twice"),
        ({"stage2": {"forget_set": 5}}, "stage2.forget_set: 5 was given; it should be text or a l"),
        (
            {"stage2": {"hyperparameters": {"NPO": {"beta": None}}}},
            "hyperparameters.NPO.beta: null was given; it should be a number or a whole number",
        ),
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
        ({"outputs": "../tiny"}, "outputs '../tiny' is not a plain name such as 'my_people'"),
        ({"scale": "paper"}, "scale: it is chosen by `scale`"),
        ({"stage1": {"lr": object()}}, "not JSON serializable; use plain text"),
        ({1: 2}, "overrides: the key 1 should be text"),
        ([{"seeds": [1]}], "overrides: they should be keys with values, not .*seeds"),
        ("seeds=1", "overrides: they should be keys with values, not 'seeds=1'"),
        ({"stage1.": 2}, "stage1.: not a dotted key such as stage1.epochs"),
        ({"stage1": 5, "stage1.lr": 0.5}, "overrides: stage1.lr: stage1 was already set to a val"),
        ({"stage1.lr": 0.5, "stage1": 5}, "overrides: stage1: stage1 was already set otherwise"),
    ],
)
def test_what_is_given_wrongly_is_refused(given, told):
    with pytest.raises(BadParameter) as refusal:
        load_config("tiny", given)
    assert re.search(told, str(refusal.value)), refusal.value
    assert "\n" not in str(refusal.value)  # one mistake, one line


def test_a_number_where_text_should_stand_is_told_to_be_put_in_quotes():
    for given in ({"stage2.forget_set": [7]}, {"benchmark.name": "own", "benchmark.folder": 7}):
        with pytest.raises(BadParameter, match="7 was given; it should be text, in quotes") as told:
            load_config("tiny", given)
        assert len(str(told.value).splitlines()) == 1


def test_two_mistakes_are_two_lines():
    with pytest.raises(BadParameter) as refusal:
        load_config("tiny", {"stage1.epochs": 1.5, "workers": 0})
    assert len(str(refusal.value).splitlines()) == 2


def test_an_unknown_scale_is_refused():
    with pytest.raises(
        BadParameter, match=r"'tinny' .*'tiny'.* not one of smoke, quick, tiny, small, paper, nor"
    ):
        load_config("tinny")


# ---------------------------------------------------------------- the command line's overrides


@pytest.mark.parametrize(
    "key, parts",
    [
        ("seeds", ["seeds"]),
        ("stage1.epochs", ["stage1", "epochs"]),
        ('base.networks."my.net".hub', ["base", "networks", "my.net", "hub"]),
        ("base.networks.'my.net'", ["base", "networks", "my.net"]),
        ("experiments.diagnosis.shapes.MLLMU-Bench.single", None),
    ],
)
def test_a_key_is_taken_apart_at_its_dots_but_not_inside_quotes(key, parts):
    assert loading.steps(key) == (parts or key.split("."))


@pytest.mark.parametrize(
    "key", ["", ".", "stage1.", ".lr", "a..b", 'a."b', "a.'b", 'a."b"c', 'a.""', '"a".b"']
)
def test_what_is_no_key_is_refused(key):
    with pytest.raises(BadParameter, match="not a dotted key such as"):
        loading.steps(key)


@pytest.mark.parametrize(
    "assignment, expected",
    [
        ("stage1.lr=5e-5", {"stage1": {"lr": 5e-5}}),  # YAML 1.1 would take it for text
        ("seeds=[1, 2]", {"seeds": [1, 2]}),
        ("a=010", {"a": 10}),  # and this for 8
        ("a=yes", {"a": "yes"}),  # and this for true
        ("a=1:30", {"a": "1:30"}),  # and this for 90
        ("a=%YAML 1.1\n---\n010", {"a": 10}),  # whatever it says
        ("a=null", {"a": None}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ('"my=net".b=x', {"my=net": {"b": "x"}}),
        ("a={b: 1}", {"a": {"b": 1}}),
    ],
)
def test_a_value_is_read_as_yaml(assignment, expected):
    assert loading.assignments([assignment]) == expected


@pytest.mark.parametrize(
    "given, full",
    [
        ("people=5", "construction.people=5"),
        ("face_similarity.pack=a.b", "construction.face_similarity.pack=a.b"),
        ("construction.people=5", "construction.people=5"),
        ("budget=5", "services.budget=5"),
        ("services.budget=5", "services.budget=5"),
        ("typo", "construction.typo"),
        ("=5", "construction.=5"),
    ],
)
def test_a_key_without_its_section_is_that_of_the_section_that_knows_it(given, full):
    assert loading.with_section(given, "construction", "services") == full


def test_assignments_add_up_and_the_last_wins():
    given = ["stage1.lr=1", "stage1.epochs=2", "stage1={batch: 3}", "stage1.lr=4"]
    assert loading.assignments(given) == {"stage1": {"lr": 4, "epochs": 2, "batch": 3}}


@pytest.mark.parametrize(
    "assignments, told",
    [
        (["stage1"], "--set stage1: should be KEY=VALUE"),
        (["=3"], "should be KEY=VALUE"),
        (["stage1.=3"], "not a dotted key"),
        (["seeds=[1"], "not valid YAML"),
        (["a=!!timestamp 2020"], "not valid YAML: the tag !!timestamp is not read"),
        (["a=!!bool 5"], "'5' cannot be read as bool"),
        (["a={7: 5}"], "the key 7 should be plain text"),
        (["a=" + "[" * 2_000], "nested without end"),
        (["a={b: 1, b: 2}"], 'not valid YAML.*duplicate key "b"'),
        (["a=!!python/object/apply:os.getpid []"], "not valid YAML"),
        (["a=1", "a.b=2"], "--set a.b=2: a was already set to a value"),
        (["a.b=2", "a=1"], "--set a=1: a was already set otherwise"),
    ],
)
def test_an_assignment_with_a_mistake_is_refused(assignments, told):
    with pytest.raises(BadParameter) as refusal:
        loading.assignments(assignments)
    assert re.search(told, str(refusal.value), re.DOTALL), refusal.value


# ---------------------------------------------------------------- the file


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
        ("workers: 2", "workers: 2\nworkers: 3", 'duplicate key "workers"'),
        ("workers: 2", "workers: [2", "mine.yaml: not valid YAML.*line"),
        ("workers: 2", "", "mine.yaml: workers: is missing"),
        ("workers: 2", "workers: 2001-02-31", 'workers: "2001-02-31" was given; .* a whole number'),
        ("workers: 2", "workers: 1:30", 'mine.yaml: workers: "1:30" was given; .* a whole number'),
        ("workers: 2", "workers: 1_0", 'mine.yaml: workers: "1_0" was given; .* a whole number'),
        ("workers: 2", "? [workers]\n: 2", "key .*workers.* should be plain text"),
        ("workers: 2", "? {workers: 1}\n: 2", "not valid YAML|should be plain text"),
        ("workers: 2", "2001-01-01: 2", "mine.yaml: 2001-01-01: unknown key"),
        ("workers: 2", "7: 2", "mine.yaml: the key 7 should be plain text"),
        ("workers: 2", "workers: &w [*w]", "mine.yaml: an anchor stands inside what it names"),
        ("    tiny-7b:\n", "    tiny-7b:\n    tiny-8b:\n", "networks.tiny-7b: null was given"),
    ],
)
def test_a_file_with_a_mistake_is_named(tmp_path, old, new, told):
    path = edited(tmp_path, old, new)
    with pytest.raises(BadParameter) as refusal:
        load_config(path)
    assert re.search(told, str(refusal.value), re.DOTALL), refusal.value


def test_a_file_of_ones_own_takes_overrides_as_well(tmp_path):
    path = edited(tmp_path, "lr: 1.4e-3", "lr: 5e-5")
    assert load_config(path).stage1.lr == 5e-5
    assert load_config(str(path), {"stage1.lr": 1e-3}).stage1.lr == 1e-3


@pytest.mark.parametrize("text", ["", "- a\n", "tiny"])
def test_a_file_without_keys_is_refused(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(BadParameter, match="should hold keys and values"):
        load_config(tmp_path / "mine.yaml")


def test_a_file_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text((paths.PARAMS / "tiny.yaml").read_text())
    assert load_config("~/mine.yaml") == load_config("tiny")
    with pytest.raises(BadParameter, match=rf"^{tmp_path}/other\.yaml: cannot be read"):
        load_config("~/other.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadParameter, match=r"none\.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_bytes("scale: tiny # grün".encode("latin-1"))
    with pytest.raises(BadParameter, match=r"mine\.yaml: not valid YAML"):
        load_config(tmp_path / "mine.yaml")


def test_yaml_that_would_make_objects_is_refused(tmp_path):
    path = edited(tmp_path, "workers: 2", "workers: !!python/object/apply:os.getpid []")
    with pytest.raises(BadParameter, match="not valid YAML"):
        load_config(path)


def test_the_committed_rates_are_numbers_to_every_yaml_reader():
    for scale in SCALES:
        content = yaml.safe_load((paths.PARAMS / f"{scale}.yaml").read_text())
        assert all(isinstance(content[stage]["lr"], float) for stage in ("stage1", "stage2"))


# ---------------------------------------------------------------- what was changed


def test_what_differs_from_the_scales_own_file_is_told():
    assert loading.changes(load_config("smoke")) == {}
    standard = load_config("smoke")
    config = load_config(
        "smoke", {"stage1": {"epochs": 99, "lr": standard.stage1.lr}, "seeds": [3]}
    )
    assert loading.changes(config) == {
        "seeds": ([3], [1]),
        "stage1.epochs": (99, standard.stage1.epochs),  # the rate is the file's
    }
    towerless = load_config("smoke", {"base.tower": None})
    assert loading.changes(towerless)["base.tower.faces"][0] is None
    assert loading.changes(load_config("smoke", {"outputs": "x"})) == {"outputs": ("x", None)}


def test_loading_reads_no_data_and_imports_no_torch(tmp_path):
    code = (
        "import sys; from remem.config import load_config\n"
        "config = load_config('tiny', {'dataset.source': '/nowhere', 'benchmark': 'mllmu'})\n"
        "assert config.benchmark.folder == 'data/mllmu'\n"
        "assert not {'torch', 'transformers', 'PIL', 'remem.data'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.filterwarnings("error")
def test_parameters_are_written_out_without_a_word(scale):
    config = load_config(scale, {"benchmark": "clear"})
    for mode in ("json", "python"):
        assert config.model_dump(mode=mode)["scale"] == scale
    assert json.loads(config.model_dump_json())["benchmark"]["name"] == "clear"
    assert loading.changes(config)


@pytest.mark.parametrize(
    ("scale", "key", "name", "others"),
    [
        ("paper", "base.networks.llava-1.5-7b.hub", "llava-1.5-7b", {"dtype": "bfloat16"}),
        ("paper", 'base.networks."llava-1.5-7b".hub', "llava-1.5-7b", {"dtype": "bfloat16"}),
        ("paper", "base.networks.llava-1.6-34b.hub", "llava-1.6-34b", {"dtype": "bfloat16"}),
        ("tiny", "base.networks.a.b.c-0.5.hub", "a.b.c-0.5", {"dtype": "bfloat16"}),
        ("tiny", "base.networks.'v.'.hub", "v.", {"dtype": "bfloat16"}),
    ],
)
def test_a_name_that_holds_dots_needs_no_quotes(scale, key, name, others):
    """A shell takes them away."""
    standard = load_config(scale)
    config = load_config(scale, loading.assignments([f"{key}=some/where", "seeds=[3]"]))
    assert config == load_config(scale, {key: "some/where", "seeds": [3]})
    assert config.base.networks[name].hub == "some/where" and config.seeds == (3,)
    assert config.base.networks[name].dtype == others["dtype"]
    assert {*config.base.networks} == {*standard.base.networks, name}


def test_names_with_dots_are_told_apart_and_meet_what_is_set_of_them_otherwise():
    given = ["base.networks.x-1.5.hub=a/b", "base.networks.x-1.6.hub=c/d"]
    given += [
        'base.networks."x-1.5".dtype=float16',
        "experiments.diagnosis.files.FIU v1.2.source=e",
    ]
    config = load_config("tiny", loading.assignments(given))
    networks = config.base.networks
    assert (networks["x-1.5"].hub, networks["x-1.6"].hub) == ("a/b", "c/d")
    assert networks["x-1.5"].dtype == "float16" and networks["x-1.6"].dtype == "bfloat16"
    assert config.experiments.diagnosis.files["FIU v1.2"].source == "e"


def test_a_mistyped_field_of_a_name_with_dots_is_told_with_the_whole_name():
    with pytest.raises(BadParameter, match=r"networks\.llava-1\.5-7b\.hubb: unknown key .*'hub'"):
        load_config("paper", loading.assignments(["base.networks.llava-1.5-7b.hubb=x"]))


def test_the_networks_of_scale_paper_are_pinned():
    networks = load_config("paper").base.networks
    assert all(re.fullmatch("[0-9a-f]{40}", network.commit) for network in networks.values())
    assert len({network.where for network in networks.values()}) == 2
