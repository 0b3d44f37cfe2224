"""What an object's metadata and status say: names, conditions, containers, times; and the diagnosis made from them.

Source: Kubernetes 1.36, PodStatus and ContainerState of core/v1; knative.dev/pkg, apis/condition_types.go; Knative
Serving, pkg/apis/serving/v1/service_lifecycle.go (IsReady).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]
"""An object as in the API server's JSON."""
SIDECAR = "queue-proxy"
"""Name of the container in a function's pod that Knative adds."""
MAX_SAID = 300


@dataclass(frozen=True, slots=True, kw_only=True)
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
    return str(value.get("metadata", {}).get("name", ""))


def namespace_of(value: Object) -> str:
    """Return an object's namespace."""
    return str(value.get("metadata", {}).get("namespace", ""))


def image_of(value: Object | None) -> str:
    """Return the first container image of a Revision, or of an object's pod template; empty when there is none."""
    spec = (value or {}).get("spec", {})
    containers = spec.get("template", {}).get("spec", spec).get("containers") or [{}]
    return str(containers[0].get("image", ""))


def condition(value: Object | None, kind: str) -> Object:
    """Return the condition of one type from an object's status; empty when the object doesn't have it."""
    found = (value or {}).get("status", {}).get("conditions") or []
    return next((one for one in found if one.get("type") == kind), {})


def is_true(value: Object | None, kind: str) -> bool:
    """Return whether an object's condition of one type is True."""
    return bool(condition(value, kind).get("status") == "True")


def containers(pod: Object) -> Iterator[Object]:
    """Yield the status of each container of a pod; Knative's sidecar comes last."""
    status = pod.get("status", {})
    found = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    yield from sorted(found, key=lambda one: one.get("name") == SIDECAR)


def is_alive(pod: Object) -> bool:
    """Return whether a pod is not being deleted."""
    return not pod.get("metadata", {}).get("deletionTimestamp")


def observed(value: Object) -> bool:
    """Return whether an object's controller has processed the object's last change."""
    return bool(value.get("status", {}).get("observedGeneration") == value.get("metadata", {}).get("generation"))


def is_ready(service: Object) -> bool:
    """Return whether the newest revision of a Knative Service and its routes are ready."""
    status = service.get("status", {})
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
    fields = value.get("metadata", {}).get("managedFields") or []
    times = [parse_time(entry.get("time")) for entry in fields if entry.get("subresource") != "status"]
    known = [at for at in times if at is not None]
    return max(known) if known else parse_time(value.get("metadata", {}).get("creationTimestamp"))


def quote(message: str) -> str:
    """Shorten a message of another program to one line; the end is kept, which names the reason of nested errors."""
    text = " ".join(message.split()).rstrip(".")
    return text if len(text) <= MAX_SAID else f"...{text[-MAX_SAID:]}"
