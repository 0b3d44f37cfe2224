"""The Retry-After header: when a server wants to be asked again. The one parser of it."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Seconds to wait from a Retry-After header, None when there is none or it is nonsense.

    The value isn't bounded; `Backoff.pause_s` honours at most an hour of it.
    Source: RFC 9110, section 10.2.3: seconds or an HTTP date.

    Args:
        text: The header's value.
        now: Unix seconds.
    """
    text = (text or "").strip()
    try:
        if text.isascii() and text.isdecimal():
            return float(text)
        moment = parsedate_to_datetime(text)
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):  # a zone of +999999999999 is no zone
        return None
