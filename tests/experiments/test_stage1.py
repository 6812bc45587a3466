"""Stage 1's experiments: each changes what it says it changes, and nothing else."""

import math
from collections import Counter

import pandas as pd
import pytest

from remem import experiments, jobs, paper, runs
from remem.config import load_config
from remem.data import dataset
from remem.data.dataset import FolderData, SyntheticData
from remem.evaluation.signatures import SignatureRun
from remem.evaluation.tracing import TraceRun
from remem.experiments import setup
from remem.synthetic.questions import mixed
from remem.training.stage1 import Stage1Run, Untrained


def spread(part: pd.DataFrame) -> dict[str, tuple[int, int, int]]:
    """identity -> single-hop rows, multi-hop rows, pictures."""
    return {
        who: ((own.hop == "single").sum(), (own.hop == "multi").sum(), own.image.nunique())
        for who, own in part.groupby("identity")
    }


def own_labels(job):
    return {key: value for key, value in job.labels.items() if key not in ("model", "seed")}


def test_the_mix_is_exact_at_every_share():
    for total in (40, 80, 200):
        for percent in range(0, 101, 10):
            single, multi = mixed(total, percent)
            assert single + multi == total and single == total * percent / 100


# ---------------------------------------------------------------- Table 3


def test_table_3_is_the_base_and_stage_1_of_each_size(tiny, nothing_is_loaded):
    found = experiments.memorising(tiny)
    assert [job.labels for job in found] == [
        {"stage": stage, "model": model, "seed": seed}
        for stage in ("base", "stage 1")
        for model in ("tiny-7b", "tiny-13b")
        for seed in (1, 2, 3)
    ]
    asked = [job.spec.of for job in found]
    assert all(isinstance(of, Untrained) for of in asked[:6])
    trained = [setup.stage1_run(tiny, model, seed) for model in tiny.models for seed in (1, 2, 3)]
    assert asked[6:] == trained and [of.seed for of in trained] == [1, 2, 3] * 2
    assert trained[0].optimiser == tiny.stage1.optimiser
    assert (trained[0].rank, trained[0].alpha) == (tiny.stage1.rank, tiny.stage1.alpha)
    assert trained[0].data == SyntheticData(**tiny.dataset.model_dump())
    one = load_config("tiny", {"stage1": {"seeds": 1}})
    assert [job.labels["seed"] for job in experiments.memorising(one)] == [1] * 4
    assert found.runs_root == tiny.folders.runs and found.workers == 2


def test_a_seed_begins_from_the_stage_1_that_the_config_says(tiny):
    assert [setup.stage1_run(tiny, "tiny-7b", seed).seed for seed in (3, 4, 5)] == [3, 1, 2]
    assert setup.stage1_run(tiny, "tiny-7b", 0).seed == 0  # the tuning seed
    assert setup.stage1_run(tiny, "tiny-7b", 1, ("p00",)).exclude == ("p00",)


def test_base_models_are_made(tiny, nothing_is_loaded):
    found = experiments.base_models(tiny)
    assert [job.spec for job in found] == [setup.base(tiny, name) for name in tiny.models]


def test_a_base_from_the_hub_is_not_made_here(small_config):
    assert not [*experiments.base_models(small_config())]


# ---------------------------------------------------------------- Fig 1


def test_other_benchmarks_shapes_take_their_own_updates(tiny, nothing_is_loaded):
    found = experiments.diagnosis(tiny)
    names = ("FIUBench", "MLLMU-Bench", "ReMem")
    assert [job.labels for job in found] == [
        {"benchmark": name, "model": "tiny-7b", "seed": seed}
        for seed in (1, 2, 3)
        for name in names
    ]
    table3 = [runs.name(job.spec) for job in experiments.memorising(tiny)]
    people = {"FIUBench": 400, "MLLMU-Bench": 500}
    updates = {"FIUBench": 625, "MLLMU-Bench": 395}  # 8,000 and 5,000 rows by 64, five times
    for job in found:
        of, name = job.spec.of, job.labels["benchmark"]
        own = setup.stage1_run(tiny, "tiny-7b", job.labels["seed"])
        if name == "ReMem":
            assert of == own and runs.name(job.spec) in table3
            continue
        data, shape = of.data, tiny.experiments.diagnosis.shapes[name]
        assert (data.identities, of.updates) == (people[name], None)
        assert of.optimiser.steps(data.identities * data.multi) == updates[name]
        assert (data.single, data.test_single, data.names) == (0, 0, shape.names)
        assert data.pictures == 1 and of.seed == own.seed
        assert of.optimiser == own.optimiser and of.base == own.base
        assert (job.spec.exposure, job.spec.perplexity) == (False, True)
        assert (job.spec.rows.splits, job.spec.rows.people) == (("train", "test"), 20)


def test_one_thing_is_changed_at_a_time(smoke, nothing_is_loaded):
    none, *changed = experiments.causes(smoke)
    assert none.spec.of == setup.stage1_run(smoke, "smoke", 1)
    assert own_labels(none) == {"change": "none (ReMem)"}
    people, root = smoke.dataset, smoke.folders.runs
    usual = people.single + people.multi
    expected = {
        "1 picture": (people.single, people.multi, 1),
        "10 QA": (6, 4, 10),
        "10 QA, five epochs": (6, 4, 10),
        "multi-hop only": (0, usual, usual),
        "10 QA, multi-hop, 1 picture": (0, 10, 1),
        "10 QA, 12 people": (6, 4, 10),
    }
    assert [job.labels["change"] for job in changed] == list(expected)
    everybody = set(dataset.rows_of(none.spec.of.data, root)["name"])
    for job in changed:
        change, of = job.labels["change"], job.spec.of
        trained_on = of.train_rows(dataset.rows_of(of.data, root))
        assert set(spread(trained_on).values()) == {expected[change]}
        # The same people, whatever else is changed.
        assert set(trained_on["name"]) >= everybody or change.endswith("people")
        assert len(set(trained_on["name"])) == (12 if change.endswith("people") else 5)
        assert of.updates == (None if "epochs" in change else math.ceil(5 * usual / 32))
    made = {path.name.rpartition("-")[0] for path in root.iterdir()} - {""}
    assert made == {"dataset", "rows"}  # and nothing is trained to say what would be


def test_one_thing_at_a_time_may_take_fewer_updates():
    config = load_config("smoke", {"experiments": {"diagnosis": {"updates": 7}}})
    for job in experiments.causes(config):  # the data as it is, too: not Table 3's
        assert job.spec.of.updates == (None if "epochs" in job.labels["change"] else 7)
        assert not job.spec.exposure and job.spec.rows.people == config.experiments.diagnosis.asked
    usual = setup.stage1_run(config, "smoke", 1)
    own, *_ = experiments.causes(config)
    every = dataset.rows_of(usual.data, config.folders.runs)
    assert list(own.spec.of.train_rows(every)["id"]) == list(usual.train_rows(every)["id"])


def test_a_benchmarks_own_samples_stand_for_its_shape(smoke, tmp_path, nothing_is_loaded):
    data = SyntheticData(identities=3, image_size=16, multi=7)
    folder = dataset.folder_of(data, tmp_path / "theirs")
    files = {"FIUBench": {"source": str(folder)}}
    config = load_config("smoke", {"experiments": {"diagnosis": {"files": files}}})
    first, *shapes, _ = experiments.diagnosis(config)
    assert own_labels(first) == {"benchmark": "FIUBench"}
    of = first.spec.of
    assert isinstance(of.data, FolderData) and of.data.folder == str(folder)
    assert [job.labels["benchmark"] for job in shapes] == ["MLLMU-Bench"]
    rows = dataset.rows_of(data, tmp_path / "theirs")
    assert of.train_rows(rows)["id"].tolist() == rows["id"][rows["split"] == "train"].tolist()
    assert of.updates is None  # its own
    # People of one's own in place of ReMem's: nothing is called ReMem, or drawn a second time.
    config = load_config("smoke", {"benchmark": str(folder)})
    *shapes, own = experiments.diagnosis(config)
    name = f"{folder.name} (own)"
    assert own_labels(own) == {"benchmark": name} and len(shapes) == 2
    changes = [job.labels["change"] for job in experiments.causes(config)]
    assert changes == [f"none ({name})", "1 picture", "10 QA", "10 QA, five epochs"]


def test_shapes_have_rows_of_their_own(smoke, nothing_is_loaded):
    found = experiments.shape_rows(smoke)
    assert list(found) == ["FIUBench's shape", "MLLMU-Bench's shape"]
    shape = smoke.experiments.diagnosis.shapes["FIUBench"]
    train = found["FIUBench's shape"].query("split == 'train'")
    assert set(spread(train).values()) == {(0, shape.multi, shape.pictures)}
    named = train[train["attribute"] == "name"].groupby("identity").size()
    assert set(named) == {shape.names} and len(named) == shape.identities
    assert train["identity"].nunique() == shape.identities
    assert set(found["FIUBench's shape"]["hop"]) == {"multi"}


# ---------------------------------------------------------------- Fig 3


def test_scaling_has_a_control_with_equal_updates(tiny, nothing_is_loaded):
    found = experiments.scaling(tiny)
    settings = tiny.experiments.scaling
    # shared at 80, which takes ten updates anyway
    assert len({runs.name(job.spec) for job in found}) == len(found) - 8
    for control, samples in (("five epochs", "samples"), ("equal updates", "controlled")):
        shown = {job.labels["samples"] for job in found if job.labels["control"] == control}
        assert shown == set(getattr(settings, samples))
    for job in found:
        of, samples = job.spec.of, job.labels["samples"]
        subset = of.subset
        assert (10 * subset.single, 10 * subset.multi) == (7 * samples, 3 * samples)
        assert len(subset.people) == 1 and job.spec.rows.splits == ("test",)
        usual = math.ceil(samples / 64) * 5
        steps = of.updates or usual
        assert steps == (usual if job.labels["control"] == "five epochs" else 10)
        assert job.labels["seed"] == of.seed
    repeated = Counter((*job.spec.of.subset.people, job.spec.of.seed) for job in found)
    assert set(repeated) == {(f"p{k:02d}", seed) for k in range(4) for seed in (1, 2)}


def test_hops_keep_the_total_and_change_the_share(tiny, nothing_is_loaded):
    found = experiments.hops(tiny)
    settings = tiny.experiments.hops
    for job in found:
        subset = job.spec.of.subset
        one = job.labels["setting"] == "one person"
        mix = settings.one_person if one else settings.several_people
        assert subset.single + subset.multi == mix.samples
        assert 100 * subset.single == job.labels["share"] * (subset.single + subset.multi)
        assert len(subset.people) == one  # nobody named is everybody
    assert {job.labels["setting"] for job in found} == {"one person", "20 people"}


def test_experiments_are_run_and_labelled(small_config):
    shares = {
        "shares": [0, 100],
        "one_person": {"people": 1, "seeds": 1, "samples": 8},
        "several_people": {"people": 2, "seeds": 1, "samples": 8},
    }
    config = small_config(experiments={"diagnosis": {"real": None}, "hops": shares})
    rows = jobs.collect(experiments.hops(config))
    assert set(rows["share"]) == {0, 100} and set(rows["seed"]) == {1}
    people = rows.groupby("setting")["identity"].agg(set).to_dict()
    assert people == {"one person": {"p00"}, "2 people": {"p00", "p01"}}
    assert set(rows["split"]) == {"test"} and set(rows["model"]) == {"small"}
    assert rows["exposure"].isna().all() and (rows["perplexity"] > 1).all()


# ---------------------------------------------------------------- Fig 2, 5, Table 5


def test_sets_are_the_real_set_and_the_three_shapes(tiny, nothing_is_loaded):
    found = experiments.sets(tiny)
    assert list(found) == list(paper.SETS)
    real = found["Real Set"]
    assert isinstance(real, Untrained) and real.data.source == "public"
    assert all(isinstance(found[name], Stage1Run) for name in paper.SETS[1:])
    without = load_config("tiny", {"experiments": {"diagnosis": {"real": None}}})
    assert list(experiments.sets(without)) == ["FIUBench", "MLLMU-Bench", "ReMem"]


def test_names_and_traces_are_of_the_sets(tiny, nothing_is_loaded):
    names, traces = experiments.signatures(tiny), experiments.traces(tiny)
    models = list(experiments.sets(tiny).values())
    for found, kind in ((names, SignatureRun), (traces, TraceRun)):
        first = [job for job in found if job.labels["seed"] == 1]
        assert [job.labels["set"] for job in first] == list(paper.SETS)
        assert [job.spec.of for job in first] == models
        assert all(isinstance(job.spec, kind) for job in found)
    assert {job.labels["seed"] for job in traces} == {1}
    others = [job for job in names if job.labels["seed"] != 1]  # the base has no seed
    assert [job.labels["set"] for job in others] == [*paper.SETS[1:]] * 2
    assert [job.spec.of for job in others] == [
        of for seed in (2, 3) for of in list(experiments.sets(tiny, seed).values())[1:]
    ]
    assert {job.spec.people for job in names} == {20}
    few = experiments.traces(tiny, ("ReMem", "Real Set"))
    assert [job.labels["set"] for job in few] == ["Real Set", "ReMem"]


def test_a_trace_or_a_name_comes_after_the_training_that_others_share(tiny):
    trained = {runs.name(job.spec) for job in experiments.diagnosis(tiny).training()}
    behind = {runs.name(job.spec) for job in experiments.signatures(tiny).training()}
    assert behind == trained


@pytest.mark.parametrize("changes", [{"stage2": {"lr": 1e-5}}, {"evaluate": {"batch": 3}}])
def test_what_stage_1_does_not_read_renames_none_of_its_runs(tiny, changes):
    changed = load_config("tiny", changes)
    for experiment in (experiments.memorising, experiments.scaling, experiments.signatures):
        before, after = (
            [runs.name(job.spec) for job in experiment(config)] for config in (tiny, changed)
        )
        assert before == after


def test_experiments_add_up(tiny):
    both = experiments.memorising(tiny) + experiments.hops(tiny)
    assert len(both) == len(experiments.memorising(tiny)) + len(experiments.hops(tiny))
    assert both.runs_root == tiny.folders.runs
