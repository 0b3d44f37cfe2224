"""The relay processes, one per app: each forwards the predictions and rejected events of its app to the receiver."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from eaves.admin.client import list_hung_parts
from eaves.base.clock import SYSTEM, Clock
from eaves.config import iter_leaves
from eaves.delivery import SinkClient, SinkResponse
from eaves.errors import UnreachableError
from eaves.events import Event
from eaves.local.processes.ports import HOST, find_free_port
from eaves.local.processes.process import Launch, Process
from eaves.local.processes.process_group import ProcessGroup, ProcessKind, RestartCheck
from eaves.local.state import StateDirectory
from eaves.platform import RELAY, AppSpec
from eaves.relay.settings import RelaySettings

TIMEOUT_S = 30.0
"""Time limit for passing one event to a relay, seconds; the relay responds as soon as the event is on its disk."""
_ENV = {leaf.path: leaf.env for leaf in iter_leaves(RelaySettings)}

_log = logging.getLogger(__name__)


class Relays(ProcessGroup):
    """The relays of all apps.

    Args:
        state: State directory with the relays' logs and spools.
        inherit: Environment of the supervisor.
        clock: Clock for pauses.
        launch: Starts a process.
        ask: Returns the reasons why the relay at a socket must be restarted.
    """

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
        self._ports: dict[str, int] = {}
        self._client = SinkClient()
        kind = ProcessKind(
            name=RELAY,
            module="eaves.relay",
            log=state.relay_log,
            socket=state.relay_socket,
            queue=lambda app: f"{app}.{RELAY}",
        )
        super().__init__(kind, inherit=inherit, clock=clock, launch=launch, ask=ask)
        self._running: frozenset[str] = frozenset()

    def reconcile(self, apps: Mapping[str, AppSpec]) -> None:
        """Start and stop relays so that exactly those of the given apps run.

        A relay that has ended is restarted after a pause. The queue of a removed relay stays on disk, and a later relay
        of the same app delivers it.
        """
        wanted = frozenset(name for name, app in apps.items() if app.relay.enabled)
        for name in self._running - wanted:
            _log.warning("the relay of %s is removed; its events are kept: eaves queue --agent %s.relay", name, name)
        self._running = wanted
        super().reconcile(apps)

    def send(self, app: str, event: Event) -> SinkResponse:
        """Send an event to the relay of an app; a success means that the event is on the relay's disk.

        Raises:
            UnreachableError: When the relay doesn't run.
            DeliveryError: When the relay doesn't respond.
        """
        relay = self.member(app)
        if relay is None or not relay.running:
            state = relay.describe() if relay is not None else "not started yet"
            raise UnreachableError(f"the relay of {app} is {state}", hint=f"eaves logs {app}.{RELAY}")
        url = f"http://{HOST}:{self._ports[app]}/"
        return self._client.post(url, event, prefer_reply=False, timeout_s=TIMEOUT_S)

    def stop(self) -> None:
        """Ask all relays to finish, and wait until they have."""
        super().stop()
        self._client.close()

    def find_environ(self, app: str) -> Mapping[str, str]:
        """Return a newly chosen port for each start of a relay; another program may have taken the previous port."""
        self._ports[app] = find_free_port()
        return {_ENV["port"]: str(self._ports[app])}

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
        return {_ENV[path]: value for path, value in settings.items()}
