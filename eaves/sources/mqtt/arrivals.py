"""Numbers that make the event ids of MQTT messages unique when their senders give no id.

A message that the broker repeats before it was acknowledged keeps its number. The docstring of the package
`eaves.sources.mqtt` gives the reasons.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from eaves.mqtt.message import Message

MAX_OPEN = 10_000
"""Maximum number of unacknowledged messages that are remembered; beyond it, the oldest are forgotten. A broker has far
fewer in flight, but it may have lost some messages and never send them again."""


@dataclass(frozen=True, slots=True)
class _Open:
    number: str
    topic: str
    digest: bytes


class Arrivals:
    """Assigns a number to each message that one source receives.

    The thread of the MQTT connection and the thread of the source may use it at the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run = secrets.token_hex(8)  # not the time, because a device without a battery starts in 1970 each time
        self._counter = itertools.count(1)
        self._open: OrderedDict[int, _Open] = OrderedDict()

    def find_number(self, message: Message, digest: bytes) -> str:
        """Return the number of a message: a new one, or the former number when the broker repeats the message.

        Args:
            message: Message that was received.
            digest: Digest of its payload.
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
        """Forget a message that was acknowledged, because its packet id may belong to another message from now on."""
        with self._lock:
            known = self._open.get(message.packet_id)
            if known and known.number == number:
                del self._open[message.packet_id]

    def forget(self) -> None:
        """Forget all packet ids, because the broker has lost the session."""
        with self._lock:
            self._open.clear()
