"""`eaves up`: makes what runs agree with the spec files, until it is told to stop."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Mapping
from functools import partial

from eaves.delivery import Answer, HttpAnswer, SinkClient
from eaves.errors import NotFoundError, PlatformError
from eaves.events import Event
from eaves.history import FileHistory
from eaves.local.activator import Activator
from eaves.local.broker import Broker, Subscription, lane_of
from eaves.local.process import Process
from eaves.local.state import State
from eaves.local.web import WebServer, create_app
from eaves.platform import AppSpec, FunctionStatus, SourceSpec, TriggerSpec
from eaves.spool import Spool

RECONCILE_S = 1.0
"""How often spec files are looked at; `deploy` also knocks on the control socket."""
DIRECT_TIMEOUT_S = 120.0

_log = logging.getLogger(__name__)


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
        self._client = SinkClient()
        self._activators: dict[str, Activator] = {}
        self._agents: dict[str, tuple[SourceSpec, Process]] = {}
        self._apps: dict[str, AppSpec] = {}
        self._faults: dict[str, str] = {}
        self._turn = threading.Condition()
        self._asked = self._done = 0
        self._stopping = False
        try:
            self._ingress = WebServer(create_app(self, control=False), port=port)
        except OSError as error:
            raise PlatformError(
                f"port {port} can't be used: {error.strerror or error}", hint="eaves up --port 0 takes a free one"
            ) from error
        self._control = WebServer(create_app(self, control=True), socket=state.socket)

    @property
    def url(self) -> str:
        """Where the broker takes events."""
        return f"http://127.0.0.1:{self._ingress.port}/"

    def run(self) -> None:
        """Reconcile until `stop` is called, then stop everything in order: sources, deliveries, functions."""
        while not self._stopping:
            with self._turn:
                asked = self._asked
            self._reconcile()
            with self._turn:
                self._done = asked
                self._turn.notify_all()
                self._turn.wait_for(lambda: self._stopping or self._asked > self._done, RECONCILE_S)
        for _, process in self._agents.values():
            process.terminate()
        self._ingress.stop()
        self._broker.stop()
        for _, process in self._agents.values():
            process.stop()
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
        """Hand an event to the broker."""
        self._broker.accept(event)

    def forward(self, name: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        """Pass one request to a function.

        Raises:
            NotFoundError: When there is no such function.
        """
        return self._activator(name).forward(headers, body, timeout_s=DIRECT_TIMEOUT_S)

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
                    delivered=sum(self._broker.delivered.get(lane, 0) for lane in lanes),
                )
            )
        broken = [
            FunctionStatus(name=name, state="failed", reason=reason) for name, reason in sorted(self._faults.items())
        ]
        return found + broken

    def _activator(self, name: str) -> Activator:
        activator = self._activators.get(name)
        if activator is None:
            raise NotFoundError(
                f"no function {name!r} runs here (running: {', '.join(sorted(self._activators)) or 'none'})"
            )
        return activator

    def _reconcile(self) -> None:
        apps, self._faults = self._state.read_specs()
        if apps != self._apps:
            self._change(apps)
        self._apps = apps
        self._tend_agents()

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
                parallel=4 if trigger.url else self._activators[app.function.name].capacity,
            )
            for trigger in app.triggers
        ]

    def _send(self, trigger: TriggerSpec, app: str, event: Event) -> Answer:
        timeout_s = trigger.delivery.timeout_s
        if trigger.url:
            return self._client.post(trigger.url, event, prefer_reply=True, timeout_s=timeout_s)
        return self._activator(trigger.function or app).send(event, timeout_s=timeout_s)

    def _tend_agents(self) -> None:
        """Run exactly the agents wanted; start again those that ended."""
        wanted = {f"{name}-{source.name}": (app, source) for name, app in self._apps.items() for source in app.sources}
        for key in [key for key in self._agents if key not in wanted or wanted[key][1] != self._agents[key][0]]:
            self._agents.pop(key)[1].stop()
        for key, (app, source) in wanted.items():
            if key in self._agents and self._agents[key][1].running:
                continue
            if key in self._agents:
                _log.warning("source %s ended with %s; starting it again", key, self._agents[key][1].exit_code)
            self._agents[key] = (source, self._start_agent(key, app, source))

    def _start_agent(self, key: str, app: AppSpec, source: SourceSpec) -> Process:
        environ = {
            "EAVES_SOURCE": source.name,
            "EAVES_SITE": app.function.site,
            "EAVES_KIND": source.kind,
            "EAVES_PATH": str(source.path),
            "EAVES_POLLING": str(source.polling).lower(),
            "EAVES_SPOOL": str(self._state.source_spool(key)),
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
