"""Observation of the pods and Events of a namespace, with the time at which each change arrived at this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from eaves.errors import ClusterError, DeniedError, UnreachableClusterError
from knative.client.kinds import EVENT, POD, ObjectKind

if TYPE_CHECKING:
    from knative.client.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedChange:
    """One change of a pod, or one Event about a pod.

    Attributes:
        at_s: Time at which the change arrived, seconds by this machine's monotonic clock.
        type: `ADDED`, `MODIFIED` or `DELETED`.
        object: The pod or the Event, as plain data.
    """

    at_s: float
    type: str
    object: dict[str, Any]


def require_watch(cluster: Cluster) -> None:
    """Check that the current user may watch pods and Events, so that no function is started without being observed.

    Raises:
        DeniedError: When the user lacks the verb `watch` on one of them.
        ClusterError: When the API server doesn't answer.
    """
    for kind in (POD, EVENT):
        if not cluster.allowed("watch", kind):
            raise DeniedError(
                f"{cluster.name}: a cold start can't be observed without the right to watch {kind.plural} in "
                f"{cluster.namespace}",
                hint="add the verb watch for pods and events to your Role",
            )


class StartObserver:
    """Watches the pods of a Knative Service and the Events about pods, each in its own thread, until `close`.

    A watch holds its connection open, so a thread ends at the latest after `timeout_s`.

    Args:
        cluster: Connection to the cluster.
        name: Name of the Knative Service, in the cluster's namespace.
        timeout_s: Maximum seconds to watch.
        clock: Function that returns monotonic seconds.
    """

    def __init__(
        self, cluster: Cluster, name: str, *, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster, self._timeout_s, self._clock = cluster, timeout_s, clock
        self._closed = threading.Event()
        self._begun: list[threading.Event] = []
        self._changes: list[ObservedChange] = []
        self._failure: ClusterError | None = None
        selector = f"serving.knative.dev/service={name}"
        self._start(POD, selector=selector)
        self._start(EVENT, fields="involvedObject.kind=Pod")

    def __enter__(self) -> Self:
        """Return the observer, which watches already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the observer."""
        self.close()

    def close(self) -> None:
        """Let the threads end at their next change, or when their connection ends."""
        self._closed.set()

    def wait_begun(self, timeout_s: float) -> None:
        """Wait until both watches have read what exists, so that they report every change from now on.

        Raises:
            ClusterError: When a watch failed.
            UnreachableClusterError: When one of them hasn't begun within the time.
        """
        deadline = self._clock() + timeout_s
        for begun in self._begun:
            if not begun.wait(max(0.0, deadline - self._clock())):
                raise UnreachableClusterError(
                    f"{self._cluster.name}: no list of pods and events within {timeout_s:.0f} s"
                )
        self.changes()

    def changes(self) -> Sequence[ObservedChange]:
        """Return all changes so far, in the order of their arrival.

        Raises:
            ClusterError: When a watch failed, for example because the user lacks the verb `watch`.
        """
        if self._failure is not None:
            raise self._failure
        return sorted(self._changes, key=lambda change: change.at_s)

    def _start(self, kind: ObjectKind, *, selector: str = "", fields: str = "") -> None:
        begun = threading.Event()
        self._begun.append(begun)

        def follow() -> None:
            try:
                for change, item in self._cluster.watch(
                    kind,
                    selector=selector,
                    fields=fields,
                    timeout_s=self._timeout_s,
                    begun=begun.set,
                    given_up=self._closed.is_set,
                ):
                    if self._closed.is_set():
                        return
                    self._changes.append(ObservedChange(at_s=self._clock(), type=change, object=item))
            except ClusterError as error:
                self._failure = error
                begun.set()

        threading.Thread(target=follow, name=f"watch {kind.plural}", daemon=True).start()
