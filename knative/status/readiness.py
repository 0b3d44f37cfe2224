"""Readiness of a function: why it isn't ready, from its Service, revision and pods; and the wait for it and its app.

The wait shows the progress, and ends early when the app can't become ready. Nothing here changes an object, or calls a
fault final that may still disappear by itself.

Source: Knative Serving 1.23, pkg/apis/serving/v1/route_lifecycle.go, service_lifecycle.go, configuration_lifecycle.go
and revision_lifecycle.go; knative.dev/networking, pkg/apis/networking/v1alpha1/ingress_lifecycle.go.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from eaves.errors import StartError, UnreachableClusterError
from eaves.platform import PartStatus
from knative.client.cluster import Cluster
from knative.client.kinds import KSERVICE, POD, REVISION, Manifest, Object, status_of
from knative.resources.function import CONTAINER
from knative.status.conditions import (
    MAX_DELAY_S,
    REVISION_LABEL,
    UNSEEN,
    Diagnosis,
    absent_function,
    condition,
    explain_unseen,
    image_of,
    is_alive,
    is_ready,
    is_true,
    name_of,
    namespace_of,
    observed,
    parse_time,
    quote,
)
from knative.status.parts import READY, UNKNOWN, PartReader, key_of, unready_part, wanted_parts
from knative.status.pods import diagnose_pods, explain_pod, read_permitted
from knative.status.refusals import explain_refusal

ROUTED_S = 30.0
"""Maximum seconds to wait until the gateway applies new traffic, which takes a second or two."""
POLL_S = 1.0
"""Seconds between two reads of an app's objects and pods."""
MAX_FAULT_S = 60.0
"""Maximum seconds that a part may have the same fault once the function is ready; a new Broker takes a few seconds to
become ready."""
Rows = Sequence[Mapping[str, str]]
"""The progress as rows of `what`, `state` and `detail`: the revision, unready parts, the fault."""


def wait_ready(
    cluster: Cluster,
    name: str,
    manifests: Iterable[Object] = (),
    *,
    timeout_s: float,
    show: Callable[[Rows], object] = lambda rows: None,
    poll_s: float = POLL_S,
    max_fault_s: float = MAX_FAULT_S,
) -> None:
    """Wait until the function's newest revision can answer requests, whether it gets any yet or not, and other parts.

    The wait shows faults that may disappear by themselves, and ends early for a fault that doesn't. It also ends when
    the traffic names a revision that no longer exists, which `promote` fixes. It continues while the cluster can't be
    reached. Pins of container images aren't waited for, since nodes may be away for long.

    Args:
        cluster: Connection to the cluster.
        name: Name of the Knative Service, in the cluster's namespace.
        manifests: Every object of the app as it was applied; without them, only the function is waited for.
        timeout_s: Maximum seconds to wait for all parts together.
        show: Function that gets the progress after every read, in this thread.
        poll_s: Seconds between two reads.
        max_fault_s: Seconds that a part may have the same fault once the function is ready.

    Raises:
        StartError: When a part doesn't become ready; the message names the part and the reason, the hint the fix.
        NotFoundError: When the function is removed meanwhile.
        UnreachableClusterError: When the cluster didn't answer at the end of the time.
        ClusterError: When the cluster refuses a request.
    """
    wanted, deadline = wanted_parts(manifests, cluster.namespace), time.monotonic() + timeout_s
    faults: dict[str, tuple[str, float]] = {}
    known: PartStatus | None = None
    rows: list[dict[str, str]] = []
    while True:
        left_s = deadline - time.monotonic()
        try:
            now = cluster.clock()
            seen = read_function(cluster, name, now=now)
            places = [(kind, namespace) for kind, _, namespace in wanted]
            reader = PartReader(cluster, places, now=now, keep=lambda value: key_of(value) in wanted)
            parts = [*reader.find(wanted), *reader.unseen]
        except UnreachableClusterError as error:
            if left_s <= 0:
                raise
            show([*rows, _row("cluster", "no answer", error.message)])
        else:
            function = _judge_function(seen, now)
            rows = _describe(seen, parts)
            show(rows)
            unready = [part for part in (function, *parts) if part.state not in {READY, UNKNOWN}]
            if not unready:
                return
            is_serving = function.state == READY
            known = function if function.cause else known  # pods that showed the fault may be gone by the deadline
            for part in unready:
                # Before the function is ready, a Trigger can't be; what a controller hasn't seen yet is of the past.
                counts = part.final or (is_serving and part.cause != UNSEEN)
                cause, read_at = part.cause if counts else "", time.monotonic()
                before, since = faults.get(part.title, ("", read_at))
                faults[part.title] = cause, since if cause == before else read_at
                # One read is not enough: it may show a pod that is just being replaced.
                limit_s = poll_s / 2 if part.final else max_fault_s
                if cause and read_at - faults[part.title][1] >= limit_s:
                    text = f"parts of {name} can't become ready: {_name_parts(part, unready)}"
                    raise StartError(f"{name} can't start: {part.reason}" if part is function else text, hint=part.fix)
            if left_s <= 0:
                waited = f"{name} was not ready within {timeout_s:g} s"
                if is_serving:
                    first = min(unready, key=lambda part: not part.cause)
                    hint = first.fix or "eaves status --on knative"
                    raise StartError(f"{waited}: {_name_parts(first, unready)}", hint=hint)
                first = known or function
                raise StartError(f"{waited}: {first.reason}", hint=first.fix or f"eaves logs {name} --on knative")
        time.sleep(max(0.0, min(poll_s, left_s)))


def wait_routed(cluster: Cluster, name: str) -> bool:
    """Wait until the gateway applies the Service's traffic; return False when it doesn't within the time limit.

    The newest revision need not be ready: after a rollback it may fail permanently.

    Source: knative/serving, pkg/reconciler/route: RoutesReady once every gateway pod answers for the new shares.

    Args:
        cluster: Connection to the cluster.
        name: Name of the Knative Service, in the cluster's namespace.

    Raises:
        ClusterError: When the cluster refuses a request.
    """
    for service in cluster.watch(KSERVICE, name, timeout_s=ROUTED_S):
        if service is None or (observed(service) and is_true(service, "RoutesReady")):
            return service is not None
    return False


def _judge_function(seen: ObservedFunction, now: float) -> PartStatus:
    """Return the readiness of the function as that of a part.

    A rollout corrects traffic that names a revision which doesn't exist, once it knows one that can answer.
    """
    part, found = PartStatus(kind=KSERVICE.kind, name=name_of(seen.service)), seen.diagnosis
    if is_ready(seen.service) or (found is not None and found.key == TRAFFIC):
        return part
    last = " ".join(filter(None, _describe_revision(seen.service)))
    return unready_part(part, found or f"last state: {last}", None, now)


def _name_parts(first: PartStatus, parts: Iterable[PartStatus]) -> str:
    """Return a text with one part and its reason, and with the names of the others."""
    others = ", ".join(part.title for part in parts if part is not first)
    text = f"{first.title}: {first.reason}"
    return f"{text}; also not ready: {others}" if others else text


def _describe(seen: ObservedFunction, parts: Iterable[PartStatus]) -> list[dict[str, str]]:
    rows = [_row(*_describe_revision(seen.service))]
    rows += [_row(part.title, part.cause or part.state, part.reason) for part in parts if part.state != READY]
    return rows if seen.diagnosis is None else [*rows, _row("cause", seen.diagnosis.cause, seen.diagnosis.message)]


def _row(what: str, state: str, detail: str) -> dict[str, str]:
    return {"what": what, "state": state, "detail": detail}


def _describe_revision(service: Object) -> tuple[str, str, str]:
    """Return name, state and shares of requests of a function's latest created revision."""
    status = status_of(service)
    state = condition(service, "Ready") if observed(service) else {"reason": "OutOfDate"}
    why = f" ({state['reason']})" if state.get("reason") else ""
    routed = [one for one in status.get("traffic") or () if one.get("percent")]
    shares = ", ".join(f"{one['percent']} % {one.get('revisionName')}" for one in routed)
    revision = str(status.get("latestCreatedRevisionName") or name_of(service))
    return revision, "ready" if state.get("status") == "True" else f"not ready{why}", shares


_DEADLINE = "ProgressDeadlineExceeded"
_OWNED = re.compile("that we (do not|don't) own")
_CREATION = "Revision creation failed"
TRAFFIC = "traffic"
"""Value of `Diagnosis.key` when the traffic names a revision that doesn't exist, which `promote` fixes."""
_GONE = re.compile(r'(\w+) "([^"]+)" referenced in traffic not found')
_NOT_THERE = frozenset({"RevisionNotOwned", "RevisionNameTaken"})
_INGRESS = frozenset({"IngressNotConfigured", "Uninitialized", "CertificateNotReady"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedFunction:
    """A Knative Service with its latest created Revision, at one moment.

    Attributes:
        service: The Knative Service.
        revision: Latest created Revision; None when the function is ready, or it can't be read.
        diagnosis: Why the function isn't ready; None when it is, or when it only needs more time.
    """

    service: Object
    revision: Object | None = None
    diagnosis: Diagnosis | None = None

    @property
    def given_up(self) -> bool:
        """Whether Knative has given up the revision: after its progress deadline, it is never started again."""
        off = [condition(self.revision, kind).get("status") == "False" for kind in ("Active", "Ready")]
        return all(off) or condition(self.revision, "ResourcesAvailable").get("reason") == _DEADLINE


def read_function(cluster: Cluster, name: str, *, service: Object | None = None, now: float = 0.0) -> ObservedFunction:
    """Read a function, and diagnose it if it isn't ready.

    Args:
        service: The Service if it was read already.
    """
    service = service or cluster.get(KSERVICE, name)
    if service is None:
        raise absent_function(cluster, name)
    if is_ready(service):
        return ObservedFunction(service=service)
    created = str(status_of(service).get("latestCreatedRevisionName", ""))
    revision = read_permitted(lambda: cluster.get(REVISION, created), None) if created else None
    seen = ObservedFunction(service=service, revision=revision)
    return replace(seen, diagnosis=_diagnose(cluster, seen, created, now))


def _diagnose(cluster: Cluster, seen: ObservedFunction, created: str, now: float) -> Diagnosis | None:
    service, namespace = seen.service, namespace_of(seen.service)
    if not observed(service):
        return explain_unseen(service, now)
    configured = condition(service, "ConfigurationsReady")
    for state in (configured, condition(service, "RoutesReady"), condition(seen.revision, "ResourcesAvailable")):
        said = str(state.get("message", ""))
        if _OWNED.search(said) is not None or _CREATION in said:
            return explain_refusal(said, namespace)
    if configured.get("reason") == "OutOfDate":
        return None  # the Service still names the previous Revision
    if is_true(seen.revision, "Ready"):
        return _explain_routes(service, now)
    selector = f"{REVISION_LABEL}={created}"
    pods = read_permitted(lambda: cluster.list(POD, selector=selector), list[Manifest]())
    living = [pod for pod in pods if is_alive(pod)]
    found = diagnose_pods(cluster, living)
    if not living:
        # With a pod, a Revision still reports for a long time what no longer keeps the pod from starting.
        found = _explain_revision(seen.revision, namespace)
    return _add_deadline(found, seen, namespace) if seen.given_up else found


def _explain_routes(service: Object, now: float) -> Diagnosis | None:
    """Explain why requests don't reach a Revision that is ready; return None when they do, or may do so soon."""
    state = condition(service, "RoutesReady")
    reason, message = str(state.get("reason", "")), str(state.get("message", ""))
    if not state or state.get("status") == "True":
        return None
    gone = _GONE.search(message)
    if gone is not None or reason in _NOT_THERE:
        return Diagnosis(
            "routing",
            f"requests are routed to a revision that does not exist: {quote(gone[0] if gone else message)}",
            f"eaves promote {name_of(service)} --on knative",
            final=True,
            key=TRAFFIC,
        )
    since = parse_time(state.get("lastTransitionTime"))
    late = reason in _INGRESS and bool(now and since and now - since > MAX_DELAY_S)
    if not late and (state.get("status") != "False" or reason == "RevisionMissing"):
        return None
    nobody = reason == "IngressNotConfigured"
    why = "no networking layer processes the function's Ingress" if nobody else "the networking layer isn't ready"
    return Diagnosis(
        "routing",
        f"{why} ({quote(message) or reason})",
        "kubectl -n knative-serving get configmap config-network -o jsonpath='{.data.ingress-class}'   # this "
        "networking layer must run; `eaves doctor` checks it",
    )


def _explain_revision(revision: Object | None, namespace: str) -> Diagnosis | None:
    """Explain why a Revision isn't ready from its conditions, which keep the last words of pods that are gone."""
    for kind in ("ContainerHealthy", "ResourcesAvailable"):
        state = condition(revision, kind)
        reason, message = str(state.get("reason", "")), str(state.get("message", ""))
        if revision is None or state.get("status") != "False" or not reason:
            continue
        if reason == "FailedCreate":
            return explain_refusal(message, namespace)
        said: Manifest = {"waiting": {"reason": reason, "message": message}}
        if reason.startswith("ExitCode"):
            code, text = reason.removeprefix("ExitCode"), message.removeprefix("Container failed with: ")
            said = {"terminated": {"exitCode": code, "message": text}}
        placed = {"type": "PodScheduled", "status": str(reason != "Unschedulable"), "message": message}
        container = {"state": said, "name": CONTAINER, "image": image_of(revision)}
        found = explain_pod({**revision, "status": {"conditions": [placed], "containerStatuses": [container]}})
        if found is not None:
            return found
    return None


def _add_deadline(found: Diagnosis | None, seen: ObservedFunction, namespace: str) -> Diagnosis:
    """Return a final diagnosis, whose fix makes Knative try again; it has given up the revision."""
    name = name_of(seen.revision or {})
    again = f"kubectl -n {namespace} delete revisions.serving.knative.dev {name}"
    if found is None:
        return Diagnosis(
            "controller",
            f"the revision {name} did not become ready within its progress deadline, and Knative has stopped trying",
            "raise scale.start_timeout_s in eaves.yaml if the function starts slowly; kubectl -n "
            f"{namespace} get events shows for an hour why; this command makes Knative try again: {again}",
            final=True,
        )
    message = f"{found.message}; Knative has stopped trying to start the revision {name}"
    return replace(found, final=True, message=message, fix=f"{found.fix}; then make Knative try again: {again}")
