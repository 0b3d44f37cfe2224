"""The history of the local platform, with an observer of each event that it gets."""

from __future__ import annotations

from collections.abc import Callable

from eaves.events import Event
from eaves.history import FileHistory, Record


class ObservedHistory:
    """Implements `eaves.history.History`.

    Args:
        history: Keeps the events.
        observe: Called with each event, in the thread that handles the event; it must return at once and raise nothing.
    """

    def __init__(self, history: FileHistory, observe: Callable[[Event], None]) -> None:
        self._history = history
        self._observe = observe

    def add(self, event: Event) -> None:
        """Note one accepted event."""
        self._history.add(event)
        self._observe(event)

    def read(self, *, after: int = 0, limit: int = 100) -> list[Record]:
        """Return the newest `limit` records with seq above `after`, oldest first."""
        return self._history.read(after=after, limit=limit)

    def close(self) -> None:
        """Close the file."""
        self._history.close()
