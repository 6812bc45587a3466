"""The power fails while runs and tables are written: what has its name then is whole.

`make stress` runs it, as root: a file system in an image is mounted, and while a process writes
into it, the image is copied. The copy is what a disk holds when the power fails at that moment: all
that was sent to it, and nothing of what the system had yet to write. REMEM_STRESS_CUTS (20) times.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from remem import config, paths, runs
from remem.data.dataset import SyntheticData
from remem.report import made, output

CUTS = int(os.environ.get("REMEM_STRESS_CUTS", "20"))
SEED = int(os.environ.get("REMEM_STRESS_SEED", "0"))
PEOPLE = 2  # of each dataset that is drawn
ROWS = 3000  # of each table

pytestmark = pytest.mark.timeout(0)


class Weights(runs.Run):
    """An adapter, a small table and a checkpoint in folders of their own, as training leaves."""

    kind: ClassVar[str] = "weights"
    seed: int

    def make(self, out: Path, runs_root: Path) -> None:
        for name in ("adapter", "checkpoints/1"):
            (out / name).mkdir(parents=True)
            content = random.Random(self.seed).randbytes(300_000)
            (out / name / "adapter.safetensors").write_bytes(content)
        (out / "history.csv").write_text("step,loss\n" + "1,0.5\n" * self.seed)


def write(folder: Path, sync: str) -> None:
    """Write runs, tables and figures for ever; say each that has its name. With `sync` "none" as it
    was done once: of a run DONE alone is waited for, of a table nothing."""
    if sync == "none":
        paths.all_to_disk = lambda part: paths.to_disk(part / "DONE", part)
        plain = paths.write
        paths.write = lambda path, content, sync=True: plain(path, content, sync=False)
    os.environ["REMEM_OUTPUTS"] = str(folder)
    settings = config.load_config("smoke")
    out = output.Output("07_stage2", settings, settings.folders)
    for seed in range(1, 10_000):
        specs = [Weights(seed=seed)]
        if seed % 5 == 1:
            specs.append(SyntheticData(seed=seed % 90, identities=PEOPLE, image_size=32))
        for spec in specs:
            print("run", runs.get_or_create(spec, out.folders.runs).name, flush=True)
        out.table(f"table{seed}", pd.DataFrame({"n": range(ROWS), "seed": seed}))
        print("table", f"table{seed}", flush=True)


@dataclass
class Found:
    """What a disk holds: runs and tables that are whole, and those that are not."""

    whole: list[str]
    broken: list[str]


def look(folder: Path) -> Found:
    """Verify every run that has its name, and read every table."""
    found = Found([], [])
    outputs = paths.Folders(folder / "smoke", folder / "smoke" / "runs")
    for run in outputs.runs.glob("[!.]*-*"):
        try:
            runs.verify(run)
        except runs.DamagedRun as error:
            found.broken.append(str(error))
        else:
            found.whole.append(run.name)
    for table in outputs.tables.glob("*.csv"):
        lines = table.read_bytes().count(b"\n")
        (found.whole if lines == ROWS + 1 else found.broken).append(table.stem)
    for side in (outputs.root / "made").rglob("[!.]*.json"):
        try:
            json.loads(side.read_bytes())
        except ValueError:
            found.broken.append(side.name)
    assert made.known(outputs) is None or all(
        file.stem in found.whole for file in made.known(outputs) or ()
    )
    return found


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    # By itself the file system would write its journal every five seconds: here nothing comes to
    # the disk that nobody has waited for, so that a copy is of one moment.
    run("mount", "-o", "loop,commit=600", image, at)
    try:
        yield at
    finally:
        run("umount", at)
        at.rmdir()


def written(at: Path) -> tuple[str, ...]:
    """How much was written to the mounted disk so far, and what is on its way there."""
    device = next(
        line.split()[0]
        for line in Path("/proc/mounts").read_text().splitlines()
        if line.split()[1] == str(at)
    )
    counts = Path("/sys/block", Path(device).name, "stat").read_text().split()
    return (*counts[4:7], counts[8])


@pytest.fixture
def image(tmp_path):
    """An empty file system in a file; skipped where none can be made and mounted."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(128 * 2**20)
    try:
        run("mkfs.ext4", "-q", "-F", path)
        with mounted(path, tmp_path / "probe"):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no image can be mounted here, for which one has to be root: {error}")
    yield path
    for disk in (path, path.with_name("after")):
        disk.unlink(missing_ok=True)


def cut(image: Path, chance: random.Random, sync: str) -> tuple[Found, set[str], Path]:
    """Let a process write into the image, and cut the power at a random moment: what the disk holds
    then, what had been said to be there, and the disk."""
    after = image.with_name("after")
    with mounted(image, image.with_name("disk-mounted")) as at:
        with image.with_name("said").open("wb") as said:
            writing = subprocess.Popen(
                [sys.executable, __file__, str(at), sync],
                env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
                stdout=said,
            )
        try:
            while b"table1\n" not in image.with_name("said").read_bytes():
                assert writing.poll() is None
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 2))
            names = {
                line.split()[1] for line in image.with_name("said").read_text().splitlines()[:-1]
            }
            while True:  # until nothing was written to the disk while it was copied
                writing.send_signal(signal.SIGSTOP)
                before = written(at)
                shutil.copyfile(image, after)
                if written(at) == before:
                    break
        finally:
            writing.kill()
            writing.wait()
    with mounted(after, image.with_name("after-mounted")) as at:
        return look(at), names, after


def test_what_has_its_name_is_whole_whenever_the_power_fails(image):
    chance, whole, promised = random.Random(SEED), 0, 0
    for _ in range(CUTS):
        found, said, after = cut(image, chance, "all")
        assert not found.broken
        lost = {name for name in said if "-" in name} - {*found.whole}
        assert not lost, f"runs that were finished are gone: {lost}"
        whole += len(found.whole)
        promised += len(said)
        with mounted(after, image.with_name("again")) as at:  # and whoever comes back goes on
            folders = paths.Folders(at / "smoke", at / "smoke" / "runs")
            runs.clear(folders.runs)
            next_one = Weights(seed=10_000)
            assert runs.verify(runs.get_or_create(next_one, folders.runs))
            assert not list(folders.runs.glob(".*.part"))
        run("mkfs.ext4", "-q", "-F", image)
    print(
        f"\npower cuts: {CUTS}; {whole} runs and tables had their names afterwards ({promised} had "
        "been said to be there): none empty or cut, and no finished run lost"
    )


def test_the_harness_sees_what_was_not_waited_for(image):
    """The test above would pass anything, if this one did not see what was lost before."""
    chance, broken = random.Random(SEED), 0
    for _ in range(3):
        found, *_ = cut(image, chance, "none")
        broken += len(found.broken)
        run("mkfs.ext4", "-q", "-F", image)
    print(f"\npower cuts without waiting for the disk: 3; {broken} runs and tables broken")
    assert broken


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2])
