"""The processes of sources: started, watched, and started again with growing pauses when they end."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from eaves.admin.summary import AgentStatus
from eaves.backoff import Backoff
from eaves.clock import SYSTEM, Clock
from eaves.local.failures import Failures, describe
from eaves.local.process import Child, Launch, Process
from eaves.local.queues import read_agent
from eaves.local.state import State
from eaves.platform import AppSpec

RESTART = Backoff(retry=None, first_s=2.0, cap_s=60.0)
"""Pauses before an agent that ended is started again."""
STEADY_S = 600.0
"""An agent that ran for so long works: its next end counts as the first. Ten times the longest pause, so that one that
ends every few minutes still gets growing pauses."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Agent:
    """One source's process.

    Attributes:
        environ: What it was started with.
        failures: Its ends in a row.
        process: The process, running or ended; None before it could be started.
        started_at: Start of the process, by the clock's monotonic seconds.
        ended: Whether the end of the process was counted.
    """

    environ: Mapping[str, str]
    failures: Failures
    process: Child | None = None
    started_at: float = 0.0
    ended: bool = True

    def describe(self) -> str:
        """Return the state of the process, for people."""
        if self.process is None:
            return f"can't be started: {self.failures.reason}" if self.failures.reason else "starting"
        code = self.process.exit_code
        return "running" if code is None else f"ended with {code}"


class Agents:
    """The agents of all apps. All calls but `describe` and `failed` come from one thread, which must last.

    The kernel ends children with the thread that started them.

    Args:
        state: State directory, which has their logs and spools.
        sink: Address of the broker.
        inherit: Environment of the supervisor.
        clock: Clock for pauses.
        launch: Starts a process.
    """

    def __init__(
        self, state: State, *, sink: str, inherit: Mapping[str, str], clock: Clock = SYSTEM, launch: Launch = Process
    ) -> None:
        self._state = state
        self._sink = sink
        self._inherit = inherit
        self._clock = clock
        self._launch = launch
        self._agents: dict[str, Agent] = {}

    def reconcile(self, apps: Mapping[str, AppSpec]) -> None:
        """Run exactly the agents of these apps; start those again that ended and whose pause is over."""
        wanted = {key: environ for name, app in apps.items() for key, environ in self._environs(name, app).items()}
        for key in [key for key, agent in self._agents.items() if wanted.get(key) != agent.environ]:
            agent = self._agents.pop(key)
            if agent.process is not None:
                agent.process.stop()
        for key, environ in wanted.items():
            if key not in self._agents:
                self._agents[key] = Agent(environ=environ, failures=Failures(RESTART, self._clock))
            self._tend(key, self._agents[key])

    def describe(self, app: str) -> tuple[str, ...]:
        """Return the sources of an app, `NAME: STATE` each."""
        agents = list(self._agents.items())
        return tuple(
            f"{key.partition('.')[2]}: {agent.describe()}" for key, agent in agents if key.startswith(f"{app}.")
        )

    def statuses(self, app: str) -> tuple[AgentStatus, ...]:
        """Return what each agent of an app says of its source and its queue."""
        agents = [(key, agent) for key, agent in list(self._agents.items()) if key.startswith(f"{app}.")]
        return tuple(
            read_agent(key.partition(".")[2], self._state.agent_socket(key))
            if agent.process is not None and agent.process.running
            else AgentStatus(source=key.partition(".")[2], state="stopped", reason=agent.describe())
            for key, agent in agents
        )

    def failed(self) -> dict[str, str]:
        """Return, by app, why an agent of it can't be started."""
        return {
            key.partition(".")[0]: f"source {key} {agent.describe()}"
            for key, agent in list(self._agents.items())
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

    def _tend(self, key: str, agent: Agent) -> None:
        if agent.process is not None and agent.process.running:
            if self._clock.monotonic() - agent.started_at >= STEADY_S:
                agent.failures.clear()
            return
        if agent.process is not None and not agent.ended:
            agent.ended = True
            pause_s = agent.failures.note(f"ended with {agent.process.exit_code}")
            _log.warning(
                "source %s ended with %s; it is started again in %.0f s, see its log",
                key,
                agent.process.exit_code,
                pause_s,
            )
        if agent.failures.due():
            self._start(key, agent)

    def _start(self, key: str, agent: Agent) -> None:
        try:
            agent.process = self._launch("eaves.sources", agent.environ, self._state.log(key), inherit=self._inherit)
        except Exception as error:  # noqa: BLE001 - one source that can't be started must not stop the others
            agent.process = None
            pause_s = agent.failures.note(describe(error))
            _log.error("source %s can't be started: %s; next try in %.0f s", key, describe(error), pause_s)
        else:
            agent.started_at, agent.ended = self._clock.monotonic(), False

    def _environs(self, name: str, app: AppSpec) -> dict[str, dict[str, str]]:
        """Return the environment of each agent of an app, by `APP.SOURCE`."""
        return {
            f"{name}.{source.name}": {
                "EAVES_SOURCES": json.dumps([source.settings]),
                "EAVES_SITE": app.function.site,
                "EAVES_SPOOL": str(self._state.source_spool(f"{name}.{source.name}")),
                "EAVES_ADMIN_SOCKET": str(self._state.agent_socket(f"{name}.{source.name}")),
                "K_SINK": self._sink,
            }
            for source in app.sources
        }
