"""What carries an app's labels in a cluster, at home and in the namespace of the agents on nodes.

A label may be set by anybody, so it proves nothing: `knative.deploy` says which of these objects are the app's own.
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
from knative.resources.fields.labels import (
    APP_LABEL,
    MANAGED_LABEL,
    MANAGED_VALUE,
    MANAGER,
    NAMESPACE_LABEL,
    PART_LABEL,
    SITE_LABEL,
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
"""Kinds that an app's objects have, in the order they go: those first that others depend on least."""
ON_NODES = (SINK_BINDING, DAEMON_SET, SERVICE_ACCOUNT)
"""The same in the namespace of the agents on nodes."""
Key = tuple[str, str, str]
"""API group and kind, name, namespace of an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOwner:
    """Whose objects are meant.

    Attributes:
        app: Name of the app; empty: every app.
        site: Name of the site. It may change; objects of earlier versions are told apart by it.
        agents: Namespace of agents on nodes; empty: there is none.
    """

    app: str
    site: str = ""
    agents: str = ""

    def owns(self, one: Mapping[str, Any], home: str) -> bool:
        """Whether an object carries the app's labels.

        Args:
            one: The object.
            home: Namespace of the app.
        """
        metadata = one["metadata"]
        labels = metadata.get("labels") or {}
        elsewhere = metadata.get("namespace", home) != home
        return labels.get(APP_LABEL) == self.app and (not elsewhere or labels.get(NAMESPACE_LABEL) == home)

    def has_agent(self, labels: Mapping[str, Any], home: str) -> bool:
        """Whether something in the namespace of agents is of an app in a namespace.

        Args:
            labels: Labels of the agent or its pod; those of earlier versions name the site only.
            home: Namespace of the app.
        """
        named = labels.get(NAMESPACE_LABEL)
        return named == home if named else labels.get(SITE_LABEL) == self.site


def find_owned(cluster: Cluster, owner: AppOwner, *, thorough: bool = False) -> list[dict[str, Any]]:
    """Every object that carries an app's labels, in the order they are to go.

    Args:
        cluster: The cluster, in the app's namespace.
        owner: The app.
        thorough: Look for every kind. Else an app without its account at home, which is the first to come and the last
            to go, counts as not there: sites are many, and links slow.

    Raises:
        ClusterError: When the cluster refuses or fails.
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
    """The objects of some kinds that carry an app's labels.

    Args:
        cluster: The cluster, in the app's namespace.
        owner: The app.
        places: Each kind with the namespace where it is looked for.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    home = cluster.namespace
    found = []
    for kind, namespace in sorted(places, key=lambda place: (place[1], AT_HOME.index(place[0]))):
        selector = f"{APP_LABEL}={owner.app}" + ("" if namespace == home else f",{NAMESPACE_LABEL}={home}")
        found += _listed(cluster, kind, namespace, selector)
    return found


def is_shared(manifest: Mapping[str, Any]) -> bool:
    """Whether apps share it, as they do a Broker and the namespace of agents."""
    return APP_LABEL not in manifest["metadata"]["labels"]


def is_ours(one: Mapping[str, Any]) -> bool:
    """Whether an object carries the label of what Eaves makes."""
    return bool((one["metadata"].get("labels") or {}).get(MANAGED_LABEL) == MANAGED_VALUE)


def is_applied_by_eaves(one: Mapping[str, Any]) -> bool:
    """Whether Eaves applied an object, by its labels and by the API server's record of who set its fields."""
    entries = one["metadata"].get("managedFields") or ()
    return is_ours(one) and any(entry.get("manager") == MANAGER for entry in entries)


def is_training(one: Mapping[str, Any]) -> bool:
    """Whether an object trains the app: it is applied for itself, and no part of a deploy."""
    return (one["metadata"].get("labels") or {}).get(PART_LABEL) in TRAINING_PARTS


def key_of(one: Mapping[str, Any], cluster: Cluster) -> Key:
    """What tells an object from every other."""
    metadata, kind = one["metadata"], kind_of(one)
    namespace = (metadata.get("namespace") or cluster.namespace) if kind.namespaced else ""
    return f"{kind.group}/{kind.kind}", str(metadata["name"]), namespace


def _listed(cluster: Cluster, kind: ObjectKind, namespace: str, selector: str) -> list[dict[str, Any]]:
    """What may be seen there and isn't another object's.

    Knative copies the labels of its Service to the Services of Kubernetes that it makes for it. A namespace elsewhere
    than at home that we may not see holds nothing of ours, and neither do Services that we may not see: only apps with
    MQTT triggers or a relay have any, and only who may see them can have deployed those.
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
