"""`eaves up`: makes what runs agree with the spec files, until it is told to stop."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from eaves.admin.queue import SpoolQueue
from eaves.admin.summary import AgentStatus, LanePause
from eaves.delivery import Answer, HttpAnswer, SinkClient
from eaves.errors import (
    EavesError,
    EventError,
    NotFoundError,
    OverloadedError,
    PlatformError,
    StartError,
    UnreachableError,
)
from eaves.events import Event, decode, is_event
from eaves.history import FileHistory
from eaves.local.activator import Activator
from eaves.local.broker import Broker, Subscription, lane_of
from eaves.local.process import Process
from eaves.local.queues import read_agent
from eaves.local.replica import capacity_of
from eaves.local.server import SocketPath, TcpPort, WebServer
from eaves.local.state import State
from eaves.local.web import create_app
from eaves.platform import AppSpec, FunctionStatus, SourceSpec, TriggerSpec
from eaves.spool import Spool

RECONCILE_S = 1.0
"""How often spec files are looked at; `deploy` also knocks on the control socket."""
DIRECT_TIMEOUT_S = 120.0
MAX_CALLS = 24
"""Direct calls at the same time; the web's other threads are left to the broker."""
MAX_RESTART_PAUSE_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Agent:
    """One source's process, and when it may be started again after it ended."""

    source: SourceSpec
    process: Process
    ends: int = 0
    not_before: float = 0.0

    def due(self) -> bool:
        """Whether to start it again; counts each end once."""
        now = time.monotonic()
        if not self.not_before:
            self.ends += 1
            self.not_before = now + min(MAX_RESTART_PAUSE_S, 2.0**self.ends)
        if now < self.not_before:
            return False
        self.not_before = 0.0
        return True

    def __str__(self) -> str:
        code = self.process.exit_code
        return f"{self.source.name}: {'running' if code is None else f'ended with {code}'}"


class Supervisor:
    """The running local platform.

    Args:
        state: Its directory.
        environ: This process's environment.
        port: TCP port of the broker on loopback; 0 takes a free one.

    Raises:
        PlatformError: When another one runs on the same state directory, or the port is taken.
    """

    def __init__(self, state: State, *, environ: Mapping[str, str], port: int) -> None:
        state.prepare()
        self._state = state
        self._environ = environ
        self._lock = _take_lock(state)
        self._spool = Spool(state.spool)
        self._history = FileHistory(state.history)
        self._broker = Broker(self._spool, self._history)
        self.queue = SpoolQueue(self._spool, deliveries=self._broker.deliveries)
        self._client = SinkClient()
        self._activators: dict[str, Activator] = {}
        self._agents: dict[str, Agent] = {}
        self._apps: dict[str, AppSpec] = {}
        self._faults: dict[str, str] = {}
        self._turn = threading.Condition()
        self._asked = self._done = 0
        self._stopping = False
        self._calls = threading.Semaphore(MAX_CALLS)
        self._port = TcpPort(port)
        self._take_up_specs()  # before anything is accepted: an event must find the triggers that want it
        try:
            self._ingress = WebServer(create_app(self, control=False), self._port)
        except OSError as error:
            raise PlatformError(
                f"port {port} can't be used: {error.strerror or error}", hint="eaves up --port 0 takes a free one"
            ) from error
        self._control = WebServer(create_app(self, control=True), SocketPath(state.socket))

    @property
    def url(self) -> str:
        """Where the broker takes events."""
        return f"http://127.0.0.1:{self._port.port}/"

    def run(self) -> None:
        """Reconcile until `stop` is called, then stop everything in order: sources, deliveries, functions."""
        while not self._stopping:
            with self._turn:
                asked = self._asked
            try:
                self._reconcile()
            except (EavesError, OSError):
                _log.exception("the specs can't be taken up; trying again")
            with self._turn:
                self._done = asked
                self._turn.notify_all()
                self._turn.wait_for(lambda: self._stopping or self._asked > self._done, RECONCILE_S)
        for agent in self._agents.values():
            agent.process.terminate()
        self._ingress.stop()
        self._broker.stop()
        for agent in self._agents.values():
            agent.process.stop()
        for activator in self._activators.values():
            activator.stop()
        self._control.stop()
        self._client.close()
        self._history.close()
        self._spool.close()
        os.close(self._lock)

    def stop(self) -> None:
        """Ask `run` to return; for a signal handler in its thread, or any other thread."""
        with self._turn:
            self._stopping = True
            self._turn.notify_all()

    def accept(self, event: Event) -> None:
        """Hand an event to the broker.

        Raises:
            PlatformError: While an app's spec can't be read: its triggers might want the event.
        """
        unknown = sorted(self._faults.keys() - self._apps.keys())
        if unknown:
            raise PlatformError(
                f"the spec of {unknown[0]} can't be read", hint=f"eaves deploy, or eaves remove {unknown[0]}"
            )
        self._broker.accept(event)

    def forward(self, name: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        """Pass one request to a function.

        Raises:
            NotFoundError: When there is no such function.
        """
        activator = self._activator(name)
        if not self._calls.acquire(blocking=False):
            raise OverloadedError(
                f"{MAX_CALLS} direct calls are under way", hint="send again later, or publish the event"
            )
        try:
            answer = activator.forward(headers, body, timeout_s=DIRECT_TIMEOUT_S)
        finally:
            self._calls.release()
        self._note(headers, body)
        self._note(answer.headers, answer.body)
        return answer

    def _note(self, headers: Mapping[str, str], body: bytes) -> None:
        """Put an event of a direct call into the history."""
        if is_event(headers):
            with contextlib.suppress(EventError):
                self._history.add(decode(headers, body))

    def reconcile(self) -> None:
        """Look at the specs now, and return when what runs agrees with them.

        The work is left to the thread in `run`: the kernel ends children with the thread that started them.
        """
        with self._turn:
            self._asked += 1
            mine = self._asked
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._stopping or self._done >= mine, DIRECT_TIMEOUT_S)

    def status(self) -> list[FunctionStatus]:
        """Every function wanted, by name."""
        counts = self._spool.counts()
        paused = {delivery.lane: delivery for delivery in self._broker.deliveries() if delivery.paused}
        found = []
        for name, app in sorted(self._apps.items()):
            activator = self._activators.get(name)
            condition, replicas = activator.state() if activator else ("starting", 0)
            lanes = [lane_of(name, trigger.name) for trigger in app.triggers]
            found.append(
                FunctionStatus(
                    name=name,
                    state=condition,
                    replicas=replicas,
                    reason=activator.reason if activator else "",
                    artifact=str(app.function.artifact),
                    artifact_digest=app.function.artifact_digest,
                    queued=sum(counts.get(lane, (0, 0))[0] for lane in lanes),
                    dead=sum(counts.get(lane, (0, 0))[1] for lane in lanes),
                    site=app.function.site,
                    sources=tuple(str(agent) for key, agent in self._agents.items() if key.startswith(f"{name}.")),
                    delivered=sum(self._broker.delivered.get(lane, 0) for lane in lanes),
                    agents=self._agent_statuses(name),
                    pauses=tuple(
                        LanePause(lane=lane, reason=paused[lane].reason, since=paused[lane].since)
                        for lane in lanes
                        if lane in paused
                    ),
                )
            )
        broken = [
            FunctionStatus(name=name, state="failed", reason=reason) for name, reason in sorted(self._faults.items())
        ]
        return found + broken

    def _agent_statuses(self, name: str) -> tuple[AgentStatus, ...]:
        """The agents of one app, asked over their sockets."""
        return tuple(
            read_agent(agent.source.name, self._state.agent_socket(key), exit_code=agent.process.exit_code)
            for key, agent in list(self._agents.items())
            if key.startswith(f"{name}.")
        )

    def _activator(self, name: str) -> Activator:
        activator = self._activators.get(name)
        if activator is None:
            raise NotFoundError(
                f"no function {name!r} runs here (running: {', '.join(sorted(self._activators)) or 'none'})"
            )
        return activator

    def _reconcile(self) -> None:
        self._take_up_specs()
        self._tend_agents()

    def _take_up_specs(self) -> None:
        """Make functions and triggers agree with the spec files; one that can't be read leaves its app as it was."""
        apps, self._faults = self._state.read_specs()
        apps |= {name: self._apps[name] for name in self._faults if name in self._apps}
        if apps != self._apps:
            self._change(apps)
        self._apps = apps

    def _change(self, apps: Mapping[str, AppSpec]) -> None:
        """Start what is new, replace what changed, stop what is gone."""
        leaving = []
        for name, activator in list(self._activators.items()):
            if name not in apps or apps[name].function != activator.spec:
                leaving.append(self._activators.pop(name))
        for name, app in apps.items():
            if name not in self._activators:
                self._activators[name] = Activator(app.function, self._state, inherit=self._environ)
                _log.info("function %s: wanted, artifact %s", name, app.function.artifact)
        self._broker.subscribe({sub.lane: sub for app in apps.values() for sub in self._subscriptions(app)})
        for activator in leaving:
            activator.stop()

    def _subscriptions(self, app: AppSpec) -> list[Subscription]:
        return [
            Subscription(
                app=app.function.name,
                trigger=trigger,
                send=partial(self._send, trigger, app.function.name),
                parallel=4 if trigger.url else capacity_of(app.function),
            )
            for trigger in app.triggers
        ]

    def _send(self, trigger: TriggerSpec, app: str, event: Event) -> Answer:
        timeout_s = trigger.delivery.timeout_s
        if trigger.url:
            return self._client.post(trigger.url, event, prefer_reply=True, timeout_s=timeout_s)
        try:
            return self._activator(trigger.function or app).send(event, timeout_s=timeout_s)
        except StartError as error:  # it never got there: the event waits until the function can start
            raise UnreachableError(error.message, hint=error.hint) from error

    def _tend_agents(self) -> None:
        """Run exactly the agents wanted; start again those that ended, with growing pauses."""
        wanted = {f"{name}.{source.name}": (app, source) for name, app in self._apps.items() for source in app.sources}
        for key in [key for key in self._agents if key not in wanted or wanted[key][1] != self._agents[key].source]:
            self._agents.pop(key).process.stop()
        for key, (app, source) in wanted.items():
            agent = self._agents.get(key)
            if agent is None:
                self._agents[key] = Agent(source=source, process=self._start_agent(key, app, source))
            elif not agent.process.running and agent.due():
                _log.warning("source %s ended with %s; see its log", key, agent.process.exit_code)
                agent.process = self._start_agent(key, app, source)

    def _start_agent(self, key: str, app: AppSpec, source: SourceSpec) -> Process:
        environ = {
            "EAVES_SOURCE": source.name,
            "EAVES_SITE": app.function.site,
            "EAVES_KIND": source.kind,
            "EAVES_PATH": str(source.path),
            "EAVES_POLLING": str(source.polling).lower(),
            "EAVES_SPOOL": str(self._state.source_spool(key)),
            "EAVES_ADMIN_SOCKET": str(self._state.agent_socket(key)),
            "K_SINK": self.url,
        }
        return Process("eaves.sources", environ, self._state.log(key), inherit=self._environ)


def _take_lock(state: State) -> int:
    handle = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise PlatformError(
            f"another `eaves up` runs on {state.root}",
            hint="use that one, or choose another state directory with --state",
        ) from error
    os.truncate(handle, 0)
    os.write(handle, json.dumps({"pid": os.getpid()}).encode())
    return handle
