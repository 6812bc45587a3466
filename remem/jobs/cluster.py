"""Where a run is made on a cluster: on a node of Ray's, with a GPU of its own.

All nodes see the runs' folder under one path, and have this very code; both are looked at first.
A run whose node is lost is begun again on another one. Nothing else is sent but the spec.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from remem import paths, runs
from remem.config.cluster import Cluster
from remem.jobs import workers
from remem.runs import Run

ANSWER = 120  # seconds in which a node has to say that it is there


class NoCluster(ValueError):
    """The cluster cannot be used; the message says why."""


class Nodes:
    """The nodes of a cluster that have what a run takes. Raises NoCluster, at once, where there is
    none, or one that does not see the same files."""

    def __init__(self, settings: Cluster, runs_root: Path):
        self._settings, self._ray = settings, _connected(settings)
        ray = self._ray
        nodes = [node for node in ray.nodes() if node["Alive"]]
        fitting = [node for node in nodes if _room(settings, node["Resources"])]
        if not fitting:
            there = "; ".join(_described(node["Resources"]) for node in nodes) or "no node"
            raise NoCluster(
                f"cluster {settings.address}: no node has {_wanted(settings)} for a run; there "
                f"are: {there}. Set cluster.gpus and cluster.accelerator to what they have"
            )
        self.at_once = sum(_room(settings, node["Resources"]) for node in fitting)
        takes: dict[str, Any] = {"num_gpus": settings.gpus, "num_cpus": 1}
        if settings.accelerator is not None:
            takes["accelerator_type"] = settings.accelerator
        self._make = ray.remote(_make_on_node).options(max_retries=settings.retries, **takes)
        _check(ray, settings, fitting, paths.make_folder(Path(runs_root)))

    def submit(self, spec: Run, runs_root: Path) -> Future[Path]:
        """Send the spec to a node that is free."""
        found: Future[Path] = Future()
        found.set_running_or_notify_cancel()
        hub = {key: value for key, value in os.environ.items() if key.startswith("HF_HUB_")}
        reference = self._make.remote(spec, str(runs_root), hub)
        reference.future().add_done_callback(functools.partial(_hand_on, found))
        return found

    def stop(self) -> None:
        """Leave the cluster: it ends what this process has asked of it."""
        self._ray.shutdown()

    def lost(self, error: BaseException) -> str | None:
        """A run whose nodes were lost, as often as it may be begun again; or that none could read:
        it is of a module that is not there."""
        if not isinstance(error, self._ray.exceptions.RayError):
            return None
        cluster, last = f"cluster {self._settings.address}", _last_line(error)
        if isinstance(error, self._ray.exceptions.RayTaskError):
            return f"{cluster}: a node cannot begin it, since something is not there: {last}"
        return (
            f"{cluster}: the node that made it was lost, in {self._settings.retries + 1} tries "
            f"({type(error).__name__}: {last})"
        )


def _connected(settings: Cluster) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise NoCluster(
            f"cluster is {settings.address}, and Ray is not installed: pip install 'remem[ray]'"
        ) from error
    if not ray.is_initialized():
        quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
        try:
            ray.init(address=settings.address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise NoCluster(
                f"cluster {settings.address}: cannot be reached ({error}). Start one with "
                "`ray start --head`, and give its address as cluster.address"
            ) from error
    return ray


def _room(settings: Cluster, resources: Mapping[str, float]) -> int:
    """How many runs a node with these resources can make at once."""
    kind = settings.accelerator
    if kind is not None and f"accelerator_type:{kind}" not in resources:
        return 0
    cores = int(resources.get("CPU", 0))
    if not settings.gpus:
        return cores
    return min(cores, int(resources.get("GPU", 0) // settings.gpus))


def _wanted(settings: Cluster) -> str:
    if not settings.gpus:
        return "a CPU core"
    kind = f" {settings.accelerator}" if settings.accelerator else ""
    return f"{settings.gpus}{kind} GPU{'s' * (settings.gpus > 1)} and a CPU core"


def _described(resources: Mapping[str, float]) -> str:
    kinds = [name.partition(":")[2] for name in resources if name.startswith("accelerator_type:")]
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    kind = f" ({', '.join(kinds)})" if kinds else ""
    return f"{gpus} GPUs{kind} and {cores} cores"


def _check(
    ray: Any, settings: Cluster, nodes: Sequence[Mapping[str, Any]], runs_root: Path
) -> None:
    """Raise NoCluster where a node does not see what this process writes, or has other code."""
    from ray.util import scheduling_strategies  # pyright: ignore[reportMissingImports]

    look: Any = ray.remote(_look)
    file = paths.write(runs_root / f".seen-{secrets.token_hex(8)}", "")
    try:
        asked = []
        for node in nodes:
            there = scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked.append(look.options(num_cpus=0, scheduling_strategy=there).remote(str(file)))
        seen = ray.get(asked, timeout=ANSWER)
    except ray.exceptions.RayError as error:
        raise NoCluster(
            f"cluster {settings.address}: a node does not answer, or cannot load remem "
            f"({type(error).__name__}: {_last_line(error)}); it needs the same environment"
        ) from error
    finally:
        file.unlink(missing_ok=True)
    for node, (there, code) in zip(nodes, seen, strict=True):
        name = node.get("NodeManagerHostname") or node["NodeID"]
        if not there:
            raise NoCluster(
                f"cluster {settings.address}: the node {name} does not see {runs_root}; set "
                "REMEM_OUTPUTS to a folder on a file system that all nodes share"
            )
        if code != _code():
            raise NoCluster(
                f"cluster {settings.address}: the node {name} has another version of remem; "
                "install the same one there"
            )


def _last_line(error: BaseException) -> str:
    return "".join(str(error).strip().splitlines()[-1:])


def _look(file: str) -> tuple[bool, str]:
    """On a node: whether a file is there, and which code."""
    return Path(file).is_file(), _code()


@functools.cache
def _code() -> str:
    package = Path(__file__).resolve().parent.parent
    files = sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py"))
    return runs.content(package, files)


def _make_on_node(spec: Run, runs_root: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """On a node: the folder of a run, or in words why there is none."""
    os.environ.update(environment)
    workers.quieten()
    try:
        return str(workers.make(spec, Path(runs_root))), ""
    except Exception as error:  # not every one survives the way back
        return "", workers.in_words(error)


def _hand_on(found: Future[Path], done: Future[tuple[str, str]]) -> None:
    error = done.exception()
    if error is not None:
        found.set_exception(error)
        return
    folder, reason = done.result()
    if reason:
        found.set_exception(workers.InWorker(reason))
    else:
        found.set_result(Path(folder))
