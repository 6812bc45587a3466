"""The tiny base models anew: trained from nothing, compared with those of the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from remem import paths, runs
from remem.config.sections import Config
from remem.experiments import setup
from remem.training import shipped
from remem.training.vision_tower import TowerRun

# Of the files of a run: what made it is kept under another name, for its copies are runs again.
NAMES = {"spec.json": "recipe.json", "DONE": None}


def rebuild(config: Config) -> pd.DataFrame:
    """Train the tower and every base model of `config` that is trained here, from nothing, in
    `rebuilt/` of the outputs (what is there already is kept). Gives model, what, in the repository,
    rebuilt: abilities in percent, and how far the weights lie apart, in percent of their size."""
    root, parts = _rebuilt(config), []
    for name, run in setup.trained_here(config).items():
        folder = runs.create(run, lambda out, run=run: run.build(out, root), root)
        old = shipped.folder(run)
        report = runs.read_json(folder / "report.json")
        there = runs.read_json(old / "report.json") if old else {}
        lines = {what: found["percent"] for what, found in report.items()}
        table = pd.DataFrame({"what": list(lines), "rebuilt": list(lines.values())})
        known = [there.get(what, {}).get("percent") for what in lines]
        table.insert(1, "in the repository", pd.Series(known, dtype=float))
        if old:
            apart = _distance(old / "model.safetensors", folder / "model.safetensors")
            table.loc[len(table)] = ["weights, difference", 0.0, apart]
        table.insert(0, "model", name)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def ship(config: Config) -> list[Path]:
    """Put what `rebuild` made into the repository, in place of what is there: the new folders."""
    root, found = _rebuilt(config), []
    bases = setup.trained_here(config).values()
    for run in [*_towers(config), *bases]:
        source, target = runs.folder(run, root), paths.BASES / runs.name(run)
        with paths.new_folder(paths.make_folder(target.parent) / target.name) as part:
            for file in source.iterdir():
                if name := NAMES.get(file.name, file.name):
                    shutil.copyfile(file, part / name)
            shutil.rmtree(target, ignore_errors=True)
        found.append(target)
    for old in paths.BASES.iterdir():
        if old not in found:
            shutil.rmtree(old)
    return found


def _rebuilt(config: Config) -> Path:
    root = config.folders.root / "rebuilt"
    for tower in _towers(config):
        runs.create(tower, tower.build, root)
    return root


def _towers(config: Config) -> list[TowerRun]:
    return [TowerRun(tower=config.base.tower)] if config.base.tower else []


def _distance(first: Path, second: Path) -> float:
    """Of two files of weights: the size of the difference, in percent of that of the first."""
    ours, theirs = load_file(first), load_file(second)
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        return float("nan")
    difference = sum(float((v.float() - theirs[k].float()).square().sum()) for k, v in ours.items())
    return 100 * (difference / sum(float(v.float().square().sum()) for v in ours.values())) ** 0.5
