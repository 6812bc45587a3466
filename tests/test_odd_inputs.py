"""Hundreds of malformed and odd inputs, made by chance from sound ones (the seeds are the tests'):
each is read, or refused in words, and none raises anything else."""

import base64
import io
import json
import random
import shutil

import formats
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mmbench_file import row
from mutations import VALUES, mutated
from PIL import Image
from reader_files import MAP, PNG, one_person

from remem import metrics, paths, runs
from remem.config import BadParameter, load_config, loading
from remem.data import doubts, validation
from remem.data.dataset import SyntheticData, folder_of
from remem.data.readers import convert, mmbench
from remem.data.validation import BadData

SMALL = SyntheticData(identities=2, image_size=16, single=2, multi=3, test_single=2, test_multi=2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same two people in each format: benchmark -> folder."""
    root = tmp_path_factory.mktemp("formats")
    folder = folder_of(SMALL, root)
    rows = validation.read(folder)
    pictures = {name: (folder / name).read_bytes() for name in rows["image"]}
    formats.remem(rows, pictures, root / "remem", MAP)
    formats.fiubench(rows, pictures, root / "fiubench", {"forget1": ["p01"]})
    formats.mllmu(rows, pictures, root / "mllmu", {"forget_5": ["p00"]})
    formats.clear(rows, pictures, root / "clear", {"forget05": [rows["name"][0]]})
    flat = root / "flat"  # what remem reads besides parquet
    shutil.copytree(folder, flat, ignore=shutil.ignore_patterns("*.json", "DONE"))
    kinds = ("remem", "fiubench", "mllmu", "clear", "flat")
    return {"own": folder, **{kind: root / kind for kind in kinds}}


def is_read_or_refused(kind, folder, out):
    """Whether it is read."""
    shutil.rmtree(out, ignore_errors=True)
    try:
        if kind == "own":
            doubts.check(folder)
            validation.read(folder)
        else:
            columns = MAP if kind == "remem" else {}
            convert.convert("remem" if kind == "flat" else kind, folder, out, columns)
    except BadData as refusal:
        assert str(refusal).splitlines()[0][:4_000]
        return False
    return True


@pytest.mark.parametrize("kind", ["own", "remem", "fiubench", "mllmu", "clear", "flat"])
def test_whatever_bytes_a_readers_files_hold(files, tmp_path, kind):
    read = 0
    for seed in range(20):
        rng, folder = random.Random(f"{kind} {seed}"), tmp_path / f"{seed}"
        shutil.copytree(files[kind], folder)
        victim = rng.choice(sorted(path for path in folder.rglob("*") if path.suffix != ".png"))
        if victim.is_file():
            victim.write_bytes(mutated(victim.read_bytes(), rng))
        read += is_read_or_refused(kind, folder, tmp_path / "out")
    assert read < 20


CELL = {"bytes": PNG, "path": None}
TABLES = {
    "clear": {"full": {"name": "Ada", "image": CELL, "caption": "Ada is here."}},
    "mllmu": {
        "Full_Set": {"ID": "1", "biography": json.dumps({"Name": "Ada", "Job": "baker"})},
        "ft_Data": {
            "ID": "1",
            "image": CELL,
            "metadata": json.dumps([{"Question": "What?", "Answer": "A baker."}]),
        },
        "Test_Set": {
            "ID": "1",
            "images": [CELL],
            "Generation_Task": json.dumps([{"Question": "Who?", "Ground_Truth": "A baker."}]),
        },
    },
    "remem": {
        "data": {
            **dict.fromkeys(MAP.values(), "baker"),
            MAP["image"]: CELL,
            MAP["hop"]: "single",
            MAP["answer"]: "A baker.",
        }
    },
}
CELLS = (*VALUES, b"raw", {"bytes": PNG[:50], "path": None}, {"bytes": None, "path": "../x"})


@pytest.mark.parametrize("kind", TABLES)
def test_whatever_values_a_readers_columns_hold(tmp_path, kind):
    tried = 0
    for seed in range(40):
        rng, folder = random.Random(f"{kind} {seed}"), tmp_path / f"{seed}"
        tables = {name: dict(table) for name, table in TABLES[kind].items()}
        table = rng.choice([*tables.values()])
        table[rng.choice([*table])] = rng.choice(CELLS)
        for name, values in tables.items():
            try:
                found = pa.Table.from_pylist([values])
                (folder / name).mkdir(parents=True)
                pq.write_table(found, folder / name / "x.parquet")
            except (pa.ArrowException, OverflowError):  # no file can hold it
                break
        else:
            is_read_or_refused(kind, folder, tmp_path / "out")
            tried += 1
    assert tried > 25


def test_whatever_values_fiubenchs_lists_hold(tmp_path):
    for seed in range(40):
        rng = random.Random(seed)
        folder = one_person(tmp_path / f"{seed}")
        people = json.loads((folder / "full.json").read_text())
        place = rng.choice([people[0], people[0]["qa_list"][0]])
        place[rng.choice([*place])] = rng.choice(VALUES)
        (folder / "full.json").write_text(json.dumps(people))
        sets = rng.choice([{"forget1": rng.choice(VALUES)}, rng.choice(VALUES), ["forget1"]])
        (folder / "split.json").write_bytes(mutated(json.dumps(sets).encode(), rng))
        is_read_or_refused("fiubench", folder, tmp_path / "out")


def test_whatever_an_mmbench_file_holds(tmp_path):
    Image.new("RGB", (16, 16)).save(content := io.BytesIO(), "PNG")
    image = base64.b64encode(content.getvalue()).decode()
    rows = [row(str(k), image=image, hint='a "quoted" one') for k in range(3)]
    whole = pd.DataFrame(rows).to_csv(sep="\t", index=False).encode()
    path = tmp_path / "mmbench.tsv"
    for seed in range(40):
        rng = random.Random(seed)
        cells = [dict(each) for each in rows]
        cells[1][rng.choice([*cells[1]])] = str(rng.choice(VALUES))
        odd = pd.DataFrame(cells).to_csv(sep="\t", index=False).encode()
        for content in (odd, mutated(whole, rng)):
            path.write_bytes(content)
            try:
                assert len(mmbench.read_mmbench(path)) >= 1
            except BadData as refusal:
                assert str(path) in str(refusal)


# ---------------------------------------------------------------- parameters


def is_taken_or_refused(load):
    try:
        load()
    except BadParameter as refusal:
        assert 0 < len(str(refusal)) < 20_000
        return False
    return True


def test_whatever_a_parameter_is_set_to():
    rng = random.Random(0)
    keys = [*runs.flat(load_config("smoke").model_dump(mode="json"))]
    odd = (*VALUES, float("nan"), float("inf"), 10**400, b"x", {1, 2}, object(), {1: 2}, {None: 1})
    taken = 0
    for _ in range(200):
        key = rng.choice([rng.choice(keys), rng.choice(keys).rpartition(".")[0], "x.", ".", '"'])
        value = rng.choice(odd)
        taken += is_taken_or_refused(lambda k=key, v=value: load_config("smoke", {k: v}))
    assert 0 < taken < 100
    within: dict = {}
    within["seeds"] = within
    for _ in range(2_000):
        deep = {"a": within}
        within = deep
    assert not is_taken_or_refused(lambda: load_config("smoke", within))


def test_whatever_is_written_behind_set():
    rng = random.Random(0)
    keys = [*runs.flat(load_config("smoke").model_dump(mode="json"))]
    texts = (
        *("=", "[", "{", "*a", "&a [*a]", "&a {b: *a}", "!!python/object:x {}", "!!binary xx"),
        *("!!set {a}", "!!timestamp 2020", "!!float x", "2024-02-31", "'", '"\\', "a: b: c", "? x"),
        *("|", "%", "@", "`", "\t", "\0", "\ud800", "~", ".nan", "{a: 1, a: 2}", "<<: *x", "1_0"),
        *("[" * 500, "{a: " * 200, "12:30:45", "- 1", "---", "...", "#", "1e5", "[1,2"),
    )
    for _ in range(60):
        given = rng.choice(keys) + rng.choice(["=", "", "==", ".x=", "="]) + rng.choice(texts)
        is_taken_or_refused(lambda words=given: load_config("smoke", loading.assignments([words])))


def test_whatever_a_file_of_parameters_holds(tmp_path):
    whole, file = (paths.PARAMS / "smoke.yaml").read_bytes(), tmp_path / "mine.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + whole.replace(b"\n", b"\r\n"))
    assert load_config(file) == load_config("smoke")
    rng, taken = random.Random(0), 0
    kinds = (
        b"",
        b"\0",
        b"---\n---\n",
        b"- 1",
        b"[" * 3_000,
        b"{a: " * 2_000,
        b"a: &a [*a]",
        b"!x y",
    )
    for k in range(60):
        file.write_bytes(kinds[k] if k < len(kinds) else mutated(whole, rng))
        taken += is_taken_or_refused(lambda: load_config(file))
    assert taken < 30


# ---------------------------------------------------------------- metrics

ATOMS = (
    *("Ann", "Lee", "12", "-12", "12,300", "0.12", "@", "a@b.c", "é", "e\u0301", "ﬁ", "İ", "ß"),
    *("Σς", "日本", "東京都", "한국", "ไทย", "\u202e", "\u200d", "\u0301", "\0", "🙂", "👩‍👩‍👧"),
    *(
        "(",
        "[a-z",
        "\\",
        "*",
        "+",
        "^$",
        "{}",
        "%s",
        "\n",
        "\t",
        " ",
        "\u00a0",
        "...",
        "-",
        "\u2019",
    ),
    *("½", "Ⅷ", "٣", "1e5", "nan", "None", "<image>", "x" * 300),
)


def said(rng):
    return "".join(
        rng.choice(ATOMS) + rng.choice(["", " ", ", "]) for _ in range(rng.randint(0, 6))
    )


def number_or_refusal(metric, *given):
    try:
        return metric(*given)
    except ValueError as refusal:
        assert str(refusal)
        return None


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_whatever_is_scored():
    rng = random.Random(0)
    for _ in range(150):
        question, answer, target, given = (said(rng) for _ in range(4))
        for metric, texts in (
            (metrics.rouge_l, (answer, given)),
            (metrics.exact_match, (given, target)),
            (metrics.exact_match, (given + target, target)),
            (metrics.rule, (question, answer + target, target, given)),
        ):
            found = number_or_refusal(metric, *texts)
            assert found is None or 0 <= found <= 1
            if metric is metrics.rouge_l:
                assert metric(answer, answer) in (0, 1)
        columns = {
            "question": question,
            "answer": answer,
            "target": target or "x",
            "answer_given": [given, answer],
            "candidate_rank": [rng.choice([1.0, 2.0, np.nan]) for _ in range(2)],
            "candidates": [rng.choice([0, 2, 5]) for _ in range(2)],
            "logp": [-1.0, np.nan],
            "value_tokens": 2,
            "model": "m",
            "seed": 1,
            "identity": ["a", "b"],
            "name": ["A", "B"],
            "split": [rng.choice(["train", "test"]) for _ in range(2)],
            "attribute": "job",
            "hop": "single",
        }
        scored = number_or_refusal(metrics.score, pd.DataFrame(columns))
        if scored is not None:
            for column in ("rouge", "em", "judge_rule"):
                assert scored[column].between(0, 1).all()
            assert len(metrics.memorised(scored)) == len(metrics.taught(scored)) == 2


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_whatever_numbers_are_ranked():
    rng = random.Random(0)
    odd = (0, -1, 1, -0.0, -1e308, 1e-300, float("nan"), float("inf"), -float("inf"), 2, 3, 1.5)
    for _ in range(150):
        numbers = [rng.choice(odd) for _ in range(rng.randint(0, 4))]
        for metric in (metrics.perplexity, metrics.inverse_perplexity, metrics.min_k):
            found = number_or_refusal(metric, numbers)
            assert found is None or found >= 0
        ranked = number_or_refusal(metrics.rank, numbers, rng.randint(-1, 4))
        assert ranked is None or 1 <= ranked <= len(numbers)
        share = number_or_refusal(metrics.exposure, rng.choice(odd), rng.choice(odd))
        assert share is None or 0 <= share <= 100
