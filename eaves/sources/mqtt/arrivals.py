"""Numbers for messages, the same for one that comes again before it was acknowledged.

The package's docstring has the reasons.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from eaves.mqtt.message import Message

MAX_OPEN = 10_000
"""Messages that are remembered as unacknowledged; the oldest are forgotten beyond that. A broker has far fewer in
flight, but may never send again what it has lost."""


@dataclass(frozen=True, slots=True)
class _Open:
    number: str
    topic: str
    digest: bytes


class Arrivals:
    """The numbers of one source. May be used by both threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run = secrets.token_hex(8)  # not the time: a device without a battery starts in 1970 each time
        self._counter = itertools.count(1)
        self._open: OrderedDict[int, _Open] = OrderedDict()

    def find_number(self, message: Message, digest: bytes) -> str:
        """The number of a message: unique, but for one that comes again.

        Args:
            message: What was received.
            digest: Of its payload.
        """
        number = f"{self._run}-{next(self._counter)}"
        if message.qos == 0:
            return number
        with self._lock:
            known = self._open.get(message.packet_id)
            if known and message.dup and (known.topic, known.digest) == (message.topic, digest):
                return known.number
            self._open[message.packet_id] = _Open(number, message.topic, digest)
            self._open.move_to_end(message.packet_id)
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        return number

    def close(self, message: Message, number: str) -> None:
        """A message was acknowledged: its packet id may be another message's from now on, or is one already."""
        with self._lock:
            known = self._open.get(message.packet_id)
            if known and known.number == number:
                del self._open[message.packet_id]

    def forget(self) -> None:
        """The broker has lost the session, and all packet ids with it."""
        with self._lock:
            self._open.clear()
