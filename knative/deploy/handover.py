"""An agent on nodes ends before another one takes its spool: never do two agents work on one.

It happens where agents get another namespace, and once where an earlier version of Eaves named them. A pod on a node
that doesn't answer is not waited for without end: the spool's own lock keeps the next agent from it until the first one
has ended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eaves.errors import DeniedError
from knative.client.kinds import DAEMON_SET, POD
from knative.deploy.objects.apply_result import REMOVED, ApplyResult
from knative.deploy.objects.inventory import InventoryItem
from knative.deploy.objects.ownership import delete_item, kind_named
from knative.resources.agent import NODE_SPOOLS
from knative.resources.fields.labels import MANAGER

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

GONE_S = 60.0
"""Longest wait for pods to end; an agent ends within 30 s of being told."""
POLL_S = 0.5
"""Pause between two looks at them."""

_log = logging.getLogger(__name__)


def end_predecessors(
    cluster: Cluster, manifest: Mapping[str, Any], leaving: Sequence[InventoryItem], app: str, *, gone_s: float = GONE_S
) -> list[ApplyResult]:
    """Delete the agents that use a spool of an agent that is about to be applied, and wait until their pods are gone.

    The new one is checked by the API server first: what it refuses ends no agent.

    Args:
        cluster: The cluster, in the app's namespace.
        manifest: What is about to be applied.
        leaving: The app's objects that are no longer wanted.
        app: Name of the app.
        gone_s: Longest wait for the pods.

    Raises:
        InvalidError: When the API server refuses the new one.
        ClusterError: When the cluster refuses or fails.
    """
    spools = _spools(manifest)
    ended = []
    for item in leaving:
        if not spools or kind_named(item) is not DAEMON_SET:
            continue
        one = cluster.get(DAEMON_SET, item.name, namespace=item.namespace)
        if one is None or not spools & _spools(one):
            continue
        cluster.apply(manifest, manager=MANAGER, force=True, dry_run=True)
        outcome = delete_item(cluster, item, app)
        if outcome == REMOVED:
            _wait_gone(cluster, one, gone_s)
        if outcome:
            ended.append(ApplyResult(kind=DAEMON_SET.kind, name=item.name, outcome=outcome))
    return ended


def _spools(one: Mapping[str, Any]) -> set[str]:
    """Folders of nodes in which the agents of a DaemonSet keep their spools."""
    if one["kind"] != DAEMON_SET.kind:
        return set()
    volumes = one["spec"]["template"]["spec"].get("volumes") or ()
    paths = {str((volume.get("hostPath") or {}).get("path", "")) for volume in volumes}
    return {path for path in paths if path.startswith(f"{NODE_SPOOLS}/")}


def _wait_gone(cluster: Cluster, agent: Mapping[str, Any], gone_s: float) -> None:
    namespace = str(agent["metadata"]["namespace"])
    labels: Mapping[str, str] = agent["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    deadline = time.monotonic() + gone_s
    try:
        while pods := cluster.list(POD, namespace=namespace, selector=selector):
            if time.monotonic() > deadline:
                names = ", ".join(str(pod["metadata"]["name"]) for pod in pods)
                _log.warning("agents have not ended within %.0f s, their nodes don't seem to answer: %s", gone_s, names)
                return
            time.sleep(POLL_S)
    except DeniedError as error:
        _log.warning("whether the agents of %s have ended can't be seen: %s", namespace, error.message)
