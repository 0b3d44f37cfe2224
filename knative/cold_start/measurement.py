"""Measurement of one cold start: wait until nothing runs, send one request, observe the start."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from eaves.delivery.client import HttpAnswer
from eaves.errors import ClusterError, PlatformError, StartError
from eaves.platform.cold_start import FIRST_PREDICTION, ColdStart, find_stages, place_stages
from eaves.web.problem_document import parse_problem
from knative.client.kinds import POD
from knative.cold_start.observer import StartObserver, require_watch
from knative.cold_start.target import ColdTarget
from knative.cold_start.timeline import PodTimeline, build_timeline

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

WARM_REQUESTS = 3
"""Requests to the running replica after a cold start; the fastest is the measure of the way to it and back."""
BEGIN_S = 30.0
"""Maximum seconds until the watches have begun."""
SETTLED_S = 5.0
"""Maximum seconds after the answer until the node's Events and the log's line have arrived."""
GRACE_S = 90.0
"""Seconds beyond the window until the last pod is gone: Knative's grace period of 30 s, and the pod's own end.

Source: knative/serving, config-autoscaler, scale-to-zero-grace-period.
"""
LOG_LINES = 200
POLL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdRequest:
    """The request that starts a function.

    Attributes:
        method: HTTP method.
        headers: Headers, such as Content-Type.
        body: Body.
        timeout_s: Maximum seconds until the answer.
    """

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    body: bytes = b""
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroWait:
    """How to wait until a function has no pods.

    Attributes:
        grace_s: Maximum seconds beyond the function's window.
        show: Function that gets the number of pods whenever it has changed.
        sleep: Function that waits for a number of seconds.
        clock: Function that returns monotonic seconds.
    """

    grace_s: float = GRACE_S
    show: Callable[[int], object] = lambda _: None
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic


def require_zero(cluster: Cluster, target: ColdTarget) -> None:
    """Check that no pod of a function exists, so that the next request is a cold start and disturbs nobody.

    Raises:
        StartError: When there are pods, also pods that are ending.
    """
    if count := _count_pods(cluster, target):
        pods = "1 pod exists" if count == 1 else f"{count} pods exist"
        raise StartError(
            f"{target.name} is not at zero: {pods}",
            hint="wait until it is at zero; eaves doctor --cold-start --wait does",
        )


def wait_zero(cluster: Cluster, target: ColdTarget, how: ZeroWait | None = None) -> None:
    """Wait until no pod of a function exists.

    Raises:
        StartError: When pods exist at the end of the time, because others send requests.
    """
    how = how or ZeroWait()
    deadline, shown = how.clock() + target.window_s + how.grace_s, 0
    while count := _count_pods(cluster, target):
        if count != shown:
            how.show(count)
            shown = count
        if how.clock() >= deadline:
            message = f"{target.name} did not scale to zero within {target.window_s + how.grace_s:.0f} s"
            raise StartError(message, hint="stop what sends requests to it, and try again")
        how.sleep(POLL_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdSubject:
    """A Knative Service with the request that starts it."""

    target: ColdTarget
    request: ColdRequest


def measure_in_turn(
    cluster: Cluster,
    subjects: Sequence[ColdSubject],
    repeats: int,
    *,
    how: Callable[[ColdTarget], ZeroWait] = lambda _: ZeroWait(),
    show: Callable[[ColdTarget, ColdStart], object] = lambda target, start: None,
) -> list[list[ColdStart]]:
    """Measure cold starts of several Knative Services in turn, so that drift of the cluster affects all of them.

    Each round begins when none of them has pods. The next one starts while the last one still has its replica, which is
    idle then.

    Args:
        cluster: Connection to the cluster.
        subjects: What is measured; each round begins with another one.
        repeats: Number of rounds.
        how: Function that returns how to wait for one of them.
        show: Function that gets each result.

    Returns:
        The cold starts of each subject, in the order of `subjects`.

    Raises:
        StartError: When one of them doesn't scale to zero, or is started by another sender.
        PlatformError: When one of them answers with an error.
        ClusterError: When the cluster doesn't answer a request.
    """
    found: list[list[ColdStart]] = [[] for _ in subjects]
    for number in range(repeats):
        for subject in subjects:
            wait_zero(cluster, subject.target, how(subject.target))
        first = number % len(subjects)
        for place in [*range(first, len(subjects)), *range(first)]:
            start = measure_cold_start(cluster, subjects[place].target, subjects[place].request)
            found[place].append(start)
            show(subjects[place].target, start)
    return found


def measure_cold_start(cluster: Cluster, target: ColdTarget, request: ColdRequest) -> ColdStart:
    """Send one request to a function without pods, and observe its start.

    Raises:
        StartError: When the function isn't at zero, or another sender started it first.
        PlatformError: When the function answers with an error.
        DeniedError: When the user may not watch pods and Events.
        ClusterError: When the cluster doesn't answer a request.
    """
    require_watch(cluster)
    with StartObserver(cluster, target.name, timeout_s=BEGIN_S + request.timeout_s + SETTLED_S) as observer:
        require_zero(cluster, target)  # meanwhile the watches begin
        observer.wait_begun(BEGIN_S)
        sent_at_s = time.monotonic()
        _send(cluster, target, request)
        total_s = time.monotonic() - sent_at_s
        warm, way_back_ms = _measure_warm(cluster, target, request)
        timeline = _settle(observer, target, sent_at_s)
    ends_ms = {phase: (end - sent_at_s) * 1000 for phase, end in timeline.ends_s.items()}
    total_ms = total_s * 1000
    placed = place_stages(_read_stages(cluster, target, timeline.pod), total_ms - way_back_ms)
    if placed:
        ends_ms |= {"container": placed.pop("launch"), **placed}
    elif timeline.started_s is not None:
        ends_ms.pop("sidecar", None)  # it overlaps with the process, whose stages aren't known
        ends_ms |= {"container": (timeline.started_s - sent_at_s) * 1000, "process": total_ms - way_back_ms}
    return ColdStart(ends_ms=ends_ms, total_ms=total_ms, warm_ms=warm, pulled=timeline.pulled)


def _count_pods(cluster: Cluster, target: ColdTarget) -> int:
    return len(cluster.list(POD, selector=f"serving.knative.dev/service={target.name}"))


def _send(cluster: Cluster, target: ColdTarget, request: ColdRequest) -> HttpAnswer:
    answer = cluster.proxy(
        target.route.target,
        target.route.path,
        method=request.method,
        headers={**request.headers, "Host": target.route.host},
        body=request.body,
        timeout_s=request.timeout_s,
        namespace=target.route.namespace,
    )
    if answer.status >= 400:
        problem = parse_problem(answer.body)
        detail = str(problem.get("detail") or answer.body[:200].decode(errors="replace"))
        hint = (
            "send another file with --image"
            if answer.status in {400, 415, 422}
            else f"eaves logs {target.name} --on knative"
        )
        raise PlatformError(f"{target.name} answered {answer.status}: {detail}", hint=hint)
    return answer


def _measure_warm(cluster: Cluster, target: ColdTarget, request: ColdRequest) -> tuple[float, float]:
    """Return (latency of the fastest warm request, half of it without the function's own part), milliseconds."""
    answers = [_send(cluster, target, request) for _ in range(WARM_REQUESTS)]
    ways = [max(0.0, answer.latency_ms - _own_ms(answer)) for answer in answers]
    return min(answer.latency_ms for answer in answers), min(ways) / 2


def _own_ms(answer: HttpAnswer) -> float:
    """Return the milliseconds that a function reports for its own stages; 0 for other servers."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        return float(sum(json.loads(answer.body)["timings_ms"].values()))
    return 0.0


def _settle(observer: StartObserver, target: ColdTarget, sent_at_s: float) -> PodTimeline:
    """Wait until the starts of all containers are observed; return what is observed at the end of the time.

    Raises:
        StartError: When no new pod was observed.
    """
    deadline = time.monotonic() + SETTLED_S
    while True:
        timeline = build_timeline(observer.changes(), target.container, sent_at_s)
        if timeline is not None and timeline.complete:
            return timeline
        if time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    if timeline is None:
        message = f"no new pod of {target.name} was observed, so another sender has started it before"
        raise StartError(message, hint="stop what sends requests to it, and try again")
    return timeline


def _read_stages(cluster: Cluster, target: ColdTarget, pod: str) -> Mapping[str, float]:
    """Read the stages of the process's start from its log; empty when it doesn't log them."""
    deadline = time.monotonic() + SETTLED_S
    while target.timing:
        with suppress(ClusterError):  # a user who may not read logs gets the phases of the pod
            found = find_stages(cluster.logs(pod, container=target.container, lines=LOG_LINES))
            if found is not None and FIRST_PREDICTION in found:
                return found
        if time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    return {}
