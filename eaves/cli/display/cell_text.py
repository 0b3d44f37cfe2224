"""Formatting of table cells: times, durations, sizes and ids."""

from __future__ import annotations

import re
import time

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_SIZES = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
ID_DIGITS = 8
"""Number of hexadecimal digits of an id that a table shows. Two random ids have the same 8 digits with a probability of
1 in 4,000 million."""
_LONG_ID = re.compile(r"[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SKEW_S = 5.0
"""Seconds by which a time may lie in the future and still be shown as now, because the clocks of two machines
differ."""


def describe_age(seconds: float | None) -> str:
    """Return a length of time in its largest unit: `45 s`, `3 min`, `5 h`, `12 d`; empty for None."""
    if seconds is None:
        return ""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def describe_moment(unix_s: float, now: float) -> str:
    """Return a moment as people say it: `12 s ago`, `3 min ago`, `today 09:14`, `yesterday 14:02`, `12 Nov 14:02`.

    Args:
        unix_s: The moment, Unix seconds.
        now: Current time, Unix seconds. Days are those of the local time zone.
    """
    age = now - unix_s
    there, here = time.localtime(unix_s), time.localtime(now)
    if age < -_SKEW_S:
        return time.strftime("%Y-%m-%d %H:%M", there)
    if age < 3_600:
        return f"{int(age) // 60} min ago" if age >= 60 else f"{int(max(0.0, age))} s ago"
    clock = time.strftime("%H:%M", there)
    yesterday = time.localtime(time.mktime((here.tm_year, here.tm_mon, here.tm_mday - 1, 12, 0, 0, 0, 0, -1)))
    for day, name in ((here, "today"), (yesterday, "yesterday")):
        if there[:3] == day[:3]:
            return f"{name} {clock}"
    if there.tm_year == here.tm_year:
        return f"{there.tm_mday} {time.strftime('%b', there)} {clock}"
    return f"{time.strftime('%Y-%m-%d', there)} {clock}"


def describe_milliseconds(milliseconds: float) -> str:
    """Return a duration with at most three digits and its unit: `4.2 ms`, `643 ms`, `1.3 s`, `2 min`."""
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    return describe_seconds(milliseconds / 1_000)


def describe_seconds(seconds: float) -> str:
    """Return a duration: with one decimal below a minute (`1.3 s`), else in its largest unit."""
    return f"{seconds:.1f} s" if seconds < 59.95 else describe_age(max(60.0, seconds))


def describe_bytes(size_bytes: float) -> str:
    """Return a size in decimal units: `512 B`, `20.5 kB`, `1.2 GB`."""
    for size, unit in _SIZES:
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes:.0f} B"


def shorten_id(text: str) -> str:
    """Return the first 8 digits of a long hexadecimal id, UUID or digest (`sha256:...`), and any other id as it is."""
    algorithm, colon, digits = text.rpartition(":")
    return f"{algorithm}{colon}{digits[:ID_DIGITS]}" if _LONG_ID.fullmatch(digits) else text
