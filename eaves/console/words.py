"""Numbers and times in plain English, as the pages show them."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
"""Seconds of each unit, and its name; `console.js` has the same table, so that ages stay current in the browser."""
NOW_S = 5
"""Ages below this number of seconds are called `just now`."""
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
"""Pattern of a word that begins with a capital letter at the beginning of a sentence."""
SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def describe_duration(seconds: float) -> str:
    """Return a duration in its largest unit, such as `12 minutes`; it is rounded down."""
    whole = max(0, int(seconds))
    for size, unit in UNITS:
        if whole >= size:
            count = whole // size
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return "0 seconds"


def describe_age(seconds: float) -> str:
    """Return an age in words, such as `12 minutes ago`; an age below 0, of a clock that was set back, is `just now`."""
    return "just now" if seconds < NOW_S else f"{describe_duration(seconds)} ago"


def describe_ms(milliseconds: float) -> str:
    """Return a short time with its unit, such as `23 ms` or `1.4 s`."""
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1_000:.1f} s" if milliseconds < 60_000 else describe_duration(milliseconds / 1_000)


def describe_size(size_bytes: float) -> str:
    """Return a size with a unit of the decimal system, such as `1.2 MB`."""
    for size, unit in SIZES:
        if size_bytes >= size:
            value = size_bytes / size
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return count_noun(int(size_bytes), "byte")


def describe_share(share: float) -> str:
    """Return a share of 1 as percent; a share below 1 is never shown as 100%, nor one above 0 as 0%."""
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    shown = min(max(share, 0.001), 0.999)
    return f"{shown:.1%}" if shown < 0.0995 or shown >= 0.9895 else f"{shown:.0%}"


def count_noun(count: int, noun: str) -> str:
    """Return a number with its noun: `1 image`, `3 entries`, `1,200 images`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith("ss") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def to_sentence(text: str) -> str:
    """Return the reason of a state as a sentence: with a capital letter and a full stop.

    A first or last word that may be an address, a path or a name stays as it is.
    """
    first, last = text.partition(" ")[0], text.rpartition(" ")[2]
    begun = text[:1].upper() + text[1:] if _WORD.fullmatch(first) else text
    return f"{begun}." if last[-1:].isalnum() and not {"/", ":"} & set(last) else begun


def clean_text(value: object, limit: int = 400) -> str:
    """Return foreign text for a page: of limited length, and without characters that can't be shown or turn text round.

    Args:
        value: Anything; its text is used.
        limit: Maximum number of characters.
    """
    text = str(value)
    cut = text if len(text) <= limit else f"{text[:limit]}…"
    return (
        cut if cut.isprintable() else "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in cut)
    )


def parse_time(text: object) -> float | None:
    """Return an ISO 8601 time as Unix seconds; None when it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def format_utc(at: float) -> str:
    """Return a time as RFC 3339 text in UTC, for the attribute `datetime`; empty for a time out of range."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""


def format_time(at: float, now: float) -> str:
    """Return the time of day in this machine's time zone; with the date unless it is today's.

    Args:
        at: Unix seconds.
        now: Current time, Unix seconds.
    """
    try:
        then, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M:%S}"


def describe_zone(now: float) -> str:
    """Return the name of this machine's time zone and its offset, such as `CET, UTC+01:00`."""
    local = datetime.fromtimestamp(now).astimezone()
    offset = f"{local:%z}"
    return f"{local:%Z}, UTC{offset[:3]}:{offset[3:5]}" if f"{local:%Z}" != "UTC" else "UTC"


def shorten_image(image: str) -> str:
    """Return the name of a container image with the beginning of its digest."""
    name, at, digest = image.partition("@sha256:")
    return f"{name}{at}{digest[:8]}"


def build_anchor(key: str, kind: str) -> str:
    """Return the id of an element of a page for a key that may have any characters, such as `tile-0c1d2e3f40`."""
    return f"{kind}-{hashlib.sha256(key.encode(errors='replace')).hexdigest()[:10]}"
