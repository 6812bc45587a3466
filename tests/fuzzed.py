"""Every reader of files that somebody may bring, with sound files for it: what is fuzzed.

`READS` says of each function of the package that opens a file by which of them it is tried, or why
by none; tests/test_fuzzed.py fails when one is missing there.
"""

import base64
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import formats
import pandas as pd
from mmbench_file import row
from PIL import Image
from reader_files import MAP

from remem import paths, runs, site
from remem.config import BadParameter, core_yaml, explain, load_config, loading
from remem.config.services import Account, Judge
from remem.construction import pipeline, review
from remem.data import decoding, doubts, publish, review_marks, splits, validation
from remem.data.dataset import FolderData, SyntheticData, folder_data, folder_of
from remem.data.decoding import BadPicture
from remem.data.readers import convert, files, mmbench
from remem.data.review_marks import BadReview
from remem.data.validation import BadData
from remem.evaluation import graded, judge
from remem.preflight import rates
from remem.report import calls, claims, machine, made, output, verdicts, written
from remem.services import ledger, pictures
from remem.site import agreement
from remem.site.behind import Runs
from remem.site.files import Files

SMALL = SyntheticData(identities=2, image_size=16, single=2, multi=3, test_single=2, test_multi=2)

# Of the reference's tables those that pages read by name, and some; a few lines of each.
TABLES = ("table2", "table2_curves", "memorised", "scorecard", "preconditions", "verdict_changes")
TABLES += ("fig6", "assumptions")
LINES = 8

Refusal = type[Exception]


@dataclass(frozen=True)
class Reader:
    """make: write sound files into an empty folder. read: read them, one of which, `file`, was
    changed; False where it says that it is not to be read. `refuses` with these, and with nothing
    else. Of all inputs it gets `share` parts."""

    make: Callable[[Path], Any]
    read: Callable[[Path, Path], Any]
    refuses: tuple[Refusal, ...] = ()
    share: int = 4
    seconds: int = 5  # of processor time, at most, for one input


def each(*reads: Callable[[], Any], refuses: tuple[Refusal, ...]) -> bool:
    """Whether all of them read it: one that refuses keeps none of the others from trying."""
    found = []
    for read in reads:
        try:
            read()
            found.append(True)
        except refuses as error:
            assert str(error).strip(), f"{type(error).__name__} without a word"
            found.append(False)
    return all(found)


# ---------------------------------------------------------------- parameters


def _scales(folder: Path) -> None:
    for file in paths.PARAMS.glob("*.yaml"):
        shutil.copy(file, folder)


def _params(folder: Path, file: Path) -> None:
    config = load_config(file)
    list(explain.listed(file))
    assert loading.changes(config) is not None
    made.parameters(config)


def _settings(folder: Path) -> None:
    known = runs.flat(load_config("smoke").model_dump(mode="json"))
    lines = [f"{key}={runs.as_json(value).strip()}" for key, value in known.items()]
    lines = [line for line in lines if "\n" not in line and not line.startswith("scale=")]
    (folder / "one.set").write_text("\n".join(lines[::7]))
    (folder / "other.set").write_text("stage1.epochs=3\nseeds=[1, 2]\nmodels=[smoke]\n")


def _set(folder: Path, file: Path) -> None:
    given = [os.fsdecode(line) for line in file.read_bytes().replace(b"\0", b"").splitlines()]
    load_config("smoke", loading.assignments(given))
    for each in given:
        loading.assignments([loading.with_section(each, "construction", "services")])


# ---------------------------------------------------------------- data


def _people(folder: Path) -> tuple[Path, pd.DataFrame, dict[str, bytes]]:
    source = folder_of(SMALL, folder.parent / "drawn")
    rows = validation.read(source)
    return source, rows, {name: (source / name).read_bytes() for name in rows["image"]}


def _dataset(folder: Path) -> None:
    source, rows, _ = _people(folder)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("DONE"), dirs_exist_ok=True)
    paths.write(folder / "source.json", '{"forget_sets": {"forget5": ["p01"]}, "notes": []}')
    known = {"people": 2, "seed": 1, "face_similarity": {"threshold": 0.5}}
    paths.write(folder / "construction.json", runs.as_json(known))
    paths.write(folder / "spec.json", '{"kind": "constructed"}')
    _marks(folder, rows)


def _marks(folder: Path, rows: pd.DataFrame) -> None:
    marked = rows.head(2).assign(decision=["keep", "drop"], reason=["", "ethics"])
    marked["fingerprint"] = [
        review_marks.fingerprint(picture)
        for picture in validation.load_images(folder, marked["image"])
    ]
    (folder / "review").mkdir()
    marked[[*review_marks.COLUMNS]].to_csv(folder / "review" / "p00.csv", index=False)


def _read_dataset(folder: Path, file: Path) -> bool:
    out = folder.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    faults, *_ = doubts.check(folder)
    sound = not faults
    return sound & each(
        lambda: validation.read(folder),
        lambda: splits.own_forget_set(folder_data(str(folder)), "forget5", folder.parent),
        lambda: splits.own_forget_set(
            FolderData(folder=str(folder), content=""), "forget5", folder.parent
        ),
        lambda: publish.export(folder, out),
        refuses=(BadData, BadReview),
    )


def _benchmark(kind: str, folder: Path) -> None:
    source, rows, content = _people(folder)
    if kind == "flat":  # what remem reads besides parquet
        without = shutil.ignore_patterns("*.json", "DONE")
        shutil.copytree(source, folder, ignore=without, dirs_exist_ok=True)
        return
    given: dict[str, Any] = {"remem": MAP, "clear": {"forget05": [rows["name"][0]]}}
    given |= {"fiubench": {"forget1": ["p01"]}, "mllmu": {"forget_5": ["p00"]}}
    written_as = kind.removesuffix("_real")
    getattr(formats, written_as)(rows, content, folder, given[written_as])


def _converted(kind: str, folder: Path, file: Path) -> None:
    out = folder.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    files.can_be_read(file)
    columns = MAP if kind == "remem" else {}
    made_of = convert.convert("remem" if kind == "flat" else kind, folder, out, columns)
    validation.read(made_of)
    runs.read_json(out / "source.json")


def _mmbench(folder: Path) -> None:
    _, _, content = _people(folder)
    image = base64.b64encode(next(iter(content.values()))).decode()
    rows = [row(str(k), image=image, hint='a "quoted" one') for k in range(3)]
    rows[2]["image"] = "1"
    pd.DataFrame(rows).to_csv(folder / "mmbench.tsv", sep="\t", index=False)


def _pictures(folder: Path) -> None:
    _, _, content = _people(folder)
    picture = Image.open(io.BytesIO(next(iter(content.values())))).resize((96, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "plain.png")
    picture.save(folder / "turned.png", exif=exif)
    picture.save(folder / "plain.jpg", exif=exif)
    picture.save(folder / "scans.jpg", progressive=True)
    picture.convert("P").save(folder / "palette.png")


def _picture(folder: Path, file: Path) -> bool:
    data = file.read_bytes()
    return each(
        lambda: decoding.decode(file),
        lambda: validation.load_image(folder, file.name),
        lambda: pictures.read(data),
        lambda: mmbench.picture(base64.b64encode(data).decode()),
        refuses=(BadPicture, BadData, ledger.Unusable),
    )


def _draft(folder: Path) -> None:
    _, rows, content = _people(folder)
    for name, data in content.items():
        paths.write(folder / name, data)
    table = rows[["identity", "image", "split"]].assign(similarity=0.7, pose="left")
    table.to_csv(folder / "pictures.csv", index=False)
    paths.write(folder / "people.json", '[{"identity": "p00", "name": "A"}, {"identity": "p01"}]')
    similar = rows[["identity", "split"]].assign(layout=0, similarity=0.7, refused="")
    similar.to_csv(folder / "similarities.csv", index=False)
    paths.write(folder / "passed.json", '["p00-train-000"]')
    _marks(folder, rows)


def _review(folder: Path, file: Path) -> bool:
    link = folder.parent / "construction" / "draft"
    if not link.is_symlink():
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(folder)
    return each(
        lambda: review.write_pages(folder),
        lambda: pipeline.similarities(link.parent),
        refuses=(BadReview, BadData),
    )


# ---------------------------------------------------------------- outputs


def _outputs(folder: Path) -> None:
    """A part of the reference run, with records of what made it."""
    root = folder / "tiny"
    for name in ("layout.json", "machine.json", "notebooks.csv"):
        paths.write(root / name, (paths.REFERENCE / name).read_bytes())
    tables = [paths.REFERENCE / "tables" / f"{name}.csv" for name in TABLES]
    judged = sorted((paths.REFERENCE / "verdicts").glob("*.csv"))
    for file in (*judged, *tables, paths.REFERENCE / "times.csv"):  # the scorecard last
        kept = pd.read_csv(file, dtype=str, keep_default_na=False).head(LINES)
        paths.write(root / file.relative_to(paths.REFERENCE), kept.to_csv(index=False))
    for name in ("fig1", "table3"):
        Image.new("RGB", (240, 120), "white").save(content := io.BytesIO(), "PNG", dpi=(240, 240))
        paths.write(root / "figures" / f"{name}.png", content.getvalue())
    of = made.parameters(load_config("tiny"))
    for name in ("tables/table2.csv", "tables/scorecard.csv", "verdicts/07_stage2.csv"):
        made.note(_folders(folder), root / name, "07_stage2", of)


def _folders(folder: Path) -> paths.Folders:
    return paths.Folders(folder / "tiny", folder / "tiny" / "runs")


def _site(folder: Path, file: Path) -> bool:
    first = site.build(_folders(folder))
    text = first.read_text("utf-8")
    assert text.rstrip().endswith("</html>"), "the first page has no end"
    return "Cannot be read:" not in text


def _executed(folder: Path) -> None:
    root = folder / "smoke"
    paths.write(root / "layout.json", '{"scale": "smoke", "data": "smoke"}')
    for name in ("06_stage1", "07_stage2"):
        given = {"scale": "smoke", "overrides": {"stage2": {"lr": 1e-4}, "seeds": [1]}}
        notebook = {"cells": [], "metadata": {"papermill": {"parameters": given}}}
        paths.write(root / "notebooks" / f"{name}.ipynb", runs.as_json(notebook))


def _behind(folder: Path, file: Path) -> bool:
    folders = paths.Folders(folder / "smoke", folder / "smoke" / "runs")
    with mock.patch.dict(os.environ, REMEM_OUTPUTS=str(folder)):
        behind = Runs(folders)
        return each(
            lambda: behind.config("06_stage1"),
            lambda: behind.config("07_stage2"),
            refuses=(BadParameter,),
        )


def _notebook_9(folder: Path, file: Path) -> None:
    folders = _folders(folder)
    conditions = verdicts.preconditions(folders)
    table = claims.scorecard(verdicts.of_notebooks(folders), conditions)
    ran = table[table["notebook"] != ""]
    claims.changes(table)
    repr(verdicts.Verdicts(ran))


class _TwoVerdicts(ValueError):
    """Of a claim, which `claims.scorecard` refuses with a ValueError that says so."""


def _read_notebook_9(folder: Path, file: Path) -> None:
    try:
        _notebook_9(folder, file)
    except ValueError as error:
        if "has a verdict from" in str(error):
            raise _TwoVerdicts(str(error)) from error
        raise


def _two_outputs(folder: Path) -> None:
    _outputs(folder)
    shutil.copytree(folder / "tiny", folder / "other")


def _agreement(folder: Path, file: Path) -> bool:
    there = paths.Folders(folder / "other", folder / "other" / "runs")
    found = agreement.compare(_folders(folder), there)
    assert list(agreement.sentences(found))
    return not found.broken


def _records(folder: Path) -> None:
    with mock.patch.dict(os.environ, REMEM_OUTPUTS=str(folder)):
        config = load_config("smoke")
        output.open_folder(config)
        machine.keep(config.folders)
        table = paths.write(config.folders.tables / "table2.csv", "EM\n1\n")
        made.note(config.folders, table, "07_stage2", made.parameters(config))
        paths.write(config.folders.runs / "answers-0123456789ab" / "DONE", "{}")
        spec = {"kind": "answers", "seconds": 1.5}
        paths.write(config.folders.runs / "answers-0123456789ab" / "spec.json", runs.as_json(spec))
        calls.remember(config.folders, "07_stage2", 1.7e9, 12.5, {"seeds": ([1], [2])}, "abc")


def _read_records(folder: Path, file: Path) -> None:
    with mock.patch.dict(os.environ, REMEM_OUTPUTS=str(folder)):
        config = load_config("smoke")
        folders = config.folders
        machine.known(folders)
        known = made.known(folders)
        made.otherwise(known, [folders.tables / "table2.csv"], "abc")
        Files(folders).layout()
        calls.last_parameters(folders)
        calls.expected(folders, ["07_stage2"], "abc", "smoke")
        calls.remember(folders, "06_stage1", 1.8e9, None, {})
        output.open_folder(config)


# ---------------------------------------------------------------- runs, services, networks


def _run(folder: Path) -> None:
    runs.get_or_create(SMALL, folder)


def _read_run(folder: Path, file: Path) -> bool:
    runs.clear(folder)
    runs.is_done(SMALL, folder)
    return runs._done(SMALL, folder) is not None  # None: what a loss of power leaves


GIVEN = pd.DataFrame(
    {"question": ["Where?"] * 2, "answer": "In Ayr.", "target": "Ayr", "answer_given": ["Ayr", "?"]}
)
GEMINI = Judge(model="gemini-test", repeats=0)


def _ledger(folder: Path) -> None:
    account = Account(folder)
    with mock.patch.object(ledger, "cached", wraps=ledger.cached) as cached:
        judge.score(GIVEN, GEMINI, account)
        keys = sorted(cached.call_args_list[0].args[0])
    with ledger.opened(account, GEMINI) as kept:
        for key, answer in zip(keys, ('{"reason": "Told.", "score": 1}', "no JSON"), strict=True):
            line = {"at": "2026-01-01T00:00:00+00:00", "key": key, "kind": "text", "model": "m"}
            kept.begin(line)
            outcome = "accepted" if answer.startswith("{") else "refused"
            line |= {"outcome": outcome, "reason": "", "dollars": 0.001}
            kept.end(line, time.monotonic(), answer.encode(), ".json")


def _read_ledger(folder: Path, file: Path) -> bool:
    account = Account(folder, older=(folder.parent / "older",))
    found = ledger.calls(account)
    assert (found["dollars"] >= 0).all()
    scored = judge.score(GIVEN, GEMINI, account)
    assert scored["judge"].dropna().between(0, 1).all()
    return bool(scored["judge"].notna().any())


def _network(folder: Path) -> None:
    from remem.config.sections import TinyLlava, VisionTower
    from remem.training import base_model

    runs.seed_everything(0)
    tower = VisionTower(image_size=32, patch=16, layers=1, width=16, heads=2)
    network = TinyLlava(layers=1, width=16, mlp=16, heads=2, vocabulary=300)
    processor = base_model.build_processor(network, tower, ["Where does she live?", "In Ayr."])
    base_model.build_model(network, tower, processor).save_pretrained(folder)
    processor.save_pretrained(folder)


def _load(folder: Path, file: Path) -> bool:
    from remem.model import folder as folders
    from remem.model import loading as networks

    found = networks.faults(folder)
    assert all(str(fault).strip() for fault in found)
    sound = not found
    return sound & each(
        lambda: folders.parameters(folder, folder),
        lambda: networks.load(folder, device="cpu"),
        refuses=(folders.CannotLoad,),
    )


@cache
def _whose_adapter() -> Any:
    from remem.model import loading as networks

    folder = Path(tempfile.mkdtemp(prefix="network-"))
    _network(folder)
    return networks.load(folder, device="cpu")


def _published(folder: Path) -> None:
    from remem.model import adapters

    network = _whose_adapter()
    adapted = adapters.add_adapter(network, 2, 4, seed=0)
    adapters.save_adapter(adapted, folder)
    adapted.model.unload()


def _rewrite(folder: Path, file: Path) -> None:
    from remem.outside import adapter

    found = adapter.find(str(folder))
    assert isinstance(found.base, str)
    adapter.rewritten(found, _whose_adapter(), folder.parent / "rewritten")


def _graded(folder: Path) -> None:
    rows = graded.read().head(20)
    rows.to_csv(folder / "graded.csv", index=False)


def _rates(folder: Path) -> None:
    for file in rates.KEPT.glob("bench_*b.csv"):
        shutil.copy(file, folder)


def _measured(folder: Path, file: Path) -> None:
    with mock.patch.object(rates, "KEPT", folder):
        for name in ("llava-1.5-7b", "llava-1.5-13b"):
            found, device = rates.measured(name)
            assert isinstance(device, str) and all(value == value for value in found.values())


def _readers() -> dict[str, Reader]:
    from remem.model.folder import CannotLoad

    found = {
        "params": Reader(_scales, _params, (BadParameter,), 12),
        "--set": Reader(_settings, _set, (BadParameter,), 12),
        "dataset": Reader(_dataset, _read_dataset, (BadData, BadReview), 10),
        "mmbench": Reader(_mmbench, lambda _, file: mmbench.inspect(file), (BadData,), 10),
        "picture": Reader(_pictures, _picture, (BadData,), 14),
        "review": Reader(_draft, _review, (BadReview, BadData), 6),
        "site": Reader(_outputs, _site, (), 3, seconds=20),
        "behind": Reader(_executed, _behind),
        "notebook 9": Reader(_outputs, _read_notebook_9, (written.BadTable, _TwoVerdicts), 6),
        "agreement": Reader(_two_outputs, _agreement, (), 3, seconds=20),
        "records": Reader(_records, _read_records, (paths.OldOutputs,), 6),
        "run": Reader(_run, _read_run, (runs.DamagedRun,), 10),
        "ledger": Reader(_ledger, _read_ledger, (), 6),
        "network": Reader(_network, _load, (), 2),
        "adapter": Reader(_published, _rewrite, (CannotLoad,), 4),
        "graded": Reader(_graded, lambda _, file: graded.read(file), (graded.BadGrades,), 4),
        "rates": Reader(_rates, _measured, (), 4),
    }
    for kind in ("remem", "flat", "fiubench", "mllmu", "clear", "clear_real"):
        make, read = partial(_benchmark, kind), partial(_converted, kind)
        found[kind] = Reader(make, read, (BadData,), 6)
    return found


READERS = _readers()

FAULTS: dict[str, Callable[..., Any]] = {  # of a reader, which the harness has to see
    "a bare KeyError": lambda text: {}[text],
    "a hang": lambda text: all(iter(lambda: True, False)),
    "all memory": lambda text: b"x" * (2**29 + 2**28),
}


def break_(fault: str) -> None:
    """Have `core_yaml.read`, by which parameters are read, do that."""
    core_yaml.read = FAULTS[fault]


# Reader -> the functions of the package that it tries, of those that open a file.
READS = {
    "params": "config.explain.listed config.loading.load_config config.loading.read_yaml",
    "--set": "config.loading.assignments",
    "dataset": "data.doubts._traits data.publish._object data.publish.export "
    "data.review_marks._lines data.splits._own_forget_sets data.validation.metadata_lines",
    "picture": "data.decoding._bytes data.decoding._opened services.pictures._opened",
    "mmbench": "data.readers.mmbench._cells data.readers.mmbench.read_bytes "
    "evaluation.mmbench._content",
    "remem": "data.readers.files.can_be_read data.readers.files.parquet_rows",
    "fiubench": "data.readers.files.Pictures data.readers.files.text_in",
    "review": "construction.review._pictures construction.pipeline.similarities",
    "site": "site.claims._verdicts site.items._picture",
    "behind": "site.behind._given",
    "notebook 9": "report.written.read",
    "agreement": "site.agreement._bytes",
    "records": "report.calls._rows report.calls.remember report.made._sha256 report.made.record "
    "report.machine.known report.output._check site.files.Files",
    "run": "runs._ends_in_zeros runs._is_of runs._promised runs._sha256 runs.read_json",
    "ledger": "services.gemini.ask_text services.ledger._lines services.ledger.cached",
    "network": "model.folder.read model.folder.config model.folder.parameters "
    "model.processors._read model.loading.load",
    "adapter": "outside.adapter._content outside.adapter._matrices",
    "graded": "evaluation.graded.read",
    "rates": "preflight.rates._rows",
}

# Why a function that opens a file is tried by none -> the functions.
UNTRIED = {
    "the package's own files, or the machine's": "bench.clock._most checks.used paper._paper "
    "paper.assumptions preflight.planned.planned "
    "report.claim_list._sentences report.claims.changes report.machine._processor "
    "report.preconditions.aims report.survey.survey site.captions._content",
    "files of a run, whose checksums are compared (stress/damage.py)": "data.dataset.RowsRun "
    "data.dataset._read evaluation.answers.read_answers "
    "evaluation.base_abilities.abilities evaluation.controls.ControlRun "
    "evaluation.mmbench.AbilityRun evaluation.signatures.SignatureRun "
    "evaluation.tracing.TraceRun experiments.bases._distance experiments.bases.rebuild "
    "model.adapters.load_adapter model.features.Features training.base_model.BaseRun "
    "training.inputs.FeaturesRun training.stage1.TrainRun training.vision_tower.TowerRun "
    "bench.cost.CostRun construction.face_similarity._make_pack",
    "a training that goes on: its checksum is compared": "training.unfinished.Unfinished",
    "what the same process wrote, or checked, just before": "__main__._convert "
    "construction.pipeline._build data.chosen._converted data.readers.convert.converted "
    "bench.subject._made model.computed_features.ComputedFeatures reproduce._check_parameters "
    "reproduce.run_notebook site.samples._copied",
    "run by whoever keeps the repository, on files of its own": "experiments.tuning.tune "
    "reference._spared reference.make reference.stale report.measured._tried site.samples.kept",
    "needs a service to get there": "construction.pipeline._Studio",
}
