"""Parser of the Retry-After header, with which a server says when to send a request again."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Return the seconds to wait by a Retry-After header; None when there is none or it is invalid.

    The value has no upper limit here; `Backoff.pause_s` uses at most an hour of it.
    Source: RFC 9110, section 10.2.3: seconds or an HTTP date.

    Args:
        text: Value of the header.
        now: Current time, Unix seconds.
    """
    text = (text or "").strip()
    try:
        if text.isascii() and text.isdecimal():
            return float(text)
        moment = parsedate_to_datetime(text)
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):  # a time zone such as +999999999999 is invalid
        return None
