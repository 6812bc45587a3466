"""config.cluster: where runs are made moves no result."""

import pytest

from remem import runs
from remem.config import BadParameter, load_config
from remem.config.cluster import Cluster
from remem.report import made


def test_an_address_alone_will_do():
    assert load_config("tiny").cluster is None
    assert load_config("tiny", {"cluster": "auto"}).cluster == Cluster(address="auto")
    given = {"cluster.address": "head:6379", "cluster.gpus": 0, "cluster.retries": 1}
    assert load_config("tiny", given).cluster == Cluster(address="head:6379", gpus=0, retries=1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"cluster.gpus": 1}, "cluster.address: is missing"),
        ({"cluster": {"address": "auto", "gpu": 1}}, "cluster.gpu: unknown key .*'gpus'"),
        ({"cluster": {"address": ""}}, "cluster.address: "),
        ({"cluster": {"address": "auto", "gpus": -1}}, "cluster.gpus: -1 was given"),
    ],
)
def test_what_is_given_wrongly_is_refused(given, told):
    with pytest.raises(BadParameter, match=told):
        load_config("tiny", given)


def test_it_is_in_no_digest_and_no_word_of_what_was_changed():
    plain, elsewhere = load_config("tiny"), load_config("tiny", {"cluster": "auto", "workers": 7})
    assert runs.digest(plain.model_copy(update={"workers": 7})) == runs.digest(elsewhere)
    assert made.parameters(plain) == made.parameters(elsewhere)
    assert "cluster" not in runs.plain(plain, for_digest=True)
