import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from remem import models, pretrain, runs, trace, train

SETTINGS = trace.Trace(window=1, floor=0.05, people=2, pictures=2, batch=50)


@pytest.fixture
def network(small, adapter):
    base, processor = models.load(small.base)
    return models.load_adapter(base, adapter), processor


@pytest.fixture(scope="module")
def shown(small, features):
    """Two people's pictures."""
    return features[list(small.rows["image"].iloc[[0, -1]])]


def masks(asked, layers, rows, **full):
    shape = (rows, layers, len(asked.clean.ids))
    return {state: torch.full(shape, full.get(state, False)) for state in trace.STATES}


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def cell(rows, **where):
    return rows[np.logical_and.reduce([rows[key] == value for key, value in where.items()])]


# ---------------------------------------------------------------- what is asked


def test_the_two_questions_are_equally_long_and_differ_in_the_subject_alone(llava):
    model, processor = llava
    asked, spell = trace.ask(processor, "Ann Lee", 4), processor.tokenizer.decode
    clean, corrupted = (spell(x.ids) for x in asked[:2])
    assert len(asked.clean.ids) == len(asked.corrupted.ids)
    assert asked.clean.n_prompt == asked.corrupted.n_prompt
    prefix = "The name of the person in the image is"
    image = "<image>" * models.patches(model)
    question = trace.QUESTION.format(trace.SUBJECT)
    assert clean == f"USER: {image}\n{question} ASSISTANT: {prefix} Ann Lee"
    assert corrupted in [clean.replace(trace.SUBJECT, entity) for entity in trace.ENTITIES]
    differ = asked.clean.ids != asked.corrupted.ids
    assert differ.any() and not (differ & ~asked.groups["subject"]).any()


def test_every_token_belongs_to_one_group(llava):
    asked, spell = trace.ask(llava[1], "Ann Lee", 4), llava[1].tokenizer.decode
    assert tuple(asked.groups) == trace.POSITIONS
    assert (np.sum(list(asked.groups.values()), axis=0) == 1).all()
    texts = {name: spell(asked.clean.ids[group]) for name, group in asked.groups.items()}
    assert texts["image"] == "<image>" * 4 and texts["subject"] == " this person"
    assert texts["before"] == "USER: \nWhat is the name of" and texts["after"] == " in the image?"
    assert (texts["prefix"] + texts["last"]).startswith(" ASSISTANT: The name of the person")
    assert texts["last"].endswith("Ann Lee")
    assert spell(asked.corrupted.ids[asked.groups["subject"]]).strip() in trace.ENTITIES


def test_without_an_entity_of_that_length_it_says_so(llava, monkeypatch):
    monkeypatch.setattr(trace, "ENTITIES", ("an absurdly long description of nothing at all",))
    with pytest.raises(ValueError, match="as many tokens as 'this person'.*trace.ENTITIES"):
        trace.ask(llava[1], "Ann Lee", 4)


# ---------------------------------------------------------------- restoring


@pytest.mark.parametrize("corruption", trace.CORRUPTIONS)
def test_restoring_everything_gives_the_clean_run_and_nothing_the_corrupted(
    network, shown, corruption
):
    model, processor = network
    asked = trace.ask(processor, "Ann Lee", 4)
    other = asked.corrupted if corruption == "subject" else asked.clean
    pictures = shown if corruption == "image" else shown[[0, 0]]

    def asking(**full):
        return trace.probabilities(
            model, asked.clean, other, pictures, masks(asked, layers=2, rows=3, **full)
        )

    def alone(encoded, picture):
        batch = models.collate([encoded], picture[None], pad_id=0)
        return models.score(model, batch).logp.mean().exp().item()

    clean, corrupted = alone(asked.clean, pictures[0]), alone(other, pictures[1])
    assert abs(clean / corrupted - 1) > 1e-3  # else this would show nothing
    np.testing.assert_allclose(asking(), [clean, corrupted, corrupted], rtol=1e-5)
    for everything in ({"residual": True}, {"mlp": True, "attention": True}):
        restored = asking(**everything)
        assert restored[1:].tolist() == pytest.approx([clean] * 2, rel=1e-5)
        assert restored[0] == pytest.approx(clean, rel=1e-5)
    # the MLPs by themselves leave something open
    assert asking(mlp=True)[1] != pytest.approx(clean, rel=1e-4)


def test_before_the_subject_nothing_and_at_it_everything(network, shown):
    model, processor = network
    rows = trace.effects(model, trace.ask(processor, "Ann Lee", 4), *shown, window=1, batch=50)
    assert len(rows) == 2 * 3 * 2 * 6
    rows = rows.assign(effect=rows.restored - rows.corrupted, total=rows.clean - rows.corrupted)
    words = cell(rows, corruption="subject")
    upstream = words.position.isin(["image", "before"])
    assert words.effect[upstream].abs().max() < 1e-7 < words.effect[~upstream].abs().max()
    # the control: the residual stream where the change was made, in layer 0
    for corruption, position in (("subject", "subject"), ("image", "image")):
        control = cell(rows, corruption=corruption, position=position, state="residual", layer=0)
        assert control.effect.item() == pytest.approx(control.total.item(), rel=1e-4)


def test_blocks_and_windows_change_only_what_they_should(network, shown):
    model, processor = network
    asked = trace.ask(processor, "Ann Lee", 4)
    by_batch = [trace.effects(model, asked, *shown, 1, batch) for batch in (7, 500)]
    pd.testing.assert_frame_equal(*by_batch, rtol=1e-4)
    wide = trace.effects(model, asked, *shown, 3, 500)  # two layers: every window holds both
    kinds = ["corruption", "state", "position"]
    spread = wide.groupby(kinds)["restored"].agg(lambda x: x.max() - x.min())
    assert spread.max() < 1e-6
    assert not np.allclose(wide.restored, by_batch[1].restored, rtol=1e-3)


def test_hooks_go_whatever_happens(network, shown):
    model, processor = network
    asked = trace.ask(processor, "Ann Lee", 4)
    before = hooks(model)
    with trace.restored(model, masks(asked, 2, 3, mlp=True, attention=True, residual=True)):
        assert hooks(model) == before + 6
    assert hooks(model) == before
    with pytest.raises(RuntimeError):  # on the way through the network: masks of another length
        short = {s: m[..., 1:] for s, m in masks(asked, 2, 3, mlp=True, attention=True).items()}
        trace.probabilities(model, asked.clean, asked.corrupted, shown, short)
    assert hooks(model) == before
    unknown = {**masks(asked, 2, 3, mlp=True), "thought": torch.ones(3, 2, 9)}
    with pytest.raises(KeyError), trace.restored(model, unknown):  # while they are being set
        pass
    assert hooks(model) == before


# ---------------------------------------------------------------- a planted circuit

LAYERS, WIDTH, MLP, ATTENTION = 5, 32, 1, 3
MARK, FACT, MOVED = 0, 1, 2  # directions of the residual stream


def planted(small, asked, marked):
    """A LLaVA in which nothing happens, but that the MLP of one layer turns MARK into FACT, the
    attention of a later one hands FACT on as MOVED, and that is read as the name."""
    processor = models.load(small.base)[1]
    tower = pretrain.Tower(image_size=32, patch=16, layers=1, width=32, heads=2)
    size = pretrain.Drawn(layers=LAYERS, width=WIDTH, mlp=8, heads=2, vocabulary=400)
    torch.manual_seed(0)
    model = pretrain.build_model(size, tower, processor).eval()
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
    return model


@pytest.mark.parametrize("place", trace.CORRUPTIONS)
def test_a_planted_circuit_is_found_where_it_was_planted(small, llava, place):
    name = "the"  # one token, so that it is predicted at one place
    asked = trace.ask(llava[1], name, 4)
    assert len(asked.clean.ids) == asked.clean.n_prompt + 1
    subject = asked.clean.ids[asked.groups["subject"]]
    elsewhere = [*asked.clean.ids[~asked.groups["subject"]], *asked.corrupted.ids]
    own_word = [token for token in subject if token not in elsewhere]
    model = planted(small, asked, own_word if place == "subject" else [])
    own, other = torch.randn(2, 4, WIDTH, generator=torch.manual_seed(1)) / 50
    own[:, :3] = other[:, :3] = 0
    if place == "image":
        own[:, MARK] = 1
    rows = trace.effects(model, asked, own, other, window=1, batch=64)
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
    wide = cell(trace.effects(model, asked, own, other, window=3, batch=64), corruption=place)
    assert set(cell(wide[wide.restored > 0.5], state="mlp").layer) == {MLP - 1, MLP, MLP + 1}


# ---------------------------------------------------------------- the run

COLUMNS = ["seed", "identity", "corruption", "state", "layer", "position", "clean", "corrupted",
           "restored", "total", "effect"]  # fmt: skip


def test_a_taught_network_is_asked_about_its_own_people(small, features):
    spec = trace.TraceSpec(taught=small.stage1, trace=SETTINGS)
    rows = pd.read_parquet(trace.run(spec, small.runs) / "trace.parquet")
    assert list(rows.columns) == COLUMNS and set(rows.seed) == {small.stage1.seed}
    assert list(rows.identity.unique()) == list(small.rows.identity.unique()[:2])
    assert not rows.duplicated(["identity", "corruption", "state", "layer", "position"]).any()
    assert len(rows) == 2 * 2 * 3 * 2 * 6
    np.testing.assert_allclose(rows.total, rows.clean - rows.corrupted)
    np.testing.assert_allclose(rows.effect, rows.restored - rows.corrupted)
    # by hand: the mean over both pictures, the adapter on
    model, processor = models.load(small.base)
    model = models.load_adapter(model, train.run(small.stage1, small.runs) / "adapter")
    asked = small.rows[(small.rows.attribute == "name") & (small.rows.split == "train")]
    (who, own), (_, other) = list(asked.groupby("identity", sort=False))[:2]
    question = trace.ask(processor, own.name.iloc[0], models.patches(model))
    expected = [
        trace.effects(model, question, *features[[own.image.iloc[k], other.image.iloc[k]]], 1, 99)
        for k in range(2)
    ]
    mean = (expected[0].restored + expected[1].restored) / 2
    np.testing.assert_allclose(rows[rows.identity == who].restored, mean, rtol=1e-4)


def test_a_window_has_a_middle():
    with pytest.raises(ValidationError, match="has no middle"):
        SETTINGS.model_validate({**dict(SETTINGS), "window": 2})


def test_what_was_taught_is_part_of_the_address(small):
    lesson = small.stage1.model_copy(update={"lesson": train.Lesson(single=7, multi=10)})
    specs = [trace.TraceSpec(taught=taught, trace=SETTINGS)
             for taught in (small.stage1, lesson)]  # fmt: skip
    assert len({runs.digest(spec) for spec in specs}) == 2
