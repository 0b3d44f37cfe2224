"""Description of the state of a relay's link as a sentence, for `eaves status` and `eaves deploy`."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from eaves.cli.display.output import describe_age
from eaves.platform import RELAY, FunctionStatus

if TYPE_CHECKING:
    from eaves.admin.report import LinkReport

WAIT_S = 6.0
"""Default time that `wait_for_link` waits for a relay's first connection test, seconds. The test takes at most 5 s, and
the relay's process starts in about 0.5 s."""
POLL_S = 0.1
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_UNREACHABLE = "it can't be reached: "


class StatusPlatform(Protocol):
    """The part of a platform that `wait_for_link` needs."""

    def status(self) -> Sequence[FunctionStatus]:
        """Return the status of every deployed function."""


def describe_link(link: LinkReport) -> str:
    """Return a link's state, its reason and its backlog as one sentence: `link up for 2 h; nothing waits`.

    Args:
        link: The relay's report of its link.
    """
    return f"{_describe_state(link)}; {_describe_backlog(link)}"


def describe_reason(link: LinkReport) -> str:
    """Return the reason why a relay forwards nothing, without the receiver's address at its beginning."""
    address = re.escape(link.to.rstrip("/"))
    reason = re.sub(rf"^(no connection to|no answer from|GET|POST) {address}\S* ?", "", link.reason)
    if reason.startswith("within "):
        reason = f"no answer {reason}"
    return reason.removeprefix(_UNREACHABLE)


def wait_for_link(platform: StatusPlatform, name: str, *, wait_s: float = WAIT_S) -> str:
    """Wait for the first connection test of a relay's link; return the link's state, and why it isn't up.

    Args:
        platform: Platform that runs the relay.
        name: Name of the relay's function.
        wait_s: Maximum time to wait, seconds.
    """
    ends_at = time.monotonic() + wait_s
    while True:
        agents = [agent for status in platform.status() for agent in status.agents]
        link = next((agent.link for agent in agents if agent.name == f"{name}.{RELAY}"), None)
        if link is not None and link.state in ("up", "down", "refused"):
            return f"{link.state}, {describe_reason(link)}" if link.reason else link.state
        if time.monotonic() >= ends_at:
            return f"state not known after {wait_s:.0f} s; `eaves status` shows it later"
        time.sleep(POLL_S)


def describe_size(size_bytes: float) -> str:
    """Return a number of bytes in its largest unit: `512 B`, `3.1 MB`."""
    for size, unit in _UNITS:
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes:.0f} B"


def _describe_state(link: LinkReport) -> str:
    state = link.state or ("up" if link.up else "down")
    if state == "starting":
        return "link not tried yet"
    since = f" for {describe_age(link.since_age_s)}" if link.since_age_s is not None else ""
    if not link.reason:
        return f"link {state}{since}"
    reason = describe_reason(link)
    if state == "down":
        return f"link down{since} ({reason})"
    if state == "refused":
        return f"link refused{since}: {reason}"
    return f"link {state}{since}, but forwarding is paused ({reason})"


def _describe_backlog(link: LinkReport) -> str:
    if not link.backlog_events:
        return "nothing waits"
    events = "1 event" if link.backlog_events == 1 else f"{link.backlog_events:,} events"
    parts = [f"{events} ({describe_size(link.backlog_bytes)}) {'waits' if link.backlog_events == 1 else 'wait'}"]
    if age := describe_age(link.oldest_age_s):
        parts.append(f"oldest {age}")
    if link.up and link.events_per_s is not None and link.drain_s is not None:
        rate = link.events_per_s
        parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        parts.append(f"drained in {describe_age(link.drain_s)}")
    return ", ".join(parts)
