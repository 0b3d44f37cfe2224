"""From zero and back.

Holds a function's requests until a replica is ready, starts replicas as work comes and stops idle ones.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from eaves.delivery import Answer, HttpAnswer, SinkClient
from eaves.errors import DeliveryError, OverloadedError, StartError
from eaves.events import Event
from eaves.local.process import Process
from eaves.local.state import State
from eaves.platform import FunctionSpec

_log = logging.getLogger(__name__)

HOST = "127.0.0.1"
POLL_S = 0.02
PROBE_TIMEOUT_S = 2.0
KEEP_S = 0.25
"""How often the keeper looks for dead and idle replicas."""
MAX_RESTART_PAUSE_S = 30.0


@dataclass(slots=True, eq=False)
class Replica:
    """One function process and what it is doing."""

    process: Process
    url: str
    ready: bool = False
    inflight: int = 0
    idle_since: float = field(default_factory=time.monotonic)
    started_at: float = field(default_factory=time.monotonic)


class Activator:
    """One function's replicas.

    Args:
        spec: What is wanted.
        state: Where its log goes.
        inherit: The supervisor's environment.
    """

    def __init__(self, spec: FunctionSpec, state: State, *, inherit: Mapping[str, str]) -> None:
        self.spec = spec
        self.concurrency = spec.concurrency or len(os.sched_getaffinity(0))
        self._log_file = state.log(spec.name)
        self._inherit = inherit
        self._client = SinkClient()
        self._changed = threading.Condition()
        self._replicas: list[Replica] = []
        self._leaving: list[Process] = []
        self._waiting = 0
        self._failures = 0
        self._not_before = 0.0
        self._stopping = False
        self.reason = ""
        self._keeper = threading.Thread(target=self._keep, name=f"activator-{spec.name}", daemon=True)
        self._keeper.start()

    @property
    def capacity(self) -> int:
        """Requests it can serve at the same time, fully scaled."""
        return self.concurrency * self.spec.scale.max

    def state(self) -> tuple[str, int]:
        """Its state as `eaves.platform.FunctionStatus` names it, and the replicas running."""
        with self._changed:
            replicas = len(self._replicas)
            if any(replica.ready for replica in self._replicas):
                return "ready", replicas
            if self.reason:
                return "failed", replicas
            return ("starting" if replicas or self._waiting else "idle"), replicas

    def send(self, event: Event, *, timeout_s: float) -> Answer:
        """Have a replica answer one event, starting one when there is none.

        Raises:
            StartError: When no replica becomes ready in time.
            OverloadedError: When all stay busy that long.
            DeliveryError: When the replica dies meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        with self._slot(deadline) as replica:
            return self._client.post(replica.url, event, prefer_reply=True, timeout_s=_left(deadline))

    def forward(self, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> HttpAnswer:
        """Pass one request as it is; otherwise as `send`."""
        deadline = time.monotonic() + timeout_s
        with self._slot(deadline) as replica:
            return self._client.exchange("POST", replica.url, headers=headers, body=body, timeout_s=_left(deadline))

    def stop(self) -> None:
        """Stop every replica, after what it has accepted."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._keeper.join()
        self._leaving += [replica.process for replica in self._replicas]
        self._replicas.clear()
        for process in self._leaving:
            process.terminate()
        for process in self._leaving:
            process.stop()
        self._client.close()

    @contextmanager
    def _slot(self, deadline: float) -> Iterator[Replica]:
        replica = self._acquire(deadline)
        try:
            yield replica
        finally:
            with self._changed:
                replica.inflight -= 1
                replica.idle_since = time.monotonic()
                self._changed.notify_all()

    def _acquire(self, deadline: float) -> Replica:
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            try:
                while True:
                    free = [r for r in self._replicas if r.ready and r.inflight < self.concurrency]
                    if free and not self._stopping:
                        replica = min(free, key=lambda candidate: candidate.inflight)
                        replica.inflight += 1
                        return replica
                    self._refuse(deadline)
                    self._changed.wait(max(0.0, min(deadline - time.monotonic(), 1.0)))
            finally:
                self._waiting -= 1

    def _refuse(self, deadline: float) -> None:
        """Why there is no point in waiting longer, when there isn't."""
        hint = f"eaves logs {self.spec.name}"
        if self._stopping:
            raise StartError(f"function {self.spec.name} is being stopped", hint="send again later")
        if self.reason and time.monotonic() < self._not_before:
            raise StartError(f"function {self.spec.name} doesn't start: {self.reason}", hint=hint)
        if time.monotonic() >= deadline:
            if any(replica.ready for replica in self._replicas):
                raise OverloadedError(
                    f"every replica of {self.spec.name} stayed busy", hint="raise scale.max, or send less"
                )
            raise StartError(f"function {self.spec.name} did not become ready in time", hint=hint)

    def _keep(self) -> None:
        """The keeper's thread: the only one that starts replicas, so that they live as long as it does."""
        while not self._stopping:
            try:
                self._keep_once()
            except Exception as error:  # noqa: BLE001 - without its keeper a function would never start again
                _log.exception("function %s: a defect in its keeper; it goes on", self.spec.name)
                with self._changed:
                    self._failed(f"{type(error).__name__}: {error}")
                    self._changed.wait(KEEP_S)

    def _keep_once(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                self._reap()
                start = self._wants_one() and time.monotonic() >= self._not_before
                starting = any(not replica.ready for replica in self._replicas)
            if start:
                self._start()
                starting = True
            if starting:
                self._watch_start()
            with self._changed:
                self._changed.wait(POLL_S if starting else KEEP_S)

    def _wants_one(self) -> bool:
        running = len(self._replicas)
        if running < self.spec.scale.min:
            return True
        if running >= self.spec.scale.max or any(not replica.ready for replica in self._replicas):
            return False
        return self._waiting > 0 and all(r.inflight >= self.concurrency for r in self._replicas)

    def _start(self) -> None:
        port = _free_port()
        environ = {
            "EAVES_ARTIFACT": str(self.spec.artifact),
            "EAVES_ARTIFACT_DIGEST": self.spec.artifact_digest,
            "EAVES_FUNCTION": self.spec.name,
            "EAVES_SITE": self.spec.site,
            "EAVES_HOST": HOST,
            "EAVES_CONCURRENCY": str(self.concurrency),
            **self.spec.env,
            "PORT": str(port),
        }
        process = Process("functions", environ, self._log_file, inherit=self._inherit)
        _log.info("function %s: started a replica, pid %d", self.spec.name, process.pid)
        with self._changed:
            self._replicas.append(Replica(process=process, url=f"http://{HOST}:{port}/"))

    def _watch_start(self) -> None:
        """See whether starting replicas have become ready, failed, or take too long."""
        for replica in [candidate for candidate in self._replicas if not candidate.ready]:
            ready, reason = self._look(replica)
            late = time.monotonic() - replica.started_at > self.spec.scale.start_timeout_s
            if ready:
                with self._changed:
                    replica.ready, replica.idle_since = True, time.monotonic()
                    self._failures, self.reason = 0, ""
                    self._changed.notify_all()
            elif late or reason:
                self._give_up(replica, reason or f"not ready after {self.spec.scale.start_timeout_s:.0f} s")

    def _look(self, replica: Replica) -> tuple[bool, str]:
        """Whether a replica is ready, and why it never will be; neither while it loads."""
        try:
            answer = self._client.exchange("GET", replica.url + "health/readiness", timeout_s=PROBE_TIMEOUT_S)
        except DeliveryError:
            return False, ""
        if answer.status == 200:
            return True, ""
        try:
            problem = json.loads(answer.body)
            return False, "" if problem["type"].endswith(":loading") else str(problem["detail"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return False, f"its readiness probe answered {answer.status}"

    def _give_up(self, replica: Replica, reason: str) -> None:
        replica.process.stop(timeout_s=2)
        with self._changed:
            if replica in self._replicas:
                self._replicas.remove(replica)
            self._failed(reason)

    def _failed(self, reason: str) -> None:
        self._failures += 1
        self.reason = reason
        pause_s = min(MAX_RESTART_PAUSE_S, 0.5 * 2**self._failures)
        self._not_before = time.monotonic() + pause_s
        _log.error("function %s: %s; next try in %.0f s", self.spec.name, reason, pause_s)
        self._changed.notify_all()

    def _reap(self) -> None:
        """Drop replicas that died; stop idle ones down to scale.min. Called with the lock held."""
        for replica in [candidate for candidate in self._replicas if not candidate.process.running]:
            self._replicas.remove(replica)
            code = replica.process.exit_code
            if replica.ready:
                _log.warning("function %s: a replica ended with %s", self.spec.name, code)
            else:
                self._failed(f"the process ended with exit code {code} before it was ready")
        self._leaving = [process for process in self._leaving if process.running]
        idle_s = self.spec.scale.idle_s
        for replica in list(self._replicas):
            if len(self._replicas) <= self.spec.scale.min or self._waiting:
                break
            if replica.ready and not replica.inflight and time.monotonic() - replica.idle_since > idle_s:
                self._replicas.remove(replica)
                self._leaving.append(replica.process)
                replica.process.terminate()
                _log.info("function %s: stopped an idle replica", self.spec.name)


def _left(deadline: float) -> float:
    return max(1.0, deadline - time.monotonic())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
