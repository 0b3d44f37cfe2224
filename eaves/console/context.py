"""What every page gets: the platform, the settings and a clock."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.base.clock import SYSTEM, Clock
from eaves.console.backend import Backend
from eaves.console.settings import ConsoleSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleContext:
    """What every page gets.

    Attributes:
        backend: The platform that the pages show.
        settings: Settings of the pages.
        clock: Clock for ages.
    """

    backend: Backend
    settings: ConsoleSettings
    clock: Clock = SYSTEM
