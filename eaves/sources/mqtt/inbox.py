"""Received messages that are not stored yet, between the thread of the MQTT connection and that of the source.

`put` never waits, because the connection's thread answers the broker's keepalive. A message with QoS 1 that doesn't fit
isn't acknowledged, so that the broker keeps it and sends it again.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import deque
from dataclasses import dataclass

from eaves.base.clock import Clock
from eaves.mqtt.message import Message

OVERHEAD_BYTES = 2048
"""Memory that a message takes in addition to its payload, bytes."""


@dataclass(slots=True)
class HeldMessage:
    """A message that was received and is not stored or acknowledged yet.

    Attributes:
        message: Last copy of the message; on a new connection the acknowledgement must refer to that copy.
        digest: SHA-256 of the message's payload.
        wanted: Whether the message becomes an event; otherwise it only waits to be acknowledged in the order of
            arrival.
        number: Number of the arrival; the same when the broker repeats a message that was not acknowledged.
    """

    message: Message
    digest: bytes
    wanted: bool = True
    number: str = ""

    @property
    def cost_bytes(self) -> int:
        """Memory that the message takes in the queue, bytes."""
        return len(self.message.payload) + OVERHEAD_BYTES


class Inbox:
    """A queue of received messages with bounded memory, which recognises a message that the broker repeats.

    Args:
        max_bytes: Maximum memory of the queue, bytes; one message always fits.
        clock: Wall clock and monotonic clock.
    """

    def __init__(self, max_bytes: int, *, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._changed = threading.Condition()
        self._held: deque[HeldMessage] = deque()
        self._bytes = 0
        self._run = secrets.token_hex(8)  # not the time, because a device without a battery starts in 1970 each time
        self._counter = itertools.count(1)
        self._open: dict[int, tuple[str, bytes, str]] = {}  # by the packet id, of which there are 65,535

    def __len__(self) -> int:
        return len(self._held)

    def put(self, new: HeldMessage) -> bool:
        """Give a message its number and add it, or replace the copy that waits; return False when there is no room."""
        with self._changed:
            new.number = self._find_number(new.message, new.digest)
            for other in self._held:
                if other.number == new.number:
                    other.message = new.message
                    return True
            if self._held and self._bytes + new.cost_bytes > self._max_bytes:
                return False
            self._held.append(new)
            self._bytes += new.cost_bytes
            self._changed.notify_all()
            return True

    def peek(self, timeout_s: float) -> HeldMessage | None:
        """Return the oldest message and leave it in the queue; None after `timeout_s` seconds or after `wake`."""
        with self._changed:
            if not self._held:
                self._clock.wait(self._changed, timeout_s)
            return self._held[0] if self._held else None

    def remove(self, held: HeldMessage) -> Message:
        """Remove the oldest message after it was stored; return its last copy."""
        with self._changed:
            self._held.popleft()
            self._bytes -= held.cost_bytes
            return held.message

    def close(self, held: HeldMessage) -> None:
        """Forget a message that was acknowledged: its packet id may belong to another message from now on."""
        with self._changed:
            if self._open.get(held.message.packet_id, ("", b"", ""))[2] == held.number:
                del self._open[held.message.packet_id]

    def forget(self) -> None:
        """Forget all packet ids, because the broker has lost the session."""
        with self._changed:
            self._open.clear()

    def wake(self) -> None:
        """Make a waiting `peek` return None."""
        with self._changed:
            self._changed.notify_all()

    def _find_number(self, message: Message, digest: bytes) -> str:
        number = f"{self._run}-{next(self._counter)}"
        if message.qos == 0:
            return number
        topic, known_digest, known = self._open.get(message.packet_id, ("", b"", ""))
        if known and message.dup and (topic, known_digest) == (message.topic, digest):
            return known
        self._open[message.packet_id] = message.topic, digest, number
        return number
