"""The option `hours`, which limits captures to spans of the day in a time zone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Spans of the day during which frames are captured.

    Attributes:
        spans: Begin (included) and end (excluded) of each span; an end before the begin is on the next day.
        zone: Time zone of the spans; None for the machine's.
    """

    spans: tuple[tuple[time, time], ...]
    zone: tzinfo | None = None

    def contain(self, moment_ns: int) -> bool:
        """Return whether a time, nanoseconds since 1970, is within one of the spans.

        False for a time that has no valid date.
        """
        try:
            clock = datetime.fromtimestamp(moment_ns / 1e9, UTC).astimezone(self.zone).time()
        except (ValueError, OverflowError, OSError):
            return False
        return any(begin <= clock < end if begin < end else clock >= begin or clock < end for begin, end in self.spans)


def parse_hours(texts: Sequence[str], zone: str = "") -> Hours | None:
    """Parse hours such as `22:00-06:00`; None when none are given.

    Args:
        texts: Texts of the spans.
        zone: Name of a time zone in the IANA database; empty for the machine's.

    Raises:
        ValueError: When a text is malformed, or the machine doesn't know the time zone.
    """
    found = None
    if zone:
        try:
            found = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"must be a time zone that this machine knows, such as Europe/Berlin (got {zone!r})"
            ) from error
    spans = tuple(_parse_span(text) for text in texts)
    return Hours(spans=spans, zone=found) if spans else None


def _parse_span(text: str) -> tuple[time, time]:
    match = _SPAN.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        hour, minute, end_hour, end_minute = map(int, match.groups())
        begin = time(hour, minute)
        end = time(0) if (end_hour, end_minute) == (24, 0) else time(end_hour, end_minute)
    except ValueError:
        raise ValueError(f"must be hours such as 22:00-06:00 (got {text[:40]!r})") from None
    if begin == end != time(0):
        raise ValueError(f"must begin and end at different times (got {text[:40]!r})")
    return begin, end
