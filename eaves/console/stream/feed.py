"""What a stream sends: messages, and the feeds that make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a stream.

    Attributes:
        data: HTML that the page swaps in.
        id: `Record.seq` of the newest record in the message, which a client that reconnects sends as Last-Event-ID; 0
            for a message that contains no record.
        event: Name of the event; empty for messages that are swapped in.
    """

    data: str
    id: int = 0
    event: str = ""


class Feed(Protocol):
    """Makes the messages of all streams with the same query, such as the same filter."""

    def poll(self, after: int) -> Sequence[Message]:
        """Return what is new since the record `after`, in order; empty when nothing is.

        The stream thread calls this several times a second while a stream is open, and once for each client that
        reconnects with an older position.
        """
