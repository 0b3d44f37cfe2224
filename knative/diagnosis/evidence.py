"""What a diagnosis is made of, and what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]
"""One object as the API server's JSON has it."""
USER_CONTAINER, SIDECAR = "user-container", "queue-proxy"
"""Source: Knative Serving, pkg/apis/config/defaults.go and pkg/reconciler/revision/resources/constants.go."""
MAX_SAID = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why a function doesn't become ready.

    Attributes:
        cause: One of `CAUSES`.
        message: What is wrong and the value seen.
        fix: The command or the edit of eaves.yaml that mends it.
        final: Waiting doesn't mend it; somebody has to do something first.
    """

    cause: str
    message: str
    fix: str
    final: bool


CAUSES = {
    "image": "the container image can't be fetched or isn't for the node's processor",
    "refused": "the cluster doesn't let it in: a quota, a limit range, Pod Security, a webhook, a name that is taken",
    "unschedulable": "no node takes the pod, or its node has put it out",
    "configuration": "the container can't be started: a Secret, a ConfigMap, a volume or its command isn't there",
    "crash": "the process ends again and again",
    "memory": "the process takes more memory than it may",
    "function": "the function itself says why it isn't ready",
    "flag": "a feature of Knative is off that is needed",
    "routing": "requests don't get to it",
    "controller": "its controller takes no notice, or has given it up",
    "broker": "its Broker is missing or not ready",
    "destination": "where its events go can't be resolved",
    "missing": "the object is not there",
}
"""Every cause and what it means; docs list the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionEvidence:
    """A Knative Service and what it expanded into, at one moment.

    Attributes:
        service: The Knative Service.
        revision: Its latest created Revision.
        deployment: The Revision's.
        replica_sets: Of the Deployment.
        pods: Of the Revision.
        events: Core Events about any of these, in any order.
        readiness: What pods that run answer to their readiness probe, when it isn't 2xx: the problem document by pod.
        logs: Last lines of a pod's function, the run before the last restart where there was one, by pod.
        now: The server's clock, Unix seconds; 0 when it isn't known, and nothing counts as old then.
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
        """Of the Service."""
        return name_of(self.service)

    @property
    def namespace(self) -> str:
        """Of all of it."""
        return str(self.service.get("metadata", {}).get("namespace", ""))

    @property
    def container(self) -> Object:
        """The function's container as it is wanted; empty when the Revision isn't there."""
        containers = (self.revision or {}).get("spec", {}).get("containers", [])
        return next(iter(containers), {})

    def old(self, state: Object, seconds: float) -> bool:
        """Whether a condition has been as it is for longer than that."""
        since = parse_time(state.get("lastTransitionTime"))
        return bool(self.now and since and self.now - since > seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEvidence:
    """One object of an app beside its function, and its pods, at one moment.

    Attributes:
        value: The object.
        pods: Its pods; empty of what runs none.
        events: Core Events about it and its pods, in any order.
        logs: Last lines of a pod's container, the run before the last restart where there was one, by pod.
        steady: Names of the pods that have run long enough to count as ready.
        now: The server's clock, Unix seconds; 0 when it isn't known, and nothing counts as old then.
    """

    value: Object
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    steady: frozenset[str] = frozenset()
    now: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReadiness:
    """Whether a part is ready: it is when there is neither something to say nor a diagnosis.

    Attributes:
        said: What is missing, where nothing is known to be wrong: `2 of 3 pods are ready`.
        diagnosis: What is wrong; None while nothing is known to be.
        since: Unix seconds since when it is so; None when that isn't known.
        pods: Pods that are ready, of how many: `2/3`; empty of what runs none.
    """

    said: str = ""
    diagnosis: Diagnosis | None = None
    since: float | None = None
    pods: str = ""

    @property
    def ready(self) -> bool:
        """Whether the part is ready."""
        return self.diagnosis is None and not self.said


def name_of(value: Object) -> str:
    """An object's name."""
    return str(value.get("metadata", {}).get("name", ""))


def condition(value: Object | None, kind: str) -> Object:
    """A condition of an object's status; empty when it isn't there."""
    found = (value or {}).get("status", {}).get("conditions") or []
    return next((one for one in found if one.get("type") == kind), {})


def containers(pod: Object) -> Iterator[Object]:
    """The statuses of a pod's containers, the function's before Knative's own."""
    status = pod.get("status", {})
    found = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    yield from sorted(found, key=lambda one: one.get("name") == SIDECAR)


def is_alive(pod: Object) -> bool:
    """Whether a pod isn't on its way out already."""
    return not pod.get("metadata", {}).get("deletionTimestamp")


def parse_time(text: object) -> float | None:
    """An RFC 3339 time as Unix seconds."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def last_applied(value: Object) -> float | None:
    """When an object's spec was last written, Unix seconds by the server's clock; None when it doesn't say."""
    fields = value.get("metadata", {}).get("managedFields") or []
    times = [parse_time(entry.get("time")) for entry in fields if entry.get("subresource") != "status"]
    known = [at for at in times if at is not None]
    return max(known) if known else parse_time(value.get("metadata", {}).get("creationTimestamp"))


def seen_at(event: Object) -> float:
    """When an Event was seen last. Source: core/v1 Event; the scheduler writes events.k8s.io's series instead."""
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), series.get("lastObservedTime"), event.get("eventTime"))
    return next((at for text in times if (at := parse_time(text)) is not None), 0.0)


def quote(message: str, *, end: bool = True) -> str:
    """Somebody else's words, on one line and not too many: the end of nested errors, the beginning of lists."""
    text = " ".join(message.split()).rstrip(".")
    if len(text) <= MAX_SAID:
        return text
    return f"...{text[-MAX_SAID:]}" if end else f"{text[:MAX_SAID]}..."
