import pytest

from remem.bench import states


def adapters_of(network) -> list[str]:
    return sorted(getattr(network.model, "peft_config", {}))


@pytest.mark.parametrize(
    ("state", "names", "trainable"),
    [
        (states.fresh, ["default"], True),
        (states.continued, ["default", "reference"], True),
        (states.asked, ["default"], False),
    ],
)
def test_an_adapter_is_there_and_gone_again(subject, state, names, trainable):
    modules = [name for name, _ in subject.network.model.named_modules()]
    with state(subject) as network:
        assert adapters_of(network) == names
        assert any(weight.requires_grad for weight in network.model.parameters()) == trainable
    assert [name for name, _ in subject.network.model.named_modules()] == modules
    assert not any(weight.requires_grad for weight in subject.network.model.parameters())


def test_rows_are_the_same_each_time_and_of_their_kind(subject):
    assert states.train_rows(subject, 5).equals(states.train_rows(subject, 5))
    assert set(states.train_rows(subject, 5)["split"]) == {"train"}
    assert set(states.held_out_rows(subject, 5)["split"]) == {"test"}
    assert len(states.ranked_rows(subject, 5)) == 5
    assert len(states.train_rows(subject, 10**6)) == (subject.rows["split"] == "train").sum()
