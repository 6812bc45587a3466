"""preflight.counts: what is counted is what the run then takes."""

import pandas as pd
import pytest

from remem import runs
from remem.data import dataset, splits
from remem.evaluation.answers import AnswerRun, EvalRows
from remem.evaluation.controls import ControlRun
from remem.evaluation.signatures import SignatureRun
from remem.preflight.counts import Counter, shape
from remem.training.inputs import FeaturesRun
from remem.training.loop import Examples
from remem.training.methods import NPO
from remem.training.stage2 import Stage2Run


@pytest.fixture
def count(small):
    return Counter(small.runs).work


class Unknown(runs.Run):
    kind = "unknown"


def test_a_stage_1_takes_the_steps_tokens_and_bytes_that_are_counted(small, count, llava, features):
    work = count(small.stage1)
    folder = runs.get_or_create(small.stage1, small.runs)
    history = small.stage1.read(folder)
    rows = small.stage1.train_rows(small.rows)
    assert (work.part, work.steps, work.rows) == ("stage 1", len(history), len(rows))
    written = (folder / "adapter" / "adapter_model.safetensors").stat().st_size
    assert 0 <= written - work.disk < 8000  # the head of the file
    tokens = Examples(llava, rows, features).lengths.sum()
    assert abs(work.trained / tokens - 1) < 0.15
    more = small.optimiser.model_copy(update={"epochs": 3})
    thrice = count(small.stage1.model_copy(update={"optimiser": more}))
    assert (thrice.steps, thrice.rows) == (3 * work.steps, 3 * work.rows)
    few = count(small.stage1.model_copy(update={"updates": 2}))
    assert few.steps == 2 and few.rows == round(len(rows) * 2 / work.steps)
    assert work.memory > few.disk and thrice.memory == work.memory


def test_checkpointing_and_a_smaller_micro_batch_take_less_memory(small, count):
    def memory(**changes):
        optimiser = small.optimiser.model_copy(update=changes)
        return count(small.stage1.model_copy(update={"optimiser": optimiser})).memory

    assert memory(checkpointing=True) < memory()
    assert memory(micro_batch=4) < memory(micro_batch=8) < memory()


def test_answers_are_counted_as_they_are_given(small, count):
    forget = ("p01",)
    run = AnswerRun(of=small.stage1, rows=EvalRows(forget=forget), max_new_tokens=6, batch=40)
    work = count(run)
    given = pd.read_parquet(runs.get_or_create(run, small.runs) / "answers.parquet")
    assert (work.answers, work.ranked) == (len(given), given["candidate_rank"].notna().sum())
    assert work.ranked > 0 and work.compared > work.ranked * shape(small.base_run).patches
    silent = count(run.model_copy(update={"max_new_tokens": 0}))
    assert silent.answers == 0 and silent.ranked == work.ranked
    plain = count(run.model_copy(update={"exposure": False}))
    assert plain.ranked == 0 and plain.compared == 0
    controls = ControlRun(of=small.stage1, per_person=2, max_new_tokens=6, batch=40)
    found = controls.read(runs.get_or_create(controls, small.runs))
    assert count(controls).answers == len(found)


def test_an_unlearning_is_counted_by_its_forget_rows(small, count):
    run = Stage2Run(
        start=small.stage1,
        method=NPO(),
        forget=("p01", "p02"),
        optimiser=small.optimiser.model_copy(update={"epochs": 2}),
        checkpoints=True,
        seed=1,
    )
    work = count(run)
    forget = splits.views(small.rows, run.forget)["forget"]
    assert (work.part, work.rows) == ("stage 2, NPO", 2 * len(forget))
    assert work.disk == 2 * count(small.stage1).disk  # an adapter after each epoch
    curve = count(small.stage1)
    assert work.memory > curve.memory * 0.5


def test_pictures_and_what_is_not_known(small, count):
    features = count(FeaturesRun(base=small.base_run, data=small.data))
    assert features.pictures == small.rows["image"].nunique()
    folder = runs.get_or_create(FeaturesRun(base=small.base_run, data=small.data), small.runs)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert 0 <= size - features.disk < 8000
    drawn = count(small.data)
    assert drawn.drawn == features.pictures and drawn.pixels == 32
    names = count(SignatureRun(of=small.stage1, people=2, batch=8))
    assert names.read > 0 and names.answers == 0
    assert not count(Unknown()).told and features.told


def test_data_that_is_not_drawn_yet_is_counted_without_drawing_it(small, tmp_path):
    other = small.data.model_copy(update={"seed": 5})
    work = Counter(tmp_path).work(small.stage1.model_copy(update={"data": other}))
    assert work.rows == 4 * 17 and not [*tmp_path.iterdir()]
    rows = dataset.planned(small.data, tmp_path)
    pd.testing.assert_frame_equal(rows.reset_index(drop=True), small.rows.reset_index(drop=True))
