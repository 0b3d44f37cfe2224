"""Counters of a revision's replicas, read from their pods through the API server.

No metrics system is needed, since each function counts its own requests (`functions.metrics`) and the API server
reaches every pod. Pods that can't be read are reported as such; their counts are never estimated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eaves.errors import ClusterError, DeniedError
from knative.client.kinds import POD
from knative.rollout.metrics.counters import MetricsReading
from knative.rollout.metrics.prometheus_text import REQUESTS, parse_counters

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

REVISION_LABEL = "serving.knative.dev/revision"
PORT = 8080
"""Port of the function's container. The sidecar `queue-proxy` listens at another port, which isn't read."""
SIDECAR = "queue-proxy"
TIMEOUT_S = 5.0
"""Maximum seconds to read one pod. A pod that doesn't answer is read again with the next scrape."""
AT_ONCE = 8
"""Number of pods that are read at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsScrape:
    """The readings of all pods of a rollout's revisions at one moment.

    Attributes:
        readings: Readings of the pods that could be read.
        present: Names of all existing pods; None when they can't be listed.
        unread: Pods that should have answered, with the reason.
    """

    readings: tuple[MetricsReading, ...] = ()
    present: tuple[str, ...] | None = ()
    unread: Mapping[str, str] = field(default_factory=dict)


def scrape_metrics(cluster: Cluster, revisions: Iterable[str]) -> MetricsScrape:
    """Read the metrics of every pod of some revisions.

    Raises:
        UnreachableClusterError: When the API server doesn't list the pods.
    """
    wanted = ",".join(sorted(filter(None, revisions)))
    try:
        pods = cluster.list(POD, selector=f"{REVISION_LABEL} in ({wanted})")
    except DeniedError as error:
        return MetricsScrape(present=None, unread={"all": error.message})
    running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="look") as threads:
        found = list(threads.map(lambda pod: _ask(cluster, pod), running))
    ending = {_name(pod) for pod in running if pod["metadata"].get("deletionTimestamp")}
    return MetricsScrape(
        readings=tuple(one for one in found if isinstance(one, MetricsReading)),
        present=tuple(map(_name, pods)),
        unread={
            _name(pod): one
            for pod, one in zip(running, found, strict=True)
            if isinstance(one, str) and _name(pod) not in ending
        },
    )


def _ask(cluster: Cluster, pod: Mapping[str, Any]) -> MetricsReading | str:
    """Read the metrics of one pod; return the reading, or the reason why there is none."""
    try:
        answer = cluster.ask_pod(_name(pod), PORT, "/metrics", timeout_s=TIMEOUT_S)
    except ClusterError as error:
        return error.message
    if answer.status != 200:
        return f"/metrics answered {answer.status}"
    text = answer.body.decode(errors="replace")
    if REQUESTS not in text:
        return "/metrics has no counters of requests: the pod is not a function of Eaves"
    restarts, crashed = _restarts(pod)
    tally, slowest = parse_counters(text)
    revision = pod["metadata"].get("labels", {}).get(REVISION_LABEL, "")
    return MetricsReading(
        pod=_name(pod), revision=revision, restarts=restarts, crashed=crashed, tally=tally, slowest=slowest
    )


def _restarts(pod: Mapping[str, Any]) -> tuple[int, bool]:
    """Return (number of restarts of the function's container, whether its last end was a crash).

    A container that ended with its node has the reason `Unknown`; one that was asked to end has the exit code 0.
    """
    for container in pod.get("status", {}).get("containerStatuses") or []:
        if container.get("name") != SIDECAR:
            ended = (container.get("lastState") or {}).get("terminated") or {}
            crashed = ended.get("exitCode", 0) != 0 and ended.get("reason") != "Unknown"
            return int(container.get("restartCount", 0)), crashed
    return 0, False


def _name(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"]["name"])
