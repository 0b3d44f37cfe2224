"""Copies of the Broker's events: a history of them, and their newest images."""

from __future__ import annotations

from collections.abc import Sequence

from eaves.events import Event
from eaves.history import FileHistory
from eaves.history.recent_images import RecentImages
from eaves.ingress import IngressLimits, IngressServer
from eaves.ingress.store_route import StoreRoute


class EventIntake:
    """Keeps the events that a Trigger delivers, and their newest images.

    Args:
        history: History that gets a record of each event.
    """

    def __init__(self, history: FileHistory) -> None:
        self._history = history
        self._recent = RecentImages()

    def take(self, events: Sequence[Event]) -> None:
        """Keep events."""
        for event in events:
            self._history.add(event)
            self._recent.add(event)

    def find_image(self, source: str, event_id: str) -> bytes | None:
        """Return the encoded image of a recent event; None when it isn't kept any more."""
        found = self._recent.find(source, event_id)
        return None if found is None else found.data


def open_intake_server(intake: EventIntake, *, host: str, port: int, max_bytes: int) -> IngressServer:
    """Listen for the events of Triggers at `POST /`.

    Args:
        intake: Keeps the events.
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        max_bytes: Maximum size of an event, bytes.

    Raises:
        ConfigError: When the port can't be used.
    """
    limits = IngressLimits(max_bytes=max_bytes, in_flight_bytes=2 * max_bytes, programs_only=True)
    return IngressServer(
        StoreRoute(intake.take, max_bytes=max_bytes), host=host, port=port, limits=limits, name="events"
    )
