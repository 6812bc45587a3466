"""jobs.cluster: runs on the nodes of a Ray cluster, one of which is lost; skipped without Ray."""

import sys
import threading
import time

import pandas as pd
import pytest
import toy_runs

from remem import checks, jobs, paths, runs
from remem.config import load_config
from remem.config.cluster import Cluster
from remem.jobs import FailedRuns, cluster
from remem.jobs.cluster import NoCluster

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def ray_cluster():
    """A head that takes no run, and two nodes with a GPU each, declared and not there."""
    pytest.importorskip("ray")
    import ray
    from ray.cluster_utils import Cluster as Local

    head = {"num_cpus": 0, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{paths.ROOT}:{paths.ROOT / 'tests'}")  # where toy_runs is
        local = Local(initialize_head=True, head_node_args=head)
        nodes = [local.add_node(num_cpus=1, num_gpus=1) for _ in range(2)]
    local.wait_for_nodes()
    yield local, nodes
    ray.shutdown()
    local.shutdown()


def settings(ray_cluster, **changed) -> Cluster:
    return Cluster(address=ray_cluster[0].address, **changed)


def test_a_cluster_without_such_a_gpu_is_refused_at_once(ray_cluster, tmp_path):
    for wanted, told in (
        ({"accelerator": "H100"}, "no node has 1 H100 GPU and a CPU core for a run"),
        ({"gpus": 2}, "no node has 2 GPUs and a CPU core"),
    ):
        toys = toy_runs.several(tmp_path, 2, 0, cluster=settings(ray_cluster, **wanted))
        started = time.monotonic()
        with pytest.raises(NoCluster, match=told) as error:
            jobs.sweep(toys)
        assert "1 GPUs and 1 cores" in str(error.value)
        assert time.monotonic() - started < 60
    assert toy_runs.begun(tmp_path) == []


def test_a_node_that_sees_other_files_or_other_code_is_refused(ray_cluster, tmp_path, monkeypatch):
    toys = toy_runs.several(tmp_path, 2, 0, cluster=settings(ray_cluster))
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "_code", lambda: "another")
        with pytest.raises(NoCluster, match="has another version of remem"):
            jobs.sweep(toys)
    with monkeypatch.context() as patch:
        patch.setattr(cluster.paths, "write", lambda path, content: tmp_path / "elsewhere")
        with pytest.raises(NoCluster, match=f"does not see {tmp_path}; set REMEM_OUTPUTS"):
            jobs.sweep(toys)
    assert toy_runs.begun(tmp_path) == []


def test_a_run_that_fails_on_a_node_says_why_and_the_others_are_made(ray_cluster, tmp_path):
    toys = toy_runs.several(tmp_path, 2, 0, cluster=settings(ray_cluster))
    bad = jobs.Jobs((jobs.Job(toy_runs.Toy(number=7, bad=True)),), tmp_path, 1)
    with pytest.raises(FailedRuns, match=r"(?s)RuntimeError: the loss is nan.*1 of 5 runs failed"):
        jobs.sweep(toys + bad)
    assert all(runs.is_done(job.spec, tmp_path) for job in toys)


def test_a_lost_node_loses_nothing_and_the_table_is_that_of_one_machine(ray_cluster, tmp_path):
    local, (_, lost) = ray_cluster
    there, here = tmp_path / "there", tmp_path / "here"
    toys = toy_runs.several(there, 3, 4.0, cluster=settings(ray_cluster))
    found = []
    sweep = threading.Thread(target=lambda: found.append(jobs.collect(toys)))
    sweep.start()
    while len(toy_runs.begun(there)) < 2:  # one on either node
        time.sleep(0.1)
    local.remove_node(lost)
    sweep.join()
    pd.testing.assert_frame_equal(found[0], jobs.collect(toy_runs.several(here, 3, 0)))
    assert len(toy_runs.begun(there)) > len(toy_runs.begun(here)) == 6  # some was begun again
    assert {*toy_runs.logs(there)["gpu"]} == {"0"}
    assert not list(there.glob(".*.part"))


def test_without_ray_it_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NoCluster, match=r"Ray is not installed: .*remem\[ray\]"):
        jobs.sweep(toy_runs.several(tmp_path, 2, 0, cluster=Cluster(address="auto")))


def test_a_cluster_that_cannot_be_used_is_told_before_the_first_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ray", None)
    config = load_config("smoke", {"cluster": "auto"})
    with pytest.raises(NoCluster):
        checks.ready(config, ["unlearning"])
    assert checks.ready(config, ["dataset"]) == []
    assert paths.outputs("smoke").root == tmp_path / "smoke"
