"""Wait until a deployment is ready. The wait shows the progress, and ends early when the app can't become ready.

`wait_ready` waits only for the function, `wait_whole` waits for every part of the app.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eaves.errors import StartError, UnreachableClusterError
from knative.client.kinds import KSERVICE
from knative.diagnosis import Diagnosis, diagnose_function, is_ready, observed
from knative.diagnosis.evidence import Object, condition
from knative.diagnosis.evidence_reader import EvidenceReader
from knative.diagnosis.routing import leads_nowhere
from knative.readiness.part_reader import Key, PartReader, wanted_parts
from knative.readiness.parts import READY, UNKNOWN, AppPart
from knative.readiness.progress import DeploymentProgress, build_progress
from knative.readiness.sink_bindings import BindingToucher
from knative.readiness.wait_limit import PATIENCE_S, WaitLimit

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

ROUTED_S = 30.0
"""Maximum seconds to wait until the gateway applies new traffic, which takes a second or two."""
LOOK_S = 2.0
"""Seconds between two reads of the pods. Most of their faults never show in the Service before its deadline."""


def wait_ready(
    cluster: Cluster,
    name: str,
    *,
    timeout_s: float,
    show: Callable[[DeploymentProgress], None] = lambda _: None,
    look_s: float = LOOK_S,
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
        look_s: Seconds between two reads; changes of the Service itself are seen at once.

    Raises:
        StartError: When the function doesn't become ready; the message names the reason, the hint the fix.
        UnreachableClusterError: When the cluster didn't answer at the end of the time.
        ClusterError: When the cluster refuses a request.
    """
    waiting = _Waiting(cluster, name, timeout_s=timeout_s, look_s=look_s, show=show)
    while True:
        try:
            if waiting.check_function():
                return
        except UnreachableClusterError as error:
            waiting.report_silence(error)


def wait_whole(
    cluster: Cluster,
    name: str,
    manifests: Iterable[Mapping[str, Any]],
    *,
    timeout_s: float,
    show: Callable[[DeploymentProgress], None] = lambda _: None,
    look_s: float = LOOK_S,
    patience_s: float = PATIENCE_S,
) -> None:
    """Wait until the function and every other part of its app are ready.

    The wait excludes pins of container images, since nodes may be away for long. A SinkBinding that reports an
    unresolved sink although its Broker is ready is annotated, so that Knative reconciles it.

    Args:
        cluster: Connection to the cluster.
        name: Name of the Knative Service, in the cluster's namespace.
        manifests: Every object of the app as it was applied.
        timeout_s: Maximum seconds to wait for all parts together.
        show: Function that gets the progress after every read, in this thread.
        look_s: Seconds between two reads.
        patience_s: Seconds that a part may have the same fault once the function is ready.

    Raises:
        StartError: When a part doesn't become ready; the message names the part and the reason, the hint the fix.
        UnreachableClusterError: When the cluster didn't answer at the end of the time.
        ClusterError: When the cluster refuses a request.
    """
    wanted = wanted_parts(manifests, cluster.namespace)
    waiting = _Waiting(
        cluster, name, timeout_s=timeout_s, look_s=look_s, show=show, wanted=wanted, patience_s=patience_s
    )
    while True:
        try:
            ready = waiting.check_function()
            if waiting.check_parts(function_ready=ready):
                return
        except UnreachableClusterError as error:
            waiting.report_silence(error)


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
    for event, service in cluster.watch(KSERVICE, fields=f"metadata.name={name}", timeout_s=timeout_s):
        if event == "DELETED":
            return False
        if observed(service) and condition(service, "RoutesReady").get("status") == "True":
            return True
    return False


class _Waiting:
    """The state of one wait for a deployment: the last progress, the last fault, and the time limits."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        timeout_s: float,
        look_s: float,
        show: Callable[[DeploymentProgress], None],
        wanted: Sequence[Key] = (),
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._cluster, self._name, self._show, self._look_s = cluster, name, show, look_s
        self._reader = EvidenceReader(cluster)
        self._began, self._timeout_s = time.monotonic(), timeout_s
        self._ahead_s: float | None = None
        self._seen = DeploymentProgress(name=name)
        self._last: Diagnosis | None = None
        self._certain: tuple[str, float] | None = None
        self._wanted, self._part_reader, self._toucher = wanted, PartReader(cluster), BindingToucher(cluster)
        self._patience = WaitLimit(certain_s=look_s / 2, patience_s=patience_s)

    @property
    def _left_s(self) -> float:
        return self._began + self._timeout_s - time.monotonic()

    def check_function(self) -> bool:
        """Follow the Service until the next read of the pods is due; return whether the function is ready."""
        there = False
        fields = f"metadata.name={self._name}"
        seconds = max(0.05, min(self._look_s, self._left_s))
        for event, service in self._cluster.watch(KSERVICE, fields=fields, timeout_s=seconds):
            there = event != "DELETED"
            if there and self._judge(service):
                return True
        if not there:
            raise StartError(
                f"the function {self._name} no longer exists in {self._cluster.namespace}: another user removed it",
                hint="eaves deploy --on knative",
            )
        if self._left_s <= 0:
            raise self._late()
        return False

    def check_parts(self, *, function_ready: bool) -> bool:
        """Read the other parts of the app; return whether all are ready. If not, wait until the next read is due.

        Raises:
            StartError: When a part can't become ready, or the time limit has passed.
        """
        parts = self._part_reader.read(self._wanted, now=self._now())
        self._seen = replace(self._seen, parts=parts)
        self._report()
        left = [part for part in parts if part.state not in {READY, UNKNOWN}]
        if function_ready and not left:
            return True
        self._toucher.touch(left)
        self._judge_parts(left, function_ready=function_ready)
        if self._left_s <= 0:
            raise self._late_parts(left) if function_ready else self._late()
        if function_ready:
            time.sleep(max(0.0, min(self._look_s, self._left_s)))
        return False

    def report_silence(self, error: UnreachableClusterError) -> None:
        """Show that the cluster doesn't answer, and wait until the next attempt is due.

        Raises:
            UnreachableClusterError: When the time limit has passed.
        """
        if self._left_s <= 0:
            raise error
        self._report(unreachable=error.message)
        time.sleep(max(0.0, min(self._look_s, self._left_s)))

    def _judge(self, service: Object) -> bool:
        """Show the progress that a Service and its pods have made; return whether the function is ready.

        Raises:
            StartError: When the function can't become ready.
        """
        evidence = self._reader.collect(self._name, service=service, now=self._now())
        found = diagnose_function(evidence)
        self._seen = build_progress(evidence, found)
        self._report()
        if is_ready(service) or (found is not None and leads_nowhere(service)):
            return True  # the rollout corrects the traffic, once it knows a revision that can answer
        self._last = found or self._last
        if found is not None and self._is_certain(found):
            raise StartError(f"{self._name} can't start: {found.message}", hint=found.fix)
        return False

    def _judge_parts(self, left: Sequence[AppPart], *, function_ready: bool) -> None:
        """Raise an error when one of the parts that aren't ready can't become ready any more.

        Raises:
            StartError: When one of the parts has kept its fault for longer than the limit.
        """
        hopeless = self._patience.find_hopeless(left, time.monotonic(), function_ready=function_ready)
        if hopeless is not None and hopeless.diagnosis is not None:
            text = _name_parts([hopeless, *(part for part in left if part is not hopeless)])
            raise StartError(f"parts of {self._name} can't become ready: {text}", hint=hopeless.diagnosis.fix)

    def _late_parts(self, left: Sequence[AppPart]) -> StartError:
        wrong = [part for part in left if part.diagnosis is not None]
        hint = wrong[0].diagnosis.fix if wrong and wrong[0].diagnosis is not None else None
        ordered = [*wrong, *(part for part in left if part.diagnosis is None)]
        return StartError(
            f"{self._name} was not ready within {self._timeout_s:g} s: {_name_parts(ordered)}",
            hint=hint or "eaves status --on knative",
        )

    def _is_certain(self, found: Diagnosis) -> bool:
        """Return whether two reads in a row found the same final fault.

        One read is not enough, because it may show a pod that is just being replaced.
        """
        now = time.monotonic()
        if not found.final:
            self._certain = None
            return False
        if self._certain is None or self._certain[0] != found.cause:
            self._certain = found.cause, now
        return now - self._certain[1] >= self._look_s / 2

    def _report(self, *, unreachable: str = "") -> None:
        waited_s = time.monotonic() - self._began
        self._show(replace(self._seen, waited_s=waited_s, unreachable=unreachable))

    def _now(self) -> float:
        """Return the API server's clock in Unix seconds.

        It is read once; afterwards this machine's clock measures the time.
        """
        if self._ahead_s is None:
            self._ahead_s = self._cluster.clock() - time.time()
        return time.time() + self._ahead_s

    def _late(self) -> StartError:
        waited = f"{self._name} was not ready within {self._timeout_s:g} s"
        if self._last is not None:
            return StartError(f"{waited}: {self._last.message}", hint=self._last.fix)
        seen = self._seen
        pods = "; ".join(f"{pod.name} {pod.state} {pod.ready}" for pod in seen.pods) or "no pods"
        return StartError(
            f"{waited}; last state: revision {seen.revision or 'none'}, {seen.reason or seen.ready}, {pods}",
            hint=f"eaves logs {self._name} --on knative",
        )


def _name_parts(parts: Sequence[AppPart]) -> str:
    """Return a text with the first part and its reason, and with the names of the other parts."""
    first, *others = parts
    text = f"{first.title}: {first.reason}"
    return f"{text}; also not ready: {', '.join(part.title for part in others)}" if others else text
