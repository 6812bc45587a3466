"""Files made unsound by chance, for every reader: each is read, or refused in words.

`make stress` runs it. REMEM_STRESS_INPUTS (6,000) inputs are drawn from REMEM_STRESS_SEED (0) and
shared out among the readers of tests/fuzzed.py. Each is given to a process that may be lost, and
has to be done within bounds of processor time and memory. To try one again, as a failure is told:

    PYTHONPATH=.:tests .venv/bin/python tests/stress/fuzz.py SEED READER NUMBER
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from remem import paths

INPUTS = int(os.environ.get("REMEM_STRESS_INPUTS", "6000"))
SEED = int(os.environ.get("REMEM_STRESS_SEED", "0"))

MEMORY = 2**29  # bytes beyond what a process had that has read what is sound
ALL_MEMORY = 2**33  # beyond which it gets none

pytestmark = pytest.mark.timeout(0)

Input = tuple[str, int]  # a reader, and a number that says what is changed


# ---------------------------------------------------------------- in a process of its own


def go_through(inputs: Sequence[Input], seed: int, fault: str = "") -> None:
    """Give the inputs to their readers, and print a line of JSON before and after each. With a
    `fault` the parameters' reader has that."""
    import fuzzed
    from mutations import shortened, unsound

    for key in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        os.environ.pop(key, None)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (ALL_MEMORY, ALL_MEMORY))
    said, sys.stdout = sys.stdout, sys.stderr
    above, last = Path(tempfile.mkdtemp(prefix="files-")), ""
    sound: dict[Path, bytes] = {}
    for name, number in inputs:
        reader, folder = fuzzed.READERS[name], above / name / "files"
        if name != last:
            resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))
            folder.mkdir(parents=True)
            reader.make(folder)
            found = sorted(path for path in folder.rglob("*") if path.is_file())
            sound = {path: path.read_bytes() for path in found if path.stat().st_size}
            if not fault:
                for path in (found[0], found[-1]):
                    assert reader.read(folder, path) is not False, f"{name}: it is sound"
            before, last = peak(), name
            if fault:
                fuzzed.break_(fault)
        for path, content in sound.items():
            if not path.is_file() or path.read_bytes() != content:
                paths.write(path, content, sync=False)
        chance = random.Random(f"{seed} {name} {number}")
        file = chance.choice([*sound])
        changed = unsound(sound[file], file.suffix, chance)
        file.write_bytes(changed)
        one = {"file": str(file.relative_to(folder)), "input": shortened(changed)}
        print(json.dumps(one), file=said, flush=True)
        began = time.process_time()
        resource.setrlimit(resource.RLIMIT_CPU, (int(began) + reader.seconds + 1, -1))
        outcome = why = ""
        try:
            outcome = "refused" if reader.read(folder, file) is False else "read"
        except reader.refuses as error:
            outcome, why = "refused", "" if str(error).strip() else "refused without a word"
        except Exception:
            why = traceback.format_exc()[-3000:]
        if (took := time.process_time() - began) > reader.seconds:
            why = f"{took:.1f} s of processor time"
        if (more := peak() - before) > MEMORY:
            why = f"{more / 2**20:,.0f} MiB of memory"
        print(json.dumps({"outcome": outcome, "why": why}), file=said, flush=True)
        if more > MEMORY:
            return  # what was taken once is the peak of all that follow


def peak() -> int:
    """The most memory that this process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# ---------------------------------------------------------------- beside it


@dataclass
class Found:
    """How many inputs were read, and refused, and what failed, by reader."""

    read: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0  # of processor time

    def fail(self, one: Input, before: dict[str, str], why: str, seed: int) -> None:
        name, number = one
        self.failed.setdefault(name, []).append(
            f"seed {seed}, reader {name!r}, number {number}: {before.get('file', '')} "
            f"{before.get('input', '')}\n{why}"
        )


def tried(inputs: Sequence[Input], seed: int, fault: str = "") -> Found:
    """Give all inputs to processes: who dies of one is followed by another, which goes on."""
    found, at = Found(), 0
    began = os.times()
    while at < len(inputs):
        command = [sys.executable, __file__, str(seed), fault]
        above = tempfile.mkdtemp(prefix="fuzz-")
        log = Path(above, "log")
        where = {"PYTHONPATH": f"{paths.ROOT}{os.pathsep}{paths.ROOT / 'tests'}"}
        where |= {"TMPDIR": above, "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(
            command,
            env={**os.environ, **where},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
        )
        assert child.stdin and child.stdout
        child.stdin.write(json.dumps(inputs[at:]))
        child.stdin.close()
        first, before = at, {}
        for line in child.stdout:
            said = json.loads(line)
            if "outcome" not in said:
                before = said
                continue
            name = inputs[at][0]
            if said["why"]:
                found.fail(inputs[at], before, said["why"], seed)
            elif said["outcome"]:
                getattr(found, said["outcome"])[name] += 1
            before, at = {}, at + 1
        status = child.wait()
        told = log.read_text(errors="replace")[-2000:]
        shutil.rmtree(above)
        if at < len(inputs) and (status or at == first):
            assert before, f"{inputs[at][0]}: the files could not be made: {told}"
            found.fail(inputs[at], before, died(status), seed)
            at += 1
    ended = os.times()
    found.seconds = sum(ended[2:4]) - sum(began[2:4])
    return found


def died(status: int) -> str:
    if -status == signal.SIGXCPU:
        return "more processor time than it may take: it was ended"
    return f"the process ended with status {status}"


def shared_out(count: int) -> Iterator[Input]:
    """So many inputs, each reader's together, by their shares."""
    import fuzzed

    parts = sum(reader.share for reader in fuzzed.READERS.values())
    for name, reader in fuzzed.READERS.items():
        for number in range(max(1, count * reader.share // parts)):
            yield name, number


def test_every_unsound_file_is_read_or_refused_in_words():
    inputs = [*shared_out(INPUTS)]
    found = tried(inputs, SEED)
    failures = [why for each in found.failed.values() for why in each]
    by_reader = [
        f"{name} {found.read[name]} + {found.refused[name]}"
        + (f" + {len(found.failed[name])} failed" if name in found.failed else "")
        for name in dict.fromkeys(name for name, _ in inputs)
    ]
    print(
        f"\nfuzz: {len(inputs):,} inputs (seed {SEED}): {found.read.total():,} read, "
        f"{found.refused.total():,} refused, {len(failures)} failed; by reader, read + refused: "
        f"{', '.join(by_reader)}; {found.seconds / 60:.1f} min of processor time"
    )
    assert not failures, "\n\n".join(failures[:30])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("a bare KeyError", "KeyError"),
        ("a hang", "more processor time than it may"),
        ("all memory", "MiB of memory"),
    ],
)
def test_the_harness_sees_a_reader_that_is_broken(fault, told):
    """The test above would pass anything, if this one did not see what is to be seen."""
    found = tried([("params", 0), ("params", 1)], 0, fault)
    [one, other] = found.failed["params"]
    assert told in one and told in other and "reader 'params', number 1" in other
    assert not found.read and not found.refused


if __name__ == "__main__":
    if len(sys.argv) > 3:
        go_through([(sys.argv[2], int(sys.argv[3]))], int(sys.argv[1]))
    else:
        go_through(json.load(sys.stdin), int(sys.argv[1]), *sys.argv[2:])
