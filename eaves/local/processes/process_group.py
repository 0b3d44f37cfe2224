"""One process for each app, of one kind such as agents: it is started, watched, and restarted when it ends."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eaves.admin.client import list_hung_parts
from eaves.admin.summary import AgentStatus, describe_silent
from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.local.processes.failures import Failures, describe_exception
from eaves.local.processes.process import Child, Launch, Process
from eaves.local.queues import read_agent
from eaves.platform import AppSpec

RESTART = Backoff(retry=None, first_s=2.0, cap_s=60.0)
"""Pauses before a process that has ended is restarted; they grow with the number of consecutive ends."""
LIVENESS_S, LIVENESS_TIMEOUT_S = 60.0, 2.0
"""Interval between two checks whether a part of a process hangs, and the time limit of one check, seconds."""
STEADY_S = 600.0
"""Running time after which a process counts as healthy, seconds, so that its next end counts as the first failure. The
time is ten times the longest pause, so a process that ends every few minutes still gets growing pauses."""

_log = logging.getLogger(__name__)


class RestartCheck(Protocol):
    """Function that asks a process over its admin socket whether it must be restarted."""

    def __call__(self, path: Path, *, timeout_s: float) -> Sequence[str]:
        """Return why the process at a socket must be restarted; empty when there is no reason or no response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessKind:
    """What the processes of one kind, such as agents or relays, have in common.

    Attributes:
        name: Name of the kind, such as `agent`; an app's log is `APP.NAME`.
        module: Module that is started as `python -P -m MODULE`.
        log: Returns the log file of an app's process.
        socket: Returns the admin socket of an app's process.
        queue: Returns the name of the queue of an app's process.
    """

    name: str
    module: str
    log: Callable[[str], Path]
    socket: Callable[[str], Path]
    queue: Callable[[str], str]


@dataclass(slots=True, eq=False)
class Member:
    """The process of one app in a group, and when it was started and checked.

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


class ProcessGroup(ABC):
    """One process of the same kind for each app, such as its agent.

    `reconcile`, `terminate` and `stop` must be called by one thread that lives as long as the group, because the kernel
    ends child processes with the thread that started them.

    Args:
        kind: Common properties of the processes.
        inherit: Environment of the supervisor.
        clock: Clock for pauses.
        launch: Starts a process.
        ask: Returns the reasons why the process at a socket must be restarted.
    """

    def __init__(
        self,
        kind: ProcessKind,
        *,
        inherit: Mapping[str, str],
        clock: Clock = SYSTEM,
        launch: Launch = Process,
        ask: RestartCheck = list_hung_parts,
    ) -> None:
        self._kind = kind
        self._inherit = inherit
        self._clock = clock
        self._launch = launch
        self._ask = ask
        self._members: dict[str, Member] = {}

    @abstractmethod
    def build_environ(self, app: AppSpec) -> Mapping[str, str] | None:
        """Return the environment of an app's process; None when the app needs none."""

    def find_environ(self, app: str) -> Mapping[str, str]:
        """Return the environment variables that are computed anew at each start of an app's process."""
        return {}

    def list_sources(self, app: str) -> Sequence[str]:
        """Return the names of the sources that an app's process runs."""
        return ()

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

    def member(self, app: str) -> Member | None:
        """Return the process of an app; None when the app needs none."""
        return self._members.get(app)

    def statuses(self, app: str) -> tuple[AgentStatus, ...]:
        """Return the status of the queue of an app's process; empty when the app needs none."""
        member = self.member(app)
        if member is None:
            return ()
        name, sources = self._kind.queue(app), self.list_sources(app)
        if member.running:
            return (read_agent(name, sources, self._kind.socket(app)),)
        return (describe_silent(name, sources, state="stopped", reason=member.describe()),)

    def failed(self) -> dict[str, str]:
        """Return the reason by app for each process that can't be started."""
        return {
            app: f"the {self._kind.name} of {app} {member.describe()}"
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
            name = self._kind.name
            _log.warning(
                "the %s of %s ended with %s; it is started again in %.0f s; its log: eaves logs %s.%s",
                *(name, app, code, pause_s, app, name),
            )
        if member.failures.due():
            self._start(app, member)

    def _end_if_hung(self, app: str, member: Member, process: Child) -> None:
        """Stop a process that reports a hung part; the next `reconcile` restarts it."""
        now = self._clock.monotonic()
        if now - member.asked_at < LIVENESS_S:
            return
        member.asked_at = now
        if reasons := self._ask(self._kind.socket(app), timeout_s=LIVENESS_TIMEOUT_S):
            _log.warning("the %s of %s is started again: %s", self._kind.name, app, "; ".join(reasons))
            process.stop()

    def _start(self, app: str, member: Member) -> None:
        kind = self._kind
        try:
            environ = {**member.environ, **self.find_environ(app)}
            member.process = self._launch(kind.module, environ, kind.log(app), inherit=self._inherit)
        except Exception as error:  # noqa: BLE001 - one process that can't be started must not stop the others
            member.process = None
            pause_s = member.failures.note(describe_exception(error))
            _log.error(
                "the %s of %s can't be started: %s; next try in %.0f s",
                kind.name,
                app,
                describe_exception(error),
                pause_s,
            )
        else:
            member.started_at = member.asked_at = self._clock.monotonic()
            member.ended = False
