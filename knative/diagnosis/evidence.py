"""The values that a diagnosis is made from, and the diagnosis itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]
"""An object as in the API server's JSON."""
USER_CONTAINER, SIDECAR = "user-container", "queue-proxy"
"""Names of a function pod's containers: the function itself, and Knative's sidecar.

Source: Knative Serving, pkg/apis/config/defaults.go and pkg/reconciler/revision/resources/constants.go.
"""
MAX_SAID = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The reason why a function or another part of an app isn't ready, with the fix.

    Attributes:
        cause: One of `CAUSES`.
        message: Description of the fault, with the value that was found.
        fix: The command or the change of eaves.yaml that fixes it.
        final: Whether the fault does not go away by itself, so that waiting without the fix is useless.
    """

    cause: str
    message: str
    fix: str
    final: bool


CAUSES = {
    "image": "the container image can't be pulled, or is built for another processor architecture",
    "refused": "the cluster refuses an object: a quota, a limit range, Pod Security, a webhook or a name in use",
    "unschedulable": "the pod can't be scheduled on any node, or its node has evicted it",
    "configuration": "the container can't be started: a Secret, a ConfigMap, a volume or its command is missing",
    "crash": "the process ends repeatedly",
    "memory": "the process uses more memory than allowed",
    "function": "the function itself reports why it isn't ready",
    "flag": "a required feature of Knative is disabled",
    "routing": "requests don't reach the function",
    "controller": "the controller of the object has not processed it, or has stopped trying",
    "broker": "the Broker of a Trigger is missing or not ready",
    "destination": "a destination of events can't be resolved",
    "missing": "the object does not exist",
}
"""Meaning of each cause of a diagnosis; the documentation lists the same causes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionEvidence:
    """A Knative Service and the objects that Knative made from it, at one moment.

    Attributes:
        service: The Knative Service.
        revision: Latest created Revision of the Service.
        deployment: Deployment of the Revision.
        replica_sets: ReplicaSets of the Deployment.
        pods: Pods of the Revision.
        events: Core Events about the other objects, in any order.
        readiness: Problem documents, by pod, of running pods whose answer to the readiness probe isn't 2xx.
        logs: Last lines of the function's log, by pod; from the process before the last restart if there was one.
        now: The API server's clock, Unix seconds; 0 when it isn't known, and then no condition counts as old.
    """

    service: Object
    revision: Object | None = None
    deployment: Object | None = None
    replica_sets: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    readiness: Mapping[str, Object] = field(default_factory=dict)
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    now: float = 0.0

    @property
    def name(self) -> str:
        """Name of the Service."""
        return name_of(self.service)

    @property
    def namespace(self) -> str:
        """Namespace of the Service and its objects."""
        return str(self.service.get("metadata", {}).get("namespace", ""))

    @property
    def container(self) -> Object:
        """The function's container in the Revision; empty when there is no Revision."""
        containers = (self.revision or {}).get("spec", {}).get("containers", [])
        return next(iter(containers), {})

    def old(self, state: Object, seconds: float) -> bool:
        """Return whether a condition has had its status for more than a number of seconds."""
        since = parse_time(state.get("lastTransitionTime"))
        return bool(self.now and since and self.now - since > seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEvidence:
    """An object of an app other than its function, with its pods, at one moment.

    Attributes:
        value: The object.
        pods: Pods of the object; empty when it runs none.
        events: Core Events about the object and its pods, in any order.
        logs: Last lines of a container's log, by pod; from the process before the last restart if there was one.
        steady: Names of the pods that have run long enough to count as ready.
        now: The API server's clock, Unix seconds; 0 when it isn't known, and then no condition counts as old.
    """

    value: Object
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    steady: frozenset[str] = frozenset()
    now: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReadiness:
    """The readiness of a part of an app. The part is ready when there is neither a text nor a diagnosis.

    Attributes:
        detail: Description of what is missing when no fault is known, such as `2 of 3 pods are ready`; empty when
            nothing is missing.
        diagnosis: Fault of the part; None while no fault is known.
        since: Unix seconds since when the part is in this state; None when that isn't known.
        pods: Ready pods of all pods, such as `2/3`; empty when the part runs none.
    """

    detail: str = ""
    diagnosis: Diagnosis | None = None
    since: float | None = None
    pods: str = ""

    @property
    def ready(self) -> bool:
        """Whether the part is ready."""
        return self.diagnosis is None and not self.detail


def name_of(value: Object) -> str:
    """Return an object's name."""
    return str(value.get("metadata", {}).get("name", ""))


def condition(value: Object | None, kind: str) -> Object:
    """Return the condition of one type from an object's status; empty when the object doesn't have it."""
    found = (value or {}).get("status", {}).get("conditions") or []
    return next((one for one in found if one.get("type") == kind), {})


def containers(pod: Object) -> Iterator[Object]:
    """Yield the status of each container of a pod; Knative's sidecar comes last."""
    status = pod.get("status", {})
    found = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    yield from sorted(found, key=lambda one: one.get("name") == SIDECAR)


def is_alive(pod: Object) -> bool:
    """Return whether a pod is not being deleted."""
    return not pod.get("metadata", {}).get("deletionTimestamp")


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


def seen_at(event: Object) -> float:
    """Return the Unix time in seconds when an Event last occurred.

    Source: core/v1 Event (`lastTimestamp`); the scheduler writes the field `series` of events.k8s.io instead.
    """
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), series.get("lastObservedTime"), event.get("eventTime"))
    return next((at for text in times if (at := parse_time(text)) is not None), 0.0)


def quote(message: str, *, end: bool = True) -> str:
    """Shorten a message of another program to one line.

    With `end` the end is kept, which names the reason of nested errors; otherwise the beginning, for lists.
    """
    text = " ".join(message.split()).rstrip(".")
    if len(text) <= MAX_SAID:
        return text
    return f"...{text[-MAX_SAID:]}" if end else f"{text[:MAX_SAID]}..."
