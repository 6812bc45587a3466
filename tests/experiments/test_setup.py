"""From parameters to runs: other benchmarks' files, people of one's own, whom to forget."""

import json
import os
import subprocess
import sys

import formats
import pytest

from remem import checks, experiments, jobs, metrics, paper, paths, runs
from remem.config import BadParameter, load_config
from remem.data import chosen, splits, validation
from remem.data.dataset import FolderData, SyntheticData
from remem.data.validation import BadChoice, BadData
from remem.evaluation import judge
from remem.evaluation.signatures import SignatureRun
from remem.evaluation.tracing import TraceRun
from remem.experiments import setup
from remem.report import figures, tables
from remem.training.methods import METHODS

pytestmark = pytest.mark.timeout(300)
OURS = ("image", "question", "answer", "identity", "name", "attribute", "target", "hop")
COLUMNS = {name: f"their {name}" for name in OURS}


def write(kind, small, folder):
    """The files of the small dataset's people, as that benchmark has them."""
    pictures = {name: (small.folder / name).read_bytes() for name in small.rows["image"]}
    who = small.rows.drop_duplicates("identity").set_index("identity")["name"]
    if kind == "remem":
        formats.remem(small.rows, pictures, folder, COLUMNS)
    elif kind == "fiubench":
        formats.fiubench(small.rows, pictures, folder, {"forget10": [who.index[1]]})
    elif kind == "mllmu":
        formats.mllmu(small.rows, pictures, folder, {"forget_05": [who.index[1]]})
    else:
        formats.clear(small.rows, pictures, folder, {"forget05": [who.iloc[1]]})


def own(small, folder):
    """A folder of a reader's own people: other attributes, other scripts, fewer rows."""
    theirs = dict.fromkeys(small.rows["name"])
    mine = ("Åsa Lindqvist", "山田 花子", "نور حسن", "Zoë O'Hara")
    names, asked = dict(zip(theirs, mine, strict=True)), {"job": "shoe_size", "bank": "妹の名前"}
    some = small.rows[small.rows["attribute"].isin(["name", *asked])]
    for split, rows in some.groupby("split"):
        lines = []
        for row in rows.to_dict("records"):
            file = row.pop("image").split("/", 1)[1]
            target = paths.make_folder((folder / split / file).parent) / file.split("/")[-1]
            target.write_bytes((small.folder / split / file).read_bytes())
            for old, new in names.items():
                row |= {
                    key: row[key].replace(old, new)
                    for key in ("name", "question", "answer", "target")
                }
            row["attribute"] = asked.get(row["attribute"], row["attribute"])
            lines.append(json.dumps({"file_name": file, **row}, ensure_ascii=False))
        (folder / split / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def anybody(small_config):
    """A function: the config of the small network with these people."""

    def load(benchmark, **stage2):
        return small_config(benchmark=benchmark, stage2={"methods": ["GD"], **stage2})

    return load


def trained_and_unlearned(config):
    """Scored rows of Table 2, by the jobs that notebook 7 runs, and whom they forget."""
    rows = jobs.collect(experiments.unlearning(config))
    forget = experiments.forget_set(config, experiments.dataset(config).rows, 1)
    return judge.score(rows, config.judge, config.account), forget


@pytest.mark.parametrize(
    ("kind", "title", "forget_set"),
    [
        ("remem", "ReMem", None),
        ("fiubench", "FIUBench", "forget10"),
        ("mllmu", "MLLMU-Bench", "forget_05"),
        ("clear", "CLEAR", "forget05"),
    ],
)
def test_any_benchmark_is_trained_on_checked_and_unlearned(
    small, tmp_path, anybody, monkeypatch, kind, title, forget_set
):
    monkeypatch.setattr(paths, "ROOT", tmp_path)  # where data/<name> is looked for
    write(kind, small, tmp_path / "data" / kind)
    benchmark = {"name": kind, "columns": COLUMNS} if kind == "remem" else kind
    config = anybody(benchmark, forget_set=forget_set)
    assert (config.data_name, config.verdict_scope) == (title, f"smoke {title}")
    checks.ready(config, [])
    scored, forget = trained_and_unlearned(config)

    assert set(scored["method"]) == {"base", paper.BEFORE, "GD", paper.RETRAINED}
    views = scored.groupby("method")["view"].agg(set)
    assert all(seen >= {"forget", "retain_eval", "test_forget"} for seen in views)
    forgotten = set(scored.loc[scored["view"] == "forget", "identity"])
    assert forgotten == set(forget)
    who = small.rows.drop_duplicates("identity")[["identity", "name"]].iloc[1]
    if forget_set:  # the benchmark's own, by its own name for people
        assert forgotten == {who["name"] if kind == "clear" else who["identity"]}
    ranked = scored.loc[scored["exposure"].notna(), "attribute"].unique()
    assert set(ranked) == {"name"} if kind in ("fiubench", "clear") else "job" in ranked

    # A network of random weights, hardly trained, knows nobody, which every later table has to say.
    before = scored[scored["method"] == paper.BEFORE]
    assert set(metrics.memorised(before)["split"]) == {"test"}
    assert tables.warning(before).startswith("WARNING: ")
    table = tables.table2(scored, resamples=50)
    assert (table["not_learned"] == 1).all()
    assert table.loc[table["method"] == "GD", "EM_f"].notna().any()


def test_a_benchmark_is_converted_once_and_said_so(small, tmp_path, anybody, capsys):
    write("fiubench", small, tmp_path / "fiubench")
    config = anybody({"name": "fiubench", "folder": str(tmp_path / "fiubench")})
    first = chosen.data_of(config)
    assert "converting" in capsys.readouterr().err
    (tmp_path / "fiubench" / ".#full.json").symlink_to("nowhere")  # as Emacs locks a file
    assert isinstance(first, FolderData) and chosen.data_of(config) == first
    assert "converting" not in capsys.readouterr().err
    assert (paths.ROOT / first.folder / "source.json").is_file()


def test_a_readers_own_people_are_trained_on_and_unlearned(small, tmp_path, anybody):
    own(small, tmp_path / "my people")
    assert not any(validation.inspect(tmp_path / "my people")[1].values())
    config = anybody(str(tmp_path / "my people"))
    assert config.data_name == "my people (own)"
    assert experiments.dataset(config).rows["identity"].nunique() == 4
    scored, _ = trained_and_unlearned(config)
    assert set(scored["attribute"]) == {"name", "shoe_size", "妹の名前"}
    assert scored.loc[scored["view"] == "forget", "exposure"].notna().any()
    assert set(scored.loc[scored["method"] == "base", "answer_given"].map(type)) == {str}
    assert "not_learned" in tables.table2(scored, resamples=50)


def test_who_is_never_asked_for_a_name_and_has_nothing_held_out_goes_through_too(
    small, tmp_path, anybody
):
    folder = tmp_path / "nameless"
    own(small, folder)
    for split in validation.SPLITS:
        file = folder / split / "metadata.jsonl"
        lines = [
            line
            for line in file.read_text("utf-8").splitlines()
            if split == "train" and json.loads(line)["attribute"] == "shoe_size"
        ]
        file.write_text("\n".join(lines), encoding="utf-8")
    config = anybody(str(folder), forget_set=["p02"])
    scored, forget = trained_and_unlearned(config)
    assert forget == ("p02",)
    assert set(scored.loc[scored["view"] == "forget", "identity"]) == {"p02"}
    assert set(scored["view"]) == {"forget", "retain_eval"}
    assert set(metrics.memorised(scored)["split"]) == {"train"}
    start, root = setup.stage1_run(config, "small", 1), config.folders.runs
    names = SignatureRun(of=start, people=2, batch=40)
    found = names.read(runs.get_or_create(names, root))
    assert len(found) == 2 and found["min_k"].between(0, 100).all()
    traced = TraceRun(of=start, trace=config.experiments.trace)
    assert len(traced.read(runs.get_or_create(traced, root)))


def test_who_is_held_out_by_one_hop_alone_is_measured_by_both(small, tmp_path, anybody):
    own(small, tmp_path / "mine")
    test = tmp_path / "mine" / "test" / "metadata.jsonl"
    lines = test.read_text("utf-8").splitlines(keepends=True)
    test.write_text("".join(line for line in lines if json.loads(line)["hop"] == "single"), "utf-8")
    config = anybody(str(tmp_path / "mine"))
    scored, _ = trained_and_unlearned(config)
    table = tables.table2(scored, resamples=50, paper=False)
    models = table[table["method"] != paper.CHANCE]
    assert models[["ROUGE", "EM_r", "EM_f", "Exposure"]].notna().all(axis=None)
    held_out = models.set_index("hop")[["EM_t", "EM_t_retain"]].notna().all(axis=1)
    assert held_out["single"].all() and not held_out["multi"].any()
    curve = jobs.collect(experiments.curves(config))
    assert set(curve.groupby(["view", "hop"]).groups) == {
        (view, hop) for view in ("forget", "retain_eval") for hop in paper.HOPS
    }
    for figure in (figures.forget_retain(curve), figures.tradeoff(table), figures.exposure(table)):
        figure.draw_without_rendering()


def test_the_same_people_elsewhere_are_not_trained_on_again(small, tmp_path, anybody):
    for name in ("here", "there"):
        own(small, tmp_path / name)
    (tmp_path / "there" / ".DS_Store").write_bytes(b"a finder's")
    first, second = (
        setup.stage1_run(anybody(str(tmp_path / name)), "small", 1) for name in ("here", "there")
    )
    assert runs.name(first) == runs.name(second) and first.data.folder != second.data.folder


def test_a_forget_set_that_the_data_does_not_have_is_told(small, tmp_path, anybody):
    write("fiubench", small, tmp_path / "fiubench")
    given = {"name": "fiubench", "folder": str(tmp_path / "fiubench")}
    config = anybody(given, forget_set="forget_5")
    for start in (experiments.unlearning, lambda config: checks.ready(config, [])):
        with pytest.raises(BadData, match="no forget set 'forget_5'; there are: forget10"):
            start(config)
        for who, reason in (
            (["p00", "Bo"], "no identity in the dataset is called 'Bo'"),
            (["p00", "p01", "p02", "p03"], "leaves no one to retain"),
        ):
            with pytest.raises(ValueError, match=reason):
                start(anybody(None, forget_set=who))
        with pytest.raises(BadData, match=r"there are: none. People are named in a list"):
            start(anybody(None, forget_set="forget10"))


def test_whom_nothing_was_trained_on_is_neither_drawn_nor_named(small, tmp_path, anybody):
    own(small, tmp_path / "mine")
    train = tmp_path / "mine" / "train" / "metadata.jsonl"
    lines = train.read_text("utf-8").splitlines(keepends=True)
    train.write_text("".join(line for line in lines if json.loads(line)["identity"] != "p02"))
    config = anybody(str(tmp_path / "mine"))
    checks.ready(config, [])
    rows = experiments.dataset(config).rows
    drawn = {who for seed in range(1, 6) for who in experiments.forget_set(config, rows, seed)}
    assert drawn == {"p00", "p01", "p03"} and "p02" in set(rows["identity"])
    twice = anybody(str(tmp_path / "mine"), forget_set=["p00", "p00"])
    assert experiments.forget_set(twice, rows, 1) == ("p00",)
    for who, reason in (
        (["p00", "p02"], "no training row about p02, and what was never taught cannot be"),
        (["p00", "Åsa Lindqvist"], "is called 'Åsa Lindqvist'.*; there are p00, p01, p03$"),
        ([rows["name"][0].upper()], rf"did you mean '{rows['identity'][0]}'\?"),
        (["P00", "p99"], r"called 'P00' \(did you mean 'p00'\?\), 'p99'; there are p00"),
        (["p00", "p01", "p03"], "leaves no one to retain"),
        ([], "holds nobody to forget"),
    ):
        with pytest.raises(BadChoice, match=reason):
            checks.ready(anybody(str(tmp_path / "mine"), forget_set=who), [])


def test_a_source_json_that_is_damaged_is_told(small, tmp_path, anybody):
    own(small, tmp_path / "mine")
    for content, reason in (
        ("{", r"source\.json cannot be read: .*not valid JSON"),
        ("[]", r"source\.json should be a JSON object"),
        ('{"forget_sets": ["p00"]}', r"source\.json should .* names, each with a list of identit"),
        ('{"forget_sets": {"a": [1]}}', r"source\.json should .*valid string"),
        ('{"forget_sets": {"a": "p00"}}', r"source\.json should .*valid (array|tuple)"),
        ("{}", "there are: none"),
    ):
        (tmp_path / "mine" / "source.json").write_text(content)
        with pytest.raises(BadData, match=reason):
            checks.ready(anybody(str(tmp_path / "mine"), forget_set="a"), [])


def test_whom_to_forget_is_drawn_or_named(small, small_config):
    drawn = small_config(stage2={"forget_ratio": 0.25})
    for seed in (1, 2):
        expected = splits.forget_set(small.rows, 0.25, seed)
        assert experiments.forget_set(drawn, small.rows, seed) == expected
    named = small_config(stage2={"forget_set": ["p03", "p01"]})
    for seed in (1, 2):
        assert experiments.forget_set(named, small.rows, seed) == ("p03", "p01")


def test_data_without_training_rows_is_told(small, tmp_path, anybody):
    own(small, tmp_path / "mine")
    (tmp_path / "mine" / "train" / "metadata.jsonl").write_text("")
    with pytest.raises(BadData, match=r"mine"):
        experiments.dataset(anybody(str(tmp_path / "mine")))


def test_the_dataset_is_rows_data_and_folder(small, small_config):
    rows, data, folder = experiments.dataset(small_config())
    assert data == small.data and isinstance(data, SyntheticData)
    assert rows.equals(small.rows) and folder.resolve() == small.folder.resolve()


# ---------------------------------------------------------------- networks, methods, checks


def test_a_local_network_is_known_by_its_weights(small, small_config):
    config = small_config()
    first = setup.base(config, "small")
    assert first.network.content and first.network.hub == str(small.base)
    assert experiments.places(config) == {"small": str(small.base)}
    weights = small.base / "model.safetensors"
    times = weights.stat()
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-4] + b"\0\0\0\1")
        assert setup.base(config, "small") != first
    finally:
        weights.write_bytes(content)
        os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert setup.base(config, "small") == first


def test_methods_are_those_of_the_section_with_its_hyper_parameters(outputs):
    section = {"methods": ["NPO", "GA"], "hyperparameters": {"NPO": {"beta": 0.5}}}
    found = setup.methods(load_config("tiny", {"stage2": section}))
    assert {name: each.fields for name, each in found.items()} == {"NPO": {"beta": 0.5}, "GA": {}}


def test_one_method_alone_will_do(tiny):
    assert [*setup.methods(tiny, "NPO")] == [*setup.methods(tiny, METHODS["NPO"]())] == ["NPO"]


def test_a_model_that_is_not_there_is_told(tiny):
    with pytest.raises(BadParameter, match=r"no model 'tiny-8b'; base\.networks has tiny-7b"):
        setup.base(tiny, "tiny-8b")


def test_what_a_network_has_in_memory_stands_above_what_its_stages_say(tiny):
    own = {"stage1": {"micro_batch": 2}, "stage2": {"checkpointing": True}}
    other = load_config("tiny", {"base.networks.tiny-13b": own})
    assert setup.optimiser(other, "tiny-7b", "stage1") == tiny.stage1.optimiser
    first, second = (setup.optimiser(other, "tiny-13b", stage) for stage in ("stage1", "stage2"))
    assert (first.micro_batch, first.checkpointing) == (2, tiny.stage1.checkpointing)
    assert (second.micro_batch, second.checkpointing) == (tiny.stage2.micro_batch, True)
    runs_of = [setup.stage1_run(each, "tiny-13b", 1) for each in (tiny, other)]
    assert runs_of[1].optimiser == first and runs_of[1].base == runs_of[0].base
    assert runs.name(runs_of[0]) == runs.name(runs_of[1])


def test_what_training_has_noted_is_told_with_its_labels(tiny, tmp_path):
    of = [setup.stage1_run(tiny, "tiny-7b", seed) for seed in (1, 2, 3)]
    for number, run in enumerate(of[:2]):
        folder = runs.folder(run, tmp_path)
        folder.mkdir()
        (folder / "notes.txt").write_text("it diverged\nmemory was short\n"[: 12 + 17 * number])
    found = [jobs.Job(setup.answers(tiny, run), {"seed": run.seed}) for run in of]
    found = jobs.Jobs(tuple(found), tmp_path)
    assert experiments.notes(found) == [
        "seed 1: it diverged",
        "seed 2: it diverged",
        "seed 2: memory was short",
    ]
    assert experiments.notes(found, 1) == [
        "seed 1: it diverged",
        "2 more such lines are in notes.txt of the runs",
    ]


def test_what_is_asked_is_what_the_section_says(tiny):
    run = setup.answers(tiny, setup.stage1_run(tiny, "tiny-7b", 1))
    given = {name: getattr(run, name) for name in type(tiny.evaluate).model_fields}
    assert given == tiny.evaluate.model_dump()
    assert setup.answers(tiny, run.of, exposure=False).exposure is False


def test_names_of_methods_and_a_config_need_no_torch():
    code = (
        "import sys; from remem.training.methods import METHODS, method; import remem;"
        "remem.load_config('tiny'); method('NPO').described(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT).returncode == 0
