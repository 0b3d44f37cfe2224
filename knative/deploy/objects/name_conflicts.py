"""Finds objects of other owners that have the name of an app's object; Eaves takes them over only with `adopt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, DeniedError, InvalidError
from knative.client.kinds import BROKER, NAMESPACE, kind_of
from knative.deploy.objects.labelled_objects import AppOwner, Key, is_ours, is_shared, key_of
from knative.resources.metadata import APP_LABEL, MANAGED_LABEL, MANAGER, SITE_LABEL

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Object = Mapping[str, Any]


def find_foreign_objects(
    cluster: Cluster, manifests: Sequence[Object], there: Mapping[Key, Object]
) -> dict[Key, Object]:
    """Find the objects in the cluster that have the name of a manifest, except those that the caller already knows.

    The owner of an object doesn't matter.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    found: dict[Key, Object] = {}
    for manifest in manifests:
        key = key_of(manifest, cluster)
        one = None if key in there else _read(cluster, manifest)
        if one is not None:
            found[key] = one
    return found


def refuse_foreign_objects(
    cluster: Cluster, manifests: Sequence[Object], others: Mapping[Key, Object], owner: AppOwner
) -> None:
    """Raise an error when an object of another owner has a name that the app renders.

    Raises:
        ConflictError: When a name is in use. For the first such object, the error lists the fields that would be taken
            over from their managers.
        ClusterError: When a request to the cluster is refused or fails.
    """
    for manifest in manifests:
        one = others.get(key_of(manifest, cluster))
        if one is not None and not _is_known(manifest, one, owner, cluster.namespace):
            kind, name = kind_of(manifest), manifest["metadata"]["name"]
            raise ConflictError(
                f"{cluster.name}: {kind.kind} {name} exists already and does not belong to this app: {_whose(one)}",
                hint=_remedy(manifest),
                causes=_causes(cluster, manifest),
            )


def is_satisfied(manifest: Object, namespace: Object) -> bool:
    """Return whether an existing namespace, of any owner, has the labels that agents on nodes need."""
    wanted, has = manifest["metadata"]["labels"], namespace["metadata"].get("labels") or {}
    return all(has.get(name) == value for name, value in wanted.items() if name != MANAGED_LABEL)


def _read(cluster: Cluster, manifest: Object) -> Object | None:
    kind, metadata = kind_of(manifest), manifest["metadata"]
    try:
        return cluster.get(kind, metadata["name"], namespace=metadata.get("namespace"))
    except DeniedError:
        if kind is not NAMESPACE:
            raise
        return manifest  # a user who may not see namespaces can't make any; a missing one is reported for its objects


def _is_known(manifest: Object, one: Object, owner: AppOwner, home: str) -> bool:
    if kind_of(manifest) is NAMESPACE:
        return is_ours(one) or is_satisfied(manifest, one)
    return is_ours(one) if is_shared(manifest) else owner.owns(one, home)


def _whose(one: Object) -> str:
    labels = one["metadata"].get("labels") or {}
    if labels.get(APP_LABEL):
        return f"it belongs to the app {labels[APP_LABEL]} of the site {labels.get(SITE_LABEL, '?')}"
    entries = one["metadata"].get("managedFields") or ()
    managers = dict.fromkeys(str(entry.get("manager")) for entry in entries if not entry.get("subresource"))
    return f"it was created by {', '.join(managers) or 'an unknown client'}"


def _remedy(manifest: Object) -> str:
    kind, metadata = kind_of(manifest), manifest["metadata"]
    adopt = (
        "`eaves diff IMAGE --on knative` shows what would change; `eaves deploy IMAGE --on knative --adopt` takes the "
        "object over"
    )
    if kind is BROKER:
        return f"to use the Broker as it is, set knative.create_broker: no in eaves.yaml; {adopt}"
    if kind is NAMESPACE:
        wanted = " ".join(f"{name}={value}" for name, value in metadata["labels"].items() if name != MANAGED_LABEL)
        return f"kubectl label namespace {metadata['name']} {wanted}; or name another in knative.agent_namespace"
    return adopt


def _causes(cluster: Cluster, manifest: Object) -> tuple[tuple[str, str], ...]:
    """Return the fields that applying a manifest would take over, as (manager, field)."""
    try:
        cluster.apply(manifest, manager=MANAGER, dry_run=True)
    except ConflictError as error:
        return error.causes
    except (DeniedError, InvalidError):
        return ()
    return ()
