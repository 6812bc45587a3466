"""Every family of tests/families.py through the runs that Table 2 is made of."""

import pytest
import torch
from families import FAMILIES
from safetensors.torch import load_file

from remem import runs
from remem.config.sections import Hub
from remem.data import dataset, splits
from remem.evaluation.answers import AnswerRun
from remem.model import resident
from remem.model.features import Features
from remem.training.base_model import BaseRun
from remem.training.inputs import FeaturesRun
from remem.training.methods import NPO
from remem.training.stage1 import Stage1Run
from remem.training.stage2 import Stage2Run

DATA = dataset.SyntheticData(
    identities=3, image_size=48, single=2, multi=2, test_single=1, test_multi=1
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    yield tmp_path_factory.mktemp("runs")
    resident.release()


# Computed, one with other tokens for other pictures, and one that is told of its pictures.
CASES = [(name, "stored") for name in FAMILIES]
CASES += [("llava-next", "computed"), ("qwen2.5-vl", "computed")]


@pytest.mark.parametrize(("name", "features"), CASES)
def test_a_family_memorises_unlearns_and_is_asked(
    root, tmp_path, small, name, features, monkeypatch
):
    # SmolVLM's processor asks for a package that spells the numbers of videos.
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", str)
    folder = FAMILIES[name](tmp_path)
    base = BaseRun(network=Hub(hub=str(folder), dtype="float32", features=features))
    rows = dataset.rows_of(DATA, root)
    optimiser = small.optimiser.model_copy(
        update={"batch": 8, "micro_batch": 3, "epochs": 4, "lr": 3e-2}
    )
    stage1 = Stage1Run(base=base, data=DATA, rank=4, alpha=8, optimiser=optimiser, seed=1)
    memorised = runs.get_or_create(stage1, root)
    losses = stage1.read(memorised)["loss"]
    assert losses.iloc[-2:].max() < losses.iloc[:2].min()
    weights = load_file(memorised / "adapter" / "adapter_model.safetensors")
    assert len(weights) == 2 * 2 * 7  # layers, A and B, projections
    assert all(".layers." in key and "vision" not in key for key in weights)

    forget = splits.forget_set(rows, 0.34, seed=1)
    npo = Stage2Run(start=stage1, method=NPO(), forget=forget, optimiser=optimiser, seed=1)
    asked = {
        run: AnswerRun(of=run, max_new_tokens=4, batch=8, perplexity=True) for run in (stage1, npo)
    }
    tables = {run: ask.read(runs.get_or_create(ask, root)) for run, ask in asked.items()}
    known = [table[table["identity"].isin(forget)] for table in tables.values()]
    before, after = (table["logp"].dropna() for table in known)
    assert len(before) and after.mean() < before.mean()  # forgotten
    assert all(table["candidate_rank"].notna().any() for table in known)
    assert torch.isfinite(torch.tensor(tables[npo]["perplexity"].dropna().to_numpy())).all()

    if features == "stored":
        stored = runs.get_or_create(FeaturesRun(base=base, data=DATA), root)
        plain = name.startswith("llava-clip") or name.startswith("llava-siglip")
        assert (stored / "layouts.json").is_file() is not plain
        images = sorted(set(rows["image"]))
        read = Features.read(stored)
        layouts = read.layouts(images)
        counts = [layouts] * len(images) if plain else [each.count for each in layouts]
        assert [len(each) for each in read[images]] == counts
