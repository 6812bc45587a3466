"""Damage to every file of a run, of each kind: it is told, or put aside and the run made again.

`make stress` runs it. Nothing that was damaged is ever read as a result.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from remem import experiments, jobs, runs
from remem.config import load_config

pytestmark = pytest.mark.timeout(0)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_near_its_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 0xFF
    path.write_bytes(content)


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def removed(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_dead_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


CUTS = (empty, cut, cut_near_its_end, zeroed)  # what a loss of power leaves
CHANGES = (flipped, longer, removed, a_folder, a_dead_link)  # what somebody, or a disk, did


def one_of_each_kind(root: Path) -> list[runs.Run]:
    """A run of every kind that scale smoke has, done."""
    os.environ["REMEM_OUTPUTS"] = str(root)
    config = load_config("smoke", {"stage2.methods": ["NPO"]})
    found: dict[str, runs.Run] = {}

    def add(spec: runs.Run) -> None:
        for need in spec.needs():
            add(need)
        found.setdefault(spec.kind, spec)

    for experiment in ("unlearning", "curves", "controls", "ability", "signatures", "traces"):
        for job in getattr(experiments, experiment)(config):
            add(job.spec)
    jobs.sweep(jobs.Jobs(tuple(map(jobs.Job, found.values())), config.folders.runs, workers=2))
    return list(found.values())


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("DONE", "spec.json", "history.csv")
    }


def restore(path: Path, content: bytes) -> None:
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def test_damage_to_any_file_of_any_kind_of_run_is_noticed(tmp_path, capsys, monkeypatch):
    began, tried, kinds = time.monotonic(), Counter(), Counter()
    root = tmp_path / "outputs" / "smoke" / "runs"
    sound = tmp_path / "sound"

    def copied(_: runs.Run, out: Path, runs_root: Path) -> None:
        ignored = shutil.ignore_patterns("DONE")
        shutil.copytree(sound, out, dirs_exist_ok=True, ignore=ignored)

    for spec in one_of_each_kind(tmp_path / "outputs"):
        folder = runs.folder(spec, root)
        shutil.copytree(folder, sound)
        files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
        kinds[spec.kind] += len(files)
        really: set[Callable] = set()
        for file in files:
            for damage in (*CUTS, *CHANGES):
                runs._verified.cache_clear()  # each is a process of its own
                before = (folder / file).read_bytes()
                damage(folder / file)
                with monkeypatch.context() as patch:
                    # Made once, the rest of the time copied: it is whether it is made that counts.
                    if really & set(CUTS):
                        patch.setattr(type(spec), "make", copied)
                    told = outcome(spec, root, capsys)
                # A manifest is no JSON any more, whatever was done to its first or last letter.
                aside = damage in CUTS or (file.name == "DONE" and damage in (flipped, longer))
                if aside:
                    really.add(damage)
                    assert told.startswith("remem: ") and "put aside as" in told, (file, damage)
                    assert contents(folder) == contents(sound), (file, damage)
                    runs.verify(folder)
                    [lost] = root.glob(f".{folder.name}.cut-*")
                    shutil.rmtree(lost)
                else:
                    named = str(folder) if file.name == "DONE" else str(folder / file)
                    assert told.startswith("error: ") and named in told, (file, damage, told)
                    assert f"delete the folder {folder}" in told
                    restore(folder / file, before)
                tried["put aside and made again" if aside else "told"] += 1
        shutil.rmtree(sound)
    with capsys.disabled():
        print(
            f"\ndamage: {sum(tried.values()):,} cases on {sum(kinds.values())} files of "
            f"{len(kinds)} kinds of run ({', '.join(sorted(kinds))}): "
            f"{', '.join(f'{count:,} {how}' for how, count in tried.items())}, none believed; "
            f"{(time.monotonic() - began) / 60:.1f} min"
        )


def outcome(spec: runs.Run, root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a person reads who asks for the run."""
    capsys.readouterr()
    try:
        runs.get_or_create(spec, root)
    except runs.DamagedRun as error:
        return f"error: {error}"
    said = capsys.readouterr().err
    return "\n".join(line for line in said.splitlines() if line.startswith(runs.SAID))


def test_a_run_under_the_name_of_any_other_is_told(tmp_path):
    root = tmp_path / "outputs" / "smoke" / "runs"
    specs = one_of_each_kind(tmp_path / "outputs")
    for spec in specs:
        folder = runs.folder(spec, root)
        for other in specs:
            if other is not spec:
                runs._verified.cache_clear()
                moved = runs.folder(other, root).rename(tmp_path / "moved")
                folder.rename(runs.folder(other, root))
                with pytest.raises(runs.DamagedRun, match="holds another run under this name"):
                    runs.get_or_create(other, root)
                runs.folder(other, root).rename(folder)
                moved.rename(runs.folder(other, root))
    print(f"\nnames: {len(specs) * (len(specs) - 1)} runs under another's name, none believed")
