import numpy as np
import pandas as pd
import pytest

from remem import metrics, runs
from remem.data.subset import TrainSubset
from remem.evaluation.signatures import SignatureRun
from remem.model import adapters, inference, loading
from remem.synthetic import questions
from remem.training.stage1 import Untrained


def read(small, run):
    return run.read(runs.get_or_create(run, small.runs))


def test_the_names_of_the_first_people_are_weighed(small, features):
    run = SignatureRun(of=small.stage1, people=2, batch=40)
    folder = runs.get_or_create(run, small.runs)
    kept = pd.read_parquet(folder / "signatures.parquet")
    named = small.rows[(small.rows["attribute"] == "name") & (small.rows["split"] == "train")]
    expected = named[named["identity"].isin(["p00", "p01"])].drop_duplicates("image")
    assert list(kept["image"]) == list(expected["image"])
    assert list(kept["identity"]) == list(expected["identity"])

    network = loading.load(small.base)
    network = adapters.load_adapter(network, small.stage1.adapter(small.runs))
    prefixes = [questions.prefix("name", "multi", name) for name in expected["name"]]
    weighed = expected.assign(target=expected["name"])
    logps = inference.token_logps(network, weighed, features, 40, prefixes)
    for given, plain in zip(kept["logps"], logps, strict=True):
        np.testing.assert_allclose(given, plain, atol=1e-5)

    table = run.read(folder)
    assert list(table["identity"]) == ["p00", "p01"]
    first = [each for who, each in zip(kept["identity"], logps, strict=True) if who == "p00"]
    row = table.iloc[0]
    assert row["min_k"] == pytest.approx(np.mean([metrics.min_k(each) for each in first]))
    assert row["mean_probability"] == pytest.approx(
        np.mean([metrics.mean_probability(each) for each in first])
    )
    assert row["inverse_perplexity"] == pytest.approx(
        np.mean([metrics.inverse_perplexity(each) for each in first])
    )
    assert row["tokens"] == len(first[0])


def test_of_a_subset_those_who_were_trained_on_are_asked_for(small):
    subset = TrainSubset(people=("p01", "p02"), single=7, multi=10, pictures=2)
    of = small.stage1.model_copy(update={"subset": subset, "updates": 3})
    found = read(small, SignatureRun(of=of, people=1, batch=40))
    assert set(found["identity"]) == {"p01"}
    assert len(found) == 1 and (found["min_k"] <= found["inverse_perplexity"]).all()
    assert (found["inverse_perplexity"] <= found["mean_probability"] + 1e-9).all()


def test_the_untrained_are_weighed_without_an_adapter(small):
    of = Untrained(base=small.base_run, data=small.data)
    base, stage1 = (
        read(small, SignatureRun(of=each, people=4, batch=40)) for each in (of, small.stage1)
    )
    assert list(base["identity"]) == list(stage1["identity"]) == ["p00", "p01", "p02", "p03"]
    assert (stage1["mean_probability"] != base["mean_probability"]).all()
    assert (base["tokens"] == stage1["tokens"]).all()


def test_batches_are_memory(small):
    few, many = (SignatureRun(of=small.stage1, people=2, batch=batch) for batch in (1, 40))
    assert runs.name(few) == runs.name(many)
    assert runs.name(few) != runs.name(SignatureRun(of=small.stage1, people=3, batch=1))
    assert few.trained == small.stage1 and small.stage1 in few.needs()
