"""End an agent on nodes before another agent takes over its spool, so that two agents never work on one spool.

A handover happens when agents move to another namespace, and once when agents get another name because an earlier
version of Eaves named agents differently. The wait for a pod on a node that doesn't answer is limited: the spool's own
lock keeps the next agent out until the first one has ended.
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
"""Maximum seconds to wait until pods have ended; an agent ends within 30 s of the request to end."""
POLL_S = 0.5
"""Seconds between two reads of the pods."""

_log = logging.getLogger(__name__)


def end_predecessors(
    cluster: Cluster, manifest: Mapping[str, Any], leaving: Sequence[InventoryItem], app: str, *, gone_s: float = GONE_S
) -> list[ApplyResult]:
    """Delete the agents whose spool a new agent will use, and wait until their pods are gone.

    The API server validates the new agent first. If the API server refuses the new agent, the other agents keep
    running.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        manifest: The object that is about to be applied. Other agents end only if it is the DaemonSet of an agent.
        leaving: The app's objects that are no longer wanted.
        app: Name of the app.
        gone_s: Maximum seconds to wait for the pods to end.

    Raises:
        InvalidError: When the API server refuses the new agent.
        ClusterError: When a request to the cluster is refused or fails.
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
    """Return the folders on nodes in which the agents of a DaemonSet keep their spools."""
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
                _log.warning(
                    "agents have not ended within %.0f s, probably because their nodes don't answer: %s", gone_s, names
                )
                return
            time.sleep(POLL_S)
    except DeniedError as error:
        _log.warning("can't check whether the agents of %s have ended: %s", namespace, error.message)
