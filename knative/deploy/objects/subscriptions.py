"""Removal of delivery settings from a Subscription, where Knative leaves what its Trigger no longer sets.

Knative keeps a Subscription for each Trigger and makes it again when the delivery of the two differs. Knative compares
them by DeepDerivative, for which a field that is unset or zero in the Trigger equals any value in the Subscription. So
the removal of a dead letter sink, or `retry: 0`, never reaches the Subscription: dead letters still go to the old
sink, and once that sink is gone, neither the Subscription nor the Trigger becomes ready.

The Subscription is changed and never deleted, because events that arrive while there is none are lost. The request that
changes the Trigger also marks it, and the mark is removed last, so after a kill the next deploy finishes the change.

Source: knative/eventing 1.22, pkg/reconciler/broker/trigger/trigger.go (reconcileSubscription);
pkg/apis/messaging/v1/subscription_validation.go (CheckImmutableFields: `delivery` may change).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eaves.errors import AbsentError, ConflictError
from knative.client.kinds import SUBSCRIPTION, TRIGGER, kind_of
from knative.deploy.objects.labelled_objects import Key, key_of
from knative.deploy.objects.ownership import ATTEMPTS
from knative.readiness.conditions import condition
from knative.resources.metadata import DELIVERY_ANNOTATION, MANAGER

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Object = Mapping[str, Any]
TRIGGER_LABEL = "eventing.knative.dev/trigger"
"""Label of a Subscription with the name of its Trigger. Source: knative/eventing, pkg/reconciler/broker/resources."""
OBSERVED_S = 60.0
"""Maximum seconds to wait until Knative has observed a changed Trigger; Knative takes a second or two."""
POLL_S = 0.5
"""Seconds between two reads of the Trigger."""

_log = logging.getLogger(__name__)


def find_hidden(wanted: Object, actual: Object) -> dict[str, Any]:
    """Return a merge patch with the delivery fields that Knative doesn't carry over to a Subscription.

    They are the fields that the Trigger no longer has, and those that it sets to zero. For fields with other values,
    Knative makes the Subscription again by itself.

    Args:
        wanted: Delivery of the Trigger.
        actual: Delivery of the Subscription.
    """
    found: dict[str, Any] = {}
    for name, value in actual.items():
        if name not in wanted:
            found[name] = None
        elif not wanted[name] and value:
            found[name] = wanted[name]
    return found


def mark_trigger(manifest: Object, before: Object | None) -> Object:
    """Return the Trigger to apply, with an annotation as a mark if its Subscription may keep removed settings.

    Args:
        manifest: The rendered Trigger.
        before: The Trigger in the cluster; None when there is none.
    """
    if before is None or not _may_be_left(manifest, before):
        return manifest
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), DELIVERY_ANNOTATION: "yes"}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def repair_subscriptions(cluster: Cluster, manifests: Sequence[Object], applied: Mapping[Key, Object]) -> None:
    """Remove settings from the Subscriptions of marked Triggers that no longer have them, then remove the marks.

    No request is made when no Trigger is marked.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        manifests: The app's rendered objects.
        applied: The API server's answer for each applied object.

    Raises:
        ClusterError: When a request to the cluster is refused or fails.
    """
    for manifest in manifests:
        key = key_of(manifest, cluster)
        if kind_of(manifest) is TRIGGER and key in applied and _is_marked(applied[key]):
            observed = _wait_observed(cluster, applied[key], namespace=key[2])
            if observed and _repair(cluster, applied[key], namespace=key[2]):
                cluster.apply(manifest, manager=MANAGER)
            else:
                _log.warning(
                    "the Trigger %s has changed, but Knative has not processed the change; deploy again later", key[1]
                )


def _may_be_left(manifest: Object, before: Object) -> bool:
    wanted = manifest["spec"].get("delivery") or {}
    if _is_marked(before):
        return True
    subscription = condition(before, "SubscriptionReady")
    if subscription.get("status") == "False" and "spec.delivery.deadLetterSink" in subscription.get("message", ""):
        return "deadLetterSink" not in wanted  # an earlier deploy removed it
    actual, ours = before["spec"].get("delivery") or {}, set(_list_ours(before))
    return bool(find_hidden(wanted, {name: value for name, value in actual.items() if name in ours}))


def _list_ours(trigger: Object) -> Iterator[str]:
    """Yield the delivery fields of a Trigger that Eaves applied.

    Fields of other managers are left out, since they stay when Eaves doesn't render them.
    """
    for entry in trigger["metadata"].get("managedFields") or ():
        if (entry.get("manager"), entry.get("operation")) == (MANAGER, "Apply"):
            fields = (entry.get("fieldsV1") or {}).get("f:spec", {}).get("f:delivery", {})
            yield from (name.removeprefix("f:") for name in fields)


def _is_marked(trigger: Object) -> bool:
    return DELIVERY_ANNOTATION in (trigger["metadata"].get("annotations") or {})


def _wait_observed(cluster: Cluster, trigger: Object, *, namespace: str) -> bool:
    """Wait until Knative has observed a changed Trigger; return False at the time limit.

    Before that, Knative would restore the Subscription from the older version of the Trigger.
    """
    metadata, deadline = trigger["metadata"], time.monotonic() + OBSERVED_S
    name, found = str(metadata["name"]), trigger
    while True:
        if found.get("status", {}).get("observedGeneration", 0) >= metadata["generation"]:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
        there = cluster.get(TRIGGER, name, namespace=namespace)
        if there is None or there["metadata"]["uid"] != metadata["uid"]:
            return False
        found = there


def _repair(cluster: Cluster, trigger: Object, *, namespace: str) -> bool:
    """Remove settings from a Trigger's Subscription that the Trigger doesn't have; return whether that succeeded.

    It fails when the Subscription changes during every attempt.
    """
    name, uid = str(trigger["metadata"]["name"]), trigger["metadata"]["uid"]
    wanted = trigger["spec"].get("delivery") or {}
    for _ in range(ATTEMPTS):
        listed = cluster.list(SUBSCRIPTION, namespace=namespace, selector=f"{TRIGGER_LABEL}={name}")
        try:
            for one in listed:
                owners = {owner.get("uid") for owner in one["metadata"].get("ownerReferences") or ()}
                hidden = find_hidden(wanted, one["spec"].get("delivery") or {})
                if uid in owners and hidden:
                    version = {"resourceVersion": one["metadata"]["resourceVersion"]}
                    change = {"metadata": version, "spec": {"delivery": hidden}}
                    subscription = str(one["metadata"]["name"])
                    cluster.patch(SUBSCRIPTION, subscription, change, manager=MANAGER, namespace=namespace)
        except (AbsentError, ConflictError):  # Knative wrote its status, or made it again
            continue
        return True
    return False
