"""The site as the console sees it: status and changes through the API server, events from the console's own history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from eaves.admin import Queue
from eaves.base.clock import SYSTEM, Clock
from eaves.console.backend import Images, ModelLocation, Records
from eaves.console.queue_reports import ReusedAnswer
from eaves.delivery import SinkResponse
from eaves.events import Event
from eaves.platform import FunctionStatus

STATUS_S = 5.0
"""Time for which a status is shown again, seconds. One status takes some 20 requests to the API server and the agents,
and many people may look at the pages."""


Send = Callable[[str, Event], SinkResponse]


class Site(Protocol):
    """The part of `knative.platform.KnativePlatform` that the console needs."""

    def status(self) -> list[FunctionStatus]:
        """Read the status of every function of the site."""

    def logs(self, name: str, *, lines: int = 100) -> list[str]:
        """Return the last lines of a function's log, oldest first."""

    def promote(self, name: str) -> None:
        """Send every request to the newest revision."""

    def rollback(self, name: str) -> None:
        """Send every request to the previous revision."""


class SiteBackend:
    """Implements `eaves.console.backend.Backend` on one site.

    Queues, starts and models are not shown: an agent's queue is changed by `eaves queue`, which runs a program in the
    agent's pod, and a pod has neither the runs nor the artifacts of its functions.

    Args:
        site: The site.
        send: Sends an event to a function, by its name, and returns the function's answer.
        title: Name of the site for people.
        records: History of the events that the console received.
        images: Images of these events.
        clock: Clock for the age of a status.
    """

    def __init__(
        self, site: Site, *, send: Send, title: str, records: Records, images: Images, clock: Clock = SYSTEM
    ) -> None:
        self.title = title
        self.records = records
        self.images = images
        self._site = site
        self._send = send
        self._status = ReusedAnswer(site.status, STATUS_S, clock)

    def status(self) -> Sequence[FunctionStatus]:
        """Return the status of every function, at most `STATUS_S` old.

        Raises:
            ClusterError: When the API server can't be asked.
        """
        return self._status.get()

    def queues(self) -> Mapping[str, Queue]:
        """Return no queue."""
        return {}

    def models(self) -> Sequence[ModelLocation]:
        """Return no models."""
        return ()

    def logs(self, function: str, *, lines: int = 100) -> Sequence[str]:
        """Return the last lines of a function's log, oldest first.

        Raises:
            NotFoundError: When no replica has a log to read.
        """
        return self._site.logs(function, lines=lines)

    def invoke(self, function: str, event: Event) -> SinkResponse:
        """Send an event straight to a function and return its response.

        Raises:
            NotFoundError: When there is no such function.
        """
        return self._send(function, event)

    def promote(self, function: str) -> None:
        """Send every request to the newest revision.

        Raises:
            DeniedError: When the console may only read.
            StartError: When the revision doesn't become ready; then nothing changes.
        """
        self._site.promote(function)
        self._status.forget()

    def rollback(self, function: str) -> None:
        """Send every request to the previous revision.

        Raises:
            DeniedError: When the console may only read.
            NotFoundError: When there is no previous revision.
        """
        self._site.rollback(function)
        self._status.forget()
