"""Timestamps of RFC 3339, a narrow profile of ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""Pattern of a timestamp. Source: RFC 3339, section 5.6, `date-time`."""


def parse_timestamp(text: str) -> datetime:
    """Parse an RFC 3339 timestamp to the microsecond; further digits are dropped.

    A leap second, which `datetime` can't hold, is parsed as the second after it. It is the last second of a month in
    UTC. `datetime.fromisoformat` alone accepts week dates, times without an offset and other forms of ISO 8601 that
    other receivers of the event refuse.

    Raises:
        ValueError: When the text is not a timestamp, or names a day or time that doesn't exist.
    """
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError(f"not an RFC 3339 timestamp such as 2026-11-24T12:00:00Z (got {text[:40]!r})")
    leap = text[17:19] == "60"
    whole = f"{text[:17]}59{text[19:]}" if leap else text
    try:
        found = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", whole)) + timedelta(seconds=leap)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"not an RFC 3339 timestamp (got {text[:40]!r}): {error}") from error
    if leap and not found.astimezone(UTC).strftime("%d %T").startswith("01 00:00:00"):
        raise ValueError(
            f"not an RFC 3339 timestamp (got {text[:40]!r}): a leap second is allowed only at the end of a month"
        )
    return found
