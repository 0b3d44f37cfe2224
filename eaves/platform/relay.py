"""The spec of an app's relay: which events it forwards over the link, and to which receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.base.names import find_object_fault
from eaves.config import setting
from eaves.link.client import check_receiver
from eaves.platform.quantities import QUANTITY_PATTERN, find_room

RELAY = "relay"
"""Name of the relay in logs, queues and objects, in the places where a source or a trigger has its own name."""
EDGE, CLOUD = "edge", "cloud"
NONE, LOW, ALL = "none", "low", "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySpec:
    """Spec of the relay; an app has one when `to` is set."""

    to: str = setting(
        "",
        "Address of the receiver, https://HOST[:PORT]; http:// is allowed for this machine "
        "only. The default is empty: the site has no relay.",
    )
    credentials: Path | None = setting(
        None,
        "Folder with the credentials of the site: the file `token`, or `tls.crt` and "
        "`tls.key`, and `ca.crt` if the receiver's certificate needs it. Changed files are "
        "read again.",
    )
    images: str = setting(
        NONE,
        "Images that are forwarded along with their predictions: `none`; `low`, those whose "
        "prediction has `confidence: low`; `all`. An image has about a hundred times the bytes "
        "of its prediction.",
        choices=(NONE, LOW, ALL),
    )
    alarms: tuple[dict[str, str], ...] = setting(
        (),
        "Events that are forwarded before all others: a list of attribute-to-value mappings, "
        "such as `[{label: fire}]`; an event is an alarm if all the attributes of one mapping "
        "match.",
    )
    newest_first: bool = setting(
        False,
        "Forward the newest events first after an outage, for people who watch the "
        "present. If false, events are forwarded in order.",
    )
    rate_bytes: int = setting(
        0, "Maximum number of bytes per second over the link. The default, 0, is no limit.", minimum=0
    )
    spool_size: str = setting(
        "2Gi",
        "Size of the disk space for events that wait while the link is down; on a cluster, the "
        "size of the volume. Somewhat less than half of it holds waiting events, a tenth holds "
        "dead letters, and the rest is for the files' overhead. The default holds about a "
        "million predictions.",
    )
    secret: str = setting("", "Secret with the credentials, which is mounted in place of `credentials`, on a cluster.")

    @property
    def enabled(self) -> bool:
        """Whether the app has a relay."""
        return bool(self.to)

    @property
    def settings(self) -> dict[str, str]:
        """Settings of the relay's process on every platform, by name in `eaves.link.settings.RelaySettings`.

        The platform decides which images reach the relay; the relay forwards all of those.
        """
        return {
            "to": self.to,
            "alarms": json.dumps([dict(alarm) for alarm in self.alarms]),
            "newest_first": str(self.newest_first).lower(),
            "rate_bytes": str(self.rate_bytes),
            "images": NONE if self.images == NONE else ALL,
            **find_room(self.spool_size),
        }

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if self.to and (fault := check_receiver(self.to)):
            yield "to", fault
        if not QUANTITY_PATTERN.fullmatch(self.spool_size):
            yield "spool_size", f"must be a quantity such as 2Gi (got {self.spool_size!r})"
        if fault := find_object_fault(self.secret):
            yield "secret", fault
        for index, alarm in enumerate(self.alarms):
            if not alarm:
                yield (
                    f"alarms[{index}]",
                    ("must name at least one attribute; without one, every event would be an alarm"),
                )
