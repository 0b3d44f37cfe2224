"""The link of a relay as `eaves status` tells it: one sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from eaves.cli.durations import describe_age

if TYPE_CHECKING:
    from eaves.admin.report import LinkReport

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_UNREACHABLE = "it can't be reached: "


def describe_link(link: LinkReport) -> str:
    """One link: its state, why, and what waits; `link up for 2 h; nothing waits`.

    Args:
        link: What the relay reports of it.
    """
    return f"{_describe_state(link)}; {_describe_backlog(link)}"


def describe_reason(link: LinkReport) -> str:
    """Why nothing is forwarded, without the address that every reason would begin with."""
    address = re.escape(link.to.rstrip("/"))
    told = re.sub(rf"^(no connection to|no answer from|GET|POST) {address}\S* ?", "", link.reason)
    if told.startswith("within "):
        told = f"no answer {told}"
    return told.removeprefix(_UNREACHABLE)


def describe_size(size_bytes: float) -> str:
    """A number of bytes in its largest unit: `512 B`, `3.1 MB`."""
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
