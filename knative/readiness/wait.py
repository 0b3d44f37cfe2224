"""Wait until a deployment is ready. The wait shows the progress, and ends early when the app can't become ready.

`wait_ready` waits only for the function, `wait_whole` waits for every part of the app.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eaves.errors import AbsentError, StartError, UnreachableClusterError
from eaves.platform import PartStatus
from knative.client.kinds import BROKER, CONTAINER_SOURCE, KSERVICE, SINK_BINDING
from knative.readiness.conditions import (
    Diagnosis,
    Object,
    condition,
    containers,
    is_alive,
    is_ready,
    is_true,
    name_of,
    namespace_of,
    observed,
)
from knative.readiness.diagnosis import UNSEEN, FunctionReader, ObservedFunction, leads_nowhere
from knative.readiness.parts import DESTINATION, READY, UNKNOWN, Key, PartReader, wanted_parts
from knative.resources.metadata import TOUCH_MANAGER, TOUCHED_ANNOTATION

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

ROUTED_S = 30.0
"""Maximum seconds to wait until the gateway applies new traffic, which takes a second or two."""
POLL_S = 2.0
"""Seconds between two reads of the pods. Most of their faults never show in the Service before its deadline."""
PATIENCE_S = 60.0
"""Maximum seconds that a part may have the same fault once the function is ready; a new Broker takes a few seconds to
become ready."""
TOUCH_S = 10.0
"""Minimum seconds before a SinkBinding is annotated again; Knative takes one or two seconds to reconcile it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentProgress:
    """The progress of a deployment, for a table on the terminal.

    Attributes:
        function: What, state and detail of the latest created revision, and of each of its pods.
        parts: The other parts of the app, if the deploy waits for them.
        diagnosis: The present fault of the function; None when there is none.
        waited_s: Seconds since the wait began.
        unreachable: Reason why the API server doesn't answer at present; the other values are then the last known ones.
            Empty when it answers.
    """

    function: Sequence[tuple[str, str, str]] = ()
    parts: Sequence[PartStatus] = ()
    diagnosis: Diagnosis | None = None
    waited_s: float = 0.0
    unreachable: str = ""

    def rows(self) -> list[dict[str, str]]:
        """Build rows of `what`, `state`, `detail`: the revision, its pods, unready parts, then the fault."""
        unready = [part for part in self.parts if part.state != READY]
        found = [*self.function, *((part.title, part.cause or part.state, part.reason) for part in unready)]
        if self.unreachable:
            found.append(("cluster", "no answer", self.unreachable))
        elif self.diagnosis is not None:
            found.append(("cause", self.diagnosis.cause, self.diagnosis.message))
        return [{"what": what, "state": state, "detail": detail} for what, state, detail in found]


def wait_ready(
    cluster: Cluster,
    name: str,
    *,
    timeout_s: float,
    show: Callable[[DeploymentProgress], None] = lambda _: None,
    poll_s: float = POLL_S,
) -> None:
    """Wait until the function's newest revision can answer requests, whether it gets any yet or not.

    The wait shows faults that may disappear by themselves, and ends early for a fault that doesn't. It also ends when
    the traffic names a revision that no longer exists, which `promote` fixes. It continues while the cluster can't be
    reached.

    Args:
        cluster: Connection to the cluster.
        name: Name of the Knative Service, in the cluster's namespace.
        timeout_s: Maximum seconds to wait.
        show: Function that gets the progress after every read, in this thread.
        poll_s: Seconds between two reads; changes of the Service itself are seen at once.

    Raises:
        StartError: When the function doesn't become ready; the message names the reason, the hint the fix.
        UnreachableClusterError: When the cluster didn't answer at the end of the time.
        ClusterError: When the cluster refuses a request.
    """
    wait_whole(cluster, name, (), timeout_s=timeout_s, show=show, poll_s=poll_s)


def wait_whole(
    cluster: Cluster,
    name: str,
    manifests: Iterable[Mapping[str, Any]],
    *,
    timeout_s: float,
    show: Callable[[DeploymentProgress], None] = lambda _: None,
    poll_s: float = POLL_S,
    patience_s: float = PATIENCE_S,
) -> None:
    """Wait until the function and every other part of its app are ready, as `wait_ready` does.

    The wait excludes pins of container images, since nodes may be away for long. A SinkBinding that reports an
    unresolved sink although its Broker is ready is annotated, so that Knative reconciles it.

    Args:
        cluster: Connection to the cluster.
        name: Name of the Knative Service, in the cluster's namespace.
        manifests: Every object of the app as it was applied.
        timeout_s: Maximum seconds to wait for all parts together.
        show: Function that gets the progress after every read, in this thread.
        poll_s: Seconds between two reads.
        patience_s: Seconds that a part may have the same fault once the function is ready.

    Raises:
        StartError: When a part doesn't become ready; the message names the part and the reason, the hint the fix.
        UnreachableClusterError: When the cluster didn't answer at the end of the time.
        ClusterError: When the cluster refuses a request.
    """
    wanted = wanted_parts(manifests, cluster.namespace)
    waiting = _Waiting(cluster, name, wanted, show, timeout_s=timeout_s, poll_s=poll_s, patience_s=patience_s)
    while not waiting.look():
        pass


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


class _Waiting:
    """The state of one wait for a deployment: the last progress, the last fault, and the time limits."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        wanted: Sequence[Key],
        show: Callable[[DeploymentProgress], None],
        *,
        timeout_s: float,
        poll_s: float,
        patience_s: float,
    ) -> None:
        self._cluster, self._name, self._wanted, self._show = cluster, name, wanted, show
        self._timeout_s, self._look_s, self._patience_s = timeout_s, poll_s, patience_s
        self._functions, self._parts = FunctionReader(cluster), PartReader(cluster)
        self._began, self._next_touch = time.monotonic(), 0.0
        self._ahead_s: float | None = None
        self._seen = DeploymentProgress()
        self._last: Diagnosis | None = None
        self._since: dict[str, tuple[str, float]] = {}

    def look(self) -> bool:
        """Read the function, and the parts if there are some; return whether all are ready.

        Raises:
            StartError: When the function or a part can't become ready, or the time limit has passed.
            UnreachableClusterError: When the time limit has passed while the cluster didn't answer.
        """
        try:
            ready = self._check_function()
            return self._check_parts(function_ready=ready) if self._wanted else ready
        except UnreachableClusterError as error:
            if self._left_s <= 0:
                raise
            self._report(unreachable=error.message)
            self._pause()
            return False

    @property
    def _left_s(self) -> float:
        return self._began + self._timeout_s - time.monotonic()

    def _pause(self) -> None:
        time.sleep(max(0.0, min(self._look_s, self._left_s)))

    def _check_function(self) -> bool:
        """Follow the Service until the next read of the pods is due; return whether the function is ready."""
        there = False
        seconds = max(0.05, min(self._look_s, self._left_s))
        for service in self._cluster.watch(KSERVICE, self._name, timeout_s=seconds):
            there = service is not None
            if service is not None and self._judge(service):
                return True
        if not there:
            raise StartError(
                f"the function {self._name} no longer exists in {self._cluster.namespace}: another user removed it",
                hint="eaves deploy --on knative",
            )
        if self._left_s <= 0:
            raise self._late()
        return False

    def _judge(self, service: Object) -> bool:
        """Show the progress that a Service and its pods have made; return whether the function is ready."""
        seen = self._functions.read(self._name, service=service, now=self._now())
        found = seen.diagnosis
        self._seen = DeploymentProgress(function=_describe(seen), diagnosis=found)
        self._report()
        if is_ready(service) or (found is not None and leads_nowhere(service)):
            return True  # the rollout corrects the traffic, once it knows a revision that can answer
        self._last = found or self._last
        if self._is_hopeless("", found.cause if found and found.final else "", final=True) and found is not None:
            raise StartError(f"{self._name} can't start: {found.message}", hint=found.fix)
        return False

    def _check_parts(self, *, function_ready: bool) -> bool:
        """Read the other parts of the app; return whether all are ready. If not, wait until the next read is due."""
        parts = self._parts.read(self._wanted, now=self._now())
        self._seen = replace(self._seen, parts=parts)
        self._report()
        left = [part for part in parts if part.state not in {READY, UNKNOWN}]
        if function_ready and not left:
            return True
        self._touch_bindings(left)
        for part in left:
            counts = part.final or (function_ready and part.cause != UNSEEN)
            if self._is_hopeless(part.title, part.cause if counts else "", final=part.final):
                text = _name_parts([part, *(one for one in left if one is not part)])
                raise StartError(f"parts of {self._name} can't become ready: {text}", hint=part.fix)
        if self._left_s <= 0:
            raise self._late_parts(left) if function_ready else self._late()
        if function_ready:
            self._pause()
        return False

    def _is_hopeless(self, title: str, cause: str, *, final: bool) -> bool:
        """Return whether the function (without a title), or a part, has had its fault for too long.

        One read of a fault that does not go away by itself (`final`) is not enough, because it may show a pod that is
        just being replaced. Another fault of a part counts once the function is ready, since a Trigger whose subscriber
        is the function can't be ready before. A part whose controller hasn't processed its last change is never
        hopeless, because its conditions are those of an earlier time. Without a cause, no fault counts at present.
        """
        now = time.monotonic()
        before, since = self._since.get(title, ("", now))
        self._since[title] = cause, since if cause == before else now
        return bool(cause) and now - self._since[title][1] >= (self._look_s / 2 if final else self._patience_s)

    def _touch_bindings(self, left: Sequence[PartStatus]) -> None:
        """Annotate SinkBindings that report an unresolved sink although every Broker is ready.

        Knative's webhook writes the sink of an agent that is changed into the copy of the SinkBinding that the
        reconciler compares with, so a sink that was gone and is back is never reported. Any change of the SinkBinding
        makes Knative reconcile it. Source: knative.dev/pkg, webhook/psbinding/psbinding.go; seen with Eventing 1.22.
        """
        kinds = {SINK_BINDING.kind, CONTAINER_SOURCE.kind}
        waiting = [part for part in left if part.kind in kinds and part.cause == DESTINATION]
        bound = {(one.namespace, one.kind, one.name) for one in waiting}
        if any(part.kind == BROKER.kind for part in left) or not bound or time.monotonic() < self._next_touch:
            return
        self._next_touch = time.monotonic() + TOUCH_S
        for namespace in sorted({place for place, _, _ in bound}):
            for one in self._cluster.list(SINK_BINDING, namespace=namespace):
                owners = one["metadata"].get("ownerReferences") or ()  # Knative makes one for a ContainerSource
                names = {(SINK_BINDING.kind, name_of(one)), *((owner["kind"], owner["name"]) for owner in owners)}
                resolved = condition(one, "SinkProvided").get("status") != "False"
                if not resolved and any((namespace, *name) in bound for name in names):
                    self._touch(one)

    def _touch(self, binding: Object) -> None:
        change = {"metadata": {"annotations": {TOUCHED_ANNOTATION: datetime.now(UTC).isoformat()}}}
        _log.info("an annotation makes Knative process the SinkBinding %s again", name_of(binding))
        with suppress(AbsentError):  # it was deleted in between
            self._cluster.patch(
                SINK_BINDING, name_of(binding), change, manager=TOUCH_MANAGER, namespace=namespace_of(binding)
            )

    def _report(self, *, unreachable: str = "") -> None:
        waited_s = time.monotonic() - self._began
        self._show(replace(self._seen, waited_s=waited_s, unreachable=unreachable))

    def _now(self) -> float:
        """Return the API server's clock in Unix seconds, read once; this machine's clock measures the rest."""
        if self._ahead_s is None:
            self._ahead_s = self._cluster.clock() - time.time()
        return time.time() + self._ahead_s

    def _late_parts(self, left: Sequence[PartStatus]) -> StartError:
        first, *others = sorted(left, key=lambda part: not part.cause)
        return StartError(
            f"{self._name} was not ready within {self._timeout_s:g} s: {_name_parts([first, *others])}",
            hint=first.fix or "eaves status --on knative",
        )

    def _late(self) -> StartError:
        waited = f"{self._name} was not ready within {self._timeout_s:g} s"
        if self._last is not None:
            return StartError(f"{waited}: {self._last.message}", hint=self._last.fix)
        state = "; ".join(" ".join(filter(None, row)) for row in self._seen.function)
        return StartError(f"{waited}; last state: {state}", hint=f"eaves logs {self._name} --on knative")


def _name_parts(parts: Sequence[PartStatus]) -> str:
    """Return a text with the first part and its reason, and with the names of the other parts."""
    first, *others = parts
    text = f"{first.title}: {first.reason}"
    return f"{text}; also not ready: {', '.join(part.title for part in others)}" if others else text


def _describe(seen: ObservedFunction) -> list[tuple[str, str, str]]:
    """Return what, state and detail of a function's latest created revision, and of each of its pods."""
    status = seen.service.get("status", {})
    state = condition(seen.service, "Ready") if observed(seen.service) else {"reason": "OutOfDate"}
    why = f" ({state['reason']})" if state.get("reason") else ""
    shares = [
        f"{one['percent']} % {one.get('revisionName')}" for one in status.get("traffic") or () if one.get("percent")
    ]
    revision = str(status.get("latestCreatedRevisionName") or name_of(seen.service))
    ready = "ready" if state.get("status") == "True" else f"not ready{why}"
    return [(revision, ready, ", ".join(shares)), *map(_describe_pod, seen.pods)]


def _describe_pod(pod: Object) -> tuple[str, str, str]:
    """Describe a pod in the words of `kubectl get pods`."""
    statuses, spec = list(containers(pod)), pod.get("spec", {})
    states = [one.get("state") or {} for one in statuses]
    reasons = [str((one.get("waiting") or one.get("terminated") or {}).get("reason", "")) for one in states]
    phase = "Ready" if is_true(pod, "Ready") else str(pod.get("status", {}).get("phase", "Pending"))
    restarts = sum(int(one.get("restartCount") or 0) for one in statuses)
    detail = f"{sum(bool(one.get('ready')) for one in statuses)}/{len(spec.get('containers', []))}"
    detail += f", restarted {restarts} times" if restarts else ""
    detail += f" on {spec['nodeName']}" if spec.get("nodeName") else ""
    state = next(filter(None, reasons), phase) if is_alive(pod) else "Terminating"
    return name_of(pod), state, detail
