"""A history of events that also passes each new event to a function, such as the printer of predictions."""

from __future__ import annotations

from collections.abc import Callable

from eaves.events import Event
from eaves.history import FileHistory, Record


class ObservedHistory:
    """A history (`eaves.history.History`) that calls a function with each event that is added to it.

    Args:
        history: History that stores the events.
        observe: Function that is called with each event after it was added, in the thread that handles the event; it
            must return at once and raise no exception.
        before: Function that is called with each event before it is added, so that a reader of the history finds what
            the function keeps; the same holds for it.
    """

    def __init__(
        self,
        history: FileHistory,
        observe: Callable[[Event], None],
        *,
        before: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._history = history
        self._observe = observe
        self._before = before

    def add(self, event: Event) -> None:
        """Add an accepted event to the history, and call the observers with it."""
        self._before(event)
        self._history.add(event)
        self._observe(event)

    def read(self, *, after: int = 0, limit: int = 100) -> list[Record]:
        """Return the newest `limit` events whose sequence number is above `after`, oldest first."""
        return self._history.read(after=after, limit=limit)

    def close(self) -> None:
        """Close the history."""
        self._history.close()
