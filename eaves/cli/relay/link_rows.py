"""The links of relays as `eaves status` shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eaves.cli.ages import describe_age

if TYPE_CHECKING:
    from eaves.admin.report import LinkReport

COLUMNS = {
    "relay": "RELAY",
    "link": "LINK",
    "since": "SINCE",
    "backlog": "BACKLOG",
    "size": "SIZE",
    "oldest": "OLDEST",
    "rate": "RATE",
    "drained": "DRAINED IN",
    "to": "TO",
    "reason": "REASON",
}
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def build_row(name: str, link: LinkReport) -> dict[str, Any]:
    """One link for the table.

    Args:
        name: Of its relay.
        link: What the relay reports of it.
    """
    return {
        "relay": name,
        "link": link.state or ("up" if link.up else "down"),
        "since": describe_age(link.since_age_s),
        "backlog": link.backlog_events,
        "size": describe_size(link.backlog_bytes),
        "oldest": describe_age(link.oldest_age_s),
        "rate": _describe_rate(link),
        "drained": _describe_drain(link),
        "to": link.to,
        "reason": link.reason,
    }


def describe_size(size_bytes: float) -> str:
    """A number of bytes in its largest unit: `512 B`, `3.1 MB`."""
    for size, unit in _UNITS:
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes:.0f} B"


def _describe_rate(link: LinkReport) -> str:
    """Events and bytes a second while there was something to forward; empty before the first."""
    if link.events_per_s is None or link.bytes_per_s is None:
        return ""
    return f"{link.events_per_s:.1f}/s, {describe_size(link.bytes_per_s)}/s"


def _describe_drain(link: LinkReport) -> str:
    """In how long nothing waits any more, at the rate of the last minute in which something was forwarded."""
    if not link.backlog_events:
        return ""
    if link.drain_s is None:
        return "not known"
    return describe_age(link.drain_s) + ("" if link.up else " once it is up")
