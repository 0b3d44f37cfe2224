"""What belongs to an app in a cluster: found by its labels, at home and in the namespace of the agents on nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eaves.errors import AbsentError, DeniedError
from knative.kinds import (
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
    Kind,
    kind_of,
)
from knative.names import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, PART_LABEL, SITE_LABEL, TRAINING_PARTS
from knative.resources.pin import is_pin

if TYPE_CHECKING:
    from knative.cluster import Cluster

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose objects are meant.

    Attributes:
        app: The app.
        site: The site: in the namespace of agents, apps of several sites may stand beside each other.
        agents: The namespace of agents on nodes; empty: there is none.
    """

    app: str
    site: str = ""
    agents: str = ""

    def selector(self, namespace: str) -> str:
        """By labels, in one namespace. At home a site's name may change."""
        narrowed = f",{SITE_LABEL}={self.site}" if namespace == self.agents and self.site else ""
        return f"{APP_LABEL}={self.app}{narrowed}"

    def owns(self, one: Mapping[str, Any]) -> bool:
        """Whether an object is one of them."""
        labels = one["metadata"].get("labels") or {}
        elsewhere = one["metadata"].get("namespace") == self.agents and self.site
        return labels.get(APP_LABEL) == self.app and (not elsewhere or labels.get(SITE_LABEL) == self.site)


def find_owned(cluster: Cluster, owner: Owner, *, thorough: bool = False) -> list[dict[str, Any]]:
    """Every object of an app, in the order they are to go.

    Args:
        cluster: Where.
        owner: Whose.
        thorough: Look for every kind. Else an app without its account, which is the first to come and the last to go,
            counts as not there: sites are many, and links slow.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    found = []
    places: dict[str, Sequence[Kind]] = {cluster.namespace: AT_HOME}
    if owner.agents and owner.agents != cluster.namespace:
        places[owner.agents] = ON_NODES
    for namespace, kinds in places.items():
        accounts = _listed(cluster, SERVICE_ACCOUNT, namespace, owner)
        if accounts or thorough:
            for kind in kinds:
                found += accounts if kind is SERVICE_ACCOUNT else _listed(cluster, kind, namespace, owner)
    return found


def no_longer_wanted(
    cluster: Cluster, manifests: Sequence[Mapping[str, Any]], there: Mapping[Key, Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """What is there of an app and isn't rendered any more; what trains it comes, and goes, for itself.

    So do the pins of an app that has any: they go when no revision needs them (`knative.deploy.pins.prune_pins`).
    """
    wanted = {key_of(one, cluster) for one in manifests}
    pinned = any(is_pin(one) for one in manifests)
    return [
        one
        for key, one in there.items()
        if key not in wanted
        and not (pinned and is_pin(one))
        and one["metadata"]["labels"].get(PART_LABEL) not in TRAINING_PARTS
    ]


def is_shared(manifest: Mapping[str, Any]) -> bool:
    """Whether apps share it, as they do a Broker and the namespace of agents."""
    return APP_LABEL not in manifest["metadata"]["labels"]


def is_ours(one: Mapping[str, Any]) -> bool:
    """Whether Eaves made it."""
    return bool((one["metadata"].get("labels") or {}).get(MANAGED_LABEL) == MANAGED_VALUE)


def key_of(one: Mapping[str, Any], cluster: Cluster) -> Key:
    """What tells an object from every other."""
    metadata, kind = one["metadata"], kind_of(one)
    return kind.kind, str(metadata["name"]), (metadata.get("namespace") or cluster.namespace) if kind.namespaced else ""


def _listed(cluster: Cluster, kind: Kind, namespace: str, owner: Owner) -> list[dict[str, Any]]:
    """What may be seen there and isn't another object's.

    Knative copies the labels of its Service to the Services of Kubernetes that it makes for it. A namespace elsewhere
    than at home that we may not see holds nothing of ours, and neither do Services that we may not see: only apps with
    MQTT triggers or a relay have any, and only who may see them can have deployed those.
    """
    try:
        found = cluster.list(kind, namespace=namespace, selector=owner.selector(namespace))
    except (DeniedError, AbsentError):
        if namespace == cluster.namespace and kind is not SERVICE:
            raise
        return []
    return [one for one in found if not _is_made_by_another(one)]


def _is_made_by_another(one: Mapping[str, Any]) -> bool:
    return any(owner.get("controller") for owner in one["metadata"].get("ownerReferences") or ())
