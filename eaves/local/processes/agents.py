"""The agents of apps, one process each."""

from __future__ import annotations

import json
from collections.abc import Mapping

from eaves.admin.client import list_hung_parts
from eaves.admin.summary import AgentStatus, describe_silent
from eaves.base.clock import SYSTEM, Clock
from eaves.local.processes.process import Launch, Process
from eaves.local.processes.process_group import ProcessGroup, ProcessKind, RestartCheck
from eaves.local.queues import read_agent
from eaves.local.state import AGENT, StateDirectory
from eaves.platform import AppSpec, find_timeout_s


class Agents:
    """The agents of all apps. All calls but `describe`, `statuses` and `failed` come from one thread, which must last.

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
        state: StateDirectory,
        *,
        sink: str,
        inherit: Mapping[str, str],
        clock: Clock = SYSTEM,
        launch: Launch = Process,
        ask: RestartCheck = list_hung_parts,
    ) -> None:
        self._state = state
        self._sink = sink
        self._sources: dict[str, tuple[str, ...]] = {}
        kind = ProcessKind(
            name=AGENT,
            module="eaves.sources",
            log=state.agent_log,
            socket=state.agent_socket,
            prepare=self._find_takeover,
        )
        self._group = ProcessGroup(kind, inherit=inherit, clock=clock, launch=launch, ask=ask)

    def reconcile(self, apps: Mapping[str, AppSpec]) -> None:
        """Run exactly the agents of these apps; start those again that ended and whose pause is over."""
        wanted = {name: app for name, app in apps.items() if app.sources}
        self._sources = {name: tuple(source.name for source in app.sources) for name, app in wanted.items()}
        self._group.reconcile({name: self._environ(name, app) for name, app in wanted.items()})

    def describe(self, app: str) -> tuple[str, ...]:
        """Return the sources of an app, `NAME: STATE` each, with the state of the process that runs them."""
        agent = self._group.member(app)
        return tuple(f"{source}: {agent.describe()}" for source in self._sources.get(app, ())) if agent else ()

    def statuses(self, app: str) -> tuple[AgentStatus, ...]:
        """Return what the agent of an app says of its sources and its queue; nothing when it has no sources."""
        agent = self._group.member(app)
        if agent is None:
            return ()
        sources = self._sources.get(app, ())
        if agent.running:
            return (read_agent(app, sources, self._state.agent_socket(app)),)
        return (describe_silent(app, sources, state="stopped", reason=agent.describe()),)

    def failed(self) -> dict[str, str]:
        """Return, by app, why its agent can't be started."""
        return self._group.failed()

    def terminate(self) -> None:
        """Ask all of them to finish."""
        self._group.terminate()

    def stop(self) -> None:
        """Ask all of them to finish and wait until they have."""
        self._group.stop()

    def _find_takeover(self, app: str) -> Mapping[str, str]:
        former = self._state.former_spools(app)
        return {"EAVES_TAKEOVER": json.dumps([str(path) for path in former])} if former else {}

    def _environ(self, name: str, app: AppSpec) -> dict[str, str]:
        """Return the environment of the agent of an app."""
        return {
            "EAVES_SOURCES": json.dumps([source.settings for source in app.sources]),
            "EAVES_SITE": app.function.site,
            "EAVES_SPOOL": str(self._state.agent_spool(name)),
            "EAVES_ADMIN_SOCKET": str(self._state.agent_socket(name)),
            "K_SINK": self._sink,
            **_cloud(app),
        }


def _cloud(app: AppSpec) -> dict[str, str]:
    """What an agent is told that asks the function in the cloud, and has its time for a cold start there."""
    if not app.cloud_function:
        return {}
    told = {
        "EAVES_FUNCTION_URL": app.cloud_function,
        "EAVES_TIMEOUT_S": f"{find_timeout_s(app.function.scale.start_timeout_s):g}",
    }
    folder = app.relay.credentials
    return {**told, "EAVES_FUNCTION_CREDENTIALS": str(folder)} if folder is not None else told
