"""Objects into a cluster: applied in order, those no longer wanted removed, conflicts shown and never forced.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, DeniedError, InvalidError, NotFoundError
from knative.diagnosis import explain_denial
from knative.difference import content
from knative.kinds import (
    BROKER,
    CONTAINER_SOURCE,
    DAEMON_SET,
    EVENT_TYPE,
    JOB_SINK,
    KSERVICE,
    NETWORK_POLICY,
    SERVICE_ACCOUNT,
    SINK_BINDING,
    STATEFUL_SET,
    TRIGGER,
    Kind,
    kind_of,
)
from knative.names import APP_LABEL, MANAGED_LABEL, MANAGED_VALUE, MANAGER

if TYPE_CHECKING:
    from knative.cluster import Cluster

OWNED = (
    TRIGGER,
    SINK_BINDING,
    CONTAINER_SOURCE,
    STATEFUL_SET,
    DAEMON_SET,
    JOB_SINK,
    KSERVICE,
    EVENT_TYPE,
    NETWORK_POLICY,
    SERVICE_ACCOUNT,
)
"""Kinds that an app's objects have, those first that others depend on least. A Broker is shared, see `remove_app`."""
CREATED, CHANGED, UNCHANGED, REMOVED, ADOPTED = "created", "changed", "unchanged", "removed", "adopted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of one object.

    Attributes:
        kind: Of it.
        name: Of it.
        outcome: `created`, `changed`, `unchanged`, `adopted` or `removed`.
    """

    kind: str
    name: str
    outcome: str


def apply_app(
    cluster: Cluster,
    manifests: Sequence[Mapping[str, Any]],
    app: str,
    *,
    adopt: bool = False,
    dry_run: bool = False,
    namespaces: Sequence[str] = (),
    show: Callable[[Applied], object] = lambda applied: None,
) -> list[Applied]:
    """Apply every object of an app, then remove those of it that are no longer rendered.

    Killed at any point, the next call goes on: each object is applied as a whole, and what is there already stays.

    Args:
        cluster: Where.
        manifests: What `render_app` returned.
        app: Its name.
        adopt: Take over fields that other managers own.
        dry_run: Let the server and its webhooks judge, and change nothing.
        namespaces: Where else objects of it may be.
        show: Told each outcome.

    Raises:
        ConflictError: When other managers own fields and `adopt` isn't said; nothing after it is applied.
        ClusterError: When the cluster refuses or fails.
    """
    done = []
    there = {_key(one): one for one in _owned(cluster, app, namespaces)}
    if not adopt and not any(kind == KSERVICE.kind for kind, _, _ in there):
        _look_for_strangers(cluster, manifests)
    for manifest in manifests:
        before = there.pop((manifest["kind"], manifest["metadata"]["name"], _namespace(manifest, cluster)), None)
        if APP_LABEL not in manifest["metadata"]["labels"]:  # shared by apps: a Broker, a namespace
            before = cluster.get(kind_of(manifest), manifest["metadata"]["name"])
        applied = _apply(cluster, manifest, before, adopt=adopt, dry_run=dry_run)
        done.append(applied)
        show(applied)
    for left in there.values():
        kind = kind_of(left)
        metadata = left["metadata"]
        cluster.delete(kind, metadata["name"], namespace=metadata.get("namespace"), dry_run=dry_run)
        removed = Applied(kind=kind.kind, name=metadata["name"], outcome=REMOVED)
        done.append(removed)
        show(removed)
    return done


def _look_for_strangers(cluster: Cluster, manifests: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a function's name that others use before anything is applied.

    Raises:
        ConflictError: When a Knative Service is there that we didn't make.
    """
    for manifest in manifests:
        name = str(manifest["metadata"]["name"])
        if kind_of(manifest) is KSERVICE and cluster.get(KSERVICE, name) is not None:
            _apply(cluster, manifest, None, adopt=False, dry_run=True)


def _apply(
    cluster: Cluster, manifest: Mapping[str, Any], before: Mapping[str, Any] | None, *, adopt: bool, dry_run: bool
) -> Applied:
    kind, name = kind_of(manifest), str(manifest["metadata"]["name"])
    outcome = CREATED if before is None else CHANGED
    try:
        after = cluster.apply(manifest, manager=MANAGER, dry_run=dry_run)
    except ConflictError as error:
        if not adopt:
            raise ConflictError(
                f"{kind.kind} {name} is not ours alone: {_owners(error) or error.message}",
                hint="`eaves diff --on knative` shows what would change; `eaves deploy --adopt` takes it over",
                causes=error.causes,
            ) from error
        after, outcome = cluster.apply(manifest, manager=MANAGER, force=True, dry_run=dry_run), ADOPTED
    except InvalidError as error:
        known = explain_denial(error.message)
        if known is None:
            raise
        raise InvalidError(f"{kind.kind} {name} is refused: {known.message}", hint=known.fix) from error
    if before is not None and content(before) == content(after):
        outcome = UNCHANGED
    return Applied(kind=kind.kind, name=name, outcome=outcome)


def remove_app(cluster: Cluster, app: str, *, namespaces: Sequence[str] = ()) -> list[Applied]:
    """Delete every object of an app, and Brokers that we made once no Trigger is left on them.

    Volumes with images that the broker hasn't taken yet stay, as Kubernetes leaves a StatefulSet's.

    Raises:
        NotFoundError: When there is no function of that name.
    """
    found = _owned(cluster, app, namespaces)
    if not any(one["kind"] == KSERVICE.kind and one["metadata"]["name"] == app for one in found):
        known = ", ".join(sorted(_functions(cluster))) or "none"
        raise NotFoundError(f"no function {app!r} in {cluster.namespace} (there are: {known})", hint="eaves status")
    removed = []
    for one in found:
        metadata = one["metadata"]
        cluster.delete(kind_of(one), metadata["name"], namespace=metadata.get("namespace"))
        removed.append(Applied(kind=one["kind"], name=metadata["name"], outcome=REMOVED))
    return [*removed, *_remove_brokers(cluster)]


def _remove_brokers(cluster: Cluster) -> Iterator[Applied]:
    """A deleted Trigger is gone from the list at once, or carries a deletion's time while its finalizers run."""
    triggers = [one for one in cluster.list(TRIGGER) if "deletionTimestamp" not in one["metadata"]]
    used = {str(one["spec"].get("broker")) for one in triggers}
    for broker in cluster.list(BROKER, selector=f"{MANAGED_LABEL}={MANAGED_VALUE}"):
        name = broker["metadata"]["name"]
        if name not in used:
            cluster.delete(BROKER, name)
            yield Applied(kind=BROKER.kind, name=name, outcome=REMOVED)


def _functions(cluster: Cluster) -> list[str]:
    return [one["metadata"]["name"] for one in cluster.list(KSERVICE, selector=f"{MANAGED_LABEL}={MANAGED_VALUE}")]


def _owned(cluster: Cluster, app: str, namespaces: Sequence[str]) -> list[dict[str, Any]]:
    """Every object that carries the app's label."""
    found = []
    for namespace in dict.fromkeys((cluster.namespace, *namespaces)):
        for kind in OWNED:
            found += [_typed(one, kind) for one in _listed(cluster, kind, namespace, f"{APP_LABEL}={app}")]
    return found


def _listed(cluster: Cluster, kind: Kind, namespace: str, selector: str) -> list[dict[str, Any]]:
    """What may be seen there; elsewhere than at home, a namespace or kind that we may not see holds nothing of ours."""
    try:
        return cluster.list(kind, namespace=namespace, selector=selector)
    except (DeniedError, NotFoundError, InvalidError):
        if namespace == cluster.namespace:
            raise
        return []


def _typed(one: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """A list's items don't say what they are."""
    return {**one, "apiVersion": kind.api_version, "kind": kind.kind}


def _key(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return one["kind"], one["metadata"]["name"], one["metadata"].get("namespace", "")


def _namespace(manifest: Mapping[str, Any], cluster: Cluster) -> str:
    if not kind_of(manifest).namespaced:
        return ""
    return str(manifest["metadata"].get("namespace") or cluster.namespace)


def _owners(error: ConflictError) -> str:
    by_manager: dict[str, list[str]] = {}
    for manager, field in error.causes:
        by_manager.setdefault(manager, []).append(field)
    return "; ".join(f"{manager} owns {', '.join(fields)}" for manager, fields in by_manager.items())
