"""Apply an app's objects in order, remove those that are no longer rendered, and report conflicts without forcing them.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, InvalidError
from knative.client.kinds import BROKER, NAMESPACE, STATEFUL_SET, TRIGGER, kind_of
from knative.deploy.diff import content
from knative.deploy.objects.apply_result import ADOPTED, CHANGED, CREATED, UNCHANGED, UNJUDGED, ApplyResult
from knative.deploy.objects.brokers import is_doomed, keep_broker
from knative.deploy.objects.inventory import Inventory, InventoryItem
from knative.deploy.objects.labelled_objects import AppOwner, Key, key_of
from knative.deploy.objects.name_conflicts import is_satisfied, refuse_foreign_objects
from knative.deploy.objects.ownership import (
    OwnedObjects,
    delete_item,
    find_holdings,
    record,
    record_intended,
    with_uids,
)
from knative.deploy.objects.subscriptions import mark_trigger, repair_subscriptions
from knative.readiness.refusals import explain_denial
from knative.resources.metadata import MANAGER

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

Object = Mapping[str, Any]
_IMMUTABLE = ("Immutable fields changed", "updates to statefulset spec", "field is immutable")
"""Texts in the API server's message when a change of an immutable field is refused.

Source: knative.dev/pkg/apis/field_error.go; Kubernetes, pkg/apis/apps/validation and apimachinery's validation.
"""


def apply_app(
    cluster: Cluster,
    manifests: Sequence[Object],
    owner: AppOwner,
    *,
    inventory: Inventory | None = None,
    needed: Callable[[InventoryItem], bool] = lambda item: False,
    adopt: bool = False,
    dry_run: bool = False,
    show: Callable[[ApplyResult], object] = lambda applied: None,
) -> list[ApplyResult]:
    """Apply every object of an app, then remove the app's objects that are no longer rendered.

    When a deploy is killed at any point, the next call continues it: each object is applied as a whole, existing
    objects stay, and the inventory lists each object before it is made. Only objects that the inventory lists are
    removed, by UID. The inventory is written before the first object is applied and before any is removed, even when it
    is unchanged, because the API server then reports whether another user has changed it since.

    Args:
        cluster: Connection to the cluster, in the app's namespace.
        manifests: Objects that `render_app` returned.
        owner: The app.
        inventory: The app's inventory if it was read or written already; None reads it.
        needed: Function that says whether an object of the inventory must stay although it isn't rendered, such as a
            pin.
        adopt: Take over objects that others made, and fields that other managers own.
        dry_run: Let the API server and its webhooks validate the objects, and change nothing.
        show: Function that gets the result of each object.

    Raises:
        ConflictError: Without `adopt`, when others made an object of the same name (then nothing is applied), or when
            another manager owns a field (then no later object is applied). Also when another user deploys or removes
            the app at the same time; then nothing is removed.
        InvalidError: When the cluster refuses an object; the hint names the fix.
        ClusterError: When a request to the cluster is refused or fails.
    """
    holdings = find_holdings(cluster, manifests, owner, inventory=inventory, needed=needed)
    if not adopt:
        refuse_foreign_objects(cluster, manifests, holdings.others, owner)
    written = holdings.inventory if dry_run else record_intended(cluster, holdings, manifests)
    done: list[ApplyResult] = []
    answers: dict[Key, Object] = {}
    for applied in _apply_all(cluster, manifests, holdings, answers, adopt=adopt, dry_run=dry_run):
        done.append(applied)
        show(applied)
    if not dry_run:
        _keep_brokers(cluster, manifests, answers, done)
        repair_subscriptions(cluster, manifests, answers)
        applied_uids = partial(with_uids, cluster, manifests=manifests, applied=answers)
        written = record(cluster, written, applied_uids, always=True)
    for applied in _prune(cluster, holdings.left, owner.app, dry_run=dry_run):
        done.append(applied)
        show(applied)
    if not dry_run:
        record(cluster, written, lambda items: [one for one in items if one not in holdings.left])
    return done


def _keep_brokers(
    cluster: Cluster, manifests: Sequence[Object], answers: Mapping[Key, Object], done: Sequence[ApplyResult]
) -> None:
    """Keep the Broker that the applied Triggers use, also when a removal is deleting it at the same time.

    No request is made when no Trigger was created or changed and no removal has marked the Broker.
    """
    new = any(one.kind == TRIGGER.kind and one.outcome != UNCHANGED for one in done)
    for manifest in manifests:
        if kind_of(manifest) is BROKER and (new or is_doomed(answers[key_of(manifest, cluster)])):
            keep_broker(cluster, manifest)


def _prune(cluster: Cluster, left: Sequence[InventoryItem], app: str, *, dry_run: bool) -> Iterator[ApplyResult]:
    """Delete an app's objects that are no longer rendered; yield no result for an object that is already gone."""
    for item in left:
        outcome = delete_item(cluster, item, app, dry_run=dry_run)
        if outcome:
            yield ApplyResult(kind=item.kind.rpartition("/")[2], name=item.name, outcome=outcome)


def _apply_all(
    cluster: Cluster,
    manifests: Sequence[Object],
    holdings: OwnedObjects,
    answers: dict[Key, Object],
    *,
    adopt: bool,
    dry_run: bool,
) -> Iterator[ApplyResult]:
    """Apply each object of an app, and store the API server's answer for it in `answers`."""
    absent: set[str] = set()  # namespaces that a dry run doesn't make
    for manifest in manifests:
        kind, name, key = kind_of(manifest), str(manifest["metadata"]["name"]), key_of(manifest, cluster)
        before = holdings.known.get(key)
        if manifest["metadata"].get("namespace") in absent:
            outcome = UNJUDGED
        elif before is not None and kind is NAMESPACE and is_satisfied(manifest, before):
            outcome = UNCHANGED  # no request is made, since the user may lack the right to apply namespaces
        else:
            wanted = mark_trigger(manifest, before) if kind is TRIGGER and not dry_run else manifest
            outcome, answers[key] = _apply(cluster, wanted, before, adopt=adopt, dry_run=dry_run)
            absent |= {name} if kind is NAMESPACE and dry_run and before is None else set()
        yield ApplyResult(kind=kind.kind, name=name, outcome=outcome)


def _apply(
    cluster: Cluster, manifest: Object, before: Object | None, *, adopt: bool, dry_run: bool
) -> tuple[str, Object]:
    """Apply one object; return (outcome, object that the API server answered)."""
    kind, name = kind_of(manifest), str(manifest["metadata"]["name"])
    outcome = CREATED if before is None else CHANGED
    try:
        after = cluster.apply(manifest, manager=MANAGER, dry_run=dry_run)
    except InvalidError as error:
        raise _explained(error, cluster, manifest) from error
    except ConflictError as error:
        if not error.causes:
            raise
        if not adopt:
            raise ConflictError(
                f"{cluster.name}: other owners have set fields of {kind.kind} {name}: {_owners(error)}",
                hint="`eaves diff IMAGE --on knative` shows what would change; "
                "`eaves deploy IMAGE --on knative --adopt` takes the fields over",
                causes=error.causes,
            ) from error
        after, outcome = cluster.apply(manifest, manager=MANAGER, force=True, dry_run=dry_run), ADOPTED
    unchanged = before is not None and content(before) == content(after)
    return UNCHANGED if unchanged else outcome, after


def _explained(error: InvalidError, cluster: Cluster, manifest: Object) -> InvalidError:
    """Return the error for a refused object with a fix, if the cause of the refusal is known."""
    kind, (_, name, namespace) = kind_of(manifest), key_of(manifest, cluster)
    found = explain_denial(error.message)
    if found is not None:
        return InvalidError(f"{cluster.name}: the cluster refuses {kind.kind} {name}: {found.message}", hint=found.fix)
    if any(text in error.message for text in _IMMUTABLE):
        kept = " --cascade=orphan" if kind is STATEFUL_SET else ""
        full = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        delete = f"kubectl --context {cluster.name} -n {namespace} delete {full} {name}{kept}"
        return InvalidError(
            f"{error.message} ({kind.kind} {name})",
            hint=f"the object must be created again: {delete}; then deploy again",
        )
    return InvalidError(f"{error.message} ({kind.kind} {name})", hint=error.hint or "eaves doctor")


def _owners(error: ConflictError) -> str:
    by_manager: dict[str, list[str]] = {}
    for manager, field in error.causes:
        by_manager.setdefault(manager, []).append(field)
    return "; ".join(f"{manager} owns {', '.join(fields)}" for manager, fields in by_manager.items())
