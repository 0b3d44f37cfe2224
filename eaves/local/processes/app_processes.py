"""The agents and the relays: one process of each kind for an app, started, watched, and restarted when it ends."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eaves.admin.client import list_hung_parts
from eaves.admin.summary import AgentStatus, describe_silent
from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.config import iter_leaves
from eaves.delivery import SinkClient, SinkResponse
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.local.processes.process import HOST, Child, Failures, Launch, Process, describe_exception, find_free_port
from eaves.local.queues import read_agent
from eaves.local.state import AGENT, StateDirectory
from eaves.platform import RELAY, AppSpec, find_timeout_s
from eaves.relay.settings import RelaySettings

RESTART = Backoff(retry=None, first_s=2.0, cap_s=60.0)
"""Pauses before a process that has ended is restarted; they grow with the number of consecutive ends."""
LIVENESS_S, LIVENESS_TIMEOUT_S = 60.0, 2.0
"""Interval between two checks whether a part of a process hangs, and the time limit of one check, seconds."""
STEADY_S = 600.0
"""Running time after which a process counts as healthy, seconds, so that its next end counts as the first failure. The
time is ten times the longest pause, so a process that ends every few minutes still gets growing pauses."""
RELAY_TIMEOUT_S = 30.0
"""Time limit for passing one event to a relay, seconds; the relay responds as soon as the event is on its disk."""
_RELAY_ENV = {leaf.path: leaf.env for leaf in iter_leaves(RelaySettings)}

_log = logging.getLogger(__name__)


class RestartCheck(Protocol):
    """Function that asks a process over its admin socket whether it must be restarted."""

    def __call__(self, path: Path, *, timeout_s: float) -> Sequence[str]:
        """Return why the process at a socket must be restarted; empty when there is no reason or no response."""


@dataclass(slots=True, eq=False)
class Member:
    """The process of one app, and when it was started and checked.

    Attributes:
        environ: Environment of the process.
        failures: Consecutive ends of the process.
        process: The process, running or ended; None before it could be started.
        started_at: Start of the process, by the clock's monotonic seconds.
        ended: Whether the end of the process was counted as a failure.
        asked_at: Time of the last check for hung parts, by the clock's monotonic seconds.
    """

    environ: Mapping[str, str]
    failures: Failures
    process: Child | None = None
    started_at: float = 0.0
    ended: bool = True
    asked_at: float = 0.0

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.process is not None and self.process.running

    def describe(self) -> str:
        """Return the state of the process, for people."""
        if self.process is None:
            return f"can't be started: {self.failures.reason}" if self.failures.reason else "starting"
        code = self.process.exit_code
        return "running" if code is None else f"ended with {code}"


class AppProcesses(ABC):
    """One process of the same kind for each app, such as its agent.

    `reconcile`, `terminate` and `stop` must be called by one thread that lives as long as the group, because the kernel
    ends child processes with the thread that started them.

    Attributes:
        kind: Name of the kind, such as `agent`; the log of an app's process is `APP.KIND`.
        module: Module that is started as `python -P -m MODULE`.

    Args:
        state: State directory with the logs, spools and sockets of the processes.
        inherit: Environment of the supervisor.
        clock: Clock for pauses.
        launch: Starts a process.
        ask: Returns the reasons why the process at a socket must be restarted.
    """

    kind: str
    module: str

    def __init__(
        self,
        state: StateDirectory,
        *,
        inherit: Mapping[str, str],
        clock: Clock = SYSTEM,
        launch: Launch = Process,
        ask: RestartCheck = list_hung_parts,
    ) -> None:
        self._state = state
        self._inherit = inherit
        self._clock = clock
        self._launch = launch
        self._ask = ask
        self._members: dict[str, Member] = {}

    @abstractmethod
    def build_environ(self, app: AppSpec) -> Mapping[str, str] | None:
        """Return the environment of an app's process; None when the app needs none."""

    @abstractmethod
    def find_socket(self, app: str) -> Path:
        """Return the admin socket of an app's process."""

    @abstractmethod
    def statuses(self, app: str) -> tuple[AgentStatus, ...]:
        """Return the status of the queue of an app's process; empty when the app needs none."""

    def find_environ(self, app: str) -> Mapping[str, str]:
        """Return the environment variables that are computed anew at each start of an app's process."""
        return {}

    def reconcile(self, apps: Mapping[str, AppSpec]) -> None:
        """Start and stop processes so that exactly those of the given apps run.

        A process that has ended is restarted after a pause.
        """
        found = {name: self.build_environ(app) for name, app in apps.items()}
        wanted = {name: environ for name, environ in found.items() if environ is not None}
        for app in [app for app, member in self._members.items() if wanted.get(app) != member.environ]:
            member = self._members.pop(app)
            if member.process is not None:
                member.process.stop()
        for app, environ in wanted.items():
            if app not in self._members:
                self._members[app] = Member(environ=environ, failures=Failures(RESTART, self._clock))
            self._keep_running(app, self._members[app])

    def failed(self) -> dict[str, str]:
        """Return the reason by app for each process that can't be started."""
        return {
            app: f"the {self.kind} of {app} {member.describe()}"
            for app, member in list(self._members.items())
            if member.process is None and member.failures.reason
        }

    def terminate(self) -> None:
        """Ask all processes to finish."""
        for member in self._members.values():
            if member.process is not None:
                member.process.terminate()

    def stop(self) -> None:
        """Ask all processes to finish, and wait until they have."""
        self.terminate()
        for member in self._members.values():
            if member.process is not None:
                member.process.stop()

    def _read_statuses(self, app: str, queue: str, sources: Sequence[str]) -> tuple[AgentStatus, ...]:
        member = self._members.get(app)
        if member is None:
            return ()
        if member.running:
            return (read_agent(queue, sources, self.find_socket(app)),)
        return (describe_silent(queue, sources, state="stopped", reason=member.describe()),)

    def _keep_running(self, app: str, member: Member) -> None:
        if member.process is not None and member.process.running:
            if self._clock.monotonic() - member.started_at >= STEADY_S:
                member.failures.clear()
            self._end_if_hung(app, member, member.process)
            return
        if member.process is not None and not member.ended:
            member.ended = True
            code = member.process.exit_code
            pause_s = member.failures.note(f"ended with {code}")
            _log.warning(
                "the %s of %s ended with %s; it is started again in %.0f s; its log: eaves logs %s.%s",
                *(self.kind, app, code, pause_s, app, self.kind),
            )
        if member.failures.due():
            self._start(app, member)

    def _end_if_hung(self, app: str, member: Member, process: Child) -> None:
        """Stop a process that reports a hung part; the next `reconcile` restarts it."""
        now = self._clock.monotonic()
        if now - member.asked_at < LIVENESS_S:
            return
        member.asked_at = now
        if reasons := self._ask(self.find_socket(app), timeout_s=LIVENESS_TIMEOUT_S):
            _log.warning("the %s of %s is started again: %s", self.kind, app, "; ".join(reasons))
            process.stop()

    def _start(self, app: str, member: Member) -> None:
        try:
            environ = {**member.environ, **self.find_environ(app)}
            log = self._state.log(f"{app}.{self.kind}")
            member.process = self._launch(self.module, environ, log, inherit=self._inherit)
        except Exception as error:  # noqa: BLE001 - one process that can't be started must not stop the others
            member.process = None
            reason = describe_exception(error)
            pause_s = member.failures.note(reason)
            _log.error("the %s of %s can't be started: %s; next try in %.0f s", self.kind, app, reason, pause_s)
        else:
            member.started_at = member.asked_at = self._clock.monotonic()
            member.ended = False


class Agents(AppProcesses):
    """The agents of all apps; each runs the sources of its app.

    Args:
        state: State directory with the agents' logs and spools.
        sink: Address of the broker.
        sink_token: Absolute path of the file with the token that the broker needs; None when it needs none.
        inherit: Environment of the supervisor.
        clock: Clock for pauses.
        launch: Starts a process.
        ask: Returns the reasons why the agent at a socket must be restarted.
    """

    kind, module = AGENT, "eaves.sources"

    def __init__(
        self,
        state: StateDirectory,
        *,
        sink: str,
        sink_token: Path | None = None,
        inherit: Mapping[str, str],
        clock: Clock = SYSTEM,
        launch: Launch = Process,
        ask: RestartCheck = list_hung_parts,
    ) -> None:
        super().__init__(state, inherit=inherit, clock=clock, launch=launch, ask=ask)
        self._sink = {"K_SINK": sink, **({"EAVES_SINK_TOKEN": str(sink_token)} if sink_token is not None else {})}
        self._sources: dict[str, tuple[str, ...]] = {}

    def find_environ(self, app: str) -> Mapping[str, str]:
        """Return the variables with which boto3 logs in at a bucket; only agents get them."""
        return {name: value for name, value in self._inherit.items() if name.startswith("AWS_")}

    def reconcile(self, apps: Mapping[str, AppSpec]) -> None:
        """Start and stop agents so that exactly those of the given apps run."""
        self._sources = {name: tuple(source.name for source in app.sources) for name, app in apps.items()}
        super().reconcile(apps)

    def find_socket(self, app: str) -> Path:
        """Return the admin socket of an app's agent."""
        return self._state.agent_socket(app)

    def statuses(self, app: str) -> tuple[AgentStatus, ...]:
        """Return the status of an app's agent; empty for an app without sources."""
        return self._read_statuses(app, app, self._sources.get(app, ()))

    def describe(self, app: str) -> tuple[str, ...]:
        """Return the sources of an app as `NAME: STATE`, with the state of the agent process that runs them."""
        agent = self._members.get(app)
        return tuple(f"{source}: {agent.describe()}" for source in self._sources.get(app, ())) if agent else ()

    def build_environ(self, app: AppSpec) -> Mapping[str, str] | None:
        """Return the environment of an app's agent; None for an app without sources."""
        name = app.function.name
        if not app.sources:
            return None
        environ = {
            "EAVES_SOURCES": json.dumps([source.settings for source in app.sources]),
            "EAVES_SITE": app.function.site,
            "EAVES_SPOOL": str(self._state.agent_spool(name)),
            "EAVES_ADMIN_SOCKET": str(self._state.agent_socket(name)),
            **self._sink,
        }
        if app.cloud_function:  # a request's time limit includes the start of that function
            environ["EAVES_FUNCTION_URL"] = app.cloud_function
            environ["EAVES_TIMEOUT_S"] = f"{find_timeout_s(app.function.scale.start_timeout_s):g}"
            if app.relay.credentials is not None:
                environ["EAVES_FUNCTION_CREDENTIALS"] = str(app.relay.credentials)
        return environ


class Relays(AppProcesses):
    """The relays of all apps; each forwards the predictions and rejected events of its app to the receiver."""

    kind, module = RELAY, "eaves.relay"

    def __init__(
        self,
        state: StateDirectory,
        *,
        inherit: Mapping[str, str],
        clock: Clock = SYSTEM,
        launch: Launch = Process,
        ask: RestartCheck = list_hung_parts,
    ) -> None:
        super().__init__(state, inherit=inherit, clock=clock, launch=launch, ask=ask)
        self._ports: dict[str, int] = {}
        self._client = SinkClient()

    def reconcile(self, apps: Mapping[str, AppSpec]) -> None:
        """Start and stop relays so that exactly those of the given apps run.

        The queue of a removed relay stays on disk, and a later relay of the same app delivers it.
        """
        for name in self._members:
            if name not in apps or not apps[name].relay.enabled:
                _log.warning(
                    "the relay of %s is removed; its events are kept: eaves queue --agent %s.relay", name, name
                )
        super().reconcile(apps)

    def find_socket(self, app: str) -> Path:
        """Return the admin socket of an app's relay."""
        return self._state.relay_socket(app)

    def statuses(self, app: str) -> tuple[AgentStatus, ...]:
        """Return the status of an app's relay; empty for an app without one."""
        return self._read_statuses(app, f"{app}.{RELAY}", ())

    def send(self, app: str, event: Event) -> SinkResponse:
        """Send an event to the relay of an app; a success means that the event is on the relay's disk.

        Raises:
            UnreachableError: When the relay doesn't run.
            DeliveryError: When the relay doesn't respond.
        """
        relay = self._members.get(app)
        if relay is None or not relay.running:
            state = relay.describe() if relay is not None else "not started yet"
            raise UnreachableError(f"the relay of {app} is {state}", hint=f"eaves logs {app}.{RELAY}")
        url = f"http://{HOST}:{self._ports[app]}/"
        return self._client.post(url, event, prefer_reply=False, timeout_s=RELAY_TIMEOUT_S)

    def stop(self) -> None:
        """Ask all relays to finish, and wait until they have."""
        super().stop()
        self._client.close()

    def find_environ(self, app: str) -> Mapping[str, str]:
        """Return a newly chosen port for each start of a relay; another program may have taken the previous port."""
        self._ports[app] = find_free_port()
        return {_RELAY_ENV["port"]: str(self._ports[app])}

    def build_environ(self, app: AppSpec) -> Mapping[str, str] | None:
        """Return the environment of an app's relay; None for an app without one."""
        name = app.function.name
        if not app.relay.enabled:
            return None
        settings = {
            **app.relay.settings,
            "site": app.function.site,
            "spool": str(self._state.relay_spool(name)),
            "admin_socket": str(self._state.relay_socket(name)),
        }
        if app.relay.credentials is not None:
            settings["credentials"] = str(app.relay.credentials)
        return {_RELAY_ENV[path]: value for path, value in settings.items()}
