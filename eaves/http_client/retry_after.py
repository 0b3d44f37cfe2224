"""Parser of the Retry-After header, with which a server says when to send a request again."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime


def parse_retry_after(text: str | None, now: float, date: str | None = None) -> float | None:
    """Return the seconds to wait by a Retry-After header; None when there is none or it is invalid.

    The value has no upper limit here; `Backoff.pause_s` uses at most an hour of it.
    Source: RFC 9110, section 10.2.3: seconds or an HTTP date.

    Args:
        text: Value of the header.
        now: Current time, Unix seconds.
        date: Value of the answer's Date header. A time in Retry-After is relative to it, so that it doesn't matter how
            wrong the clock of this machine is.
    """
    text = (text or "").strip()
    try:
        if text.isascii() and text.isdecimal():
            return float(text)
        until = _parse_date(text)
    except (ValueError, OverflowError):  # a time zone such as +999999999999 is invalid
        return None
    with suppress(ValueError, OverflowError):
        now = _parse_date(date or "")
    return max(0.0, until - now)


def _parse_date(text: str) -> float:
    moment = parsedate_to_datetime(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
