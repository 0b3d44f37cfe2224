"""Objects out of a cluster: all of an app's, and the Brokers that nothing uses any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from eaves.errors import NotFoundError
from knative.applied import REMOVED, Applied
from knative.deploy.inventory import inventory_name
from knative.kinds import BROKER, CONFIG_MAP, KSERVICE, SERVICE_ACCOUNT, TRIGGER, kind_of
from knative.names import MANAGED_LABEL, MANAGED_VALUE
from knative.owned import Owner, find_owned

if TYPE_CHECKING:
    from knative.cluster import Cluster

_OURS = f"{MANAGED_LABEL}={MANAGED_VALUE}"


def remove_app(cluster: Cluster, owner: Owner) -> list[Applied]:
    """Delete every object of an app, and Brokers that we made once no Trigger is left on them.

    Killed at any point, the next call goes on. Volumes with images that the broker hasn't taken yet stay, as Kubernetes
    leaves a StatefulSet's.

    Raises:
        NotFoundError: When nothing of it is there.
        ClusterError: When the cluster refuses or fails.
    """
    found = find_owned(cluster, owner, thorough=True)
    if not found:
        services = cluster.list(KSERVICE, selector=_OURS)
        known = ", ".join(sorted(one["metadata"]["name"] for one in services)) or "none"
        raise NotFoundError(
            f"no function {owner.app!r} in {cluster.namespace} of {cluster.name} (there are: {known})",
            hint="eaves status --on knative",
        )
    accounts = [one for one in found if one["kind"] == SERVICE_ACCOUNT.kind]  # last: by them the next call knows it
    others = [one for one in found if one not in accounts]
    removed = list(chain(remove_all(cluster, others), _remove_brokers(cluster), remove_all(cluster, accounts)))
    cluster.delete(CONFIG_MAP, inventory_name(owner.app))
    return removed


def remove_all(cluster: Cluster, objects: Sequence[Mapping[str, Any]], *, dry_run: bool = False) -> Iterator[Applied]:
    """Delete objects, one after the other.

    Raises:
        ClusterError: When the cluster refuses or fails.
    """
    for one in objects:
        kind, metadata = kind_of(one), one["metadata"]
        cluster.delete(kind, metadata["name"], namespace=metadata.get("namespace"), dry_run=dry_run)
        yield Applied(kind=kind.kind, name=str(metadata["name"]), outcome=REMOVED)


def _remove_brokers(cluster: Cluster) -> Iterator[Applied]:
    """A deleted Trigger is gone from the list at once, or carries a deletion's time while its finalizers run."""
    triggers = [one for one in cluster.list(TRIGGER) if "deletionTimestamp" not in one["metadata"]]
    used = {str(one["spec"].get("broker")) for one in triggers}
    brokers = cluster.list(BROKER, selector=_OURS)
    yield from remove_all(cluster, [one for one in brokers if one["metadata"]["name"] not in used])
