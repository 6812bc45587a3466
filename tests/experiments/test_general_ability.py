import numpy as np
import pandas as pd
import pytest

from remem import experiments, jobs, paper
from remem.config import load_config
from remem.data.validation import BadData
from remem.experiments import stage2
from remem.report import measured


@pytest.fixture
def four(small_config):
    """The small config, with a few questions and one method."""
    ability = {"questions": 4, "generated": 3, "max_new_tokens": 6, "batch": 40}
    return small_config(
        stage2={"methods": ["GA", "KL"], "forget_ratio": 0.25},
        experiments={"diagnosis": {"real": None}, "ability": ability},
    )


def test_table_4_is_table_2s_first_seed_without_its_check(four, nothing_is_loaded):
    found = experiments.ability(four)
    names = ["base", paper.BEFORE, paper.RETRAINED, "GA", "KL"]
    assert [job.labels for job in found] == [
        {"model": "small", "method": name, "seed": 1} for name in names
    ]
    models = stage2.compared(four, "small", 1)
    assert "KL, all positions" in models
    assert [job.spec.of for job in found] == [models[name] for name in names]
    section = four.experiments.ability
    assert {job.spec.max_new_tokens for job in found} == {section.max_new_tokens}
    assert len({job.spec.questions for job in found}) == 1
    some = experiments.ability(four, only=[paper.BASE, paper.BEFORE])
    assert list(some) == list(found)[:2]


def test_scores_have_chance_beside_them(four):
    found = experiments.ability(four, methods=[])
    chosen = jobs.collect(found)
    table = experiments.ability_scores(chosen)
    assert list(table["method"].unique()) == ["base", paper.BEFORE, paper.RETRAINED, paper.CHANCE]
    assert table.groupby("method").size().eq(4).all()
    chance = table[table["method"] == paper.CHANCE]
    assert chance["plain"].between(0.2, 0.5).all()
    assert (chance["circular"] < chance["plain"])[chance["circular"].notna()].all()
    assert set(table["model"]) == {"small"} and set(table["seed"]) == {1}


def test_scores_by_hand():
    rows = [
        ("m", "GA", 1, index, "colour", turn, ["a", "b"], right, np.nan if turn else 1.0)
        for index, rights in enumerate([(1, 1), (1, 0)])
        for turn, right in enumerate(rights)
    ]
    columns = ["model", "method", "seed", "index", "category", "rotation", "options", "right"]
    rows = pd.DataFrame(rows, columns=[*columns, "right_likeliest"])
    table = experiments.ability_scores(rows.assign(questions="drawn questions"))
    assert set(table["questions"]) == {"drawn questions"}
    ga, chance = (table[table["method"] == name] for name in ("GA", "chance"))
    assert ga["plain"].tolist() == ga["generated"].tolist() == [1, 1]
    assert ga["circular"].tolist() == [1, 0]
    assert chance["plain"].tolist() == [0.5, 0.5] and chance["circular"].tolist() == [0.25, 0.25]


def test_questions_that_are_not_there_are_told(outputs, tmp_path):
    source = str(tmp_path / "mmbench.tsv")
    config = load_config("smoke", {"experiments": {"ability": {"source": source}}})
    with pytest.raises(BadData, match=r"mmbench.tsv"):
        experiments.ability(config)


def test_where_no_questions_are_named_nobody_is_asked():
    config = load_config("smoke", {"experiments.ability.source": None})
    jobs_of_it = experiments.ability(config)
    assert len(jobs_of_it) == 0
    scores = experiments.ability_scores(jobs.collect(jobs_of_it))
    assert scores.empty and {"model", "method", "seed", "identity", "plain"} <= {*scores}
    assert measured.of_ability(scores, [paper.BEFORE]) == []
