"""Status of the agents, publishers and relays of a site: their pods, their sources and their queues.

An agent serves its report at its metrics port; the API server connects to that port. Agents that can't be read are
reported as such; their numbers are never estimated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eaves.admin.agent import HEALTH
from eaves.admin.report import parse_report
from eaves.admin.summary import AgentStatus, describe_silent, summarize
from eaves.errors import ClusterError, DeniedError
from knative.client.kinds import POD
from knative.deploy.ownership import AppOwner
from knative.resources import publisher, relay
from knative.resources.agent import CONTAINER, PART, SOURCE_LABEL
from knative.resources.app.agent_variables import METRICS_PORT
from knative.resources.fields.labels import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, PART_LABEL

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

TIMEOUT_S = 5.0
"""Maximum seconds for one agent's answer."""
AT_ONCE = 8
"""Number of agents that are read at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPod:
    """A pod with a queue: it runs a source, publishes a trigger's events, or is a relay.

    Attributes:
        app: Function that the pod belongs to.
        source: Name of the source; `TRIGGER-mqtt` for a publisher, `relay` for a relay.
        name: Name of the pod.
        container: Container with the queue.
        namespace: Namespace of the pod.
        phase: Phase of the pod, such as `Running`. Source: Kubernetes, PodStatus.
        ready: Whether the pod runs and doesn't report that it isn't ready, as a pod on a node that is off does.
    """

    app: str
    source: str
    name: str
    namespace: str
    phase: str
    ready: bool = True
    container: str = CONTAINER

    @property
    def agent(self) -> str:
        """Name of the agent in commands: `FUNCTION.SOURCE`, `FUNCTION.TRIGGER-mqtt` or `FUNCTION.relay`."""
        return f"{self.app}.{self.source}"

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources that the agent runs; publishers and relays run none."""
        return (self.source,) if self.container == CONTAINER else ()


def list_agent_pods(cluster: Cluster, owner: AppOwner, *, all_namespaces: bool = False) -> list[AgentPod]:
    """List every pod with a queue, including those on nodes if the user may see them, sorted by agent and name.

    Args:
        cluster: Connection to the site's cluster.
        owner: The site, and the namespace of its agents on nodes; an app limits the list to that app.
        all_namespaces: Whether it is an error that the user may not list the pods on nodes.

    Raises:
        DeniedError: When the user may not list the pods.
        ClusterError: When a request to the cluster is refused or fails.
    """
    ours = f"{MANAGED_LABEL}={MANAGED_VALUE},{PART_LABEL} in ({PART},{publisher.PART},{relay.PART})"
    ours += f",{APP_LABEL}={owner.app}" if owner.app else ""
    found = list(_pods(cluster, cluster.namespace, ours))
    if owner.agents and owner.agents != cluster.namespace:
        with (
            nullcontext() if all_namespaces else suppress(DeniedError)
        ):  # a user who may not list that namespace gets the other agents
            found += _pods(cluster, owner.agents, ours, owner)
    return sorted(found, key=lambda pod: (pod.agent, pod.name))


def read_agents(cluster: Cluster, pods: Sequence[AgentPod]) -> list[AgentStatus]:
    """Read the reports of agents from their pods, in the order of the pods."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="agents") as threads:
        return list(threads.map(lambda pod: _read(cluster, pod), pods))


def _pods(cluster: Cluster, namespace: str, selector: str, owner: AppOwner | None = None) -> Iterator[AgentPod]:
    """Yield the pods with a queue in a namespace.

    If `owner` is given, pods of other owners are left out; the namespace of the agents on nodes may hold such pods.
    """
    for one in cluster.list(POD, namespace=namespace, selector=selector):
        labels: Mapping[str, Any] = one["metadata"].get("labels", {})
        if _is_replaced(one) or (owner is not None and not owner.has_agent(labels, cluster.namespace)):
            continue
        source, container = str(labels.get(SOURCE_LABEL, "")), CONTAINER
        if labels.get(PART_LABEL) == publisher.PART:
            source, container = f"{labels.get(publisher.TRIGGER_LABEL, '')}-mqtt", publisher.CONTAINER
        elif labels.get(PART_LABEL) == relay.PART:
            source, container = relay.PART, relay.CONTAINER
        yield AgentPod(
            app=str(labels.get(APP_LABEL, "")),
            source=source,
            container=container,
            name=str(one["metadata"]["name"]),
            namespace=namespace,
            phase=str(one.get("status", {}).get("phase", "Unknown")),
            ready=_is_ready(one.get("status", {})),
        )


def _is_replaced(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod of a Deployment is ending, so that another pod replaces it and its queue is lost.

    A pod of a StatefulSet or DaemonSet leaves its queue on a disk for the next pod, so it stays listed while it ends.
    """
    owners = pod["metadata"].get("ownerReferences") or ()
    return "deletionTimestamp" in pod["metadata"] and any(one.get("kind") == "ReplicaSet" for one in owners)


def _is_ready(status: Mapping[str, Any]) -> bool:
    denied = [
        one for one in status.get("conditions") or () if one.get("type") == "Ready" and one.get("status") != "True"
    ]
    return status.get("phase") == "Running" and not denied


def _read(cluster: Cluster, pod: AgentPod) -> AgentStatus:
    if pod.phase != "Running":
        return describe_silent(pod.agent, pod.sources, pod=pod.name, state=pod.phase.lower())
    try:
        answer = cluster.ask_pod(pod.name, METRICS_PORT, HEALTH, timeout_s=TIMEOUT_S, namespace=pod.namespace)
        return summarize(pod.agent, parse_report(json.loads(answer.body)["report"]), pod=pod.name)
    except ClusterError as error:
        return describe_silent(pod.agent, pod.sources, pod=pod.name, state="unknown", reason=error.message)
    except (ValueError, KeyError, TypeError):
        answer_text = answer.body[:200].decode(errors="replace")
        reason = f"{HEALTH} answered {answer.status} without a report: {answer_text}"
        return describe_silent(pod.agent, pod.sources, pod=pod.name, state="unknown", reason=reason)
