"""What every page gets: the platform, the settings and a clock."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.base.clock import SYSTEM, Clock
from eaves.console.backend import Backend
from eaves.console.security import LOOPBACK, SecuritySettings
from eaves.console.settings import ConsoleSettings
from eaves.console.stream import StreamServer


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleContext:
    """What every page gets.

    Attributes:
        backend: The platform that the pages show.
        settings: Settings of the pages.
        streams: Serves the streams of news; None: pages have none and show what was so when they were loaded.
        security: Who may open the pages.
        clock: Clock for ages.
    """

    backend: Backend
    settings: ConsoleSettings
    streams: StreamServer | None = None
    security: SecuritySettings = LOOPBACK
    clock: Clock = SYSTEM
