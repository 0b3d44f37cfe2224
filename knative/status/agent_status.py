"""The agents, publishers and relays of a site: their pods, and what each says of its source and its queue.

An agent serves its report at its metrics port, which the API server's pod proxy reaches. What can't be read is told,
never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eaves.admin.agent import HEALTH
from eaves.admin.report import parse_report
from eaves.admin.summary import AgentStatus, describe_silent, summarize
from eaves.errors import ClusterError, DeniedError
from knative.client.kinds import POD
from knative.deploy.objects.labelled_objects import AppOwner
from knative.resources import publisher, relay
from knative.resources.agent import CONTAINER, METRICS_PORT, PART, SOURCE_LABEL
from knative.resources.fields.labels import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, PART_LABEL

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

TIMEOUT_S = 5.0
"""For one agent's answer."""
AT_ONCE = 8
"""Agents asked at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPod:
    """One pod that has a queue: it runs a source, publishes what a trigger delivers, or is a relay.

    Attributes:
        app: The function that it belongs to.
        source: Name of the source; `TRIGGER-mqtt` of a publisher, `relay` of a relay.
        name: Of the pod.
        container: Its container.
        namespace: Of the pod.
        phase: `Running` and the like. Source: Kubernetes, PodStatus.
    """

    app: str
    source: str
    name: str
    namespace: str
    phase: str
    container: str = CONTAINER

    @property
    def agent(self) -> str:
        """`FUNCTION.SOURCE`, `FUNCTION.TRIGGER-mqtt` or `FUNCTION.relay`, as commands name it."""
        return f"{self.app}.{self.source}"

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that it runs; publishers and relays run none."""
        return (self.source,) if self.container == CONTAINER else ()


def list_agent_pods(cluster: Cluster, owner: AppOwner) -> list[AgentPod]:
    """Every pod with a queue here, those on nodes too where these may be seen; by agent, then by name.

    Args:
        cluster: The site's.
        owner: Of what site, and where its agents on nodes are; an app narrows it to that app's.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    ours = f"{MANAGED_LABEL}={MANAGED_VALUE},{PART_LABEL} in ({PART},{publisher.PART},{relay.PART})"
    ours += f",{APP_LABEL}={owner.app}" if owner.app else ""
    found = list(_pods(cluster, cluster.namespace, ours))
    if owner.agents and owner.agents != cluster.namespace:
        with suppress(DeniedError):  # who may not look there is shown the agents that they may see
            found += _pods(cluster, owner.agents, ours, owner)
    return sorted(found, key=lambda pod: (pod.agent, pod.name))


def read_agents(cluster: Cluster, pods: Sequence[AgentPod]) -> list[AgentStatus]:
    """What the agents say, in the order of their pods."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="agents") as threads:
        return list(threads.map(lambda pod: _read(cluster, pod), pods))


def _pods(cluster: Cluster, namespace: str, selector: str, owner: AppOwner | None = None) -> Iterator[AgentPod]:
    """Pods with a queue; in the namespace of agents on nodes those of one owner only."""
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
        )


def _is_replaced(pod: Mapping[str, Any]) -> bool:
    """Whether a Deployment ends this pod: another one runs in its place, and its queue ends with it.

    A pod of a StatefulSet or DaemonSet that ends leaves its queue on a disk, to the next pod, so it stays listed.
    """
    owners = pod["metadata"].get("ownerReferences") or ()
    return "deletionTimestamp" in pod["metadata"] and any(one.get("kind") == "ReplicaSet" for one in owners)


def _read(cluster: Cluster, pod: AgentPod) -> AgentStatus:
    if pod.phase != "Running":
        return describe_silent(pod.agent, pod.sources, pod=pod.name, state=pod.phase.lower())
    try:
        answer = cluster.ask_pod(pod.name, METRICS_PORT, HEALTH, timeout_s=TIMEOUT_S, namespace=pod.namespace)
        return summarize(pod.agent, parse_report(json.loads(answer.body)["report"]), pod=pod.name)
    except ClusterError as error:
        return describe_silent(pod.agent, pod.sources, pod=pod.name, state="unknown", reason=error.message)
    except (ValueError, KeyError, TypeError):
        said = answer.body[:200].decode(errors="replace")
        reason = f"{HEALTH} answers {answer.status} without a report: {said}"
        return describe_silent(pod.agent, pod.sources, pod=pod.name, state="unknown", reason=reason)
