"""What was received and is not stored yet, between the thread of the connection and that of the source.

Putting never waits, as the connection's thread answers the broker's keepalive. Whatever doesn't fit stays with the
broker, unacknowledged, if it was sent with QoS 1.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from eaves.base.clock import Clock
from eaves.mqtt.message import Message

OVERHEAD_BYTES = 2048
"""What a message takes in memory beside its payload."""


@dataclass(slots=True)
class HeldMessage:
    """A message that is not stored yet.

    Attributes:
        message: The message as it came last: on a new connection its acknowledgement has to be for that one.
        number: Of its arrival.
        digest: SHA-256 of its payload.
        wanted: Whether it is to become an event; it waits here to be acknowledged in the order of arrival otherwise.
    """

    message: Message
    number: str
    digest: bytes
    wanted: bool = True

    @property
    def cost_bytes(self) -> int:
        """What it takes in memory."""
        return len(self.message.payload) + OVERHEAD_BYTES


class MessageHandoff:
    """A bounded queue of messages.

    Args:
        max_bytes: Memory that it may take; one message always fits.
        clock: Time.
    """

    def __init__(self, max_bytes: int, *, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._changed = threading.Condition()
        self._held: deque[HeldMessage] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def put(self, held: HeldMessage) -> bool:
        """Add a message, or take it for the one that is here under its number; False when there is no room."""
        with self._changed:
            for other in self._held:
                if other.number == held.number:
                    other.message = held.message
                    return True
            if self._held and self._bytes + held.cost_bytes > self._max_bytes:
                return False
            self._held.append(held)
            self._bytes += held.cost_bytes
            self._changed.notify_all()
            return True

    def drop_oldest_unkept(self) -> bool:
        """Drop the oldest message of QoS 0 that isn't being stored, to make room for a newer one; False: none."""
        with self._changed:
            for held in list(self._held)[1:]:
                if held.message.qos == 0:
                    self._held.remove(held)
                    self._bytes -= held.cost_bytes
                    return True
            return False

    def peek(self, timeout_s: float) -> HeldMessage | None:
        """The oldest message, which stays here until `remove`; None when none comes in time, or after `wake`."""
        with self._changed:
            if not self._held:
                self._clock.wait(self._changed, timeout_s)
            return self._held[0] if self._held else None

    def remove(self, held: HeldMessage) -> Message:
        """Take out the oldest message, now that it is stored; returns it as it came last."""
        with self._changed:
            self._held.popleft()
            self._bytes -= held.cost_bytes
            return held.message

    def wake(self) -> None:
        """Have `peek` return."""
        with self._changed:
            self._changed.notify_all()
