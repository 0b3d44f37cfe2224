"""One replica of a function: how it is started as a process, and how it is asked whether it is ready."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eaves.delivery import SinkClient
from eaves.errors import DeliveryError
from eaves.local.processes.ports import HOST, find_free_port
from eaves.local.processes.process import Child, Launch
from eaves.local.processes.replica_client import ReplicaClient
from eaves.local.specs import LocalFunction
from eaves.problem_document import find_kind, parse_problem

PROBE_TIMEOUT_S = 2.0


@dataclass(slots=True, eq=False)
class Replica:
    """One function process and what it is doing.

    Attributes:
        process: The process.
        client: Connections to it.
        started_at: Start, by the clock's monotonic seconds.
        idle_since: End of its last request, or when it became ready, by the same clock.
        ready: Whether it has said that it is ready.
        inflight: Requests that it is answering.
    """

    process: Child
    client: ReplicaClient
    started_at: float
    idle_since: float
    ready: bool = False
    inflight: int = 0


def concurrency_of(spec: LocalFunction) -> int:
    """Return how many requests one replica serves at the same time."""
    return spec.concurrency or len(os.sched_getaffinity(0))


def capacity_of(spec: LocalFunction) -> int:
    """Return how many requests a function serves at the same time, fully scaled."""
    return concurrency_of(spec) * spec.scale.max


def start_replica(spec: LocalFunction, log: Path, *, inherit: Mapping[str, str], launch: Launch, now: float) -> Replica:
    """Start a function's process as a container would be started.

    Args:
        spec: The function.
        log: File that gets what the process writes.
        inherit: Environment of the supervisor.
        launch: Starts the process.
        now: The clock's monotonic seconds.

    Raises:
        OSError: When there is no free port, or the process can't be started.
        ValueError: When the function's settings can't be an environment.
    """
    port = find_free_port()
    environ = {
        "EAVES_ARTIFACT": str(spec.artifact),
        "EAVES_ARTIFACT_DIGEST": spec.artifact_digest,
        "EAVES_FUNCTION": spec.name,
        "EAVES_SITE": spec.site,
        "EAVES_HOST": HOST,
        "EAVES_CONCURRENCY": str(concurrency_of(spec)),
        **spec.env,
        "PORT": str(port),
    }
    process = launch("functions", environ, log, inherit=inherit)
    return Replica(process=process, client=ReplicaClient(port), started_at=now, idle_since=now)


def probe(client: SinkClient, replica: Replica) -> tuple[bool, str]:
    """Ask a replica whether it is ready.

    Returns:
        Whether it is ready, and why it never will be; neither while it loads.
    """
    try:
        answer = client.exchange("GET", replica.client.url + "health/readiness", timeout_s=PROBE_TIMEOUT_S)
    except DeliveryError:
        return False, ""
    if answer.status == 200:
        return True, ""
    problem = parse_problem(answer.body)
    if find_kind(problem) == "loading":
        return False, ""
    return False, str(problem.get("detail") or f"its readiness probe answered {answer.status}")
