"""Starts and stops the agents of apps, one process per app."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from eaves.admin.client import list_hung_parts
from eaves.base.clock import SYSTEM, Clock
from eaves.local.processes.process import Launch, Process
from eaves.local.processes.process_group import ProcessGroup, ProcessKind, RestartCheck
from eaves.local.state import AGENT, StateDirectory
from eaves.platform import AppSpec, find_timeout_s


class Agents(ProcessGroup):
    """The agents of all apps.

    Args:
        state: State directory with the agents' logs and spools.
        sink: Address of the broker.
        sink_token: Absolute path of the file with the token that the broker needs; None when it needs none.
        inherit: Environment of the supervisor.
        clock: Clock for pauses.
        launch: Starts a process.
        ask: Returns the reasons why the agent at a socket must be restarted.
    """

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
        self._state = state
        self._sink = {"K_SINK": sink, **({"EAVES_SINK_TOKEN": str(sink_token)} if sink_token is not None else {})}
        self._sources: dict[str, tuple[str, ...]] = {}
        kind = ProcessKind(
            name=AGENT, module="eaves.sources", log=state.agent_log, socket=state.agent_socket, queue=str
        )
        super().__init__(kind, inherit=inherit, clock=clock, launch=launch, ask=ask)

    def reconcile(self, apps: Mapping[str, AppSpec]) -> None:
        """Start and stop agents so that exactly those of the given apps run.

        An agent that has ended is restarted after a pause.
        """
        self._sources = {name: tuple(source.name for source in app.sources) for name, app in apps.items()}
        super().reconcile(apps)

    def list_sources(self, app: str) -> tuple[str, ...]:
        """Return the names of an app's sources."""
        return self._sources.get(app, ())

    def describe(self, app: str) -> tuple[str, ...]:
        """Return the sources of an app as `NAME: STATE`, with the state of the agent process that runs them."""
        agent = self.member(app)
        return tuple(f"{source}: {agent.describe()}" for source in self.list_sources(app)) if agent else ()

    def find_environ(self, app: str) -> Mapping[str, str]:
        """Return the variables with which boto3 logs in at a bucket; only agents get them."""
        return {name: value for name, value in self._inherit.items() if name.startswith("AWS_")}

    def build_environ(self, app: AppSpec) -> Mapping[str, str] | None:
        """Return the environment of an app's agent; None for an app without sources."""
        name = app.function.name
        if not app.sources:
            return None
        return {
            "EAVES_SOURCES": json.dumps([source.settings for source in app.sources]),
            "EAVES_SITE": app.function.site,
            "EAVES_SPOOL": str(self._state.agent_spool(name)),
            "EAVES_ADMIN_SOCKET": str(self._state.agent_socket(name)),
            **self._sink,
            **_cloud(app),
        }


def _cloud(app: AppSpec) -> dict[str, str]:
    """Return the environment variables for an agent whose images are predicted by a function in the cloud.

    The time limit of a request includes the start of that function.
    """
    if not app.cloud_function:
        return {}
    variables = {
        "EAVES_FUNCTION_URL": app.cloud_function,
        "EAVES_TIMEOUT_S": f"{find_timeout_s(app.function.scale.start_timeout_s):g}",
    }
    folder = app.relay.credentials
    return {**variables, "EAVES_FUNCTION_CREDENTIALS": str(folder)} if folder is not None else variables
