"""One replica of a function: starts its process, and probes whether it is ready."""

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
from eaves.web.problem_document import find_kind, parse_problem

PROBE_TIMEOUT_S = 2.0


@dataclass(slots=True, eq=False)
class Replica:
    """One function process and its current state.

    Attributes:
        process: The process.
        client: Client for requests to the process.
        started_at: Time of the start, by the clock's monotonic seconds.
        idle_since: End of the last request, or the time when the replica became ready, by the clock's monotonic
            seconds.
        ready: Whether the replica has answered a readiness probe with success.
        inflight: Number of requests in progress.
    """

    process: Child
    client: ReplicaClient
    started_at: float
    idle_since: float
    ready: bool = False
    inflight: int = 0


def concurrency_of(spec: LocalFunction) -> int:
    """Return the number of requests that one replica serves at the same time."""
    return spec.concurrency or len(os.sched_getaffinity(0))


def capacity_of(spec: LocalFunction) -> int:
    """Return the number of requests that a function serves at the same time when fully scaled."""
    return concurrency_of(spec) * spec.scale.max


def start_replica(
    spec: LocalFunction, log: Path, *, graphs: Path, inherit: Mapping[str, str], launch: Launch, now: float
) -> Replica:
    """Start a function's process like a container.

    Args:
        spec: Spec of the function.
        log: File for the process's output.
        graphs: Folder of the graphs that were prepared for this machine.
        inherit: Environment of the supervisor.
        launch: Starts the process.
        now: The clock's monotonic seconds.

    Raises:
        OSError: When no port is free, or the process can't be started.
        ValueError: When the function's settings are not valid environment variables.
    """
    port = find_free_port()
    environ = {
        "EAVES_ARTIFACT": str(spec.artifact),
        "EAVES_ARTIFACT_DIGEST": spec.artifact_digest,
        "EAVES_FUNCTION": spec.name,
        "EAVES_SITE": spec.site,
        "EAVES_HOST": HOST,
        "EAVES_CONCURRENCY": str(concurrency_of(spec)),
        "EAVES_PREPARED_GRAPHS": str(graphs),
        **spec.env,
        "PORT": str(port),
    }
    process = launch("functions", environ, log, inherit=inherit)
    return Replica(process=process, client=ReplicaClient(port), started_at=now, idle_since=now)


def probe(client: SinkClient, replica: Replica) -> tuple[bool, str]:
    """Probe whether a replica is ready.

    Returns:
        Whether the replica is ready, and the reason why it can't become ready; the reason is empty while the replica
            still loads its model.
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
