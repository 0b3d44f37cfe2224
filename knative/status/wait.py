"""Wait until a deployment is ready. The wait shows the progress, and ends early when the app can't become ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from eaves.errors import StartError, UnreachableClusterError
from eaves.platform import PartStatus
from knative.client.cluster import Cluster
from knative.client.kinds import KSERVICE, Object, status_of
from knative.status.conditions import condition, is_ready, is_true, name_of, observed
from knative.status.diagnosis import TRAFFIC, UNSEEN, ObservedFunction, read_function
from knative.status.parts import READY, UNKNOWN, PartReader, key_of, unready_part, wanted_parts

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


def wait_routed(cluster: Cluster, name: str, *, timeout_s: float = ROUTED_S) -> bool:
    """Wait until the gateway applies the Service's traffic; return False when it doesn't within the time limit.

    The newest revision need not be ready: after a rollback it may fail permanently.

    Source: knative/serving, pkg/reconciler/route: RoutesReady once every gateway pod answers for the new shares.

    Args:
        cluster: Connection to the cluster.
        name: Name of the Knative Service, in the cluster's namespace.
        timeout_s: Maximum seconds to wait.

    Raises:
        ClusterError: When the cluster refuses a request.
    """
    for service in cluster.watch(KSERVICE, name, timeout_s=timeout_s):
        if service is None:
            return False
        if observed(service) and is_true(service, "RoutesReady"):
            return True
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
