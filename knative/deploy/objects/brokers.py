"""Removal of the Broker that apps of a namespace share: it is deleted once no Trigger uses it, and kept otherwise.

One app may be deployed while another one is removed. A removal marks the Broker, then lists Triggers, then deletes the
Broker in the version that it marked. A deploy applies its Trigger, then clears the mark, or makes the Broker again if
it is gone. If both run at the same time, at least one of them sees what the other one has written, so no Trigger is
left without its Broker.

Source: Dijkstra 1965, Cooperating Sequential Processes, section 2.1 (Dekker's solution: each writes its flag, then
reads the other's).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from eaves.errors import AbsentError, ConflictError
from knative.client.kinds import BROKER, TRIGGER
from knative.deploy.objects.apply_result import LEFT, REMOVED, ApplyResult
from knative.deploy.objects.labelled_objects import is_applied_by_eaves
from knative.deploy.objects.ownership import ATTEMPTS
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE, MANAGER

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Object = Mapping[str, Any]
MARK = "eaves.dev/removing"
"""Annotation of a Broker that a removal is about to delete."""
REMOVER = "eaves-remove"
"""Field manager that owns only the annotation `eaves.dev/removing`."""
GONE_S = 60.0
"""Maximum seconds to wait until a deleted Broker is gone; Knative's controller takes seconds."""
POLL_S = 0.5
"""Seconds between two requests for the Broker."""

_log = logging.getLogger(__name__)


def is_doomed(broker: Object) -> bool:
    """Return whether a Broker is being deleted, or is marked by a removal that is about to delete it."""
    metadata = broker["metadata"]
    return "deletionTimestamp" in metadata or MARK in (metadata.get("annotations") or {})


def remove_unused_brokers(cluster: Cluster) -> Iterator[ApplyResult]:
    """Delete the Brokers of a namespace that Eaves created and that no Trigger uses.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    used = _find_used(cluster)
    for one in cluster.list(BROKER, selector=f"{MANAGED_LABEL}={MANAGED_VALUE}"):
        name = str(one["metadata"]["name"])
        if name not in used and is_applied_by_eaves(one) and "deletionTimestamp" not in one["metadata"]:
            outcome = _remove(cluster, one)
            if outcome:
                yield ApplyResult(kind=BROKER.kind, name=name, outcome=outcome)


def _remove(cluster: Cluster, broker: Object) -> str:
    """Delete a Broker unless a Trigger uses it; return the outcome, which is empty when the Broker is already gone."""
    found: Object | None = broker
    name, uid = str(broker["metadata"]["name"]), str(broker["metadata"]["uid"])
    for _ in range(ATTEMPTS):
        if found is None or found["metadata"]["uid"] != uid:
            return "" if found is None else LEFT
        try:
            if not is_doomed(found):
                found = _write_mark(cluster, found)
            if name in _find_used(cluster):
                _clear_mark(cluster, found)
                return LEFT
            version = str(found["metadata"]["resourceVersion"])
            return REMOVED if cluster.delete(BROKER, name, uid=uid, version=version) else ""
        except ConflictError:  # a deploy cleared the mark, or Knative's controller wrote the status
            found = cluster.get(BROKER, name)
    return LEFT


def keep_broker(cluster: Cluster, manifest: Object, *, gone_s: float = GONE_S) -> None:
    """Keep the Broker of Triggers that were just applied, even when a removal is deleting it at the same time.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        manifest: The rendered Broker.
        gone_s: Maximum seconds to wait until a deleted Broker is gone, so that it can be made again.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    name, deadline = str(manifest["metadata"]["name"]), time.monotonic() + gone_s
    while True:
        found = cluster.get(BROKER, name)
        if found is None:
            cluster.apply(manifest, manager=MANAGER)
            return
        if not is_doomed(found):
            return
        if "deletionTimestamp" not in found["metadata"]:
            with suppress(ConflictError):  # it was deleted in between
                _clear_mark(cluster, found)
        elif time.monotonic() > deadline:
            _log.warning("the Broker %s was deleted, but still exists after %.0f s; deploy again later", name, gone_s)
            return
        else:
            time.sleep(POLL_S)


def _find_used(cluster: Cluster) -> set[str]:
    """Return the names of the Brokers that Triggers use; Triggers that are being deleted are left out."""
    triggers = [one for one in cluster.list(TRIGGER) if "deletionTimestamp" not in one["metadata"]]
    return {str(one["spec"].get("broker")) for one in triggers}


def _write_mark(cluster: Cluster, broker: Object) -> Object:
    manifest = _manifest(broker)
    manifest["metadata"] |= {
        "resourceVersion": broker["metadata"]["resourceVersion"],
        "annotations": {MARK: "yes"},
    }
    return cluster.apply(manifest, manager=REMOVER, force=True)


def _clear_mark(cluster: Cluster, broker: Object) -> None:
    with suppress(AbsentError):
        cluster.apply(_manifest(broker), manager=REMOVER)


def _manifest(broker: Object) -> dict[str, Any]:
    """Build a manifest with only name, namespace and UID of a Broker.

    With the UID, applying the manifest can't create a Broker that is already gone.
    """
    metadata = {key: broker["metadata"][key] for key in ("name", "namespace", "uid")}
    return {"apiVersion": BROKER.api_version, "kind": BROKER.kind, "metadata": metadata}
