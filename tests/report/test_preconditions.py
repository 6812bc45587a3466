import numpy as np
import pandas as pd
import pytest

from remem.report import preconditions
from remem.report.preconditions import Measured, aims, line


def test_aims_have_an_order_and_a_reason():
    found = list(aims().values())
    numbers = [aim.precondition for aim in found]
    assert numbers == sorted(numbers) and set(numbers) == {f"P{k}" for k in range(1, 10)}
    assert all(len(aim.reason) > 5 for aim in found)
    assert all(not aim.gates for aim in found if aim.words == "none" and aim.precondition != "P8")


@pytest.mark.parametrize(
    "key, value, met",
    [
        ("name-swap", 90.0, "yes"),
        ("name-swap", 89.9, "no"),
        ("one-shot", 79.9, "no"),
        ("one-shot", 80.0, "yes"),
        ("one-shot", 90.1, "no"),
        ("refusals", 33.3, "yes"),
        ("refusals", 40.0, "no"),
        ("ability", -5.0, "yes"),
        ("ability", -5.1, "no"),
        ("hops", 0.0, "no"),
        ("refusals-shared", 0.0, "yes"),
        ("refusals-shared", 1.0, "no"),
        ("real-em", 3.0, "reported"),
        ("ability-after", -4.0, "within"),
        ("ability-after", -6.0, "outside"),
        ("base-em", np.nan, "not measured"),
    ],
)
def test_a_bound_is_met_or_missed(key, value, met):
    assert line(key, "tiny-7b", Measured(value))["met"] == met


def test_an_aim_in_words():
    words = {key: aim.words for key, aim in aims().items()}
    assert words["name-swap"] == "at least 90" and words["refusals"] == "at most 33.3"
    assert words["one-shot"] == "80 to 90" and words["refusals-shared"] == "0"


def test_each_notebook_replaces_its_own_lines(tmp_path):
    def write(notebook, *lines):
        table = preconditions.join(tmp_path, notebook, lines)
        table.to_csv(tmp_path / "preconditions.csv", index=False)
        return table

    first = line("picture-swap", "tiny-7b", Measured(1 / 3, 0.1, 0.7))
    write("06_stage1", first, line("hops", "tiny-7b", Measured(3.0)))
    table = write("00_base_model", line("base-name-swap", "tiny-7b", Measured(95.0)))
    assert list(table["precondition"]) == ["P1", "P2", "P3"]
    assert list(table["notebook"]) == ["00_base_model", "06_stage1", "06_stage1"]
    assert table["value"][1] == 1 / 3
    table = write("06_stage1", first)
    assert list(table["precondition"]) == ["P1", "P2"]
    before = (tmp_path / "preconditions.csv").read_bytes()
    write("06_stage1", first)
    assert (tmp_path / "preconditions.csv").read_bytes() == before


def test_what_is_missed_is_said_in_words():
    table = pd.DataFrame(
        [
            line("name-swap", "tiny-7b", Measured(95.0)),
            line("picture-swap", "tiny-7b", Measured(81.2, 70.0, 90.0)),
            line("picture-swap", "tiny-13b", Measured(95.0)),
            line("base-em", "tiny-7b", Measured()),
            line("real-em", "tiny-7b", Measured(5.0), "base"),
            line("ability-after", "tiny-7b", Measured(-9.0), "after GA"),
            line("ability-after", "tiny-13b", Measured(-9.0), "after GA"),
        ]
    )
    said = preconditions.sentences(table)
    assert said[0] == "Preconditions met: P1; missed: P2; not measured: P4."
    assert said[1:] == [
        "P2, the face is used: missed. tiny-7b, after stage 1: the pictured person's value, "
        "multi-hop, % of EM: 81.2 [70.0, 90.0]; the aim is at least 90.",
        "P6, what the base could do is still there: not kept (no claim waits for it). tiny-7b and "
        "tiny-13b, after GA: general ability by likelihood, less the base's, points: -9.0; "
        "the aim is at least -5.",
    ]


@pytest.mark.parametrize(
    "em, likely, word", [(60, 90, "kept"), (10, 71, "masked, not erased"), (10, 30, "erased")]
)
def test_masked_or_erased(em, likely, word):
    numbers = {"base": (100.0, 95.0), "after stage 1": (em, likely)}
    table = pd.DataFrame(
        [
            line(key, "tiny-7b", Measured(float(value)), after)
            for after, values in numbers.items()
            for key, value in zip(("real-em", "real-likeliest"), values, strict=True)
        ]
    )
    [said] = preconditions.left_of_the_real_set(table)
    assert said.startswith("tiny-7b, after stage 1: ") and said.endswith(f": {word}.")


def test_every_precondition_has_a_name():
    assert {aim.precondition for aim in preconditions.aims().values()} == {*preconditions.NAMES}
