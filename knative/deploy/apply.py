"""Apply an app's objects in order, remove those that are no longer rendered, and show what a deploy would change.

Conflicts with other field managers are reported and never forced. Source:
https://kubernetes.io/docs/reference/using-api/server-side-apply/.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import yaml

from eaves.errors import AbsentError, ConflictError, DeniedError, InvalidError
from knative.client.cluster import Cluster
from knative.client.kinds import NAMESPACE, STATEFUL_SET, SUBSCRIPTION, TRIGGER, Manifest, Object, kind_of, status_of
from knative.deploy.ownership import (
    ADOPTED,
    CHANGED,
    CREATED,
    UNCHANGED,
    ApplyResult,
    find_known,
    is_pin_key,
    is_satisfied,
    key_of,
    kind_named,
    order_removal,
    prune,
)
from knative.inventory import Inventory, Manifests, ObjectKey, change_inventory, read_inventory
from knative.resources.function import is_pin
from knative.resources.metadata import MANAGER, AppOwner, is_shared
from knative.status.conditions import name_of
from knative.status.refusals import explain_denial

_IMMUTABLE = ("Immutable fields changed", "updates to statefulset spec", "field is immutable")
"""Texts in the API server's message when a change of an immutable field is refused.

Source: knative.dev/pkg/apis/field_error.go; Kubernetes, pkg/apis/apps/validation and apimachinery's validation.
"""
_OF_THE_SERVER = (
    *("creationTimestamp", "finalizers", "generation", "managedFields", "resourceVersion", "selfLink", "uid"),
)
_COUNTED = "deprecated.daemonset.template.generation"
TRIGGER_LABEL = "eventing.knative.dev/trigger"
"""Label of a Subscription with the name of its Trigger. Source: knative/eventing, pkg/reconciler/broker/resources."""
WAIT_S = 60.0
"""Maximum seconds to wait until Knative has observed a changed Trigger, or an object that is being deleted is gone;
Knative's controllers take seconds."""

_log = logging.getLogger(__name__)


def apply_app(
    cluster: Cluster,
    manifests: Manifests,
    owner: AppOwner,
    *,
    inventory: Inventory | None = None,
    adopt: bool = False,
    check: Callable[[Object], object] = lambda manifest: None,
) -> list[ApplyResult]:
    """Apply every object of an app, then remove the app's objects that are no longer rendered.

    When a deploy is killed at any point, the next call continues it: each object is applied as a whole, existing
    objects stay, and the inventory lists each object before it is made. Only objects that the inventory lists are
    removed, by UID.

    Args:
        inventory: The app's inventory if it was read or written already; None reads it.
        adopt: Take over objects that others made, and fields that other managers own.
        check: Function that gets each object before it is applied, and raises an error to stop.
    """
    inventory = read_inventory(cluster, owner.app) if inventory is None else inventory
    known = find_known(cluster, manifests, owner, adopt=adopt)
    obsolete = _find_obsolete(cluster, inventory, manifests)
    own = {key_of(one, cluster) for one in manifests if not is_shared(one)}
    uids = {key: str(known[key]["metadata"].get("uid", "")) if key in known else "" for key in own}

    def intend(one: Inventory) -> Inventory:
        """List every object before it is made; one whose UID isn't listed belongs to the app once it is applied."""
        return replace(
            one, items=one.items | {key: uid if one.items.get(key) == uid else "" for key, uid in uids.items()}
        )

    inventory = change_inventory(cluster, inventory, intend, before="anything was applied")
    done: list[ApplyResult] = []
    answers: list[Object] = []
    for applied, _, answer in _apply_each(cluster, manifests, known, adopt=adopt, check=check):
        answers.append(answer)
        done.append(applied)
    _repair_subscriptions(cluster, [one for one in answers if kind_of(one) is TRIGGER])
    made = {key_of(one, cluster): str(one["metadata"]["uid"]) for one in answers if not is_shared(one)}
    inventory = change_inventory(
        cluster,
        inventory,
        lambda one: replace(one, items=one.items | made),
        before="anything was removed",
    )
    return [*done, *prune(cluster, inventory, obsolete)]


def _find_obsolete(cluster: Cluster, inventory: Inventory, manifests: Manifests) -> list[ObjectKey]:
    """Return the objects of the inventory that are no longer rendered, in the order of removal.

    Pins stay while the app has one; `knative.deploy.ownership` removes those that no revision needs any more.
    """
    wanted = {key_of(one, cluster) for one in manifests}
    pinned = any(is_pin(one) for one in manifests)
    return order_removal(
        key for key in inventory.items if key not in wanted and not (pinned and is_pin_key(inventory.app, key))
    )


def diff_app(cluster: Cluster, manifests: Manifests, owner: AppOwner) -> Iterator[str]:
    """Yield a unified diff of every object that a deploy would change, create or delete.

    Existing objects are compared with the API server's answer to a dry run. Fields that other managers own are shown
    with the values that they would get if they were taken over.

    Raises:
        InvalidError: When the cluster refuses an object.
        ClusterError: When a request to the cluster is refused or fails.
    """
    inventory = read_inventory(cluster, owner.app)
    known = find_known(cluster, manifests, owner)
    for applied, before, after in _apply_each(cluster, manifests, known, adopt=True, dry_run=True):
        if applied.outcome != UNCHANGED:
            yield from _diff(before, after)
    for key in _find_obsolete(cluster, inventory, manifests):
        one = cluster.get(kind_named(key), key.name, namespace=key.namespace)
        if one is not None and inventory.items[key] in {"", one["metadata"]["uid"]}:
            yield from _diff(one, None)


def _apply_each(
    cluster: Cluster,
    manifests: Manifests,
    known: Mapping[ObjectKey, Object],
    *,
    adopt: bool,
    dry_run: bool = False,
    check: Callable[[Object], object] = lambda manifest: None,
) -> Iterator[tuple[ApplyResult, Object | None, Object]]:
    """Apply objects in order; yield each one's result, the object before (None: it didn't exist), and after."""
    absent: set[str] = set()  # namespaces that a dry run doesn't make
    for manifest in manifests:
        kind, name = kind_of(manifest), name_of(manifest)
        before = known.get(key_of(manifest, cluster))
        check(manifest)
        if manifest["metadata"].get("namespace") in absent:
            outcome, after = CREATED, manifest
        elif before is not None and kind is NAMESPACE and is_satisfied(manifest, before):
            outcome, after = UNCHANGED, before  # no request is made, since the user may lack the right to apply it
        else:
            outcome, after = _apply(cluster, manifest, before, adopt=adopt, dry_run=dry_run)
            absent |= {name} if kind is NAMESPACE and dry_run and before is None else set()
        yield ApplyResult(kind=kind.kind, name=name, outcome=outcome), before, after


def _apply(
    cluster: Cluster, manifest: Object, before: Object | None, *, adopt: bool, dry_run: bool
) -> tuple[str, Object]:
    """Apply one object; return (outcome, object that the API server answered)."""
    kind, name = kind_of(manifest), name_of(manifest)
    outcome = CREATED if before is None else CHANGED
    try:
        after = cluster.apply(manifest, manager=MANAGER, dry_run=dry_run)
    except InvalidError as error:
        raise _explained(error, cluster, manifest) from error
    except ConflictError as error:
        if not error.causes:
            raise
        if not adopt:
            owners = "; ".join(f"{manager} owns {field}" for manager, field in error.causes)
            raise ConflictError(
                f"{cluster.name}: other owners have set fields of {kind.kind} {name}: {owners}",
                hint="`eaves diff IMAGE --on knative` shows what would change; "
                "`eaves deploy IMAGE --on knative --adopt` takes the fields over",
                causes=error.causes,
            ) from error
        after, outcome = cluster.apply(manifest, manager=MANAGER, force=True, dry_run=dry_run), ADOPTED
    if "deletionTimestamp" in after["metadata"] and not dry_run:
        _wait_gone(cluster, after)
        return CREATED, cluster.apply(manifest, manager=MANAGER)
    unchanged = before is not None and _content(before) == _content(after)
    return UNCHANGED if unchanged else outcome, after


def _wait_gone(cluster: Cluster, leaving: Object) -> None:
    """Wait until an object that is being deleted is gone: what is applied to it meanwhile goes with it."""
    kind, (_, namespace, name) = kind_of(leaving), key_of(leaving, cluster)
    for found in cluster.watch(kind, name, timeout_s=WAIT_S, namespace=namespace):
        if found is None or "deletionTimestamp" not in found["metadata"]:
            return
    raise ConflictError(
        f"{cluster.name}: {kind.kind} {name} is being deleted, and still exists after {WAIT_S:.0f} s",
        hint=f"kubectl -n {namespace} get {kind.plural} {name} -o yaml   # its finalizers keep it; then deploy again",
    )


def _explained(error: InvalidError, cluster: Cluster, manifest: Object) -> InvalidError:
    """Return the error for a refused object with a fix, if the cause of the refusal is known."""
    kind, (_, namespace, name) = kind_of(manifest), key_of(manifest, cluster)
    if (found := explain_denial(error.message, namespace)) is not None:
        return InvalidError(f"{cluster.name}: the cluster refuses {kind.kind} {name}: {found.message}", hint=found.fix)
    hint = error.hint or "eaves doctor"
    if any(text in error.message for text in _IMMUTABLE):
        kept = " --cascade=orphan" if kind is STATEFUL_SET else ""
        delete = f"kubectl --context {cluster.name} -n {namespace} delete {kind.resource} {name}{kept}"
        hint = f"the object must be created again: {delete}; then deploy again"
    return InvalidError(f"{error.message} ({kind.kind} {name})", hint=hint)


def _repair_subscriptions(cluster: Cluster, triggers: Sequence[Object]) -> None:
    """Remove settings from Subscriptions that their applied Triggers don't have.

    Knative keeps a Subscription for each Trigger and makes it again when the delivery of the two differs. Knative
    compares them by DeepDerivative, for which a field that is unset or zero in the Trigger equals any value in the
    Subscription. So the removal of a dead letter sink, or `retry: 0`, never reaches the Subscription: dead letters
    still go to the old sink, and once that sink is gone, neither the Subscription nor the Trigger becomes ready.
    The Subscription is changed and never deleted, because events that arrive while there is none are lost.

    Source: knative/eventing 1.22, pkg/reconciler/broker/trigger/trigger.go (reconcileSubscription);
    pkg/apis/messaging/v1/subscription_validation.go (CheckImmutableFields: `delivery` may change).
    """
    wanted = {str(one["metadata"]["uid"]): one for one in triggers}
    try:
        subscriptions = cluster.list(SUBSCRIPTION, selector=TRIGGER_LABEL) if wanted else []
    except DeniedError as error:
        _log.warning("%s; settings that a trigger's delivery lost may stay in its Subscription", error.message)
        return
    for one in subscriptions:
        owners = (wanted.get(str(by.get("uid"))) for by in one["metadata"].get("ownerReferences") or ())
        trigger = next(filter(None, owners), None)
        if trigger is not None and (hidden := _find_hidden(trigger, one)):
            _wait_observed(cluster, trigger)
            with suppress(AbsentError):  # Knative has made it again, as the Trigger has it now
                change = {"spec": {"delivery": hidden}}
                cluster.patch(SUBSCRIPTION, name_of(one), change, manager=MANAGER)


def _find_hidden(trigger: Object, subscription: Object) -> Manifest:
    """Return a merge patch with the delivery fields that Knative doesn't carry over to a Subscription.

    They are the fields that the Trigger no longer has, and those that it sets to zero.
    """
    wanted, actual = (one["spec"].get("delivery") or {} for one in (trigger, subscription))
    removed = {name: None for name in actual if name not in wanted}
    return removed | {name: wanted[name] for name in wanted if not wanted[name] and actual.get(name)}


def _wait_observed(cluster: Cluster, trigger: Object) -> None:
    """Wait until Knative has observed a changed Trigger; it would restore the Subscription from the older one."""
    metadata = trigger["metadata"]
    for found in cluster.watch(TRIGGER, metadata["name"], timeout_s=WAIT_S):
        if found is None or status_of(found).get("observedGeneration", 0) >= metadata["generation"]:
            return
    _log.warning("Knative has not processed the change of the Trigger %s; deploy again later", metadata["name"])


def _content(one: Object) -> Manifest:
    """Return the fields of an object that users set, without the metadata and the status that the cluster writes."""
    metadata = {key: value for key, value in one["metadata"].items() if key not in _OF_THE_SERVER}
    annotations = {key: value for key, value in (metadata.pop("annotations", None) or {}).items() if key != _COUNTED}
    metadata |= {"annotations": annotations} if annotations else {}
    return {**{key: value for key, value in one.items() if key != "status"}, "metadata": metadata}


def _diff(before: Object | None, after: Object | None) -> Iterator[str]:
    one = before or after or {}
    label = f"{str(one['kind']).lower()}/{one['metadata']['name']}"
    lines = _lines(before), _lines(after)
    yield from difflib.unified_diff(*lines, f"{label} (there)", f"{label} (rendered)", lineterm="")


def _lines(one: Object | None) -> list[str]:
    if one is None:
        return []
    return str(yaml.safe_dump(_content(one), sort_keys=True, allow_unicode=True, width=10_000)).splitlines()
