import pytest

from remem import experiments, jobs, paper
from remem.experiments import stage2
from remem.report import controls, measured
from remem.synthetic import templates

PUBLIC = {
    "source": "public",
    "identities": 4,
    "image_size": 32,
    "single": 0,
    "multi": 10,
    "test_single": 7,
    "test_multi": 7,
}


@pytest.fixture
def config(small_config):
    """Two seeds, one of them asked, and public figures."""
    return small_config(
        seeds=[1, 2],
        stage2={"methods": ["GA"], "forget_ratio": 0.25},
        experiments={
            "diagnosis": {"real": PUBLIC},
            "controls": {"per_person": 2, "seeds": 1},
        },
    )


def test_the_models_are_table_2s_and_each_stage_1_once(config, nothing_is_loaded):
    found = list(experiments.controls(config))
    named = [(job.labels["method"], job.labels["seed"], job.spec.data is None) for job in found]
    methods = [paper.BASE, paper.BEFORE, paper.RETRAINED, "GA"]
    assert named == [(name, 1, own) for name in methods for own in (True, False)]
    models = stage2.compared(config, "small", 1)
    assert [job.spec.of for job in found[::2]] == [models[name] for name in methods]
    # of the public figures the base alone is asked in every way, and all are ranked
    real = found[1::2]
    assert [len(job.spec.pictures) for job in real] == [3, 1, 1, 1]
    assert all(job.spec.ranked for job in real) and not any(job.spec.ranked for job in found[::2])

    each = config.stage1.model_copy(update={"seeds": 2})
    each = config.model_copy(update={"stage1": each, "seeds": (2, 3, 4)})
    again = [job.labels for job in experiments.controls(each, only=[paper.BEFORE])]
    assert [labels["seed"] for labels in again] == [2, 2, 3, 3]


def test_without_public_figures_only_stage_1s_people_are_asked(small_config, nothing_is_loaded):
    config = small_config(stage2={"methods": ["GA"], "forget_ratio": 0.25})
    assert all(job.spec.data is None for job in experiments.controls(config))


def test_from_jobs_to_the_table(config):
    rows = jobs.collect(experiments.controls(config, only=[paper.BASE, paper.BEFORE]))
    forget = experiments.forget_set(config, experiments.dataset(config).rows, 1)
    assert set(rows["identity"][rows["whose"] == "forgotten"]) == set(forget)
    table = controls.table(rows)
    assert list(table["whose"]) == ["retained"] * 2 + ["forgotten"] * 2 + ["Real Set"] * 2
    assert list(table["method"]) == [paper.BASE, paper.BEFORE] * 3
    real = table[table["whose"] == "Real Set"]
    assert real["likeliest"].between(0, 100).all() and real["name_swap"].notna().tolist() == [
        True,
        False,
    ]
    assert table["likeliest"].notna().equals(table["whose"] == "Real Set")
    lines = measured.of_real_set(rows, [paper.BASE, paper.BEFORE])
    assert len(lines) == 6 and {line["met"] for line in lines} <= {"reported", "not measured"}


def test_refusals_that_the_base_has_read_are_counted(small_config):
    assert experiments.refusals_shared(small_config()) == 0
    taught = small_config(stage2={"hyperparameters": {"DPO": {"refusals": "base"}}})
    assert experiments.refusals_shared(taught) == len(templates.REFUSALS)
