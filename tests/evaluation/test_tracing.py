import numpy as np
import pandas as pd
import pytest
import torch

from remem import runs
from remem.config.sections import TinyLlava, Trace, VisionTower
from remem.data.subset import TrainSubset
from remem.evaluation import tracing
from remem.evaluation.tracing import TraceRun
from remem.model import adapters, loading, scores, tokens
from remem.paper import POSITIONS, STATES
from remem.training import base_model
from remem.training.stage1 import Untrained

SETTINGS = Trace(window=1, floor=0.05, people=2, pictures=2, batch=50)


@pytest.fixture(scope="module")
def shown(small, features):
    """Two people's pictures."""
    return features[list(small.rows["image"].iloc[[0, -1]])]


def masks(asked, layers, rows, **full):
    shape = (rows, layers, len(asked.clean.ids))
    return {state: torch.full(shape, full.get(state, False)) for state in STATES}


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def cell(rows, **where):
    return rows[np.logical_and.reduce([rows[key] == value for key, value in where.items()])]


def test_the_two_questions_are_equally_long_and_differ_in_the_subject_alone(llava):
    asked, spell = tracing.prompts(llava, "Ann Lee"), llava.processor.tokenizer.decode
    clean, corrupted = (spell(x.ids) for x in asked[:2])
    assert len(asked.clean.ids) == len(asked.corrupted.ids)
    assert asked.clean.n_prompt == asked.corrupted.n_prompt
    prefix = "The name of the person in the image is"
    image = "<image>" * llava.image_tokens
    question = tracing.QUESTION.format(tracing.SUBJECT)
    assert clean == f"USER: {image}\n{question} ASSISTANT: {prefix} Ann Lee"
    assert corrupted in [clean.replace(tracing.SUBJECT, entity) for entity in tracing.ENTITIES]
    differ = asked.clean.ids != asked.corrupted.ids
    assert differ.any() and not (differ & ~asked.groups["subject"]).any()


def test_every_token_belongs_to_one_group(llava):
    asked, spell = tracing.prompts(llava, "Ann Lee"), llava.processor.tokenizer.decode
    assert tuple(asked.groups) == POSITIONS
    assert (np.sum(list(asked.groups.values()), axis=0) == 1).all()
    texts = {name: spell(asked.clean.ids[group]) for name, group in asked.groups.items()}
    assert texts["image"] == "<image>" * 4 and texts["subject"] == " this person"
    assert texts["before"] == "USER: \nWhat is the name of" and texts["after"] == " in the image?"
    assert (texts["prefix"] + texts["last"]).startswith(" ASSISTANT: The name of the person")
    assert texts["last"].endswith("Ann Lee")
    assert spell(asked.corrupted.ids[asked.groups["subject"]]).strip() in tracing.ENTITIES


def test_without_an_entity_of_that_length_it_says_so(llava, monkeypatch):
    monkeypatch.setattr(tracing, "ENTITIES", ("an absurdly long description of nothing at all",))
    with pytest.raises(ValueError, match=r"as many tokens as 'this person'.*tracing\.ENTITIES"):
        tracing.prompts(llava, "Ann Lee")


@pytest.mark.parametrize("corruption", tracing.CORRUPTIONS)
def test_restoring_everything_gives_the_clean_run_and_nothing_the_corrupted(
    adapted, shown, corruption
):
    asked = tracing.prompts(adapted, "Ann Lee")
    other = asked.corrupted if corruption == "subject" else asked.clean
    pictures = shown if corruption == "image" else shown[[0, 0]]

    def asking(**full):
        where = masks(asked, layers=2, rows=3, **full)
        return tracing.probabilities(adapted, asked.clean, other, pictures, where)

    def alone(encoded, picture):
        batch = tokens.collate([encoded], picture[None], pad_id=0)
        return scores.score(adapted, batch).logp.mean().exp().item()

    clean, corrupted = alone(asked.clean, pictures[0]), alone(other, pictures[1])
    assert abs(clean / corrupted - 1) > 1e-3  # else this would show nothing
    np.testing.assert_allclose(asking(), [clean, corrupted, corrupted], rtol=1e-5)
    for everything in ({"residual": True}, {"mlp": True, "attention": True}):
        restored = asking(**everything)
        assert restored[1:].tolist() == pytest.approx([clean] * 2, rel=1e-5)
        assert restored[0] == pytest.approx(clean, rel=1e-5)
    # the MLPs by themselves leave something open
    assert asking(mlp=True)[1] != pytest.approx(clean, rel=1e-4)


def test_before_the_subject_nothing_and_at_it_everything(adapted, shown):
    rows = tracing.effects(adapted, tracing.prompts(adapted, "Ann Lee"), *shown, window=1, batch=50)
    assert len(rows) == 2 * 3 * 2 * 6
    rows = rows.assign(effect=rows.restored - rows.corrupted, total=rows.clean - rows.corrupted)
    words = cell(rows, corruption="subject")
    upstream = words.position.isin(["image", "before"])
    assert words.effect[upstream].abs().max() < 1e-7 < words.effect[~upstream].abs().max()
    # the control: the residual stream where the change was made, in layer 0
    for corruption, position in (("subject", "subject"), ("image", "image")):
        control = cell(rows, corruption=corruption, position=position, state="residual", layer=0)
        assert control.effect.item() == pytest.approx(control.total.item(), rel=1e-4)


def test_blocks_and_windows_change_only_what_they_should(adapted, shown):
    asked = tracing.prompts(adapted, "Ann Lee")
    by_batch = [tracing.effects(adapted, asked, *shown, 1, batch) for batch in (7, 500)]
    pd.testing.assert_frame_equal(*by_batch, rtol=1e-4)
    wide = tracing.effects(adapted, asked, *shown, 3, 500)  # two layers: every window holds both
    kinds = ["corruption", "state", "position"]
    spread = wide.groupby(kinds)["restored"].agg(lambda x: x.max() - x.min())
    assert spread.max() < 1e-6
    assert not np.allclose(wide.restored, by_batch[1].restored, rtol=1e-3)


def test_hooks_go_whatever_happens(adapted, shown):
    asked = tracing.prompts(adapted, "Ann Lee")
    before = hooks(adapted.model)
    with tracing.restored(adapted, masks(asked, 2, 3, mlp=True, attention=True, residual=True)):
        assert hooks(adapted.model) == before + 6
    assert hooks(adapted.model) == before
    with pytest.raises(RuntimeError):  # on the way through the network: masks of another length
        short = {s: m[..., 1:] for s, m in masks(asked, 2, 3, mlp=True, attention=True).items()}
        tracing.probabilities(adapted, asked.clean, asked.corrupted, shown, short)
    assert hooks(adapted.model) == before
    unknown = {**masks(asked, 2, 3, mlp=True), "thought": torch.ones(3, 2, 9)}
    with pytest.raises(KeyError), tracing.restored(adapted, unknown):  # while they are being set
        pass
    assert hooks(adapted.model) == before


LAYERS, WIDTH, MLP, ATTENTION = 5, 32, 1, 3
MARK, FACT, MOVED = 0, 1, 2  # directions of the residual stream


def planted(llava, asked, marked):
    """A LLaVA in which nothing happens, but that the MLP of one layer turns MARK into FACT, the
    attention of a later one hands FACT on as MOVED, and that is read as the name."""
    tower = VisionTower(image_size=32, patch=16, layers=1, width=32, heads=2)
    size = TinyLlava(layers=LAYERS, width=WIDTH, mlp=8, heads=2, vocabulary=400)
    torch.manual_seed(0)
    model = base_model.build_model(size, tower, llava.processor).eval()
    text = model.model.language_model
    with torch.no_grad():
        text.embed_tokens.weight[:, :3] = 0
        text.embed_tokens.weight[marked, MARK] = 1
        for layer in text.layers:
            for name, weight in layer.named_parameters():
                if "norm" not in name:
                    weight.zero_()
        mlp, attention = text.layers[MLP].mlp, text.layers[ATTENTION].self_attn
        mlp.gate_proj.weight[0, MARK] = mlp.up_proj.weight[0, MARK] = 1
        mlp.down_proj.weight[FACT, 0] = 10
        attention.v_proj.weight[0, FACT] = 1  # with no query, every earlier token counts alike
        attention.o_proj.weight[MOVED, 0] = 100
        model.lm_head.weight.zero_()
        model.lm_head.weight[asked.clean.ids[-1], MOVED] = 3
    return llava._replace(model=model)


@pytest.mark.parametrize("place", tracing.CORRUPTIONS)
def test_a_planted_circuit_is_found_where_it_was_planted(llava, place):
    name = "the"  # one token, so that it is predicted at one place
    asked = tracing.prompts(llava, name)
    assert len(asked.clean.ids) == asked.clean.n_prompt + 1
    subject = asked.clean.ids[asked.groups["subject"]]
    elsewhere = [*asked.clean.ids[~asked.groups["subject"]], *asked.corrupted.ids]
    own_word = [token for token in subject if token not in elsewhere]
    network = planted(llava, asked, own_word if place == "subject" else [])
    own, other = torch.randn(2, 4, WIDTH, generator=torch.manual_seed(1)) / 50
    own[:, :3] = other[:, :3] = 0
    if place == "image":
        own[:, MARK] = 1
    rows = tracing.effects(network, asked, own, other, window=1, batch=64)
    rows = rows.assign(share=(rows.restored - rows.corrupted) / (rows.clean - rows.corrupted))
    unused = rows[rows.corruption != place]
    np.testing.assert_allclose(unused.clean, unused.corrupted, rtol=1e-5)
    rows = cell(rows, corruption=place)
    assert (rows.clean > 0.99).all() and (rows.corrupted < 0.01).all()
    found = {(r.state, r.layer, r.position) for r in rows.itertuples() if r.share > 0.5}
    assert found == {
        ("mlp", MLP, place),
        ("attention", ATTENTION, "last"),
        *(("residual", layer, place) for layer in range(ATTENTION + 1)),
        *(("residual", layer, "last") for layer in range(ATTENTION + 1, LAYERS)),
    }
    assert rows.share[rows.share <= 0.5].abs().max() < 1e-4
    wide = cell(tracing.effects(network, asked, own, other, window=3, batch=64), corruption=place)
    assert set(cell(wide[wide.restored > 0.5], state="mlp").layer) == {MLP - 1, MLP, MLP + 1}


COLUMNS = [
    *("identity", "corruption", "state", "layer", "position"),
    *("clean", "corrupted", "restored", "total", "effect"),
]


def test_a_trained_model_is_asked_about_its_own_people(small, features):
    spec = TraceRun(of=small.stage1, trace=SETTINGS)
    rows = spec.read(runs.get_or_create(spec, small.runs))
    assert list(rows.columns) == COLUMNS
    assert list(rows.identity.unique()) == list(small.rows.identity.unique()[:2])
    assert not rows.duplicated(["identity", "corruption", "state", "layer", "position"]).any()
    assert len(rows) == 2 * 2 * 3 * 2 * 6
    np.testing.assert_allclose(rows.total, rows.clean - rows.corrupted)
    np.testing.assert_allclose(rows.effect, rows.restored - rows.corrupted)
    # by hand: the mean over both pictures, the adapter on
    network = adapters.load_adapter(loading.load(small.base), small.stage1.adapter(small.runs))
    asked = small.rows[(small.rows.attribute == "name") & (small.rows.split == "train")]
    (who, own), (_, other) = list(asked.groupby("identity", sort=False))[:2]
    question = tracing.prompts(network, own.name.iloc[0])
    expected = [
        tracing.effects(
            network, question, *features[[own.image.iloc[k], other.image.iloc[k]]], 1, 9
        )
        for k in range(2)
    ]
    mean = (expected[0].restored + expected[1].restored) / 2
    np.testing.assert_allclose(rows[rows.identity == who].restored, mean, rtol=1e-4)


def test_an_untrained_model_says_something_else(small):
    found = [
        spec.read(runs.get_or_create(spec, small.runs))
        for spec in (
            TraceRun(of=Untrained(base=small.base_run, data=small.data), trace=SETTINGS),
            TraceRun(of=small.stage1, trace=SETTINGS),
        )
    ]
    keys = COLUMNS[:5]
    pd.testing.assert_frame_equal(found[0][keys], found[1][keys])  # the same people and places
    assert not np.allclose(found[0].clean, found[1].clean, rtol=1e-3)


def test_one_person_cannot_be_traced(small):
    first = small.rows["identity"][0]
    alone = small.stage1.model_copy(update={"subset": TrainSubset(people=(first,))})
    with pytest.raises(ValueError, match="two people at least"):
        runs.get_or_create(TraceRun(of=alone, trace=SETTINGS), small.runs)


def test_what_was_trained_on_is_part_of_the_address_and_memory_is_not(small):
    def named(of=small.stage1, **changes):
        return runs.digest(TraceRun(of=of, trace=SETTINGS.model_copy(update=changes)))

    few = small.stage1.model_copy(update={"subset": TrainSubset(single=7, multi=10)})
    assert named(few) != named() != named(window=3)
    assert named(batch=7) == named(floor=0.5) == named()
