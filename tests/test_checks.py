"""What can be known before hours are spent, and that all of it is told at once."""

import json
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import four_rows
import loopback
import mmbench_file
import pytest
from families import FAMILIES

from remem import checks, experiments, paths
from remem.config import load_config
from remem.data.validation import BadData
from remem.model.folder import CannotLoad
from remem.training.methods import BadMethod

EVERYTHING = set().union(*map(checks.used, paths.NOTEBOOKS.glob("*.py")))


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    """A folder of outputs of the test's own, and no key."""
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    for name in checks.client.KEYS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "outputs"


@pytest.fixture
def people(tmp_path):
    """Two people in a folder."""
    return four_rows.make(tmp_path / "people")


def faults(calls=(), scale="smoke", **overrides) -> list[str]:
    """What is in the way, line by line."""
    try:
        checks.ready(load_config(scale, overrides), calls)
    except Exception as error:
        return str(error).split("\n- ")[-str(error).count("\n- ") or 0 :]
    return []


# ---------------------------------------------------------------- which, and how they are told


def test_what_a_notebook_uses_is_read_from_its_text(tmp_path):
    assert {"unlearning", "traces", "ability", "forget_ratios", "scaling", "score"} <= EVERYTHING
    known = {name for name in dir(experiments) if callable(getattr(experiments, name))}
    assert known | {checks.JUDGE} >= EVERYTHING
    assert known >= checks.ROWS | checks.SETS | {"memorising", "curves", "ability"}
    assert "ability" in checks.used(paths.NOTEBOOKS / "06_stage1.py")
    assert checks.used(paths.NOTEBOOKS / "09_scorecard.py") == set()
    assert checks.used(paths.NOTEBOOKS / "not_there.py") == set()
    (tmp_path / "mine.py").write_text(
        "rows = remem.experiments.unlearning(config)\nask = experiments.ability\n"
        "floor = config.experiments.trace.floor\nremem.judge.score(rows); judge.enclosed()"
    )
    assert checks.used(tmp_path / "mine.py") == {"unlearning", "ability", "score"}


@pytest.mark.parametrize("scale", ["smoke", "quick", "tiny"])
def test_nothing_is_in_the_way_of_a_scale_and_nothing_is_drawn_or_loaded(scale, outputs):
    code = (
        "import sys, remem; from remem import checks\n"
        f"assert checks.ready(remem.load_config({scale!r}), {EVERYTHING}) == []\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT).returncode == 0
    assert not outputs.exists()


def test_all_that_is_in_the_way_is_told_at_once(people, tmp_path):
    overrides = {
        "benchmark": str(people),
        "stage2": {"hyperparameters": {"NPO": {"gamma": 1.0}}, "forget_set": ["Anika", "Bo"]},
        "models": ["mine"],
        "base.networks.mine": {"hub": str(tmp_path)},
        "experiments": {"ability": {"source": "nowhere.tsv"}},
    }
    with pytest.raises(checks.CannotStart) as error:
        checks.ready(load_config("smoke", overrides), EVERYTHING)
    first, *told = str(error.value).split("\n- ")
    assert first == "4 things are in the way:"
    assert [
        any(word in line for line in told) for word in ("gamma", "Bo", "nowhere.tsv", "config.json")
    ]
    assert len(told) == 4


def test_one_thing_is_told_as_what_it_is(people):
    with pytest.raises(BadMethod, match=r"^stage2.hyperparameters.SGA: 'SGA' is none of GA"):
        checks.ready(load_config("tiny", {"stage2.hyperparameters.SGA.beta": 1.0}), [])
    both = {"benchmark": str(people), "stage2.forget_set": ["Bo"]}
    with pytest.raises(BadData, match=r"^no identity in the dataset is called 'Bo'"):
        checks.ready(load_config("smoke", both), [])


def test_what_a_call_does_not_need_is_not_asked_for():
    assert faults(["unlearning"], **{"experiments.ability.source": "nowhere.tsv"}) == []
    assert faults(["dataset"], scale="paper") == []


# ---------------------------------------------------------------- people


def test_a_single_person_is_told_before_anything_is_traced(people):
    for split in ("train", "test"):
        file = people / split / "metadata.jsonl"
        file.write_text(file.read_text().splitlines()[0] + "\n")
    assert faults(benchmark=str(people)) == [
        "people (own): a single person, so that no one would be left to retain; "
        "add people to the split train"
    ]
    files = {"FIUBench": {"source": str(people)}}
    [told] = faults(["traces"], **{"experiments.diagnosis.files": files})
    assert told.startswith("experiments.diagnosis.files.FIUBench: a single person")
    real = {"experiments.diagnosis.real": {"source": "nowhere"}}
    [told] = faults(["signatures"], **real)
    assert told.startswith(
        "experiments.diagnosis.real: dataset source 'nowhere': there is no such folder"
    )
    assert faults(["unlearning"], **real) == []


@pytest.mark.parametrize(
    ("calls", "overrides", "told"),
    [
        ([], {"stage2.forget_set": ["p00", "Bo"]}, "no identity in the dataset is called 'Bo'"),
        ([], {"stage2.forget_set": "forget5"}, "the data has no forget set 'forget5'"),
        ([], {"stage2.forget_ratio": 0.99}, "leaves no one to forget or no one to retain"),
        (
            ["forget_ratios"],
            {"experiments.ratios.first": {"shares": [0.2, 0.95], "draws": [1, 1]}},
            "forget ratio 0.95 of 5 people who were trained on leaves no one",
        ),
        ([], {"benchmark": "nowhere"}, "there is no such folder"),
        ([], {"dataset.single": 400}, "dataset: 58 single-hop questions about the email"),
        ([], {"dataset.test_multi": 400}, "dataset: 57 multi-hop questions about the name"),
        (["scaling"], {"experiments.scaling.samples": [10, 999]}, "experiments.scaling: 100 "),
        (["hops"], {"experiments.hops.one_person.samples": 999}, "experiments.hops.one_person: "),
        (
            ["traces"],
            {"experiments.diagnosis.shapes.FIUBench.multi": 999},
            "experiments.diagnosis.shapes.FIUBench: ",
        ),
        (["sets"], {"experiments.diagnosis.real.identities": 99}, "experiments.diagnosis.real: "),
        (
            ["causes"],
            {"experiments.diagnosis.questions_per_person": 25},
            "questions_per_person is 25, and the dataset has 14 + 10 questions about a person",
        ),
    ],
)
def test_people_that_cannot_be_had_are_told_without_drawing_one(calls, overrides, told, outputs):
    [fault] = faults(calls, **overrides)
    assert told in fault
    assert not outputs.exists()
    others = {key: value for key, value in overrides.items() if key.startswith("experiments")}
    assert faults([], **others) == []


def test_2560_samples_are_looked_at_within_five_seconds(tmp_path):
    folder = tmp_path / "many"
    for split, each in (("train", 100), ("test", 28)):
        (folder / split).mkdir(parents=True)
        lines = []
        for number in range(20 * each):
            who, name = number % 20, f"Ann Lee{number % 20}"
            picture = f"{number}.png"
            mmbench_file.Image.new("RGB", (64, 64), (who, number % 256, number // 256)).save(
                folder / split / picture
            )
            lines.append(
                {
                    "file_name": picture,
                    "id": f"{split}-{number}",
                    "identity": f"p{who}",
                    "name": name,
                    "attribute": "job",
                    "hop": "single",
                    "split": split,
                    "question": f"What is the job of {name}, {split} {number}?",
                    "answer": f"The job is judge{who}.",
                    "target": f"judge{who}",
                }
            )
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / split / "metadata.jsonl").write_text(text)
    config = load_config("tiny", {"benchmark": str(folder), "stage2.forget_set": ["p3", "Bo"]})
    started = time.process_time()
    with pytest.raises(BadData, match="called 'Bo'"):
        checks.ready(config, EVERYTHING)
    assert time.process_time() - started < 5


# ---------------------------------------------------------------- questions, networks, machine


def test_questions_that_cannot_be_asked_are_told(tsv):
    rows = [mmbench_file.row("1"), mmbench_file.row("2", question="<image>\nWhat?")]
    rows.append(mmbench_file.row("3", hint="See <image>."))
    source = "experiments.ability.source"
    [told] = checks.ready(load_config("smoke", {source: str(tsv(*rows))}), ["ability"])
    assert "2 rows left out, 1 asked: 1 x question holds <image>" in told and "(index 3)" in told
    [none] = faults(["ability"], **{source: str(tsv(*rows[1:]))})
    assert "2 rows left out, 0 asked" in none
    assert checks.ready(load_config("smoke", {source: str(tsv(rows[0]))}), ["ability"]) == []


def test_a_network_is_looked_at_and_not_loaded(small, tmp_path, monkeypatch):
    def load(where):
        network = {"hub": str(where), "dtype": "float32"}
        overrides = {"models": ["mine"], "base.networks.mine": network}
        return faults(["unlearning"], **overrides)

    monkeypatch.setattr("remem.model.loading.load", None)
    assert load(small.base) == []
    copy = shutil.copytree(small.base, tmp_path / "llava")
    (copy / "chat_template.jinja").unlink()
    [told] = load(copy)
    assert told.startswith(f"{copy}: it has no chat template")
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=9))
    assert len(load(copy)) == 2
    with pytest.raises(CannotLoad, match=r"weights are not on this machine"):
        config = {"models": ["llava-1.5-7b"], "experiments.ability.source": "synthetic"}
        checks.ready(load_config("paper", config), ["ability"])


def test_what_scale_small_asks_for_is_checked(tmp_path, monkeypatch):
    """With networks of the same kinds in the places of those of the Hub."""
    config = load_config("small")
    with pytest.raises(CannotLoad, match=r"SmolVLM-500M-Instruct: its weights are not on this"):
        checks.ready(config, EVERYTHING)
    kinds = {"smolvlm-500m": "idefics3", "qwen-vl-3b": "qwen2.5-vl"}
    kinds |= {"llava-1.5-4bit-7b": "llava-clip-default"}
    assert kinds.keys() == config.base.networks.keys()
    places = {name: str(FAMILIES[kind](tmp_path / name)) for name, kind in kinds.items()}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())  # bitsandbytes, too
    networks = {name: {"hub": place, "features": "stored"} for name, place in places.items()}
    config = load_config("small", {"models": [*kinds], "base": {"networks": networks}})
    told = checks.ready(config, EVERYTHING)
    assert all("judge" in line or "GOOGLE" in line for line in told)


def test_too_little_room_on_the_disk_is_told(monkeypatch, outputs):
    def with_free(gigabytes, calls=("curves",)):
        usage = SimpleNamespace(free=gigabytes * 2**30)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
        return faults(calls, scale="tiny")

    assert with_free(5) == []
    [told] = with_free(0.05)
    assert (
        "0.1 GiB are free there" in told and "of tiny-7b, tiny-13b image features of 2,560" in told
    )
    assert "REMEM_OUTPUTS" in told
    assert with_free(0.05, ["unlearning"]) == []  # it may be about one model, and one seed
    [told] = with_free(0.01, ["memorising"])
    assert "features of 2,560 pictures take 0.0 GiB at the least" in told
    runs = outputs / "tiny" / "runs" / "stage1-1"
    runs.mkdir(parents=True)
    with (runs / "adapter").open("wb") as file:  # what is there already needs no room
        file.truncate(5 * 2**30)
    assert with_free(0.05) == []
    walked = [(str(runs), [], ["renamed by another process", "adapter"])]
    monkeypatch.setattr(os, "walk", lambda folder: walked)
    assert with_free(0.05) == []


def test_without_a_key_the_rule_judges_which_is_said(monkeypatch):
    config = load_config("smoke", {"judge.model": "grader"})
    assert checks.ready(config, ["score"]) == [
        "judge.model is grader, but GOOGLE_API_KEY or GEMINI_API_KEY is not set: the rule judges"
    ]
    assert checks.ready(config, ["unlearning"]) == []
    with loopback.serving(monkeypatch, "a-key", lambda request: None) as server:
        assert checks.ready(config, ["score"]) == []
        server.model = lambda name: loopback.error(404, "NOT_FOUND")
        [note] = checks.ready(config, ["score"])
        assert "no model 'grader'; change judge.model" in note
        server.model = lambda name: loopback.error(403, "PERMISSION_DENIED")
        [told] = faults(["score"], **{"judge.model": "grader"})
        assert "the key in GEMINI_API_KEY is not accepted" in told
        assert told.endswith("or set judge.model to null to have the rule judge")


def test_scores_that_are_there_need_no_key_nor_the_right_one(monkeypatch):
    config = load_config("smoke", {"judge.model": "grader"})
    line = {"key": "k", "section": "judge", "kind": "text", "outcome": "accepted", "dollars": 0.0}
    of_others = ({"section": "construction"}, {"model": "another"}, {"outcome": "refused"})
    for more in ({"model": "grader", **other} for other in of_others):
        paths.write(config.account.folder / "calls.jsonl", json.dumps(line | more))
        assert "is not set: the rule judges" in checks.ready(config, ["score"])[0]
    paths.write(config.account.folder / "calls.jsonl", json.dumps(line | {"model": "grader"}))
    known = "its scores that are there need no key, others would be missing"
    assert checks.ready(config, ["score"])[0].endswith(f"is not set: {known}")
    with loopback.serving(monkeypatch, "a-key", lambda request: None) as server:
        server.model = lambda name: loopback.error(403, "PERMISSION_DENIED")
        [note] = checks.ready(config, ["score"])
        assert "the key in GEMINI_API_KEY is not accepted" in note and note.endswith(known)


# ---------------------------------------------------------------- what the rest can do without


def test_table_4_is_left_out_where_its_file_is_missing_and_the_rest_is_ready(tmp_path, tsv):
    missing = load_config("smoke", {"experiments.ability.source": str(tmp_path / "none.tsv")})
    changed, [said] = checks.left_out(missing, EVERYTHING)
    assert changed == {"experiments.ability.source": None}
    assert said.startswith("Table 4 is left out: experiments.ability.source: ")
    assert "none.tsv" in said
    without = load_config("smoke", changed)
    assert checks.ready(without, EVERYTHING) == [] and len(experiments.ability(without)) == 0
    file = str(tsv(mmbench_file.row("1")))
    there = load_config("smoke", {"experiments.ability.source": file})
    for config, calls in ((there, EVERYTHING), (missing, ["unlearning"]), (without, EVERYTHING)):
        assert checks.left_out(config, calls) == ({}, [])


def test_a_network_that_cannot_be_loaded_is_left_out_where_another_one_can(small):
    networks = {
        "base.networks.mine": {"hub": str(small.base), "dtype": "float32"},
        "base.networks.other": {"hub": "no/where", "commit": "a" * 40},
    }
    config = load_config("smoke", {**networks, "models": ["other", "mine"]})
    changed, [said] = checks.left_out(config, EVERYTHING)
    assert changed == {"models": ["mine"]}
    assert said.startswith(f"other is left out: no/where@{'a' * 40}: its weights are not on this")
    assert checks.ready(load_config("smoke", networks | changed), EVERYTHING) == []
    assert checks.left_out(config, ["dataset"]) == ({}, [])  # which needs none
    alone = load_config("smoke", {**networks, "models": ["other"]})
    assert checks.left_out(alone, EVERYTHING) == ({}, [])  # there would be nothing left: `ready`
    with pytest.raises(CannotLoad, match="weights are not on this machine"):
        checks.ready(alone, EVERYTHING)
