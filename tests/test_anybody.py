"""Other benchmarks' files, and people of one's own, through stage 1, stage 2 and Table 2."""

import importlib
import json

import formats
import pandas as pd
import pytest

from remem import claims, dataset, lessons, metrics, params, paths, tables, trace, unlearn

pytestmark = pytest.mark.timeout(180)
OURS = ("image", "question", "answer", "identity", "name", "attribute", "target", "hop")
COLUMNS = {name: f"their {name}" for name in OURS}


def write(kind, small, folder):
    """The files of the small world's people, as that benchmark has them."""
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
    """People of one's own: other attributes, other scripts, fewer rows."""
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
            for theirs, mine in names.items():
                row |= {key: row[key].replace(theirs, mine)
                        for key in ("name", "question", "answer", "target")}  # fmt: skip
            row["attribute"] = asked.get(row["attribute"], row["attribute"])
            lines.append(json.dumps({"file_name": file, **row}, ensure_ascii=False))
        (folder / split / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


def load(small, benchmark, **stage2):
    network = {"hub": str(small.base), "dtype": "float32"}
    return params.load(
        "smoke", models=["anybody"], benchmark=benchmark,
        base={"tower": None, "networks": {"anybody": network}},
        stage2={"methods": ["GD"], **stage2},
        experiments={"diagnosis": {"real": None}},
    )  # fmt: skip


def taught_and_unlearned(p):
    """Scored rows of Table 2, by the jobs that notebook 7 runs."""
    root = paths.outputs(p.scale).runs
    rows = dataset.read(dataset.make(p.dataset, root))
    parts = []
    for cell in unlearn.cells(p, rows):
        module, function = cell.target.split(":")
        folder = getattr(importlib.import_module(module), function)(cell.spec, root)
        answered = pd.read_parquet(folder / "predictions.parquet")
        parts.append(dataset.evaluated(answered, cell.forget).assign(
            model=cell.model, method=cell.method, seed=cell.seed, forget=",".join(cell.forget)))
    found = pd.concat(parts, ignore_index=True)
    return rows, found.assign(judge=found["judge_rule"], judged_by=tables.RULE)


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))


@pytest.mark.parametrize("kind, title, forget_set", [
    ("remem", "ReMem", None), ("fiubench", "FIUBench", "forget10"),
    ("mllmu", "MLLMU-Bench", "forget_05"), ("clear", "CLEAR", "forget05"),
])  # fmt: skip
def test_any_benchmark_is_taught_checked_and_unlearned(
    small, tmp_path, outputs, monkeypatch, kind, title, forget_set
):
    monkeypatch.setattr(paths, "ROOT", tmp_path)  # where data/<name> is looked for
    write(kind, small, tmp_path / "data" / kind)
    benchmark = {"name": kind, "columns": COLUMNS} if kind == "remem" else kind
    p = load(small, benchmark, forget_set=forget_set)
    assert (p.taught, p.world) == (title, f"smoke {title}")
    rows, scored = taught_and_unlearned(p)

    assert set(scored["method"]) == {"base", claims.BEFORE, "GD", claims.RETRAINED}
    views = scored.groupby("method")["view"].agg(set)
    assert all(seen >= {"forget", "retain_eval", "test_forget"} for seen in views)
    who = small.rows.drop_duplicates("identity")[["identity", "name"]].iloc[1]
    if forget_set:  # the benchmark's own, by its own name for people
        assert set(scored["forget"]) == {who["name"] if kind == "clear" else who["identity"]}
    ranked = scored.loc[scored["exposure"].notna(), "attribute"].unique()
    assert set(ranked) == {"name"} if kind in ("fiubench", "clear") else "job" in ranked

    # An untaught network of random weights knows nobody, which every later table has to say.
    before = scored[scored["method"] == claims.BEFORE]
    assert set(metrics.memorised(before)["asked"]) == {"test"}
    assert tables.warning(before).startswith("WARNING: ")
    table = tables.table2(scored, resamples=50)
    assert (table["not_learned"] == 1).all()
    assert table.loc[table["method"] == "GD", "EM_f"].notna().any()


def test_people_of_ones_own_are_taught_and_unlearned(small, tmp_path, outputs):
    own(small, tmp_path / "my people")
    assert not any(dataset.inspect(tmp_path / "my people")[1].values())
    p = load(small, str(tmp_path / "my people"))
    assert (p.taught, p.dataset.identities) == ("my people (own)", 4)
    rows, scored = taught_and_unlearned(p)
    assert set(scored["attribute"]) == {"name", "shoe_size", "妹の名前"}
    assert scored.loc[scored["view"] == "forget", "exposure"].notna().any()
    assert set(scored.loc[scored["method"] == "base", "answer_given"].map(type)) == {str}
    assert "not_learned" in tables.table2(scored, resamples=50)


def test_who_is_never_asked_for_a_name_and_has_nothing_held_out_goes_through_too(
    small, tmp_path, outputs
):
    folder = tmp_path / "nameless"
    own(small, folder)
    for split in dataset.SPLITS:
        file = folder / split / "metadata.jsonl"
        lines = [line for line in file.read_text("utf-8").splitlines()
                 if split == "train" and json.loads(line)["attribute"] == "shoe_size"]  # fmt: skip
        file.write_text("\n".join(lines), encoding="utf-8")
    p = load(small, str(folder), forget_set=["p02"])
    _, scored = taught_and_unlearned(p)
    assert set(scored["forget"]) == {"p02"} and set(scored["view"]) == {"forget", "retain_eval"}
    assert set(metrics.memorised(scored)["asked"]) == {"train"}
    start, root = p.start("anybody", 1), paths.outputs("smoke").runs
    found = lessons.signatures(start, 2, root)
    assert len(found) == 2 and found["min_k"].between(0, 100).all()
    traced = trace.run(trace.TraceSpec(taught=start, trace=p.experiments.trace), root)
    assert len(pd.read_parquet(traced / "trace.parquet"))


def test_a_forget_set_that_the_data_does_not_have_is_told(small, tmp_path, outputs):
    write("fiubench", small, tmp_path / "fiubench")
    given = {"name": "fiubench", "folder": str(tmp_path / "fiubench")}
    p = load(small, given, forget_set="forget_5")
    with pytest.raises(dataset.BadData, match="no forget set 'forget_5'; there are: forget10"):
        unlearn.cells(p, small.rows)
    for who, reason in ((["p00", "Bo"], "nobody in the dataset is called Bo"),
                        (["p00", "p01", "p02", "p03"], "leaves nobody to retain")):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            unlearn.cells(load(small, None, forget_set=who), small.rows)
    with pytest.raises(dataset.BadData, match="there are: none. Without forget_set"):
        unlearn.cells(load(small, None, forget_set="forget10"), small.rows)
