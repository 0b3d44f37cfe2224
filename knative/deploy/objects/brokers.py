"""The Broker that apps of a namespace share: removed once no Trigger uses it, and there for every Trigger that does.

One app may be deployed while another one is removed. Whoever removes marks the Broker, then looks for Triggers, then
deletes the Broker as it was marked; whoever deploys applies its Trigger, then takes a mark away, or makes a Broker anew
that has gone. Whichever looks second sees what the other one has written, so no Trigger is left without its Broker.

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
from knative.resources.fields.labels import MANAGED_LABEL, MANAGED_VALUE, MANAGER

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Object = Mapping[str, Any]
MARK = "eaves.dev/removing"
"""Annotation of a Broker that is about to be deleted."""
REMOVER = "eaves-remove"
"""Field manager of that annotation and of nothing else."""
GONE_S = 60.0
"""Longest wait for a deleted Broker to go; Knative's controller takes seconds."""
POLL_S = 0.5
"""Pause between two looks at it."""

_log = logging.getLogger(__name__)


def is_doomed(broker: Object) -> bool:
    """Whether somebody is about to delete a Broker, or has deleted it and it has yet to go."""
    metadata = broker["metadata"]
    return "deletionTimestamp" in metadata or MARK in (metadata.get("annotations") or {})


def remove_unused_brokers(cluster: Cluster) -> Iterator[ApplyResult]:
    """Delete the Brokers of a namespace that Eaves made and no Trigger uses.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    used = _find_used(cluster)
    for one in cluster.list(BROKER, selector=f"{MANAGED_LABEL}={MANAGED_VALUE}"):
        name = str(one["metadata"]["name"])
        if name not in used and is_applied_by_eaves(one) and "deletionTimestamp" not in one["metadata"]:
            outcome = _remove(cluster, one)
            if outcome:
                yield ApplyResult(kind=BROKER.kind, name=name, outcome=outcome)


def _remove(cluster: Cluster, broker: Object) -> str:
    """Delete a Broker; its outcome, empty when there was nothing to do."""
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
        except ConflictError:  # the mark was taken away, or Knative's controller wrote the status
            found = cluster.get(BROKER, name)
    return LEFT


def keep_broker(cluster: Cluster, manifest: Object, *, gone_s: float = GONE_S) -> None:
    """Let a Broker stay for the Triggers that were applied just now, whoever removes it at this moment.

    Args:
        cluster: The cluster, in the app's namespace.
        manifest: The Broker as it is rendered.
        gone_s: Longest wait until one that was deleted has gone, so that it can be made anew.

    Raises:
        ClusterError: When the cluster refuses or fails.
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
            with suppress(ConflictError):  # it was deleted meanwhile
                _clear_mark(cluster, found)
        elif time.monotonic() > deadline:
            _log.warning("the Broker %s was deleted and has not gone within %.0f s; deploy again later", name, gone_s)
            return
        else:
            time.sleep(POLL_S)


def _find_used(cluster: Cluster) -> set[str]:
    """Names of the Brokers that Triggers use; a Trigger that is deleted uses none while its finalizers run."""
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
    """Nothing but the Broker's identity: with its UID, one that has gone is not made again."""
    metadata = {key: broker["metadata"][key] for key in ("name", "namespace", "uid")}
    return {"apiVersion": BROKER.api_version, "kind": BROKER.kind, "metadata": metadata}
