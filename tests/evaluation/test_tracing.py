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
from remem.paper import CORRUPTIONS, POSITIONS, STATES
from remem.training import base_model
from remem.training.stage1 import Untrained

SETTINGS = Trace(window=1, floor=0.05, people=2, pictures=2, noise=3.0, samples=2, batch=50)
BANKER = tracing.Person("Ann Lee", {"bank": "Elm Bank"}, [])

NAME = tracing.name_query("Ann Lee")
FACT = tracing.fact_query("bank", BANKER, ["Ann Poe", "Joanna Longname", "Abe Oak", "Una Ray"])


@pytest.fixture(scope="module")
def shown(small, features):
    """Two people's pictures."""
    return features[list(small.rows["image"].iloc[[0, -1]])]


@pytest.fixture(params=CORRUPTIONS)
def case(adapted, shown, request):
    """The prompt for a name, and what enters the network: clean, and changed in one way."""
    asked = tracing.prompt(adapted, NAME)
    clean = tracing.embedded(adapted, asked.clean, shown[0])
    if request.param == "entity":
        return asked, clean, tracing.embedded(adapted, asked.wrong, shown[0])
    if request.param == "image":
        return asked, clean, tracing.embedded(adapted, asked.clean, shown[1])
    return asked, clean, noisy(adapted, clean, subject(asked))


def subject(asked):
    return asked.groups["subject"] | asked.groups["subject again"]


def noisy(network, clean, where, seed=0):
    return tracing.noised(network, clean, where, 3.0, torch.Generator().manual_seed(seed))


def masks(asked, layers, rows, **full):
    shape = (rows, layers, len(asked.clean.ids))
    return {state: torch.full(shape, full.get(state, False)) for state in STATES}


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def cell(rows, **where):
    return rows[np.logical_and.reduce([rows[key] == value for key, value in where.items()])]


def chance(network, asked, changed):
    """The answer's probability after what enters the network, nothing restored."""
    return tracing.probabilities(network, asked.clean, changed, changed, masks(asked, 2, 1))[0]


@pytest.mark.parametrize("query", [NAME, FACT], ids=["name", "fact"])
def test_every_token_belongs_to_one_group_and_both_mentions_to_the_subjects(llava, query):
    asked, spell = tracing.prompt(llava, query), llava.processor.tokenizer.decode
    assert tuple(asked.groups) == POSITIONS
    assert (np.sum(list(asked.groups.values()), axis=0) == 1).all()
    texts = {name: spell(asked.clean.ids[group]) for name, group in asked.groups.items()}
    names = query is NAME
    assert texts["image"] == "<image>" * 4 and texts["before"].startswith("USER: \nWhat is the")
    assert texts["subject"].strip() == ("this person" if names else "Ann Lee")
    assert texts["subject again"].strip() == ("the person" if names else "Ann Lee")
    assert texts["between"].replace(" in the image", "").startswith("? ASSISTANT: The ")
    assert texts["after"] == (" in the image" if names else "")
    assert texts["last"].endswith("is Ann Lee" if names else "is Elm Bank")
    assert asked.clean.n_prompt == np.flatnonzero(asked.groups["last"])[0] + 1


@pytest.mark.parametrize("query", [NAME, FACT], ids=["name", "fact"])
def test_the_wrong_entity_stands_in_both_mentions_and_nothing_else_differs(llava, query):
    asked, spell = tracing.prompt(llava, query), llava.processor.tokenizer.decode
    assert len(asked.clean.ids) == len(asked.wrong.ids)
    assert asked.clean.n_prompt == asked.wrong.n_prompt
    differ = asked.clean.ids != asked.wrong.ids
    assert not (differ & ~subject(asked)).any()
    for position, place in (("subject", 0), ("subject again", 1)):
        assert differ[asked.groups[position]].any()
        said = spell(asked.wrong.ids[asked.groups[position]]).strip()
        assert said in [entity[place] for entity in query.entities]


def test_a_wrong_name_shares_no_word_and_is_as_many_tokens(llava):
    assert [first for first, _ in FACT.entities] == ["Joanna Longname", "Abe Oak", "Una Ray"]
    alone = tracing.fact_query("bank", BANKER, ["Joanna Longname", "Ann Poe"])
    assert tracing.prompt(llava, alone).wrong is None
    assert not {"house", "home", "street", "address"} & {*tracing.ENTITIES}


def test_a_mention_that_is_not_whole_tokens_is_refused(llava):
    part = NAME._replace(mentions=("this per", "the person"), question="Who is {}son?")
    with pytest.raises(ValueError, match=r"not whole tokens in .*this tokenizer merges them"):
        tracing.prompt(llava, part)


def test_what_enters_is_what_the_network_would_have_made_of_it(adapted, shown):
    asked = tracing.prompt(adapted, NAME)
    batch = tokens.collate([asked.clean], shown[:1], pad_id=0)
    alone = scores.score(adapted, batch).logp.mean().exp().item()
    clean = tracing.embedded(adapted, asked.clean, shown[0])
    assert chance(adapted, asked, clean) == pytest.approx(alone, rel=1e-5)


def test_restoring_everything_gives_the_clean_run_and_nothing_the_corrupted(adapted, case):
    asked, clean, changed = case
    before, after = (chance(adapted, asked, each) for each in (clean, changed))
    assert abs(before / after - 1) > 1e-3  # else this would show nothing

    def asking(**full):
        where = masks(asked, layers=2, rows=2, **full)
        return tracing.probabilities(adapted, asked.clean, clean, changed, where)

    np.testing.assert_allclose(asking(), [before, after, after, after], rtol=1e-5)
    for everything in ({"residual": True}, {"mlp": True, "attention": True}):
        np.testing.assert_allclose(asking(**everything), [before, after, before, before], rtol=1e-5)
    # the MLPs by themselves leave something open
    assert asking(mlp=True)[2] != pytest.approx(before, rel=1e-4)


def test_one_mention_changed_is_not_both(adapted, shown):
    asked = tracing.prompt(adapted, NAME)
    clean = tracing.embedded(adapted, asked.clean, shown[0])
    wrong = tracing.embedded(adapted, asked.wrong, shown[0])
    both = subject(asked)
    for changed in (wrong, noisy(adapted, clean, both)):
        found = [chance(adapted, asked, clean)]
        for where in (both, asked.groups["subject"], asked.groups["subject again"]):
            part = torch.where(torch.from_numpy(where)[:, None], changed, clean)
            found.append(chance(adapted, asked, part))
        assert len(set(np.round(found, 12))) == 4


def test_noise_is_on_the_subject_alone_as_large_as_said_and_the_same_twice(adapted, shown):
    asked = tracing.prompt(adapted, NAME)
    clean = tracing.embedded(adapted, asked.clean, shown[0])
    first, again, other = (noisy(adapted, clean, subject(asked), seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    changed = (first != clean).any(-1).numpy()
    np.testing.assert_array_equal(changed, subject(asked))
    sigma = adapted.llava.get_input_embeddings().weight.std()
    found = (first - clean)[torch.from_numpy(changed)].std()
    assert found == pytest.approx(3 * sigma.item(), rel=0.2)


def test_before_the_change_nothing_and_at_it_everything(adapted, case):
    asked, clean, changed = case
    rows = tracing.effects(adapted, asked, clean, changed, window=1, batch=50)
    assert len(rows) == 3 * 2 * 7
    rows = rows.assign(effect=rows.restored - rows.corrupted, total=rows.clean - rows.corrupted)
    first = np.flatnonzero((clean != changed).any(-1).numpy())[0]
    upstream = [name for name, group in asked.groups.items() if not group[first:].any()]
    assert upstream in ([], ["image", "before"])
    same = rows.position.isin(upstream)
    assert (rows.effect[same] == 0).all() and rows.effect[~same].abs().max() > 1e-7
    # by hand, what was left out as alike in both runs: it is
    where = masks(asked, layers=2, rows=1)
    for state in STATES:
        where[state][0, :, :first] = True
    _, after, restored = tracing.probabilities(adapted, asked.clean, clean, changed, where)
    assert restored == pytest.approx(after, rel=1e-5)
    if not upstream:  # the image: the residual stream where the change was made, in layer 0
        control = cell(rows, position="image", state="residual", layer=0)
        assert control.effect.item() == pytest.approx(control.total.item(), rel=1e-4)


def test_both_mentions_restored_in_layer_0_recover_everything(adapted, shown):
    asked = tracing.prompt(adapted, NAME)
    clean = tracing.embedded(adapted, asked.clean, shown[0])
    where = masks(asked, layers=2, rows=1)
    where["residual"][0, 0] = torch.from_numpy(subject(asked))
    changed = tracing.embedded(adapted, asked.wrong, shown[0])
    before, _, restored = tracing.probabilities(adapted, asked.clean, clean, changed, where)
    assert restored == pytest.approx(before, rel=1e-5)


def test_blocks_and_windows_change_only_what_they_should(adapted, case):
    by_batch = [tracing.effects(adapted, *case, 1, batch) for batch in (7, 500)]
    pd.testing.assert_frame_equal(*by_batch, rtol=1e-4)
    wide = tracing.effects(adapted, *case, 3, 500)  # two layers: every window holds both
    spread = wide.groupby(["state", "position"])["restored"].agg(lambda x: x.max() - x.min())
    assert spread.max() < 1e-6
    assert not np.allclose(wide.restored, by_batch[1].restored, rtol=1e-3)


def test_rows_that_begin_later_are_no_others(adapted, case):
    asked, clean, changed = case
    where = masks(asked, layers=2, rows=3)
    where["mlp"][0, 0, -3:] = where["attention"][1, 1, -3:] = where["residual"][2, 1] = True
    together = tracing.probabilities(adapted, asked.clean, clean, changed, where)
    for row in range(3):
        alone = {state: mask[row : row + 1] for state, mask in where.items()}
        found = tracing.probabilities(adapted, asked.clean, clean, changed, alone)
        assert found[2] == pytest.approx(together[2 + row], rel=1e-5)
    turned = {state: mask.flip(0) for state, mask in where.items()}
    with pytest.raises(ValueError, match="in the order of their layers"):
        tracing.probabilities(adapted, asked.clean, clean, changed, turned)


def test_hooks_go_whatever_happens(adapted, case):
    asked, clean, changed = case
    before = hooks(adapted.model)
    with tracing.restored(adapted, masks(asked, 2, 3, mlp=True)):
        assert hooks(adapted.model) == before + 6
    assert hooks(adapted.model) == before
    short = {state: mask[..., 1:] for state, mask in masks(asked, 2, 3, mlp=True).items()}
    with pytest.raises(RuntimeError):  # on the way through the network: masks of another length
        tracing.probabilities(adapted, asked.clean, clean, changed, short)
    assert hooks(adapted.model) == before


LAYERS, WIDTH, MLP, ATTENTION = 8, 32, 1, 5
MARK, KNOWN, MOVED = 0, 1, 2  # directions of the residual stream


def planted(llava, asked):
    """A LLaVA in which nothing happens, but that the MLP of one layer turns MARK into KNOWN, the
    attention of a later one hands KNOWN on as MOVED, and that is read as the answer."""
    tower = VisionTower(image_size=32, patch=16, layers=1, width=32, heads=2)
    size = TinyLlava(layers=LAYERS, width=WIDTH, mlp=8, heads=2, vocabulary=400)
    torch.manual_seed(0)
    model = base_model.build_model(size, tower, llava.processor).eval()
    text = model.model.language_model
    with torch.no_grad():
        text.embed_tokens.weight[:, :3] = 0
        for layer in text.layers:
            for name, weight in layer.named_parameters():
                if "norm" not in name:
                    weight.zero_()
        mlp, attention = text.layers[MLP].mlp, text.layers[ATTENTION].self_attn
        mlp.gate_proj.weight[0, MARK] = mlp.up_proj.weight[0, MARK] = 1
        mlp.down_proj.weight[KNOWN, 0] = 10
        attention.v_proj.weight[0, KNOWN] = 1  # with no query, every earlier token counts alike
        attention.o_proj.weight[MOVED, 0] = 100
        model.lm_head.weight.zero_()
        model.lm_head.weight[asked.clean.ids[-1], MOVED] = 3
    return llava._replace(model=model)


@pytest.mark.parametrize("place", ["subject again", "image"])
def test_a_planted_circuit_is_found_where_it_was_planted(llava, place):
    asked = tracing.prompt(llava, tracing.name_query("the"))  # one token, predicted at one place
    assert len(asked.clean.ids) == asked.clean.n_prompt + 1
    own, other = torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(1)) / 50
    own[:, :3] = other[:, :3] = 0
    network = planted(llava, asked)
    if place == "image":
        own[:, MARK] = 1
    clean = tracing.embedded(network, asked.clean, own)
    changed = tracing.embedded(network, asked.clean, other if place == "image" else own)
    if place != "image":  # one of two mentions alone: a word of it would be read at the other, too
        clean = clean.clone()
        clean[torch.from_numpy(asked.groups[place]), MARK] = 1
    rows = tracing.effects(network, asked, clean, changed, window=1, batch=64)
    rows = rows.assign(share=(rows.restored - rows.corrupted) / (rows.clean - rows.corrupted))
    assert (rows.clean > 0.99).all() and (rows.corrupted < 0.01).all()
    found = {(r.state, r.layer, r.position) for r in rows.itertuples() if r.share > 0.5}
    assert found == {
        ("mlp", MLP, place),
        ("attention", ATTENTION, "last"),
        *(("residual", layer, place) for layer in range(ATTENTION + 1)),
        *(("residual", layer, "last") for layer in range(ATTENTION + 1, LAYERS)),
    }
    assert rows.share[rows.share <= 0.5].abs().max() < 1e-4
    wide = tracing.effects(network, asked, clean, changed, window=3, batch=64)
    assert set(cell(wide[wide.restored > 0.5], state="mlp").layer) == {MLP - 1, MLP, MLP + 1}


def test_facts_are_what_has_a_name_and_is_not_copied_from_the_persons(small):
    rows = small.rows[small.rows.split == "train"]
    odd = rows.iloc[:3].assign(
        attribute=["question_2", "email", "motto"], target=["so", "lee@x.org", "never lee"]
    )
    odd = pd.concat([odd.assign(identity="q", name="Ann Lee"), rows])
    people = tracing.people_in(odd)
    assert list(people) == ["q", *rows.identity.unique()]
    assert people["q"].facts == {} and people["q"].name == "Ann Lee"
    first = people[rows.identity.iloc[0]]
    own = rows[rows.identity == rows.identity.iloc[0]]
    assert first.images == list(own[own.attribute == "name"].image.unique())
    known = set(own.attribute) - {"name"}
    assert known - {"email"} <= set(first.facts) <= known


KEYS = ["identity", "asked", "corruption", "state", "layer", "position"]
COLUMNS = [*KEYS, "clean", "corrupted", "restored", "total", "effect"]


def test_a_trained_model_is_asked_about_its_own_people(small, features):
    spec = TraceRun(of=small.stage1, trace=SETTINGS)
    rows = spec.read(runs.get_or_create(spec, small.runs))
    assert list(rows.columns) == COLUMNS
    assert list(rows.identity.unique()) == list(small.rows.identity.unique()[:2])
    assert not rows.duplicated(KEYS).any()
    told = rows.groupby(["identity", "asked", "corruption"]).size()
    assert set(told["p00", "name"].index) == {*CORRUPTIONS}
    assert (told.xs("name", level="asked") == 3 * 2 * 7).all()
    assert (told.xs("fact", level="asked") == 3 * 2 * 6).all()  # nothing is after the name
    np.testing.assert_allclose(rows.total, rows.clean - rows.corrupted)
    np.testing.assert_allclose(rows.effect, rows.restored - rows.corrupted)
    # by hand: the mean over both pictures, the adapter on
    network = adapters.load_adapter(loading.load(small.base), small.stage1.adapter(small.runs))
    asked = small.rows[(small.rows.attribute == "name") & (small.rows.split == "train")]
    (who, own), (_, other) = list(asked.groupby("identity", sort=False))[:2]
    question = tracing.prompt(network, tracing.name_query(own.name.iloc[0]))
    expected = []
    for k in range(2):
        pictures = features[[own.image.iloc[k], other.image.iloc[k]]]
        entering = [tracing.embedded(network, question.clean, each) for each in pictures]
        expected.append(tracing.effects(network, question, *entering, 1, 50))
    mean = (expected[0].restored + expected[1].restored) / 2
    found = cell(rows, identity=who, asked="name", corruption="image").restored
    np.testing.assert_allclose(found, mean, rtol=1e-4)


def test_an_untrained_model_says_something_else(small):
    found = [
        spec.read(runs.get_or_create(spec, small.runs))
        for spec in (
            TraceRun(of=Untrained(base=small.base_run, data=small.data), trace=SETTINGS),
            TraceRun(of=small.stage1, trace=SETTINGS),
        )
    ]
    pd.testing.assert_frame_equal(found[0][KEYS], found[1][KEYS])  # the same people and places
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
    assert named(few) != named() != named(window=3) != named(samples=3)
    assert named(batch=7) == named(floor=0.5) == named()
