"""What a stream sends: messages, and the feeds that make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_CATCH_UP = 200
"""Number of records above which a client that reconnects loads the page again, in place of getting each record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMessage:
    """One message of a stream.

    Attributes:
        data: HTML that the page swaps in; empty for a message that only moves the client's position.
        id: `Record.seq` of the newest record that the message covers, which a client that reconnects sends as
            Last-Event-ID; 0 for a message about no record, such as a changed state.
        event: Name of the event, which the page gets as a DOM event; empty for messages that are swapped in.
    """

    data: str = ""
    id: int = 0
    event: str = ""


class Feed(Protocol):
    """Makes the messages of all streams with the same query, such as the same filter.

    The stream thread calls all methods, one at a time, within a request context of the Flask app, so they may render
    templates and build URLs. They should take a few milliseconds, because all streams wait for them. An exception is
    logged, and the feed is asked again after a pause; its streams stay open.
    """

    def newest(self) -> int:
        """Return `Record.seq` of the newest record, whether the query matches it or not; 0 when there is none."""

    def catch_up(self, after: int, until: int) -> Sequence[StreamMessage] | None:
        """Return the messages for one client that connects, whose page shows everything up to the record `after`.

        These are the matching records after `after` up to `until`, and the present state of everything else that the
        page shows, because a client that reconnects may have missed its changes.

        Returns:
            The messages in order; None when more than `MAX_CATCH_UP` records are missing, so that the client loads
            the page again.
        """

    def poll(self, after: int) -> Sequence[StreamMessage]:
        """Return what is new for all clients: records after `after`, and other changes since the previous call.

        The stream thread calls this several times a second while a stream is open. The largest id of a message is the
        next call's `after`; without one, the feed counts as having looked at all records up to `newest()`. A feed that
        looks at part of the new records, none of which matches, returns an empty message with the id of the last one.

        Returns:
            The messages in order; empty when nothing is new.
        """
