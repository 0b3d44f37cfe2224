"""Objects that carry an app's labels, in the app's namespace and in the namespace of the agents on nodes.

Any user can set a label, so a label proves no ownership: `knative.deploy` decides which of these objects are the app's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eaves.errors import AbsentError, DeniedError
from knative.client.kinds import (
    CONTAINER_SOURCE,
    DAEMON_SET,
    EVENT_TYPE,
    JOB_SINK,
    KSERVICE,
    NETWORK_POLICY,
    SERVICE,
    SERVICE_ACCOUNT,
    SINK_BINDING,
    STATEFUL_SET,
    TRIGGER,
    ObjectKind,
    kind_of,
)
from knative.resources.metadata import (
    APP_LABEL,
    MANAGED_LABEL,
    MANAGED_VALUE,
    MANAGER,
    NAMESPACE_LABEL,
    PART_LABEL,
    TRAINING_PARTS,
)

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

AT_HOME = (
    TRIGGER,
    SINK_BINDING,
    CONTAINER_SOURCE,
    STATEFUL_SET,
    DAEMON_SET,
    JOB_SINK,
    KSERVICE,
    SERVICE,
    EVENT_TYPE,
    NETWORK_POLICY,
    SERVICE_ACCOUNT,
)
"""Kinds of an app's objects in the app's namespace, in the order of removal: an object is removed before the objects
that it depends on."""
ON_NODES = (SINK_BINDING, DAEMON_SET, SERVICE_ACCOUNT)
"""Kinds of an app's objects in the namespace of the agents on nodes, in the order of removal."""
Key = tuple[str, str, str]
"""Identity of an object: (API group and kind, name, namespace)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOwner:
    """The app that owns objects in a cluster.

    Attributes:
        app: Name of the app; empty means every app.
        agents: Namespace of the agents on nodes; empty when there is none.
    """

    app: str
    agents: str = ""

    def owns(self, one: Mapping[str, Any], home: str) -> bool:
        """Return whether an object carries the app's labels.

        Args:
            one: The object.
            home: Namespace of the app.
        """
        metadata = one["metadata"]
        labels = metadata.get("labels") or {}
        elsewhere = metadata.get("namespace", home) != home
        return labels.get(APP_LABEL) == self.app and (not elsewhere or labels.get(NAMESPACE_LABEL) == home)

    def has_agent(self, labels: Mapping[str, Any], home: str) -> bool:
        """Return whether an agent on nodes belongs to an app in the given namespace.

        Args:
            labels: Labels of the agent or its pod.
            home: Namespace of the app.
        """
        return labels.get(NAMESPACE_LABEL) == home


def find_owned(cluster: Cluster, owner: AppOwner, *, thorough: bool = False) -> list[dict[str, Any]]:
    """List every object that carries an app's labels, in the order of removal.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        owner: The app.
        thorough: List every kind. Otherwise an app without a ServiceAccount in its own namespace counts as absent,
            which saves requests: the ServiceAccount is applied first and removed last.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    found = []
    home = cluster.namespace
    places: dict[str, tuple[Sequence[ObjectKind], str]] = {home: (AT_HOME, f"{APP_LABEL}={owner.app}")}
    if owner.agents and owner.agents != home:
        places[owner.agents] = ON_NODES, f"{APP_LABEL}={owner.app},{NAMESPACE_LABEL}={home}"
    for namespace, (kinds, selector) in places.items():
        accounts = _listed(cluster, SERVICE_ACCOUNT, namespace, selector)
        if accounts or thorough:
            for kind in kinds:
                found += accounts if kind is SERVICE_ACCOUNT else _listed(cluster, kind, namespace, selector)
        if not found and not thorough:
            break
    return found


def find_listed(cluster: Cluster, owner: AppOwner, places: Collection[tuple[ObjectKind, str]]) -> list[dict[str, Any]]:
    """List the objects of the given kinds that carry an app's labels.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        owner: The app.
        places: Kinds to list, each with the namespace to list it in.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    home = cluster.namespace
    found = []
    for kind, namespace in sorted(places, key=lambda place: (place[1], AT_HOME.index(place[0]))):
        selector = f"{APP_LABEL}={owner.app}" + ("" if namespace == home else f",{NAMESPACE_LABEL}={home}")
        found += _listed(cluster, kind, namespace, selector)
    return found


def is_shared(manifest: Mapping[str, Any]) -> bool:
    """Return whether several apps share an object, such as a Broker or the namespace of agents."""
    return APP_LABEL not in manifest["metadata"]["labels"]


def is_ours(one: Mapping[str, Any]) -> bool:
    """Return whether an object has the label that all objects of Eaves carry."""
    return bool((one["metadata"].get("labels") or {}).get(MANAGED_LABEL) == MANAGED_VALUE)


def is_applied_by_eaves(one: Mapping[str, Any]) -> bool:
    """Return whether Eaves applied an object, by its labels and its field managers."""
    entries = one["metadata"].get("managedFields") or ()
    return is_ours(one) and any(entry.get("manager") == MANAGER for entry in entries)


def is_app_part(one: Mapping[str, Any]) -> bool:
    """Return whether a deploy applied an object: Eaves did, and not for a training."""
    return is_applied_by_eaves(one) and not is_training(one)


def is_training(one: Mapping[str, Any]) -> bool:
    """Return whether an object belongs to a training of the app, which no deploy applies or removes."""
    return (one["metadata"].get("labels") or {}).get(PART_LABEL) in TRAINING_PARTS


def key_of(one: Mapping[str, Any], cluster: Cluster) -> Key:
    """Return the identity of an object: API group and kind, name, and namespace."""
    metadata, kind = one["metadata"], kind_of(one)
    namespace = (metadata.get("namespace") or cluster.namespace) if kind.namespaced else ""
    return f"{kind.group}/{kind.kind}", str(metadata["name"]), namespace


def _listed(cluster: Cluster, kind: ObjectKind, namespace: str, selector: str) -> list[dict[str, Any]]:
    """List the objects of one kind, without those that another object controls.

    Knative copies the labels of a Knative Service to the Kubernetes Services that it makes for that Service. Those
    Kubernetes Services are left out. The result is empty for another namespace that the user may not read. It is also
    empty for Kubernetes Services that the user may not read: only apps with MQTT triggers, a relay or a webhook have
    any, and only users who may read them can have deployed such an app.
    """
    try:
        found = cluster.list(kind, namespace=namespace, selector=selector)
    except (DeniedError, AbsentError):
        if namespace == cluster.namespace and kind is not SERVICE:
            raise
        return []
    return [one for one in found if not _is_made_by_another(one)]


def _is_made_by_another(one: Mapping[str, Any]) -> bool:
    return any(owner.get("controller") for owner in one["metadata"].get("ownerReferences") or ())
