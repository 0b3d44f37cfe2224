"""Objects into a cluster: applied in order, those no longer wanted removed, conflicts shown and never forced.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from eaves.errors import ConflictError, InvalidError
from knative.applied import ADOPTED, CHANGED, CREATED, UNCHANGED, UNJUDGED, Applied
from knative.diagnosis import explain_denial
from knative.difference import content
from knative.kinds import NAMESPACE, STATEFUL_SET, kind_of
from knative.names import MANAGER
from knative.owned import Key, Owner, find_owned, key_of, no_longer_wanted
from knative.removal import remove_all
from knative.strangers import find_others, is_satisfied, refuse_strangers

if TYPE_CHECKING:
    from knative.cluster import Cluster

_IMMUTABLE = ("Immutable fields changed", "updates to statefulset spec", "field is immutable")
"""Source: knative.dev/pkg/apis/field_error.go; Kubernetes, pkg/apis/apps/validation and apimachinery's validation."""


def apply_app(
    cluster: Cluster,
    manifests: Sequence[Mapping[str, Any]],
    owner: Owner,
    *,
    adopt: bool = False,
    dry_run: bool = False,
    show: Callable[[Applied], object] = lambda applied: None,
) -> list[Applied]:
    """Apply every object of an app, then remove those of it that are no longer rendered.

    Killed at any point, the next call goes on: each object is applied as a whole, and what is there already stays.

    Args:
        cluster: Where.
        manifests: What `render_app` returned.
        owner: Whose they are.
        adopt: Take over objects that others made, and fields that other managers own.
        dry_run: Let the server and its webhooks judge, and change nothing.
        show: Told each outcome.

    Raises:
        ConflictError: When others made an object of that name, before anything is applied; or when other managers own
            fields, and nothing after it is applied. Neither when `adopt` is said.
        InvalidError: When the cluster refuses an object; the hint mends it.
        ClusterError: When the cluster refuses or fails.
    """
    there = {key_of(one, cluster): one for one in find_owned(cluster, owner)}
    others = find_others(cluster, manifests, there)
    if not adopt:
        refuse_strangers(cluster, manifests, others, owner)
    left = no_longer_wanted(cluster, manifests, there)
    done = []
    applying = _apply_all(cluster, manifests, {**others, **there}, adopt=adopt, dry_run=dry_run)
    for applied in chain(applying, remove_all(cluster, left, dry_run=dry_run)):
        done.append(applied)
        show(applied)
    return done


def _apply_all(
    cluster: Cluster,
    manifests: Sequence[Mapping[str, Any]],
    known: Mapping[Key, Mapping[str, Any]],
    *,
    adopt: bool,
    dry_run: bool,
) -> Iterator[Applied]:
    absent: set[str] = set()  # namespaces that a dry run doesn't make
    for manifest in manifests:
        kind, name = kind_of(manifest), str(manifest["metadata"]["name"])
        before = known.get(key_of(manifest, cluster))
        if manifest["metadata"].get("namespace") in absent:
            outcome = UNJUDGED
        elif before is not None and kind is NAMESPACE and is_satisfied(manifest, before):
            outcome = UNCHANGED  # nothing is asked, for which a right might lack
        else:
            outcome = _apply(cluster, manifest, before, adopt=adopt, dry_run=dry_run)
            absent |= {name} if kind is NAMESPACE and dry_run and before is None else set()
        yield Applied(kind=kind.kind, name=name, outcome=outcome)


def _apply(
    cluster: Cluster, manifest: Mapping[str, Any], before: Mapping[str, Any] | None, *, adopt: bool, dry_run: bool
) -> str:
    """Apply one object; its outcome."""
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
                f"{cluster.name}: {kind.kind} {name} is not ours alone: {_owners(error)}",
                hint="`eaves diff --on knative` shows what would change; `eaves deploy --adopt` takes it over",
                causes=error.causes,
            ) from error
        after, outcome = cluster.apply(manifest, manager=MANAGER, force=True, dry_run=dry_run), ADOPTED
    return UNCHANGED if before is not None and content(before) == content(after) else outcome


def _explained(error: InvalidError, cluster: Cluster, manifest: Mapping[str, Any]) -> InvalidError:
    """The same refusal with what mends it, where that is known."""
    kind, (_, name, namespace) = kind_of(manifest), key_of(manifest, cluster)
    found = explain_denial(error.message)
    if found is not None:
        return InvalidError(f"{cluster.name}: {kind.kind} {name} is refused: {found.message}", hint=found.fix)
    if any(text in error.message for text in _IMMUTABLE):
        kept = " --cascade=orphan" if kind is STATEFUL_SET else ""
        full = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        delete = f"kubectl --context {cluster.name} -n {namespace} delete {full} {name}{kept}"
        return InvalidError(
            f"{error.message} ({kind.kind} {name})", hint=f"it must be made anew: {delete}; then deploy again"
        )
    return InvalidError(f"{error.message} ({kind.kind} {name})", hint=error.hint or "eaves doctor")


def _owners(error: ConflictError) -> str:
    by_manager: dict[str, list[str]] = {}
    for manager, field in error.causes:
        by_manager.setdefault(manager, []).append(field)
    return "; ".join(f"{manager} owns {', '.join(fields)}" for manager, fields in by_manager.items())
