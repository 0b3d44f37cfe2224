"""The supervisor (`eaves up`), which keeps the running processes in agreement with the spec files.

No exception in one part ends the supervisor: the part is tried again, and the other parts keep running.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from eaves.admin.queue import SpoolQueue
from eaves.admin.report import QueueReport
from eaves.base.clock import SYSTEM
from eaves.base.locks import take_lock
from eaves.errors import ConfigError, EventError, PlatformError
from eaves.events import CHOSEN, DATASET_UPDATED, Event, decode, is_event
from eaves.history import FileHistory
from eaves.http_client.client import HttpAnswer
from eaves.http_client.proxies import parse_proxies
from eaves.local.apps import Apps
from eaves.local.broker import Broker, lane_of
from eaves.local.console_manager import ConsoleManager, prepare_exposure
from eaves.local.processes.app_processes import AppProcesses
from eaves.local.processes.logs import rotate
from eaves.local.processes.process import Launch, Process, ProcessHost, describe_exception
from eaves.local.queues import find_lanes, list_parts
from eaves.local.retraining import LabelWatch
from eaves.local.rollouts import read_audit
from eaves.local.server import (
    FUNCTIONS,
    HOST,
    AccessToken,
    PlatformRoutes,
    WebServer,
    bind_ports,
    resolve_host,
)
from eaves.local.settings import LocalSettings
from eaves.local.state import LocalApp, StateDirectory
from eaves.origin import is_loopback_host
from eaves.platform import FunctionStatus
from eaves.spool import Spool

RECONCILE_S = 1.0
"""Interval at which the supervisor checks the spec files, seconds. `eaves deploy` also triggers a check."""
RECONCILE_TIMEOUT_S = 110.0
"""Maximum time that `eaves deploy` waits for the supervisor to apply a spec, seconds; it is below the time limit of the
client's request."""
DIRECT_TIMEOUT_S = 120.0
"""Time limit of a request that is sent straight to a function, seconds, including the function's start."""
MAX_NOTED = 1_000
"""Number of newest events that are recorded once however often they come."""
EVERYTHING = ""
"""Key, in a mapping of apps to failures, of a failure that concerns no single app."""

_log = logging.getLogger(__name__)


class Supervisor:
    """The running local platform.

    Args:
        state: State directory.
        environ: Environment of this process.
        settings: Port, token and console of the platform, and its disk limits for queue, logs and history.
        launch: Starts processes of functions and sources.

    Attributes:
        console: The console's port and process.
        images: The newest images, for the console.
        left_queued: Events that wait in the broker's queue when `run` has returned; an event that several triggers
            want counts once for each.

    Raises:
        ConfigError: When the environment has an invalid proxy address, or the host needs a token and has none.
        PlatformError: When another supervisor runs on the same state directory, or the port is taken.
    """

    def __init__(
        self,
        state: StateDirectory,
        *,
        environ: Mapping[str, str],
        settings: LocalSettings,
        launch: Launch = Process,
    ) -> None:
        proxies = parse_proxies(environ)
        state.prepare()
        self._state = state
        self._settings = settings
        address = resolve_host(settings.host)
        lock = take_lock(state.lock, wait=False)
        if lock is None:
            raise PlatformError(
                f"another `eaves up` runs with the state directory {state.root}",
                hint="use that platform, or choose another state directory with --state",
            )
        self._lock = lock
        self._token = open_token(address, settings.token_file, state)
        notices = prepare_exposure(settings, state)
        processes = ProcessHost(state=state, inherit=environ, launch=launch)
        self.console = ConsoleManager(settings, processes, notices=notices)
        self.images = self.console.images
        bound = bind_ports(address, settings.port)
        self._port: int = bound[0].getsockname()[1]
        self._spool = Spool(state.spool, limits=settings.limits())
        self._history = FileHistory(state.history, max_bytes=settings.history_max_bytes)
        self._broker = Broker(self._spool, self._remember)
        self.queue = SpoolQueue(self._spool, deliveries=self._broker.deliveries, try_now=self._broker.try_now)
        token = self._token.path if self._token is not None else None
        self._processes = AppProcesses(processes, broker=lambda: self.url, token=token)
        self._apps = Apps(
            processes,
            subscribe=self._broker.subscribe,
            send_to_relay=self._processes.send_to_relay,
            address=lambda name: f"{self.url}{FUNCTIONS[1:]}/{name}",
            proxies=proxies,
        )
        self._labels = LabelWatch(Path.cwd(), state, lambda event: self.accept(event, {}), self._find_models)
        self._changed = threading.Condition()
        self._requested = self._done = 0
        self._answered: Counter[str] = Counter()
        self._recording = threading.Lock()
        self._recorded: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._failed: dict[str, str] = {}
        self._logged: dict[str, str] = {}
        self._stopping = False
        self.left_queued = 0
        self._attempt({"the specs": self._apps.reconcile})  # an event must find the triggers that want it
        self._servers = [WebServer(PlatformRoutes(self, token=self._token), listening=one) for one in bound]
        self._control = WebServer(PlatformRoutes(self, control=True), path=state.socket)
        self.console.start()

    @property
    def url(self) -> str:
        """Address at which the broker accepts events."""
        return f"http://{HOST}:{self._port}/"

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach the port, which then needs the token."""
        return self._token is not None

    def run(self) -> None:
        """Apply changes of the specs until `stop` is called, then stop sources, deliveries and functions.

        No exception of a part ends this method. The thread that calls it must not end before the agents do, because it
        starts their processes, and the kernel ends a process with the thread that started it.
        """
        parts: dict[str, Callable[[], None]] = {
            "the specs": self._apps.reconcile,
            "the rollouts": self._apps.advance_rollouts,
            "the sources and relays": lambda: self._processes.reconcile(self._apps.wanted),
            "the labels": self._labels.look,
            "the logs": lambda: rotate(self._state.logs, max_bytes=self._settings.log_max_bytes),
        }
        try:
            while not self._stopping:
                with self._changed:
                    requested = self._requested
                failed = self._attempt(parts)
                failed |= self._processes.failed() | self._apps.unreadable
                with self._changed:
                    self._failed, self._done = failed, requested
                    self._changed.notify_all()
                    self._wait(RECONCILE_S, lambda: self._requested > self._done)
        finally:
            self._shut_down()

    def stop(self) -> None:
        """Ask `run` to return. Any thread may call this, but not a signal handler, because it takes a lock."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def accept(self, event: Event, trace: Mapping[str, str], *, relay_of: str = "") -> None:
        """Pass an event to the broker, as `Broker.accept` does.

        Raises:
            PlatformError: When the triggers of an app aren't known, because they might match the event.
        """
        self._apps.require_routes()
        self._broker.accept(event, trace, relay_of=relay_of)
        if event.type == DATASET_UPDATED:
            self._labels.note(event)

    def forward(self, name: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        """Pass one request to a function.

        Raises:
            NotFoundError: When there is no function with this name.
        """
        function = self._apps.function(name)
        self._record_request(headers, body)
        answer = function.ask(lambda one, left_s: one.forward(headers, body, timeout_s=left_s), DIRECT_TIMEOUT_S)
        if answer.status < 300:
            with self._recording:
                self._answered[name] += 1
        self._record_request(answer.headers, answer.body)
        return answer

    def reconcile(self) -> dict[str, str]:
        """Apply the spec files now; return when the running processes agree with the files as far as possible.

        The thread in `run` does the work, because the kernel ends child processes with the thread that started them.

        Returns:
            Reason by app for each app that doesn't run or runs only in part; the key `EVERYTHING` has failures that
                concern no single app.

        Raises:
            PlatformError: When applying the specs takes too long, or when the platform is being stopped.
        """
        with self._changed:
            self._requested += 1
            mine = self._requested
            self._changed.notify_all()
            self._wait(RECONCILE_TIMEOUT_S, lambda: self._done >= mine)
            if self._done >= mine:
                return dict(self._failed)
        doing = "is being stopped" if self._stopping else f"is still working after {RECONCILE_TIMEOUT_S:.0f} s"
        raise PlatformError(f"`eaves up` {doing}", hint="eaves status")

    def status(self) -> list[FunctionStatus]:
        """Return the status of every deployed function, by name."""
        report = self.queue.report()
        found = [self._status(name, app, report) for name, app in sorted(self._apps.wanted.items())]
        broken = [
            FunctionStatus(name=name, state="failed", reason=reason)
            for name, reason in sorted(self._apps.unreadable.items())
        ]
        return found + broken

    def _status(self, name: str, app: LocalApp, report: QueueReport) -> FunctionStatus:
        to_function = [lane_of(name, trigger.name) for trigger in app.triggers if not trigger.url]
        condition, replicas, reason = self._apps.state(name)
        agents, (lanes, sinks) = self._processes.statuses(name), find_lanes(report, name)
        rollout = self._apps.rollouts.get(name)
        return FunctionStatus(
            name=name,
            state=condition,
            replicas=replicas,
            reason=reason,
            artifact=str(app.function.artifact),
            artifact_digest=app.function.artifact_digest,
            site=app.function.site,
            delivered=self._answered[name] + sum(self._broker.delivered.get(lane, 0) for lane in to_function),
            usage=self._apps.usage(name),
            agents=agents,
            lanes=lanes,
            sinks=sinks,
            parts=tuple(list_parts(lanes, agents, SYSTEM.now())),
            rollout=rollout.standing.report() if rollout else None,
            audit=read_audit(self._state, app),
        )

    def _find_models(self, name: str) -> Sequence[str]:
        """Return the digests of the artifact that serves an app, and that of its canary."""
        app, rollout = self._apps.wanted.get(name), self._apps.rollouts.get(name)
        canary = [rollout.candidate.artifact_digest] if rollout and rollout.candidate else []
        return [app.function.artifact_digest, *canary] if app else []

    def _remember(self, event: Event) -> None:
        """Add an event to the history; its image is held before, so that a reader of the history finds it.

        An image that an agent sends again while its function can't answer, and a prediction that comes back from the
        agent, are recorded once; an image that is chosen for labelling is so once more.
        """
        identity = event.source, event.id, event.extensions.get(CHOSEN, "")
        with self._recording:
            if identity in self._recorded:
                return
            self._recorded[identity] = None
            if len(self._recorded) > MAX_NOTED:
                self._recorded.popitem(last=False)
        self.images.add(event)
        self._history.add(event)

    def _record_request(self, headers: Mapping[str, str], body: bytes) -> None:
        """Add an event that was sent straight to a function to the history; ignore a request that isn't an event."""
        if is_event(headers) and "content-encoding" not in headers:
            with contextlib.suppress(EventError):
                self._remember(decode(headers, body))

    def _attempt(self, parts: Mapping[str, Callable[[], None]]) -> dict[str, str]:
        """Run every function in `parts`, also when another one raises an exception.

        Returns:
            The name and the exception of the last function that failed, by the key `EVERYTHING`; empty when none did.
        """
        failed: dict[str, str] = {}
        for name, act in parts.items():
            try:
                act()
            except Exception as error:  # noqa: BLE001 - a part that fails must end neither the others nor the whole
                reason = describe_exception(error)
                failed[EVERYTHING] = f"{name}: {reason}"
                if self._logged.get(name) != reason:
                    _log.exception("%s: unexpected error; next try in %.0f s", name, RECONCILE_S)
                self._logged[name] = reason
            else:
                self._logged.pop(name, None)
        return failed

    def _wait(self, timeout_s: float, until: Callable[[], bool]) -> None:
        """Wait until a condition holds, the platform stops, or the time limit ends. The caller holds the lock."""
        deadline = SYSTEM.monotonic() + timeout_s
        while not self._stopping and not until():
            left_s = deadline - SYSTEM.monotonic()
            if left_s <= 0:
                return
            SYSTEM.wait(self._changed, left_s)

    def _close_spool(self) -> None:
        self.left_queued = sum(queued for queued, _ in self._spool.counts().values())
        self._spool.close()

    def _shut_down(self) -> None:
        """Stop sources, deliveries and functions in this order; an exception in one step doesn't prevent the others."""
        steps: list[Callable[[], object]] = [
            self.console.terminate,
            self._processes.terminate_agents,
            *(server.stop for server in self._servers),
            self._apps.stop_publishing,
            self._broker.stop,
            self._processes.stop,
            self._apps.stop,
            self.console.stop,
            self._control.stop,
            self._history.close,
            self._close_spool,
            lambda: os.close(self._lock),
        ]
        for step in steps:
            try:
                step()
            except Exception:  # noqa: BLE001 - see above
                _log.exception("a part of the platform can't be stopped")


def open_token(host: str, path: Path | None, state: StateDirectory) -> AccessToken | None:
    """Return the token that requests to the port must have; None when the host is a loopback address.

    Args:
        host: Name or address that the platform's port is opened at.
        path: The token file, which is created when it is missing; None when the user named none.
        state: State directory, for the hint.

    Raises:
        PlatformError: When the host has no address.
        ConfigError: When there is no token file, or it holds no secret.
        StorageError: When the file can't be read or written.
    """
    address = resolve_host(host)
    if is_loopback_host(address):
        return None
    if path is None:
        message = f"{host} is open to other machines, so callers need a token: name a token file"
        command = f"eaves up --host {host} --token-file {shlex.quote(str(state.root / 'token'))}"
        raise ConfigError.single("eaves up", "host", message, hint=f"{command}   # a missing file is created")
    return AccessToken(path)
