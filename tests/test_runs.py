"""runs: done is loaded, killed is made again with the same bytes, damage is told."""

import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from remem import paths, runs


class Inner(runs.Spec):
    kind: ClassVar[str] = "inner"
    lr: float


class Other(runs.Spec):
    kind: ClassVar[str] = "other"
    lr: float


class Seen:
    """What a spec holds that is no plain value: it says itself what stands for it."""

    def __init__(self, text: str):
        self.text = text

    def described(self) -> dict[str, str]:
        return {"source": self.text.lower()}


class Toy(runs.Run):
    """Writes two files, one in a folder; `name` chooses how it goes wrong."""

    kind: ClassVar[str] = "toy"
    name: str
    seed: int = 1
    inner: Inner = Inner(lr=1)
    batch: Annotated[int, runs.NOT_IN_DIGEST] = 8

    def make(self, out: Path, runs_root: Path) -> None:
        called(self.name, runs_root)
        (out / "adapter").mkdir()
        (out / "adapter" / "weights").write_bytes(bytes(range(self.seed)) * 100)
        if self.name == "bad":
            raise RuntimeError("loss is nan")
        (out / "scores.json").write_text(json.dumps({"seed": self.seed}))

    def read(self, folder: Path) -> pd.DataFrame:
        return pd.DataFrame([runs.read_json(folder / "scores.json")])


class Child(runs.Run):
    """Reads what the runs it needs have written."""

    kind: ClassVar[str] = "child"
    of: tuple[Toy, ...]

    def needs(self) -> tuple[Toy, ...]:
        return self.of

    def make(self, out: Path, runs_root: Path) -> None:
        called("child", runs_root)
        seeds = [runs.read_json(runs.folder(one, runs_root) / "scores.json") for one in self.of]
        (out / "sum.json").write_text(json.dumps(sum(each["seed"] for each in seeds)))


def called(name: str, runs_root: Path) -> None:
    with (runs_root / "calls").open("a") as calls:
        calls.write(f"{name}\n")


def calls(root: Path) -> list[str]:
    return (root / "calls").read_text().split() if (root / "calls").exists() else []


# ---------------------------------------------------------------- names


def test_the_digest_knows_every_field_and_kind():
    spec = Toy(name="a")
    assert runs.digest(spec) == runs.digest(Toy(name="a", seed=1, inner=Inner(lr=1.0)))
    assert len(runs.digest(spec)) == 12
    assert runs.digest(spec) != runs.digest(Toy(name="a", inner=Inner(lr=2)))
    assert runs.digest(spec) != runs.digest(Toy(name="a", seed=2))
    assert runs.digest(Inner(lr=1)) != runs.digest(Other(lr=1))
    assert runs.name(spec) == f"toy-{runs.digest(spec)}"
    # written down: a change of this value makes every run of every user be made again
    assert runs.digest(Inner(lr=0.5)) == "c1a61ad43ccd"


def test_a_raised_revision_is_another_digest_and_so_is_all_that_builds_on_it(monkeypatch):
    inner, outer, other = Inner(lr=1), Toy(name="a"), Other(lr=1)
    before = [runs.digest(spec) for spec in (inner, outer, other)]
    monkeypatch.setattr(Inner, "revision", 2)
    after = [runs.digest(spec) for spec in (inner, outer, other)]
    assert after[0] != before[0] and after[1] != before[1] and after[2] == before[2]
    monkeypatch.setattr(Inner, "revision", 3)
    assert runs.digest(inner) not in (before[0], after[0])


def test_what_moves_only_memory_is_in_the_record_and_not_in_the_name(tmp_path):
    small, large = Toy(name="a", batch=8), Toy(name="a", batch=64)
    assert runs.digest(small) == runs.digest(large)
    assert runs.digest(Child(of=(small,))) == runs.digest(Child(of=(large,)))
    folder = runs.get_or_create(large, tmp_path)
    assert runs.get_or_create(small, tmp_path) == folder and calls(tmp_path) == ["a"]
    assert runs.read_json(folder / "spec.json")["spec"]["batch"] == 64


def test_what_a_system_leaves_in_a_run_is_no_part_of_it(tmp_path, monkeypatch):
    make = Toy.make
    leave = "make", lambda self, out, root: (make(self, out, root), (out / ".DS_Store").touch())
    monkeypatch.setattr(Toy, *leave)
    folder = runs.get_or_create(Toy(name="a"), tmp_path)
    (folder / ".DS_Store").write_bytes(b"changed")
    (folder / "Thumbs.db").write_bytes(b"new")
    assert runs.get_or_create(Toy(name="a"), tmp_path) == folder


def test_json_that_is_none_is_named(tmp_path):
    for content in (b"{", b"", b"\xff", b"[" * 100_000):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(runs.NotJson, match=r"x\.json is not valid JSON: "):
            runs.read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf{}")
    assert runs.read_json(tmp_path / "x.json") == {}


def test_a_value_that_describes_itself_is_known_by_that():
    class Holder(runs.Spec):
        kind: ClassVar[str] = "holder"
        method: Seen

    one, same, other = (Holder(method=Seen(text)) for text in ("Loss", "loss", "other"))
    assert runs.digest(one) == runs.digest(same) != runs.digest(other)
    assert runs.plain(one) == {"kind": "holder", "method": {"source": "loss"}}


@pytest.mark.parametrize("given", [{"lr": "1"}, {"lr": float("nan")}, {"lr": 1, "rate": 2}, {}])
def test_a_spec_takes_nothing_for_granted(given):
    with pytest.raises(ValidationError):
        Inner(**given)


def test_nested_keys_are_flattened_with_dots():
    assert runs.flat({"a": {"b": 1, "c": {"d": None}}, "e": [1]}) == {
        "a.b": 1,
        "a.c.d": None,
        "e": [1],
    }


# ---------------------------------------------------------------- made once


def test_what_is_done_is_not_made_again(tmp_path):
    spec = Toy(name="a", seed=3)
    folder = runs.get_or_create(spec, tmp_path)
    assert folder == runs.folder(spec, tmp_path) == runs.get_or_create(spec, tmp_path)
    assert calls(tmp_path) == ["a"]
    assert spec.read(folder).seed.item() == 3
    kept = runs.read_json(folder / "spec.json")
    assert kept["spec"]["inner"] == {"kind": "inner", "lr": 1.0}
    assert kept["versions"]["python"].startswith("3.")
    assert {"device", "threads", "commit", "seconds"} <= kept.keys()
    done = runs.read_json(folder / "DONE")["files"]
    assert done.keys() == {"adapter/weights", "scores.json", "spec.json"}
    assert done["adapter/weights"]["bytes"] == 300


def test_what_a_run_needs_is_made_first_and_once(tmp_path):
    parts = tuple(Toy(name=f"n{seed}", seed=seed) for seed in (2, 3))
    folder = runs.get_or_create(Child(of=parts), tmp_path)
    assert (folder / "sum.json").read_text() == "5"
    assert calls(tmp_path) == ["n2", "n3", "child"]
    runs.get_or_create(Child(of=parts[:1]), tmp_path)
    assert calls(tmp_path)[3:] == ["child"]


def test_a_failed_need_leaves_the_run_that_needs_it_unmade(tmp_path):
    with pytest.raises(RuntimeError, match="loss is nan"):
        runs.get_or_create(Child(of=(Toy(name="bad"),)), tmp_path)
    assert calls(tmp_path) == ["bad"]
    assert not list(tmp_path.glob("*-*"))


def test_a_maker_may_be_handed_over(tmp_path):
    def make(out: Path) -> None:
        called("own", tmp_path)
        (out / "file").write_text("x")

    spec = Inner(lr=1)
    folder = runs.create(spec, make, tmp_path)
    assert folder == runs.create(spec, make, tmp_path)
    assert folder.name == f"inner-{runs.digest(spec)}" and calls(tmp_path) == ["own"]


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError, match="loss is nan"):
        runs.get_or_create(Toy(name="bad"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".locks", "calls"]


def test_what_a_dead_process_left_half_made_is_no_hindrance(tmp_path):
    spec = Toy(name="a")
    part = tmp_path / f".{runs.name(spec)}.part"
    (part / "adapter").mkdir(parents=True)
    (part / "stale").write_text("x")
    folder = runs.get_or_create(spec, tmp_path)
    assert not (folder / "stale").exists() and not part.exists()


# ---------------------------------------------------------------- damage


def damage_by_changing(folder):
    (folder / "scores.json").write_text('{"seed": 2}')  # as long as before
    return "scores.json was changed"


def damage_by_removing(folder):
    (folder / "adapter" / "weights").unlink()
    return "weights is missing"


def damage_by_adding(folder):
    with (folder / "adapter" / "weights").open("ab") as file:
        file.write(b"x")
    return "weights was changed"


def damage_by_another_manifest(folder):
    (folder / "DONE").write_text('{"files": {"scores.json": 3}}')
    return "DONE cannot be read"


def damage_by_undoing(folder):
    (folder / "DONE").unlink()
    return "holds no DONE"


@pytest.mark.parametrize(
    "damage",
    [
        damage_by_changing,
        damage_by_removing,
        damage_by_adding,
        damage_by_another_manifest,
        damage_by_undoing,
    ],
)
def test_a_damaged_folder_is_told_and_kept(tmp_path, damage):
    folder = runs.get_or_create(Toy(name="a"), tmp_path)
    reason = damage(folder)
    for spec in (Toy(name="a"), Child(of=(Toy(name="a"),))):
        with pytest.raises(runs.DamagedRun, match=reason) as told:
            runs.get_or_create(spec, tmp_path)
        assert f"delete the folder {folder}" in str(told.value)
    assert folder.is_dir() and calls(tmp_path) == ["a"]


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path):
    """As long as it was: its size had come to the disk, and nothing else."""
    path.write_bytes(bytes(path.stat().st_size))


def zeroed_from_a_page_on(path):
    content = path.read_bytes()
    path.write_bytes(content[: runs.PAGE] + bytes(len(content) - runs.PAGE))


@pytest.mark.parametrize(
    "file, loss",
    [
        ("adapter/weights", zeroed_from_a_page_on),
        *itertools.product(
            ("adapter/weights", "scores.json", "spec.json", "DONE"), (empty, cut, zeroed)
        ),
    ],
)
def test_what_a_loss_of_power_left_is_put_aside_with_a_line_and_made_again(
    tmp_path, capsys, file, loss
):
    spec = Toy(name="a", seed=90)  # 9,000 bytes of weights
    folder = runs.get_or_create(spec, tmp_path)
    kept = (folder / "adapter" / "weights").read_bytes()
    loss(folder / file)
    left = (folder / file).read_bytes()
    with pytest.raises(runs.CutShort, match=rf"{Path(file).name} is empty or cut short; delete"):
        runs.verify(folder)
    assert runs.get_or_create(Child(of=(spec,)), tmp_path).is_dir()
    [line] = capsys.readouterr().err.splitlines()
    [aside] = tmp_path.glob(f".{folder.name}.cut-*")
    assert line.startswith(f"remem: {folder / file} is empty or cut short")
    assert line.endswith(f"put aside as {aside.name}, and made again")
    assert (aside / file).read_bytes() == left  # nothing of it was lost
    assert (folder / "adapter" / "weights").read_bytes() == kept and runs.verify(folder)
    assert calls(tmp_path) == ["a", "a", "child"]


def test_what_is_cut_short_is_not_done_and_what_is_changed_is(tmp_path):
    spec = Toy(name="a")
    assert not runs.is_done(spec, tmp_path)
    folder = runs.get_or_create(spec, tmp_path)
    assert runs.is_done(spec, tmp_path)
    damage_by_changing(folder)
    assert runs.is_done(spec, tmp_path)  # whoever uses it is told
    for file in ("scores.json", "DONE"):
        cut(folder / file)
        assert not runs.is_done(spec, tmp_path)


def test_a_run_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """What a disk would hold after a loss of power: what was synced, under the names of folders
    that were synced."""
    spec, synced, held = Toy(name="a"), set(), []
    fsync, rename = os.fsync, os.rename

    def note_fsync(handle):
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    def note_rename(source, target):
        inside = [Path(source), *Path(source).rglob("*")]
        held.append({path.name: path.stat().st_ino in synced for path in inside})
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    runs.get_or_create(spec, tmp_path)
    [each] = held
    names = {f".{runs.name(spec)}.part", "adapter", "weights", "scores.json", "spec.json", "DONE"}
    assert each == dict.fromkeys(names, True)
    assert tmp_path.stat().st_ino in synced  # and the name itself


@pytest.mark.parametrize("verified_once", [False, True])
def test_a_run_under_anothers_name_is_told(tmp_path, monkeypatch, verified_once):
    monkeypatch.setattr(Toy, "verified_once", verified_once)
    spec, other = Toy(name="a", inner=Inner(lr=0.5), batch=4), Toy(name="a", batch=64)
    folder = runs.get_or_create(spec, tmp_path)
    folder.rename(runs.folder(other, tmp_path))
    for asked in (other, Child(of=(other,))):
        with pytest.raises(runs.DamagedRun) as told:
            runs.get_or_create(asked, tmp_path)
        folder = runs.folder(other, tmp_path)
        assert f"{folder} holds another run" in str(told.value)
        assert "spec.json has inner.lr = 0.5, which should be 1.0; delete" in str(told.value)
    assert calls(tmp_path) == ["a"]


def test_a_run_of_other_runs_is_told_by_where_they_differ(tmp_path):
    one, two = (Child(of=(Toy(name="a", batch=4), Toy(name="b", seed=seed))) for seed in (1, 2))
    same = Child(of=(Toy(name="a", batch=8), Toy(name="b", seed=1, batch=2)))
    folder = runs.get_or_create(one, tmp_path)
    assert runs.get_or_create(same, tmp_path) == folder  # memory is no other run
    folder.rename(runs.folder(two, tmp_path))
    with pytest.raises(runs.DamagedRun, match=r"has of\[1\]\.seed = 1, which should be 2"):
        runs.get_or_create(two, tmp_path)
    spec = runs.folder(two, tmp_path) / "spec.json"
    for content in (b"[]", b'{"spec": 1}'):  # nobody's
        spec.write_bytes(content)
        done = runs.read_json(spec.with_name("DONE"))
        done["files"]["spec.json"] = {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        spec.with_name("DONE").write_text(json.dumps(done))
        with pytest.raises(runs.DamagedRun, match=r"spec\.json (cannot be read|has the spec = 1)"):
            runs.get_or_create(two, tmp_path)


def test_half_made_runs_go_and_those_that_are_being_made_or_are_not_ours_stay(tmp_path):
    dead, living = (tmp_path / f".{runs.name(Toy(name=name))}.part" for name in "ab")
    not_ours = tmp_path / ".my-notes.part"
    for part in (dead, living, not_ours):
        (part / "adapter").mkdir(parents=True)
    locks = tmp_path / ".locks"
    locks.mkdir()
    (locks / runs.name(Toy(name="a"))).touch()
    with runs.locked(locks / runs.name(Toy(name="b"))):
        runs.clear(tmp_path)
        assert not dead.exists() and living.is_dir() and not_ours.is_dir()
    runs.clear(tmp_path / "not there")


def test_what_is_large_is_verified_once_in_a_process(tmp_path, monkeypatch):
    monkeypatch.setattr(Toy, "verified_once", True)
    folder = runs.get_or_create(Toy(name="a"), tmp_path)
    runs.get_or_create(Toy(name="a"), tmp_path)
    damage_by_changing(folder)
    assert runs.get_or_create(Toy(name="a"), tmp_path) == folder
    with pytest.raises(runs.DamagedRun):
        runs.verify(folder)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(paths.CannotWrite, match="REMEM_OUTPUTS"):
        runs.get_or_create(Toy(name="a"), tmp_path / "runs")


def test_a_lock_is_free_again_after_an_error_and_one_that_cannot_be_taken_is_told(tmp_path):
    with pytest.raises(ZeroDivisionError), runs.locked(tmp_path / "lock"):
        raise ZeroDivisionError
    with runs.locked(tmp_path / "lock"):
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(paths.CannotWrite, match="cannot write"),
        runs.locked(tmp_path / "file" / "x"),
    ):
        pass


def test_a_lock_is_let_go_of_when_its_holder_is_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from remem import runs\n"
        f"with runs.locked(Path({str(tmp_path / 'lock')!r})):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert holder.stdout and holder.stdout.readline() == "held\n"
    waiter = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert waiter.stderr and "another process is making it" in waiter.stderr.readline()
        holder.kill()
        assert waiter.stdout and waiter.stdout.readline() == "held\n"
    finally:
        for process in (holder, waiter):
            process.kill()
            process.communicate()


# ---------------------------------------------------------------- small things


def test_a_folders_content_is_names_and_bytes(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    known = runs.content(tmp_path, ["a", "b"])
    (tmp_path / ".DS_Store").write_text("x")
    assert runs.content(tmp_path, ["a", "b"]) == known != runs.content(tmp_path, ["b", "a"])
    (tmp_path / "b").write_text("3")
    assert runs.content(tmp_path, ["a", "b"]) != known


def test_seeds_reach_all_three_generators():
    import torch

    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    runs.seed_everything(5)
    first = draw()
    runs.seed_everything(5)
    assert draw() == first
    runs.seed_everything(6)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_json_that_is_none_names_its_file(tmp_path):
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(ValueError, match=r"scores\.json is not valid JSON"):
        runs.read_json(tmp_path / "scores.json")
