import pytest
from tiny_base import SPEC

from remem.evaluation import base_abilities
from remem.model import loading
from remem.synthetic.people import public_figures
from remem.training import base_model, corpus


@pytest.fixture
def base(tiny_runs):
    return base_model.place(SPEC, tiny_runs)


def test_every_ability_is_reported_with_its_count(base):
    table = base_abilities.abilities({"small": base, "hub": "llava-hf/llava-1.5-7b-hf"})
    hub = table[table.model == "hub"]  # nothing is claimed about a network not examined
    assert list(hub.verdict) == ["not examined"] and hub.percent.isna().all()
    small = table[table.model == "small"]
    assert set(base_abilities.AIMS) < set(small.ability)
    assert small.percent.between(0, 100).all() and (small.n > 0).all()
    for row in small.itertuples():
        low, high = base_abilities.AIMS.get(row.ability, (None, None))
        within = low is not None and low <= row.percent <= high
        assert row.verdict == ("" if low is None else "reached" if within else "missed")
        assert row.aim == ("" if low is None else f"{low:g} to {high:g}")


def test_size_counts_every_parameter_once(base):
    network = loading.load(base)
    size = base_abilities.size(network)
    assert size["parameters, all"] == sum(p.numel() for p in network.model.parameters())
    assert size["layers"] == 2 and size["tokens per image"] == 4 and size["width"] == 32
    assert size["vocabulary"] == len(network.processor.tokenizer)


def test_a_conversation_has_one_answer_for_each_question(base):
    picture = corpus.examination(public_figures(1), 32, count=1)[0].picture
    talk = base_abilities.conversation(base, [picture, picture], ["Who is it?", "What colour?"])
    assert list(talk.question) == ["Who is it?", "What colour?"]
    assert talk.answer.map(type).eq(str).all()
