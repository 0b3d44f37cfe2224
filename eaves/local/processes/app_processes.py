"""The agents and the relays: one process of each kind for an app, started, watched, and restarted when it ends."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from eaves.admin.client import list_hung_parts
from eaves.admin.report import QueueReport, describe_silent
from eaves.base.backoff import Backoff
from eaves.config import iter_leaves
from eaves.delivery import SinkClient, SinkResponse
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.link.settings import RelaySettings
from eaves.local.processes.activator import capacity_of
from eaves.local.processes.process import HOST, Child, ProcessHost, Supervised, find_free_port
from eaves.local.queues import read_agent
from eaves.local.server import FUNCTIONS, RELAYS
from eaves.local.state import AGENT, LocalApp
from eaves.platform import RELAY, find_timeout_s

RESTART = Backoff(retry=None, first_s=2.0, cap_s=60.0)
"""Pauses before a process that has ended is restarted; they grow with the number of consecutive ends."""
LIVENESS_S, LIVENESS_TIMEOUT_S = 60.0, 2.0
"""Interval between two checks whether a part of a process hangs, and the time limit of one check, seconds."""
STEADY_S = 600.0
"""Running time after which a process counts as healthy, seconds, so that its next end counts as the first failure. The
time is ten times the longest pause, so a process that ends every few minutes still gets growing pauses."""
RELAY_TIMEOUT_S = 30.0
"""Time limit for passing one event to a relay, seconds; the relay responds as soon as the event is on its disk."""
MAX_PARALLEL = 64
"""Maximum number of images that an agent sends at the same time (`AgentSettings.parallel`)."""
_RELAY_ENV = {leaf.path: leaf.env for leaf in iter_leaves(RelaySettings)}

_log = logging.getLogger(__name__)


class AppProcesses:
    """The agent of each app, which runs its sources, and its relay, which forwards its predictions to the receiver.

    `reconcile` must be called by one thread that lives as long as the processes, because the kernel ends child
    processes with the thread that started them.

    Args:
        host: What all processes of the platform have in common.
        broker: Returns the address of the platform's port, where the broker and the functions are.
        token: Absolute path of the file with the token that the port needs; None when it needs none.
        ask: Returns the reasons why the process at a socket must be restarted, see `list_hung_parts`.
    """

    def __init__(
        self,
        host: ProcessHost,
        *,
        broker: Callable[[], str],
        token: Path | None = None,
        ask: Callable[..., Sequence[str]] = list_hung_parts,
    ) -> None:
        self._host = host
        self._state = host.state
        self._broker = broker
        self._token = token
        self._ask = ask
        self._members: dict[tuple[str, str], Supervised] = {}
        """Process by app and kind, `agent` or `relay`."""
        self._environs: dict[tuple[str, str], Mapping[str, str]] = {}
        self._sources: dict[str, tuple[str, ...]] = {}
        self._ports: dict[str, int] = {}
        self._client = SinkClient()

    def reconcile(self, apps: Mapping[str, LocalApp]) -> None:
        """Start and stop processes so that exactly those of the given apps run; restart those that have ended.

        The queue of a removed relay stays on disk, and a later relay of the same app delivers it.
        """
        self._sources = {name: tuple(source.name for source in app.sources) for name, app in apps.items()}
        wanted = {(name, RELAY): self._build_relay_environ(app) for name, app in apps.items() if app.relay.enabled}
        wanted |= {(name, AGENT): self._build_agent_environ(app) for name, app in apps.items() if app.sources}
        for key in [key for key in self._members if wanted.get(key) != self._environs[key]]:
            app, kind = key
            if kind == RELAY and key not in wanted:
                _log.warning("the relay of %s is removed; its events are kept: eaves queue --agent %s.relay", app, app)
            self._members.pop(key).stop()
        self._environs = wanted
        for key in wanted:
            if key not in self._members:
                self._members[key] = self._add(*key)
            if not self._members[key].check():
                self._members[key].start()

    def failed(self) -> dict[str, str]:
        """Return the reason by app for each process that can't be started."""
        return {
            app: f"the {kind} of {app} {process.describe()}"
            for (app, kind), process in list(self._members.items())
            if process.child is None and process.failures.reason
        }

    def statuses(self, app: str) -> tuple[QueueReport, ...]:
        """Return the report of each process of an app."""
        queues = {AGENT: (app, self._sources.get(app, ())), RELAY: (f"{app}.{RELAY}", ())}
        found = []
        for kind, (queue, sources) in queues.items():
            if (process := self._members.get((app, kind))) is None:
                continue
            if process.running:
                found.append(read_agent(queue, sources, self._state.socket_of(app, kind)))
            else:
                found.append(describe_silent(queue, sources, state="stopped", reason=process.describe()))
        return tuple(found)

    def send_to_relay(self, app: str, event: Event) -> SinkResponse:
        """Send an event to the relay of an app; a success means that the event is on the relay's disk.

        Raises:
            UnreachableError: When the relay doesn't run.
            DeliveryError: When the relay doesn't respond.
        """
        relay = self._members.get((app, RELAY))
        if relay is None or not relay.running:
            state = relay.describe() if relay is not None else "not started yet"
            raise UnreachableError(f"the relay of {app} is {state}", hint=f"eaves logs {app}.{RELAY}")
        url = f"http://{HOST}:{self._ports[app]}/"
        return self._client.post(url, event, prefer_reply=False, timeout_s=RELAY_TIMEOUT_S)

    def terminate_agents(self) -> None:
        """Ask all agents to finish; return immediately."""
        for (_, kind), process in self._members.items():
            if kind == AGENT:
                process.terminate()

    def stop(self) -> None:
        """Ask all processes to finish, and wait until they have."""
        for process in self._members.values():
            process.terminate()
        for process in self._members.values():
            process.stop()
        self._client.close()

    def _add(self, app: str, kind: str) -> Supervised:
        def find_hang() -> str:
            return "; ".join(self._ask(self._state.socket_of(app, kind), timeout_s=LIVENESS_TIMEOUT_S))

        return Supervised(
            f"the {kind} of {app}",
            f"{app}.{kind}",
            partial(self._launch, app, kind),
            restart=RESTART,
            steady_s=STEADY_S,
            find_hang=find_hang,
            check_s=LIVENESS_S,
            clock=self._host.clock,
        )

    def _launch(self, app: str, kind: str) -> Child:
        environ = self._environs[app, kind]
        if kind == AGENT:
            return self._host.start("eaves.sources", environ, f"{app}.{kind}")
        self._ports[app] = find_free_port()  # another program may have taken the previous one
        port = {_RELAY_ENV["port"]: str(self._ports[app])}
        return self._host.start("eaves.link.relay", {**environ, **port}, f"{app}.{kind}")

    def _build_agent_environ(self, app: LocalApp) -> Mapping[str, str]:
        """Return the environment of an app's agent."""
        name, port = app.function.name, self._broker().rstrip("/")
        environ = {
            **self._host.storage_login,
            "EAVES_SOURCES": json.dumps([source.settings for source in app.sources]),
            "EAVES_SITE": app.function.site,
            "EAVES_SPOOL": str(self._state.spool_of(name)),
            "EAVES_ADMIN_SOCKET": str(self._state.socket_of(name)),
            "K_SINK": f"{port}/",
        }
        if self._token is not None:
            environ["EAVES_SINK_TOKEN"] = str(self._token)
        if app.asks_function:  # a request's time limit includes the start of the function
            environ["EAVES_FUNCTION_URL"] = app.cloud_function or f"{port}{FUNCTIONS}/{name}"
            environ["EAVES_TIMEOUT_S"] = f"{find_timeout_s(app.function.scale.start_timeout_s):g}"
        if app.cloud_function:
            if app.relay.credentials is not None:
                environ["EAVES_FUNCTION_CREDENTIALS"] = str(app.relay.credentials)
        elif app.asks_function:
            environ["EAVES_PARALLEL"] = str(min(capacity_of(app.function), MAX_PARALLEL))
            if app.relay.enabled or app.chooses:
                environ["K_SINK"] = f"{port}{RELAYS}/{name}"
            if app.relay.enabled:
                environ["EAVES_FORWARD_IMAGES"] = app.relay.forward_images
            if app.chooses:
                environ["EAVES_CHOOSE"] = app.choose.settings
        return environ

    def _build_relay_environ(self, app: LocalApp) -> Mapping[str, str]:
        name = app.function.name
        settings = {
            **app.relay.settings,
            "site": app.function.site,
            "spool": str(self._state.spool_of(name, RELAY)),
            "admin_socket": str(self._state.socket_of(name, RELAY)),
        }
        if app.relay.credentials is not None:
            settings["credentials"] = str(app.relay.credentials)
        return {_RELAY_ENV[path]: value for path, value in settings.items()}
