"""What agents, publishers and relays at a site wrote, pod by pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eaves.errors import AbsentError, ClusterError, InvalidError, NotFoundError
from knative.deploy.objects.labelled_objects import AppOwner
from knative.status.agent_status import AgentPod, list_agent_pods

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

ALL = "agent"
"""Stands in a name for all agents of a function: `flowers.agent`."""


def read_agent_logs(cluster: Cluster, owner: AppOwner, name: str, *, lines: int) -> list[str]:
    """The last lines of an agent, of all its pods one after the other.

    Args:
        cluster: The site's.
        owner: The function, and where its agents on nodes are.
        name: `FUNCTION.SOURCE`, `FUNCTION.relay`, `FUNCTION.TRIGGER-mqtt`, or `FUNCTION.agent` for all of them.
        lines: How many of each pod at most, and in all.

    Raises:
        NotFoundError: When there is no such agent, or none of its pods has started.
        ClusterError: When the cluster refuses or fails.
    """
    pods = list_agent_pods(cluster, owner)
    chosen = [pod for pod in pods if name in (pod.agent, f"{owner.app}.{ALL}")]
    if not chosen:
        known = ", ".join(dict.fromkeys(pod.agent for pod in pods)) or "none"
        raise NotFoundError(
            f"no pod of {name} is in {cluster.namespace} of {cluster.name} (there are: {known})",
            hint="eaves status --on knative",
        )
    found: list[str] = []
    silent: list[ClusterError] = []
    for pod in chosen:
        try:
            found += _read(cluster, pod, lines)
        except (AbsentError, InvalidError) as error:  # it has just gone, or hasn't started
            silent.append(error)
    if len(silent) == len(chosen):
        raise NotFoundError(
            f"{name} has no lines to show: no pod has started: {silent[0].message}", hint="eaves status --on knative"
        )
    return found[-lines:]


def _read(cluster: Cluster, pod: AgentPod, lines: int) -> list[str]:
    """What a pod's container wrote; of one that was just started again, what the run before wrote."""
    found = cluster.logs(pod.name, container=pod.container, lines=lines, namespace=pod.namespace)
    if found:
        return found
    try:
        return cluster.logs(pod.name, container=pod.container, lines=lines, previous=True, namespace=pod.namespace)
    except InvalidError:  # there was no run before
        return []
