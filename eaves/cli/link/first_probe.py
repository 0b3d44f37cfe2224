"""How the link of a relay that was just deployed is: the first probe is waited for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from eaves.cli.link.link_sentence import describe_reason
from eaves.platform import RELAY, FunctionStatus

WAIT_S = 6.0
"""A probe takes 5 s at most, and a process half a second to start."""
POLL_S = 0.1


class StatusPlatform(Protocol):
    """What is needed of a platform."""

    def status(self) -> Sequence[FunctionStatus]:
        """Every function wanted."""


def wait_for_link(platform: StatusPlatform, name: str, *, wait_s: float = WAIT_S) -> str:
    """The state of a relay's link after its first probe, with the reason when it isn't up.

    Args:
        platform: Where the relay runs.
        name: The function whose relay it is.
        wait_s: Longest wait, seconds.
    """
    ends_at = time.monotonic() + wait_s
    while True:
        agents = [agent for status in platform.status() for agent in status.agents]
        link = next((agent.link for agent in agents if agent.name == f"{name}.{RELAY}"), None)
        if link is not None and link.state in ("up", "down", "refused"):
            return f"{link.state}, {describe_reason(link)}" if link.reason else link.state
        if time.monotonic() >= ends_at:
            return f"not known after {wait_s:.0f} s; `eaves status` shows it"
        time.sleep(POLL_S)
