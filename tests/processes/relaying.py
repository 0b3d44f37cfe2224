"""A relay as a process of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eaves.event_batch import MEDIA_TYPE, encode_batch
from eaves.events import Event
from tests.ports import find_ports
from tests.processes.service import ServiceProcess, ask


class RelayProcess(ServiceProcess):
    """One relay.

    Args:
        folder: Folder in which its spool and log are made.
        to: The receiver's address.
        environ: More of its settings.
    """

    def __init__(self, folder: Path, to: str, **environ: str) -> None:
        self.spool = folder / "relay.db"
        port, health_port = find_ports(2)
        settings = {
            "EAVES_TO": to,
            "EAVES_SITE": "north",
            "EAVES_SPOOL": str(self.spool),
            "EAVES_HEALTH_PORT": str(health_port),
            "PORT": str(port),
            **environ,
        }
        super().__init__("eaves.link.relay", folder / "relay.log", settings, port=port, health_port=health_port)

    def post_batch(self, events: Sequence[Event]) -> int:
        """Hand over many events at once."""
        return ask(self.port, "POST", "/", b"".join(encode_batch(events)), {"Content-Type": MEDIA_TYPE})[0]

    def link(self) -> dict[str, Any]:
        found: dict[str, Any] = self.report()["link"]
        return found
