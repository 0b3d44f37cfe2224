"""Logs of agents, publishers and relays at a site, pod by pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eaves.errors import AbsentError, ClusterError, InvalidError, NotFoundError
from knative.deploy.ownership import AppOwner
from knative.status.agent_status import AgentPod, list_agent_pods

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

ALL = "agent"
"""Name that stands for all agents of a function in a command, as in `eaves logs flowers.agent`."""


def read_agent_logs(cluster: Cluster, owner: AppOwner, name: str, *, lines: int) -> list[str]:
    """Read the last log lines of an agent, pod by pod.

    Args:
        cluster: Connection to the site's cluster.
        owner: The function, and the namespace of its agents on nodes.
        name: `FUNCTION.SOURCE`, `FUNCTION.relay` or `FUNCTION.TRIGGER-mqtt` for one agent, `FUNCTION.agent` for all
            agents.
        lines: Maximum number of lines for each pod, and in total.

    Raises:
        NotFoundError: When there is no such agent, or none of its pods has started.
        ClusterError: When a request to the cluster is refused or fails.
    """
    pods = list_agent_pods(cluster, owner)
    chosen = [pod for pod in pods if name in (pod.agent, f"{owner.app}.{ALL}")]
    if not chosen:
        known = ", ".join(dict.fromkeys(pod.agent for pod in pods)) or "none"
        raise NotFoundError(
            f"{name} has no pod in {cluster.namespace} of {cluster.name} (agents with pods: {known})",
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
            f"{name} has no log lines to show, because no pod has started: {silent[0].message}",
            hint="eaves status --on knative",
        )
    return found[-lines:]


def _read(cluster: Cluster, pod: AgentPod, lines: int) -> list[str]:
    """Read the log of an agent's container.

    If it is empty after a restart, read the log of the process before the restart.
    """
    found = cluster.logs(pod.name, container=pod.container, lines=lines, namespace=pod.namespace)
    if found:
        return found
    try:
        return cluster.logs(pod.name, container=pod.container, lines=lines, previous=True, namespace=pod.namespace)
    except InvalidError:  # there was no earlier run
        return []
