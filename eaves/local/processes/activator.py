"""Scaling of one function's replicas from zero and back.

The activator holds a function's requests until a replica is ready, starts replicas on demand and stops idle ones. A
thread, the keeper, does the latter two.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from eaves.base.backoff import Backoff
from eaves.base.process_usage import ProcessUsage, read_usage
from eaves.delivery import SinkClient, SinkResponse
from eaves.errors import DeliveryError, OverloadedError, StartError
from eaves.events import Event
from eaves.http_client.client import HttpAnswer
from eaves.local.processes.process import HOST, Child, Failures, ProcessHost, describe_exception, find_free_port
from eaves.local.state import LocalFunction
from eaves.problem_document import find_kind, parse_problem

_log = logging.getLogger(__name__)

POLL_S = 0.02
"""Interval at which the activator's thread checks whether a starting replica is ready, seconds."""
KEEP_S = 0.25
"""Interval at which the activator's thread checks for dead and idle replicas, seconds."""
REST_S = 60.0
"""Maximum time that the activator's thread sleeps while there are no replicas and no requests, seconds; a request wakes
it at once."""
LEAVE_S = 30.0
"""Time after which a replica that was asked to stop is killed, seconds. A function finishes its requests within 25
s."""
PROBE_TIMEOUT_S = 2.0
"""Time limit of one readiness probe, seconds."""
RESTART = Backoff(retry=None, first_s=1.0, cap_s=30.0)
"""Pauses between attempts to start a replica that failed to start."""
FAILED_STARTS = 3
"""Number of starts in a row that fail before a function counts as one that can't start: one alone may have another
cause, such as a port that another program took in the same moment."""


@dataclass(slots=True, eq=False)
class Replica:
    """One function process and its current state.

    Attributes:
        process: The process.
        client: Client for requests to the process.
        url: URL of the process.
        started_at: Time of the start, by the clock's monotonic seconds.
        idle_since: End of the last request, or the time when the replica became ready, by the clock's monotonic
            seconds.
        ready: Whether the replica has answered a readiness probe with success.
        inflight: Number of requests in progress.
    """

    process: Child
    client: SinkClient
    url: str
    started_at: float
    idle_since: float
    ready: bool = False
    inflight: int = 0


def concurrency_of(spec: LocalFunction) -> int:
    """Return the number of requests that one replica serves at the same time."""
    return spec.concurrency or len(os.sched_getaffinity(0))


def capacity_of(spec: LocalFunction) -> int:
    """Return the number of requests that a function serves at the same time when fully scaled."""
    return concurrency_of(spec) * spec.scale.max


def probe(replica: Replica) -> tuple[bool, str]:
    """Probe whether a replica is ready.

    Returns:
        Whether the replica is ready, and the reason why it can't become ready; the reason is empty while the replica
            still loads its model.
    """
    try:
        answer = replica.client.request("GET", f"{replica.url}health/readiness", timeout_s=PROBE_TIMEOUT_S)
    except DeliveryError:
        return False, ""
    if answer.status == 200:
        return True, ""
    problem = parse_problem(answer.body)
    if find_kind(problem) == "loading":
        return False, ""
    return False, str(problem.get("detail") or f"its readiness probe answered {answer.status}")


class Activator:
    """The replicas of one function.

    A function that can't start is tried again without limit, with growing pauses.

    Args:
        spec: Spec of the function.
        host: What all processes of the platform have in common.
        is_tried: Whether a replica is started at once, also without a request, to learn whether the function can start.

    Attributes:
        unanswered: Number of requests to which a replica gave no answer, because it ended or took too long.
    """

    def __init__(self, spec: LocalFunction, host: ProcessHost, *, is_tried: bool = False) -> None:
        self.spec = spec
        self.unanswered = 0
        self._is_wanted = is_tried
        self._has_started = False
        self.concurrency = concurrency_of(spec)
        self._host = host
        self._clock = host.clock
        self._failures = Failures(RESTART, host.clock)
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._freed = threading.Condition(lock)
        self._replicas: list[Replica] = []
        self._leaving: list[tuple[Child, float]] = []
        self._waiting, self._spent_s = 0, 0.0
        self._stopping = False
        self._keeper = threading.Thread(target=self._run_keeper, name=f"activator-{spec.name}", daemon=True)
        self._keeper.start()

    @property
    def reason(self) -> str:
        """Reason why the function can't start; empty when there is none."""
        return self._failures.reason

    def health(self) -> bool | None:
        """Return whether the function can answer requests, perhaps after a start; None while that isn't known."""
        if self._failures.count >= FAILED_STARTS:
            return False
        return True if self._has_started and not self._failures.count else None

    def list_ready(self) -> list[Replica]:
        """Return the replicas that are ready."""
        with self._changed:
            return [replica for replica in self._replicas if replica.ready]

    def state(self) -> tuple[str, int]:
        """Return the function's state as in `eaves.platform.FunctionStatus`, and the number of running replicas."""
        with self._changed:
            replicas = len(self._replicas)
            if any(replica.ready for replica in self._replicas):
                return "ready", replicas
            if self.reason:
                return "failed", replicas
            return ("starting" if replicas or self._waiting else "idle"), replicas

    def usage(self) -> ProcessUsage:
        """Return the memory of the replicas, and the processor time of all since the function was started here."""
        with self._changed:
            return sum(
                (read_usage(replica.process.pid) for replica in self._replicas), ProcessUsage(cpu_s=self._spent_s)
            )

    def send(
        self, event: Event, *, timeout_s: float, headers: Mapping[str, str] = MappingProxyType({})
    ) -> SinkResponse:
        """Send one event to a replica, starting a replica when there is none.

        Args:
            event: The event.
            timeout_s: Time limit in seconds, including the start of a replica.
            headers: HTTP headers in addition to those of the event.

        Raises:
            StartError: When no replica becomes ready in time.
            OverloadedError: When all replicas stay busy for that time.
            DeliveryError: When the replica dies during the request.
        """
        with self._slot(timeout_s) as (replica, left_s):
            return replica.client.post(replica.url, event, prefer_reply=True, timeout_s=left_s, more_headers=headers)

    def forward(self, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> HttpAnswer:
        """Send an HTTP request unchanged to a replica, starting one when there is none, and return its response.

        The same errors are raised as by `send`.
        """
        with self._slot(timeout_s) as (replica, left_s):
            return replica.client.request("POST", replica.url, headers=headers, body=body, timeout_s=left_s)

    def stop(self) -> None:
        """Stop every replica after it has answered its accepted requests."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._freed.notify_all()
        self._keeper.join()
        processes = [process for process, _ in self._leaving] + [replica.process for replica in self._replicas]
        for replica in list(self._replicas):
            self._drop(replica)
        for process in processes:
            process.terminate()
        for process in processes:
            process.stop()

    @contextlib.contextmanager
    def _slot(self, timeout_s: float) -> Iterator[tuple[Replica, float]]:
        """Reserve a slot for one request; yield its replica and the seconds that are left, at least one."""
        deadline = self._clock.monotonic() + timeout_s
        replica = self._acquire(deadline)
        try:
            yield replica, max(1.0, deadline - self._clock.monotonic())
        except DeliveryError:
            with self._changed:
                self.unanswered += 1
            raise
        finally:
            with self._changed:
                replica.inflight -= 1
                replica.idle_since = self._clock.monotonic()
                if self._waiting:
                    self._freed.notify()

    def _acquire(self, deadline: float) -> Replica:
        """Return a replica with a free slot for a request, reserved for the caller; wait for one until `deadline`.

        The keeper is woken only when no slot is free, because most requests find one.
        """
        with self._changed:
            if replica := self._reserve_slot():
                return replica
            self._waiting += 1
            self._changed.notify_all()
            try:
                while True:
                    if replica := self._reserve_slot():
                        return replica
                    self._refuse(deadline)
                    self._clock.wait(self._freed, max(0.0, min(deadline - self._clock.monotonic(), 1.0)))
            finally:
                self._waiting -= 1

    def _reserve_slot(self) -> Replica | None:
        """Reserve a slot at the least busy ready replica; None when every slot is taken. The caller holds the lock."""
        free = [replica for replica in self._replicas if replica.ready and replica.inflight < self.concurrency]
        if not free or self._stopping:
            return None
        replica = min(free, key=lambda candidate: candidate.inflight)
        replica.inflight += 1
        return replica

    def _refuse(self, deadline: float) -> None:
        """Raise an error when a waiting request can't succeed: the function stops, can't start, or time is up."""
        hint = f"eaves logs {self.spec.name}"
        if self._stopping:
            raise StartError(f"function {self.spec.name} is being stopped", hint="send again later")
        if not self._failures.due():
            raise StartError(f"function {self.spec.name} can't start: {self.reason}", hint=hint)
        if self._clock.monotonic() >= deadline:
            if any(replica.ready for replica in self._replicas):
                raise OverloadedError(
                    f"every replica of {self.spec.name} is busy", hint="raise scale.max, or send less"
                )
            raise StartError(f"no replica of function {self.spec.name} became ready in time", hint=hint)

    def _run_keeper(self) -> None:
        """Start and stop replicas until the activator is stopped; this is the keeper's thread.

        Only this thread starts replicas, because the kernel ends a child process with the thread that started it. No
        exception ends the loop, not even one in an exception handler, because without the loop the function would never
        start again.
        """
        while not self._stopping:
            try:
                self._reconcile_replicas()
            except Exception as error:  # noqa: BLE001 - see above
                with contextlib.suppress(Exception):
                    self._note_defect(error)
            with contextlib.suppress(Exception), self._changed:
                if not self._stopping:
                    self._clock.wait(self._changed, self._pause_s())

    def _reconcile_replicas(self) -> None:
        """Remove dead replicas, stop idle ones, start one when needed, and check whether a starting one is ready."""
        with self._changed:
            self._reap()
            start = self._needs_replica() and self._failures.due()
        if start:
            self._start()
        self._watch_start()
        self._kill_stuck()

    def _pause_s(self) -> float:
        """Return the keeper's longest wait, seconds; the caller holds the lock."""
        if any(not replica.ready for replica in self._replicas):
            return POLL_S
        if self._needs_replica():
            return max(POLL_S, self._failures.left_s())
        return KEEP_S if self._replicas or self._leaving else REST_S

    def _note_defect(self, error: Exception) -> None:
        with self._changed:
            self._failed(f"{type(error).__name__}: {describe_exception(error)}")
        _log.error("function %s: unexpected error while its replicas were checked", self.spec.name, exc_info=error)

    def _needs_replica(self) -> bool:
        running = len(self._replicas)
        if running < self.spec.scale.min or (self._is_wanted and not running):
            return True
        if running >= self.spec.scale.max or any(not replica.ready for replica in self._replicas):
            return False
        return self._waiting > 0 and all(r.inflight >= self.concurrency for r in self._replicas)

    def _start(self) -> None:
        """Start a function's process like a container; an error of the start is the caller's."""
        spec, port = self.spec, find_free_port()
        environ = {
            "EAVES_ARTIFACT": str(spec.artifact),
            "EAVES_ARTIFACT_DIGEST": spec.artifact_digest,
            "EAVES_FUNCTION": spec.name,
            "EAVES_SITE": spec.site,
            "EAVES_HOST": HOST,
            "EAVES_CONCURRENCY": str(self.concurrency),
            "EAVES_PREPARED_GRAPHS": str(self._host.state.graphs),
            **spec.env,
            "PORT": str(port),
        }
        process, now = self._host.start("functions", environ, spec.name), self._clock.monotonic()
        with self._changed:
            url = f"http://{HOST}:{port}/"
            made = Replica(process=process, client=SinkClient(), url=url, started_at=now, idle_since=now)
            self._replicas.append(made)
        _log.info("function %s: started a replica, pid %d", spec.name, process.pid)

    def _watch_start(self) -> None:
        """Check whether each starting replica has become ready, has failed, or takes too long."""
        for replica in [one for one in self._replicas if not one.ready and one.process.running]:
            ready, reason = probe(replica)
            late = self._clock.monotonic() - replica.started_at > self.spec.scale.start_timeout_s
            if ready:
                with self._changed:
                    replica.ready, replica.idle_since = True, self._clock.monotonic()
                    self._has_started, self._is_wanted = True, False
                    self._failures.clear()
                    self._freed.notify_all()
            elif late or reason:
                self._give_up(replica, reason or f"not ready after {self.spec.scale.start_timeout_s:.0f} s")

    def _give_up(self, replica: Replica, reason: str) -> None:
        replica.process.stop(timeout_s=2)
        with self._changed:
            if replica in self._replicas:
                self._drop(replica)
            self._failed(reason)

    def _kill_stuck(self) -> None:
        """Kill replicas that were asked to stop `LEAVE_S` seconds ago and still hold a model in memory."""
        for process, since in self._leaving:
            if self._clock.monotonic() - since > LEAVE_S:
                _log.warning(
                    "function %s: the replica with pid %d did not stop within %.0f s",
                    self.spec.name,
                    process.pid,
                    LEAVE_S,
                )
                process.stop(timeout_s=0)

    def _drop(self, replica: Replica) -> None:
        self._replicas.remove(replica)
        self._spent_s += read_usage(replica.process.pid).cpu_s
        replica.client.close()

    def _failed(self, reason: str) -> None:
        pause_s = self._failures.note(reason)
        _log.error("function %s: %s; next try in %.0f s", self.spec.name, reason, pause_s)
        self._freed.notify_all()

    def _reap(self) -> None:
        """Remove dead replicas, and stop idle ones while there are more than `scale.min`. The caller holds the lock."""
        for replica in [candidate for candidate in self._replicas if not candidate.process.running]:
            self._drop(replica)
            code = replica.process.exit_code
            if replica.ready:
                _log.warning("function %s: a replica ended with %s", self.spec.name, code)
            else:
                self._failed(f"the process ended with exit code {code} before it was ready")
        self._leaving = [(process, since) for process, since in self._leaving if process.running]
        idle_s = self.spec.scale.idle_s
        for replica in list(self._replicas):
            if len(self._replicas) <= self.spec.scale.min or self._waiting:
                break
            if replica.ready and not replica.inflight and self._clock.monotonic() - replica.idle_since > idle_s:
                self._drop(replica)
                self._leaving.append((replica.process, self._clock.monotonic()))
                replica.process.terminate()
                _log.info("function %s: stopped an idle replica", self.spec.name)
