"""The agents of apps, one process each: started, watched, and started again with growing pauses when they end."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eaves.admin.client import list_hung_parts
from eaves.admin.summary import AgentStatus, describe_silent
from eaves.backoff import Backoff
from eaves.clock import SYSTEM, Clock
from eaves.local.failures import Failures, describe
from eaves.local.process import Child, Launch, Process
from eaves.local.queues import read_agent
from eaves.local.state import State
from eaves.platform import AppSpec

RESTART = Backoff(retry=None, first_s=2.0, cap_s=60.0)
"""Pauses before an agent that ended is started again."""
LIVENESS_S, LIVENESS_TIMEOUT_S = 60.0, 2.0
"""Seconds between two questions whether a source hangs, and for an answer."""
STEADY_S = 600.0
"""An agent that ran for so long works: its next end counts as the first. Ten times the longest pause, so that one that
ends every few minutes still gets growing pauses."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Agent:
    """The process of one app's sources.

    Attributes:
        environ: What it was started with.
        sources: Names of its sources.
        failures: Its ends in a row.
        process: The process, running or ended; None before it could be started.
        started_at: Start of the process, by the clock's monotonic seconds.
        ended: Whether the end of the process was counted.
        asked_at: When it was asked whether a source hangs, by the clock's monotonic seconds.
    """

    environ: Mapping[str, str]
    sources: tuple[str, ...]
    failures: Failures
    process: Child | None = None
    started_at: float = 0.0
    ended: bool = True
    asked_at: float = 0.0

    def describe(self) -> str:
        """Return the state of the process, for people."""
        if self.process is None:
            return f"can't be started: {self.failures.reason}" if self.failures.reason else "starting"
        code = self.process.exit_code
        return "running" if code is None else f"ended with {code}"


class Ask(Protocol):
    """Asks a process whether it must be started again."""

    def __call__(self, path: Path, *, timeout_s: float) -> Sequence[str]:
        """Return the reasons; none when it needn't be, or doesn't answer."""


class Agents:
    """The agents of all apps. All calls but `describe` and `failed` come from one thread, which must last.

    The kernel ends children with the thread that started them.

    Args:
        state: State directory, which has their logs and spools.
        sink: Address of the broker.
        inherit: Environment of the supervisor.
        clock: Clock for pauses.
        launch: Starts a process.
        ask: Gives the reasons why the agent at a socket must be started again.
    """

    def __init__(
        self,
        state: State,
        *,
        sink: str,
        inherit: Mapping[str, str],
        clock: Clock = SYSTEM,
        launch: Launch = Process,
        ask: Ask = list_hung_parts,
    ) -> None:
        self._ask = ask
        self._state = state
        self._sink = sink
        self._inherit = inherit
        self._clock = clock
        self._launch = launch
        self._agents: dict[str, Agent] = {}

    def reconcile(self, apps: Mapping[str, AppSpec]) -> None:
        """Run exactly the agents of these apps; start those again that ended and whose pause is over."""
        wanted = {name: self._environ(name, app) for name, app in apps.items() if app.sources}
        for name in [name for name, agent in self._agents.items() if wanted.get(name) != agent.environ]:
            agent = self._agents.pop(name)
            if agent.process is not None:
                agent.process.stop()
        for name, environ in wanted.items():
            if name not in self._agents:
                sources = tuple(source.name for source in apps[name].sources)
                self._agents[name] = Agent(environ=environ, sources=sources, failures=Failures(RESTART, self._clock))
            self._tend(name, self._agents[name])

    def describe(self, app: str) -> tuple[str, ...]:
        """Return the sources of an app, `NAME: STATE` each, with the state of the process that runs them."""
        agent = self._agents.get(app)
        return tuple(f"{source}: {agent.describe()}" for source in agent.sources) if agent else ()

    def statuses(self, app: str) -> tuple[AgentStatus, ...]:
        """Return what the agent of an app says of its sources and its queue; nothing when it has no sources."""
        agent = self._agents.get(app)
        if agent is None:
            return ()
        if agent.process is not None and agent.process.running:
            return (read_agent(app, agent.sources, self._state.agent_socket(app)),)
        return (describe_silent(app, agent.sources, state="stopped", reason=agent.describe()),)

    def failed(self) -> dict[str, str]:
        """Return, by app, why its agent can't be started."""
        return {
            app: f"the agent of {app} {agent.describe()}"
            for app, agent in list(self._agents.items())
            if agent.process is None and agent.failures.reason
        }

    def terminate(self) -> None:
        """Ask all of them to finish."""
        for agent in self._agents.values():
            if agent.process is not None:
                agent.process.terminate()

    def stop(self) -> None:
        """Ask all of them to finish and wait until they have."""
        self.terminate()
        for agent in self._agents.values():
            if agent.process is not None:
                agent.process.stop()

    def _tend(self, app: str, agent: Agent) -> None:
        if agent.process is not None and agent.process.running:
            if self._clock.monotonic() - agent.started_at >= STEADY_S:
                agent.failures.clear()
            self._end_if_hung(app, agent, agent.process)
            return
        if agent.process is not None and not agent.ended:
            agent.ended = True
            code = agent.process.exit_code
            pause_s = agent.failures.note(f"ended with {code}")
            _log.warning(
                "the agent of %s ended with %s; it is started again in %.0f s, see its log: eaves logs %s.agent",
                app,
                code,
                pause_s,
                app,
            )
        if agent.failures.due():
            self._start(app, agent)

    def _end_if_hung(self, app: str, agent: Agent, process: Child) -> None:
        """End a process of which a part hangs, as nothing else ends that; it is started again."""
        now = self._clock.monotonic()
        if now - agent.asked_at < LIVENESS_S:
            return
        agent.asked_at = now
        if reasons := self._ask(self._state.agent_socket(app), timeout_s=LIVENESS_TIMEOUT_S):
            _log.warning("the agent of %s is started again: %s", app, "; ".join(reasons))
            process.stop()

    def _start(self, app: str, agent: Agent) -> None:
        former = self._state.former_spools(app)
        takeover = {"EAVES_TAKEOVER": json.dumps([str(path) for path in former])} if former else {}
        try:
            agent.process = self._launch(
                "eaves.sources", {**agent.environ, **takeover}, self._state.agent_log(app), inherit=self._inherit
            )
        except Exception as error:  # noqa: BLE001 - one agent that can't be started must not stop the others
            agent.process = None
            pause_s = agent.failures.note(describe(error))
            _log.error("the agent of %s can't be started: %s; next try in %.0f s", app, describe(error), pause_s)
        else:
            agent.started_at = agent.asked_at = self._clock.monotonic()
            agent.ended = False

    def _environ(self, name: str, app: AppSpec) -> dict[str, str]:
        """Return the environment of the agent of an app."""
        return {
            "EAVES_SOURCES": json.dumps([source.settings for source in app.sources]),
            "EAVES_SITE": app.function.site,
            "EAVES_SPOOL": str(self._state.agent_spool(name)),
            "EAVES_ADMIN_SOCKET": str(self._state.agent_socket(name)),
            "K_SINK": self._sink,
        }
