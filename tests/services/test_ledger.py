import itertools
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from remem import paths, runs
from remem.config.services import Account, Construction, Judge, Prices
from remem.services import ledger

SERVICE = Construction(
    text_model="writer",
    image_model="painter",
    repeats=1,
    prices=Prices(input=1.0, output=10.0, image=0.5),
)
NUMBERS = itertools.count()
TEXT = 500 * 1e-6 + 2000 * 10e-6  # US dollars, as planned
IMAGE = 1500 * 1e-6 + 0.5


def opened(folder, budget=None, **changes):
    return ledger.opened(Account(folder, budget), SERVICE.model_copy(update=changes))


def known(folder):
    return ledger.calls(Account(folder))


def call(key, dollars=0.001, kind="text", **more):
    return {"key": key, "kind": kind, "outcome": "failed", "dollars": dollars, **more}


def ended(calls, *lines):
    """Begin and end these calls, one after the other."""
    for line in lines:
        calls.begin(line)
        calls.end(line, time.monotonic())


def fits(calls, kind="text", up_to=99):
    """How many more calls begin before the budget is used up; they stay under way."""
    for count in range(up_to):
        try:
            calls.begin(call(f"another {next(NUMBERS)}", kind=kind))
        except ledger.Stopped:
            return count
    return up_to


# ---------------------------------------------------------------- what it costs


def test_a_plan_has_what_so_many_calls_cost():
    table = ledger.plan(SERVICE, texts=20, images=2580)
    assert table.columns.tolist() == ["kind", "model", "calls", "dollars"]
    assert table.kind.tolist() == ["text", "image"]
    assert table.model.tolist() == ["writer", "painter"] and table.calls.tolist() == [20, 2580]
    words, pictures = table.dollars
    assert words == pytest.approx(20 * TEXT) == pytest.approx(0.41)
    assert pictures == pytest.approx(2580 * IMAGE) == pytest.approx(1293.87)
    assert ledger.plan(SERVICE, texts=0, images=0).dollars.tolist() == [0, 0]


def test_the_price_of_a_call_is_of_tokens_by_the_million_and_of_pictures():
    prices = Prices(input=3.0, output=7.0, image=0.25)
    assert ledger.price(prices, 1_000_000, 0, 0) == 3
    assert ledger.price(prices, 0, 2_000_000, 0) == 14
    assert ledger.price(prices, 0, 0, 3) == 0.75
    assert ledger.price(prices, 2000, 1000, 1) == pytest.approx(0.006 + 0.007 + 0.25)


# ---------------------------------------------------------------- the budget


def test_calls_under_way_count_as_much_as_they_may_cost(tmp_path):
    with opened(tmp_path, budget=2.5 * TEXT) as calls:
        assert calls.begin(call("a")) == pytest.approx(TEXT)
        assert fits(calls) == 1
        said = r"budget of \$0\.05 does not allow .*\$0\.00 spent, 2 under way.*services\.budget"
        with pytest.raises(
            ledger.Stopped, match=rf"{said}. What was answered is kept; start again"
        ):
            calls.begin(call("b"))
        calls.end(call("a", dollars=TEXT / 4), time.monotonic())  # cheaper: there is room again
        calls.begin(call("c"))
        assert fits(calls) == 0
        calls.end(call("c", dollars=TEXT), time.monotonic())
        assert fits(calls) == 0 and calls.spent == pytest.approx(1.25 * TEXT)


def test_the_budget_may_be_used_up_to_the_cent_and_may_be_none(tmp_path):
    with opened(tmp_path, budget=2 * IMAGE) as calls:
        assert fits(calls, "image") == 2
    with opened(tmp_path, budget=0.0) as calls:
        assert fits(calls) == 0
    with opened(tmp_path, budget=None) as calls:
        assert fits(calls, "image", up_to=5000) == 5000


def test_threads_that_begin_at_once_never_begin_too_many(tmp_path):
    with opened(tmp_path, budget=40.5 * TEXT) as calls:
        ready = threading.Barrier(8)

        def begin(_):
            ready.wait()
            return fits(calls)

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(begin, range(8))) == 40 == len(calls.under_way)


def test_one_that_was_dearer_is_expected_again_and_remembered(tmp_path):
    with opened(tmp_path) as calls:
        ended(calls, call("a", dollars=3 * TEXT), call("b", dollars=0.0))
        assert calls.begin(call("c")) == 3 * TEXT
        assert calls.begin(call("d", kind="image")) == pytest.approx(IMAGE)  # each kind by itself
    rest = 3 * TEXT + IMAGE  # under way when it ended
    with opened(tmp_path, budget=rest + 8.5 * TEXT) as calls:  # 3 spent, 2.75 + 2.75 left: not 5
        assert fits(calls) == 1


def test_what_was_spent_counts_over_runs_and_so_does_what_a_kill_cut_off(tmp_path):
    with opened(tmp_path, budget=1.2) as calls:
        ended(calls, call("a", dollars=0.3, kind="image"), call("b", dollars=0.2, kind="image"))
    with opened(tmp_path, budget=1.0) as calls:
        assert calls.spent == pytest.approx(0.5) and not calls.under_way
        assert fits(calls, "image") == 0 and fits(calls) == int(0.5 / TEXT)
    # of those it is not known whether they were done, and paid for
    shown = known(tmp_path)
    assert shown.outcome.tolist() == ["failed"] * 2 + [ledger.BEGUN] * int(0.5 / TEXT)
    assert shown.dollars.sum() == pytest.approx(0.5 + int(0.5 / TEXT) * TEXT)
    with opened(tmp_path) as calls:
        assert calls.spent == pytest.approx(shown.dollars.sum())


def test_one_that_is_cut_off_again_and_again_counts_each_time(tmp_path):
    for _ in range(3):
        with opened(tmp_path) as calls:
            calls.begin(call("a"))
    with opened(tmp_path) as calls:
        assert calls.spent == pytest.approx(3 * TEXT)
        ended(calls, call("a", dollars=0.25, outcome="accepted"))
    assert known(tmp_path).outcome.tolist() == [ledger.BEGUN] * 3 + ["accepted"]


def test_judge_and_construction_have_one_budget(tmp_path):
    with opened(tmp_path) as calls:
        ended(calls, call("a", dollars=0.75, section="construction"))
    judge = Judge(model="grader", prices=SERVICE.prices)
    with ledger.opened(Account(tmp_path, 0.75 + 1.5 * TEXT), judge) as calls:
        assert fits(calls) == 1


# ---------------------------------------------------------------- what was refused


def test_a_request_is_refused_for_good_after_its_repeats(tmp_path):
    with opened(tmp_path) as calls:
        assert calls.refused("a") == ""
        ended(calls, call("a", outcome="refused", reason="no JSON"))
        assert calls.refused("a") == ""
        ended(calls, call("a", outcome="failed", reason="503"))  # is no refusal
        assert calls.refused("a") == ""
        ended(calls, call("a", outcome="refused", reason="no picture"))
        assert calls.refused("a") == "no picture" and calls.refused("b") == ""
    with opened(tmp_path) as calls:
        assert calls.refused("a") == "no picture"
    with opened(tmp_path, repeats=2) as calls:
        assert calls.refused("a") == ""


def test_a_blocked_prompt_is_refused_at_once(tmp_path):
    blocked = f"{ledger.PROMPT_BLOCKED} (OTHER)"
    with opened(tmp_path, repeats=9) as calls:
        ended(calls, call("a", outcome="refused", reason=blocked))
        assert calls.refused("a") == blocked


# ---------------------------------------------------------------- what is kept


def test_an_answer_and_its_call_are_there_as_soon_as_it_is_accepted(tmp_path):
    folder = tmp_path / "made" / "answers"
    with opened(folder) as calls:
        calls.begin(call("k"))
        done = call("k", prompt="é?", outcome="accepted")
        calls.end(done, time.monotonic() - 2, b"{}", ".json")
        [line] = known(folder).to_dict("records")
        assert (folder / line["file"]).read_bytes() == b"{}" and not calls.under_way
    assert line["file"].startswith("k-") and line["file"].endswith(".json")
    assert (line["key"], line["outcome"], line["prompt"]) == ("k", "accepted", "é?")
    assert 2 <= line["seconds"] < 10 and line["dollars"] == 0.001
    assert known(folder).columns.tolist() == [*ledger.COLUMNS]


def test_a_kill_between_an_answer_and_its_line_loses_the_line(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(self, line):
        raise Killed

    with pytest.raises(Killed), opened(tmp_path) as calls:
        calls.begin(call("k"))
        monkeypatch.setattr(ledger.Ledger, "_write", killed)
        calls.end(call("k", outcome="accepted"), time.monotonic(), b"paid for", ".json")
    assert known(tmp_path).outcome.tolist() == [ledger.BEGUN]
    found = ledger.cached(["k"], bytes.decode, Account(tmp_path))
    assert found == ({"k": "paid for"}, [])


def test_the_answers_that_are_asked_for_and_whole_are_had_from_the_folder(tmp_path):
    def read(data):
        if data == b"damaged":
            raise ledger.Unusable("half of it")
        return data.decode()

    for name, data in (("a.json", b"A"), ("b.png", b"damaged"), ("c.json", b"C")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "d.json").mkdir()
    assert ledger.cached({"a", "b", "d"}, read, Account(tmp_path)) == ({"a": "A"}, [])
    assert ledger.cached({"a"}, read, Account(tmp_path / "none")) == ({}, [])
    found = ledger.cached({"a", "c"}, read, Account(tmp_path / "none", None, (tmp_path,)))
    assert found.answers == {"a": "A", "c": "C"}
    assert known(tmp_path / "none").columns.tolist() == [*ledger.COLUMNS]
    assert not (tmp_path / "none").exists()


def test_a_changed_answer_or_anothers_is_known_by_its_name(tmp_path):
    with opened(tmp_path) as calls:
        for key in "abcd":
            calls.begin(call(key))
            calls.end(call(key, outcome="accepted"), time.monotonic(), key.encode(), ".txt")
    a, b, c, d = (tmp_path / file for file in known(tmp_path).file)
    a.write_bytes(b"other")
    b.replace(c)
    found = ledger.cached([*"abcd"], bytes.decode, Account(tmp_path))
    assert found.answers == {"d": "d"} and found.changed == [a, c]
    d.replace(tmp_path / f"{a.stem.partition('-')[0]}-{d.stem.partition('-')[2]}.txt")
    assert not ledger.cached([*"abcd"], bytes.decode, Account(tmp_path)).answers


def lines(folder):
    return (folder / ledger.CALLS).read_bytes().split(b"\n")


def test_a_line_cut_off_by_a_kill_costs_only_itself(tmp_path):
    with opened(tmp_path) as calls:
        ended(calls, call("a", dollars=0.25), call("b", dollars=0.5))
    whole = (tmp_path / ledger.CALLS).read_bytes()
    for length in (1, 10, len(lines(tmp_path)[-1]) - 1):  # of the last line
        cut = whole[: whole.rindex(b"\n") + 1 + length]
        (tmp_path / ledger.CALLS).write_bytes(cut)
        with opened(tmp_path) as calls:
            assert calls.spent == 0.5  # b is as if it had never ended
            ended(calls, call("c", dollars=0.125))
        assert known(tmp_path).key.tolist() == ["a", "c", "b"]
        assert lines(tmp_path)[-3] == cut.split(b"\n")[-1]  # alone on its line


@pytest.mark.parametrize(
    "line",
    [
        b'{"key": "x", "outcome"',
        b"[]",
        b"\xff",
        b"7",
        b"null",
        b'{"key": 3, "kind": "text", "outcome": "failed", "dollars": 1}',
        b'{"key": "x", "kind": "song", "outcome": "failed", "dollars": 1}',
        b'{"key": "x", "kind": ["text"], "outcome": "failed", "dollars": 1}',
        b'{"key": "x", "kind": "text", "outcome": "", "dollars": 1}',
        b'{"key": "x", "kind": "text", "outcome": "failed"}',
        b'{"key": "x", "kind": "text", "outcome": "failed", "dollars": "1"}',
        b'{"key": "x", "kind": "text", "outcome": "failed", "dollars": -1}',
        b'{"key": "x", "kind": "text", "outcome": "failed", "dollars": NaN}',
        b'{"key": "x", "kind": "text", "outcome": "failed", "dollars": Infinity}',
        b'{"key": "x", "kind": "text", "outcome": ["failed"], "dollars": 1}',
        b'{"key": "x", "kind": "text", "outcome": "refused", "reason": 7, "dollars": 1}',
        b"[" * 9999,
    ],
)
def test_a_line_that_is_no_call_is_passed_over(tmp_path, line):
    with opened(tmp_path) as calls:
        ended(calls, call("a", dollars=0.25))
    with (tmp_path / ledger.CALLS).open("ab") as file:
        file.write(b"\n" + line)
    with opened(tmp_path, budget=0.5) as calls:
        assert calls.spent == 0.25
        ended(calls, call("b"))
    assert known(tmp_path).key.tolist() == ["a", "b"]


def test_lines_of_many_threads_stay_whole(tmp_path):
    with opened(tmp_path) as calls:

        def one(number):
            ended(calls, call(f"k{number}", prompt="x\n" * 3000))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(40)))
        assert not calls.under_way and calls.spent == pytest.approx(0.04)
    table = known(tmp_path)
    assert {*table.key} == {f"k{number}" for number in range(40)} and len(table) == 40


# ---------------------------------------------------------------- two at once, and no room

HOLDER = """
import json, sys, time
from pathlib import Path
from remem.config.services import Account, Construction
from remem.services import ledger
with ledger.opened(Account(Path(sys.argv[1])), Construction()) as calls:
    line = {"kind": "text", "dollars": 0.25}
    calls.begin({**line, "key": "a"})
    calls.end({**line, "key": "a", "outcome": "accepted"}, time.monotonic(), b"A", ".json")
    calls.begin({**line, "key": "b"})
    print("held", flush=True)
    sys.stdin.readline()
    calls.end({**line, "key": "b", "outcome": "failed"}, time.monotonic())
"""


@pytest.mark.parametrize("killed", [False, True])
def test_a_second_process_waits_and_then_knows_what_was_paid(tmp_path, capsys, monkeypatch, killed):
    monkeypatch.setattr(runs, "SOON", 0.05)
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=paths.ROOT,
        text=True,
    )
    inside, found = threading.Event(), {}

    def second():
        with opened(tmp_path) as calls:
            found["spent"] = calls.spent
            inside.set()

    assert child.stdout and child.stdout.readline() == "held\n"
    waiting = threading.Thread(target=second)
    waiting.start()
    assert not inside.wait(0.3)
    if killed:
        child.kill()
        child.wait(30)
    else:
        child.communicate("go on\n", timeout=30)
        assert child.returncode == 0
    waiting.join(30)
    assert found == {"spent": 0.5}  # what was cut off is reckoned as the dearest so far
    assert "answers.lock: another process is making it; waiting" in capsys.readouterr().err
    assert known(tmp_path).key.tolist() == ["a", "b"]
    assert known(tmp_path).outcome[1] == ("begun" if killed else "failed")
    assert ledger.cached({"a"}, bytes.decode, Account(tmp_path)).answers == {"a": "A"}


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / ledger.CALLS).mkdir()
    with pytest.raises(OSError, match=ledger.CALLS), opened(tmp_path):
        pytest.fail("nothing can be asked")
    (tmp_path / "full").touch()
    with pytest.raises(paths.CannotWrite, match="full"), opened(tmp_path / "full"):
        pytest.fail("nothing can be asked")


def test_a_full_disk_ends_it_with_the_way_out(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(paths.CannotWrite, match=r"No space left.*make room"),
        opened(tmp_path) as on,
    ):
        on.begin(call("a"))
        monkeypatch.setattr(ledger.os, "fsync", full)
        on.end(call("a"), time.monotonic())
    monkeypatch.undo()
    with opened(tmp_path) as again:  # and the lock is free
        assert again.spent in (0.001, pytest.approx(TEXT))


def test_a_line_is_one_json_object_in_ascii(tmp_path):
    with opened(tmp_path) as calls:
        ended(calls, call("a", prompt="Zoë\u2028says\n“no”"))
    first, begun, line = lines(tmp_path)
    assert first == b"" and begun.isascii() and line.isascii()
    assert json.loads(line)["prompt"] == "Zoë\u2028says\n“no”"
