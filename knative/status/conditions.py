"""What an object's metadata and status say: names, conditions, containers, times; and the diagnosis made from them.

Source: Kubernetes 1.36, PodStatus and ContainerState of core/v1; knative.dev/pkg, apis/condition_types.go; Knative
Serving, pkg/apis/serving/v1/service_lifecycle.go (IsReady).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from eaves.errors import NotFoundError
from knative.client.cluster import Cluster
from knative.client.kinds import KSERVICE, Object, metadata_of, status_of
from knative.resources.metadata import OURS

SIDECAR = "queue-proxy"
"""Name of the container in a function's pod that Knative adds."""
MAX_SAID = 300
REVISION_LABEL = "serving.knative.dev/revision"
MAX_DELAY_S = 15.0
"""Maximum seconds that a controller or a networking layer may take before it counts as faulty; one that works takes
less than 2 s."""
UNSEEN = "controller"
"""Value of `Diagnosis.cause` when an object's controller hasn't processed its last change."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The reason why a function or another part of an app isn't ready, with the fix.

    Attributes:
        cause: One of `CAUSES`.
        message: Description of the fault, with the value that was found.
        fix: The command or the change of eaves.yaml that fixes it.
        final: Whether the fault does not go away by itself, so that waiting without the fix is useless.
        key: What the fix changes, where that matters to the caller: `package`, `memory` or `room`, which are others for
            an agent than for a function, or `traffic`; else empty.
    """

    cause: str
    message: str
    fix: str
    final: bool = False
    key: str = ""


CAUSES = frozenset({
    "image", "refused", "unschedulable", "configuration", "crash", "memory", "function", "flag", "routing",
    "controller", "broker", "destination", "missing",
})  # fmt: skip
"""Causes of a diagnosis. docs/knative.md explains them."""


def name_of(value: Object) -> str:
    """Return an object's name."""
    return str(metadata_of(value).get("name", ""))


def namespace_of(value: Object) -> str:
    """Return an object's namespace."""
    return str(metadata_of(value).get("namespace", ""))


def image_of(value: Object | None) -> str:
    """Return the first container image of a Revision, or of an object's pod template; empty when there is none."""
    spec = (value or {}).get("spec", {})
    containers = spec.get("template", {}).get("spec", spec).get("containers") or [{}]
    return str(containers[0].get("image", ""))


def absent_function(cluster: Cluster, name: str) -> NotFoundError:
    """Build the error for a function that a site doesn't have."""
    known = ", ".join(sorted(map(name_of, cluster.list(KSERVICE, selector=OURS)))) or "none"
    return NotFoundError(
        f"the function {name!r} does not exist in {cluster.namespace} of {cluster.name} (known functions: {known})",
        hint="eaves status --on knative",
    )


def condition(value: Object | None, kind: str) -> Object:
    """Return the condition of one type from an object's status; empty when the object doesn't have it."""
    found = (value or {}).get("status", {}).get("conditions") or []
    return next((one for one in found if one.get("type") == kind), {})


def is_true(value: Object | None, kind: str) -> bool:
    """Return whether an object's condition of one type is True."""
    return bool(condition(value, kind).get("status") == "True")


def containers(pod: Object) -> Iterator[Object]:
    """Yield the status of each container of a pod; Knative's sidecar comes last."""
    status = status_of(pod)
    found = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    yield from sorted(found, key=lambda one: one.get("name") == SIDECAR)


def find_ended_state(status: Object) -> Object:
    """Return the state `terminated` of a container's last process that ended; empty when none has ended."""
    state = status.get("state") or {}
    ended: Object = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    return ended


def is_alive(pod: Object) -> bool:
    """Return whether a pod is not being deleted."""
    return not metadata_of(pod).get("deletionTimestamp")


def observed(value: Object) -> bool:
    """Return whether an object's controller has processed the object's last change."""
    return bool(status_of(value).get("observedGeneration") == metadata_of(value).get("generation"))


def is_ready(service: Object) -> bool:
    """Return whether the newest revision of a Knative Service and its routes are ready."""
    status = status_of(service)
    created = status.get("latestCreatedRevisionName")
    return (
        observed(service)
        and is_true(service, "Ready")
        and bool(created)
        and created == status.get("latestReadyRevisionName")
    )


def parse_time(text: object) -> float | None:
    """Parse an RFC 3339 time into Unix seconds; return None for any other text."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def last_applied(value: Object) -> float | None:
    """Return the Unix time in seconds when an object's spec was last written; None when it isn't known.

    The time is by the API server's clock.
    """
    fields = metadata_of(value).get("managedFields") or []
    times = [parse_time(entry.get("time")) for entry in fields if entry.get("subresource") != "status"]
    known = [at for at in times if at is not None]
    return max(known) if known else parse_time(metadata_of(value).get("creationTimestamp"))


def quote(message: str) -> str:
    """Shorten a message of another program to one line; the end is kept, which names the reason of nested errors."""
    text = " ".join(message.split()).rstrip(".")
    return text if len(text) <= MAX_SAID else f"...{text[-MAX_SAID:]}"


def explain_unseen(value: Object, now: float) -> Diagnosis | None:
    """Report that a controller hasn't processed an object's last change; return None in the first seconds."""
    applied = last_applied(value)
    waited_s = now - applied if now and applied else 0.0
    if waited_s < MAX_DELAY_S:
        return None
    where = "knative-serving" if value.get("kind") == KSERVICE.kind else "knative-eventing"
    return Diagnosis(
        UNSEEN,
        f"its controller has not processed the change that was applied {waited_s:.0f} s ago",
        f"kubectl -n {where} get pods",
    )
