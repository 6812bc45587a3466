"""Table 2's grid, its checks and its controls."""

import pandas as pd
import pytest

from remem import checks, experiments, jobs, paper, runs
from remem.config import load_config
from remem.data import chosen, splits
from remem.data.dataset import rows_of
from remem.evaluation.answers import EvalRows
from remem.evaluation.curves import CurveRun
from remem.experiments import setup, stage2
from remem.training.methods import GA, KL, METHODS, NPO, BadMethod, Method
from remem.training.stage1 import Stage1Run, Untrained
from remem.training.stage2 import Stage2Run


class Scaled(Method):
    """A method of one's own."""

    factor: float = 0.5

    def loss(self, scores):
        """Less than GA's."""
        return -self.factor * scores("forget").ce()


@pytest.fixture
def twenty(tiny, monkeypatch):
    """tiny, with rows of its twenty people that nobody had to draw."""
    rows = pd.DataFrame(
        [(f"p{k:02d}", "train") for k in range(20) for _ in range(100)],
        columns=["identity", "split"],
    )
    given = chosen.Dataset(rows, chosen.data_of(tiny), None)
    monkeypatch.setattr(chosen, "dataset", lambda config: given)
    return tiny


# ---------------------------------------------------------------- the grid


def test_the_grid_of_table_2_has_ceiling_methods_and_floor(outputs, nothing_is_loaded):
    config = load_config("smoke", {"seeds": [1, 2]})
    found = experiments.unlearning(config)
    people = rows_of(chosen.data_of(config), config.folders.runs)
    order = ["base", paper.BEFORE, paper.RETRAINED, *paper.METHODS]
    others = ["KL, all positions", "DPO, the base's refusals"]
    for seed in (1, 2):
        mine = {job.labels["method"]: job for job in found if job.labels["seed"] == seed}
        assert list(mine) == order + (others if seed == 1 else [])
        forget = splits.forget_set(people, 0.2, seed)
        for name, job in mine.items():
            assert job.labels == {
                "model": "smoke",
                "method": name,
                "seed": seed,
                "stage1_seed": 1,
            }
            views = splits.evaluated(people, forget)
            everything = name in ("base", paper.BEFORE)
            assert job.spec.rows == (EvalRows() if everything else EvalRows(forget=forget))
            pd.testing.assert_frame_equal(job.select(job.spec.rows.of(people)), views)
        of = {name: job.spec.of for name, job in mine.items()}
        assert isinstance(of["base"], Untrained) and isinstance(of[paper.BEFORE], Stage1Run)
        assert of[paper.RETRAINED] == of[paper.BEFORE].model_copy(update={"exclude": forget})
        for name in paper.METHODS:
            assert isinstance(of[name], Stage2Run) and of[name].method == METHODS[name]()
            assert of[name].start == of[paper.BEFORE] and of[name].seed == seed
            assert of[name].forget == forget
            assert of[name].checkpoints == (seed == 1)  # where the curves want them
            assert of[name].optimiser == config.stage2.optimiser
    kl, dpo = (job.spec.of.method for job in found if job.labels["method"] in others)
    assert (of["KL"].method.positions, kl.positions) == ("answer", "all")
    assert (of["DPO"].method.refusals, dpo.refusals) == ("unseen", "base")
    made = {path.name.rpartition("-")[0] for path in config.folders.runs.iterdir()} - {""}
    assert made == {"dataset", "rows"}  # nothing is trained to say what would be


def test_what_is_asked_for_table_3_serves_table_2(twenty):
    table3 = {runs.name(job.spec) for job in experiments.memorising(twenty)}
    both = {"base", paper.BEFORE}
    table2 = {
        runs.name(job.spec)
        for job in experiments.unlearning(twenty)
        if job.labels["method"] in both
    }
    assert table2 == table3


def test_models_and_seeds_may_be_few(twenty):
    found = experiments.unlearning(twenty, models=["tiny-13b"], seeds=[2])
    assert {(job.labels["model"], job.labels["seed"]) for job in found} == {("tiny-13b", 2)}
    assert len(found) == 8
    assert {runs.name(job.spec) for job in found} <= {
        runs.name(job.spec) for job in experiments.unlearning(twenty)
    }


def test_methods_of_ones_own_stand_beside_the_five(twenty, nothing_is_loaded):
    given = [Scaled(), Scaled(factor=2.0), "NPO", KL(positions="all")]
    found = experiments.unlearning(twenty, methods=given, models=["tiny-7b"], seeds=[1])
    names = [job.labels["method"] for job in found]
    assert names[3:] == ["Scaled", "Scaled (factor=2.0)", "NPO", "KL"]
    methods = [job.spec.of.method for job in found.jobs[3:]]
    assert methods == [Scaled(), Scaled(factor=2.0), NPO(), KL(positions="all")]
    assert len({runs.name(job.spec) for job in found}) == 7
    usual = experiments.unlearning(twenty, models=["tiny-7b"], seeds=[1])
    assert {runs.name(job.spec) for job in found.jobs[:3]} <= {runs.name(job.spec) for job in usual}
    none = experiments.unlearning(twenty, methods=[], models=["tiny-7b"], seeds=[1])
    assert [job.labels["method"] for job in none] == names[:3]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["NPO", "NPO"], "the method NPO stands twice"),
        ([Scaled(), Scaled(factor=0.5)], "the method Scaled stands twice"),
        (["SGA"], "'SGA' is none of GA, GD, KL, DPO, NPO"),
        ([Scaled], "Scaled.* is no method: give its name, or an instance of a Method"),
        ([lambda scores: 0], "is no method: give its name, or an instance"),
    ],
)
def test_what_is_no_method_is_told_before_anything_is_made(twenty, given, reason):
    with pytest.raises(BadMethod, match=reason):
        experiments.unlearning(twenty, methods=given)
    assert not list(twenty.folders.runs.parent.glob("runs/stage*"))


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        ({"SGA": {"beta": 1.0}}, "stage2.hyperparameters.SGA: 'SGA' is none of GA, GD, KL"),
        ({"NPO": {"betta": 1.0}}, r"hyperparameters.NPO.betta: NPO has no such .* it has beta"),
        ({"NPO": {"beta": "big"}}, r"stage2.hyperparameters.NPO.beta is 'big'"),
        ({"KL": {"positions": "some"}}, r"KL.positions is 'some'; it should be one of answer, all"),
    ],
)
def test_hyper_parameters_that_no_method_has_are_told(outputs, hyperparameters, reason):
    config = load_config("tiny", {"stage2": {"hyperparameters": hyperparameters}})
    with pytest.raises(BadMethod, match=reason):
        checks.ready(config, [])
    assert not outputs.exists()  # before anything is drawn


def test_a_beta_renames_its_own_methods_runs_and_no_others(twenty):
    changed = load_config("tiny", {"stage2": {"hyperparameters": {"NPO": {"beta": 0.5}}}})
    before, after = (
        {
            job.labels["method"]: runs.name(job.spec)
            for job in experiments.unlearning(config, models=["tiny-7b"], seeds=[1])
        }
        for config in (twenty, changed)
    )
    assert {name for name in before if before[name] != after[name]} == {"NPO"}
    job = next(j for j in experiments.unlearning(changed) if j.labels["method"] == "NPO")
    assert job.spec.of.method == NPO(beta=0.5)


def test_what_is_only_asked_otherwise_renames_no_training(twenty):
    changed = load_config(
        "tiny",
        {
            "evaluate": {
                "max_new_tokens": 3,
                "batch": 7,
                "exposure": False,
                "prefix_template": "alternative",
            },
            "stage1": {"micro_batch": 3},
            "stage2": {"micro_batch": 5, "checkpointing": True},
        },
    )
    before, after = (
        {runs.name(job.spec) for job in experiments.unlearning(config).training()}
        for config in (twenty, changed)
    )
    assert before == after and len(before) > 30


def test_the_models_behind_table_2(twenty):
    found = stage2.compared(twenty, "tiny-13b", 2)
    assert list(found) == ["base", paper.BEFORE, paper.RETRAINED, *paper.METHODS]
    assert list(stage2.compared(twenty, "tiny-13b", 2, [Scaled()]))[3:] == ["Scaled"]


# ---------------------------------------------------------------- beside it


def test_a_curve_for_each_method_model_and_seed(twenty, nothing_is_loaded):
    found = experiments.curves(twenty)
    assert {job.labels["seed"] for job in found} == {1}
    assert len(found) == 2 * 5 and all(isinstance(job.spec, CurveRun) for job in found)
    trained = {runs.name(job.spec) for job in experiments.unlearning(twenty).training()}
    assert {runs.name(job.spec.of) for job in found} <= trained
    own = experiments.curves(twenty, methods=[Scaled()])
    assert {job.labels["method"] for job in own} == {"Scaled"}


def test_prefixes_rank_the_forgotten_before_unlearning(twenty, nothing_is_loaded):
    plain, other = experiments.exposure_prefixes(twenty)
    assert [job.labels["prefix_template"] for job in (plain, other)] == ["plain", "alternative"]
    assert plain.spec.of == other.spec.of == setup.stage1_run(twenty, "tiny-7b", 1)
    assert plain.spec.rows.views == ("forget",) and plain.spec.max_new_tokens == 0


def test_sensitivity_makes_what_table_2_has_not(twenty, nothing_is_loaded):
    found = experiments.sensitivity(twenty)
    labels = [(j.labels["varied"], j.labels["setting"], j.labels["method"]) for j in found]
    betas = [("beta", beta) for beta in ("0.05", "0.1", "0.5")]
    dpo = [*betas, ("refusals", "unseen"), ("refusals", "base")]
    assert labels == [(*each, "DPO") for each in dpo] + [(*each, "NPO") for each in betas]
    assert {(j.labels["model"], j.labels["seed"]) for j in found} == {("tiny-7b", 1)}
    table2 = {runs.name(job.spec) for job in experiments.unlearning(twenty)}
    new = [job for job in found if runs.name(job.spec) not in table2]
    assert [job.labels["setting"] for job in new] == ["0.05", "0.5", "0.05", "0.5"]
    assert {job.spec.rows.views for job in new} == {("forget", "retain_eval")}


def test_sensitivity_takes_the_betas_of_the_configuration(twenty, nothing_is_loaded):
    config = load_config("tiny", {"experiments": {"sensitivity": {"betas": [0.3]}}})
    asked = [j.labels["setting"] for j in experiments.sensitivity(config)]
    assert asked == ["0.1", "0.3", "unseen", "base", "0.1", "0.3"]


def test_ratios_share_table_2s_run_and_have_a_control_with_equal_updates(twenty, nothing_is_loaded):
    found = experiments.forget_ratios(twenty)
    table2 = {runs.name(job.spec) for job in experiments.unlearning(twenty)}
    forgotten, folds = {}, {seed: set() for seed in twenty.seeds}
    for job in found:
        labels, of = job.labels, job.spec.of
        forget = job.select.keywords["forget"]
        kind = labels["model"], labels["control"], labels["ratio"]
        forgotten.setdefault(kind, set()).update((labels["seed"], name) for name in forget)
        if labels["ratio"] == 20:
            folds[labels["seed"]] |= set(forget)
        assert len(forget) == labels["ratio"] * 20 / 100
        assert labels["stage1_seed"] == twenty.stage1_seed(labels["seed"])
        if labels["method"] == paper.BEFORE:
            assert of == setup.stage1_run(twenty, labels["model"], labels["seed"])
            assert job.spec.rows == EvalRows()  # as Table 3 asks it
        else:
            assert of.forget == forget == job.spec.rows.forget
            own = ("forget", "retain_eval", "test_forget")  # and no more is asked
            assert job.spec.rows.views == (() if labels["ratio"] == 20 else own)
            assert of.checkpoints == (labels["ratio"] == 20 and labels["seed"] == 1)
            assert (runs.name(job.spec) in table2) == (labels["ratio"] == 20)
            steps = of.updates or -(-100 * len(forget) // 64) * 5
            equal = labels["control"] == paper.UPDATES or labels["ratio"] == 20
            assert steps == (35 if equal else {5: 10, 10: 20, 15: 25}[labels["ratio"]])
    # Everybody is forgotten once at 20 %, ten people at 5 %: each as one of that seed's fold.
    people = {kind: sorted(name for _, name in who) for kind, who in forgotten.items()}
    assert all(len(set(names)) == len(names) for names in people.values())
    epochs = {ratio: len(people["tiny-7b", paper.EPOCHS, ratio]) for ratio in (5, 10, 15, 20)}
    assert epochs == {5: 10, 10: 6, 15: 9, 20: 20}
    assert all(name in folds[seed] for who in forgotten.values() for seed, name in who)
    others = {kind[1:]: len(names) for kind, names in people.items() if kind[0] == "tiny-13b"}
    assert others == {(paper.EPOCHS, 5): 3, (paper.EPOCHS, 20): 20}
    assert len(people["tiny-7b", paper.UPDATES, 5]) == 3


# ---------------------------------------------------------------- run


def test_table_2_is_run_and_collected_with_its_labels(small_config):
    config = small_config(stage2={"methods": ["GA"], "forget_ratio": 0.25})
    rows = jobs.collect(experiments.unlearning(config, methods=["GA", Scaled(factor=1.0)]))
    assert list(dict.fromkeys(rows["method"])) == [
        "base",
        paper.BEFORE,
        paper.RETRAINED,
        "GA",
        "Scaled",
    ]
    views = {"forget", "retain_eval", "test_forget", "test_retain"}
    assert all(set(part["view"]) == views for _, part in rows.groupby("method"))
    sizes = rows.groupby(["method", "view"]).size().unstack()
    assert (sizes.nunique() == 1).all()
    assert rows.loc[rows["view"] == "forget", "exposure"].notna().all()
    # The same loss under another name says the same.
    ga, scaled = (
        rows[rows["method"] == name]["answer_given"].tolist() for name in ("GA", "Scaled")
    )
    assert ga == scaled != rows[rows["method"] == "base"]["answer_given"].tolist()

    history = jobs.collect(experiments.unlearning(config, methods=["GA"]).training())
    assert set(history["method"]) == {paper.BEFORE, paper.RETRAINED, "GA"}
    prefixes = jobs.collect(experiments.exposure_prefixes(config))
    assert set(prefixes["prefix_template"]) == {"plain", "alternative"}
    assert prefixes["exposure"].notna().all() and set(prefixes["view"]) == {"forget"}
    curve = jobs.collect(experiments.curves(config))
    assert set(curve["epoch"]) == {0, 1} and set(curve["method"]) == {GA().name}
