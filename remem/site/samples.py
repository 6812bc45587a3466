"""The rows behind Table 2 as files that a page loads when they are asked for: what each model said
to each question, how it ranked the candidates, and the pictures.

From a page that lies on a disk a browser loads scripts and no JSON, so that each file is JSON
inside a call. What many rows share (questions, answers, candidates) stands in it once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from remem import metrics, paths, runs
from remem.data import chosen, splits, validation
from remem.jobs import Job
from remem.report import style
from remem.site.behind import Runs
from remem.site.items import slug

NOTEBOOK, EXPERIMENT = "07_stage2", "unlearning"  # of Table 2

VIEWS = ("forget", "retain_eval", "test_forget", "test_retain")

FORGOTTEN, MOST = 2_000, 4_000  # rows about people whom some seed forgets, and rows in all

BEST = 20  # candidates that are shown of a row: the likeliest, and the true one

SIDE, LIGHT = 160, 20_000  # pixels a side, and bytes, up to which a picture is taken as it is

TOLD = "page.json"  # what the page has to know

WHOLE = 10_000  # a probability of 1

ROWS = ("attribute", "hop", "split", "question", "answer", "target")  # of each row, as they are


def write(behind: Runs, out: Path) -> dict[str, Any]:
    """Write the folder samples/ into `out`, and return what its page has to know: `models` (name ->
    method -> its file), `seeds` (seed -> who is forgotten), `people` (who are shown -> name),
    `everybody` (how many there are); nothing where no run of Table 2 is there.

    Raises what Runs does.
    """
    if not behind.any:
        return {}
    folders, config = behind.folders, behind.config(NOTEBOOK)
    done = [job for job in behind.jobs(NOTEBOOK, EXPERIMENT) if _folder(job, folders).is_dir()]
    if not done:
        return {}
    everything, _, pictures = chosen.dataset(config)
    seeds = {seed: chosen.forget_set(config, everything, seed) for seed in config.seeds}
    views = {seed: _views(everything, forget) for seed, forget in seeds.items()}
    asked = everything[everything["id"].isin({name for each in views.values() for name in each})]
    rows = some(asked, [who for people in seeds.values() for who in people])
    candidates = splits.candidates(everything)
    folder = out / "samples"
    shown = copy_pictures(rows["image"], pictures, folder)
    _write(folder / "rows.js", "rows", shared(rows, shown, candidates))
    models: dict[str, dict[str, str]] = {}
    said = _said(done, folders, {*rows["id"]}, views)
    for model, method in product(dict.fromkeys(said["model"]), style.markers(said["method"])):
        part = said[(said["model"] == model) & (said["method"] == method)]
        if len(part):
            file = f"{slug(f'{model} {method}')}.js"
            _write(folder / file, f"{model}/{method}", answers(part, rows["id"], candidates))
            models.setdefault(model, {})[method] = file
    told = {
        "models": models,
        "seeds": {str(seed): list(people) for seed, people in seeds.items()},
        "people": dict(zip(rows["identity"], rows["name"], strict=True)),
        "everybody": int(everything["identity"].nunique()),
    }
    paths.write(folder / TOLD, json.dumps(told, ensure_ascii=False), sync=False)
    return told


def kept(site: Path, out: Path) -> dict[str, Any]:
    """Copy the samples that a site has: of a run that has travelled without its runs. Returns what
    `write` did, or nothing where there are none."""
    if not (site / "samples" / TOLD).is_file():
        return {}
    shutil.copytree(site / "samples", out / "samples")
    return runs.read_json(site / "samples" / TOLD)


def some(rows: pd.DataFrame, forgotten: Sequence[str]) -> pd.DataFrame:
    """The rows that are shown, of whole people: up to FORGOTTEN about those who are forgotten, in
    their order, and then about others, up to MOST. At least somebody of either kind."""
    counts = rows["identity"].value_counts(sort=False)
    chosen_people: list[str] = []
    total = 0
    for people, most in (
        (list(dict.fromkeys(forgotten)), FORGOTTEN),
        ([who for who in counts.index if who not in {*forgotten}], MOST),
    ):
        for at, who in enumerate(people):
            if at and total + counts[who] > most:
                break
            chosen_people.append(who)
            total += counts[who]
    return rows[rows["identity"].isin(chosen_people)].reset_index(drop=True)


def shared(
    rows: pd.DataFrame, pictures: Sequence[str], candidates: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """What all models are asked: a list for each of ROWS, `person` and `picture`, and the values
    that are ranked, by attribute."""
    columns = {name: list(rows[name]) for name in ROWS}
    columns |= {"person": list(rows["identity"]), "picture": list(pictures)}
    return {"rows": columns, "candidates": {name: list(each) for name, each in candidates.items()}}


def answers(
    said: pd.DataFrame, ids: pd.Series, candidates: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """What one model said, by seed: lists of as many values as there are answers.

    `row`, its place in `ids`; `view`, its place in VIEWS; `text`, a place in `texts`, or -1 where
    it is the reference answer; `em`, 1 or 0; `rank` of the true value, or null; and `best`, the
    likeliest candidates as pairs (place among the attribute's values, probability per token in
    units of 1 / WHOLE), or null.

    said: id, view, seed, em, attribute, answer, target, answer_given, candidate_rank,
    candidate_logps.
    """
    places = pd.Series(range(len(ids)), ids)
    texts: dict[str, int] = {}
    found = {}
    for seed, part in said.groupby("seed", sort=False):
        given = zip(part["answer_given"], part["answer"], strict=True)
        ranks = part["candidate_rank"]
        found[str(seed)] = {
            "row": places[part["id"]].tolist(),
            "view": [VIEWS.index(view) for view in part["view"]],
            "text": [-1 if a == b else texts.setdefault(a, len(texts)) for a, b in given],
            "em": [int(em) for em in part["em"]],
            "rank": [None if pd.isna(rank) else round(rank, 1) for rank in ranks],
            "best": [
                _best(*each, candidates)
                for each in zip(
                    part["candidate_logps"], part["attribute"], part["target"], strict=True
                )
            ],
        }
    return {"texts": list(texts), "seeds": found}


def copy_pictures(names: Sequence[str] | pd.Series, source: Path, out: Path) -> list[str]:
    """Copy pictures of a dataset folder, made small where they are large; returns for each of
    `names` its file, relative to `out`. Raises BadData for one that cannot be read."""
    paths.make_folder(out / "pictures")
    files: dict[str, str] = {}
    for name in names:
        if name not in files:
            files[name] = _copied(name, source, out, f"pictures/{len(files):04d}")
    return [files[name] for name in names]


def _copied(name: str, source: Path, out: Path, stem: str) -> str:
    file = source / name  # its row was checked, and lies inside
    with Image.open(file, formats=("PNG", "JPEG")) as picture:
        suffix = {"PNG": ".png", "JPEG": ".jpg"}[str(picture.format)]
        small = file.stat().st_size <= LIGHT and max(picture.size) <= SIDE
    if small:
        shutil.copyfile(file, out / f"{stem}{suffix}")
        return f"{stem}{suffix}"
    picture = validation.load_image(source, name)
    picture.thumbnail((SIDE, SIDE))
    picture.save(out / f"{stem}.jpg", quality=85)
    return f"{stem}.jpg"


def _folder(job: Job, folders: paths.Folders) -> Path:
    return runs.folder(job.spec, folders.runs)


def _views(rows: pd.DataFrame, forget: Sequence[str]) -> dict[str, str]:
    """The view of each row, by its id, of those that Table 2 is made of."""
    evaluated = splits.evaluated(rows, forget)
    return dict(zip(evaluated["id"], evaluated["view"], strict=True))


def _said(
    done: Sequence[Job],
    folders: paths.Folders,
    kept: set[str],
    views: Mapping[int, Mapping[str, str]],
) -> pd.DataFrame:
    """The answers of all these jobs about the rows `kept`, with their labels, `view` and `em`."""
    from remem.evaluation.answers import read_answers  # which loads torch

    parts = []
    for job in done:
        rows = splits.with_longer_values(*read_answers(_folder(job, folders)))
        # What the job's own `select` gives, which would split the data anew for every model.
        rows = rows.assign(view=rows["id"].map(views[job.labels["seed"]]))
        rows = rows[rows["view"].notna() & rows["id"].isin(kept)]
        missing = {"candidate_rank": np.nan, "candidate_logps": None}
        rows = rows.assign(**{name: value for name, value in missing.items() if name not in rows})
        parts.append(rows.assign(**job.labels))
    said = pd.concat(parts, ignore_index=True)
    return said.assign(em=metrics.em(said))  # all at once: texts come back in every run


def _best(
    logps: Sequence[float] | None,
    attribute: str,
    target: str,
    candidates: Mapping[str, Sequence[str]],
) -> list[int] | None:
    """Of one row the BEST likeliest candidates and the true one, flat."""
    if logps is None or attribute not in candidates:
        return None
    order = np.argsort(-np.asarray(logps), kind="stable")
    truth = list(candidates[attribute]).index(target)
    shown = [*order[:BEST], *([truth] if truth not in order[:BEST] else [])]
    probabilities = np.rint(WHOLE * np.exp(np.asarray(logps))).astype(int)
    return [int(number) for k in shown for number in (k, probabilities[k])]


def _write(file: Path, name: str, content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    taken = f"remem.take({json.dumps(name)}, {text})\n"
    paths.write(file, taken.encode(errors="replace"), sync=False)
