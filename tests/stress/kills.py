"""Random kills over smoke runs: started again, each ends with the bytes of an undisturbed one.

`make stress` runs it. REMEM_STRESS_KILLS (50) kills fall within REMEM_STRESS_MINUTES (25), at times
drawn from REMEM_STRESS_SEED (0); REMEM_STRESS_NOTEBOOKS (all) names notebooks, such as "00 07". A
kill is a SIGKILL to all processes of a run at once, to the first alone, or to a kernel or worker.
"""

import csv
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from remem import paths, runs

KILLS = int(os.environ.get("REMEM_STRESS_KILLS", "50"))
MINUTES = float(os.environ.get("REMEM_STRESS_MINUTES", "25"))
SEED = int(os.environ.get("REMEM_STRESS_SEED", "0"))
WANTED = os.environ.get("REMEM_STRESS_NOTEBOOKS", "").split()

NOTEBOOKS = [
    path.stem
    for path in sorted(paths.NOTEBOOKS.glob("*.py"))
    if (not WANTED or path.stem.split("_")[0] in WANTED)
    and path.stem != "12_cost"  # whose tables are times
]
RESULTS = ("tables", "figures", "verdicts", "made")
ORPHANED = 60  # seconds within which who lost its parent has to end
ENDS = 600  # within which a run ends whose kernel, or worker, was killed

pytestmark = pytest.mark.timeout(0)


@dataclass
class Place:
    """Outputs, and all that a run would leave elsewhere."""

    root: Path
    verified: set[str] = field(default_factory=set)

    @property
    def folders(self) -> paths.Folders:
        return paths.Folders(
            self.root / "outputs" / "smoke", self.root / "outputs" / "smoke" / "runs"
        )

    @property
    def log(self) -> Path:
        return self.root / "log"

    def left(self) -> list[str]:
        """The notebooks that have not been run to their end."""
        done = {
            path.name.split(".")[0]
            for path in self.folders.notebooks.glob("*.ipynb")
            if not path.name.endswith(".failed.ipynb")
        }
        return [name for name in NOTEBOOKS if name not in done]

    def start(self, workers: int) -> psutil.Popen:
        """Start a run of those."""
        elsewhere = {"REMEM_OUTPUTS": "outputs", "TMPDIR": "t", "JUPYTER_RUNTIME_DIR": "jupyter"}
        for name in elsewhere.values():
            (self.root / name).mkdir(parents=True, exist_ok=True)
        environment = {key: str(self.root / name) for key, name in elsewhere.items()}
        command = [sys.executable, "-m", "remem", "reproduce", "--scale", "smoke"]
        with self.log.open("ab") as log:
            return psutil.Popen(
                [*command, "--set", f"workers={workers}", *self.left()],
                env={**os.environ, "PYTHONPATH": str(paths.ROOT), **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self) -> None:
        """Run what is left, undisturbed."""
        if self.left():
            assert self.start(1).wait() == 0, self.log.read_text()

    def verify(self) -> int:
        """How many runs are done that were not when last asked; each is as it was finished."""
        assert not list(self.folders.runs.glob(".*.cut-*")), "a kill cut a finished run"
        done = {path.parent.name for path in self.folders.runs.glob("[!.]*/DONE")}
        for name in done - self.verified:
            runs.verify(self.folders.runs / name)
        new = len(done - self.verified)
        self.verified |= done
        return new

    def contents(self) -> dict[str, str]:
        """SHA-256 of every result and of every file of a run, but for what tells of time."""
        found = {}
        for name in RESULTS:
            for path in (self.folders.root / name).rglob("*"):
                if path.is_file():
                    found[str(path.relative_to(self.folders.root))] = path.read_bytes()
        for path in self.folders.runs.glob("[!.]*/**/*"):
            if path.is_file() and path.name != "DONE":
                name = str(path.relative_to(self.folders.root))
                found[name] = timeless(path)
        return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}

    def leftovers(self) -> list[str]:
        """What only a process that was killed can have left."""
        half = [path for path in self.root.rglob(".*.part")]
        elsewhere = [path for name in ("t", "jupyter") for path in (self.root / name).iterdir()]
        return [str(path.relative_to(self.root)) for path in half + elsewhere]


def timeless(path: Path) -> bytes:
    """A file of a run without the seconds that it tells of."""
    if path.name == "spec.json":
        return runs.as_json(runs.read_json(path)["spec"]).encode()
    content = path.read_bytes()
    if path.suffix != ".csv" or b"seconds" not in content.partition(b"\n")[0]:
        return content
    rows = csv.DictReader(io.StringIO(content.decode()))
    return repr([{key: row[key] for key in row if key != "seconds"} for row in rows]).encode()


def kill(process: psutil.Popen, chance: random.Random) -> tuple[str, list[psutil.Process]]:
    """Kill all processes of a run, or one; returns which, and those that have to end by themselves
    now. The first has ended then."""
    children, at_work = process.children(recursive=True), []
    for child in children:
        with suppress(psutil.NoSuchProcess):
            if "resource_tracker" not in " ".join(child.cmdline()):  # it only tidies up
                at_work.append(child)
    mode = chance.choice(("all", "first", "kernel or worker") if at_work else ("all", "first"))
    killed = {"all": (process, *children), "first": (process,)}.get(mode) or (
        chance.choice(at_work),
    )
    for each in killed:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait(ENDS)
    return mode, children


def ended(processes: list[psutil.Process]) -> None:
    """Wait for who lost its parent."""
    _, alive = psutil.wait_procs(processes, ORPHANED)
    assert not alive, f"they live on though who started them was killed: {alive}"


def test_bytes_after_kills_are_those_of_an_undisturbed_run():
    chance, began = random.Random(SEED), time.monotonic()
    # A short path: sockets lie below it.
    above = Path(tempfile.mkdtemp(prefix="kills-"))
    reference = Place(above / "r")
    reference.finish()
    undisturbed = time.monotonic() - began
    reference.verify()
    expected = reference.contents()

    kills: Counter[str] = Counter()
    places, verified, compared, faults = [Place(above / "0")], 0, 0, []
    orphans: list[psutil.Process] = []
    deadline = began + 60 * MINUTES
    while sum(kills.values()) < KILLS:
        place = places[-1]
        if not place.left():
            places.append(Place(above / str(len(places))))
            continue
        started = time.monotonic()
        mean = (deadline - started - undisturbed) / (KILLS - sum(kills.values()))
        process = place.start(chance.choice((1, 2)))
        try:
            status = process.wait(chance.uniform(0, 2 * max(mean - 1, 1)))
            assert status == 0, place.log.read_text()[-5000:]
        except psutil.TimeoutExpired:
            mode, children = kill(process, chance)
            kills[mode] += 1
            orphans += children
            if chance.random() < 0.5:  # else the next begins while they still live
                ended(orphans)
                orphans.clear()
            verified += place.verify()
    ended(orphans)
    killed = time.monotonic() - began

    for place in places:
        place.finish()
        place.verify()
        found = place.contents()
        compared += len(found)
        faults += [
            f"{place.root.name}: {name} is {'another' if name in found else 'missing'}"
            for name in expected
            if found.get(name) != expected[name]
        ]
        faults += [f"{place.root.name}: {name} is new" for name in found if name not in expected]
        faults += [f"{place.root.name}: {name} was left" for name in place.leftovers()]
    print(
        f"\nkills: {sum(kills.values())} in {killed / 60:.1f} min "
        f"({', '.join(f'{mode} {count}' for mode, count in sorted(kills.items()))}), over "
        f"{len(places)} smoke runs of {len(NOTEBOOKS)} notebooks; {verified} runs verified between "
        f"kills, {compared} files compared: {len(faults)} differ or were left; in all "
        f"{(time.monotonic() - began) / 60:.1f} min, an undisturbed run {undisturbed / 60:.1f} min"
    )
    assert not faults, "\n".join([*faults[:50], f"(kept in {above})"])
    shutil.rmtree(above)


def test_the_comparison_sees_a_difference(tmp_path):
    """The test above would pass anything, if this one did not see what differs."""
    place = Place(tmp_path)
    table = paths.write(place.folders.tables / "table2.csv", "EM\n1\n")
    history = place.folders.runs / "stage1-1" / "history.csv"
    paths.write(history, "step,loss,seconds\n1,0.5,1.0\n")
    before = place.contents()
    paths.write(history, "step,loss,seconds\n1,0.5,2.0\n")
    assert place.contents() == before
    paths.write(history, "step,loss,seconds\n1,0.6,2.0\n")
    paths.write(table, "EM\n2\n")
    after = place.contents()
    assert {name for name in before if before[name] != after[name]} == {
        "tables/table2.csv",
        "runs/stage1-1/history.csv",
    }


def test_processes_that_are_killed_are_gone(tmp_path):
    code = "import subprocess; subprocess.run(['sleep', '5'])"
    process = psutil.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    while not process.children():
        time.sleep(0.05)
    _, children = kill(process, random.Random(0))
    ended(children)
    assert not process.is_running()
