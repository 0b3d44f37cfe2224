"""Which objects of a cluster belong to an app: those that its inventory lists by UID.

Any user can set a label, so a label proves no ownership. It only tells an object of the app from one of another owner
that has the same name, which Eaves takes over only with `adopt`. The objects are removed in an order, by UID.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from eaves.errors import ConflictError, DeniedError, InvalidError
from knative.client.cluster import Cluster
from knative.client.kinds import (
    BROKER,
    CONFIG_MAP,
    DAEMON_SET,
    EVENT_TYPE,
    JOB_SINK,
    KSERVICE,
    NAMESPACE,
    NETWORK_POLICY,
    REVISION,
    SERVICE,
    SERVICE_ACCOUNT,
    SINK_BINDING,
    STATEFUL_SET,
    TRIGGER,
    Object,
    ObjectKind,
    annotations_of,
    kind_of,
)
from knative.inventory import (
    Inventory,
    Manifests,
    ObjectKey,
    change_inventory,
    changed,
    inventory_name,
    item_kind,
    read_inventory,
)
from knative.resources.function import is_pin_name, pin_name
from knative.resources.metadata import (
    APP_LABEL,
    MANAGED_LABEL,
    MANAGER,
    NAMESPACE_LABEL,
    OURS,
    PIN_ANNOTATION,
    SITE_LABEL,
    AppOwner,
    is_ours,
    is_shared,
    labels_of,
)
from knative.status.conditions import absent_function, image_of, name_of
from knative.status.traffic import parse_rollout_status

AT_HOME = (
    TRIGGER,
    SINK_BINDING,
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
_KINDS = {item_kind(kind): kind for kind in AT_HOME}

CREATED, CHANGED, UNCHANGED, REMOVED, ADOPTED = "created", "changed", "unchanged", "removed", "adopted"
LEFT = "left"
"""Outcome of a removal when the object in the inventory is gone and another object has its name, so nothing is
deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """The outcome (`created`, `changed`, ..., `left`) of applying or removing one object."""

    kind: str
    name: str
    outcome: str


def is_satisfied(manifest: Object, namespace: Object) -> bool:
    """Return whether an existing namespace, of any owner, has the labels that agents on nodes need."""
    wanted, has = labels_of(manifest), labels_of(namespace)
    return all(has.get(name) == value for name, value in wanted.items() if name != MANAGED_LABEL)


def key_of(one: Object, cluster: Cluster) -> ObjectKey:
    """Return the identity of an object, as an inventory has it."""
    metadata, kind = one["metadata"], kind_of(one)
    namespace = (metadata.get("namespace") or cluster.namespace) if kind.namespaced else ""
    return ObjectKey(item_kind(kind), namespace, str(metadata["name"]))


def kind_named(key: ObjectKey) -> ObjectKind:
    """Return the kind of an object in the inventory."""
    if key.kind not in _KINDS:
        raise InvalidError(
            f"the inventory lists {key.kind} {key.name} in {key.namespace}, but this version of Eaves does not "
            f"support {key.kind}",
            hint="use the version of Eaves that deployed the app",
        )
    return _KINDS[key.kind]


def order_removal(keys: Iterable[ObjectKey]) -> list[ObjectKey]:
    """Sort objects into the order of removal: an object is removed before the objects that it depends on."""
    return sorted(keys, key=lambda key: (AT_HOME.index(kind_named(key)), key.namespace, key.name))


def is_pin_key(app: str, key: ObjectKey) -> bool:
    """Return whether an object is a pin of the app."""
    return key.kind == item_kind(DAEMON_SET) and is_pin_name(app, key.name)


def find_labelled(cluster: Cluster, owner: AppOwner) -> list[Object]:
    """List the objects that carry an app's labels, without those that another object controls.

    Knative copies the labels of a Knative Service to the Kubernetes Services that it makes for that Service.
    """
    selector = f"{APP_LABEL}={owner.app},{OURS}"
    found = [one for kind in AT_HOME for one in cluster.list(kind, selector=selector)]
    if owner.agents and owner.agents != cluster.namespace:
        selector += f",{NAMESPACE_LABEL}={cluster.namespace}"
        found += [one for kind in ON_NODES for one in cluster.list(kind, namespace=owner.agents, selector=selector)]
    owners = ((one, one["metadata"].get("ownerReferences") or ()) for one in found)
    return [one for one, by in owners if not any(owner.get("controller") for owner in by)]


def find_known(
    cluster: Cluster, manifests: Manifests, owner: AppOwner, *, adopt: bool = True
) -> dict[ObjectKey, Object]:
    """Return the existing objects that have the name of a rendered object."""
    found: dict[ObjectKey, Object] = {}
    for manifest in manifests:
        one = _read(cluster, manifest)
        if one is None:
            continue
        found[key_of(manifest, cluster)] = one
        if not (adopt or _is_known(manifest, one, owner, cluster.namespace)):
            kind, name = kind_of(manifest), name_of(manifest)
            raise ConflictError(
                f"{cluster.name}: {kind.kind} {name} exists already and does not belong to this app: {_whose(one)}",
                hint=_remedy(manifest),
            )
    return found


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
    labels = labels_of(one)
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


SERVICE_LABEL = "serving.knative.dev/service"
"""Label of a Revision with its Service. Source: knative/serving, pkg/apis/serving/register.go."""


def remove_app(cluster: Cluster, owner: AppOwner, *, adopt: bool = False) -> list[ApplyResult]:
    """Delete every object of an app. The Broker stays, since other apps may use it.

    When the removal is killed at any point, the next call continues it. Volumes with images that the broker hasn't
    accepted yet stay, because Kubernetes keeps the volumes of a deleted StatefulSet.

    Args:
        adopt: Delete also objects that `eaves render` rendered and another tool applied.
    """
    inventory = read_inventory(cluster, owner.app)
    items = find_removable(cluster, owner, inventory, adopt=adopt)
    if not items and not inventory.version:
        raise absent_function(cluster, owner.app)
    done = delete_objects(cluster, inventory, items)
    if inventory.version:
        try:
            cluster.delete(CONFIG_MAP, inventory_name(inventory.app), version=inventory.version)
        except ConflictError:
            inventory.require_newest(cluster, before="")
            raise changed(cluster, owner.app) from None
    return done


def delete_objects(cluster: Cluster, inventory: Inventory, items: Mapping[ObjectKey, str]) -> list[ApplyResult]:
    """Delete objects of an app by UID, in order, and stop with an error when another user deploys the app meanwhile.

    Never is another object of the same name deleted; the result of one is then `left`. An object that is already gone
    has no result.
    """
    done = []
    for key in order_removal(items):
        kind, uid, outcome = kind_named(key), items[key], REMOVED
        inventory.require_newest(cluster, before="the rest was removed")
        if not uid:
            one = cluster.get(kind, key.name, namespace=key.namespace)
            if one is None:
                continue
            uid = str(one["metadata"]["uid"])
            managers = [entry.get("manager") for entry in one["metadata"].get("managedFields") or ()]
            if not (is_ours(one) and one["metadata"]["labels"].get(APP_LABEL) == inventory.app and MANAGER in managers):
                outcome = LEFT
        try:
            if outcome == REMOVED and not cluster.delete(kind, key.name, namespace=key.namespace, uid=uid):
                continue
        except ConflictError:
            outcome = LEFT
        done.append(ApplyResult(kind=kind.kind, name=key.name, outcome=outcome))
    return done


def prune(cluster: Cluster, inventory: Inventory, obsolete: Iterable[ObjectKey]) -> list[ApplyResult]:
    """Delete objects that the app no longer has, and take them off the inventory."""
    gone = {key: inventory.items[key] for key in obsolete}
    done = delete_objects(cluster, inventory, gone)
    if gone:
        change_inventory(
            cluster,
            inventory,
            lambda one: replace(one, items={key: uid for key, uid in one.items.items() if key not in gone}),
            before="the rest was removed",
        )
    return done


def find_removable(
    cluster: Cluster, owner: AppOwner, inventory: Inventory | None = None, *, adopt: bool = False
) -> dict[ObjectKey, str]:
    """Find the objects that `remove_app` deletes, with their UIDs: those that the inventory lists.

    Args:
        inventory: The app's inventory if it was read already; None reads it.
        adopt: Include objects with the app's labels that another tool applied, or that a deploy left which a removal
            overtook.
    """
    inventory = read_inventory(cluster, owner.app) if inventory is None else inventory
    found = dict(inventory.items)
    if adopt or not inventory.version:
        labelled = find_labelled(cluster, owner)
        if labelled and not adopt:
            raise _not_deployed(cluster, owner, labelled)
        for one in labelled:
            found.setdefault(key_of(one, cluster), str(one["metadata"]["uid"]))
    return found


def prune_pins(cluster: Cluster, app: str, *, inventory: Inventory | None = None) -> list[ApplyResult]:
    """Remove the pins that no revision of an app needs any more; do nothing if the user lacks a right for that.

    A deploy applies the pin of the container image that it renders. The pins of earlier deploys stay until no revision
    that serves, or that a rollback returns to, needs them.

    A pin that isn't in the app's inventory stays, and so does a pin that another user made again under the same name.
    All pins stay while the inventory is damaged, and while a deploy is in progress, which may need one of them again.

    Args:
        inventory: The app's inventory if it was read just now; None reads it.
    """
    with suppress(DeniedError, ConflictError, InvalidError):
        inventory = read_inventory(cluster, app) if inventory is None else inventory
        pins = [key for key in inventory.items if is_pin_key(app, key)]
        service = cluster.get(KSERVICE, app) if len(pins) > 1 else None
        if service is None or not annotations_of(service).get(PIN_ANNOTATION):
            return []  # one pin is needed by the newest revision; without one, the app is being removed
        if inventory.deployment is not None and inventory.deployment.image != image_of(service):
            return []  # a deploy has yet to apply its revision
        needed = {annotations_of(service)[PIN_ANNOTATION], *_needed_pins(cluster, app, service)}
        return prune(cluster, inventory, [key for key in pins if key.name not in needed])
    return []


def _needed_pins(cluster: Cluster, app: str, service: Object) -> Iterator[str]:
    """Yield the names of the pins of revisions that get requests, or that `rollback` would give all requests to.

    Only revisions that exist and that Eaves deployed by digest have a pin.
    """
    standing = parse_rollout_status(service)
    names = {*standing.shares, standing.other, standing.newest}
    if (state := standing.current) is not None:
        names |= {state.old, state.new if state.served else ""}
    elif standing.state is not None:
        names.add(standing.state.serving)
    for one in cluster.list(REVISION, selector=f"{SERVICE_LABEL}={app}"):
        image = image_of(one)
        if name_of(one) in names and is_ours(one) and "@sha256:" in image:
            yield pin_name(app, image, one["spec"].get("nodeSelector") or {})


def _not_deployed(cluster: Cluster, owner: AppOwner, found: Sequence[Object]) -> ConflictError:
    listed = ", ".join(f"{one['kind']} {name_of(one)}" for one in found)
    return ConflictError(
        f"{cluster.name}: {owner.app} in {cluster.namespace} was not deployed by `eaves deploy`, so Eaves does "
        f"not know which of these objects belong to it: {listed}",
        hint="remove them by the tool that applied them (kubectl delete -f, Git); or run `eaves remove "
        f"{owner.app} --on knative --adopt`, which shows what it deletes",
    )
