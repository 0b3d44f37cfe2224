"""What every page gets: the platform, the settings and a clock."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.base.clock import SYSTEM, Clock
from eaves.console.backend import Backend
from eaves.console.security import LOOPBACK, SecuritySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """Settings of the pages.

    Attributes:
        read_only: Whether every change is refused, and no page offers one.
        silent_after_s: Time without an image after which a source whose images came regularly counts as silent,
            seconds; five times its usual interval when that is longer. 0: no source does.
        site_since: Time at which the console of a site began to keep events, Unix seconds; None on one machine, whose
            history is not lost when the console ends. Pages of a site name the commands for what it can't show.
    """

    read_only: bool = False
    silent_after_s: float = 600.0
    site_since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleContext:
    """What every page gets.

    Attributes:
        backend: The platform that the pages show.
        settings: Settings of the pages.
        security: Who may open the pages.
        clock: Clock for ages.
    """

    backend: Backend
    settings: ConsoleSettings = ConsoleSettings()
    security: SecuritySettings = LOOPBACK
    clock: Clock = SYSTEM
