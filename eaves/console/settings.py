"""Settings of the console's pages, which every platform has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """Settings of the pages.

    Attributes:
        read_only: Whether every change is refused, and no page offers one.
        max_streams: Number of open streams above which a page asks for news every 5 seconds instead.
        silent_after_s: Time without an image after which a source counts as silent, seconds, unless its own settings
            say how often it captures.
    """

    read_only: bool = False
    max_streams: int = 100
    silent_after_s: float = 600.0
