"""The bytes of an event stream.

Source: HTML Living Standard, section 9.2.6, Interpreting an event stream.
"""

from __future__ import annotations

import re

from eaves.console.stream.feed import StreamMessage

RETRY_MS, POLL_MS = 500, 5_000
"""Time after which a client connects again, milliseconds: after a stream ended, and while there are too many streams,
so that the client asks for news at this interval."""
_LINE_END = re.compile(r"\r\n|\r|\n")


def encode(message: StreamMessage) -> bytes:
    """Encode a message. A client stores the id of a message without data and event, and does nothing else."""
    lines = []
    if message.event:
        lines.append(f"event: {' '.join(message.event.split())}")
    if message.id:
        lines.append(f"id: {message.id}")
    if message.data or message.event:
        lines += [f"data: {line}" for line in _LINE_END.split(message.data)]
    return "\n".join([*lines, "", ""]).encode(errors="replace")


def encode_heartbeat(position: int) -> bytes:
    """Encode a comment that tells the client its position and that pages never see; 0: its position isn't known.

    Proxies close connections that carry nothing for long, and a write finds out whether the client is still there.
    """
    return b":\n" + encode(StreamMessage(id=position))


def encode_event(name: str, *, retry_ms: int | None = None) -> bytes:
    """Encode a named event without data, which tells the page something about its stream.

    Args:
        name: Name of the event.
        retry_ms: Time after which the client connects again from now on, milliseconds; None leaves it as it is.
    """
    retry = f"retry: {retry_ms}\n" if retry_ms is not None else ""
    return retry.encode() + encode(StreamMessage(event=name))


OPENED = encode_event("opened", retry_ms=RETRY_MS)
"""The stream is open."""
CROWDED = encode_event("crowded", retry_ms=POLL_MS)
"""There are too many streams: this one ends after the present news, and the client asks again later."""
RELOAD = encode_event("reload")
"""The client has missed too much and must load its page again."""
CLOSING = encode_event("closing")
"""The server ends."""
EXPIRED = encode_event("expired")
"""The session has ended; the page must be loaded again, which shows the login form."""
